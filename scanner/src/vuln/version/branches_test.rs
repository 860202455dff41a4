//! Lists of ranges as records have them, and what each version around their ends is.

use super::*;

fn range_of(scheme: Scheme, text: &str) -> Range {
    let mut range = Range::all(scheme);
    for word in text.split_whitespace().filter(|word| *word != "*") {
        range = match word.split_at(word.find(|c: char| !"<>=".contains(c)).unwrap()) {
            (">=", version) => range.since(version),
            (">", version) => range.after(version),
            ("<", version) => range.before(version),
            ("<=", version) => range.through(version),
            ("=", version) => Range::exactly(scheme, version),
            (sign, _) => panic!("{sign} is no sign"),
        };
    }
    range
}

/// `i`, `o`, `?`, `p` for inside, outside, indeterminate, possible.
fn letter(ranges: &[Range], version: &str) -> char {
    let holds = |range: &Range| range.holds_shortened(version, false);
    let plain = ranges.iter().map(holds).find(|verdict| *verdict == Verdict::Inside);
    let plain = plain.or_else(|| ranges.iter().map(holds).find(|verdict| *verdict != Verdict::Outside));
    let verdict = match plain.unwrap_or(Verdict::Outside) {
        Verdict::Inside => by_branch(ranges.iter(), version, holds).unwrap_or(Verdict::Inside),
        verdict => verdict,
    };
    assert!(verdict == plain.unwrap_or(Verdict::Outside) || may_have_branches(ranges.iter()), "{ranges:?} {version}");
    match verdict {
        Verdict::Inside => 'i',
        Verdict::Outside => 'o',
        Verdict::Indeterminate => '?',
        Verdict::Possible => 'p',
    }
}

