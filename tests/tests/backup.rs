//! The runbook of docs/OPERATING.md for a backup, as it stands there: saved while the cluster works, and the beginning of
//! another.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use pentora_tests::binaries::binary;
use pentora_tests::cluster::{API, Cluster, Job, START_MAX};
use pentora_tests::command_line::{self, Ran};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::json;

const SCAN_MAX: Duration = Duration::from_secs(60);

/// A command line on host 3, where the new cluster is.
fn restored(cluster: &Cluster, data: &Path, words: &[&str]) -> anyhow::Result<Ran> {
    let api = format!("http://{API}");
    let token = data.join("admin.token").display().to_string();
    let settings = [("PENTORA_API", api.as_str()), ("PENTORA_TOKEN_FILE", token.as_str())];
    command_line::pentora(cluster.lab().host(3), cluster.folder(), &settings, words)
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A feed of one record, imported on node 1.
fn import(cluster: &Cluster) -> anyhow::Result<()> {
    let record = json!({
        "dataType": "CVE_RECORD", "dataVersion": "5.1",
        "cveMetadata": {"cveId": "CVE-1999-900001", "assignerOrgId": "00000000-0000-4000-8000-000000000000",
            "state": "PUBLISHED", "datePublished": "2024-07-01T12:00:00.000Z"},
        "containers": {"cna": {
            "providerMetadata": {"orgId": "00000000-0000-4000-8000-000000000000"},
            "title": "example",
            "descriptions": [{"lang": "en", "value": "An example."}],
            "affected": [{"vendor": "openbsd", "product": "openssh", "defaultStatus": "unaffected",
                "versions": [{"version": "1.0", "lessThan": "9.0", "status": "affected", "versionType": "custom"}]}],
            "references": [{"url": "https://example.org/"}]
        }}
    });
    let path: PathBuf = cluster.folder().join("cve.jsonl");
    fs::write(&path, format!("{record}\n"))?;
    cluster.pentora(1, &["feed", "import", "cve", &path.display().to_string()])?.ok().map(drop)
}

#[test]
fn a_cluster_begins_anew_with_the_jobs_feeds_and_reports_of_a_backup_that_was_made_while_it_worked()
-> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    let cluster = Cluster::of(lab, 2)?;
    let words = ["--ports", "80", "--no-discovery", "--no-services"];
    let job = Job::submit(&cluster, 1, &[&["10.77.0.0/26"][..], &words].concat())?;
    assert_eq!(job.wait(&cluster, 1, SCAN_MAX)?["status"], "completed");
    let report = lines(&job.results(&cluster, 1, "jsonl")?);
    import(&cluster)?;
    let slow = Job::submit(&cluster, 1, &["10.77.0.0/22", "--ports", "80,81", "--rate", "100", "--no-discovery"])?;
    slow.wait_for_progress(&cluster, 1, 0)?;

    let file = cluster.folder().join("pentora.backup");
    let path = file.display().to_string();
    cluster.pentora(2, &["cluster", "snapshot", "save", &path])?.ok()?;
    let saved = fs::read(&file)?;
    let again = cluster.pentora(2, &["cluster", "snapshot", "save", &path])?;
    assert!(again.code == 4 && again.stderr.contains("no backup is written over another file"), "{again:?}");
    assert!(fs::read(&file)? == saved, "the one before is as it was");
    let seen = cluster.pentora(2, &["cluster", "snapshot", "inspect", &path, "--json"])?.json()?;
    let jobs: Vec<&str> = seen["jobs"].as_array().into_iter().flatten().filter_map(|id| id.as_str()).collect();
    assert_eq!(jobs, [job.0.as_str(), slow.0.as_str()], "{seen}");
    let cut = cluster.folder().join("cut.backup");
    let bytes = fs::read(&file)?;
    fs::write(&cut, &bytes[..bytes.len() - 40])?;
    let refused = cluster.pentora(2, &["cluster", "snapshot", "inspect", &cut.display().to_string()])?;
    assert!(refused.code == 1 && refused.stderr.contains("cut short"), "{refused:?}");

    let data = cluster.folder().join("restored");
    let host = cluster.lab().host(3);
    let mesh = format!("{}:7400", host.address());
    let data_dir = data.display().to_string();
    let options = [path.as_str(), "--name", "r1", "--data-dir", &data_dir, "--mesh-listen", &mesh];
    let mut command = host.command(&binary("pentora-node")?);
    command.args(["cluster", "restore"]).args(options).args(["--api-listen", &API.to_string()]);
    let log = cluster.folder().join("restored.log");
    let mut node = Process::start(&mut command, &log)?;
    wait::until("the new cluster to lead itself", START_MAX, || {
        let status = restored(&cluster, &data, &["cluster", "status", "--json"]).and_then(|ran| ran.json());
        Ok(status.ok().filter(|status| status["leader"] == "r1").map(drop))
    })
    .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    let twice = restored(&cluster, &data, &["cluster", "snapshot", "restore", &path, "--data-dir", &data_dir])?;
    assert!(twice.code == 4 && twice.stderr.contains("data directory of a node"), "{twice:?}");
    let again = restored(&cluster, &data, &["job", "results", &job.0, "-o", "jsonl"])?.ok()?;
    assert_eq!(lines(&again), report, "the report is the same");
    let feeds = restored(&cluster, &data, &["feed", "list", "--json"])?.json()?;
    assert_eq!(feeds[0]["kind"], "cve", "{feeds}");
    restored(&cluster, &data, &["job", "cancel", &slow.0])?.ok()?;
    let new =
        restored(&cluster, &data, &["scan", "10.77.0.0/30", "--ports", "80", "--no-discovery", "--detach"])?.ok()?;
    assert!(!jobs.contains(&new.trim()), "ids come once: {new}");
    let nodes = restored(&cluster, &data, &["cluster", "status", "--json"])?.json()?["nodes"].clone();
    assert_eq!(nodes.as_array().map(Vec::len), Some(1), "none of the old nodes is in the new cluster: {nodes}");
    node.kill().map(drop).context("ending the new cluster")
}
