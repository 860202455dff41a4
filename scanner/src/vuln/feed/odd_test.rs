//! Feeds as people have them: odd records among good ones, and files that other programs saved again.

use serde_json::json;

use super::tests::{Folder, below, cve, error, gz, load, read, verdict, zipped};
use super::*;
use crate::vuln::store::AdvisoryStore;
use crate::vuln::version::Verdict;

#[test]
fn one_odd_record_is_named_and_left_out() {
    let folder = Folder::new();
    let mut odd = cve("CVE-1999-900002", json!("none"));
    let good = cve("CVE-1999-900001", below("2.0"));
    folder.write("all/a.json", odd.to_string());
    folder.write("all/b.json", good.to_string());
    folder.write("all/c.json", "[1, 2]");
    let (summary, store) = read(&folder.path("all"), FeedKind::Cve).unwrap();
    assert_eq!((summary.records, summary.odd, summary.rows), (3, 2, 1));
    assert_eq!(store.by_product("frob_inc:frob_server").unwrap().len(), 1);
    let [first, second] = summary.odd_examples.as_slice() else { panic!("{summary:?}") };
    assert!(
        first.contains("a.json, record 1") && first.contains("CVE-1999-900002") && first.contains("a list"),
        "{first}"
    );
    assert!(second.contains("c.json"), "{second}");

    // The same in one file, in both kinds of list.
    odd["cveMetadata"]["cveId"] = json!(7);
    let lines = format!("{good}\n{odd}\n{good}\n");
    let (summary, _) = read(&folder.write("lines.jsonl", lines), FeedKind::Cve).unwrap();
    assert_eq!((summary.records, summary.odd), (3, 1));
    let nvd = json!({"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": "CVE-1999-900001"}}, {"cve": null}, {"cve": {"id": "x"}}]});
    let (summary, _) = read(&folder.write("nvd.json", nvd.to_string()), FeedKind::Nvd).unwrap();
    assert_eq!(
        (summary.records, summary.odd, summary.silent_examples.as_slice()),
        (3, 2, &["CVE-1999-900001".to_owned()][..])
    );
    assert!(error(&folder.write("odd.json", odd.to_string()), FeedKind::Cve).contains("odd.json, record 1"));
}

#[test]
fn nothing_may_stand_where_a_list_or_a_text_does() {
    let folder = Folder::new();
    let mut record = cve(
        "CVE-1999-900001",
        json!([null, {"version": 1.5, "lessThan": 3, "status": "affected", "changes": null, "versionType": null}]),
    );
    record["containers"]["adp"] = json!(null);
    for list in ["metrics", "references", "cpeApplicability", "title"] {
        record["containers"]["cna"][list] = json!(null);
    }
    record["containers"]["cna"]["affected"][0]["cpes"] = json!(null);
    let (summary, store) = read(&folder.write("cve.json", record.to_string()), FeedKind::Cve).unwrap();
    assert_eq!((summary.odd, summary.rows), (0, 1));
    let range = store.by_product("frob_inc:frob_server").unwrap()[0].affected[0].affected[0].to_string();
    assert_eq!(range, ">= 1.5, < 3");

    let osv = json!({"id": "DEBIAN-CVE-1999-900001", "withdrawn": null, "aliases": null, "upstream": ["CVE-1999-900001"], "severity": null,
        "references": [null, {"url": null}], "database_specific": null, "affected": [null, {"package": null}, {"package": {"ecosystem": "Debian:12", "name": "frob"},
            "versions": null, "severity": [{"score": 9.8}], "ranges": [null, {"type": "ECOSYSTEM", "events": [null, {"introduced": "0", "fixed": null}, {"fixed": "1.2-3"}]}]}]});
    let (summary, store) = read(&folder.write("osv.json", osv.to_string()), FeedKind::Osv).unwrap();
    assert_eq!((summary.odd, summary.rows), (0, 1));
    assert_eq!(store.by_product("debian/frob").unwrap()[0].affected[0].affected[0].to_string(), "< 1.2-3");

    let nvd = json!({"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": "CVE-1999-900001", "metrics": {"cvssMetricV31": null, "cvssMetricV2": [null]}, "references": null,
        "configurations": [null, {"operator": null, "negate": null, "nodes": [{"cpeMatch": null}, {"operator": "OR", "cpeMatch": [
            {"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:*:*:*:*:*:*:*:*", "versionStartIncluding": null, "versionEndExcluding": 2.5}]}]}]}}]});
    let (summary, store) = read(&folder.write("nvd.json", nvd.to_string()), FeedKind::Nvd).unwrap();
    assert_eq!((summary.odd, summary.rows), (0, 1));
    assert_eq!(store.by_product("frob:frob").unwrap()[0].affected[0].affected[0].to_string(), "< 2.5");
}

