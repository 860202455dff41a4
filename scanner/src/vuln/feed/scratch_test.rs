use super::tests::{Folder, cve, read};
use super::*;
use crate::vuln::store::AdvisoryStore;
use crate::vuln::version::Scheme;
use serde_json::json;

#[test]
fn scratch_words() {
    for text in [
        "1.0.0 - 1.4.2",
        "1.0.0-1.4.2",
        "1.0–1.4",
        "1.0 — 1.4",
        "1.0 .. 1.4",
        "1.0...1.4",
        "1.0 ~ 1.4",
        "~1.2.3",
        "^1.2.3",
        "~> 2.1",
        "<1.4.2 and >=1.0",
        "up to 1.4.2 (inclusive)",
        "1.4.2 and prior",
        "1.4.2 and lower",
        "1.4.2 or earlier",
        "1.4.2 or prior",
        "1.4.2 and all previous versions",
        "1.x before 1.4.2",
        "1.x and 2.x before 2.3",
        "1.x < 1.4.2",
        "1.4.x < 1.4.2",
        "1.4.x before 1.4.2, 1.5.x before 1.5.3",
        "1.4.x prior to 1.4.2",
        "versions 1.4.x prior to 1.4.2 and 1.5.x prior to 1.5.3",
        "all versions of 1.4",
        "all 1.4.x versions",
        "all 1.x",
        "1.4 branch",
        "1.4 series",
        "1.4.* - 1.6.*",
        "<=1.4.2, 1.5.0",
        "1.0, 1.1, 1.2 - 1.4",
        "1.0/1.1/1.2",
        "1.0 / 1.1",
        "1.0 & 1.1",
        "1.0 plus 1.1",
        "1.4.2 only",
        "only 1.4.2",
        "exactly 1.4.2",
        "1.4.2 (exact)",
        "1.4.2 build 123",
        "1.4.2 Build 123 and earlier",
        "1.4.2-build123",
        "1.4.2b3 and earlier",
        "greater than 1.0 and less than 1.4",
        "greater than or equal to 1.0 and less than or equal to 1.4",
        "not less than 1.0",
        "no later than 1.4",
        "at least 1.0",
        "at most 1.4",
        "<1.4.2-rc1",
        "<v1.4.2",
        "< V1.4.2",
        "<ver1.4.2",
        "<version 1.4.2",
        "< 1.4.2 (LTS)",
        "LTS 1.4.2",
        "1.4.2 LTS",
        "1.4.2 ESR",
        "<1.4.2, <1.5.3, <1.6.1",
        "< 1.4.2 | < 1.5.3",
        "<=1.4.2 || <=1.5.3",
        "1.4.2 and 1.5.3 and earlier",
        "earlier than 1.4.2 and 1.5.3",
        "before 1.4.2 and 1.5.x before 1.5.3",
        "before 1.4.2 and 1.5 through 1.5.3",
        "prior 1.4.2",
        "pre 1.4.2",
        "pre-1.4.2",
        "until 1.4.2",
        "till 1.4.2",
        "through 1.4.2",
        "thru 1.4.2",
        "1.0 thru 1.4",
        "1.0 until 1.4",
        "1.0 up to but excluding 1.4",
        "1.0 (including) to 1.4 (excluding)",
        "1.0 (incl.) up to 1.4 (excl.)",
        "[1.0, 1.4]",
        "]1.0, 1.4[",
        "(1.0, 1.4)",
        "[1.0, 1.4) || [2.0, 2.3)",
        "[1.0 - 1.4]",
        "1.0 ≤ x < 1.4",
        "x < 1.4",
        "x <= 1.4",
        "version < 1.4",
        "Version: 1.4",
        "Versions: 1.0 to 1.4",
        "v. 1.4",
        "Rel. 1.4",
        "release 1.4 and later",
        "fixed in 1.4",
        "1.4 (fixed in 1.5)",
        "affected < 1.4",
        "affects 1.4",
        "vulnerable < 1.4",
        "1.4, fixed in 1.5",
        "patched in 1.5",
        "unpatched",
        "latest",
        "latest version",
        "current",
        "dev",
        "master",
        "main",
        "HEAD",
        "trunk",
        "git",
        "commit abcdef",
        "0",
        "0.0.0",
        "<0",
        "<= 0",
        "1",
        "1.",
        ".1",
        "1..2",
        "1,4",
        "1,4,2",
        "1.4;1.5",
        "1.4\n1.5",
        "1.4\t1.5",
        "1.4 1.5",
        "1.4 & earlier",
        "<1.4 & >=1.0",
        "1.0 <= 1.4",
        "1.0 < 1.4",
        "1.0 =< v < 1.4",
        "from 1.0 (including) up to 1.4 (excluding)",
        "from version 1.0 to version 1.4",
        "between 1.0 and 1.4",
        "1.0 to before 1.4",
        "1.0 to <1.4",
        "1.0 - <1.4",
        "1.0.0 < 1.4.0",
        ">=1.0.0 <=1.4.0 <1.3.0",
        ">1.0 >=1.1",
        "=1.4.2",
        "==1.4.2",
        "===1.4.2",
        "!=1.4.2",
        "≠1.4.2",
        "≤1.4.2",
        "⩽ 1.4.2",
        "‹1.4",
        "1.4.2+",
        "1.4.2 +",
        "1.4.2++",
        "1.4+ and later",
        "1.4.2 ff",
        "1.4.2ff",
        "1.4.2 et al",
        "1.4.2, etc.",
        "1.4.2 and others",
        "1.4.2 or so",
        "approx 1.4.2",
        "1.4.2?",
        "?1.4.2",
        "1.4.2 (?)",
        "\"1.4.2\"",
        "'1.4.2'",
        "`1.4.2`",
        "(1.4.2)",
        "<1.4.2>",
        "&lt;1.4.2",
        "&lt; 1.4.2",
        "&gt;= 1.0, &lt; 1.4",
        "＜1.4",
        "1。4",
        "१.४",
        "1.4.2\u{a0}and earlier",
        "\u{feff}1.4.2",
        "1.4.2\u{200b}",
        "１.４.２",
        "1.4.2 ",
        "1.4.2.",
        "1.4.2,",
        "1.4.2;",
        "1.4.2-",
        "-1.4.2",
        "+1.4.2",
        "v 1.4.2",
        "V1.4.2 and earlier",
        "R1.4",
        "r1.4.2",
        "1.4r2",
        "1.4R2",
        "1.4 R2",
        "1.4 SP2",
        "1.4SP2 and earlier",
        "1.4 CU5",
        "1.4 Patch 2",
        "1.4 P2",
        "2019 CU 12",
        "2019",
        "2019-12-01",
        "before 2019-12-01",
        "20191201",
        "< 20191201",
        "firmware 1.4.2",
        "Firmware < 1.4.2",
        "fw 1.4.2",
        "Frobd/1.4.2",
        "Frobd-1.4.2",
        "frobd_1.4.2",
        "Frobd 1.4.2, Frobd 1.5.0",
        "Frobd 1.0 - 1.4, Other 2.0",
        "Frobd for Windows 1.4.2",
        "Frobd (Windows) before 1.4.2",
        "1.4.2 on Windows",
        "1.4.2 (64-bit)",
        "1.4.2 x64",
        "1.4.2 32-bit",
    ] {
        let ranges = super::range_words::ranges_of(text, Scheme::Dotted, &["frob server", "frobd"]);
        println!("{text:?} -> {}", ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "));
    }
}

#[test]
fn scratch_cve() {
    let folder = Folder::new();
    for versions in [
        json!([{"version": "8.1.*", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "8.1.*", "lessThanOrEqual": "8.1.28", "status": "affected"}]),
        json!([{"version": "8.1", "lessThan": "8.1.*", "status": "affected"}]),
        json!([{"version": "8.1.0", "lessThanOrEqual": "8.1.*", "status": "affected"}]),
        json!([{"version": "8.1.x", "lessThanOrEqual": "8.1.x", "status": "affected"}]),
        json!([{"version": "8.*", "status": "affected"}]),
        json!([{"version": "8.x", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "*", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "*", "lessThan": "*", "status": "affected"}]),
        json!([{"version": "0", "lessThan": "*", "status": "affected"}]),
        json!([{"version": "-", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "n/a", "status": "affected"}]),
        json!([{"version": "n/a", "lessThan": "n/a", "status": "affected"}]),
        json!([{"version": "8.1.29", "lessThan": "8.1.*", "status": "unaffected"}, {"version": "0", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "unspecified", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "8.1.0", "lessThan": "unspecified", "status": "affected"}]),
        json!([{"version": "8.1.0", "lessThan": "8.1.0", "status": "affected"}]),
        json!([{"version": "8.2.0", "lessThan": "8.1.0", "status": "affected"}]),
        json!([{"version": "8.1.0", "lessThanOrEqual": "8.1.0", "status": "affected"}]),
        json!([{"version": "< 8.1.29", "status": "affected"}]),
        json!([{"version": ">= 8.1.0, < 8.1.29", "status": "affected"}]),
        json!([{"version": "8.1.0 < 8.1.29", "status": "affected"}]),
        json!([{"version": "8.1.0 to 8.1.28", "status": "affected"}]),
        json!([{"version": "8.1.0", "lessThan": "8.1.29", "lessThanOrEqual": "8.1.28", "status": "affected"}]),
        json!([{"version": "8.1.0", "lessThan": "8.1.29", "status": "unknown"}]),
        json!([{"version": "8.1.0", "lessThan": "8.1.29", "status": "AFFECTED "}]),
        json!([{"version": "8.1.0", "lessThan": "8.1.29"}]),
        json!([{"lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "v8.1.0", "lessThan": "v8.1.29", "status": "affected", "versionType": "semver"}]),
        json!([{"version": "8.1", "lessThan": "8.1.29-1", "status": "affected", "versionType": "rpm"}]),
        json!([{"version": "abcdef", "lessThan": "012345", "status": "affected", "versionType": "git"}]),
        json!([{"version": "8.1.0", "lessThan": "8.1.29", "status": "affected", "changes": [{"at": "8.1.20", "status": "unaffected"}, {"at": "8.1.22", "status": "affected"}]}]),
        json!([{"version": "8.1.0", "status": "affected", "changes": [{"at": "8.1.20", "status": "unaffected"}]}]),
        json!([{"version": 8, "lessThan": 8.2, "status": "affected"}]),
        json!([{"version": "8.1.0.*", "lessThan": "8.1.29.*", "status": "affected"}]),
        json!([{"version": "8.1.?", "status": "affected"}]),
        json!([{"version": "8.1.X", "status": "affected"}]),
        json!([{"version": "8.1.x.x", "status": "affected"}]),
        json!([{"version": "8.1*", "status": "affected"}]),
        json!([{"version": "8.1-8.2", "status": "affected"}]),
        json!([{"version": "8.1", "status": "affected"}]),
        json!([{"version": "8.1.x before 8.1.29", "status": "affected"}]),
        json!([{"version": "before 8.1.29", "lessThan": "8.1.29", "status": "affected"}]),
        json!([{"version": "all versions", "lessThanOrEqual": "8.1.29", "status": "affected"}]),
        json!([{"version": "all", "status": "affected"}]),
        json!([{"version": "Frob Server 8.1", "lessThan": "Frob Server 8.1.29", "status": "affected"}]),
        json!([{"version": "8.1.29", "status": "unaffected"}]),
        json!([]),
        json!(null),
    ] {
        for default in ["unaffected", "affected", "unknown"] {
            let mut record = cve("CVE-1999-900001", versions.clone());
            record["containers"]["cna"]["affected"][0]["defaultStatus"] = json!(default);
            match read(&folder.write("cve.json", record.to_string()), FeedKind::Cve) {
                Ok((summary, store)) => {
                    let all: Vec<String> = store
                        .by_product("frob_inc:frob_server")
                        .unwrap()
                        .iter()
                        .flat_map(|a| a.affected.iter())
                        .map(|a| {
                            let text = |r: &[crate::vuln::version::Range]| {
                                r.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
                            };
                            let verdicts: Vec<String> =
                                ["7.4", "8.0.9", "8.1.0", "8.1.20", "8.1.21", "8.1.29", "8.1.30", "8.2.1", "9.0"]
                                    .iter()
                                    .map(|v| {
                                        format!(
                                            "{v}{}",
                                            match crate::vuln::matching::holds_for_test(a, v) {
                                                crate::vuln::version::Verdict::Inside => "+",
                                                crate::vuln::version::Verdict::Outside => "-",
                                                crate::vuln::version::Verdict::Possible => "~",
                                                crate::vuln::version::Verdict::Indeterminate => "?",
                                            }
                                        )
                                    })
                                    .collect();
                            format!("[{} ! {}] {}", text(&a.affected), text(&a.unaffected), verdicts.join(" "))
                        })
                        .collect();
                    println!("{versions} {default} -> odd {} {}", summary.odd, all.join(" ;; "));
                }
                Err(error) => println!("{versions} {default} -> ERR {error}"),
            }
        }
    }
}

#[test]
fn scratch_osv() {
    let folder = Folder::new();
    for (ecosystem, kind, events, versions) in [
        ("Debian:12", "ECOSYSTEM", json!([{"fixed": "1.2-3+deb12u1"}, {"introduced": "0"}]), json!(null)),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "1:1.0"}, {"fixed": "1:1.2"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0"}, {"last_affected": "1.2-3"}]), json!(["1.2-4"])),
        (
            "Debian:12",
            "ECOSYSTEM",
            json!([{"introduced": "1.0"}, {"introduced": "0"}, {"fixed": "0.5"}, {"fixed": "1.2"}]),
            json!([]),
        ),
        ("Debian:12", "ecosystem", json!([{"introduced": "0"}, {"fixed": "1.2"}]), json!([])),
        ("Debian:12", "", json!([{"introduced": "0"}, {"fixed": "1.2"}]), json!([])),
        ("Debian:12", "GIT", json!([{"introduced": "abc"}, {"fixed": "def"}]), json!(["1.0"])),
        ("Debian:12", "SEMVER", json!([{"introduced": "0"}, {"fixed": "1.2.0-rc1"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0"}, {"limit": "1.2"}, {"fixed": "1.5"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0"}, {"limit": "*"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"limit": "1.2"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0", "fixed": null}]), json!([null, "1.0", ""])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": " 0 "}, {"fixed": " 1.2 "}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": ""}, {"fixed": "1.2"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0"}, {"fixed": ""}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0.0.0"}, {"fixed": "1.2"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0"}, {"fixed": "1.2"}, {"fixed": "1.1"}]), json!([])),
        (
            "Debian:12",
            "ECOSYSTEM",
            json!([{"introduced": "1.0"}, {"last_affected": "1.0"}, {"introduced": "1.2"}, {"last_affected": "1.3"}]),
            json!([]),
        ),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": "0"}, {"last_affected": "1.3"}, {"fixed": "1.4"}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"fixed": "1.4"}]), json!(["1.0"])),
        ("Debian:12", "ECOSYSTEM", json!([]), json!(["1.0-1", "1.0-1"])),
        ("Debian:12", "ECOSYSTEM", json!({}), json!(["1.0-1"])),
        ("Debian:12", "ECOSYSTEM", json!("x"), json!(["1.0-1"])),
        ("Debian:12", "ECOSYSTEM", json!([[]]), json!(["1.0-1"])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": ["0"]}]), json!([])),
        ("Debian:12", "ECOSYSTEM", json!([{"introduced": true}, {"fixed": "1.2"}]), json!([])),
        ("Alpine:v3.19", "ECOSYSTEM", json!([{"introduced": "0"}, {"fixed": "1.2.3-r1"}]), json!([])),
        ("PyPI", "ECOSYSTEM", json!([{"introduced": "0"}, {"fixed": "1.2.post1"}]), json!([])),
        ("Maven", "ECOSYSTEM", json!([{"introduced": "1.0.0.Final"}, {"fixed": "1.2.Final"}]), json!([])),
    ] {
        let osv = json!({"id": "X-1", "modified": "2024-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": ecosystem, "name": "frob"}, "ranges": [{"type": kind, "events": events}], "versions": versions}]});
        match read(&folder.write("osv.json", osv.to_string()), FeedKind::Osv) {
            Ok((summary, store)) => {
                let key = crate::vuln::advisory::package_key(ecosystem, "frob");
                let all: Vec<String> = store
                    .by_product(&key)
                    .unwrap()
                    .iter()
                    .flat_map(|a| a.affected.iter())
                    .map(|a| a.affected.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "))
                    .collect();
                println!(
                    "{kind} {events} {versions} -> odd {} silent {} {}",
                    summary.odd,
                    summary.without_products,
                    all.join(" ;; ")
                );
            }
            Err(error) => println!("{kind} {events} {versions} -> ERR {error}"),
        }
    }
}

#[test]
fn scratch_scores() {
    let folder = Folder::new();
    for metrics in [
        json!({"cvssMetricV2": [{"type": "Primary", "baseSeverity": "HIGH", "cvssData": {"version": "2.0", "vectorString": "(AV:N/AC:L/Au:N/C:C/I:C/A:C)", "baseScore": 10.0}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"vectorString": "AV:N/AC:L/Au:N/C:C/I:C/A:C"}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": "10"}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": 0}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": 0.0}}], "cvssMetricV31": []}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": 11}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": -1}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": "7,5"}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": 3.9}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": 4.0}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": 6.9}}]}),
        json!({"cvssMetricV2": [{"cvssData": {"baseScore": 7.0}}]}),
        json!({"cvssMetricV2": [{"type": "Secondary", "cvssData": {"baseScore": 9.9}}, {"type": "Primary", "cvssData": {"baseScore": 2.0}}]}),
        json!({"cvssMetricV31": [{"type": "Secondary", "cvssData": {"baseScore": 9.9, "baseSeverity": "CRITICAL"}}, {"type": "Primary", "cvssData": {"baseScore": 2.0, "baseSeverity": "LOW"}}]}),
        json!({"cvssMetricV40": [{"type": "Secondary", "cvssData": {"baseScore": 9.9, "baseSeverity": "CRITICAL", "vectorString": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}}], "cvssMetricV31": [{"type": "Primary", "cvssData": {"baseScore": 5.0, "baseSeverity": "MEDIUM"}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": {"vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "baseScore": 5.0, "baseSeverity": "MEDIUM"}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": {"vectorString": "CVSS:3.1/AV:N/AC:L", "baseScore": 5.0, "baseSeverity": "MEDIUM"}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": {"vectorString": "CVSS:3.1/AV:N/AC:L", "baseScore": 5.0}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": null}]}),
        json!({"cvssMetricV31": [null, {"type": "Primary", "cvssData": {"baseSeverity": "high"}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": {"baseSeverity": "NONE", "baseScore": 0.0}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": {"baseSeverity": "", "baseScore": 8.0}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": {"baseSeverity": "IMPORTANT", "baseScore": 8.0}}]}),
        json!({"cvssMetricV31": [{"type": "Primary", "cvssData": {"baseSeverity": "weird", "baseScore": 8.0}}]}),
        json!({"cvssMetricV31": {"type": "Primary"}}),
        json!([]),
        json!("x"),
    ] {
        let cpe = json!([{"nodes": [{"cpeMatch": [{"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:1.0:*:*:*:*:*:*:*"}]}]}]);
        let feed = json!({"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": "CVE-1999-900001", "metrics": metrics, "configurations": cpe}}]});
        match read(&folder.write("nvd.json", feed.to_string()), FeedKind::Nvd) {
            Ok((_, store)) => {
                let found = store.by_product("frob:frob").unwrap();
                println!(
                    "{metrics} -> {:?}",
                    found.first().map(|a| (a.severity, a.cvss.as_ref().map(|c| c.score_tenths)))
                );
            }
            Err(error) => println!("{metrics} -> ERR {error}"),
        }
    }
}

#[test]
fn scratch_windows() {
    use super::tests::{below, gz, zipped};
    let folder = Folder::new();
    let head = "#model_version:v2025.03.14,score_date:2025-06-07T12:55:00Z\n";
    let rows = "CVE-1999-900001,0.94321,0.99123\nCVE-1999-900002,0.00043,0.10345\nCVE-1999-900003,0.00143,0.20345\n";
    let whole = format!("{head}cve,epss,percentile\n{rows}");
    let utf16le = |t: &str| -> Vec<u8> { t.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let utf16be = |t: &str| -> Vec<u8> { t.encode_utf16().flat_map(u16::to_be_bytes).collect() };
    let utf32 = |t: &str| -> Vec<u8> { t.chars().flat_map(|c| (c as u32).to_le_bytes()).collect() };
    for (label, bytes) in [
        ("plain", whole.clone().into_bytes()),
        ("utf16le no bom", utf16le(&whole)),
        ("utf16be no bom", utf16be(&whole)),
        ("utf16le bom", utf16le(&format!("\u{feff}{whole}"))),
        ("utf32 bom", utf32(&format!("\u{feff}{whole}"))),
        ("bom twice", format!("\u{feff}\u{feff}{whole}").into_bytes()),
        ("crlf", whole.replace('\n', "\r\n").into_bytes()),
        ("cr", whole.replace('\n', "\r").into_bytes()),
        ("crcrlf", whole.replace('\n', "\r\r\n").into_bytes()),
        ("lfcr", whole.replace('\n', "\n\r").into_bytes()),
        ("mixed", whole.replacen('\n', "\r\n", 2).into_bytes()),
        ("nel", whole.replace('\n', "\u{85}").into_bytes()),
        ("nul pad", format!("{whole}\0\0\0").into_bytes()),
        ("ctrlz", format!("{whole}\u{1a}").into_bytes()),
        ("ctrlz crlf", format!("{whole}\u{1a}\r\n").into_bytes()),
        ("formfeed", format!("{whole}\u{c}").into_bytes()),
        ("blank lines", whole.replace('\n', "\n\n").into_bytes()),
        ("upper header", whole.replace("cve,epss,percentile", "CVE,EPSS,Percentile").into_bytes()),
        ("spaces", whole.replace(',', ", ").into_bytes()),
        ("spaces before", whole.replace(',', " , ").into_bytes()),
        ("tabs", whole.replace(',', "\t").into_bytes()),
        ("pipes", whole.replace(',', "|").into_bytes()),
        (
            "quoted all",
            whole.lines().map(|l| format!("\"{}\"\n", l.replace(',', "\",\""))).collect::<String>().into_bytes(),
        ),
        (
            "single quoted",
            whole.lines().map(|l| format!("'{}'\n", l.replace(',', "','"))).collect::<String>().into_bytes(),
        ),
        ("trailing sep", whole.replace('\n', ",\n").into_bytes()),
        ("trailing seps", whole.replace('\n', ",,,\n").into_bytes()),
        (
            "extra column",
            whole
                .replace("percentile\n", "percentile,date\n")
                .replace("123\n", "123,2025-06-07\n")
                .replace("345\n", "345,2025-06-07\n")
                .into_bytes(),
        ),
        ("no comment", format!("cve,epss,percentile\n{rows}").into_bytes()),
        ("comment below", format!("cve,epss,percentile\n{head}{rows}").into_bytes()),
        ("reordered", format!("{head}epss,cve,percentile\n0.5,CVE-1999-900001,0.9\n").into_bytes()),
        ("header again", format!("{whole}cve,epss,percentile\n{rows}").into_bytes()),
        ("no header", format!("{head}{rows}").into_bytes()),
        ("percent", format!("{head}cve,epss,percentile\nCVE-1999-900001,94.3%,99.1%\n").into_bytes()),
        ("sci", format!("{head}cve,epss,percentile\nCVE-1999-900001,9.4E-01,1E0\n").into_bytes()),
        ("over 1", format!("{whole}CVE-1999-900009,1.5,0.5\n").into_bytes()),
        ("neg", format!("{whole}CVE-1999-900009,-0.5,0.5\n").into_bytes()),
        ("nan", format!("{whole}CVE-1999-900009,NaN,0.5\n").into_bytes()),
        ("comma dec", format!("{head}cve;epss;percentile\nCVE-1999-900001;0,94;0,99\n").into_bytes()),
        ("leading dot", format!("{head}cve,epss,percentile\nCVE-1999-900001,.94,.99\n").into_bytes()),
        ("lower cve", format!("{whole}cve-1999-900009,0.5,0.5\n").into_bytes()),
        ("no percentile", format!("{head}cve,epss\nCVE-1999-900001,0.5\n").into_bytes()),
        ("last no nl", whole.trim_end().as_bytes().to_vec()),
        ("last cut", whole[..whole.len() - 3].as_bytes().to_vec()),
        ("last cut 2", whole[..whole.len() - 12].as_bytes().to_vec()),
        ("sep=", format!("sep=,\n{whole}").into_bytes()),
        ("excel comment", whole.replacen("#model", "\"#model", 1).replacen("00Z\n", "00Z\",,\n", 1).into_bytes()),
        ("date only", format!("#score_date:2025-06-07\ncve,epss,percentile\n{rows}").into_bytes()),
        ("gz twice", gz(&gz(whole.as_bytes()))),
        ("gz members", [gz(head.as_bytes()), gz(format!("cve,epss,percentile\n{rows}").as_bytes())].concat()),
        ("gz trailing zeros", [gz(whole.as_bytes()), vec![0; 100]].concat()),
        ("gz trailing junk", [gz(whole.as_bytes()), b"junk".to_vec()].concat()),
        ("zip", zipped(&[("epss.csv", whole.as_bytes())])),
        ("zip upper", zipped(&[("EPSS.CSV", whole.as_bytes())])),
        ("zip txt", zipped(&[("epss.txt", whole.as_bytes())])),
        ("zip of gz", zipped(&[("epss.csv.gz", &gz(whole.as_bytes()))])),
        (
            "zip ds_store",
            zipped(&[(".DS_Store", b"\0\0\0\x01Bud1"), ("Thumbs.db", b"\xd0\xcf"), ("epss.csv", whole.as_bytes())]),
        ),
    ] {
        match read(&folder.write("epss.csv", bytes), FeedKind::Epss) {
            Ok((s, _)) => println!(
                "{label}: {} records, odd {} {:?} day {:?}",
                s.records,
                s.odd,
                s.odd_examples.first(),
                s.newest_day
            ),
            Err(e) => println!("{label}: ERR {e}"),
        }
    }
    let good = cve("CVE-1999-900001", below("2.0")).to_string();
    let kev = r#"{"title": "x", "catalogVersion": "1", "dateReleased": "2025-01-01T00:00:00Z", "count": 2, "vulnerabilities": [{"cveID": "CVE-1999-900001", "dateAdded": "2024-05-06"}, {"cveID": "CVE-1999-900002", "dateAdded": "2024-05-07"}]}"#;
    for (label, kind, bytes) in [
        (
            "pretty crlf",
            FeedKind::Cve,
            serde_json::to_string_pretty(&cve("CVE-1999-900001", below("2.0")))
                .unwrap()
                .replace('\n', "\r\n")
                .into_bytes(),
        ),
        ("utf16 no bom", FeedKind::Cve, utf16le(&good)),
        ("utf32", FeedKind::Cve, utf32(&format!("\u{feff}{good}"))),
        ("bom twice", FeedKind::Cve, format!("\u{feff}\u{feff}{good}").into_bytes()),
        ("bom per line", FeedKind::Cve, format!("\u{feff}{good}\r\n\u{feff}{good}\r\n").into_bytes()),
        ("nul end", FeedKind::Cve, format!("{good}\0").into_bytes()),
        ("commas between", FeedKind::Cve, format!("{good},\n{good}").into_bytes()),
        ("trailing comma list", FeedKind::Cve, format!("[{good},]").into_bytes()),
        ("comments", FeedKind::Cve, format!("// x\n{good}").into_bytes()),
        ("rs", FeedKind::Cve, format!("\u{1e}{good}\n\u{1e}{good}\n").into_bytes()),
        ("nbsp", FeedKind::Cve, format!("\u{a0}{good}").into_bytes()),
        ("empty list", FeedKind::Cve, b"[]".to_vec()),
        ("list of list", FeedKind::Cve, format!("[[{good}]]").into_bytes()),
        ("null", FeedKind::Cve, b"null".to_vec()),
        ("object of", FeedKind::Cve, format!("{{\"cves\": [{good}]}}").into_bytes()),
        (
            "mac zip",
            FeedKind::Cve,
            zipped(&[
                ("cves/", b""),
                ("cves/CVE-1.json", good.as_bytes()),
                ("__MACOSX/cves/._CVE-1.json", b"\0\x05\x16\x07"),
                (".DS_Store", b"\0"),
            ]),
        ),
        ("zip upper", FeedKind::Cve, zipped(&[("CVES/CVE-1.JSON", good.as_bytes())])),
        ("zip bom", FeedKind::Cve, zipped(&[("a.json", format!("\u{feff}{good}").as_bytes())])),
        ("zip utf16", FeedKind::Cve, zipped(&[("a.json", &utf16le(&format!("\u{feff}{good}")))])),
        (
            "zip delta",
            FeedKind::Cve,
            zipped(&[
                ("delta.json", b"{}"),
                ("deltaLog.json", b"[]"),
                ("recent_activities.json", b"{}"),
                ("a.json", good.as_bytes()),
            ]),
        ),
        (
            "zip readme",
            FeedKind::Cve,
            zipped(&[("README.md", b"x"), ("package.json", b"{\"name\": \"x\"}"), ("a.json", good.as_bytes())]),
        ),
        ("kev plain", FeedKind::Kev, kev.as_bytes().to_vec()),
        ("kev bom crlf", FeedKind::Kev, format!("\u{feff}{}\r\n", kev.replace(", ", ",\r\n")).into_bytes()),
        ("kev utf16be", FeedKind::Kev, utf16be(&format!("\u{feff}{kev}"))),
        ("kev latin", FeedKind::Kev, kev.replace("\"x\"", "\"caf\u{e9}\"").chars().map(|c| c as u8).collect()),
        ("kev array", FeedKind::Kev, b"[{\"cveID\": \"CVE-1999-900001\", \"dateAdded\": \"2024-05-06\"}]".to_vec()),
        ("kev csv", FeedKind::Kev, b"cveID,vendorProject\nCVE-1999-900001,x\n".to_vec()),
        ("kev upper", FeedKind::Kev, kev.replace("vulnerabilities", "Vulnerabilities").into_bytes()),
        ("kev dup", FeedKind::Kev, kev.replace("\"count\": 2", "\"vulnerabilities\": []").into_bytes()),
        ("kev trailing comma", FeedKind::Kev, kev.replace("}]}", "},]}").into_bytes()),
        ("kev space date", FeedKind::Kev, kev.replace("2024-05-06", " 2024-05-06 ").into_bytes()),
        ("kev odd date", FeedKind::Kev, kev.replace("2024-05-06", "05/06/2024").into_bytes()),
        ("kev lower id", FeedKind::Kev, kev.replace("CVE-1999-900001", "cve-1999-900001").into_bytes()),
        ("kev space id", FeedKind::Kev, kev.replace("CVE-1999-900001", " CVE-1999-900001 ").into_bytes()),
    ] {
        match read(&folder.write("feed.json", bytes), kind) {
            Ok((s, _)) => println!(
                "{label}: {} records, odd {} {:?} day {:?}",
                s.records,
                s.odd,
                s.odd_examples.first(),
                s.newest_day
            ),
            Err(e) => println!("{label}: ERR {e}"),
        }
    }
}
