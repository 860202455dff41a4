//! What a node's own file allows: less than the cluster's rules, never more, and whoever leads.
//!
//! Scope, exclusions and windows of the file are asked beside the cluster's, by the node that scans: when a unit begins, and
//! before each send. What windows close at an instant is also taken from the networks that the node says it reaches, so that
//! it is given no work there.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use pentora_raft::command::{EVERY_DAY, Hours, When};
use pentora_scanner::scope::Scope;
use pentora_scanner::target::{AddressRange, TargetError, TargetSet};
use tokio::sync::watch;

use super::window::{self, Closed, Window};
use super::{exclusion_targets, hours};
use crate::signing::TrustedKey;

/// Networks that a node says it reaches, at most: they are in an entry of the log. With more, it is asked when work comes.
const NETWORKS_MAX: usize = 256;

/// The rules of a node's own file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnRules {
    scope: Option<Scope>,
    exclude: Vec<String>,
    windows: Vec<Window>,
    signers: Option<Vec<TrustedKey>>,
}

/// The rules of this node's own file, as it was read last. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OwnFile(watch::Sender<Arc<OwnRules>>);

impl Default for OwnFile {
    fn default() -> Self {
        Self::new(OwnRules::default())
    }
}

impl OwnFile {
    /// With these rules, until others are set.
    #[must_use]
    pub fn new(rules: OwnRules) -> Self {
        Self(watch::Sender::new(Arc::new(rules)))
    }

    /// The rules now.
    #[must_use]
    pub fn now(&self) -> Arc<OwnRules> {
        Arc::clone(&self.0.borrow())
    }

    /// Has these rules hold from now on.
    pub fn set(&self, rules: OwnRules) {
        self.0.send_replace(Arc::new(rules));
    }

    /// Tells of each change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<OwnRules>> {
        self.0.subscribe()
    }
}

impl OwnRules {
    /// The rules of a file: nothing outside of `scope`, nothing to `exclude`, its networks in `windows` alone and not in
    /// `blackouts`.
    ///
    /// # Errors
    /// A sentence about the first text that is no rule.
    pub fn read(
        scope: Option<Scope>,
        exclude: &[String],
        windows: &[String],
        blackouts: &[String],
    ) -> Result<Self, String> {
        exclusion_targets(exclude).map_err(|error| error.to_string())?;
        let windows = windows.iter().map(|text| window_of(text, false));
        let windows = windows.chain(blackouts.iter().map(|text| window_of(text, true)));
        let windows = windows.collect::<Result<_, _>>()?;
        Ok(Self { scope, exclude: exclude.to_vec(), windows, signers: None })
    }

    /// The same, with work of nobody's orders begun but of those that these keys signed.
    #[must_use]
    pub fn signed_by(self, signers: Vec<TrustedKey>) -> Self {
        Self { signers: Some(signers), ..self }
    }

    /// Whose orders are taken alone; `None` where all are.
    #[must_use]
    pub fn signers(&self) -> Option<&[TrustedKey]> {
        self.signers.as_deref()
    }

    /// What alone may be sent to; anything where there is none.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Why the targets may not be scanned at an instant; `None` where they may.
    #[must_use]
    pub fn closed(&self, targets: &TargetSet, at_ms: u64) -> Option<Closed> {
        window::closed(&self.windows, targets, at_ms)
    }

    /// What is left out at an instant, names as they are written.
    ///
    /// # Errors
    /// More than a set may hold.
    pub fn excluded_at(&self, at_ms: u64) -> Result<TargetSet, TargetError> {
        let mut all = TargetSet::builder();
        all.add_set(&window::all_closed(&self.windows, at_ms));
        self.exclude.iter().try_for_each(|text| all.add_exclusions(text, "worker.exclude"))?;
        all.build_uncounted()
    }

    /// Which of the windows and blackouts hold at an instant.
    #[must_use]
    pub fn hold_at(&self, at_ms: u64) -> Vec<bool> {
        self.windows.iter().map(|window| window.holds(at_ms)).collect()
    }