#[test]
fn versions_of_osv_are_affected_by_list_or_by_range() {
    let folder = Folder::new();
    let osv = json!({"id": "A-1", "modified": "2024-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "frob"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "1.2-3"}, {"introduced": "1.0-1"}]}], "versions": ["1.1-1", "2.0-1", "0.9-1"]}]});
    let (_, store) = read(&folder.write("osv.json", osv.to_string()), FeedKind::Osv).unwrap();
    let ranges: Vec<String> =
        store.by_product("debian/frob").unwrap()[0].affected[0].affected.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, [">= 1.0-1, < 1.2-3", "= 2.0-1", "= 0.9-1"]);
}

#[test]
fn structured_ranges_are_read_with_whatever_stands_in_them() {
    let entry = |version: serde_json::Value, name: &str, end: serde_json::Value| json!([{"version": version, name: end, "status": "affected"}]);
    for (versions, version, expected) in [
        (entry(json!("2.1.*"), "lessThan", json!("2.1.9")), "2.1.4", Verdict::Inside),
        (entry(json!("2.1.*"), "lessThan", json!("2.1.9")), "2.1.9", Verdict::Outside),
        (entry(json!("2.1.*"), "lessThan", json!("2.1.9")), "2.0.4", Verdict::Outside),
        (entry(json!("2.0"), "lessThan", json!("2.*")), "2.9.9", Verdict::Inside),
        (entry(json!("2.0"), "lessThan", json!("2.*")), "3.0", Verdict::Outside),
        (entry(json!("2.0"), "lessThanOrEqual", json!("2.4.*")), "2.4.8", Verdict::Inside),
        (entry(json!("2.0"), "lessThanOrEqual", json!("2.4.x")), "2.5", Verdict::Outside),
        (entry(json!("unspecified"), "lessThan", json!("2.0")), "1.0", Verdict::Inside),
        (entry(json!(">= 1.0"), "lessThan", json!("2.0")), "1.5", Verdict::Inside),
        (entry(json!(">= 1.0"), "lessThan", json!("< 2.0")), "0.9", Verdict::Outside),
        (entry(json!("Frob Server 1.0"), "lessThan", json!("2.0")), "0.9", Verdict::Outside),
        (entry(json!("R1"), "lessThan", json!("2.0")), "1.5", Verdict::Indeterminate),
        (entry(json!("R1"), "lessThan", json!("2.0")), "2.5", Verdict::Outside),
        (entry(json!("1.0"), "lessThan", json!("the fix")), "1.5", Verdict::Indeterminate),
        (entry(json!("next of 1.0"), "lessThan", json!("2.0")), "1.0", Verdict::Outside),
        (json!([{"version": "1.5.x", "status": "affected"}]), "1.5.3", Verdict::Inside),
        (json!([{"version": "1.5.x", "status": "affected"}]), "1.6", Verdict::Outside),
        (
            json!([{"version": "1.2.0.4", "lessThan": "1.2.0.9", "status": "affected", "versionType": "semver"}]),
            "1.2.0.5",
            Verdict::Inside,
        ),
        (
            json!([{"version": "1.2.0.4", "lessThan": "1.2.0.9", "status": "Affected", "versionType": "semver"}]),
            "1.2.0.9",
            Verdict::Outside,
        ),
    ] {
        assert_eq!(verdict(versions.clone(), version), expected, "{versions} at {version}");
    }
}

#[test]
fn changes_count_within_their_range_and_in_any_order() {
    let changed = |changes: serde_json::Value| json!([{"version": "1.0", "lessThan": "3.0", "status": "affected", "versionType": "custom", "changes": changes}]);
    let unordered = changed(json!([{"at": "2.0", "status": "affected"}, {"at": "1.5", "status": "unaffected"}]));
    for (version, expected) in
        [("1.4", Verdict::Inside), ("1.7", Verdict::Outside), ("2.1", Verdict::Inside), ("3.0", Verdict::Outside)]
    {
        assert_eq!(verdict(unordered.clone(), version), expected, "{version}");
    }
    let behind = changed(json!([{"at": "5.0", "status": "unaffected"}]));
    assert_eq!(verdict(behind.clone(), "2.9"), Verdict::Inside);
    assert_eq!(verdict(behind, "4.0"), Verdict::Outside);
    let before = changed(json!([{"at": "0.5", "status": "unaffected"}]));
    assert_eq!(verdict(before, "2.0"), Verdict::Outside);
    assert_eq!(
        verdict(
            changed(json!([{"at": "1.5", "status": "unaffected"}, {"at": "the fix", "status": "affected"}])),
            "2.0"
        ),
        Verdict::Indeterminate
    );
    let open = json!([{"version": "1.0", "status": "affected", "changes": [{"at": "1.5", "status": "unaffected"}]}]);
    assert_eq!((verdict(open.clone(), "1.4"), verdict(open, "1.6")), (Verdict::Inside, Verdict::Outside));
}

#[test]
fn old_scores_count_and_nvds_own_come_first() {
    let folder = Folder::new();
    let vector_3 = |impact: &str| format!("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:{impact}/I:{impact}/A:{impact}");
    let three = |kind: &str, impact: &str| json!({"type": kind, "cvssData": {"vectorString": vector_3(impact)}});
    let two = json!({"type": "Primary", "baseSeverity": "MEDIUM", "cvssData": {"version": "2.0", "vectorString": "AV:N/AC:M/Au:N/C:N/I:P/A:N", "baseScore": 4.3}});
    for (metrics, expected) in [
        (json!({"cvssMetricV2": [two]}), "Some((Medium, 43))"),
        (json!({"cvssMetricV2": [{"cvssData": {"baseScore": 9.3, "version": "2.0"}}]}), "Some(High)"),
        (json!({"cvssMetricV2": [{"cvssData": {"vectorString": "?"}, "baseSeverity": "LOW"}]}), "Some(Low)"),
        (json!({"cvssMetricV2": [{"cvssData": {"baseScore": "10"}}]}), "Some(High)"),
        (json!({"cvssMetricV2": [{"cvssData": {"baseScore": 9.9, "version": null}}]}), "Some(High)"),
        (
            json!({"cvssMetricV31": [three("Secondary", "L"), three("Primary", "H")], "cvssMetricV2": [two]}),
            "Some((Critical, 98))",
        ),
        (json!({"cvssMetricV31": [three("Primary", "H"), three("Secondary", "L")]}), "Some((Critical, 98))"),
        (json!({"cvssMetricV31": [three("Secondary", "L")]}), "Some((High, 73))"),
        (
            json!({"cvssMetricV31": [three("Secondary", "L")], "cvssMetricV30": [three("Primary", "H")]}),
            "Some((Critical, 98))",
        ),
        (json!({"cvssMetricV31": [three("Secondary", "L")], "cvssMetricV2": [two]}), "Some((High, 73))"),
        (
            json!({"cvssMetricV30": [{"cvssData": {"vectorString": null, "baseScore": "7.1", "baseSeverity": null}}]}),
            "Some(High)",
        ),
        (json!({"cvssMetricV31": null}), "None"),
        (json!(null), "None"),
    ] {
        let cpe = json!([{"nodes": [{"cpeMatch": [{"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:1.0:*:*:*:*:*:*:*"}]}]}]);
        let feed = json!({"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": "CVE-1999-900001", "metrics": metrics, "configurations": cpe}}]});
        let (_, store) = read(&folder.write("nvd.json", feed.to_string()), FeedKind::Nvd).unwrap();
        let advisory = store.by_product("frob:frob").unwrap().remove(0);
        let found = match (advisory.severity, &advisory.cvss) {
            (Some(severity), Some(cvss)) => format!("Some(({severity:?}, {}))", cvss.score_tenths),
            (severity, _) => format!("{severity:?}"),
        };
        assert_eq!(found, expected, "{metrics}");
    }
    let mut record = cve("CVE-1999-900001", below("2.0"));
    for (metric, expected) in [
        (
            json!({"cvssV2_0": {"version": "2.0", "vectorString": "AV:N/AC:L/Au:N/C:P/I:P/A:P", "baseScore": 7.5}}),
            "High",
        ),
        (json!({"other": {"type": "words", "content": {"text": "important"}}}), "High"),
    ] {
        record["containers"]["cna"]["metrics"] = json!([metric]);
        let (_, store) = read(&folder.write("cve.json", record.to_string()), FeedKind::Cve).unwrap();
        let severity = store.by_product("frob_inc:frob_server").unwrap()[0].severity;
        assert_eq!(format!("{:?}", severity.unwrap()), expected);
    }
}

