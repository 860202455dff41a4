//! Results are where they should be: copied when nodes come, whole when a disk turns a bit, gone when their job is, and
//! told of where they cannot be read.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

/// A round of the leader or a look of a holder comes within seconds; on two cores shared with other tests, within this.
const SETTLED_MAX: Duration = Duration::from_secs(60);

/// A scan of a few addresses.
const SCAN_MAX: Duration = Duration::from_secs(60);

/// What makes copies go and damage show while a test waits.
const HASTY: &str = "results: {grace: 2s, scrub_interval: 1s}\nworker: {capacity: {max_targets_per_scan: 4}}\n";

/// A lab with a world of 64 addresses that all answer, and a file of settings in a folder that outlives the nodes.
fn lab(hosts: u8) -> anyhow::Result<Option<Lab>> {
    let Some(mut lab) = Lab::start(hosts)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    Ok(Some(lab))
}

/// A file of settings.
fn settings(folder: &tempfile::TempDir, name: &str, text: &str) -> anyhow::Result<String> {
    let path = folder.path().join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn scan(cluster: &Cluster, targets: &str) -> anyhow::Result<Job> {
    let job = Job::submit(cluster, 1, &[targets, "--ports", "80", "--no-discovery", "--no-services"])?;
    let document = job.wait(cluster, 1, SCAN_MAX)?;
    assert_eq!(document.get("status"), Some(&"completed".into()), "{document}");
    Ok(job)
}

fn chunk_dir(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.data_dir(node).join("chunks")
}

/// The names of the chunks that a node keeps.
fn chunks(cluster: &Cluster, node: usize) -> BTreeSet<String> {
    let entries = fs::read_dir(chunk_dir(cluster, node)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !name.contains('.')).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    wait::until(what, SETTLED_MAX, || Ok(is_so().then_some(())))
}

#[test]
fn who_is_moved_out_of_a_region_or_is_to_keep_nothing_lets_go_of_results_that_only_one_other_has() -> anyhow::Result<()>
{
    let Some(lab) = lab(2)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let hasty = settings(&folder, "hasty.yaml", HASTY)?;
    let cluster = Cluster::with_options(lab, 2, &["--config", &hasty])?;
    for name in ["n1", "n2"] {
        cluster.pentora(1, &["nodes", "set", name, "--region", "eu"])?.ok()?;
    }
    for (targets, residency, moved) in [
        ("10.77.0.0/29", &["--residency", "eu"][..], ["--region", "us"]),
        ("10.77.0.8/29", &[], ["--keeps-results", "false"]),
    ] {
        let words = [&[targets, "--ports", "80", "--no-discovery", "--no-services"], residency].concat();
        let before = chunks(&cluster, 1);
        let job = Job::submit(&cluster, 1, &words)?;
        let document = job.wait(&cluster, 1, SCAN_MAX)?;
        assert_eq!(document["status"], "completed", "{document}");
        let mut made = BTreeSet::new();
        until("both to hold all of it", || {
            made = chunks(&cluster, 1).difference(&before).cloned().collect();
            !made.is_empty() && made.is_subset(&chunks(&cluster, 2))
        })?;
        cluster.pentora(1, &["nodes", "set", "n2", moved[0], moved[1]])?.ok()?;
        until("the second to hold none of it", || made.is_disjoint(&chunks(&cluster, 2)))?;
        assert!(made.is_subset(&chunks(&cluster, 1)), "the other has it");
    }
    Ok(())
}

#[test]
fn what_one_node_made_is_held_by_a_second_that_joins_and_stays_whole_until_its_job_is_deleted() -> anyhow::Result<()> {
    let Some(lab) = lab(2)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let hasty = settings(&folder, "hasty.yaml", HASTY)?;
    let mut cluster = Cluster::with_options(lab, 1, &["--config", &hasty])?;
    let job = scan(&cluster, "10.77.0.0/28")?;
    let made = chunks(&cluster, 1);
    assert!(made.len() >= 4, "a chunk for each unit of four: {made:?}");
    let token = cluster.token("n2", &[])?;
    cluster.join(2, &token)?;
    until("all chunks on the second node", || chunks(&cluster, 2) == made)?;

    let [turned, lost] = [made.first(), made.last()].map(|name| name.cloned().unwrap_or_default());
    let whole = fs::read(chunk_dir(&cluster, 1).join(&turned))?;
    fs::write(chunk_dir(&cluster, 2).join(&turned), b"turned")?;
    fs::remove_file(chunk_dir(&cluster, 2).join(&lost))?;
    until("the damaged chunk to be whole again", || {
        fs::read(chunk_dir(&cluster, 2).join(&turned)).is_ok_and(|bytes| bytes == whole)
    })?;
    until("the lost chunk to be back", || chunks(&cluster, 2) == made)?;

    let asked = cluster.pentora(2, &["job", "delete", &job.0])?;
    assert_eq!((asked.code, asked.stderr.contains("--yes")), (2, true), "{asked:?}");
    cluster.pentora(2, &["job", "delete", &job.0, "--yes"])?.ok()?;
    let gone = cluster.pentora(1, &["job", "status", &job.0])?;
    assert!(gone.code != 0 && gone.stderr.contains("there is no"), "{gone:?}");
    until("the deleted job's chunks to go from both disks", || {
        chunks(&cluster, 1).is_empty() && chunks(&cluster, 2).is_empty()
    })
}

#[test]
fn a_report_with_a_chunk_that_nobody_has_prints_the_rest_and_names_what_is_missing() -> anyhow::Result<()> {
    let Some(lab) = lab(1)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let hasty = settings(&folder, "hasty.yaml", HASTY)?;
    let cluster = Cluster::with_options(lab, 1, &["--config", &hasty])?;
    let job = scan(&cluster, "10.77.0.0/28")?;
    let lost = chunks(&cluster, 1).pop_first().context("a chunk")?;
    fs::remove_file(chunk_dir(&cluster, 1).join(&lost))?;
    for format in ["list", "jsonl", "json", "table"] {
        let ran = cluster.pentora(1, &["job", "results", &job.0, "-o", format])?;
        assert_eq!(ran.code, 6, "{ran:?}");
        let names_it = ran.stderr.contains(&lost) && ran.stderr.contains("unit 0:") && ran.stderr.contains("n1: ");
        assert!(names_it, "{}", ran.stderr);
        let hosts = ran.stdout.lines().count();
        assert!(
            format != "jsonl" || (12..16).contains(&hosts),
            "{hosts} of 16 hosts, without one unit: {}",
            ran.stdout
        );
        assert!(["jsonl", "list"].contains(&format) || ran.stdout.contains(&lost), "the report itself says it");
    }
    let listed = cluster.pentora(1, &["findings", "list", "--job", &job.0])?;
    assert_eq!((listed.code, listed.stderr.contains(&lost)), (6, true), "{listed:?}");
    Ok(())
}

/// How many chunks lack a holder, by reason.
fn short(cluster: &Cluster) -> Option<Vec<(String, u64)>> {
    let status = cluster.status(1).ok()?;
    let short = status.get("results_short")?.as_object()?.iter();
    Some(short.map(|(why, chunks)| (why.clone(), chunks.as_u64().unwrap_or(0))).collect())
}

#[test]
fn a_node_without_room_and_one_that_only_scans_keep_no_results_and_the_next_member_does() -> anyhow::Result<()> {
    let Some(lab) = lab(4)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let full = settings(&folder, "full.yaml", "results: {free_space_floor: 8000000TiB}\n")?;
    let scanner = settings(&folder, "scanner.yaml", "server: {mode: worker}\n")?;
    let mut cluster = Cluster::of_one(lab)?;
    for (number, file, options) in [(2, &full, &[][..]), (3, &scanner, &["--role", "scanner"][..])] {
        let token = cluster.token(&format!("n{number}"), options)?;
        cluster.join_with(number, &token, &["--config", file])?;
    }
    until("three workers", || {
        let workers = cluster.pentora(1, &["coordinator", "workers", "list", "--json"]).and_then(|ran| ran.json());
        let idle = |worker: &&Value| worker["status"] == "Idle";
        workers.is_ok_and(|workers| workers.as_array().is_some_and(|all| all.iter().filter(idle).count() == 3))
    })?;
    let job = scan(&cluster, "10.77.0.0/26")?;
    job.wait(&cluster, 3, SCAN_MAX)?;
    let score = job.score(&cluster, 3, &cluster.lab().world().truth().of_ports(&[80]))?;
    assert!(score.is_exact(), "all of it, read from a node that keeps none: {score}");
    until("the reason why there is one holder", || {
        short(&cluster).is_some_and(|short| short.iter().any(|(why, _)| why.contains("no other node has room")))
    })?;
    let made = chunks(&cluster, 1);
    let words = ["--ports", "80", "--no-discovery", "--no-services"];
    let ordered = Job::submit(&cluster, 3, &[&["10.77.0.0/30"][..], &words].concat())?;
    assert_eq!(ordered.wait(&cluster, 3, SCAN_MAX)?["status"], "completed", "ordered from a node that only scans");
    let stranger = Request { method: "POST", path: "/api/v1/scans", token: Some("wrong"), ..Request::default() };
    assert_eq!(cluster.api(3, &stranger, Duration::from_secs(10))?.status, 401);
    cluster.pentora(3, &["job", "delete", &ordered.0, "--yes"])?.ok()?;
    assert!(!made.is_empty() && chunks(&cluster, 2).is_empty() && chunks(&cluster, 3).is_empty());

    let token = cluster.token("n4", &[])?;
    cluster.join(4, &token)?;
    until("all chunks on the node that has room", || chunks(&cluster, 4) == made)?;
    until("no chunk to lack a holder", || short(&cluster).is_some_and(|short| short.is_empty()))
}

#[test]
fn ended_jobs_over_the_retention_go_by_themselves_the_oldest_first() -> anyhow::Result<()> {
    let Some(lab) = lab(1)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let text = "results: {grace: 2s, retention: {max_jobs: 1}}\n";
    let cluster = Cluster::with_options(lab, 1, &["--config", &settings(&folder, "short.yaml", text)?])?;
    scan(&cluster, "10.77.0.0/30")?;
    let last = scan(&cluster, "10.77.0.4/30")?;
    until("only the last job to be known", || {
        let jobs = cluster.pentora(1, &["job", "list", "--json"]).and_then(|ran| ran.json());
        jobs.is_ok_and(|jobs| {
            let ids: Vec<&Value> = jobs.as_array().into_iter().flatten().map(|job| &job["job_id"]).collect();
            ids == [last.0.as_str()]
        })
    })?;
    assert_eq!(last.results(&cluster, 1, "jsonl")?.lines().count(), 4);
    until("the disk to hold its results alone", || chunks(&cluster, 1).len() == 1)
}
