//! Certificates whose dates are none: they are put right for the parser, and told as what they are.
//!
//! A thirteenth month, an empty date or letters in it are none. The thirtieth of February, a 24th hour and a leap second are
//! read as the moment that they count to.

use super::front::{Head, wrapped};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// A date that every parser takes, as a whole element.
const PLACEHOLDER: &[u8] = b"\x17\x0d700101000000Z";
/// Which element the validity is, behind the version where there is one: serial number, algorithm, issuer, validity.
const VALIDITY_PLACE: usize = 3;
const VERSION: u8 = 0xa0;

/// When a certificate is valid, as far as it tells: seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) not_before_s: Option<i64>,
    pub(super) not_after_s: Option<i64>,
}

impl Dates {
    /// Whether one of them is no date.
    pub(super) fn are_odd(&self) -> bool {
        self.not_before_s.is_none() || self.not_after_s.is_none()
    }
}

/// A certificate that can be parsed, and the dates that it had.
pub(super) struct Mended {
    pub(super) der: Vec<u8>,
    pub(super) dates: Dates,
}

/// The certificate with dates in the place of its own; `None` where it has no place for them.
pub(super) fn mended(der: &[u8]) -> Option<Mended> {
    let outer = Head::of(der).filter(|head| head.tag == SEQUENCE)?;
    let content = outer.rest.get(..outer.length)?;
    let tbs = Head::of(content).filter(|head| head.tag == SEQUENCE)?;
    let fields = tbs.rest.get(..tbs.length)?;
    let signature = tbs.rest.get(tbs.length..)?;
    let has_version = fields.first() == Some(&VERSION);
    let mut rest = fields;
    for _ in 0..VALIDITY_PLACE + usize::from(has_version) {
        let head = Head::of(rest)?;
        rest = head.rest.get(head.length..)?;
    }
    let before = fields.get(..fields.len() - rest.len())?;
    let validity = Head::of(rest).filter(|head| head.tag == SEQUENCE)?;
    let after = validity.rest.get(validity.length..)?;
    let first = Head::of(validity.rest.get(..validity.length)?)?;
    let not_before_s = moment(first.tag, first.rest.get(..first.length)?);
    let second = Head::of(first.rest.get(first.length..)?)?;
    let not_after_s = moment(second.tag, second.rest.get(..second.length)?);
    let validity = wrapped(&[PLACEHOLDER, PLACEHOLDER].concat());
    let tbs = wrapped(&[before, &validity, after].concat());
    Some(Mended { der: wrapped(&[&tbs, signature].concat()), dates: Dates { not_before_s, not_after_s } })
}

/// The moment that a date counts to, if it is one.
fn moment(tag: u8, text: &[u8]) -> Option<i64> {
    let (text, ahead_s) = without_zone(std::str::from_utf8(text).ok()?)?;
    let text = text.split_once('.').map_or(text, |(text, _fraction)| text);
    let (year, rest) = text.split_at_checked(if tag == GENERALIZED_TIME { 4 } else { 2 })?;
    let mut numbers = Vec::new();
    for pair in rest.as_bytes().chunks(2) {
        let is_number = pair.len() == 2 && pair.iter().all(u8::is_ascii_digit);
        numbers.push(std::str::from_utf8(pair).ok().filter(|_| is_number)?.parse::<i8>().ok()?);
    }
    let (year, [month, day, hour, minute, seconds @ ..]) = (year.parse::<i16>().ok()?, numbers.as_slice()) else {
        return None;
    };
    // RFC 5280: two digits are of 1950 to 2049.
    let year = if tag == UTC_TIME { year + if year < 50 { 2000 } else { 1900 } } else { year };
    let second = match seconds {
        [] => 0,
        [second] => *second,
        _ => return None,
    };
    let is_near = (1..=31).contains(day) && *hour <= 24 && *minute < 60 && second <= 60;
    let first = jiff::civil::Date::new(year, *month, 1)
        .ok()
        .filter(|_| is_near && (tag == UTC_TIME || tag == GENERALIZED_TIME))?;
    let midnight = first.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    let [day, hour, minute, second] = [*day - 1, *hour, *minute, second].map(i64::from);
    Some(midnight + day * 86_400 + hour * 3_600 + minute * 60 + second - ahead_s)
}

/// A date without its zone, and how many seconds that is ahead of UTC: `Z`, or `+hhmm`, which RFC 5280 does not allow and
/// X.680 does.
fn without_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(text) = text.strip_suffix('Z') {
        return Some((text, 0));
    }
    let (text, zone) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let (sign, digits) = zone.split_at_checked(1)?;
    let number: i64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let ahead_s = number / 100 * 3_600 + number % 100 * 60;
    match sign {
        "+" => Some((text, ahead_s)),
        "-" => Some((text, -ahead_s)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_moment_that_it_counts_to() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "7001010000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "20240101000000.5Z", Some(1_704_067_200)),
            (UTC_TIME, "240230000000Z", Some(1_709_251_200)),
            (UTC_TIME, "231231240000Z", Some(1_704_067_200)),
            (UTC_TIME, "700101020000+0200", Some(0)),
            (UTC_TIME, "6912312330-0030", Some(0)),
            (GENERALIZED_TIME, "20240101013000.5+0130", Some(1_704_067_200)),
            (GENERALIZED_TIME, "20240101000000", None),
            (UTC_TIME, "240101000000+2", None),
            (UTC_TIME, "241301000000Z", None),
            (UTC_TIME, "240100000000Z", None),
            (UTC_TIME, "240132000000Z", None),
            (UTC_TIME, "2401", None),
            (UTC_TIME, "", None),
            (UTC_TIME, "24+1-1000000Z", None),
            (12, "240101000000Z", None),
        ] {
            assert_eq!(moment(tag, text.as_bytes()), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = mended(&bytes);
            let _ = mended(&[&[0x30, 0x50, 0x30, 0x40, 2, 0, 2, 0, 2, 0, 0x30, 0x20][..], &bytes].concat());
            let _ = moment(UTC_TIME, &bytes);
        }
    }
}