const EPSS: &str = "#model_version:v2025.03.14,score_date:2025-06-07T12:55:00Z\ncve,epss,percentile\nCVE-1999-900001,0.94321,0.99123\nCVE-1999-900002,0.00043,0.10345\n";

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn scores_are_the_same_however_their_file_was_saved() {
    let folder = Folder::new();
    let (_, expected) = read(&folder.write("epss.csv", EPSS), FeedKind::Epss).unwrap();
    let semicolons = EPSS.replace(',', ";").replace("0.", "0,");
    for (name, bytes) in [
        ("bom.csv", format!("\u{feff}{EPSS}").into_bytes()),
        ("utf16.csv", utf16(EPSS)),
        ("windows.csv", EPSS.replace('\n', "\r\n").into_bytes()),
        ("mac.csv", EPSS.replace('\n', "\r").into_bytes()),
        ("no-end.csv", EPSS.trim_end().as_bytes().to_vec()),
        ("packed.csv.gz", gz(EPSS.trim_end().as_bytes())),
        ("ctrl-z.csv", format!("{EPSS}\u{1a}").into_bytes()),
        ("blank.csv", EPSS.replace('\n', "\n\n").into_bytes()),
        ("sign.csv", format!("sep=;\n{semicolons}").into_bytes()),
        ("semicolons.csv", semicolons.into_bytes()),
        ("EPSS.CSV.zip", zipped(&[("EPSS.CSV", EPSS.as_bytes()), ("__MACOSX/._EPSS.CSV", b"\0\x05\x16\x07")])),
    ] {
        let (summary, store) =
            read(&folder.write(name, bytes), FeedKind::Epss).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((summary.records, summary.newest_day.as_deref()), (2, Some("2025-06-07")), "{name}");
        assert_eq!(format!("{store:?}"), format!("{expected:?}"), "{name}");
    }
}

