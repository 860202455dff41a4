//! Events of OSV's schema as ranges: `introduced` opens one, `fixed` and `last_affected` close it, `limit` ends all.
//!
//! The schema gives events no order: they are sorted by their versions before they are gone through. Where the scheme does
//! not order them, nothing can be told of any version.

use std::cmp::Ordering;

use serde::Deserialize;

use super::lenient::text;
use crate::vuln::advisory::{RANGES_MAX, bounded};
use crate::vuln::version::{Range, Scheme, compare};

/// One event. The schema wants one version in each; where there are more, each is an event.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Event {
    #[serde(deserialize_with = "text")]
    introduced: Option<String>,
    #[serde(deserialize_with = "text")]
    fixed: Option<String>,
    #[serde(deserialize_with = "text")]
    last_affected: Option<String>,
    #[serde(deserialize_with = "text")]
    limit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Introduced,
    Fixed,
    LastAffected,
}

/// The ranges that events open and close.
pub(super) fn ranges(events: &[Event], scheme: Scheme) -> Vec<Range> {
    let mut changes: Vec<(Kind, String)> = Vec::new();
    let mut limits: Vec<String> = Vec::new();
    for event in events.iter().take(RANGES_MAX) {
        for (kind, version) in [
            (Kind::Introduced, &event.introduced),
            (Kind::Fixed, &event.fixed),
            (Kind::LastAffected, &event.last_affected),
        ] {
            changes.extend(version_in(version).map(|version| (kind, version)));
        }
        limits.extend(version_in(&event.limit));
    }
    if !changes.iter().any(|(kind, _)| *kind == Kind::Introduced) {
        // The schema wants one; without it nothing is affected.
        return Vec::new();
    }
    let is_unbounded = limits.is_empty() || limits.iter().any(|limit| limit == "*");
    let is_ordered = sort(&mut changes, scheme)
        && (is_unbounded || limits.iter().all(|limit| order(scheme, limit, limit).is_some()));
    if !is_ordered {
        let words = changes.iter().map(|(_, version)| version.as_str()).take(8).collect::<Vec<_>>().join(", ");
        return vec![Range::unread(scheme, &words)];
    }
    let mut found = between(&changes, scheme);
    if !is_unbounded {
        // Before any of them is before the last.
        let last = limits.iter().reduce(|a, b| if order(scheme, a, b) == Some(Ordering::Less) { b } else { a });
        let last = last.map(String::as_str).unwrap_or_default();
        found = found.into_iter().filter_map(|range| limited(range, last)).collect();
    }
    found
}

fn version_in(version: &Option<String>) -> Option<String> {
    version.as_deref().map(str::trim).filter(|version| !version.is_empty()).map(bounded)
}

/// The order of two versions; `0` is before all others.
fn order(scheme: Scheme, a: &str, b: &str) -> Option<Ordering> {
    match (a == "0", b == "0") {
        (true, true) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => compare(scheme, a, b)
            .or_else(|| (scheme == Scheme::Semver).then(|| compare(Scheme::Dotted, a, b)).flatten()),
    }
}

/// Sorts by version; at one version what was open is closed before something is opened, and what is opened is closed by
/// its own last version. Tells whether they have an order.
fn sort(changes: &mut [(Kind, String)], scheme: Scheme) -> bool {
    let has_order = |a: &(Kind, String), b: &(Kind, String)| order(scheme, &a.1, &b.1).is_some();
    let are_versions = changes.iter().all(|change| has_order(change, change));
    changes.sort_by(|a, b| {
        let rank = |kind: Kind| match kind {
            Kind::Fixed => 0,
            Kind::Introduced => 1,
            Kind::LastAffected => 2,
        };
        order(scheme, &a.1, &b.1).unwrap_or(Ordering::Equal).then_with(|| rank(a.0).cmp(&rank(b.0)))
    });
    are_versions && changes.iter().zip(changes.iter().skip(1)).all(|(a, b)| has_order(a, b))
}

fn between(changes: &[(Kind, String)], scheme: Scheme) -> Vec<Range> {
    let mut found = Vec::new();
    let mut open: Option<Range> = None;
    let mut closed_at: Option<&str> = None;
    for (kind, version) in changes {
        match kind {
            // Introduced and fixed at once, with nothing open before: no version is affected.
            Kind::Introduced if closed_at == Some(version.as_str()) => {}
            Kind::Introduced if open.is_some() => {}
            Kind::Introduced => {
                let all = Range::all(scheme);
                open = Some(if version == "0" { all } else { all.since(version.clone()) });
            }
            Kind::Fixed => match open.take() {
                Some(range) => found.push(range.before(version.clone())),
                None => closed_at = Some(version),
            },
            Kind::LastAffected => found.extend(open.take().map(|range| range.through(version.clone()))),
        }
    }
    found.extend(open);
    found
}

