//! Wall time, read in one place, and how times and durations are written. Decisions use monotonic time or the log's clock
//! instead.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Unix milliseconds now.
#[must_use]
pub fn wall_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// Unix nanoseconds now.
#[must_use]
pub fn wall_ns() -> u64 {
    u64::try_from(since_epoch().as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the node's one reading of the wall clock, for display and records")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The rules of all zones as they come with the program, so that all nodes of a release come to the same instants, whatever is
/// installed beside it.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
/// Names that mean another zone on each machine, or none.
const NO_ZONES: [&str; 5] = ["localtime", "posixrules", "local", "factory", "etc/unknown"];
/// Longer than any name of a zone.
const ZONE_NAME_BYTES_MAX: usize = 64;

/// A zone by its IANA name.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    if name.len() > ZONE_NAME_BYTES_MAX || NO_ZONES.iter().any(|none| name.eq_ignore_ascii_case(none)) {
        return None;
    }
    ZONES.get(name).ok().filter(|zone| zone.iana_name().is_some())
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(at_ms: u64) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// A number of seconds as its two largest units: `45m 12s`, `5d 3h`, `2h 15m`, `59s`.
#[must_use]
pub fn duration_words(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut pairs = UNITS.iter().zip(UNITS.iter().skip(1));
    match pairs.find(|((large, _), _)| seconds >= *large) {
        Some(((large, large_name), (small, small_name))) => {
            format!("{}{large_name} {}{small_name}", seconds / large, seconds % large / small)
        }
        None => format!("{seconds}s"),
    }
}

/// How long ago something was: `12 ms ago`, `4 s ago`, `5m 2s ago`.
#[must_use]
pub fn ago(elapsed_ms: u64) -> String {
    match elapsed_ms {
        ms @ 0..1000 => format!("{ms} ms ago"),
        ms @ 1000..60_000 => format!("{} s ago", ms / 1000),
        ms => format!("{} ago", duration_words(ms / 1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_unit_that_fits_it() {
        let told = [12, 999, 1000, 59_999, 61_000].map(ago);
        assert_eq!(told, ["12 ms ago", "999 ms ago", "1 s ago", "59 s ago", "1m 1s ago"]);
    }

    #[test]
    fn durations_read_as_in_the_original_description() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (45 * 60 + 12, "45m 12s"),
            (40 * 60 + 5, "40m 5s"),
            (2 * 3600 + 15 * 60 + 59, "2h 15m"),
            (5 * 86_400 + 3 * 3600, "5d 3h"),
            (u64::MAX, "213503982334601d 7h"),
        ] {
            assert_eq!(duration_words(seconds), expected);
        }
    }
}
