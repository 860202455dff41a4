//! A feed that one node is given is in use on every node, and a broken one changes nothing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::binaries::binary;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::Lab;
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::{Value, json};

/// A bundle of a few kilobytes is on every node within this.
const SPREAD_MAX: Duration = Duration::from_secs(30);

/// A CVE record, version 5, of a product's versions before `fixed`.
fn cve(id: &str, fixed: &str) -> Value {
    json!({
        "dataType": "CVE_RECORD", "dataVersion": "5.1",
        "cveMetadata": {"cveId": id, "assignerOrgId": "00000000-0000-4000-8000-000000000000", "state": "PUBLISHED",
            "datePublished": "2024-07-01T12:00:00.000Z"},
        "containers": {"cna": {
            "providerMetadata": {"orgId": "00000000-0000-4000-8000-000000000000"},
            "title": "example",
            "descriptions": [{"lang": "en", "value": "An example."}],
            "affected": [{"vendor": "openbsd", "product": "openssh", "defaultStatus": "unaffected",
                "versions": [{"version": "1.0", "lessThan": fixed, "status": "affected", "versionType": "custom"}]}],
            "references": [{"url": "https://example.org/"}]
        }}
    })
}

fn write_feed(cluster: &Cluster, name: &str, records: &[Value]) -> anyhow::Result<PathBuf> {
    let path = cluster.folder().join(name);
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(&path, lines)?;
    Ok(path)
}

fn import(cluster: &Cluster, node: usize, path: &std::path::Path) -> anyhow::Result<pentora_tests::command_line::Ran> {
    cluster.pentora(node, &["feed", "import", "cve", &path.display().to_string()])
}

/// Waits until a node matches with a feed of so many records.
fn wait_for_use(cluster: &Cluster, node: usize, records: u64) -> anyhow::Result<()> {
    wait::until(&format!("{records} records in use on node {node}"), SPREAD_MAX, || {
        let ran = cluster.pentora(node, &["feed", "list", "--json"])?;
        let Ok(feeds) = ran.json() else { return Ok(None) };
        let feed = feeds.as_array().and_then(|feeds| feeds.iter().find(|feed| feed["kind"] == "cve")).cloned();
        Ok(feed.filter(|feed| feed["in_use"] == true && feed["records"] == records).map(drop))
    })
}

#[test]
fn a_feed_given_to_one_node_is_used_by_all_also_by_one_that_was_away() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let one = write_feed(&cluster, "one.jsonl", &[cve("CVE-1999-900001", "9.0")])?;
    import(&cluster, follower, &one)?.ok()?;
    (1..=3).try_for_each(|node| wait_for_use(&cluster, node, 1))?;

    let away = *cluster.followers()?.last().context("a follower")?;
    cluster.node_mut(away)?.kill()?;
    let two = write_feed(&cluster, "two.jsonl", &[cve("CVE-1999-900001", "9.0"), cve("CVE-1999-900002", "9.5")])?;
    let asked = cluster.leader()?;
    import(&cluster, asked, &two)?.ok()?;
    cluster.restart(away)?;
    wait_for_use(&cluster, away, 2)
}

/// A server on a host that greets as an SSH server of a version; it ends with the value.
fn ssh_server(cluster: &Cluster, host: usize) -> anyhow::Result<Process> {
    let host = cluster.lab().host(host);
    let words = ["serve", "--bind", &host.address().to_string(), "--ports", "22", "--banner", "22=SSH-2.0-OpenSSH_8.0"];
    let log = cluster.folder().join("ssh.log");
    let server = Process::start(host.command(&binary("lab-farm")?).args(words), &log)?;
    wait::until("the SSH server", Duration::from_secs(10), || {
        Ok(fs::read_to_string(&log).ok().filter(|log| log.contains("listening")).map(drop))
    })?;
    Ok(server)
}

#[test]
fn a_new_feed_changes_the_findings_of_a_scan_that_was_made_before_it() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 2)?;
    let _server = ssh_server(&cluster, 2)?;
    let target = cluster.lab().host(2).address().to_string();
    let job = Job::submit(&cluster, 1, &[&target, "--ports", "22"])?;
    let document = job.wait(&cluster, 1, Duration::from_secs(60))?;
    assert_eq!(document["results"]["services_detected"], 1, "{document}");

    let findings = |node: usize| -> anyhow::Result<Vec<String>> {
        let listed = cluster.pentora(node, &["findings", "list", "--all", "--json"])?.json()?;
        let ids = listed.as_array().into_iter().flatten().filter_map(|one| one["id"].as_str().map(str::to_owned));
        Ok(ids.filter(|id| id.starts_with("CVE-")).collect())
    };
    assert_eq!(findings(1)?, Vec::<String>::new());
    let older = write_feed(&cluster, "older.jsonl", &[cve("CVE-1999-900001", "9.0"), cve("CVE-1999-900002", "7.0")])?;
    import(&cluster, 1, &older)?.ok()?;
    (1..=2).try_for_each(|node| wait_for_use(&cluster, node, 2))?;
    for node in 1..=2 {
        assert_eq!(findings(node)?, ["CVE-1999-900001"], "of node {node}");
    }
    let explained = cluster.pentora(2, &["findings", "explain", "CVE-1999-900001"])?.ok()?;
    assert!(explained.contains("8.0") && explained.contains("9.0"), "{explained}");

    let newer = write_feed(&cluster, "newer.jsonl", &[cve("CVE-1999-900003", "8.5")])?;
    import(&cluster, 2, &newer)?.ok()?;
    (1..=2).try_for_each(|node| wait_for_use(&cluster, node, 1))?;
    assert_eq!(findings(1)?, ["CVE-1999-900003"]);
    Ok(())
}

#[test]
fn a_feed_that_is_cut_or_of_another_kind_leaves_the_one_before_in_use() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let good = write_feed(&cluster, "good.jsonl", &[cve("CVE-1999-900001", "9.0")])?;
    import(&cluster, 1, &good)?.ok()?;
    wait_for_use(&cluster, 1, 1)?;

    let text = format!("{}\n{}", cve("CVE-1999-900003", "9.0"), cve("CVE-1999-900004", "9.0"));
    let cut = cluster.folder().join("cut.jsonl");
    fs::write(&cut, &text[..text.len() - 40])?;
    let other = cluster.folder().join("other.jsonl");
    fs::write(&other, "{\"schema_version\": \"1.6.0\", \"id\": \"X-1\", \"modified\": \"2024-01-01T00:00:00Z\"}\n")?;
    for path in [&cut, &other, &cluster.folder().join("none.jsonl")] {
        let ran = import(&cluster, 1, path)?;
        assert_eq!(ran.code, 1, "{ran:?}");
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        assert!(ran.stderr.contains(&name), "{ran:?}");
    }
    wait_for_use(&cluster, 1, 1)
}