#[test]
fn what_is_cut_or_no_text_is_refused_with_its_place() {
    let folder = Folder::new();
    let good = cve("CVE-1999-900001", below("2.0")).to_string();
    let mut latin = good.clone().into_bytes();
    let at = good.find("Frob Server").unwrap();
    latin[at] = 0xe9;
    for (name, bytes, kind, words) in [
        (
            "cut.csv",
            format!("{EPSS}CVE-1999-900003,0.00050,0.123").into_bytes(),
            FeedKind::Epss,
            &["cut.csv, record 5", "line 5", "middle of a line"][..],
        ),
        (
            "percent.csv",
            EPSS.replace("0.94321", "94%").replace("0.00043", "0%").into_bytes(),
            FeedKind::Epss,
            &["line 3", "column 17", "`94%`"],
        ),
        ("latin.json", latin, FeedKind::Cve, &["at line 1 column", "E9 is no UTF-8"]),
        ("two.csv", format!("{EPSS}\u{1a}{EPSS}").into_bytes(), FeedKind::Epss, &["Ctrl-Z"]),
        ("utf32.json", b"\xff\xfe\0\0{\0\0\0".to_vec(), FeedKind::Cve, &["UTF-32"]),
        ("cut16.json", utf16(&good)[..101].to_vec(), FeedKind::Cve, &["middle of a character"]),
        ("cut.json", good.as_bytes()[..50].to_vec(), FeedKind::Cve, &["line 1 column 50"]),
    ] {
        let found = error(&folder.write(name, bytes), kind);
        assert!(words.iter().all(|word| found.contains(word)), "{name}: {found}");
    }
    // Rows of EPSS are as long as they are: a file whose rows differ in length may end with a short one.
    let uneven = EPSS.replace("0.10345\n", "0.1").replace("0.99123", "0.9");
    assert!(read(&folder.write("uneven.csv", uneven), FeedKind::Epss).is_ok());
}

#[test]
fn an_odd_row_or_file_among_others_is_named_and_left_out() {
    let folder = Folder::new();
    for odd in ["CVE-1999-900003,NaN,0.5", "CVE-1999-900003,1.5,0.5", "CVE-1999-900003,0.1,0.2,x", "CVE-none,0.1,0.2"] {
        let (summary, _) = read(&folder.write("odd.csv", format!("{EPSS}{odd}\n")), FeedKind::Epss).unwrap();
        assert_eq!((summary.records, summary.odd, summary.rows), (3, 1, 2), "{odd}");
        assert!(summary.odd_examples[0].contains("line 5"), "{:?}", summary.odd_examples);
    }
    let good = cve("CVE-1999-900001", below("2.0")).to_string();
    let mut latin = good.clone().into_bytes();
    let at = good.find("Frob Server").unwrap();
    latin[at] = 0xe9;
    for (place, odd) in [
        good.as_bytes()[..good.len() / 2].to_vec(),
        good.replace("Frob Server", "\\ud800").into_bytes(),
        good.replace("Frob Server", "\u{1}").into_bytes(),
        latin,
    ]
    .into_iter()
    .enumerate()
    {
        folder.write(&format!("{place}/CVE-1999-900001.json"), &good);
        folder.write(&format!("{place}/CVE-1999-900002.json"), &odd);
        let (summary, store) = read(&folder.path(&place.to_string()), FeedKind::Cve).unwrap();
        assert_eq!((summary.records, summary.odd, summary.files), (2, 1, 2), "{place}");
        assert!(summary.odd_examples[0].contains("CVE-1999-900002.json"), "{:?}", summary.odd_examples);
        assert_eq!(store.by_product("frob_inc:frob_server").unwrap().len(), 1, "{place}");
        // The same among others in one file, but for one that the file ends in.
        let among = folder.write("lines.jsonl", [good.as_bytes(), b"\n", &odd, b"\n", good.as_bytes()].concat());
        let (summary, _) = read(&among, FeedKind::Cve).unwrap();
        assert_eq!((summary.records, summary.odd), (3, 1), "{place}: {summary:?}");
        let last = folder.write("last.jsonl", [good.as_bytes(), b"\n", &odd].concat());
        assert_eq!(read(&last, FeedKind::Cve).is_err(), place == 0, "{place}");
    }
}

/// What is wrong with the text of one record, and what is told of it; nothing where it is read all the same.
const BROKEN: [(&str, &str, &str); 12] = [
    ("\"\\ud83d\"", "prose", ""),
    ("\"a\\ude00b\\ud83d\"", "prose", ""),
    ("\"\\ud83d\"", "compared", "\\ud83d is half a character"),
    ("\"a\u{1}b\"", "prose", "control character"),
    ("\"\\x\"", "prose", "invalid escape"),
    ("1e999", "prose", "number out of range"),
    ("-1e400", "compared", "number out of range"),
    ("nan", "prose", "expected ident"),
    ("01", "prose", "invalid number"),
    ("{\"a\" 1}", "prose", "expected `:`"),
    ("[1,]", "prose", "trailing comma"),
    ("DEEP", "prose", "recursion limit"),
];

