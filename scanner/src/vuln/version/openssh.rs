//! OpenSSH's order: the release's numbers, then the number of its portable release (`9.2` < `9.2p1` < `9.2p2`).

use std::cmp::Ordering;

use super::number;

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let ((a, a_portable), (b, b_portable)) = (parse(a)?, parse(b)?);
    Some(number::compare_all(a.split('.'), b.split('.')).then_with(|| number::compare(a_portable, b_portable)))
}

/// The release without its portable number: what `9.2p1` and `9.2` share.
pub(super) fn release(text: &str) -> Option<&str> {
    parse(text.trim()).map(|(release, _)| release)
}

/// Whether `version` is the release that `bound` names a portable release of, and names none itself.
pub(super) fn is_same_release(version: &str, bound: &str) -> bool {
    match (parse(version.trim()), parse(bound.trim())) {
        (Some((own, "")), Some((other, portable))) => {
            !portable.is_empty() && number::compare_all(own.split('.'), other.split('.')).is_eq()
        }
        _ => false,
    }
}

/// Whether the portable releases of a version that names none are on both sides of `bound`, one of them. None is before
/// the first, which is what `is_first_behind` asks for: that they are all in from there on, or all out.
pub(super) fn is_crossed(bound: &str, is_first_behind: bool) -> bool {
    let is_first = parse(bound.trim()).is_some_and(|(_, portable)| number::compare(portable, "1").is_eq());
    !(is_first && is_first_behind)
}

/// The numbers, and the portable number, which is empty where there is none.
fn parse(text: &str) -> Option<(&str, &str)> {
    let (release, portable) = match text.split_once(['p', 'P']) {
        Some((release, portable)) if number::is_number(portable) => (release, portable),
        Some(_) => return None,
        None => (text, ""),
    };
    release.split('.').all(number::is_number).then_some((release, portable))
}
