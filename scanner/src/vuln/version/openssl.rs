//! OpenSSL's order: `1.0.2` < `1.0.2a` < `1.0.2z` < `1.0.2za`; pre-releases (`-alpha1`, `-beta2`, `-pre3`) before their
//! release; plain numbers since 3.0. The build mark `-fips` says nothing about the order.

use std::cmp::Ordering;

use super::number;

struct Version<'a> {
    numbers: Vec<&'a str>,
    letters: &'a str,
    /// Stage and number of a pre-release.
    before: Option<(u8, &'a str)>,
}

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parse(a)?, parse(b)?);
    let numbers = number::compare_all(a.numbers, b.numbers).then_with(|| a.letters.cmp(b.letters));
    Some(numbers.then_with(|| match (a.before, b.before) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some((a, a_number)), Some((b, b_number))) => a.cmp(&b).then_with(|| number::compare(a_number, b_number)),
    }))
}

fn parse(text: &str) -> Option<Version<'_>> {
    let text = text.strip_suffix("-fips").unwrap_or(text);
    let (core, before) = match text.split_once('-') {
        Some((core, before)) => (core, Some(parse_before(before)?)),
        None => (text, None),
    };
    let (numbers, letters) = number::split_while(core, |byte| byte.is_ascii_digit() || byte == b'.');
    let numbers: Vec<&str> = numbers.split('.').collect();
    // Letters go a to z, then za to zz.
    let in_order = letters.bytes().all(|byte| byte.is_ascii_lowercase())
        && letters.len() <= 3
        && letters.bytes().rev().skip(1).all(|byte| byte == b'z');
    let whole = numbers.len() <= 4 && numbers.iter().all(|part| number::is_number(part)) && in_order;
    whole.then_some(Version { numbers, letters, before })
}

fn parse_before(text: &str) -> Option<(u8, &str)> {
    let (word, digits) = number::split_while(text, |byte| byte.is_ascii_lowercase());
    let stage = match word {
        "alpha" => 0,
        "beta" => 1,
        "pre" => 2,
        _ => return None,
    };
    number::is_number(digits).then_some((stage, digits))
}
