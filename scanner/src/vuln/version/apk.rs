//! Alpine's order of package versions: apk-package(5). `1.2.3b_rc1_p2~hash-r4`: numbers, a letter, suffixes that stand
//! before or after the release, a commit, the package's own revision.

use std::cmp::Ordering;

use super::number;

/// Suffixes in their order. Those before [`PRE_RELEASES`] are older than the version without one.
const SUFFIXES: [&str; 9] = ["alpha", "beta", "pre", "rc", "cvs", "svn", "git", "hg", "p"];
const PRE_RELEASES: usize = 4;

/// One part of a version, in the order in which parts may follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    First(&'a str),
    Number(&'a str),
    Letter(u8),
    Suffix(usize, &'a str),
    Commit(&'a str),
    Revision(&'a str),
}

impl Part<'_> {
    fn rank(self) -> u8 {
        match self {
            Self::First(_) => 0,
            Self::Number(_) => 1,
            Self::Letter(_) => 2,
            Self::Suffix(..) => 3,
            Self::Commit(_) => 4,
            Self::Revision(_) => 5,
        }
    }
}

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parse(a)?, parse(b)?);
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Some(Ordering::Equal),
            (Some(part), None) => against_end(part),
            (None, Some(part)) => against_end(part).reverse(),
            (Some(a), Some(b)) => compare_part(a, b),
        };
        if order.is_ne() {
            return Some(order);
        }
    }
}

fn compare_part(a: Part<'_>, b: Part<'_>) -> Ordering {
    match (a, b) {
        // A leading zero makes it a fraction, which is compared as text.
        (Part::Number(a), Part::Number(b)) if a.starts_with('0') || b.starts_with('0') => a.cmp(b),
        (Part::First(a), Part::First(b))
        | (Part::Number(a), Part::Number(b))
        | (Part::Revision(a), Part::Revision(b)) => number::compare(a, b),
        (Part::Letter(a), Part::Letter(b)) => a.cmp(&b),
        (Part::Suffix(a, a_number), Part::Suffix(b, b_number)) => {
            a.cmp(&b).then_with(|| number::compare(a_number, b_number))
        }
        (Part::Commit(a), Part::Commit(b)) => a.cmp(b),
        (Part::Suffix(suffix, _), _) if suffix < PRE_RELEASES => Ordering::Less,
        (_, Part::Suffix(suffix, _)) if suffix < PRE_RELEASES => Ordering::Greater,
        // What still counts numbers is newer than what has gone on to letters, and so on.
        (a, b) => b.rank().cmp(&a.rank()),
    }
}

fn against_end(part: Part<'_>) -> Ordering {
    match part {
        Part::Suffix(suffix, _) if suffix < PRE_RELEASES => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn parse(text: &str) -> Option<Vec<Part<'_>>> {
    let (text, revision) = match text.rsplit_once("-r") {
        Some((text, revision)) if number::is_number(revision) => (text, Some(revision)),
        Some(_) => return None,
        None => (text, None),
    };
    let (text, commit) = text.split_once('~').map_or((text, None), |(text, commit)| (text, Some(commit)));
    let mut suffixes = text.split('_');
    let numbers = suffixes.next()?;
    let letter = numbers.bytes().next_back().filter(u8::is_ascii_lowercase);
    let numbers = if letter.is_some() { numbers.get(..numbers.len() - 1)? } else { numbers };

    let mut parts = Vec::new();
    for (place, digits) in numbers.split('.').enumerate() {
        if !number::is_number(digits) {
            return None;
        }
        parts.push(if place == 0 { Part::First(digits) } else { Part::Number(digits) });
    }
    parts.extend(letter.map(Part::Letter));
    for suffix in suffixes {
        let (word, digits) = number::split_while(suffix, |byte| byte.is_ascii_lowercase());
        let place = SUFFIXES.iter().position(|known| *known == word)?;
        if !(digits.is_empty() || number::is_number(digits)) {
            return None;
        }
        parts.push(Part::Suffix(place, digits));
    }
    if let Some(commit) = commit {
        if commit.is_empty() || !commit.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
            return None;
        }
        parts.push(Part::Commit(commit));
    }
    parts.extend(revision.map(Part::Revision));
    Some(parts)
}
