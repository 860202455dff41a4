//! Semantic versioning 2.0.0, section 11, with two liberties that advisories take: a `v` in front, and missing minor
//! and patch numbers, which are zero.

use std::cmp::Ordering;

use super::number;

struct Version<'a> {
    core: Vec<&'a str>,
    before: Option<&'a str>,
}

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parse(a)?, parse(b)?);
    let core = number::compare_all(a.core, b.core);
    Some(core.then_with(|| match (a.before, b.before) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => compare_before(a, b),
    }))
}

fn parse(text: &str) -> Option<Version<'_>> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, before) = text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
    let core: Vec<&str> = core.split('.').collect();
    let whole = core.len() <= 3
        && core.iter().all(|part| number::is_number(part) && (*part == "0" || !part.starts_with('0')))
        && before.is_none_or(|before| is_identifiers(before) && !before.split('.').any(has_leading_zero))
        && build.is_none_or(is_identifiers);
    whole.then_some(Version { core, before })
}

fn is_identifiers(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}

fn has_leading_zero(part: &str) -> bool {
    number::is_number(part) && part.len() > 1 && part.starts_with('0')
}

fn compare_before(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (number::is_number(a), number::is_number(b)) {
                (true, true) => number::compare(a, b),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}
