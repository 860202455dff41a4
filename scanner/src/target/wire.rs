//! The serialised form of a target set: gaps and lengths, so that sorted ranges cost few bytes.
//!
//! Each range is `(numbers skipped since the end of the last range, length - 1)`; variable-length integers make that
//! 2-6 bytes for an IPv4 range. The order of fields is the format: nothing may be inserted.

use serde::{Deserialize, Serialize};

use super::parse::{TargetError, valid_name};
use super::range::{Bound, Span};
use super::{TargetProblem, TargetSet, TargetSetBuilder};

/// What is written; see the module's text.
#[derive(Serialize, Deserialize)]
pub(super) struct Wire {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    names: Vec<String>,
}

impl From<TargetSet> for Wire {
    fn from(set: TargetSet) -> Self {
        let mut end = 0;
        let v4 = set.v4.set().spans().iter().map(|span| {
            let pair = (span.first - end, span.last - span.first);
            end = span.last;
            pair
        });
        let v4 = v4.collect();
        let mut end = 0;
        let v6 = set.v6.set().spans().iter().map(|span| {
            let pair = (span.first - end, span.last - span.first);
            end = span.last;
            pair
        });
        Self { v4, v6: v6.collect(), names: set.names }
    }
}

impl TryFrom<Wire> for TargetSet {
    type Error = TargetError;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        let bad = || TargetError::set(TargetProblem::BadEncoding);
        if wire.names.iter().any(|name| valid_name(name).as_deref() != Ok(name)) {
            return Err(bad());
        }
        let v4 = spans(wire.v4, u32::checked_add).ok_or_else(bad)?;
        let v6 = spans(wire.v6, u128::checked_add).ok_or_else(bad)?;
        TargetSetBuilder { v4, v6, names: wire.names, ..TargetSetBuilder::default() }.build_uncounted()
    }
}

fn spans<T: Bound + Default>(pairs: Vec<(T, T)>, add: impl Fn(T, T) -> Option<T>) -> Option<Vec<Span<T>>> {
    let mut end = T::default();
    let mut spans = Vec::with_capacity(pairs.len());
    for (gap, more) in pairs {
        let first = add(end, gap)?;
        end = add(first, more)?;
        spans.push(Span { first, last: end });
    }
    Some(spans)
}
