//! rpm's order of package versions: rpm-version(7). `[epoch:]version[-release]`, runs of digits above runs of letters,
//! `~` before the end, `^` after the end and before everything else; other signs only part the runs.

use std::cmp::Ordering;

use super::number;

struct Version<'a> {
    epoch: &'a str,
    version: &'a str,
    release: Option<&'a str>,
}

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parse(a)?, parse(b)?);
    let release = || match (a.release, b.release) {
        (Some(a), Some(b)) => compare_part(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    Some(number::compare(a.epoch, b.epoch).then_with(|| compare_part(a.version, b.version)).then_with(release))
}

fn parse(text: &str) -> Option<Version<'_>> {
    let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
    let (version, release) = rest.split_once('-').map_or((rest, None), |(version, release)| (version, Some(release)));
    let is_part = |part: &str| {
        part.bytes().any(|byte| byte.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~^".contains(&byte))
    };
    let whole = number::is_number(epoch) && is_part(version) && release.is_none_or(is_part);
    whole.then_some(Version { epoch, version, release })
}

fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let is_separator = |byte: u8| !(byte.is_ascii_alphanumeric() || byte == b'~' || byte == b'^');
        a = number::split_while(a, is_separator).1;
        b = number::split_while(b, is_separator).1;
        if let Some(order) = compare_mark(&mut a, &mut b) {
            match order {
                Ordering::Equal => continue,
                unequal => return unequal,
            }
        }
        match (a.as_bytes().first(), b.as_bytes().first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) if left.is_ascii_digit() != right.is_ascii_digit() => {
                return left.is_ascii_digit().cmp(&right.is_ascii_digit());
            }
            (Some(left), Some(_)) => {
                let is_digit = left.is_ascii_digit();
                let wanted = |byte: u8| if is_digit { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
                let (a_run, a_rest) = number::split_while(a, wanted);
                let (b_run, b_rest) = number::split_while(b, wanted);
                let order = if is_digit { number::compare(a_run, b_run) } else { a_run.cmp(b_run) };
                if order.is_ne() {
                    return order;
                }
                (a, b) = (a_rest, b_rest);
            }
        }
    }
}

/// Takes a `~` or `^` off both; `None` where neither stands there.
fn compare_mark(a: &mut &str, b: &mut &str) -> Option<Ordering> {
    // A version that stops at `^` is older than what follows the sign, but older than any other run that follows.
    let rank = |text: &str| match text.as_bytes().first() {
        Some(b'~') => 0,
        None => 1,
        Some(b'^') => 2,
        Some(_) => 3,
    };
    let (left, right) = (rank(a), rank(b));
    if !matches!(left, 0 | 2) && !matches!(right, 0 | 2) {
        return None;
    }
    if left == right {
        *a = a.get(1..).unwrap_or_default();
        *b = b.get(1..).unwrap_or_default();
    }
    Some(left.cmp(&right))
}
