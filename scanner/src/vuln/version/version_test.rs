//! Known answers for every scheme, and the laws of an order.

use proptest::prelude::*;

use super::Scheme::{Apk, Dotted, Dpkg, OpenSsh, OpenSsl, Rpm, Semver};
use super::Verdict::{Indeterminate, Inside, Outside};
use super::*;

const LESS: Option<Ordering> = Some(Ordering::Less);
const SAME: Option<Ordering> = Some(Ordering::Equal);
const MORE: Option<Ordering> = Some(Ordering::Greater);

/// The answers for dpkg and rpm are those of `dpkg --compare-versions` and `rpm.vercmp`; for semver those of its
/// section 11; for apk those of apk-package(5).
const PAIRS: &[(Scheme, &str, &str, Option<Ordering>)] = &[
    (Semver, "1.0.0-alpha", "1.0.0-alpha.1", LESS),
    (Semver, "1.0.0-alpha.1", "1.0.0-alpha.beta", LESS),
    (Semver, "1.0.0-alpha.beta", "1.0.0-beta", LESS),
    (Semver, "1.0.0-beta.2", "1.0.0-beta.11", LESS),
    (Semver, "1.0.0-rc.1", "1.0.0", LESS),
    (Semver, "v1.10.0", "1.9.9", MORE),
    (Semver, "1.0.0+linux", "1.0.0+darwin", SAME),
    (Semver, "1.2", "1.2.0", SAME),
    (Semver, "1.2.3.4", "1.2.3", None),
    (Semver, "1.02.3", "1.2.3", None),
    (Semver, "99999999999999999999999.0.0", "99999999999999999999998.9.9", MORE),
    (Dpkg, "1:1.0-1", "2.0-1", MORE),
    (Dpkg, "1.0~rc1-1", "1.0-1", LESS),
    (Dpkg, "1.0~~", "1.0~", LESS),
    (Dpkg, "1.0-1", "1.0-1+deb12u1", LESS),
    (Dpkg, "9.2p1-2+deb12u3", "9.2p1-2+deb12u10", LESS),
    (Dpkg, "1.0-1~bpo12+1", "1.0-1", LESS),
    (Dpkg, "1.0", "1.0-0", SAME),
    (Dpkg, "1.0a", "1.0+", LESS),
    (Dpkg, "2.4.57-2", "2.4.57-2ubuntu1", LESS),
    (Dpkg, "1.00", "1.0", SAME),
    (Dpkg, "x1.0", "1.0", None),
    (Dpkg, "1.0_1", "1.0", None),
    (Rpm, "1.0-1", "1.0-2", LESS),
    (Rpm, "1.0-1.el8", "1.0-1.el9", LESS),
    (Rpm, "1.0~rc1-1", "1.0-1", LESS),
    (Rpm, "1.0^git1-1", "1.0-1", MORE),
    (Rpm, "1.0^git1-1", "1.0.1-1", LESS),
    (Rpm, "1.0~rc1^git1", "1.0~rc1", MORE),
    (Rpm, "1:0.9-1", "2.0-1", MORE),
    (Rpm, "1.0a-1", "1.0.1-1", LESS),
    (Rpm, "1.01-1", "1.1-1", SAME),
    (Rpm, "1_0-1", "1.0-1", SAME),
    (Rpm, "8.7p1-34.el9_3.3", "8.7p1-38.el9", LESS),
    (Rpm, "1.0", "1.0-1", LESS),
    (Rpm, "-1", "1.0", None),
    (Apk, "1.2.3-r0", "1.2.3-r1", LESS),
    (Apk, "1.2.3_rc1-r0", "1.2.3-r0", LESS),
    (Apk, "1.2.3_alpha", "1.2.3_beta", LESS),
    (Apk, "1.2.3_p1-r0", "1.2.3-r9", MORE),
    (Apk, "9.3_p1-r3", "9.3_p2-r0", LESS),
    (Apk, "1.2a", "1.2b", LESS),
    (Apk, "1.2", "1.2a", LESS),
    (Apk, "1.2a", "1.2.1", LESS),
    (Apk, "1.01", "1.1", LESS),
    (Apk, "1.10", "1.9", MORE),
    (Apk, "1.0_git20240101", "1.0_git20240201", LESS),
    (Apk, "1.0_unknown1", "1.0", None),
    (OpenSsl, "1.0.2", "1.0.2a", LESS),
    (OpenSsl, "1.0.2z", "1.0.2za", LESS),
    (OpenSsl, "1.0.2zf", "1.0.2zg", LESS),
    (OpenSsl, "1.1.1w", "3.0.0", LESS),
    (OpenSsl, "3.0.9", "3.0.10", LESS),
    (OpenSsl, "3.0.0-beta1", "3.0.0", LESS),
    (OpenSsl, "3.0.0-alpha17", "3.0.0-beta1", LESS),
    (OpenSsl, "1.0.2k-fips", "1.0.2k", SAME),
    (OpenSsl, "1.1.1-dev", "1.1.1", None),
    (OpenSsl, "1.0.2ab", "1.0.2b", None),
    (OpenSsh, "9.2", "9.2p1", LESS),
    (OpenSsh, "9.2p1", "9.2p2", LESS),
    (OpenSsh, "9.9p2", "10.0p1", LESS),
    (OpenSsh, "3.0.2p1", "3.1p1", LESS),
    (OpenSsh, "for_Windows_8.1", "8.1", None),
    (Dotted, "1.2", "1.2.0", SAME),
    (Dotted, "1.9", "1.10", LESS),
    (Dotted, "1.2rc1", "1.2", LESS),
    (Dotted, "1.2-beta2", "1.2-rc1", LESS),
    (Dotted, "1.2p1", "1.2", MORE),
    (Dotted, "1.0a", "1.0", None),
    (Dotted, "1.0a", "1.0b", LESS),
    (Dotted, "1.0a", "1.1", LESS),
    (Dotted, "1.2-3", "1.2", None),
    (Dotted, "10.11.6-MariaDB", "10.11.6", SAME),
    (Dotted, "v2.0", "2.0", SAME),
    (Dotted, "1.2-foo", "1.2-bar", None),
    (Dotted, "9.4.51.v20230217", "9.4.51", SAME),
    (Dotted, "9.4.51.v20230217", "9.4.51-20230217", SAME),
    (Dotted, "9.4.51.v20230217", "9.4.52", LESS),
    (Dotted, "10.1.9-h1", "10.1.9", MORE),
    (Dotted, "10.1.9-h1", "10.1.9-h3", LESS),
    (Dotted, "1.0h", "1.0", None),
    (Dotted, "unknown", "1.0", None),
];