/// A record of a feed, with these as JSON for its prose and for the version that it compares with.
fn record_of(kind: FeedKind, id: &str, prose: &str, compared: &str) -> String {
    match kind {
        FeedKind::Nvd => format!(
            r#"{{"cve": {{"id": "{id}", "descriptions": [{{"value": {prose}}}], "configurations": [{{"nodes": [{{"cpeMatch": [{{"vulnerable": true,
               "criteria": "cpe:2.3:a:frob:frob:*:*:*:*:*:*:*:*", "versionEndExcluding": {compared}}}]}}]}}]}}}}"#
        ),
        FeedKind::Kev => {
            let added = if compared.starts_with("\"2") { "\"2024-05-06\"" } else { compared };
            format!(r#"{{"cveID": "{id}", "shortDescription": {prose}, "dateAdded": {added}}}"#)
        }
        FeedKind::Osv => format!(
            r#"{{"id": "{id}", "modified": "2024-01-01T00:00:00Z", "details": {prose}, "affected": [{{"package": {{"ecosystem": "Debian:12", "name": "frob"}},
               "ranges": [{{"type": "ECOSYSTEM", "events": [{{"introduced": "0"}}, {{"fixed": {compared}}}]}}]}}]}}"#
        ),
        _ => format!(
            r#"{{"dataType": "CVE_RECORD", "cveMetadata": {{"cveId": "{id}", "state": "PUBLISHED"}}, "containers": {{"cna": {{"descriptions": [{{"value": {prose}}}],
               "affected": [{{"vendor": "frob", "product": "frob", "versions": [{{"version": "0", "lessThan": {compared}, "status": "affected"}}]}}]}}}}}}"#
        ),
    }
}

#[test]
fn what_is_wrong_with_one_record_stays_in_it_whatever_the_feed() {
    let folder = Folder::new();
    let of = record_of;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    for kind in [FeedKind::Cve, FeedKind::Osv, FeedKind::Nvd, FeedKind::Kev] {
        let good = |id: &str| of(kind, id, "\"well\"", "\"2.5\"");
        for (text, place, told) in BROKEN {
            let text = if text == "DEEP" { &deep } else { text };
            let odd = match place {
                "prose" => of(kind, "CVE-1999-900002", text, "\"2.5\""),
                _ => of(kind, "CVE-1999-900002", "\"well\"", text),
            };
            let records = [good("CVE-1999-900001"), odd, good("CVE-1999-900003")];
            let mut files = vec![format!(
                "{{\"title\": {text}, \"format\": \"X\", \"vulnerabilities\": [\n{}\n]}}",
                records.join(",\n")
            )];
            if [FeedKind::Cve, FeedKind::Osv].contains(&kind) {
                files =
                    vec![records.join("\n"), format!("[{}]", records.join(", ")), records.concat().replace('\n', " ")];
            }
            for file in files {
                let (summary, _) = read(&folder.write("feed.json", &file), kind)
                    .unwrap_or_else(|error| panic!("{kind} {text:.20}: {error}"));
                let odd = u64::from(!told.is_empty());
                assert_eq!(
                    (summary.records, summary.odd, summary.rows),
                    (3, odd, 3 - odd),
                    "{kind} {text:.20}: {summary:?}"
                );
                let example = summary.odd_examples.first().map_or("", String::as_str);
                assert!(
                    example.contains(told)
                        && (odd == 0 || example.contains("CVE-1999-900002") && example.contains("record 2")),
                    "{kind}: {example}"
                );
            }
        }
    }
}

/// What refused whole feeds: one record that is larger than any should be.
#[test]
fn a_record_that_is_larger_than_one_may_be_is_named_and_left_out_whatever_the_feed() {
    let folder = Folder::new();
    let small = Limits { record_bytes_max: 100_000, ..Limits::default() };
    let long = format!("\"{}\"", "a { [ \\\" ".repeat(100_000));
    for kind in [FeedKind::Cve, FeedKind::Osv, FeedKind::Nvd, FeedKind::Kev] {
        let good = |id: &str| record_of(kind, id, "\"well\"", "\"2.5\"");
        let odd = record_of(kind, "CVE-1999-900002", &long, "\"2.5\"");
        let records = [good("CVE-1999-900001"), odd.clone(), good("CVE-1999-900003")];
        let mut files = vec![(
            "feed.json",
            format!("{{\"title\": {long}, \"vulnerabilities\": [\n{}\n], \"end\": 1}}", records.join(",\n"))
                .into_bytes(),
        )];
        if [FeedKind::Cve, FeedKind::Osv].contains(&kind) {
            files = vec![
                ("feed.jsonl", records.join("\n").into_bytes()),
                ("list.json", format!("[{}]", records.join(", ")).into_bytes()),
                ("joined.json", records.concat().into_bytes()),
                ("feed.json.gz", gz(records.join("\n").as_bytes())),
                ("feed16.json", utf16(&records.join("\n"))),
            ];
            let each = [("1.json", &records[0]), ("2.json", &records[1]), ("3.json", &records[2])];
            files.push(("feed.zip", zipped(&each.map(|(name, text)| (name, text.as_bytes())))));
        }
        for (name, bytes) in files {
            let (summary, _) =
                load(&folder.write(name, bytes), kind, &small).unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
            assert_eq!((summary.records, summary.odd, summary.rows), (3, 1, 2), "{kind} {name}: {summary:?}");
            let told = &summary.odd_examples[0];
            assert!(
                told.contains("CVE-1999-900002: the record has more than the 100000 bytes that one may have"),
                "{kind} {name}: {told}"
            );
        }
        // One that is cut is no whole feed, however long.
        let cut = odd.get(..odd.len() / 2).unwrap();
        let cut = match kind {
            FeedKind::Cve | FeedKind::Osv => format!("{}\n{cut}", good("CVE-1999-900001")),
            _ => format!("{{\"vulnerabilities\": [{}, {cut}", good("CVE-1999-900001")),
        };
        assert!(load(&folder.write("cut.json", cut), kind, &small).is_err(), "{kind}");
    }
    let row = format!("{EPSS}{},0.1,0.2\nCVE-1999-900004,0.1,0.2\n", "x".repeat(200_000));
    let (summary, _) = load(&folder.write("epss.csv", row), FeedKind::Epss, &small).unwrap();
    assert_eq!((summary.records, summary.odd, summary.rows), (4, 1, 3));
    assert!(summary.odd_examples[0].contains("record 5: not a epss feed: line 5: it has 200009 bytes"), "{summary:?}");
    let alone = record_of(FeedKind::Cve, "CVE-1999-900002", &long, "\"2.5\"");
    assert!(
        load(&folder.write("alone.json", alone), FeedKind::Cve, &small).unwrap_err().to_string().contains("100000")
    );
}

