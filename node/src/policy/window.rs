//! Which addresses are closed at an instant, by which rule, and until when.
//!
//! A network is open while no blackout of it holds and, where any window names it, one of these holds. What no window names is
//! open at any time.

use ipnet::IpNet;
use pentora_raft::command::When;
use pentora_scanner::target::TargetSet;
use serde::{Deserialize, Serialize};

use super::hours::{self, At};

/// A window or a blackout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) rule: String,
    pub(super) networks: Vec<IpNet>,
    pub(super) when: When,
    pub(super) blackout: bool,
}

/// Targets that may not be scanned at an instant. Nothing is sent to them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct Closed {
    /// The window or blackout that says so.
    pub rule: String,
    /// Whether it is a blackout.
    pub blackout: bool,
    /// Its hours, in words.
    pub hours: String,
    /// When that changes, in unix milliseconds, where it is known.
    pub until_ms: Option<u64>,
}

impl Closed {
    fn words(&self) -> String {
        let Self { rule, hours, .. } = self;
        let until = self.until_ms.map_or_else(String::new, |ms| format!(" until {}", crate::clock::rfc3339(ms)));
        match self.blackout {
            true => format!("blackout `{rule}` ({hours}) forbids it{until}"),
            false => format!("window `{rule}` ({hours}) is closed{until}"),
        }
    }
}

impl Window {
    /// Whether it keeps its networks from being scanned: a blackout that holds, or a window that does not. A zone that this node
    /// does not know keeps them.
    fn keeps(&self, at_ms: u64) -> bool {
        match hours::at(&self.when, at_ms) {
            At::Within => self.blackout,
            At::Outside => !self.blackout,
            At::Unknown => true,
        }
    }

    pub(super) fn holds(&self, at_ms: u64) -> bool {
        hours::at(&self.when, at_ms) == At::Within
    }

    fn of(&self, targets: &TargetSet) -> TargetSet {
        if self.networks.is_empty() { targets.clone() } else { targets.intersect_nets(&self.networks) }
    }
}

/// The first rule that closes any of the targets at an instant. Of host names only rules for all networks are known to be about
/// them; their addresses are held against the others where they are resolved.
pub(super) fn closed(windows: &[Window], targets: &TargetSet, at_ms: u64) -> Option<Closed> {
    let shut = windows.iter().filter(|window| window.keeps(at_ms));
    let open: Vec<&Window> = windows.iter().filter(|window| !window.blackout && !window.keeps(at_ms)).collect();
    for window in shut {
        let mut about = window.of(targets);
        if !window.blackout {
            for other in &open {
                about = about.exclude(&other.of(&about));
            }
        }
        if !about.is_empty() {
            let until_ms = hours::next_change(&window.when, at_ms);
            let (rule, hours) = (window.rule.clone(), hours::words(&window.when));
            return Some(Closed { rule, blackout: window.blackout, hours, until_ms });
        }
    }
    None
}

/// Every address that is closed at an instant.
pub(super) fn all_closed(windows: &[Window], at_ms: u64) -> TargetSet {
    let mut all = TargetSet::builder();
    // As an exclusion, which may be larger than what is scanned.
    let everything = super::exclusion_targets(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]);
    let everything = everything.expect("every address is a set of addresses");
    let open: Vec<&Window> = windows.iter().filter(|window| !window.blackout && !window.keeps(at_ms)).collect();
    for window in windows.iter().filter(|window| window.keeps(at_ms)) {
        let mut shut = window.of(&everything);
        if !window.blackout {
            for other in &open {
                shut = shut.exclude(&other.of(&shut));
            }
        }
        all.add_set(&shut);
    }
    // A thousand rules of a thousand networks are within the bounds of a set.
    all.build_uncounted().unwrap_or(everything)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(rule: &str, networks: &[&str], from_ms: u64, until_ms: u64, blackout: bool) -> Window {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        Window { rule: rule.into(), networks, when: When::Once { from_ms, until_ms }, blackout }
    }

    fn at(windows: &[Window], targets: &str, ms: u64) -> Option<String> {
        closed(windows, &targets.parse().unwrap(), ms).map(|closed| closed.rule)
    }

    #[test]
    fn what_a_window_names_is_open_in_it_alone_and_what_none_names_always() {
        let windows =
            [window("plant", &["10.1.0.0/16"], 10, 20, false), window("more", &["10.1.9.0/24"], 30, 40, false)];
        assert_eq!([9, 10, 20].map(|ms| at(&windows, "10.1.0.1", ms).is_none()), [false, true, false]);
        assert_eq!(at(&windows, "10.2.0.1", 5), None);
        assert_eq!(at(&windows, "10.1.9.7", 35), None, "one of its windows is enough");
        assert_eq!(at(&windows, "10.1.9.7,10.1.8.7", 35).as_deref(), Some("plant"));
        assert_eq!(at(&windows, "10.1.9.0/24", 15).as_deref(), None);
    }

    #[test]
    fn a_blackout_goes_before_every_window_and_one_for_all_is_about_names_too() {
        let windows = [window("all", &[], 0, 100, false), window("freeze", &["10.1.0.0/24"], 10, 20, true)];
        assert_eq!(at(&windows, "10.1.0.0/16", 15).as_deref(), Some("freeze"));
        assert_eq!(at(&windows, "10.1.0.0/16", 25), None);
        let names: TargetSet = "web.example".parse().unwrap();
        let told = closed(&windows, &names, 100).unwrap().to_string();
        assert!(told.starts_with("window `all` (1970-01-01T00:00:00.000Z until"), "{told}");
        let told = closed(&windows, &"10.1.0.9".parse().unwrap(), 12).unwrap().to_string();
        assert!(told.starts_with("blackout `freeze`") && told.ends_with("until 1970-01-01T00:00:00.020Z"), "{told}");
    }

    proptest! {
        /// Against a model that asks of each address by itself.
        #[test]
        fn targets_are_closed_where_any_address_of_them_is(
            rules in prop::collection::vec((0u8..4, 0u64..10, 1u64..10, any::<bool>()), 0..5),
            first in 0u8..8, length in 1u8..8, ms in 0u64..20,
        ) {
            let windows: Vec<Window> = rules.iter().map(|(net, from, length, blackout)| {
                let net = [vec!["10.0.0.0/29"], vec!["10.0.0.0/31", "10.0.0.4/30"], vec!["10.0.0.8/29"], vec![]][usize::from(*net)].clone();
                window("r", &net, *from, from + length, *blackout)
            }).collect();
            let is_open = |address: std::net::IpAddr| {
                let about = |window: &&Window| window.networks.is_empty() || window.networks.iter().any(|net| net.contains(&address));
                let mut of_windows = windows.iter().filter(about).filter(|window| !window.blackout).peekable();
                let by_window = of_windows.peek().is_none() || of_windows.any(|window| window.holds(ms));
                by_window && !windows.iter().filter(about).any(|window| window.blackout && window.holds(ms))
            };
            let targets: TargetSet = format!("10.0.0.{first}-10.0.0.{}", first + length).parse().unwrap();
            let all_open = (first..=first + length).all(|last| is_open(std::net::Ipv4Addr::new(10, 0, 0, last).into()));
            prop_assert_eq!(closed(&windows, &targets, ms).is_none(), all_open);
            let shut = all_closed(&windows, ms);
            for last in first..=first + length {
                let address = std::net::Ipv4Addr::new(10, 0, 0, last).into();
                prop_assert_eq!(shut.contains(address), !is_open(address));
            }
        }
    }
}