/// Ranges as advisories state them, in the words of [`range_of`].
const RANGES: &[(Scheme, &str, &str, Verdict)] = &[
    (Semver, "1.4.2", ">=1.4.0 <1.4.3", Inside),
    (Semver, "1.4.3", ">=1.4.0 <1.4.3", Outside),
    (Semver, "1.4.3-rc.1", "<1.4.3", Inside),
    (Semver, "1.3.9", ">=1.4.0 <1.4.3", Outside),
    (Semver, "2.0.0", ">=1.4.0", Inside),
    (Semver, "1.4.0.1", ">=1.4.0 <1.4.3", Inside),
    (Semver, "1.4.3.1", ">=1.4.0 <1.4.3", Outside),
    (Semver, "01.4.2", ">=1.4.0 <1.4.3", Inside),
    (Dpkg, "9.2p1-2+deb12u3", "<1:9.2p1-2+deb12u3", Outside),
    (Dpkg, "9.2p1-2+deb12u2", "<1:9.2p1-2+deb12u3", Inside),
    (Dpkg, "1:9.2p1-2+deb12u2", "<1:9.2p1-2+deb12u3", Inside),
    (Dpkg, "2:1.0-1", "<1:9.2p1-2+deb12u3", Outside),
    (Dpkg, "8.9p1-3ubuntu0.10", "<1:8.9p1-3ubuntu0.6", Outside),
    (Dpkg, "1.22.1-9", ">=0 <1.22.1-9+deb12u1", Inside),
    (Dpkg, "9.11.5.P4-5.1+deb10u9", "<1:9.11.5.P4+dfsg-5.1+deb10u9", Outside),
    (Dpkg, "9.11.5.P4-5.1+deb10u8", "<1:9.11.5.P4+dfsg-5.1+deb10u9", Inside),
    (Dpkg, "9.11.5.P4-5.1+deb10u9", "<1:9.11.5.P4+dfsg-5.1+deb10u10", Inside),
    (Dpkg, "9.11.5.P4+dfsg-5.1+deb10u9", "<1:9.11.5.P4+dfsg-5.1+deb10u9", Outside),
    (Dpkg, "9.9.5-9+deb8u19", "<1:9.9.5.dfsg-9+deb8u19", Outside),
    (Dpkg, "9.9.5-9+deb8u18", "<1:9.9.5.dfsg-9+deb8u19", Inside),
    (Dpkg, "9.8.4.P1-6+deb7u1", "<1:9.8.4.dfsg.P1-6+deb7u1", Outside),
    (Dpkg, "5.6.40-0+deb8u12", "<5.6.40+dfsg-0+deb8u12", Outside),
    (Dpkg, "1.3.5-4+deb11u2", "<1.3.5+dfsg1.1-4+deb11u2", Outside),
    (Dpkg, "1.3.5-4+deb11u1", "<1.3.5~ds2-4+deb11u2", Inside),
    (Dpkg, "1.3.5-1", "<1.3.5+dsl-1", Inside),
    (Dpkg, "1.22.1-9~bpo11+1", "<1.22.1-9", Inside),
    (Rpm, "8.7p1-34.el9_3.3", "<0:8.7p1-38.el9_4.1", Inside),
    (Rpm, "8.7p1-38.el9_4.1", "<0:8.7p1-38.el9_4.1", Outside),
    (Rpm, "1.1.1k-9.el8_7", ">=1:1.1.1k-5.el8 <1:1.1.1k-12.el8_9", Inside),
    (Rpm, "2.4.37-65.el8", "<=2.4.37-62.el8", Outside),
    (Apk, "9.3_p1-r3", "<9.3_p2-r0", Inside),
    (Apk, "9.3_p2-r0", "<9.3_p2-r0", Outside),
    (Apk, "3.1.4-r1", ">=0 <3.1.4-r3", Inside),
    (Apk, "3.1.4_weird", "<3.1.4-r3", Indeterminate),
    (OpenSsl, "1.0.2zf", ">=1.0.2 <1.0.2zg", Inside),
    (OpenSsl, "1.0.2zg", ">=1.0.2 <1.0.2zg", Outside),
    (OpenSsl, "1.0.2u", ">=1.0.2 <1.0.2zg", Inside),
    (OpenSsl, "1.0.1f", ">=1.0.1 <=1.0.1f", Inside),
    (OpenSsl, "1.0.1g", ">=1.0.1 <=1.0.1f", Outside),
    (OpenSsl, "1.0.1k-fips", ">=1.0.1 <=1.0.1f", Outside),
    (OpenSsl, "3.0.6", ">=3.0.0 <3.0.7", Inside),
    (OpenSsl, "3.0.13", ">=3.0.0 <3.0.7", Outside),
    (OpenSsl, "1.0.2-dev", "<1.0.2", Indeterminate),
    (OpenSsh, "9.2p1", "<9.3p2", Inside),
    (OpenSsh, "9.3p2", "<9.3p2", Outside),
    (OpenSsh, "9.3p1", "<9.3", Outside),
    (OpenSsh, "9.3p1", "<=9.3", Inside),
    (OpenSsh, "9.3p1", ">9.3", Outside),
    (OpenSsh, "9.6p1", ">=8.5p1 <9.8p1", Inside),
    (OpenSsh, "9.8p1", ">=8.5p1 <9.8p1", Outside),
    (OpenSsh, "8.4p1", ">=8.5p1 <9.8p1", Outside),
    (OpenSsh, "10.0p1", ">=8.5p1 <9.8p1", Outside),
    (OpenSsh, "for_Windows_8.1", "<9.3p2", Indeterminate),
    (Dotted, "2.4.49", "=2.4.49", Inside),
    (Dotted, "2.4.50", "=2.4.49", Outside),
    (Dotted, "7.0.5", ">=7.0 <7.0.12", Inside),
    (Dotted, "7.0.12", ">=7.0 <7.0.12", Outside),
    (Dotted, "7.0.12", ">=7.0 <=7.0.12", Inside),
    (Dotted, "1.20", "<1.20.1", Inside),
    (Dotted, "1.20.1rc1", "<1.20.1", Inside),
    (Dotted, "10.1.0-M3", ">=10.1.0-M1 <10.1.0-M17", Inside),
    (Dotted, "9.0.0.M9", ">=9.0.0.M1 <=9.0.30", Inside),
    (Dotted, "4.0a", ">=4.0 <4.1", Indeterminate),
    (Dotted, "4.0a", ">=3.9 <4.1", Inside),
    (Dotted, "4.2a", ">=4.0 <4.1", Outside),
    (Dotted, "1.0", "*", Inside),
    (Dotted, "15.2(4)M3", "<15.3", Indeterminate),
    (Dotted, "15.0(2)SE11", "=15.0(2)SE11", Inside),
    (Dotted, "15.0(2)SE11", "=15.0(2)se11", Inside),
    (Dotted, "15.0(2)SE11", "<15.0(2)SE11", Outside),
    (Dotted, "15.0(2)SE11", "=15.0(2)SE10", Indeterminate),
    (Dotted, "8.0.32-0ubuntu0.22.04.2", "<8.0.32", Indeterminate),
    (Dotted, "8.0.32-0ubuntu0.22.04.2", "<8.0.33", Inside),
    (Dotted, "5.9.1", ">5.9.1 <6.0", Outside),
    (Dotted, "5.9.1.1", ">5.9.1 <6.0", Inside),
    (Dotted, "2024.10.22", "<2024.9.30", Outside),
    (Dotted, "", "<1.0", Indeterminate),
    (Dotted, "3.0.0-SNAPSHOT", ">=3.0.0", Outside),
];

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

