//! The lanes that probes go in: which of a unit's source ports, or identifiers, and so what an answer says of its probe.
//!
//! Two passes in a row share a lane, and their SYNs are the same to the last bit: a filter that lets a flow through only once its
//! SYN comes again sees that it has, and a device that remembers flows has one to remember in place of two. Since such a SYN
//! carries no time, round trips are measured by what discovery asks, and by canaries. Lanes change after two passes, so that a
//! flow that goes a bad way of several does not go it for ever.

use crate::packet::probe::Probe;

/// Passes that share a lane.
const PASSES: u8 = 2;
/// The lane of probes that are sent once and never again.
pub(super) const ONCE: u8 = 7;
/// The first lane of canaries; each canary takes the next of them, so that its flow is a new one to whoever is on the way.
const FRESH: u8 = 8;
/// Lanes of canaries in new flows.
const FRESH_COUNT: u8 = 7;
/// The lane of canaries in a flow that is kept going.
pub(crate) const KNOWN: u8 = 15;

/// The lane of a pass.
pub(super) fn of_pass(pass: u8) -> u8 {
    (pass / PASSES).min(ONCE - 1)
}

/// Whether a pass repeats the one before it.
pub(super) fn is_repeat(pass: u8) -> bool {
    !pass.is_multiple_of(PASSES)
}

/// The lane of the canary with this number, in a flow of its own.
pub(super) fn fresh(number: u64) -> u8 {
    FRESH + u8::try_from(number % u64::from(FRESH_COUNT)).expect("a remainder is below its divisor")
}

/// Whether a lane is one of canaries.
pub(crate) fn is_canary(lane: u8) -> bool {
    lane >= FRESH
}

/// Whether a probe says when it was sent; one that does not is the same however often it goes.
pub(crate) fn is_stamped(probe: Probe, lane: u8) -> bool {
    lane >= ONCE || matches!(probe, Probe::Echo | Probe::Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passes_share_a_lane_and_no_canary_takes_it() {
        let lanes: Vec<u8> = (0..15).map(of_pass).collect();
        assert_eq!(lanes, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6]);
        assert!(lanes.iter().all(|lane| !is_canary(*lane) && !is_stamped(Probe::Syn(80), *lane)));
        let canaries: Vec<u8> = (0..8).map(fresh).collect();
        assert_eq!(canaries, [8, 9, 10, 11, 12, 13, 14, 8]);
        assert!(canaries.iter().all(|lane| is_canary(*lane) && *lane != KNOWN) && is_canary(KNOWN));
        assert!(is_stamped(Probe::Syn(80), KNOWN) && is_stamped(Probe::Echo, 0) && !is_stamped(Probe::Ack(80), 0));
        assert!(is_stamped(Probe::Syn(80), ONCE) && !is_canary(ONCE));
    }
}