#[test]
fn a_branch_ends_where_its_own_end_is() {
    use Scheme::{Dotted, OpenSsh, OpenSsl, Semver};
    for (scheme, ranges, versions) in [
        (
            Dotted,
            "< 1.4.9|< 1.5.3|< 1.6.2",
            "1.3.9 i, 1.4.8 i, 1.4.9 o, 1.4.20 o, 1.5.0 i, 1.5.2 i, 1.5.3 o, 1.5.10 o, 1.6.1 i, 1.6.2 o, 1.7 o",
        ),
        (Dotted, "< 1.6.2|< 1.4.9|< 1.5.3", "1.4.9 o, 1.5.2 i, 1.5.3 o, 1.6.1 i, 1.6.2 o"),
        (Dotted, "<= 1.5.2|<= 1.6.1", "1.4 i, 1.5.2 i, 1.5.3 o, 1.6.0 i, 1.6.1 i, 1.6.2 o"),
        (Dotted, "<= 8.0.35|<= 8.2.0", "8.0.34 i, 8.0.35 i, 8.0.36 o, 8.1.0 ?, 8.2.0 i, 8.2.1 o, 5.7.44 i"),
        (Dotted, ">= 1.0 < 1.5.3|>= 1.0 < 1.6.2", "0.9 o, 1.0 i, 1.5.2 i, 1.5.3 o, 1.6.1 i, 1.6.2 o"),
        (Dotted, "< 1.6.2|>= 1.5.0 < 1.5.3", "1.4.9 i, 1.5.2 i, 1.5.3 o, 1.6.1 i"),
        (Dotted, ">= 1.0 < 1.5.3|>= 1.5.0 < 1.6.2", "1.5.2 i, 1.5.3 o, 1.6.1 i"),
        (Dotted, "< 1.4.9|>= 1.5.0 < 1.5.3|>= 1.6.0 < 1.6.2", "1.4.8 i, 1.4.9 o, 1.5.2 i, 1.5.3 o, 1.6.1 i, 1.6.2 o"),
        (Dotted, "< 13.9|< 14.6", "12.5 i, 13.8 i, 13.9 o, 14.5 i, 14.6 o, 15.1 o"),
        (Dotted, "< 115.5|< 120", "115.4 i, 115.5 o, 119.0 ?, 120.0 o"),
        (Dotted, "< 10.1.2.5|< 10.1.3.2", "10.1.2.4 i, 10.1.2.5 o, 10.1.2.9 o, 10.1.3.1 i, 10.1.3.2 o, 10.1.1.9 i"),
        (Dotted, "< 1.5|< 1.6.2", "1.4.9 i, 1.5 o, 1.5.3 o, 1.6.1 i, 1.6.2 o"),
        (Dotted, "< 1.5.3|< 2.0", "1.5.2 i, 1.5.3 o, 1.6.0 ?, 2.0 o"),
        // Two ends of one branch do not tell which is meant, but for who is named.
        (Dotted, "< 1.5.2|< 1.5.4", "1.5.1 i, 1.5.3 ?, 1.5.4 o"),
        (Dotted, "<= 1.5.2|<= 1.5.4", "1.5.2 i, 1.5.3 ?, 1.5.4 i, 1.5.5 o"),
        // What is named, or begins behind an end, is in whatever else ends before it.
        (Dotted, "< 1.4.9|= 1.5.3|< 1.6.2", "1.5.3 i, 1.5.4 ?"),
        (Dotted, "< 1.4.9|>= 1.4.9 < 1.6.2", "1.4.9 i, 1.5.3 i, 1.6.2 o"),
        (Dotted, "< 1.4.9|>= 1.5.0", "1.4.9 o, 1.5.3 i, 7 i"),
        // Branches as a whole and single versions are no corrections.
        (Dotted, ">= 1 < 2|>= 1.5 < 1.6", "1.5.3 i, 1.6.0 i, 2.0 o"),
        (Dotted, "= 1.5.2|<= 1.6.0", "1.5.2 i, 1.5.3 i"),
        // What ends nowhere is not corrected, and what lists an end is not affected for ever.
        (Dotted, "*|< 1.5.3", "1.5.2 i, 1.5.3 ?"),
        (Semver, "< 1.5.3|< 1.6.2", "1.5.2 i, 1.5.3 o, 1.6.0 i, 1.6.2 o"),
        (OpenSsl, "< 1.0.1t|< 1.0.2h", "1.0.1s i, 1.0.1t o, 1.0.1u o, 1.0.2g i, 1.0.2h o, 0.9.8z i"),
        (OpenSsl, "< 1.1.1t|< 3.0.8", "1.1.1s i, 1.1.1t o, 3.0.7 i, 3.0.8 o, 3.1.0 o"),
        (OpenSsh, "< 9.3p2|< 9.8p1", "9.3p1 i, 9.3p2 o, 9.7p1 ?, 9.8p1 o"),
        // Of a shortened version both sides may be meant.
        (Dotted, "< 1.5.3|< 1.6.2", "1.5 p, 1.4 i, 1.6 p, 1.7 o"),
    ] {
        let list: Vec<Range> = ranges
            .split('|')
            .map(|text| {
                range_of(
                    scheme,
                    &text
                        .replace(" <", "\0<")
                        .replace("< ", "<")
                        .replace("<= ", "<=")
                        .replace(">= ", ">=")
                        .replace("= ", "=")
                        .replace('\0', " "),
                )
            })
            .collect();
        for row in versions.split(", ") {
            let (version, expected) = row.split_once(' ').unwrap();
            assert_eq!(letter(&list, version).to_string(), expected, "{version} in {ranges}");
        }
    }
}

#[test]
fn ranges_of_packages_are_left_alone() {
    let list = [range_of(Scheme::Dpkg, "<1.5.3-1"), range_of(Scheme::Dpkg, "<1.6.2-1")];
    assert_eq!(letter(&list, "1.5.3-2"), 'i');
}

proptest::proptest! {
    #[test]
    fn what_is_older_than_all_ends_is_in_and_what_is_newer_is_out(
        ends in proptest::collection::vec((1_u8..5, 0_u8..5, 0_u8..9), 2..5), v in (0_u8..7, 0_u8..6, 0_u8..10)
    ) {
        let list: Vec<Range> = ends.iter().map(|(a, b, c)| Range::all(Scheme::Dotted).before(format!("{a}.{b}.{c}"))).collect();
        let found = letter(&list, &format!("{}.{}.{}", v.0, v.1, v.2));
        let (oldest, newest) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        proptest::prop_assert!(v >= *oldest || found == 'i', "{ends:?} {v:?}");
        proptest::prop_assert!(v < *newest || found == 'o', "{ends:?} {v:?}");
        // A version that is named as corrected is never counted, and the one before it in its branch always is.
        let own: Vec<_> = ends.iter().filter(|end| (end.0, end.1) == (v.0, v.1)).collect();
        if let [end] = own.as_slice() {
            proptest::prop_assert_eq!(found, if v < **end { 'i' } else { 'o' }, "{:?} {:?}", ends, v);
        }
    }
}