#[test]
fn bytes_that_are_no_character_leave_out_what_is_compared_with_them_alone() {
    let (folder, of) = (Folder::new(), record_of);
    // Bytes that are no character, in prose and in what is compared, in either encoding of a file.
    for kind in [FeedKind::Cve, FeedKind::Osv] {
        for (prose, compared, odd) in [("\"caf\u{1}\"", "\"2.5\"", 0), ("\"x\"", "\"2\u{1}5\"", 1)] {
            let lines =
                [of(kind, "CVE-1999-900001", "\"well\"", "\"2.5\""), of(kind, "CVE-1999-900002", prose, compared)]
                    .join("\n");
            let latin: Vec<u8> = lines.bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
            let halves: Vec<u8> = format!("\u{feff}{lines}")
                .encode_utf16()
                .map(|unit| if unit == 1 { 0xdc00 } else { unit })
                .flat_map(u16::to_le_bytes)
                .collect();
            for (name, bytes) in [("latin.jsonl", latin), ("halves.jsonl", halves)] {
                let (summary, _) = read(&folder.write(name, bytes), kind).unwrap();
                assert_eq!((summary.records, summary.odd), (2, odd), "{kind} {name}: {summary:?}");
                assert!(odd == 0 || summary.odd_examples[0].contains("line "), "{summary:?}");
            }
        }
    }
    // A row of scores.
    let mut rows = format!("{EPSS}CVE-1999-900003,0.1,0.1\n").into_bytes();
    let at = rows.windows(7).position(|window| window == b"0.00043").unwrap();
    rows[at] = 0xff;
    let (summary, _) = read(&folder.write("epss.csv", rows), FeedKind::Epss).unwrap();
    assert_eq!((summary.records, summary.odd), (3, 1));
}

