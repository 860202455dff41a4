//! Whether the links to a unit's targets carry packets yet.
//!
//! The kernel takes up to a second from a link's coming up to its first packet, and drops without a word what is sent over it until
//! then. A unit of connections or datagrams that comes in that second would find nobody; so it waits, but not for a cable that is
//! not there. Raw units do the same by their own means (`syn_scan/lost_way.rs`).

use std::time::Duration;

use super::reach::Reach;
use crate::target::TargetSet;

/// How long a link is waited for.
const WAIT_MAX: Duration = Duration::from_millis(1500);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a unit waits for before it begins.
#[derive(Debug)]
pub(super) struct Carrier {
    /// Until when at most, while it waits, and when it looks again.
    waits: Option<(Duration, Duration)>,
    targets: TargetSet,
}

impl Carrier {
    /// That of a unit with these targets, which comes `now`.
    pub(super) fn new(now: Duration, targets: &TargetSet) -> Self {
        let mut carrier = Self { waits: Some((now + WAIT_MAX, now)), targets: TargetSet::default() };
        if is_down(targets) {
            carrier.targets = targets.clone();
        } else {
            carrier.waits = None;
        }
        carrier
    }

    /// When to look again, while a link is waited for.
    pub(super) fn awaited(&mut self, now: Duration) -> Option<Duration> {
        let (until, next) = self.waits?;
        if now >= until {
            self.waits = None;
        } else if now >= next {
            self.waits = is_down(&self.targets).then_some((until, now + LOOK_EVERY));
        }
        self.waits.map(|(_, next)| next)
    }
}

/// Whether a route to some of the targets leads over a link that carries nothing.
fn is_down(targets: &TargetSet) -> bool {
    Reach::now().is_some_and(|reach| reach.is_down_to(targets))
}
