//! Records of weaknesses that were corrected in several branches, as people write them, and what each version comes to.

use serde_json::{Value, json};

use super::tests::{cve, nvd, service, store};
use super::*;
use crate::vuln::feed::FeedKind;

/// `c` for counted, `?` for not to be told, `p` for potential, `.` for nothing.
fn letter(store: crate::vuln::store::MemoryStore, version: &str) -> char {
    let matches = Matcher::new(store).matches(&service("frobd", version, "")).unwrap();
    match (matches.affected.first(), matches.indeterminate.is_empty()) {
        (Some(found), _) if found.confidence >= 50 => 'c',
        (Some(_), _) => 'p',
        (None, false) => '?',
        (None, true) => '.',
    }
}

fn check(note: &str, feed: &(FeedKind, Value), row: &str) {
    for (version, expected) in row.split(", ").map(|pair| pair.split_once(' ').unwrap()) {
        assert_eq!(
            letter(store(std::slice::from_ref(feed)), version).to_string(),
            expected,
            "{version} of {note}: {feed:?}"
        );
    }
}

fn of_versions(versions: Value) -> (FeedKind, Value) {
    cve("CVE-1999-900001", "frobd", "frobd", versions)
}

#[test]
fn no_corrected_version_of_a_branch_is_counted_and_every_other_one_is() {
    let three = "1.3.0 c, 1.4.8 c, 1.4.9 ., 1.5.2 c, 1.5.3 ., 1.5.4 ., 1.6.1 c, 1.6.2 ., 2.0.0 .";
    let two = "1.4.8 c, 1.5.2 c, 1.5.3 ., 1.6.1 c, 1.6.2 ., 1.7.0 .";
    for (text, row) in [
        ("before 1.4.9, 1.5.3, and 1.6.2", three),
        ("prior to 1.4.9, 1.5.3 and 1.6.2", three),
        ("prior to 1.6.2, 1.5.3, 1.4.9", three),
        ("< 1.4.9; < 1.5.3; < 1.6.2", three),
        ("<= 1.4.8, <= 1.5.2, <= 1.6.1", three),
        ("up to 1.4.8, 1.5.2, 1.6.1", three),
        ("earlier than 1.4.9, 1.5.3 or 1.6.2", three),
        ("1.4.8, 1.5.2 and 1.6.1 and earlier", three),
        ("versions prior to 1.6.2 or 1.5.3", two),
        ("before 1.6.2 and 1.5.3", two),
        ("<1.6.2,1.5.3", two),
        ("1.6.1 and earlier; 1.5.2 and earlier", two),
        ("< 1.5.3 || < 1.6.2", two),
        ("1.6.0 and prior to 1.7.0", "1.5.3 ?, 1.6.0 c, 1.6.9 c, 1.7.0 ."),
    ] {
        check(text, &of_versions(json!([{"version": text, "status": "affected"}])), row);
    }
    let entries = |list: &[(&str, &str, &str)]| {
        let entry = |(version, name, end): &(&str, &str, &str)| {
            if name.is_empty() {
                json!({"version": version, "status": "affected"})
            } else {
                json!({"version": version, "status": "affected", "versionType": "custom", (*name): end})
            }
        };
        of_versions(list.iter().map(entry).collect())
    };
    let (below, through) = ("lessThan", "lessThanOrEqual");
    for (list, row) in [
        (&[("*", through, "1.5.2"), ("*", through, "1.6.1")][..], two),
        (&[("1.5.2 and prior", "", ""), ("1.6.1 and prior", "", "")], two),
        (&[("unspecified", below, "1.5.3"), ("unspecified", below, "1.6.2")], two),
        (&[("unspecified", below, "1.6.2"), ("unspecified", below, "1.5.3")], two),
        (&[("0", below, "1.4.9"), ("0", below, "1.5.3"), ("0", below, "1.6.2")], three),
        (&[("before 1.4.9", "", ""), ("before 1.5.3", "", ""), ("before 1.6.2", "", "")], three),
        (&[("< 1.5.3", "", ""), ("< 1.6.2", "", "")], two),
        (&[("1.0", below, "1.5.3"), ("1.0", below, "1.6.2")], two),
        (&[("1.0", through, "1.6.1 and 1.5.2")], two),
        (&[("1.0", below, "1.5.3, 1.6.2")], two),
        (&[("1.0", below, "1.6.2/1.5.3")], two),
        (
            &[("1.0", below, "1.4.9"), ("1.5.0", below, "1.5.3"), ("1.6.0", below, "1.6.2")],
            "1.4.8 c, 1.5.2 c, 1.5.3 ., 1.6.1 c",
        ),
        (&[("*", through, "8.0.35"), ("*", through, "8.2.0")], "8.0.35 c, 8.0.36 ., 8.1.0 ?, 8.2.0 c, 8.2.1 ."),
        (&[("8.0.23 and prior", "", ""), ("5.7.33 and prior", "", "")], "5.7.33 c, 5.7.34 ., 8.0.23 c, 8.0.24 ."),
        (&[("1.5.2", "", ""), ("0", below, "1.6.2")], "1.5.2 c, 1.5.3 c, 1.6.1 c"),
    ] {
        check("entries", &entries(list), row);
    }
}

