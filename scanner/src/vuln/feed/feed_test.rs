//! Feeds in every wrapping, and what is refused with which words. The records are made up; so are their ids.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use super::*;
use crate::finding::Severity;
use crate::vuln::advisory::Source;
use crate::vuln::store::{AdvisoryStore, MemoryStore};
use crate::vuln::version::Verdict;

pub(super) fn cve(id: &str, versions: Value) -> Value {
    json!({
        "dataType": "CVE_RECORD", "dataVersion": "5.1",
        "cveMetadata": {"cveId": id, "state": "PUBLISHED", "assignerShortName": "frob", "datePublished": "2024-03-04T05:06:07.000Z"},
        "containers": {"cna": {
            "title": "Frob Server reads too much",
            "affected": [{"vendor": "Frob Inc", "product": "Frob Server", "defaultStatus": "unaffected", "versions": versions}],
            "metrics": [{"cvssV3_1": {"version": "3.1", "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "baseScore": 9.8, "baseSeverity": "CRITICAL"}}],
            "references": [{"url": "https://frob.example/1"}],
        }},
    })
}

pub(super) fn below(version: &str) -> Value {
    json!([{"version": "1.0", "lessThan": version, "status": "affected", "versionType": "custom"}])
}

pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

pub(super) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub(super) fn load(path: &Path, kind: FeedKind, limits: &Limits) -> Result<(Summary, MemoryStore), FeedError> {
    let mut rows = Vec::new();
    let summary = import(path, kind, limits, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    let mut store = MemoryStore::default();
    store.install(kind, rows);
    Ok((summary, store))
}

pub(super) fn read(path: &Path, kind: FeedKind) -> Result<(Summary, MemoryStore), FeedError> {
    load(path, kind, &Limits::default())
}

pub(super) fn error(path: &Path, kind: FeedKind) -> String {
    read(path, kind).map(|(summary, _)| summary).unwrap_err().to_string()
}

#[test]
fn a_cve_record_is_read_in_every_wrapping() {
    let folder = Folder::new();
    let [one, two] = ["CVE-1999-900001", "CVE-1999-900002"].map(|id| cve(id, below("2.0")).to_string());
    folder.write("all/cves/1999/CVE-1999-900001.json", &one);
    folder.write("all/cves/1999/CVE-1999-900002.json", &two);
    folder.write("all/cves/delta.json", "{}");
    folder.write("all/README.md", "not a record");
    let lines = format!("{one}\n{two}\n");
    let inner = zipped(&[
        ("cves/1/CVE-1999-900001.json", one.as_bytes()),
        ("cves/2/CVE-1999-900002.json", two.as_bytes()),
        ("cves/deltaLog.json", b"[]"),
    ]);
    let paths = [
        folder.0.path().join("all"),
        folder.write("lines.jsonl", &lines),
        folder.write("lines.jsonl.gz", gz(lines.as_bytes())),
        folder.write("cves.zip", &inner),
        folder.write("daily.zip.zip", zipped(&[("cves.zip", &inner)])),
    ];
    for path in paths {
        let (summary, store) = read(&path, FeedKind::Cve).unwrap();
        assert_eq!(
            (summary.records, summary.rows, summary.newest_day.as_deref()),
            (2, 2, Some("2024-03-04")),
            "{}",
            path.display()
        );
        let found = store.by_product("frob_inc:frob_server").unwrap();
        assert_eq!(
            found.iter().map(|advisory| advisory.id.as_str()).collect::<Vec<_>>(),
            ["CVE-1999-900001", "CVE-1999-900002"]
        );
        assert_eq!(
            (found[0].severity, found[0].source, found[0].provider.as_str()),
            (Some(Severity::Critical), Source::Cve, "frob")
        );
        assert_eq!(found[0].affected[0].fixed(), ["2.0"]);
    }
    let (summary, _) = read(&folder.write("single", &one), FeedKind::Cve).unwrap();
    assert_eq!(summary.records, 1);
}

/// Whether the only product of the record is affected at `version`.
pub(super) fn verdict(versions: Value, version: &str) -> Verdict {
    let folder = Folder::new();
    let path = folder.write("one.json", cve("CVE-1999-900001", versions).to_string());
    let (_, store) = read(&path, FeedKind::Cve).unwrap();
    let found = store.by_product("frob_inc:frob_server").unwrap();
    found.first().map_or(Verdict::Outside, |advisory| {
        let affected = &advisory.affected[0];
        affected
            .affected
            .iter()
            .map(|range| range.holds(version))
            .find(|verdict| *verdict != Verdict::Outside)
            .unwrap_or(Verdict::Outside)
    })
}

#[test]
fn versions_of_cve_records_mean_what_the_format_says() {
    let changed = json!([{"version": "1.0", "lessThan": "3.0", "status": "affected", "versionType": "custom",
        "changes": [{"at": "1.5", "status": "unaffected"}, {"at": "2.0", "status": "affected"}]}]);
    for (versions, version, expected) in [
        (below("2.0"), "1.5", Verdict::Inside),
        (below("2.0"), "2.0", Verdict::Outside),
        (below("2.0"), "0.9", Verdict::Outside),
        (changed.clone(), "1.4", Verdict::Inside),
        (changed.clone(), "1.7", Verdict::Outside),
        (changed.clone(), "2.1", Verdict::Inside),
        (changed, "3.0", Verdict::Outside),
        (json!([{"version": "0", "lessThanOrEqual": "2.0", "status": "affected"}]), "2.0", Verdict::Inside),
        (json!([{"version": "1.0", "lessThan": "*", "status": "affected"}]), "99", Verdict::Inside),
        (json!([{"version": "1.1", "status": "affected"}]), "1.1", Verdict::Inside),
        (json!([{"version": "1.1", "status": "affected"}]), "1.2", Verdict::Outside),
        (json!([{"version": ">= 1.0, < 1.5", "status": "affected"}]), "1.4", Verdict::Inside),
        (json!([{"version": ">= 1.0, < 1.5", "status": "affected"}]), "1.5", Verdict::Outside),
        (json!([{"version": "n/a", "status": "affected"}]), "1.0", Verdict::Outside),
        (json!([{"version": "before the fix", "status": "affected"}]), "1.0", Verdict::Indeterminate),
        (
            json!([{"version": "abc123", "lessThan": "def456", "status": "affected", "versionType": "git"}]),
            "1.0",
            Verdict::Outside,
        ),
        (json!([{"version": "1.0", "status": "unknown"}]), "1.0", Verdict::Outside),
    ] {
        assert_eq!(verdict(versions.clone(), version), expected, "{versions} at {version}");
    }
}

#[test]
fn osv_packages_are_read_with_their_release_and_events() {
    let folder = Folder::new();
    let record = json!({
        "schema_version": "1.6.0", "id": "DEBIAN-CVE-1999-900001", "modified": "2024-05-06T00:00:00Z", "upstream": ["CVE-1999-900001"],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [
            {"package": {"ecosystem": "Debian:12", "name": "openssh"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1:9.2p1-2+deb12u3"}]}], "versions": ["1:9.2p1-2"]},
            {"package": {"ecosystem": "Debian:11", "name": "openssh"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1:9.0"}, {"last_affected": "1:9.1"}, {"introduced": "1:9.3"}]}]},
            {"package": {"ecosystem": "Debian:11", "name": "git-only"}, "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]},
        ],
    });
    let withdrawn = json!({"id": "DSA-1", "modified": "2024-05-06T00:00:00Z", "withdrawn": "2024-05-07T00:00:00Z"});
    let path = folder.write(
        "osv.zip",
        zipped(&[("a.json", record.to_string().as_bytes()), ("b.json", withdrawn.to_string().as_bytes())]),
    );
    let (summary, store) = read(&path, FeedKind::Osv).unwrap();
    assert_eq!((summary.records, summary.withdrawn, summary.rows), (2, 1, 1));
    let found = store.by_product("debian/openssh").unwrap();
    assert_eq!((found[0].names(), found[0].severity), (vec!["CVE-1999-900001"], Some(Severity::High)));
    let text: Vec<String> =
        found[0].affected.iter().flat_map(|affected| affected.affected.iter().map(ToString::to_string)).collect();
    assert_eq!(text, ["< 1:9.2p1-2+deb12u3", ">= 1:9.0, <= 1:9.1", ">= 1:9.3"]);
}

#[test]
fn nvd_patterns_are_read_with_their_ranges_editions_and_platforms() {
    let folder = Folder::new();
    let configuration = |matches: Value| json!({"operator": "AND", "nodes": [{"operator": "OR", "negate": false, "cpeMatch": matches}]});
    let element = json!({"cve": {
        "id": "CVE-1999-900001", "published": "2024-05-06T07:08:09.100", "vulnStatus": "Analyzed",
        "metrics": {"cvssMetricV31": [{"cvssData": {"vectorString": "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:L/I:N/A:N", "baseSeverity": "LOW"}}]},
        "configurations": [configuration(json!([
            {"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:*:*:*:*:*:*:*:*", "versionStartIncluding": "1.0", "versionEndExcluding": "1.5"},
            {"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:2.0:rc1:*:*:*:*:*:*"},
            {"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:-:*:*:*:*:*:*:*"},
            {"vulnerable": true, "criteria": "cpe:2.3:a:frob:plugin:*:*:*:*:*:wordpress:*:*", "versionEndIncluding": "3.0"},
            {"vulnerable": false, "criteria": "cpe:2.3:o:microsoft:windows:-:*:*:*:*:*:*:*"},
            {"vulnerable": true, "criteria": "nonsense"}]))],
    }});
    let rejected = json!({"cve": {"id": "CVE-1999-900002", "vulnStatus": "Rejected"}});
    let document = json!({"resultsPerPage": 2, "format": "NVD_CVE", "version": "2.0", "timestamp": "x", "vulnerabilities": [element, rejected]});
    let path = folder.write("nvdcve-2.0-1999.json.gz", gz(document.to_string().as_bytes()));
    let (summary, store) = read(&path, FeedKind::Nvd).unwrap();
    assert_eq!((summary.records, summary.withdrawn, summary.rows), (2, 1, 2));
    let frob = &store.by_product("frob:frob").unwrap()[0].affected[0];
    assert_eq!(frob.affected.iter().map(ToString::to_string).collect::<Vec<_>>(), [">= 1.0, < 1.5", "= 2.0rc1"]);
    assert_eq!((frob.cpe.as_deref(), frob.platforms.len()), (None, 1));
    let plugin = &store.by_product("frob:plugin").unwrap()[0].affected[0];
    assert!(plugin.cpe.as_deref().unwrap().contains("wordpress"));
}

#[test]
fn exploitation_is_read_from_both_catalogs() {
    let folder = Folder::new();
    let kev = json!({"title": "KEV", "catalogVersion": "2024.05.06", "count": 1, "vulnerabilities": [
        {"cveID": "CVE-1999-900001", "dateAdded": "2024-05-06", "dueDate": "2024-05-27", "knownRansomwareCampaignUse": "Known", "shortDescription": "prose"}]});
    let (summary, _) = read(&folder.write("kev.json", kev.to_string()), FeedKind::Kev).unwrap();
    assert_eq!((summary.records, summary.newest_day.as_deref()), (1, Some("2024-05-06")));
    let epss = "#model_version:v2025.03.14,score_date:2025-06-07T12:55:00Z\ncve,epss,percentile\nCVE-1999-900001,0.94321,0.99\nCVE-1999-900002,0.00043,0.1\n";
    let (summary, store) = read(&folder.write("epss.csv.gz", gz(epss.as_bytes())), FeedKind::Epss).unwrap();
    assert_eq!((summary.records, summary.newest_day.as_deref(), store.row_count()), (2, Some("2025-06-07"), 2));
}

#[test]
fn what_is_broken_is_refused_with_file_record_and_reason() {
    let folder = Folder::new();
    let good = cve("CVE-1999-900001", below("2.0")).to_string();
    let deep = format!("{{\"id\": \"X-1\", \"modified\": \"now\", \"database_specific\": {}", "[".repeat(100_000));
    let whole = zipped(&[("CVE-1.json", good.as_bytes())]);
    let packed = gz(good.as_bytes());
    let cases: [(&str, Vec<u8>, FeedKind, &[&str]); 12] = [
        (
            "truncated.json",
            good.as_bytes()[..good.len() / 2].to_vec(),
            FeedKind::Cve,
            &["truncated.json, record 1", "EOF"],
        ),
        (
            "second.jsonl",
            format!("{good}\n{{\"dataType\":").into_bytes(),
            FeedKind::Cve,
            &["second.jsonl, record 2", "EOF"],
        ),
        ("garbage.json", b"\x00\x01\x02".to_vec(), FeedKind::Cve, &["garbage.json, record 1", "not the JSON"]),
        ("deep.jsonl", deep.into_bytes(), FeedKind::Osv, &["deep.jsonl, record 1", "recursion limit"]),
        (
            "other.json",
            b"{\"hello\": 1}".to_vec(),
            FeedKind::Cve,
            &["other.json, record 1", "not a cve feed", "dataType"],
        ),
        ("as-nvd.json", good.clone().into_bytes(), FeedKind::Nvd, &["not a nvd feed", "kind cve"]),
        ("as-osv.json", good.clone().into_bytes(), FeedKind::Osv, &["not a osv feed"]),
        ("no-list.json", b"{\"a\": []}".to_vec(), FeedKind::Kev, &["no list `vulnerabilities`"]),
        ("cut.zip", whole[..whole.len() - 30].to_vec(), FeedKind::Cve, &["cut.zip"]),
        ("cut.json.gz", packed[..packed.len() / 2].to_vec(), FeedKind::Cve, &["cut.json.gz, record 1"]),
        ("empty.json", Vec::new(), FeedKind::Cve, &["empty.json", "no record"]),
        (
            "cut.csv",
            b"#model_version:1,score_date:2025-06-07T00\ncve,epss,percentile\nCVE-1999-900001,0.1".to_vec(),
            FeedKind::Epss,
            &["record 3", "middle of a line"],
        ),
    ];
    for (name, bytes, kind, words) in cases {
        let found = error(&folder.write(name, bytes), kind);
        assert!(words.iter().all(|word| found.contains(word)), "{name}: {found}");
    }
    assert!(error(&folder.0.path().join("none"), FeedKind::Cve).contains("none"));
}

#[test]
fn archives_made_to_explode_stop_at_their_limit() {
    let folder = Folder::new();
    let spaces = vec![b' '; 40 << 20];
    let small = Limits { record_bytes_max: 1 << 20, ..Limits::default() };
    for (name, bytes) in [("bomb.json.gz", gz(&spaces)), ("bomb.zip", zipped(&[("CVE-1.json", &spaces)]))] {
        let path = folder.write(name, bytes);
        // What is no record takes no memory, however long it is.
        let found = load(&path, FeedKind::Cve, &small).unwrap_err();
        let is_bounded = matches!(found.problem, Problem::TooLarge { .. } | Problem::Empty(_));
        assert!(is_bounded && found.to_string().contains(name), "{found}");
        // With records of any size the ratio is what stops it.
        let found =
            load(&path, FeedKind::Cve, &Limits { record_bytes_max: u64::MAX, ratio_max: 20, ..Limits::default() })
                .unwrap_err();
        assert!(matches!(found.problem, Problem::TooLarge { what: "content of this size in bytes", .. }), "{found}");
    }
    let nested = zipped(&[("a.zip", &zipped(&[("b.zip", &zipped(&[("CVE-1.json", b"{}")]))]))]);
    assert!(error(&folder.write("nested.zip", nested), FeedKind::Cve).contains("archives in archives"));
    let many: Vec<(String, &[u8])> = (0..50).map(|n| (format!("CVE-{n}.json"), &b"{}"[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let found =
        load(&folder.write("many.zip", zipped(&many)), FeedKind::Cve, &Limits { files_max: 10, ..Limits::default() });
    assert!(found.unwrap_err().to_string().contains("number of files"));
}

#[test]
fn a_record_that_multiplies_itself_is_cut_off() {
    let folder = Folder::new();
    // Each of these made gigabytes of rows, or took minutes, from less than a megabyte.
    let versions: Vec<Value> = (0..4_000).map(|n| json!({"version": n.to_string(), "status": "affected"})).collect();
    let cpes: Vec<String> = (0..10_000).map(|n| format!("cpe:2.3:a:v:p{n}:*:*:*:*:*:*:*:*")).collect();
    let mut names = cve("CVE-1999-900001", json!(versions));
    names["containers"]["cna"]["affected"][0]["cpes"] = json!(cpes);
    let rows = rows_in(&folder.write("names.json", names.to_string()), FeedKind::Cve);
    assert_eq!(rows.len(), 16);

    let long = "9".repeat(400_000);
    let changes: Vec<Value> = (0..4_000).map(|n| json!({"at": n.to_string(), "status": "affected"})).collect();
    let versions =
        json!([{"version": "0", "lessThan": long, "status": "affected", "versionType": "custom", "changes": changes}]);
    let rows = rows_in(&folder.write("long.json", cve("CVE-1999-900001", versions).to_string()), FeedKind::Cve);
    assert!(rows.iter().all(|row| row.value.len() < 4_000 * 700));

    let matches = |vulnerable: bool, word: &str| -> Vec<Value> {
        let of =
            |n: usize| json!({"vulnerable": vulnerable, "criteria": format!("cpe:2.3:a:v:{word}{n}:*:*:*:*:*:*:*:*")});
        (0..5_000).map(of).collect()
    };
    let nodes = json!([{"cpeMatch": matches(true, "p")}, {"cpeMatch": matches(false, "q")}]);
    let element = json!({"cve": {"id": "CVE-1999-900001", "configurations": [{"operator": "AND", "nodes": nodes}]}});
    let feed = json!({"format": "NVD_CVE", "vulnerabilities": [element]});
    let rows = rows_in(&folder.write("nvd.json", feed.to_string()), FeedKind::Nvd);
    assert_eq!(rows.len(), 5_000);
    assert!(rows.iter().all(|row| row.value.len() < 1_000), "on any system, as they are too many");

    let packages: Vec<Value> = (0..25_000)
        .map(|n| json!({"package": {"ecosystem": "npm", "name": n.to_string()}, "versions": ["1.0"]}))
        .collect();
    let aliases: Vec<String> = (0..900).map(|n| format!("{n}{}", "a".repeat(60))).collect();
    let record = json!({"id": "A-1", "modified": "2024-01-01T00:00:00Z", "affected": packages, "aliases": aliases});
    let mut rows = 0;
    import(&folder.write("osv.json", record.to_string()), FeedKind::Osv, &Limits::default(), &mut |row| {
        rows += 1;
        assert!(row.value.len() < 500 * 70);
        Ok(())
    })
    .unwrap();
    assert_eq!(rows, 20_000);
}

fn rows_in(path: &std::path::Path, kind: FeedKind) -> Vec<Row> {
    let mut rows = Vec::new();
    import(path, kind, &Limits::default(), &mut |row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    rows
}

#[test]
fn a_name_in_an_archive_cannot_reach_the_terminal() {
    let folder = Folder::new();
    let path = folder.write("names.zip", zipped(&[("\u{1b}[31mred.json", b"{}")]));
    assert!(!error(&path, FeedKind::Cve).contains('\u{1b}'));
}

#[test]
fn one_that_cannot_keep_the_rows_stops_the_import() {
    let folder = Folder::new();
    let path = folder.write("one.json", cve("CVE-1999-900001", below("2.0")).to_string());
    let found = import(&path, FeedKind::Cve, &Limits::default(), &mut |_| Err(io::Error::other("the disk is full")));
    assert!(matches!(found.unwrap_err().problem, Problem::Sink(_)));
}

proptest! {
    #[test]
    fn no_bytes_panic_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..600, flip in 0usize..600) {
        let folder = Folder::new();
        let mut record = cve("CVE-1999-900001", below("2.0")).to_string().into_bytes();
        record.truncate(cut);
        if let Some(byte) = record.get_mut(flip) {
            *byte ^= 0x15;
        }
        for kind in FeedKind::ALL {
            for bytes in [&bytes, &record] {
                let _taken_or_refused = read(&folder.write("feed", bytes), kind);
            }
        }
    }
}