/// What of `range` is before `limit`.
fn limited(range: Range, limit: &str) -> Option<Range> {
    let scheme = range.scheme;
    let is_before = |version: &str| order(scheme, version, limit) == Some(Ordering::Less);
    if range.from.as_ref().is_some_and(|from| !is_before(&from.version)) {
        return None;
    }
    let ends_before = range.to.as_ref().is_some_and(|to| is_before(&to.version));
    Some(if ends_before { range } else { range.before(limit) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn text(events: Value, scheme: Scheme) -> String {
        let events: Vec<Event> = serde_json::from_value(events).unwrap();
        ranges(&events, scheme).iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn events_mean_the_same_in_any_order() {
        for (events, expected) in [
            (json!([{"introduced": "0"}, {"fixed": "2.1-3"}]), "< 2.1-3"),
            (json!([{"fixed": "2.1-3"}, {"introduced": "0"}]), "< 2.1-3"),
            (json!([{"last_affected": "2.1-3"}, {"introduced": "1.0"}]), ">= 1.0, <= 2.1-3"),
            (json!([{"introduced": "3.0"}, {"fixed": "2.5"}, {"fixed": "3.4"}]), ">= 3.0, < 3.4"),
            (
                json!([{"introduced": "0"}, {"introduced": "3.0"}, {"fixed": "2.5"}, {"fixed": "3.4"}]),
                "< 2.5 | >= 3.0, < 3.4",
            ),
            (
                json!([{"fixed": "3.4"}, {"fixed": "2.5"}, {"introduced": "3.0"}, {"introduced": "0"}]),
                "< 2.5 | >= 3.0, < 3.4",
            ),
            (json!([{"introduced": "0"}, {"fixed": "2.5"}, {"fixed": "2.7"}]), "< 2.5"),
            (json!([{"introduced": "0", "fixed": "2.5"}]), "< 2.5"),
            (json!([{"introduced": "2.0", "last_affected": "2.0"}]), "= 2.0"),
            (json!([{"introduced": "2.0"}, {"fixed": "2.0"}]), ""),
            (json!([{"introduced": "0"}, {"introduced": "1.0"}, {"fixed": "2.0"}]), "< 2.0"),
            (json!([{"introduced": "2.0"}]), ">= 2.0"),
            (json!([{"introduced": "0"}]), "any version"),
            (json!([{"introduced": 0}, {"fixed": 2}]), "< 2"),
            (json!([{"fixed": "2.0"}]), ""),
            (json!([{"introduced": null}, {}]), ""),
            (json!([{"introduced": "0"}, {"limit": "2.0"}]), "< 2.0"),
            (json!([{"limit": "2.0"}, {"introduced": "1.0"}, {"fixed": "3.0"}]), ">= 1.0, < 2.0"),
            (json!([{"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.2"}, {"limit": "2.0"}]), "< 1.5"),
            (json!([{"introduced": "0"}, {"limit": "1.0"}, {"limit": "2.0"}]), "< 2.0"),
            (json!([{"introduced": "0"}, {"limit": "1.0"}, {"limit": "*"}]), "any version"),
        ] {
            assert_eq!(text(events.clone(), Scheme::Dpkg), expected, "{events}");
        }
    }

    #[test]
    fn events_without_an_order_tell_nothing() {
        let events = json!([{"introduced": "1.0"}, {"fixed": "not a version"}]);
        assert_eq!(text(events, Scheme::Dpkg), "= ? not a version, 1.0");
        let events = json!([{"introduced": "0"}, {"limit": "!"}]);
        assert_eq!(text(events, Scheme::Dpkg), "= ? 0");
        assert_eq!(
            text(json!([{"introduced": "1.0.0.1"}, {"fixed": "1.0.0.9"}]), Scheme::Semver),
            ">= 1.0.0.1, < 1.0.0.9"
        );
    }

    /// What the schema says of one version: sort the events, go through them, and heed the limits.
    fn by_the_schema(events: &[(usize, u8)], version: u8) -> bool {
        let limits: Vec<u8> = events.iter().filter(|(kind, _)| *kind == 3).map(|(_, at)| *at).collect();
        let mut sorted: Vec<(u8, usize)> =
            events.iter().filter(|(kind, _)| *kind < 3).map(|(kind, at)| (*at, *kind)).collect();
        // At one version a correction comes before what is introduced.
        sorted.sort_by_key(|(at, kind)| (*at, [1, 0, 2][*kind]));
        let mut is_affected = false;
        for (at, kind) in sorted {
            match kind {
                0 if version >= at => is_affected = true,
                1 if version >= at => is_affected = false,
                2 if version > at => is_affected = false,
                _ => {}
            }
        }
        is_affected && (limits.is_empty() || limits.iter().any(|limit| version < *limit))
    }

    proptest::proptest! {
        #[test]
        fn every_order_of_events_says_what_the_schema_does(
            events in proptest::collection::vec((0_usize..4, 1_u8..9), 1..7), version in 1_u8..10
        ) {
            let name = ["introduced", "fixed", "last_affected", "limit"];
            let json: Vec<Value> = events.iter().map(|(kind, at)| json!({name[*kind]: format!("{at}.0")})).collect();
            let has_ties = {
                let mut all: Vec<u8> = events.iter().filter(|(kind, _)| *kind < 3).map(|(_, at)| *at).collect();
                all.sort_unstable();
                all.windows(2).any(|pair| pair[0] == pair[1])
            };
            proptest::prop_assume!(!has_ties);
            let events_read: Vec<Event> = serde_json::from_value(json!(json)).unwrap();
            let text = format!("{version}.0");
            let is_in = ranges(&events_read, Scheme::Dpkg).iter().any(|range| range.holds(&text) == crate::vuln::version::Verdict::Inside);
            proptest::prop_assert_eq!(is_in, by_the_schema(&events, version), "{:?} at {}", events, version);
        }
    }
}