    /// Of the networks that are reached, all where there is none, those that are not closed at an instant.
    #[must_use]
    pub fn open_at(&self, reached: Option<Vec<IpNet>>, at_ms: u64) -> Option<Vec<IpNet>> {
        let closed = window::all_closed(&self.windows, at_ms);
        if closed.is_empty() {
            return reached;
        }
        let closed: Vec<AddressRange> = closed.ranges().collect();
        let everything = || ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse().ok()).collect();
        let all: Vec<IpNet> = reached.clone().unwrap_or_else(everything);
        let mut open: Vec<IpNet> = Vec::new();
        all.into_iter().for_each(|net| open_parts(net, &closed, &mut open));
        if open.len() > NETWORKS_MAX {
            return reached;
        }
        Some(open)
    }
}

/// Adds the parts of a network that no range closes: halves of halves, as few as there can be.
fn open_parts(net: IpNet, closed: &[AddressRange], open: &mut Vec<IpNet>) {
    if open.len() > NETWORKS_MAX || is_mapped(net) {
        return;
    }
    let (first, last) = (net.network(), net.broadcast());
    let meets =
        |range: &AddressRange| range.first.is_ipv4() == first.is_ipv4() && range.first <= last && range.last >= first;
    let covers = |range: &AddressRange| meets(range) && range.first <= first && range.last >= last;
    if !closed.iter().any(meets) {
        open.push(net);
    } else if !closed.iter().any(covers)
        && let Ok(halves) = net.subnets(net.prefix_len() + 1)
    {
        halves.for_each(|half| open_parts(half, closed, open));
    }
}

/// Whether these are IPv4 addresses, written as IPv6: what is closed of them is said of IPv4.
fn is_mapped(net: IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.prefix_len() >= 96 && net.network().to_ipv4_mapped().is_some())
}

/// Checks a window or blackout as it is written in a file.
///
/// # Errors
/// A sentence about what is wrong with it.
pub fn check_window(text: &str) -> Result<(), String> {
    window_of(text, false).map(drop)
}

/// Whether a text is meant as an instant, and not as days or hours: it begins with a year.
fn is_date(text: &str) -> bool {
    let year = text.as_bytes().iter().take_while(|byte| byte.is_ascii_digit()).count();
    year >= 4 && text.as_bytes().get(year) == Some(&b'-')
}

