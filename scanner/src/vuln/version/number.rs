//! Numbers of any length, as they stand in versions: compared without being converted, so that none overflows.

use std::cmp::Ordering;

/// Compares two runs of decimal digits by value. No digits are zero.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Splits off the run of digits at the front.
pub(super) fn split(text: &str) -> (&str, &str) {
    split_while(text, |byte| byte.is_ascii_digit())
}

/// Splits off the longest front of bytes that are all `wanted`. `text` is ASCII.
pub(super) fn split_while(text: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !wanted(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Whether this is a non-empty run of digits.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Compares numbers place by place; places that are not there are zero.
pub(super) fn compare_all<'a>(a: impl IntoIterator<Item = &'a str>, b: impl IntoIterator<Item = &'a str>) -> Ordering {
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    loop {
        let (left, right) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => (left.unwrap_or_default(), right.unwrap_or_default()),
        };
        match compare(left, right) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
}

fn significant(digits: &str) -> &str {
    digits.trim_start_matches('0')
}
