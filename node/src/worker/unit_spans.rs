//! The worker's part of a job's trace: a unit, its chunks, and their way into the log.

use pentora_raft::command::Completion;

use super::Context;
use super::units::Begun;
use crate::traces::{Fact, Place};

/// Tells of a unit that ends now, with why it came to nothing where it did.
pub(super) fn unit(context: &Context, begun: &Begun, began_ns: u64, fault: Option<String>) {
    let reference = begun.reference;
    let facts = || {
        let unit = reference.unit.until(begun.lease.end).to_string();
        vec![("unit", Fact::from(unit)), ("epoch", reference.epoch.into())]
    };
    context.traces.tell(reference.unit.job, Place::Unit(reference), began_ns, facts, fault);
}

/// Tells of results that are durable now.
pub(super) fn chunk(context: &Context, completion: &Completion, began_ns: u64) {
    let Completion { lease, stored, .. } = completion;
    let facts = || {
        vec![
            ("bytes", Fact::from(stored.bytes)),
            ("digest", stored.digest.to_string().into()),
            ("holders", (stored.holders.len() as u64).into()),
        ]
    };
    context.traces.tell(lease.unit.job, Place::Chunk(*lease, stored.digest), began_ns, facts, None);
}

/// Tells of results that the log counted, or did not.
pub(super) fn complete(context: &Context, completion: &Completion, began_ns: u64, counted: bool) {
    let Completion { lease, start, end, .. } = completion;
    let facts = || vec![("targets", Fact::from(end.saturating_sub(*start)))];
    let fault = (!counted).then(|| "the lease was gone".to_owned());
    context.traces.tell(lease.unit.job, Place::Complete(*lease, *start), began_ns, facts, fault);
}
