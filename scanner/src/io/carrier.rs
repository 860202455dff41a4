//! Whether the links to a unit's targets carry packets yet.
//!
//! The kernel takes up to a second from a link's coming up to its first packet, and drops without a word what is sent over it until
//! then. A unit of connections or datagrams that comes in that second would find nobody; so it waits, but not for a cable that is
//! not there: a link that was waited for in vain is not waited for again until it has carried. Raw units do the same by their own
//! means (`syn_scan/lost_way.rs`).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;

use super::raw::netlink::TCP;
use super::reach::Reach;
use crate::target::TargetSet;

/// How long a link is waited for.
const WAIT_MAX: Duration = Duration::from_millis(1500);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most routes that are remembered to have been waited for.
const IN_VAIN_MAX: usize = 1_024;

/// The routes that units of this process waited for in vain, and that have led nowhere since.
static IN_VAIN: Mutex<InVain> = Mutex::new(InVain(BTreeSet::new()));

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
        if is_awaited(targets, false) {
            Self { waits: Some((now + WAIT_MAX, now)), targets: targets.clone() }
        } else {
            Self { waits: None, targets: TargetSet::default() }
        }
    }

    /// When to look again, while a link is waited for.
    pub(super) fn awaited(&mut self, now: Duration) -> Option<Duration> {
        let (until, next) = self.waits?;
        let is_over = now >= until;
        if is_over || now >= next {
            self.waits = is_awaited(&self.targets, is_over).then_some((until, now + LOOK_EVERY));
        }
        self.waits.map(|(_, next)| next)
    }
}

/// Whether a route to some of the targets leads over a link that carries nothing and that was not waited for yet. No longer so once
/// the wait `is_over`.
fn is_awaited(targets: &TargetSet, is_over: bool) -> bool {
    let reach = Reach::now(TCP);
    let down: BTreeSet<IpNet> = reach.iter().flat_map(Reach::down).collect();
    let of_targets: Vec<IpNet> = reach.iter().flat_map(|reach| reach.down_to(targets)).collect();
    IN_VAIN.lock().unwrap_or_else(PoisonError::into_inner).is_awaited(&down, &of_targets, is_over)
}

/// Routes that were waited for in vain.
#[derive(Debug)]
struct InVain(BTreeSet<IpNet>);

impl InVain {
    /// Whether one of the routes `of_targets` is to be waited for, of all that are `down` now. Once the wait `is_over`, none is.
    fn is_awaited(&mut self, down: &BTreeSet<IpNet>, of_targets: &[IpNet], is_over: bool) -> bool {
        self.0.retain(|to| down.contains(to));
        if is_over {
            let room = IN_VAIN_MAX.saturating_sub(self.0.len());
            self.0.extend(of_targets.iter().take(room));
            return false;
        }
        of_targets.iter().any(|to| !self.0.contains(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_waited_for_once_until_it_has_carried() {
        let (one, other): (IpNet, IpNet) = ("10.1.0.0/24".parse().unwrap(), "10.2.0.0/24".parse().unwrap());
        let both = BTreeSet::from([one, other]);
        let mut in_vain = InVain(BTreeSet::new());
        assert!(in_vain.is_awaited(&both, &[one], false), "nobody has waited for it");
        assert!(!in_vain.is_awaited(&both, &[one], true), "the wait is over");
        assert!(!in_vain.is_awaited(&both, &[one], false), "it was waited for");
        assert!(in_vain.is_awaited(&both, &[one, other], false), "of another nothing is known");
        assert!(!in_vain.is_awaited(&BTreeSet::new(), &[], false), "it carries again");
        assert!(in_vain.is_awaited(&both, &[one], false), "and is lost again");
    }
}
