//! One end of a range as records write it: a version, a branch (`8.1.*`, `1.5.x`), everything, or nothing.
//!
//! The CVE format lets an end be a pattern with an asterisk behind it, which stands for the largest version of a branch;
//! people write an `x` there and mean either end of the branch. So a branch has its first version and the first behind
//! it, and whoever uses it says which one is meant.

use std::cmp::Ordering;

use crate::vuln::advisory::bounded;
use crate::vuln::version::{Range, Scheme, compare, unread};

/// Words that stand where nothing is known.
const NOTHING: [&str; 9] = ["", "n/a", "-", "unspecified", "unknown", "none", "not specified", "[unknown]", "null"];

/// What stands for any number at a place.
const WILD: [&str; 7] = ["*", "x", "X", "xx", "XX", "**", "?"];

/// One end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// No version limits there.
    Open,
    /// This version.
    Version(String),
    /// A branch: the front of its versions, and the front of the next branch.
    Branch {
        /// What all of its versions begin with.
        first: String,
        /// The first version behind it.
        behind: String,
        /// Whether it was written with an asterisk, whose meaning the format fixes.
        is_asterisk: bool,
    },
    /// Something else.
    Unread(String),
}

/// Whether this is a word for nothing.
pub(super) fn is_nothing(text: &str) -> bool {
    NOTHING.iter().any(|nothing| text.trim().eq_ignore_ascii_case(nothing))
}

impl End {
    /// Reads an end.
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim().trim_end_matches([',', ';']).trim();
        if text == "*" || is_nothing(text) {
            return Self::Open;
        }
        if let Some(branch) = branch(text) {
            return branch;
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let unwound = text.strip_prefix(['v', 'V']).unwrap_or(text);
        // What looks like a branch and is none is no version either: its number is too long, or a word.
        let is_wild = text.ends_with('*') || text.split('.').any(|place| WILD.contains(&place));
        let is_version = !is_wild
            && !text.contains("..")
            && !is_span(text)
            && unwound.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+~: ^()".contains(&byte));
        if is_version { Self::Version(bounded(text)) } else { Self::Unread(bounded(text)) }
    }

    /// `range` from here on, or, without `is_in`, from what is behind this on.
    pub(super) fn limit_from(self, range: Range, is_in: bool) -> Range {
        match (self, is_in) {
            (Self::Open, _) => range,
            (Self::Version(version), true) => {
                if version.bytes().all(|byte| b"0.".contains(&byte)) {
                    range
                } else {
                    range.since(version)
                }
            }
            (Self::Version(version), false) => range.after(version),
            (Self::Branch { first, .. }, true) => range.since(first),
            (Self::Branch { behind, .. }, false) => range.since(behind),
            (Self::Unread(words), _) => range.since(unread(&words)),
        }
    }

    /// `range` up to here, with `is_in` including this.
    pub(super) fn limit_to(self, range: Range, is_in: bool) -> Range {
        match (self, is_in) {
            (Self::Open, _) => range,
            (Self::Version(version), true) => range.through(version),
            (Self::Version(version), false) => range.before(version),
            (Self::Branch { behind, .. }, true) => range.before(behind),
            (Self::Branch { first, .. }, false) => range.before(first),
            (Self::Unread(words), _) => range.through(unread(&words)),
        }
    }

    /// Exactly this: one version, or all of a branch.
    pub(super) fn exactly(self, scheme: Scheme) -> Range {
        match self {
            Self::Open => Range::all(scheme),
            Self::Version(version) => Range::exactly(scheme, version),
            Self::Branch { first, behind, .. } => Range::all(scheme).since(first).before(behind),
            Self::Unread(words) => Range::unread(scheme, &words),
        }
    }
}

/// Whether this may be a range without blanks: `1.0-1.5`, which is a revision of one version to others.
fn is_span(text: &str) -> bool {
    let Some((front, behind)) = text.split_once('-') else { return false };
    let is_dotted = |text: &str| text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_dotted(front) && is_dotted(behind) && compare(Scheme::Dotted, front, behind) == Some(Ordering::Less)
}

/// Reads `8.1.*`, `8.1.x`, `8.x.x`, `v8.*`; `None` for whatever is no branch.
fn branch(text: &str) -> Option<End> {
    let mut front = text;
    while let Some((rest, _)) = front.rsplit_once('.').filter(|(_, last)| WILD.contains(last)) {
        front = rest;
    }
    // `8.1*` is what people write for `8.1.*`.
    let is_glued = front.len() == text.len();
    if is_glued {
        front = text.strip_suffix('*')?;
    }
    let front = front.strip_prefix(['v', 'V']).unwrap_or(front);
    let are_numbers =
        |text: &str| text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if !are_numbers(front) {
        return None;
    }
    let (before, last) = front.rsplit_once('.').map_or(("", front), |(before, last)| (before, last));
    let next = last.parse::<u64>().ok()?.checked_add(1)?;
    let behind = if before.is_empty() { next.to_string() } else { format!("{before}.{next}") };
    Some(End::Branch { first: bounded(front), behind: bounded(&behind), is_asterisk: text.ends_with('*') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_reaches_from_its_first_version_to_the_next_branch() {
        for (text, range) in [
            ("8.1.*", ">= 8.1, < 8.2"),
            ("8.1.x", ">= 8.1, < 8.2"),
            ("5.X", ">= 5, < 6"),
            ("v2.x.x", ">= 2, < 3"),
            ("8.1.xx", ">= 8.1, < 8.2"),
            ("8.x.3", "= ? 8.x.3"),
            ("2.9.*", ">= 2.9, < 2.10"),
            ("3.1*", ">= 3.1, < 3.2"),
            ("1.5.3", "= 1.5.3"),
            ("1.5.3.", "= 1.5.3"),
            ("*", "any version"),
            ("n/a", "any version"),
            ("fox", "= ? fox"),
            ("1.0-1.5", "= ? 1.0-1.5"),
            ("2.4.57-2.1", "= 2.4.57-2.1"),
            ("1.18.0-6ubuntu14", "= 1.18.0-6ubuntu14"),
            ("R2.x", "= ? R2.x"),
            ("99999999999999999999.x", "= ? 99999999999999999999.x"),
        ] {
            assert_eq!(End::of(text).exactly(Scheme::Dotted).to_string(), range, "{text}");
        }
    }

    #[test]
    fn either_end_of_a_branch_can_limit() {
        let all = || Range::all(Scheme::Dotted);
        assert_eq!(End::of("1.5.x").limit_to(all(), true).to_string(), "< 1.6");
        assert_eq!(End::of("1.5.x").limit_to(all(), false).to_string(), "< 1.5");
        assert_eq!(End::of("1.5.*").limit_from(all(), true).to_string(), ">= 1.5");
        assert_eq!(End::of("1.5.*").limit_from(all(), false).to_string(), ">= 1.6");
        assert_eq!(End::of("0.0").limit_from(all(), true).to_string(), "any version");
    }
}