#[test]
fn records_are_the_same_from_windows_and_from_a_mac() {
    let folder = Folder::new();
    let good = cve("CVE-1999-900001", below("2.0")).to_string();
    let marked = format!("\u{feff}{good}");
    for (name, bytes) in [
        ("bom.json", marked.clone().into_bytes()),
        ("utf16.json", utf16(&good)),
        ("bare16.json", good.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("blank.json", format!("\r\n {good}\r\n\u{1a}").into_bytes()),
        ("joined.jsonl", format!("{marked}\r\n{marked}").into_bytes()),
        (
            "mac.zip",
            zipped(&[
                ("cves\\1999\\CVE-1.JSON", marked.as_bytes()),
                ("__MACOSX/cves/._CVE-1.json", b"\0\x05\x16\x07"),
                ("cves/._CVE-1.json", b"\0"),
                ("cves/desktop.ini", b"x"),
            ]),
        ),
    ] {
        let (summary, store) =
            read(&folder.write(name, bytes), FeedKind::Cve).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((summary.odd, store.row_count() > 0), (0, true), "{name}");
    }
    folder.write("mac/._CVE-1.json", b"\0\x05");
    folder.write("mac/__MACOSX/CVE-1.json", b"\0\x05");
    folder.write("mac/CVE-1.json", marked);
    assert_eq!(read(&folder.path("mac"), FeedKind::Cve).unwrap().0.records, 1);
}

#[test]
fn what_is_unknown_is_no_finding_whatever_the_default() {
    let folder = Folder::new();
    let mut record = cve(
        "CVE-1999-900001",
        json!([{"version": "2.0", "lessThan": "*", "status": "unaffected"}, {"version": "1.0", "lessThan": "2.0", "status": "unknown"}]),
    );
    record["containers"]["cna"]["affected"][0]["defaultStatus"] = json!("affected");
    let (_, store) = read(&folder.write("cve.json", record.to_string()), FeedKind::Cve).unwrap();
    let affected = store.by_product("frob_inc:frob_server").unwrap().remove(0).affected.remove(0);
    let unaffected: Vec<String> = affected.unaffected.iter().map(ToString::to_string).collect();
    assert_eq!((affected.affected.len(), unaffected), (0, vec![">= 2.0".to_owned(), ">= 1.0, < 2.0".to_owned()]));

    // It takes nothing from what is said to be affected, whichever the default.
    let unknown = json!({"version": "0", "lessThan": "*", "status": "unknown"});
    let versions = json!([{"version": "1.0", "lessThan": "2.0", "status": "affected"}, unknown]);
    for default in ["affected", "unaffected", "unknown"] {
        let mut record = cve("CVE-1999-900001", versions.clone());
        record["containers"]["cna"]["affected"][0]["defaultStatus"] = json!(default);
        let (_, store) = read(&folder.write("cve.json", record.to_string()), FeedKind::Cve).unwrap();
        let affected = store.by_product("frob_inc:frob_server").unwrap().remove(0).affected.remove(0);
        assert_eq!((affected.affected.len(), affected.unaffected.len()), (1, 0), "{default}");
    }
    assert_eq!(verdict(versions, "1.5"), Verdict::Inside);
}

#[test]
fn names_of_a_record_limit_it_to_their_edition_and_versions() {
    let folder = Folder::new();
    let of = |cpes: serde_json::Value, versions: serde_json::Value, default: &str| {
        let mut record = cve("CVE-1999-900001", versions);
        record["containers"]["cna"]["affected"][0]["cpes"] = cpes;
        record["containers"]["cna"]["affected"][0]["defaultStatus"] = json!(default);
        let (_, store) = read(&folder.write("cve.json", record.to_string()), FeedKind::Cve).unwrap();
        let affected = store.by_product("frob:frob").unwrap().remove(0).affected.remove(0);
        let ranges: Vec<String> = affected.affected.iter().map(ToString::to_string).collect();
        (affected.cpe.is_some(), ranges.join(" | "), affected.is_default_affected)
    };
    let name = |rest: &str| format!("cpe:2.3:a:frob:frob:{rest}");
    let plain = name("*:*:*:*:*:*:*:*");
    let wordpress = name("*:*:*:*:*:wordpress:*:*");
    let pair = of(json!([name("1.5.3:*:*:*:*:*:*:*"), name("1.5.4:rc1:*:*:*:*:*:*")]), json!([]), "affected");
    assert_eq!(pair, (false, "= 1.5.3 | = 1.5.4rc1".to_owned(), false), "not all versions there are");
    assert_eq!(of(json!([wordpress]), below("2.0"), "unaffected"), (true, ">= 1.0, < 2.0".to_owned(), false));
    assert_eq!(of(json!([wordpress, plain]), below("2.0"), "unaffected"), (false, ">= 1.0, < 2.0".to_owned(), false));
    assert_eq!(of(json!([plain]), json!([]), "affected"), (false, String::new(), true));
    let other = name("*:*:*:*:*:joomla:*:*");
    assert!(!of(json!([wordpress, other]), below("2.0"), "unaffected").0, "neither speaks for both");
    let newer = name("1.5.3:*:*:*:*:wordpress:*:*");
    assert!(of(json!([wordpress, newer]), below("2.0"), "unaffected").0, "both are of one edition");
}

#[test]
fn a_package_at_its_makers_own_address_is_the_product() {
    let folder = Folder::new();
    for (url, name, is_product) in [
        ("https://anongit.example.org/openssh.git", "OpenSSH", true),
        ("https://www.openssh.com/portable.html", "openssh", true),
        ("https://github.com/openssh/openssh-portable", "openssh", false),
        ("https://github.com/redis/redis", "redis", true),
        ("https://github.com/redis/redis-py", "redis", false),
        ("https://github.com/go-redis/redis", "redis", false),
        ("https://github.com/etcd-io/etcd.git", "etcd", true),
        ("https://sourceforge.net/projects/webmin/", "webmin", true),
        ("https://hub.docker.com/_/redis", "redis", false),
        ("https://formulae.brew.sh/formula/redis", "redis", false),
        ("https://registry.npmjs.org", "redis", false),
        ("https://pypi.org/project/redis", "redis", false),
        ("https://www.example.org/frob", "frob", false),
    ] {
        let mut record = cve("CVE-1999-900001", below("2.0"));
        record["containers"]["cna"]["affected"][0] =
            json!({"packageName": name, "collectionURL": url, "versions": below("2.0")});
        let (summary, _) = read(&folder.write("cve.json", record.to_string()), FeedKind::Cve).unwrap();
        assert_eq!(summary.rows > 0, is_product, "{url}");
    }
}

#[test]
fn nodes_within_nodes_say_what_they_say_laid_flat() {
    let folder = Folder::new();
    let cpe = |part: &str, name: &str, is_vulnerable: bool| json!({"vulnerable": is_vulnerable, "criteria": format!("cpe:2.3:{part}:{name}:*:*:*:*:*:*:*:*")});
    let leaf = |found: serde_json::Value| json!({"operator": "OR", "cpeMatch": [found]});
    let app = || leaf(cpe("a", "frob:frob", true));
    let windows = || leaf(cpe("o", "microsoft:windows", false));
    let plugin = || leaf(cpe("a", "frob:plugin", false));
    let of = |configurations: serde_json::Value| {
        let feed = json!({"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": "CVE-1999-900001", "configurations": configurations}}]});
        let (_, store) = read(&folder.write("nvd.json", feed.to_string()), FeedKind::Nvd).unwrap();
        let found = store.by_product("frob:frob").unwrap();
        let all = found.iter().flat_map(|advisory| &advisory.affected);
        all.map(|affected| {
            affected.platforms.iter().map(|name| name.split(':').nth(4).unwrap_or("&")).collect::<Vec<_>>().join(" ")
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(of(json!([{"nodes": [{"operator": "AND", "children": [app(), windows()]}]}])), ["windows"]);
    assert_eq!(of(json!([{"nodes": [{"operator": "OR", "children": [app(), windows()]}]}])), [""]);
    assert_eq!(
        of(json!([{"operator": "AND", "nodes": [{"operator": "OR", "children": [app()]}, windows()]}])),
        ["windows"]
    );
    assert_eq!(of(json!([{"operator": "AND", "nodes": [app(), windows(), plugin()]}])), ["windows & plugin"]);
    let windows_or_linux =
        || json!({"operator": "OR", "children": [windows(), leaf(cpe("o", "linux:linux_kernel", false))]});
    assert_eq!(
        of(json!([{"operator": "AND", "nodes": [app(), windows_or_linux()]}])),
        ["windows linux_kernel"],
        "one of them is enough"
    );
    assert_eq!(
        of(json!([{"nodes": [{"operator": "AND", "children": [app(), windows_or_linux(), plugin()]}]}])),
        ["windows linux_kernel & plugin"]
    );
    let without_windows = json!({"operator": "OR", "negate": true, "children": [windows()]});
    assert_eq!(of(json!([{"operator": "AND", "nodes": [app(), without_windows]}])), [""], "what must not be there");
    // Nodes without patterns cost nothing, however many they are.
    let empty = vec![json!({}); 200_000];
    let children = [vec![app(), windows()], empty].concat();
    assert_eq!(of(json!([{"operator": "AND", "nodes": [{"operator": "AND", "children": children}]}])), ["windows"]);
    assert_eq!(of(json!([{"operator": "AND", "nodes": children}])), ["windows"]);
    let many: Vec<serde_json::Value> = (0..400).map(|_| app()).collect();
    assert_eq!(of(json!([{"nodes": [{"operator": "AND", "children": many}]}])).len(), 0, "it multiplies itself");
}

#[test]
fn what_debian_calls_unimportant_is_no_weakness_of_its_package() {
    let folder = Folder::new();
    for (urgency, rows) in [(json!("unimportant"), 0), (json!("not yet assigned"), 1), (json!(null), 1)] {
        let osv = json!({"id": "DEBIAN-CVE-1999-900001", "modified": "2024-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "frob"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}], "ecosystem_specific": {"urgency": urgency}}]});
        let (summary, _) = read(&folder.write("osv.json", osv.to_string()), FeedKind::Osv).unwrap();
        assert_eq!(summary.rows, rows, "{urgency}");
    }
}

#[test]
fn records_in_a_list_are_records_and_scores_need_no_version_in_front() {
    let folder = Folder::new();
    let mut record = cve("CVE-1999-900001", below("2.0"));
    record["containers"]["cna"]["metrics"] =
        json!([{"cvssV3_1": {"version": "3.1", "vectorString": "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/"}}]);
    let list = json!([record, {"dataType": "CVE_RECORD"}]);
    let (summary, store) = read(&folder.write("list.json", list.to_string()), FeedKind::Cve).unwrap();
    assert_eq!((summary.records, summary.odd), (2, 1));
    assert!(
        summary.odd_examples[0].contains("list.json, record 2: not a cve feed: it has no `cveMetadata`"),
        "{summary:?}"
    );
    let score = store.by_product("frob_inc:frob_server").unwrap()[0].cvss.clone();
    assert_eq!(score.map(|score| score.score_tenths), Some(98));
}

#[test]
fn halves_of_ranges_from_the_format_before_are_one_range() {
    let lower = |version: &str| json!({"version": version, "lessThan": "unspecified", "status": "affected", "versionType": "custom"});
    let upper = |name: &str, version: &str| json!({"version": "unspecified", name: version, "status": "affected", "versionType": "custom"});
    let versions = json!([
        lower("4.4.0"),
        upper("lessThan", "7.6.14"),
        lower("7.7.0"),
        upper("lessThan", "7.13.5"),
        lower("8.0.0"),
        upper("lessThanOrEqual", "8.0.2")
    ]);
    for (version, expected) in [
        ("4.3.9", Verdict::Outside),
        ("7.6.13", Verdict::Inside),
        ("7.6.14", Verdict::Outside),
        ("7.13.4", Verdict::Inside),
        ("7.13.5", Verdict::Outside),
        ("8.0.2", Verdict::Inside),
        ("8.1.0", Verdict::Outside),
        ("9.0", Verdict::Outside),
    ] {
        assert_eq!(verdict(versions.clone(), version), expected, "{version}");
    }
    // The first of them had no lower half, and the last has no upper one.
    let versions = json!([upper("lessThan", "7.6.14"), lower("7.7.0"), upper("lessThan", "7.13.5"), lower("8.0.0")]);
    for (version, expected) in [
        ("1.0", Verdict::Inside),
        ("7.6.20", Verdict::Outside),
        ("7.8", Verdict::Inside),
        ("7.13.9", Verdict::Outside),
        ("8.0.1", Verdict::Indeterminate),
    ] {
        assert_eq!(verdict(versions.clone(), version), expected, "{version}");
    }
    assert_eq!(verdict(json!([lower("unspecified")]), "1.0"), Verdict::Indeterminate);
}
