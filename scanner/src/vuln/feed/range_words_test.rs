//! Texts as records have them, and the ranges that a reader takes them for.

use super::*;
use crate::vuln::version::Verdict;

fn text_of(text: &str) -> String {
    let ranges = ranges_of(text, Scheme::Dotted, &["frob server", "frobd"]);
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

#[test]
#[expect(clippy::too_many_lines, reason = "one text a line")]
fn signs_and_words_are_read_as_they_are_meant() {
    for (text, expected) in [
        ("3.2.1", "= 3.2.1"),
        ("v3.2.1", "= v3.2.1"),
        ("Frobd 3.2.1", "= 3.2.1"),
        ("Frob Server version 3.2.1", "= 3.2.1"),
        ("version 3.2", "= 3.2"),
        ("all", "any version"),
        ("All versions", "any version"),
        ("*", "any version"),
        ("any version", "any version"),
        ("n/a", ""),
        ("3.2.*", ">= 3.2, < 3.3"),
        ("3.X", ">= 3, < 4"),
        (">= 2.0, < 3.2", ">= 2.0, < 3.2"),
        (">=2.0,<3.2", ">= 2.0, < 3.2"),
        (">=2.0 <3.2", ">= 2.0, < 3.2"),
        (">= 2.0 and < 3.2", ">= 2.0, < 3.2"),
        (">= 2.0 && < 3.2", ">= 2.0, < 3.2"),
        ("< 3.2, >= 2.0", ">= 2.0, < 3.2"),
        ("=< 3.2", "<= 3.2"),
        ("\u{2264} 3.2", "<= 3.2"),
        ("\u{2265}2.0,\u{2264}3.2", ">= 2.0, <= 3.2"),
        ("= 3.2.1", "= 3.2.1"),
        ("< 2.1 || >= 3.0, < 3.2", "< 2.1 | >= 3.0, < 3.2"),
        ("< 2.1 or >= 3.0 and < 3.2", "< 2.1 | >= 3.0, < 3.2"),
        ("< 2.1; >= 3.0, < 3.2", "< 2.1 | >= 3.0, < 3.2"),
        ("< 2.1, >= 3.0, < 3.2", "< 2.1 | >= 3.0, < 3.2"),
        (">= 3.0, < 3.2, >= 2.0, < 2.1", ">= 3.0, < 3.2 | >= 2.0, < 2.1"),
        ("3.1, 3.2 and 3.4", "= 3.1 | = 3.2 | = 3.4"),
        ("3.1; 3.2", "= 3.1 | = 3.2"),
        ("before 3.2", "< 3.2"),
        ("Versions before 3.2", "< 3.2"),
        ("all versions prior to 3.2", "< 3.2"),
        ("All versions < 3.2", "< 3.2"),
        ("earlier than 3.2", "< 3.2"),
        ("older than version 3.2", "< 3.2"),
        ("up to 3.2", "<= 3.2"),
        ("up to and including 3.2", "<= 3.2"),
        ("3.2 and earlier", "<= 3.2"),
        ("3.2 and earlier versions", "<= 3.2"),
        ("3.2 and all prior versions", "<= 3.2"),
        ("3.2 or below", "<= 3.2"),
        ("3.2 and later", ">= 3.2"),
        ("3.2+", ">= 3.2"),
        ("from 3.2 onwards", ">= 3.2"),
        ("since 3.2", ">= 3.2"),
        ("after 3.2", "> 3.2"),
        ("next of 3.2", "> 3.2"),
        ("2.0 - 3.2", ">= 2.0, <= 3.2"),
        ("2.0 \u{2013} 3.2", ">= 2.0, <= 3.2"),
        ("2.0 to 3.2", ">= 2.0, <= 3.2"),
        ("2.0 through 3.2", ">= 2.0, <= 3.2"),
        ("from 2.0 to 3.2", ">= 2.0, <= 3.2"),
        ("from 2.0 before 3.2", ">= 2.0, < 3.2"),
        ("2.0 before 3.2", ">= 2.0, < 3.2"),
        ("2.0 up to 3.2, 4.0 before 4.1", ">= 2.0, <= 3.2 | >= 4.0, < 4.1"),
        ("<= 3.2.x", "< 3.3"),
        ("< 3.2.x", "< 3.2"),
        ("Frobd 2.0 to 2.4, Frobd 3.0 to 3.2", ">= 2.0, <= 2.4 | >= 3.0, <= 3.2"),
        ("prior to and including 3.2", "<= 3.2"),
        ("all versions up to, and including 3.2", "<= 3.2"),
        ("up to, but not including, 3.2", "< 3.2"),
        ("2.0 up to (excluding) 3.2", ">= 2.0, < 3.2"),
        ("2.0 up to (including) 3.2", ">= 2.0, <= 3.2"),
        ("[2.0,3.2)", ">= 2.0, < 3.2"),
        ("(2.0, 3.2]", "> 2.0, <= 3.2"),
        ("(,3.2)", "< 3.2"),
        ("[3.2,)", ">= 3.2"),
        ("[3.2.1]", "= 3.2.1"),
        ("[2.0,2.4), [3.0,3.2)", ">= 2.0, < 2.4 | >= 3.0, < 3.2"),
        ("2.0 SP1", "= 2.0 SP1"),
        ("from 2.0 (including) up to 3.2 (excluding)", ">= 2.0, < 3.2"),
        ("2.0 (incl.) up to 3.2 (excl.)", ">= 2.0, < 3.2"),
        ("2.0 to before 3.2", ">= 2.0, < 3.2"),
        ("&gt;= 2.0, &lt; 3.2", ">= 2.0, < 3.2"),
        ("at least 3.2", ">= 3.2"),
        ("at most 3.2", "<= 3.2"),
        ("no later than 3.2", "<= 3.2"),
        ("till 3.2", "< 3.2"),
        ("<= 3.2, 3.4", "<= 3.2 | <= 3.4"),
        ("before 3.2 and 4.x before 4.1", "< 3.2 | >= 4, < 4.1"),
        ("12.1 Update 3 and earlier", "<= 12.1 Update 3"),
        ("< 3.2 ||", "< 3.2"),
        ("2.0 <= version <= 3.2", ">= 2.0, <= 3.2"),
        ("2.0 < x < 3.2", "> 2.0, < 3.2"),
        ("^3.2.1", ">= 3.2.1, < 4"),
        ("^0.3.2", ">= 0.3.2, < 0.4"),
        ("~3.2.1", ">= 3.2.1, < 3.3"),
        ("~> 3.2.1", ">= 3.2.1, < 3.3"),
        ("~>3.2.1 || ^4.0.0", ">= 3.2.1, < 3.3 | >= 4.0.0, < 5"),
        ("Open Source Branches 2.1 though 3.2 2.1.0 through versions before 3.2.7", ">= 2.1.0, < 3.2.7"),
        ("Open Source Branch 3.2 3.2.0 through versions before 3.2.7", ">= 3.2.0, < 3.2.7"),
        ("2.0.0 ~ 3.2.1", ">= 2.0.0, <= 3.2.1"),
        ("3.1.0..3.2.4", ">= 3.1.0, <= 3.2.4"),
        ("3.1.0/3.2.0", "= 3.1.0 | = 3.2.0"),
        ("3.2.1 (LTS)", "= 3.2.1"),
        ("3.2.1 LTS and earlier", "<= 3.2.1"),
        ("version 3.2.1 only", "= 3.2.1"),
        ("Ver.3.2.1 and earlier", "<= 3.2.1"),
        ("firmware Ver.3.2 and earlier", "<= 3.2"),
        ("prior to Ver.3.2", "< 3.2"),
        ("3.2.1\u{4ee5}\u{524d}\u{306e}\u{30d0}\u{30fc}\u{30b8}\u{30e7}\u{30f3}", "<= 3.2.1"),
        ("3.2.1\u{4ee5}\u{964d}", ">= 3.2.1"),
    ] {
        assert_eq!(text_of(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_neither_in_nor_out() {
    for text in [
        "before the fix",
        "see the advisory",
        "all supported",
        "multiple versions before 3.2 (Windows only)",
        ">= 3.2, < 2.0",
        "> 1.0, > 2.0",
        "!= 3.2",
        "R12",
        "commit 3f2a",
        "3.2 as shipped with Frob OS",
        "< fixed",
        ">",
        ">= 1.0, < 2.0, < 3.0",
        "2.0 to the last",
        "(3.2)",
        "[3.2,2.0]",
        // Package managers are not at one in these.
        "~3.2",
        "~> 3.2",
        "^0.0.3",
        "^3",
        "3.1.0../3.2.0",
        "linux/3.2.0",
        "Open Source Branch 3.2",
        "Open Source Branches 2.1 through 3.2",
        "2.0.0 ~3.2.1",
        "3.2\u{672a}\u{6e80}",
        "[2.0,3.2) on Windows",
        "fixed in 3.2",
        "all versions except 3.2",
        "not affected before 3.2",
        "[3.0 - 3.2]",
        "3.0...3.2",
        "3.2 (excluding)",
    ] {
        let ranges = ranges_of(text, Scheme::Dotted, &["frobd"]);
        for version in ["1.0", "3.1.4", "99"] {
            assert!(ranges.iter().all(|range| range.holds(version) == Verdict::Indeterminate), "{text}: {ranges:?}");
        }
        assert!(!ranges.is_empty(), "{text}");
    }
}

#[test]
fn what_is_affected_stands_behind_its_correction_in_some_records() {
    let text_of = |text: &str| {
        let ranges = ranges_of(text, Scheme::OpenSsl, &["openssl"]);
        ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(text_of("Fixed in OpenSSL 1.1.1q (Affected 1.1.1-1.1.1p)"), ">= 1.1.1, <= 1.1.1p");
    assert_eq!(text_of("Fixed in OpenSSL 3.0.3 (Affected 3.0.0,3.0.1,3.0.2)"), "= 3.0.0 | = 3.0.1 | = 3.0.2");
    for odd in ["Fixed in OpenSSL 3.0.3", "Fixed in OpenSSL 3.0.3 (Affected some)", "Fixed in 1 (Affected 3.0.4-3.0.0)"]
    {
        assert!(text_of(odd).starts_with("= ?"), "{odd}");
    }
}

#[test]
fn lists_of_corrections_are_ends_and_no_versions_that_are_affected() {
    for (text, expected) in [
        ("< 1.5.2, < 1.6.1", "< 1.5.2 | < 1.6.1"),
        ("before 1.4.9, 1.5.3, and 1.6.2", "< 1.4.9 | < 1.5.3 | < 1.6.2"),
        ("prior to 1.4.9, 1.5.3 and 1.6.2", "< 1.4.9 | < 1.5.3 | < 1.6.2"),
        ("prior to 1.6.2, 1.5.3, 1.4.9", "< 1.6.2 | < 1.5.3 | < 1.4.9"),
        ("versions prior to 1.6.2 or 1.5.3", "< 1.6.2 | < 1.5.3"),
        ("versions prior to 1.6.2, 1.5.3 or 1.4.9", "< 1.6.2 | < 1.5.3 | < 1.4.9"),
        ("before 1.6.2 and 1.5.3", "< 1.6.2 | < 1.5.3"),
        ("before 1.6.2 / 1.5.3", "< 1.6.2 | < 1.5.3"),
        ("before 1.6.2; 1.5.3", "< 1.6.2 | < 1.5.3"),
        ("<1.6.2,1.5.3", "< 1.6.2 | < 1.5.3"),
        ("< 1.4.9; < 1.5.3; < 1.6.2", "< 1.4.9 | < 1.5.3 | < 1.6.2"),
        ("<= 1.4.8, <= 1.5.2, <= 1.6.1", "<= 1.4.8 | <= 1.5.2 | <= 1.6.1"),
        ("up to 1.4.8, 1.5.2, 1.6.1", "<= 1.4.8 | <= 1.5.2 | <= 1.6.1"),
        ("through 1.4.9 and 1.5.2", "<= 1.4.9 | <= 1.5.2"),
        ("1.6.1 and earlier; 1.5.2 and earlier", "<= 1.6.1 | <= 1.5.2"),
        ("1.4.8, 1.5.2 and 1.6.1 and earlier", "<= 1.4.8 | <= 1.5.2 | <= 1.6.1"),
        ("1.5.2 or 1.6.1 and earlier", "<= 1.5.2 | <= 1.6.1"),
        ("from 1.0 before 1.4.9, 1.5.3", ">= 1.0, < 1.4.9 | >= 1.0, < 1.5.3"),
        ("before 1.4.9, 1.5.x before 1.5.3, and 1.6.x before 1.6.2", "< 1.4.9 | >= 1.5, < 1.5.3 | >= 1.6, < 1.6.2"),
        // Lists of what is affected.
        ("1.0 to 1.4.9, 1.5.3", ">= 1.0, <= 1.4.9 | = 1.5.3"),
        ("< 1.4 || 1.5.3", "< 1.4 | = 1.5.3"),
        ("before 1.4.9, 1.5.x", "< 1.4.9 | >= 1.5, < 1.6"),
        ("before 1.4.9, 1.5.0 through 1.5.2", "< 1.4.9 | >= 1.5.0, <= 1.5.2"),
        // From the one to the other; of what is older nobody knows.
        ("1.6.0 and prior to 1.7.0", ">= ? 1.6.0, < 1.6.0 | >= 1.6.0, < 1.7.0"),
        ("1.6.0, and prior to 1.7.0", ">= ? 1.6.0, < 1.6.0 | >= 1.6.0, < 1.7.0"),
        ("0 and prior to 1.7.0", "< 1.7.0"),
        ("1.6.0 and before 1.5.3", "= 1.6.0 | < 1.5.3"),
    ] {
        assert_eq!(text_of(text), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_every_text_that_says_something_is_kept(text in "[<>=|, 0-9.x*a-f\u{2264}-]{0,40}") {
        let ranges = ranges_of(&text, Scheme::Dotted, &["frobd"]);
        proptest::prop_assert!(!ranges.is_empty() || is_nothing(&text));
    }
}

/// How people write a range from `a` to `b`, each kind with what it holds: whether `a` and `b` are in it, and which of them
/// limit it.
const PHRASES: &[(&[&str], Option<bool>, Option<bool>)] = &[
    (
        &[
            ">= {a}, < {b}",
            ">={a},<{b}",
            ">= {a} and < {b}",
            ">={a} <{b}",
            "< {b}, >= {a}",
            "{a} before {b}",
            "from {a} before {b}",
            "from {a} prior to {b}",
            "versions from {a} before {b}",
            "Frobd {a} before {b}",
            "{a} up to but not including {b}",
        ],
        Some(true),
        Some(false),
    ),
    (
        &[
            "{a} - {b}",
            "{a} \u{2013} {b}",
            "{a} to {b}",
            "{a} through {b}",
            "{a} thru {b}",
            ">= {a}, <= {b}",
            "from {a} up to {b}",
            "from {a} through {b}",
            "{a} up to and including {b}",
            "version {a} to version {b}",
        ],
        Some(true),
        Some(true),
    ),
    (
        &[
            "< {b}",
            "before {b}",
            "prior to {b}",
            "earlier than {b}",
            "all versions before {b}",
            "lower than {b}",
            "below {b}",
            "Frobd versions older than {b}",
            "<{b}",
        ],
        None,
        Some(false),
    ),
    (
        &[
            "<= {b}",
            "=< {b}",
            "up to {b}",
            "{b} and earlier",
            "{b} or below",
            "through {b}",
            "{b} and all prior versions",
            "\u{2264} {b}",
            "{b} and older versions",
            "version {b} and below",
        ],
        None,
        Some(true),
    ),
    (
        &[
            ">= {a}",
            "{a} and later",
            "{a}+",
            "from {a}",
            "since {a}",
            "{a} or newer",
            "{a} and above",
            "from {a} onwards",
            "\u{2265}{a}",
            "starting with {a}",
        ],
        Some(true),
        None,
    ),
    (&["> {a}", "after {a}", "later than {a}", "newer than {a}", "next of {a}"], Some(false), None),
];

fn joined(ranges: &[Range], version: &str) -> Verdict {
    let all: Vec<Verdict> = ranges.iter().map(|range| range.holds(version)).collect();
    [Verdict::Inside, Verdict::Indeterminate]
        .into_iter()
        .find(|verdict| all.contains(verdict))
        .unwrap_or(Verdict::Outside)
}

/// Every phrase that is not understood is one that the texts above name; of these all are.
fn check(text: &str, version: &str, is_in: bool) -> Result<(), proptest::test_runner::TestCaseError> {
    let ranges = ranges_of(text, Scheme::Dotted, &["frobd"]);
    let expected = if is_in { Verdict::Inside } else { Verdict::Outside };
    proptest::prop_assert_eq!(joined(&ranges, version), expected, "{} at {}: {:?}", text, version, ranges);
    Ok(())
}

proptest::proptest! {
    #[test]
    fn every_way_to_write_a_range_holds_what_it_says(
        kind in 0..PHRASES.len(), phrase in 0_usize..11, a in (1_u8..4, 0_u8..12), more in (0_u8..3, 0_u8..12), v in (0_u8..7, 0_u8..14)
    ) {
        let b = (a.0 + more.0, if more.0 == 0 { a.1 + more.1 + 1 } else { more.1 });
        let (phrases, from, to) = PHRASES[kind];
        let text = phrases[phrase % phrases.len()];
        let text = text.replace("{a}", &format!("{}.{}", a.0, a.1)).replace("{b}", &format!("{}.{}", b.0, b.1));
        let is_above = from.is_none_or(|is_in| v > a || (is_in && v == a));
        let is_below = to.is_none_or(|is_in| v < b || (is_in && v == b));
        check(&text, &format!("{}.{}", v.0, v.1), is_above && is_below)?;
    }

    #[test]
    fn ranges_that_are_joined_hold_what_either_holds(
        join in 0_usize..4, first in 0_usize..11, second in 0_usize..11, at in (1_u8..4, 1_u8..4, 1_u8..4, 1_u8..4), v in 0_u8..20
    ) {
        let ends = [at.0, at.0 + at.1, at.0 + at.1 + at.2, at.0 + at.1 + at.2 + at.3];
        let (phrases, _, _) = PHRASES[0];
        let of = |phrase: usize, a: u8, b: u8| phrases[phrase % phrases.len()].replace("{a}", &format!("{a}.1")).replace("{b}", &format!("{b}.1"));
        // A product's name stands at the front only.
        let second = of(second, ends[2], ends[3]).replace("Frobd ", "");
        let text = format!("{}{}{second}", of(first, ends[0], ends[1]), [" || ", "; ", " or ", ", "][join]);
        let is_in = (ends[0]..ends[1]).contains(&v) || (ends[2]..ends[3]).contains(&v);
        check(&text, &format!("{v}.1"), is_in)?;
    }
}
