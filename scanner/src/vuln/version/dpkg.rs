//! Debian's order of package versions: deb-version(7). `[epoch:]upstream[-revision]`, `~` before everything, letters
//! before other signs.

use std::cmp::Ordering;

use super::number;

struct Version<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parse(a)?, parse(b)?);
    Some(
        number::compare(a.epoch, b.epoch)
            .then_with(|| compare_part(a.upstream, b.upstream))
            .then_with(|| compare_part(a.revision, b.revision)),
    )
}

/// Marks of an archive that was cleaned or packed anew, in the version that its makers gave it.
const REPACKS: [&str; 3] = ["dfsg", "ds", "repack"];

/// The version without the mark of a cleaned archive, `9.11.5.P4+dfsg-5.1` as `9.11.5.P4-5.1`: no program tells it, as
/// its makers do not know of it. `None` where there is none.
pub(super) fn without_repack(version: &str) -> Option<String> {
    let (upstream, revision) = version.rsplit_once('-').unwrap_or((version, ""));
    let (at, mark) = REPACKS.iter().find_map(|mark| {
        let found = upstream.match_indices(mark).find(|(at, _)| {
            let is_apart = upstream.get(..*at).is_some_and(|front| front.ends_with(['+', '~', '.']));
            let behind = upstream.get(at + mark.len()..).unwrap_or_default();
            is_apart && !behind.starts_with(|c: char| c.is_ascii_alphabetic())
        });
        found.map(|(at, _)| (at, *mark))
    })?;
    let front = upstream.get(..at)?.trim_end_matches(['+', '~', '.']);
    let (_, rest) = number::split(upstream.get(at + mark.len()..)?);
    // `+dfsg.1` counts how often it was done, `.dfsg.P1` goes on with the makers' own.
    let counted = rest.strip_prefix('.').map(number::split).filter(|(digits, _)| !digits.is_empty());
    let rest = counted.map_or(rest, |(_, rest)| rest);
    Some(if revision.is_empty() { format!("{front}{rest}") } else { format!("{front}{rest}-{revision}") })
}

fn parse(text: &str) -> Option<Version<'_>> {
    let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    let whole = number::is_number(epoch)
        && upstream.starts_with(|c: char| c.is_ascii_digit())
        && upstream.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte))
        && revision.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~".contains(&byte));
    whole.then_some(Version { epoch, upstream, revision })
}

/// Compares, in turn, what is no digit and what is digits.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (a_word, a_rest) = number::split_while(a, |byte| !byte.is_ascii_digit());
        let (b_word, b_rest) = number::split_while(b, |byte| !byte.is_ascii_digit());
        let (a_number, a_rest) = number::split(a_rest);
        let (b_number, b_rest) = number::split(b_rest);
        let order = compare_word(a_word, b_word).then_with(|| number::compare(a_number, b_number));
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    Ordering::Equal
}

/// Sign by sign; the end of a word is before every letter and after every `~`.
fn compare_word(a: &str, b: &str) -> Ordering {
    let weight = |byte: Option<u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => i32::from(byte) + 256,
    };
    let (mut a, mut b) = (a.bytes(), b.bytes());
    loop {
        let (left, right) = (a.next(), b.next());
        let order = weight(left).cmp(&weight(right));
        if order.is_ne() || (left.is_none() && right.is_none()) {
            return order;
        }
    }
}