#[test]
fn every_pair_with_a_known_answer_gets_it_in_both_directions() {
    assert!(PAIRS.len() >= 60 && Scheme::ALL.iter().all(|scheme| PAIRS.iter().any(|pair| pair.0 == *scheme)));
    for (scheme, a, b, answer) in PAIRS {
        assert_eq!(compare(*scheme, a, b), *answer, "{scheme}: {a} against {b}");
        assert_eq!(compare(*scheme, b, a), answer.map(Ordering::reverse), "{scheme}: {b} against {a}");
    }
}

#[test]
fn every_version_with_a_known_answer_is_in_its_range_or_not() {
    assert!(RANGES.len() >= 60 && Scheme::ALL.iter().all(|scheme| RANGES.iter().any(|row| row.0 == *scheme)));
    for (scheme, version, text, verdict) in RANGES {
        let range = range_of(*scheme, text);
        assert_eq!(range.holds(version), *verdict, "{scheme}: {version} in {range}");
    }
}

#[test]
fn a_shortened_version_is_in_or_out_where_all_that_begin_so_are() {
    use super::Verdict::Possible;
    for (scheme, version, text, verdict) in [
        (Dotted, "2", "<2.4.50", Possible),
        (Dotted, "2.4", "<2.4.50", Possible),
        (Dotted, "2.4.49", "<2.4.50", Inside),
        (Dotted, "2", "<3", Inside),
        (Dotted, "2", "<2", Outside),
        (Dotted, "2", "<2.0", Outside),
        (Dotted, "2", "<=2.0", Possible),
        (Dotted, "2", ">=2.0.0", Inside),
        (Dotted, "2", ">2.0.0", Possible),
        (Dotted, "2.4", "=2.4.50", Possible),
        (Dotted, "2.4", "=2.4", Inside),
        (Dotted, "2.4", ">=2.2 <2.4", Outside),
        (Dotted, "1", ">=1.18 <1.20.1", Possible),
        (Dotted, "1", ">=1.5 <0.9", Outside),
        (Dotted, "1.5.3", "=1.5.3.0", Inside),
        (Dotted, "1.5.3", "<=1.5.3.0", Inside),
        (Dotted, "1.5.3", "<1.5.3.1", Possible),
        (Dotted, "1.20", "<1.20.1rc1", Possible),
        (Dotted, "1.20rc1", "<1.20.1", Inside),
        (Dotted, "1.2", "<1.20.1", Inside),
        (Semver, "8", ">=8.1 <8.1.29", Possible),
        (OpenSsl, "1.1", "<1.1.1k", Possible),
        (OpenSsl, "1.0.2", "<1.0.2zg", Inside),
        (OpenSsh, "9", "<9.8p1", Possible),
        (OpenSsh, "9.3", "<9.3p2", Possible),
        (OpenSsh, "9.3", "<9.4p1", Inside),
        (OpenSsh, "9.3", ">=8.5p1 <9.3p2", Possible),
        (OpenSsh, "9.8", ">=8.5p1 <9.8p1", Outside),
        (OpenSsh, "9.7", ">=8.5p1 <9.8p1", Inside),
        (OpenSsh, "8.5", ">=8.5p1 <9.8p1", Inside),
        (OpenSsh, "9.9", "<=9.9p1", Possible),
        (OpenSsh, "9.9", "<9.9p2", Possible),
        (OpenSsh, "9.9", ">9.9p1", Possible),
        (OpenSsh, "9.9", "=9.9p1", Possible),
        (OpenSsh, "9.9", ">=9.9p2", Possible),
        (OpenSsh, "9.9", ">=9.5p1 <=9.9", Inside),
        (OpenSsh, "10.0", "<=9.9p2", Outside),
        (Dpkg, "9", "<9.8", Inside),
    ] {
        let range = range_of(scheme, text);
        assert_eq!(range.holds_shortened(version, false), verdict, "{scheme}: {version} in {range}");
    }
    assert_eq!(Range::unread(Dotted, "before the fix").holds_shortened("1", false), Indeterminate);
    // Of what is known to be cut, one that is told like an end is not that end.
    for (version, text, verdict) in [
        ("2.4", "=2.4", Possible),
        ("2.4", "<=2.4", Possible),
        ("2.4", ">2.4", Possible),
        ("2.4", "<2.4", Outside),
        ("2.4", ">=2.4", Inside),
        ("2.4", "<=2.6", Inside),
        ("2.4", "<=2.2", Outside),
        ("2", "<=2", Possible),
    ] {
        let range = range_of(Dotted, text);
        assert_eq!(range.holds_shortened(version, true), verdict, "{version} in {range}");
    }
}

