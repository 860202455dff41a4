//! Services against advisories whose answer is known, and the reasons that are given.

use serde_json::{Value, json};

use super::*;
use crate::finding::Severity;
use crate::vuln::feed::{FeedKind, Limits, import};
use crate::vuln::store::MemoryStore;

/// A store with these documents, one feed each.
pub(super) fn store(feeds: &[(FeedKind, Value)]) -> MemoryStore {
    let folder = tempfile::tempdir().unwrap();
    let mut store = MemoryStore::default();
    for (kind, document) in feeds {
        let path = folder.path().join("feed.json");
        std::fs::write(&path, document.to_string()).unwrap();
        let mut rows = Vec::new();
        import(&path, *kind, &Limits::default(), &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
        store.install(*kind, rows);
    }
    store
}

pub(super) fn cve(id: &str, vendor: &str, product: &str, versions: Value) -> (FeedKind, Value) {
    let record = json!({"dataType": "CVE_RECORD", "cveMetadata": {"cveId": id, "state": "PUBLISHED", "assignerShortName": "authority", "datePublished": "2024-07-01T00:00:00Z"},
        "containers": {"cna": {"affected": [{"vendor": vendor, "product": product, "defaultStatus": "unaffected", "versions": versions}],
            "metrics": [{"cvssV3_1": {"vectorString": "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"}}]}}});
    (FeedKind::Cve, record)
}

fn openssh() -> (FeedKind, Value) {
    cve(
        "CVE-1999-900001",
        "OpenBSD",
        "OpenSSH",
        json!([{"version": "8.5p1", "lessThan": "9.8p1", "status": "affected", "versionType": "custom"}]),
    )
}

fn debian(fixed: &str) -> (FeedKind, Value) {
    let events = |fixed: &str| json!([{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]);
    let record = json!({"id": "DEBIAN-CVE-1999-900001", "modified": "2024-07-02T00:00:00Z", "upstream": ["CVE-1999-900001"], "affected": [
        {"package": {"ecosystem": "Debian:12", "name": "openssh"}, "ranges": events(fixed)},
        {"package": {"ecosystem": "Debian:13", "name": "openssh"}, "ranges": events("1:9.7p1-7")}]});
    (FeedKind::Osv, record)
}

pub(super) fn nvd(id: &str, matches: Value) -> (FeedKind, Value) {
    (
        FeedKind::Nvd,
        json!({"format": "NVD_CVE", "vulnerabilities": [{"cve": {"id": id, "configurations": [{"operator": "AND", "nodes": [{"cpeMatch": matches}]}]}}]}),
    )
}

pub(super) fn service(product: &str, version: &str, info: &str) -> Service {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Service {
        name: "any".to_owned(),
        product: some(product),
        version: some(version),
        info: some(info),
        ..Service::default()
    }
}

/// Ids with confidence and method that hold, and ids that cannot be told.
fn answers(store: MemoryStore, service: &Service) -> (Vec<(String, u8, &'static str)>, Vec<String>) {
    let matches = Matcher::new(store).matches(service).unwrap();
    let affected =
        matches.affected.iter().map(|found| (found.id.clone(), found.confidence, found.method.as_str())).collect();
    (affected, matches.indeterminate.iter().map(|found| found.id.clone()).collect())
}

fn only(store: MemoryStore, service: &Service) -> Option<(u8, &'static str)> {
    let (affected, _) = answers(store, service);
    affected.first().map(|(_, confidence, method)| (*confidence, *method))
}

#[test]
fn a_version_of_the_makers_in_a_range_is_counted() {
    assert_eq!(only(store(&[openssh()]), &service("OpenSSH", "9.6p1", "protocol 2.0")), Some((80, "version-range")));
    assert_eq!(only(store(&[openssh()]), &service("OpenSSH", "9.8p1", "protocol 2.0")), None);
    assert_eq!(only(store(&[openssh()]), &service("OpenSSH", "8.4p1", "")), None);
}

#[test]
fn a_banner_of_a_distribution_without_its_data_is_potential_only() {
    for info in ["Debian-2+deb12u3", "Ubuntu", "(Debian)"] {
        let found = only(store(&[openssh()]), &service("OpenSSH", "9.2p1", info));
        assert_eq!(found, Some((30, "version-range-distro")), "{info}");
        assert!(found.unwrap().0 < CONFIDENCE_COUNTED_MIN);
    }
}

#[test]
fn the_packages_revision_decides_both_ways_where_the_distribution_has_spoken() {
    let banner = service("OpenSSH", "9.2p1", "Debian-2+deb12u2");
    assert_eq!(only(store(&[openssh(), debian("1:9.2p1-2+deb12u3")]), &banner), Some((95, "package-range")));
    let corrected = service("OpenSSH", "9.2p1", "Debian-2+deb12u3");
    assert_eq!(only(store(&[openssh(), debian("1:9.2p1-2+deb12u3")]), &corrected), None);
    // The distribution is there but its revision is not: its data cannot speak.
    let bare = service("OpenSSH", "9.2p1", "(Debian)");
    assert_eq!(only(store(&[openssh(), debian("1:9.2p1-2+deb12u3")]), &bare), Some((30, "version-range-distro")));
}

#[test]
fn a_revision_of_unknown_release_is_compared_within_its_own_upstream_version() {
    let ubuntu = |version: &str, fixed: &str| {
        json!({"package": {"ecosystem": format!("Ubuntu:{version}:LTS"), "name": "openssh"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]})
    };
    let record = json!({"id": "UBUNTU-CVE-1999-900001", "modified": "2024-07-02T00:00:00Z", "upstream": ["CVE-1999-900001"],
        "affected": [ubuntu("22.04", "1:8.9p1-3ubuntu0.10"), ubuntu("24.04", "1:9.6p1-3ubuntu13.3")]});
    let feed = || store(&[openssh(), (FeedKind::Osv, record.clone())]);
    assert_eq!(only(feed(), &service("OpenSSH", "8.9p1", "Ubuntu-3ubuntu0.9")), Some((95, "package-range")));
    assert_eq!(only(feed(), &service("OpenSSH", "8.9p1", "Ubuntu-3ubuntu0.10")), None);
    assert_eq!(only(feed(), &service("OpenSSH", "9.6p1", "Ubuntu-3ubuntu13.3")), None);
}

#[test]
fn unknown_order_is_indeterminate_and_no_finding() {
    let found = answers(store(&[openssh()]), &service("OpenSSH", "for_Windows_8.1", ""));
    assert_eq!(found, (Vec::new(), vec!["CVE-1999-900001".to_owned()]));
    let openssl = cve(
        "CVE-1999-900002",
        "OpenSSL",
        "OpenSSL",
        json!([{"version": "1.0.2", "lessThan": "1.0.2zg", "status": "affected", "versionType": "custom"}]),
    );
    assert_eq!(
        only(store(std::slice::from_ref(&openssl)), &service("OpenSSL", "1.0.2zf", "")),
        Some((80, "version-range"))
    );
    assert_eq!(only(store(std::slice::from_ref(&openssl)), &service("OpenSSL", "1.0.2zg", "")), None);
    assert_eq!(
        answers(store(&[openssl]), &service("OpenSSL", "1.0.2-dev", "")),
        (Vec::new(), vec!["CVE-1999-900002".to_owned()])
    );
}

#[test]
fn the_authority_is_believed_before_nvd_and_nvd_before_nobody() {
    let wide = || {
        nvd(
            "CVE-1999-900001",
            json!([{"vulnerable": true, "criteria": "cpe:2.3:a:openbsd:openssh:*:*:*:*:*:*:*:*", "versionEndExcluding": "9.9"}]),
        )
    };
    assert_eq!(only(store(&[wide()]), &service("OpenSSH", "9.8p1", "")), Some((70, "cpe-range")));
    assert_eq!(only(store(&[openssh(), wide()]), &service("OpenSSH", "9.8p1", "")), None);
    assert_eq!(only(store(&[openssh(), wide()]), &service("OpenSSH", "9.7p1", "")), Some((80, "version-range")));
}

#[test]
fn what_one_entry_cannot_tell_is_not_outvoted_by_another_of_the_same_source() {
    let feed = cve(
        "CVE-1999-900001",
        "OpenBSD",
        "OpenSSH",
        json!([{"version": "9.2-odd", "status": "affected"}, {"version": "1.0", "lessThan": "2.0", "status": "affected"}]),
    );
    let found = answers(store(&[feed]), &service("OpenSSH", "9.2p1", ""));
    assert_eq!(found, (Vec::new(), vec!["CVE-1999-900001".to_owned()]));
    let pattern = |version: &str| json!({"vulnerable": true, "criteria": "cpe:2.3:a:openbsd:openssh:*:*:*:*:*:*:*:*", "versionEndExcluding": version});
    let two =
        json!([pattern("1.0"), {"vulnerable": true, "criteria": "cpe:2.3:a:openbsd:openssh:9.2-odd:*:*:*:*:*:x64:*"}]);
    let found = answers(store(&[nvd("CVE-1999-900001", two)]), &service("OpenSSH", "9.2p1", ""));
    assert_eq!(found, (Vec::new(), vec!["CVE-1999-900001".to_owned()]));
}

#[test]
fn patterns_of_nvd_hold_for_versions_editions_and_platforms() {
    let feed = |criteria: &str| store(&[nvd("CVE-1999-900001", json!([{"vulnerable": true, "criteria": criteria}]))]);
    let frob = |cpe: &str| Service { cpes: vec![cpe.to_owned()], ..service("Frob", "1.5", "") };
    let plain = "cpe:2.3:a:frob:frob:1.5:*:*:*:*:*:*:*";
    assert_eq!(only(feed("cpe:2.3:a:frob:frob:1.5:*:*:*:*:*:*:*"), &frob(plain)), Some((70, "cpe-range")));
    assert_eq!(only(feed("cpe:2.3:a:frob:frob:1.6:*:*:*:*:*:*:*"), &frob(plain)), None);
    assert_eq!(only(feed("cpe:2.3:a:frob:frob:*:*:*:*:*:*:*:*"), &frob(plain)), Some((70, "cpe-range")));
    assert_eq!(only(feed("cpe:2.3:a:frob:frob:-:*:*:*:*:*:*:*"), &frob(plain)), None, "`-` is no version");
    assert_eq!(only(feed("cpe:2.3:a:frob:frob:1.*:*:*:*:*:*:*:*"), &frob(plain)), Some((70, "cpe-range")));
    assert_eq!(only(feed("cpe:2.3:a:frob:frob:2.*:*:*:*:*:*:*:*"), &frob(plain)), None);
    assert_eq!(
        only(feed("cpe:2.3:a:frob:frob:1.5:*:*:*:*:wordpress:*:*"), &frob(plain)),
        Some((50, "version-range-platform"))
    );
    let drupal = "cpe:2.3:a:frob:frob:1.5:*:*:*:*:drupal:*:*";
    assert_eq!(only(feed("cpe:2.3:a:frob:frob:1.5:*:*:*:*:wordpress:*:*"), &frob(drupal)), None);
}

#[test]
fn a_platform_that_is_meant_is_looked_for() {
    let windows = "cpe:2.3:o:microsoft:windows:-:*:*:*:*:*:*:*";
    let feed = || {
        store(&[nvd(
            "CVE-1999-900001",
            json!([{"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:*:*:*:*:*:*:*:*"}, {"vulnerable": false, "criteria": windows}]),
        )])
    };
    let frob = |system: &[&str]| {
        let cpes = std::iter::once(&"cpe:2.3:a:frob:frob:1.5:*:*:*:*:*:*:*")
            .chain(system)
            .map(|cpe| (*cpe).to_owned())
            .collect();
        Service { cpes, ..service("Frob", "1.5", "") }
    };
    assert_eq!(only(feed(), &frob(&[windows])), Some((70, "cpe-range")));
    assert_eq!(only(feed(), &frob(&[])), Some((50, "version-range-platform")));
    assert_eq!(only(feed(), &frob(&["cpe:2.3:o:linux:linux_kernel:*:*:*:*:*:*:*:*"])), None);
}

#[test]
fn what_is_less_sure_says_so() {
    let frob = || {
        store(&[cve(
            "CVE-1999-900001",
            "Frob Server",
            "Frob Server",
            json!([{"version": "0", "lessThan": "2.0", "status": "affected"}]),
        )])
    };
    assert_eq!(only(frob(), &service("Frob Server", "1.0", "")), Some((50, "version-range-guess")));
    let all =
        || store(&[cve("CVE-1999-900001", "OpenBSD", "OpenSSH", json!([{"version": "*", "status": "affected"}]))]);
    assert_eq!(only(all(), &service("OpenSSH", "", "")), Some((20, "product-only")));
    assert_eq!(only(store(&[openssh()]), &service("OpenSSH", "", "")), None);
    let unsure = Service { confidence: 40, ..service("OpenSSH", "9.6p1", "") };
    assert_eq!(only(store(&[openssh()]), &unsure), Some((40, "version-range")));
    assert_eq!(only(store(&[openssh()]), &service("", "9.6p1", "")), None);
}

#[test]
fn a_system_and_a_program_of_one_name_are_two_things() {
    let below = |criteria: &str| {
        store(&[nvd(
            "CVE-1999-900001",
            json!([{"vulnerable": true, "criteria": criteria, "versionEndExcluding": "9.0"}]),
        )])
    };
    let seen_as = |cpes: &[&str], product: &str| Service {
        cpes: cpes.iter().map(|cpe| (*cpe).to_owned()).collect(),
        ..service(product, "7.2", "")
    };
    let program = "cpe:2.3:a:frob:box:7.2:*:*:*:*:*:*:*";
    let (system, device) = ("cpe:2.3:o:frob:box:7.2:*:*:*:*:*:*:*", "cpe:2.3:h:frob:box:-:*:*:*:*:*:*:*");
    let counted = Some((70, "cpe-range"));
    for (cpes, product, criteria, expected) in [
        (&[program][..], "Frob Box", "cpe:2.3:a:frob:box:*:*:*:*:*:*:*:*", counted),
        (&[program], "Frob Box", "cpe:2.3:o:frob:box:*:*:*:*:*:*:*:*", None),
        (&[program], "Frob Box", "cpe:2.3:h:frob:box:*:*:*:*:*:*:*:*", None),
        (&[program], "Frob Box", "cpe:2.3:o:frob:box:7.2:*:*:*:*:*:*:*", None),
        (&[program, system], "Frob Box", "cpe:2.3:o:frob:box:*:*:*:*:*:*:*:*", counted),
        (&[program, device], "Frob Box", "cpe:2.3:h:frob:box:*:*:*:*:*:*:*:*", counted),
        (&[program, device], "Frob Box", "cpe:2.3:o:frob:box:*:*:*:*:*:*:*:*", None),
        (&[], "Fortinet FortiOS", "cpe:2.3:o:fortinet:fortios:*:*:*:*:*:*:*:*", counted),
        (&[], "OpenSSH", "cpe:2.3:o:openbsd:openssh:*:*:*:*:*:*:*:*", None),
    ] {
        assert_eq!(only(below(criteria), &seen_as(cpes, product)), expected, "{cpes:?} {criteria}");
    }
    let mut record =
        cve("CVE-1999-900001", "Frob", "Box", json!([{"version": "1", "lessThan": "9", "status": "affected"}]));
    assert_eq!(only(store(&[record.clone()]), &seen_as(&[program], "Frob Box")), Some((80, "version-range")));
    record.1["containers"]["cna"]["affected"][0]["cpes"] = json!(["cpe:2.3:o:frob:box:*:*:*:*:*:*:*:*"]);
    assert_eq!(only(store(&[record]), &seen_as(&[program], "Frob Box")), None);
}

#[test]
fn one_version_with_bounds_beside_it_is_that_version_alone() {
    let odd = json!([{"vulnerable": true, "criteria": "cpe:2.3:a:frob:frob:1.5.2:*:*:*:*:*:*:*", "versionEndExcluding": "2.0"}]);
    let named = |version: &str| Service {
        cpes: vec![format!("cpe:2.3:a:frob:frob:{version}:*:*:*:*:*:*:*")],
        ..service("Frob", version, "")
    };
    for (version, expected) in [("1.5.2", Some((70, "cpe-range"))), ("1.5.3", None), ("1.0", None)] {
        assert_eq!(only(store(&[nvd("CVE-1999-900001", odd.clone())]), &named(version)), expected, "{version}");
    }
}

#[test]
fn a_version_that_says_that_it_goes_on_is_short_also_where_others_are_whole() {
    let exim = || {
        let versions =
            json!([{"version": "4.90", "lessThan": "4.94.2", "status": "affected", "versionType": "custom"}]);
        store(&[cve("CVE-1999-900001", "exim", "exim", versions)])
    };
    let shortened = Some((40, "version-range-shortened"));
    for (version, expected) in [
        ("4.94", Some((80, "version-range"))),
        ("4.94.x", shortened),
        ("4.94.", shortened),
        ("4.x", None),
        ("4.", None),
    ] {
        assert_eq!(only(exim(), &service("Exim smtpd", version, "")), expected, "{version}");
    }
}

#[test]
fn a_weakness_names_its_evidence_remedy_and_references() {
    let kev = json!({"catalogVersion": "1", "vulnerabilities": [{"cveID": "CVE-1999-900001", "dateAdded": "2024-07-03", "knownRansomwareCampaignUse": "Known"}]});
    let mut matcher = Matcher::new(store(&[openssh(), (FeedKind::Kev, kev)]));
    let found = matcher.weaknesses(&service("OpenSSH", "9.6p1", "")).unwrap().remove(0);
    assert_eq!((found.id.as_str(), found.severity, found.confidence), ("CVE-1999-900001", Severity::High, 80));
    assert_eq!(
        found.evidence,
        "OpenSSH says version 9.6p1, which CVE record (authority, 2024-07-01) calls affected. Known to be exploited since 2024-07-03, for ransom too (CISA KEV)."
    );
    assert_eq!(found.remedy, "Update OpenSSH; corrected in 9.8p1.");
    assert_eq!(found.references, ["https://www.cve.org/CVERecord?id=CVE-1999-900001"]);
}

#[test]
fn the_chain_of_reasons_leads_to_the_verdict() {
    let store = store(&[openssh(), debian("1:9.2p1-2+deb12u3")]);
    let banner = service("OpenSSH", "9.2p1", "Debian-2+deb12u3");
    let explained = |key: &str| {
        let advisory = store.by_product(key).unwrap().remove(0);
        explain(&banner, &advisory).into_iter().map(|step| format!("{}: {}", step.about, step.what)).collect::<Vec<_>>()
    };
    let upstream = explained("openbsd:openssh");
    assert!(upstream.iter().any(|step| step.contains(">= 8.5p1, < 9.8p1 (openssh): 9.2p1 is in it")), "{upstream:#?}");
    assert!(
        upstream.iter().any(|step| step == "confidence: 30 of 100, potential, not counted (from 70 on)."),
        "{upstream:#?}"
    );
    let package = explained("debian/openssh");
    assert!(package.iter().any(|step| step.contains("package version 9.2p1-2+deb12u3")), "{package:#?}");
    assert!(
        package.iter().any(|step| step == "verdict: Not affected, by package-range of 9.2p1-2+deb12u3."),
        "{package:#?}"
    );
    let nothing = explain(&Service::default(), &store.by_product("openbsd:openssh").unwrap()[0]);
    assert_eq!(nothing.len(), 1);
}

#[test]
fn nothing_that_a_feed_or_banner_says_reaches_a_terminal() {
    let title = json!({"dataType": "CVE_RECORD", "cveMetadata": {"cveId": "CVE-1999-900001", "state": "PUBLISHED", "assignerShortName": "\u{1b}[2J"},
        "containers": {"cna": {"title": "\u{1b}]0;x", "affected": [{"vendor": "openbsd", "product": "openssh", "versions": [{"version": "0", "lessThan": "9\u{1b}", "status": "affected"}, {"version": "9.6p1", "status": "affected"}]}],
            "references": [{"url": "https://x/\u{7}"}, {"url": "javascript:alert(1)"}]}}});
    let mut matcher = Matcher::new(store(&[(FeedKind::Cve, title)]));
    let found = matcher.weaknesses(&service("OpenSSH", "9.6p1", "\u{1b}[31m")).unwrap().remove(0);
    let all = serde_json::to_value(&found).unwrap().to_string();
    assert!(!all.contains("\\u001b") && !all.contains("\\u0007") && !all.contains("javascript"), "{all}");
}
