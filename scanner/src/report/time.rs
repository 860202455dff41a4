//! Times in words: the forms that reports need, all in UTC, none of them ever failing.
//!
//! Certificates and peers give any number for a time; what no calendar holds becomes the nearest time that one does.

use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Timestamp};

/// Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds; the last moment of year 9999 for any later one.
pub(super) fn rfc3339(unix_ms: u64) -> String {
    from_ms(unix_ms).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Milliseconds since 1970, 0 for whatever is earlier, of RFC 3339; and of all that [`rfc3339`] writes, which goes on a day longer than
/// moments with an offset do.
pub(super) fn unix_ms(text: &str) -> Result<u64, jiff::Error> {
    let of = |duration: SignedDuration| u64::try_from(duration.as_millis()).unwrap_or_default();
    match text.parse::<Timestamp>() {
        Ok(moment) => Ok(of(moment.as_duration())),
        Err(error) => {
            let clock = text.strip_suffix('Z').and_then(|clock| clock.parse::<DateTime>().ok());
            let ms = clock.map(|clock| of(clock.duration_since(date(1970, 1, 1).at(0, 0, 0, 0))));
            ms.filter(|ms| rfc3339(*ms) == text).ok_or(error)
        }
    }
}

/// The day of a moment in seconds since 1970, as `2026-11-26`.
pub(super) fn day(unix_s: i64) -> String {
    since_1970(SignedDuration::from_secs(unix_s)).strftime("%Y-%m-%d").to_string()
}

/// A moment in seconds since 1970, as nmap writes certificates' times: `2026-11-26T07:00:00`.
pub(super) fn second(unix_s: i64) -> String {
    since_1970(SignedDuration::from_secs(unix_s)).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Milliseconds since 1970 as `asctime` writes them: `Thu Nov 26 07:00:00 2026`.
pub(super) fn asctime(unix_ms: u64) -> String {
    from_ms(unix_ms).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

fn from_ms(unix_ms: u64) -> DateTime {
    since_1970(SignedDuration::from_millis(i64::try_from(unix_ms).unwrap_or(i64::MAX)))
}

/// The time of a clock in UTC: unlike a moment anywhere on earth, it goes to the last second of year 9999, which
/// certificates without an end have (RFC 5280 section 4.1.2.5).
fn since_1970(duration: SignedDuration) -> DateTime {
    let nearest = if duration.is_negative() { DateTime::MIN } else { DateTime::MAX };
    date(1970, 1, 1).at(0, 0, 0, 0).checked_add(duration).unwrap_or(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_every_calendar_is_still_a_time() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(
            (day(253_402_300_799), second(253_402_300_799)),
            ("9999-12-31".into(), "9999-12-31T23:59:59".into())
        );
        assert_eq!(day(-1), "1969-12-31");
        assert!(day(i64::MAX) == "9999-12-31" && second(i64::MAX) == "9999-12-31T23:59:59");
        assert!(day(i64::MIN).starts_with("-9999-") && second(i64::MIN).starts_with("-9999-"));
    }

    #[test]
    fn every_time_that_is_written_reads_back() {
        // From the last moment with an offset on, there are 26 hours more on a clock in UTC.
        for ms in [0, 1_700_000_000_123, 253_402_207_200_999, 253_402_207_201_000, 253_402_300_799_999] {
            assert_eq!(unix_ms(&rfc3339(ms)).unwrap(), ms);
        }
        assert_eq!(unix_ms(&rfc3339(u64::MAX)).unwrap(), 253_402_300_799_999);
        assert_eq!(unix_ms("2023-11-14T23:13:20.123+01:00").unwrap(), 1_700_000_000_123);
        assert_eq!(unix_ms("1969-12-31T00:00:00Z").unwrap(), 0);
        for text in ["", "Z", "9999-12-31Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999", "yesterday"] {
            assert!(unix_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_written_as_nmap_writes_it() {
        assert_eq!(asctime(1_700_000_000_123), "Tue Nov 14 22:13:20 2023");
        assert_eq!(second(1_700_000_000), "2023-11-14T22:13:20");
    }
}