#[test]
fn several_entries_of_one_product_and_nvds_are_one_list_of_ends() {
    let (kind, mut record) = of_versions(json!([{"version": "0", "lessThan": "1.6.2", "status": "affected"}]));
    let mut second = record["containers"]["cna"]["affected"][0].clone();
    second["versions"] = json!([{"version": "0", "lessThan": "1.5.3", "status": "affected"}]);
    record["containers"]["cna"]["affected"].as_array_mut().unwrap().push(second);
    check("two products", &(kind, record), "1.5.2 c, 1.5.3 ., 1.6.1 c");
    let end = |version: &str| json!({"vulnerable": true, "criteria": "cpe:2.3:a:frobd:frobd:*:*:*:*:*:*:*:*", "versionEndExcluding": version});
    check("nvd", &nvd("CVE-1999-900001", json!([end("1.5.3"), end("1.6.2")])), "1.5.2 c, 1.5.3 ., 1.6.1 c, 1.6.2 .");
}

#[test]
fn changes_in_words_or_of_a_branch_are_not_passed_over() {
    let changed = |at: &str| {
        of_versions(
            json!([{"version": "1.0", "lessThan": "2.0", "status": "affected", "changes": [{"at": at, "status": "unaffected"}]}]),
        )
    };
    check("branch", &changed("1.5.*"), "1.4.9 c, 1.5.3 ?, 1.6.0 ., 2.0 .");
    check("words", &changed("before 1.5.3"), "1.5.2 ?, 1.5.3 ?, 2.0 .");
    check("version", &changed("1.5.3"), "1.5.2 c, 1.5.3 ., 2.0 .");
    check("no order", &changed("the fix"), "1.5.3 ?, 2.0 .");
}

#[test]
fn commits_alone_call_nothing_affected_that_has_a_version() {
    let record = |versions: Value| {
        let (kind, mut record) = of_versions(versions);
        record["containers"]["cna"]["affected"][0]["defaultStatus"] = json!("affected");
        (kind, record)
    };
    let commits = json!({"version": "a1b2c3d", "lessThan": "deadbee", "status": "affected", "versionType": "git"});
    check("git", &record(json!([commits])), "1.5.3 ?");
    check("no status", &record(json!([{"version": "1.4"}])), "1.5.3 ?");
    check("none", &record(json!([])), "1.5.3 c");
    check(
        "and ends",
        &record(json!([commits, {"version": "0", "lessThan": "1.5", "status": "affected"}])),
        "1.4 c, 1.5.3 .",
    );
}

#[test]
fn explain_says_why_a_corrected_version_is_in_none_of_its_ranges() {
    let (kind, record) = of_versions(json!([{"version": "before 1.5.3 and 1.6.2", "status": "affected"}]));
    let store = store(&[(kind, record)]);
    let advisory = store.by_product("frobd:frobd").unwrap().remove(0);
    let steps = |version: &str| {
        let steps = explain(&service("frobd", version, ""), &advisory);
        steps.into_iter().map(|step| step.what).collect::<Vec<_>>().join("\n")
    };
    let corrected = steps("1.5.3");
    assert!(
        corrected.contains("1.5.3 is past the end of its own") && corrected.contains("Not affected"),
        "{corrected}"
    );
    let affected = steps("1.6.1");
    assert!(affected.contains("Affected, by"), "{affected}");
}

#[test]
fn names_of_branches_stand_for_where_they_begin() {
    let versions = json!([{"version": "Mainline", "lessThan": "1.23.2", "status": "affected", "versionType": "custom"},
        {"version": "Stable", "lessThan": "1.22.1", "status": "affected", "versionType": "custom"}]);
    check("names", &of_versions(versions), "1.20.1 c, 1.22.0 c, 1.22.1 ., 1.23.1 c, 1.23.2 .");
}

#[test]
fn who_tried_one_version_does_not_shut_out_who_knows_of_all() {
    let (kind, mut record) = of_versions(json!([{"version": "4.95", "status": "affected"}]));
    record["containers"]["cna"]["affected"][0]["defaultStatus"] = json!("unknown");
    check("alone", &(kind, record.clone()), "4.94.2 ?, 4.95 c, 4.97.1 ?");
    let mut more = record["containers"]["cna"]["affected"][0].clone();
    more["versions"] = json!([{"version": "0", "lessThan": "4.96.1", "status": "affected"}]);
    record["containers"]["adp"] = json!([{"affected": [more]}]);
    check("with another", &(kind, record), "4.94.2 c, 4.95 c, 4.96.0 c");
}

#[test]
fn a_product_without_a_maker_is_the_one_that_is_known_by_its_name() {
    let feed = cve(
        "CVE-1999-900001",
        "n/a",
        "Apache HTTP Server",
        json!([{"version": "2.4.32 to 2.4.44", "status": "affected"}]),
    );
    let of = |version: &str| {
        let matches =
            Matcher::new(store(std::slice::from_ref(&feed))).matches(&service("Apache httpd", version, "")).unwrap();
        matches.affected.first().map(|found| (found.confidence, found.method.as_str()))
    };
    assert_eq!((of("2.4.41"), of("2.4.46")), (Some((80, "version-range")), None));
}