#[test]
fn days_and_numbers_of_releases_have_no_order() {
    for (day, other) in [
        ("20240131", "1.5.3"),
        ("2024-01-31", "9.5"),
        ("2024-01-31t10-00-00z", "1.5"),
        ("r20240131", "7.2"),
        ("20240131.1", "2.0.0"),
    ] {
        for scheme in [Dotted, Semver] {
            assert_eq!(compare(scheme, day, other), None, "{day} against {other}");
            assert_eq!(Range::all(scheme).before(day).holds(other), Indeterminate, "{other} before {day}");
            assert_eq!(Range::all(scheme).since(other).holds(day), Indeterminate, "{day} since {other}");
        }
    }
    assert_eq!(compare(Dotted, "20240131", "20240201"), Some(Ordering::Less));
    assert_eq!(compare(Dotted, "2024-01-31", "2024-02-01"), Some(Ordering::Less));
    // Years that go on as numbers do are versions of a maker who changed the count.
    assert_eq!(compare(Dotted, "9.5", "2023.1.4"), Some(Ordering::Less));
    assert_eq!(compare(Dotted, "2019.84", "2022.83"), Some(Ordering::Less));
}

#[test]
fn ranges_read_as_a_person_would_write_them() {
    assert_eq!(range_of(Dotted, ">=1.0 <2.0").to_string(), ">= 1.0, < 2.0");
    assert_eq!(range_of(Dotted, "<=2.0").to_string(), "<= 2.0");
    assert_eq!(range_of(Dotted, "=2.0").to_string(), "= 2.0");
    assert_eq!(range_of(Dotted, "*").to_string(), "any version");
    assert_eq!(range_of(Dotted, ">=1.0 <2.0").fixed(), Some("2.0"));
    assert_eq!(range_of(Dotted, "<=2.0").fixed(), None);
}

