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

/// Results on their way into the log, from now on.
pub(super) fn completing<'a>(context: &'a Context, completion: &'a Completion) -> Completing<'a> {
    Completing { context, completion, began_ns: context.traces.begin(), is_refused: false }
}

/// Told of when it goes, however that comes: a unit is ended as soon as this node's log has no such lease any more, which may be
/// before the answer is there.
pub(super) struct Completing<'a> {
    context: &'a Context,
    completion: &'a Completion,
    began_ns: u64,
    is_refused: bool,
}

impl Completing<'_> {
    /// Whether they were counted.
    pub(super) fn ended(&mut self, counted: bool) {
        self.is_refused = !counted;
    }
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        let Completion { lease, start, end, .. } = self.completion;
        let facts = || vec![("targets", Fact::from(end.saturating_sub(*start)))];
        let fault = self.is_refused.then(|| "the lease was gone".to_owned());
        let place = Place::Complete(*lease, *start);
        self.context.traces.tell(lease.unit.job, place, self.began_ns, facts, fault);
    }
}
