//! The order of products without a written scheme: numbers by place, then words whose meaning everybody shares.
//!
//! `1.2` is `1.2.0`; `rc`, `beta` and the like stand before their release, `p`, `sp` and the like after it. What any
//! other word means is not known: `1.0a` may be an alpha or a correction, so it has no order with `1.0`, while both are
//! older than `1.1`.

use std::cmp::Ordering;

use super::number;

/// Words before the release, in their order; those of one rank mean the same.
const BEFORE: [(&str, i8); 13] = [
    ("dev", -7),
    ("snapshot", -7),
    ("nightly", -7),
    ("alpha", -6),
    ("beta", -5),
    ("milestone", -4),
    ("m", -4),
    ("preview", -3),
    ("pre", -3),
    ("cr", -2),
    ("rc", -2),
    ("canary", -7),
    ("ea", -3),
];
/// Words after the release.
const AFTER: [(&str, i8); 7] =
    [("p", 1), ("pl", 1), ("patch", 1), ("sp", 1), ("post", 1), ("update", 1), ("hotfix", 1)];
/// Words that name the release itself.
const SAME: [&str; 8] = ["final", "ga", "release", "stable", "lts", "community", "mariadb", "log"];

struct Version<'a> {
    numbers: Vec<&'a str>,
    words: Vec<Word<'a>>,
}

struct Word<'a> {
    text: String,
    rank: Option<i8>,
    numbers: Vec<&'a str>,
}

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    if let Some(order) = compare_plain(a, b) {
        return Some(order);
    }
    let (a, b) = (parse(a)?, parse(b)?);
    match number::compare_all(a.numbers, b.numbers) {
        Ordering::Equal => compare_words(&a.words, &b.words),
        unequal => Some(unequal),
    }
}

/// Compares what is only short numbers and dots, as most versions are, without taking it apart first; `None` for
/// anything else. A job's matching is made of this.
fn compare_plain(a: &str, b: &str) -> Option<Ordering> {
    let (mut a, mut b) = (a.bytes(), b.bytes());
    let (mut order, mut is_a_over, mut is_b_over) = (Ordering::Equal, false, false);
    while !(is_a_over && is_b_over) {
        let left = if is_a_over { 0 } else { next_number(&mut a, &mut is_a_over)? };
        let right = if is_b_over { 0 } else { next_number(&mut b, &mut is_b_over)? };
        // To the end even when the order is known: what follows may be no version at all.
        order = order.then(left.cmp(&right));
    }
    Some(order)
}

/// The number up to the next dot or the end.
fn next_number(bytes: &mut std::str::Bytes<'_>, is_over: &mut bool) -> Option<u64> {
    let mut number: Option<u64> = None;
    loop {
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                let before = number.unwrap_or(0).checked_mul(10)?;
                number = Some(before.checked_add(u64::from(digit - b'0'))?);
            }
            Some(b'.') => return number,
            None => {
                *is_over = true;
                return number;
            }
            Some(_) => return None,
        }
    }
}

fn compare_words(a: &[Word<'_>], b: &[Word<'_>]) -> Option<Ordering> {
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Some(Ordering::Equal),
            (Some(word), None) => word.rank?.cmp(&0),
            (None, Some(word)) => 0.cmp(&word.rank?),
            (Some(a), Some(b)) => compare_word(a, b)?,
        };
        if order.is_ne() {
            return Some(order);
        }
    }
}

fn compare_word(a: &Word<'_>, b: &Word<'_>) -> Option<Ordering> {
    let numbers = || number::compare_all(a.numbers.iter().copied(), b.numbers.iter().copied());
    match (a.rank, b.rank) {
        (Some(left), Some(right)) => {
            // Two corrections of different kinds, such as `p1` and `sp1`, have no order between them.
            let is_known = left != right || left < 0 || a.text == b.text;
            is_known.then(|| left.cmp(&right).then_with(numbers))
        }
        (None, None) if a.text == b.text => Some(numbers()),
        // Whatever single letters mean, they go through the alphabet; but then numbers behind them say nothing.
        (None, None) if a.text.len() == 1 && b.text.len() == 1 => Some(a.text.cmp(&b.text)),
        _ => None,
    }
}

fn parse(text: &str) -> Option<Version<'_>> {
    let text = match text.as_bytes() {
        [b'v' | b'V', digit, ..] if digit.is_ascii_digit() => text.get(1..)?,
        _ => text,
    };
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+~ ".contains(&byte)) {
        return None;
    }
    let (numbers, mut rest) = number::split_while(text, |byte| byte.is_ascii_digit() || byte == b'.');
    let numbers: Vec<&str> = numbers.split('.').filter(|digits| !digits.is_empty()).collect();
    if numbers.is_empty() {
        return None;
    }
    let mut words: Vec<Word<'_>> = Vec::new();
    loop {
        let (separators, after) = number::split_while(rest, |byte| !byte.is_ascii_alphanumeric());
        let (word, after) = number::split_while(after, |byte| byte.is_ascii_alphabetic());
        let (digits, after) = number::split(after);
        rest = after;
        match (word.is_empty(), digits.is_empty(), words.last_mut()) {
            (true, true, _) => break,
            _ if is_build_date(word, digits) => {}
            // A build number behind a sign, as in `1.2-3`: not a place of the version, so not known.
            (true, false, Some(last)) if separators == "." => last.numbers.push(digits),
            // A hotfix, as firewalls count them: `10.1.9-h1`. The letter alone may be anything.
            _ if separators == "-" && word.eq_ignore_ascii_case("h") && !digits.is_empty() => {
                words.extend(known("hotfix", digits));
            }
            _ => words.extend(known(word, digits)),
        }
    }
    Some(Version { numbers, words })
}

/// Whether this is the day on which a release was built, which is no part of its order: `9.4.51.v20230217`.
fn is_build_date(word: &str, digits: &str) -> bool {
    let is_day = digits.len() == 8 && (digits.starts_with("19") || digits.starts_with("20"));
    is_day && (word.is_empty() || word.eq_ignore_ascii_case("v"))
}

/// Whether everybody knows what this word behind a version means, in lower or upper case.
pub(super) fn is_known_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    BEFORE.iter().chain(&AFTER).any(|(known, _)| *known == word) || SAME.contains(&word.as_str())
}

/// The word with its rank; `None` for one that names the release itself.
fn known<'a>(word: &str, digits: &'a str) -> Option<Word<'a>> {
    let text = word.to_ascii_lowercase();
    if digits.is_empty() && SAME.contains(&text.as_str()) {
        return None;
    }
    let rank = BEFORE.iter().chain(&AFTER).find(|(known, _)| *known == text).map(|(_, rank)| *rank);
    let numbers = if digits.is_empty() { Vec::new() } else { vec![digits] };
    Some(Word { text, rank, numbers })
}
