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

/// The numbers, and the portable number, which is empty where there is none.
fn parse(text: &str) -> Option<(&str, &str)> {
    let (release, portable) = match text.split_once(['p', 'P']) {
        Some((release, portable)) if number::is_number(portable) => (release, portable),
        Some(_) => return None,
        None => (text, ""),
    };
    release.split('.').all(number::is_number).then_some((release, portable))
}
