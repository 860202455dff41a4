//! Times in words: the forms that reports need, all in UTC, none of them ever failing.
//!
//! Certificates and peers give any number for a time; what no calendar holds becomes the nearest time that one does.

use jiff::Timestamp;

/// Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds; the last moment of year 9999 for any later one.
pub(super) fn rfc3339(unix_ms: u64) -> String {
    format!("{:.3}", from_ms(unix_ms))
}

/// The day of a moment in seconds since 1970, as `2026-11-26`.
pub(super) fn day(unix_s: i64) -> String {
    let time = Timestamp::from_second(unix_s).unwrap_or(if unix_s < 0 { Timestamp::MIN } else { Timestamp::MAX });
    time.strftime("%Y-%m-%d").to_string()
}

/// A moment in seconds since 1970, as nmap writes certificates' times: `2026-11-26T07:00:00`.
pub(super) fn second(unix_s: i64) -> String {
    let time = Timestamp::from_second(unix_s).unwrap_or(if unix_s < 0 { Timestamp::MIN } else { Timestamp::MAX });
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Milliseconds since 1970 as `asctime` writes them: `Thu Nov 26 07:00:00 2026`.
pub(super) fn asctime(unix_ms: u64) -> String {
    from_ms(unix_ms).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

fn from_ms(unix_ms: u64) -> Timestamp {
    i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_every_calendar_is_still_a_time() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert!(rfc3339(u64::MAX).starts_with("9999-12-"));
        assert_eq!(day(-1), "1969-12-31");
        assert!(day(i64::MAX).starts_with("9999-12-") && second(i64::MAX).starts_with("9999-12-"));
        assert!(day(i64::MIN).starts_with("-9999-") && second(i64::MIN).starts_with("-9999-"));
    }

    #[test]
    fn a_time_is_written_as_nmap_writes_it() {
        assert_eq!(asctime(1_700_000_000_123), "Tue Nov 14 22:13:20 2023");
        assert_eq!(second(1_700_000_000), "2023-11-14T22:13:20");
    }
}