#[test]
fn versions_beyond_the_limit_have_no_order() {
    let long = "1.".repeat(VERSION_BYTES_MAX);
    for scheme in Scheme::ALL {
        assert_eq!(compare(scheme, &long, "1.0"), None);
        assert_eq!(compare(scheme, "1.0", "1.\u{663}"), None);
    }
}

/// Versions from the pieces that schemes know, so that many are close to each other.
fn version() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("."),
        Just("-"),
        Just("~"),
        Just("^"),
        Just("+"),
        Just(":"),
        Just("_"),
        Just("0"),
        Just("1"),
        Just("2"),
        Just("10"),
        Just("01"),
        Just("a"),
        Just("z"),
        Just("p1"),
        Just("rc"),
        Just("rc1"),
        Just("-r1"),
        Just("_rc"),
        Just("_p2"),
        Just("beta"),
        Just("-beta1"),
        Just("deb12u1"),
        Just("foo"),
        Just("sp"),
        Just(".0"),
    ];
    let core = prop_oneof![Just("1"), Just("1.0"), Just("1.0.0"), Just("1.1"), Just("1:1")];
    (core, proptest::collection::vec(piece, 0..4)).prop_map(|(core, rest)| format!("{core}{}", rest.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_known_is_an_order(a in version(), b in version(), c in version()) {
        for scheme in Scheme::ALL {
            let (ab, bc, ac) = (compare(scheme, &a, &b), compare(scheme, &b, &c), compare(scheme, &a, &c));
            prop_assert_eq!(compare(scheme, &b, &a), ab.map(Ordering::reverse), "{} {} {}", scheme, a, b);
            prop_assert!(matches!(compare(scheme, &a, &a), None | SAME));
            if let (Some(ab), Some(bc), Some(ac)) = (ab, bc, ac) {
                let follows = if ab == bc || bc.is_eq() { Some(ab) } else if ab.is_eq() { Some(bc) } else { None };
                prop_assert!(follows.is_none_or(|follows| follows == ac), "{}: {} {} {}", scheme, a, b, c);
            }
        }
    }

    #[test]
    fn no_text_panics_and_no_range_holds_what_it_excludes(a in "\\PC{0,12}", b in "[0-9a-z.:~^_+-]{0,12}") {
        for scheme in Scheme::ALL {
            prop_assert_eq!(compare(scheme, &a, &b), compare(scheme, &b, &a).map(Ordering::reverse));
            let also = if scheme == Semver { Dotted } else { scheme };
            let order = compare(scheme, &b, &b).or(compare(also, &b, &b));
            let verdict = Range::all(scheme).before(b.clone()).holds(&b);
            // What is written alike is the same, whatever it means.
            prop_assert!(verdict == Outside || (verdict == Indeterminate && order.is_none()));
        }
    }
}
