//! Wall time, read in one place, and how documents write it. Decisions use monotonic time or the log's clock instead.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds now.
#[expect(clippy::disallowed_methods, reason = "the node's one reading of the wall clock, for display and records")]
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(at_ms: u64) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