/// Reads `[CIDR ...] [DAYS] HOURS ZONE`, or `[CIDR ...] FROM UNTIL [ZONE]`.
fn window_of(text: &str, blackout: bool) -> Result<Window, String> {
    let network = |word: &&str| word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from)).ok();
    let mut words = text.split_whitespace().peekable();
    let mut networks = Vec::new();
    while let Some(net) = words.peek().and_then(network) {
        networks.push(net.trunc());
        words.next();
    }
    let words: Vec<&str> = words.collect();
    let weekly = |days: Option<&str>, (from_minute, until_minute): (u16, u16), zone: &str| {
        hours::check_zone(zone)?;
        let days = days.map_or(Ok(EVERY_DAY), hours::days_of)?;
        Ok::<_, String>(When::Weekly(Hours { zone: zone.to_owned(), days, from_minute, until_minute }))
    };
    let once = |from: &str, until: &str, zone: Option<&str>| {
        let (from_ms, until_ms) = (hours::instant_of(from, zone)?, hours::instant_of(until, zone)?);
        if from_ms >= until_ms {
            return Err("a time ends after it begins".to_owned());
        }
        Ok(When::Once { from_ms, until_ms })
    };
    let when = match *words.as_slice() {
        [first, second] => match hours::hours_of(first) {
            Ok(hours) => weekly(None, hours, second),
            Err(_) if is_date(first) => once(first, second, None),
            Err(why) => Err(why),
        },
        [first, second, zone] => match hours::hours_of(second) {
            Ok(hours) => weekly(Some(first), hours, zone),
            Err(_) if is_date(first) || is_date(second) => once(first, second, Some(zone)),
            Err(why) => Err(why),
        },
        _ => Err("write it as `mon-fri 22:00-06:00 Europe/Berlin`, with networks in front where it is for some alone, or as \
                  `2026-12-20T00:00 2027-01-05T00:00 Europe/Berlin`"
            .to_owned()),
    }?;
    let key = if blackout { "worker.blackouts" } else { "worker.windows" };
    Ok(Window { rule: format!("{key} in this node's own file"), networks, when, blackout })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(exclude: &[&str], windows: &[&str], blackouts: &[&str]) -> OwnRules {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        OwnRules::read(None, &texts(exclude), &texts(windows), &texts(blackouts)).unwrap()
    }

    fn ms(text: &str) -> u64 {
        hours::instant_of(text, None).unwrap()
    }

    #[test]
    fn windows_are_read_as_they_are_written_and_what_is_none_says_how_to_write_one() {
        for good in [
            "22:00-06:00 Europe/Berlin",
            "mon-fri 22:00-06:00 Europe/Berlin",
            "10.1.0.0/16 fd00::/8 sat,sun 00:00-24:00 UTC",
            "10.1.0.7 2026-12-20T00:00 2027-01-05T00:00 Europe/Berlin",
            "2026-12-20T00:00:00Z 2027-01-05T00:00:00Z",
        ] {
            check_window(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for (bad, part) in [
            ("", "write it as"),
            ("22:00-06:00", "write it as"),
            ("22:00-06:00 Mars", "`Mars`"),
            ("someday 22:00-06:00 UTC", "is no day"),
            ("2027-01-05T00:00:00Z 2026-12-20T00:00:00Z", "ends after it begins"),
            ("10.1.0.0/99 22:00-06:00 UTC", "10.1.0.0/99"),
            ("mon 25:00-06:00 Europe/Berlin", "hours: `25:00-06:00`"),
            ("25:00-06:00 Europe/Berlin", "hours: `25:00-06:00`"),
            ("2027-13-05T00:00 2027-12-20T00:00 UTC", "is no instant"),
        ] {
            let error = check_window(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn what_the_file_closes_is_excluded_told_with_its_key_and_not_reached() {
        let own = rules(&["10.1.0.9", "db.example"], &["10.1.0.0/16 22:00-06:00 UTC"], &[]);
        let (day, night) = (ms("2026-06-01T12:00:00Z"), ms("2026-06-01T23:00:00Z"));
        let targets: TargetSet = "10.1.0.0/24".parse().unwrap();
        let told = own.closed(&targets, day).unwrap().to_string();
        assert!(told.starts_with("window `worker.windows in this node's own file`"), "{told}");
        assert_eq!(own.closed(&targets, night), None);
        assert_eq!(own.closed(&"10.2.0.1".parse().unwrap(), day), None, "no window names it");
        let left_out = own.excluded_at(night).unwrap();
        assert!(left_out.contains("10.1.0.9".parse().unwrap()) && !left_out.contains("10.1.0.8".parse().unwrap()));
        assert_eq!(left_out.name_count(), 1);
        assert!(own.excluded_at(day).unwrap().contains("10.1.0.8".parse().unwrap()));
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(own.open_at(Some(nets(&["10.0.0.0/15"])), day), Some(nets(&["10.0.0.0/16"])));
        assert_eq!(own.open_at(Some(nets(&["10.0.0.0/15"])), night), Some(nets(&["10.0.0.0/15"])));
        assert_eq!(own.open_at(None, night), None);
        let open = own.open_at(None, day).unwrap();
        assert!(open.iter().all(|net| !net.contains(&"10.1.0.1".parse::<IpAddr>().unwrap())));
        assert!(open.iter().any(|net| net.contains(&"10.2.0.1".parse::<IpAddr>().unwrap())));
        assert!(open.contains(&"::/0".parse().unwrap()) && open.len() == 17, "{open:?}");
        let frozen = rules(&[], &[], &["2026-01-01T00:00:00Z 2099-01-01T00:00:00Z"]);
        assert_eq!(frozen.open_at(None, day), Some(Vec::new()));
    }
}
