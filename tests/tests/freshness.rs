//! Nobody says more than it knows: who leads, how many may be lost, how nodes are; and what needs a majority is refused in
//! time where there is none.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

/// Anything here comes about within this on a busy machine, elections and two beats of five seconds included.
const LIMIT: Duration = Duration::from_secs(40);

fn node<'a>(status: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    let nodes = status["nodes"].as_array().context("nodes")?;
    nodes.iter().find(|node| node["name"] == name).with_context(|| format!("{name} in {status}"))
}

/// The value of a metric, if the node has it.
fn metric(cluster: &Cluster, number: usize, name: &str) -> anyhow::Result<Option<f64>> {
    let ask = Request { method: "GET", path: "/metrics", ..Request::default() };
    let text = cluster.api(number, &ask, Duration::from_secs(5))?.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.and_then(|value| value.parse().ok()))
}

#[test]
fn a_survivor_of_three_names_no_leader_no_margin_and_no_status_as_of_now_and_refuses_in_time() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let leader = cluster.leader()?;
    let [first, survivor] = cluster.followers()?[..] else { anyhow::bail!("two followers") };
    let margin = |cluster: &Cluster| -> anyhow::Result<Value> {
        Ok(cluster.status(survivor)?["quorum"]["failures_tolerated"].clone())
    };
    wait::until("a margin of one", LIMIT, || Ok((margin(&cluster)? == 1).then_some(())))?;

    cluster.node_mut(first)?.kill()?;
    let killed = Instant::now();
    wait::until("a margin of none", LIMIT, || Ok((margin(&cluster)? == 0).then_some(())))?;
    println!("after the loss of one voter the margin was right after {:.2} s", killed.elapsed().as_secs_f64());
    assert_eq!(metric(&cluster, survivor, "pentora_quorum_margin")?, Some(0.0));

    cluster.node_mut(leader)?.kill()?;
    let killed = Instant::now();
    let status = wait::until("a survivor without a leader", LIMIT, || {
        Ok(Some(cluster.status(survivor)?).filter(|status| status["no_majority"].is_string()))
    })?;
    println!("after the loss of two no leader was named after {:.2} s", killed.elapsed().as_secs_f64());
    assert!(status["leader"].is_null() && status["quorum"]["failures_tolerated"].is_null(), "{status}");
    assert_eq!(status["last_leader"], format!("n{leader}"), "{status}");
    let nodes = status["nodes"].as_array().context("nodes")?;
    assert!(nodes.iter().all(|node| node["status_age_ms"].is_u64()), "{status}");
    let workers = cluster.pentora(survivor, &["coordinator", "workers", "list", "--json"])?.json()?;
    let workers = workers.as_array().context("workers")?;
    assert!(workers.iter().all(|worker| worker["status_age_ms"].is_u64() && worker["load"].is_null()), "{workers:?}");

    let text = cluster.pentora(survivor, &["cluster", "status"])?.ok()?;
    println!("{text}");
    let says = format!("no majority: last heard from n{leader} ");
    assert!(text.contains(&says) && text.contains("writes wait") && !text.contains("survives"), "{text}");
    assert!(text.contains(" is not reached at 10.88.0."), "where it was looked for: {text}");
    let ready = Request { method: "GET", path: "/readyz", ..Request::default() };
    let answer = cluster.api(survivor, &ready, Duration::from_secs(5))?;
    assert_eq!((answer.status, &answer.json()?["code"]), (503, &"quorum_lost".into()));
    assert_eq!(metric(&cluster, survivor, "pentora_leader_known")?, Some(0.0));
    assert_eq!(metric(&cluster, survivor, "pentora_quorum_margin")?, None);
    refusals(&cluster, survivor)?;

    cluster.restart(first)?;
    let status = wait::until("a leader again", LIMIT, || {
        Ok(cluster.status(survivor).ok().filter(|status| status["leader"].is_string()))
    })?;
    assert!(status["no_majority"].is_null(), "{status}");
    Ok(())
}

/// Everything that needs a majority says within two seconds that there is none.
fn refusals(cluster: &Cluster, survivor: usize) -> anyhow::Result<()> {
    let feed = cluster.folder().join("none.json");
    fs::write(&feed, "{}")?;
    let feed = feed.display().to_string();
    for words in [
        &["scan", "10.88.0.1", "--ports", "1", "--detach"][..],
        &["coordinator", "worker-token", "create", "--name", "n9"],
        &["feed", "import", "cve", &feed],
        &["feed", "remove", "cve", "--yes"],
        &["cluster", "transfer-leadership"],
    ] {
        let asked = Instant::now();
        let said = cluster.pentora(survivor, words)?.refused(5)?;
        let took = asked.elapsed();
        println!("`pentora {}` was refused after {:.2} s", words.join(" "), took.as_secs_f64());
        assert!(said.contains("no majority: last heard from"), "{words:?}: {said}");
        assert!(took < Duration::from_secs(2), "{words:?} took {took:?}");
    }
    Ok(())
}

#[test]
fn a_dead_leader_is_stale_within_two_beats_on_every_node() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let leader = cluster.leader()?;
    let survivors = cluster.followers()?;
    let dead = format!("n{leader}");
    let active = |status: &Value| {
        (1..=3).all(|number| node(status, &format!("n{number}")).is_ok_and(|node| node["status"] == "Active"))
    };
    wait::until("three active nodes", LIMIT, || Ok(Some(cluster.status(leader)?).filter(active)))?;
    cluster.node_mut(leader)?.kill()?;
    let killed = Instant::now();
    for survivor in survivors {
        wait::until("the dead leader to be stale", LIMIT, || {
            let status = cluster.status(survivor)?;
            Ok((node(&status, &dead)?["status"] == "Stale").then_some(()))
        })?;
        println!("on n{survivor} it was stale {:.1} s after its death", killed.elapsed().as_secs_f64());
        let workers = cluster.pentora(survivor, &["coordinator", "workers", "list", "--json"])?.json()?;
        let worker = workers.as_array().context("workers")?.iter().find(|worker| worker["name"] == dead).cloned();
        assert_eq!(worker.context("its row")?["status"], "Stale");
    }
    Ok(())
}

/// A disk of its own, of which nothing is left, at a folder of this thread's and of what it starts.
fn full_disk(folder: &Path) -> anyhow::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of this thread's own")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("keeping mounts to ourselves")?;
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=0700,size=64k"))
        .context("a small disk")?;
    fs::write(folder.join("filler"), vec![0; 64 << 10]).context("filling it")
}

#[test]
fn a_job_whose_results_no_disk_takes_says_so_in_its_document_and_ends_once_there_is_room() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(1)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("n1.yaml");
    fs::write(&file, "results: {free_space_floor: 1MiB}\n")?;
    let mut cluster = Cluster::of_one(lab)?;
    cluster.node_mut(1)?.stop(Duration::from_secs(30))?;
    let chunks = cluster.data_dir(1).join("chunks");
    fs::create_dir_all(&chunks)?;
    full_disk(&chunks)?;
    cluster.restart_with(1, &["--config", &file.display().to_string()])?;
    wait::until("n1 to lead again", LIMIT, || Ok(cluster.leader().ok()))?;
    let job = Job::submit(&cluster, 1, &["10.77.0.0/26", "--ports", "80", "--no-discovery", "--no-services"])?;
    let why = "results wait for a disk: no more room above results.free_space_floor on n1";
    let document = wait::until("the job to say what it waits for", LIMIT, || {
        let document = job.document(&cluster, 1)?;
        Ok(Some(document).filter(|document| document["reason"].to_string().contains(why)))
    })?;
    assert_eq!(document["status"], "running", "{document}");
    assert!(document["waits"].to_string().contains("n1 takes no work: "), "{document}");
    let text = cluster.pentora(1, &["job", "status", &job.0])?.ok()?;
    assert!(text.contains(&format!("Reason: no node takes work now; {why}")), "{text}");
    let text = cluster.pentora(1, &["job", "explain", &job.0])?.ok()?;
    assert!(text.contains(&format!("Reason: no node takes work now; {why}")), "{text}");
    assert!(text.contains(&format!("it takes no work: {why}")), "{text}");

    fs::remove_file(chunks.join("filler"))?;
    mount(None::<&str>, &chunks, None::<&str>, MsFlags::MS_REMOUNT, Some("size=64m")).context("making room")?;
    let document = job.wait(&cluster, 1, Duration::from_secs(60))?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &64.into()), "{document}");
    assert!(document["reason"].is_null(), "{document}");
    Ok(())
}

#[test]
fn a_node_whose_disk_is_full_gives_its_units_to_others_says_why_and_works_again_once_there_is_room()
-> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 2)?;
    let chunks = cluster.data_dir(3).join("chunks");
    fs::create_dir_all(&chunks)?;
    full_disk(&chunks)?;
    // Without a floor, so that the disk itself says no.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("n3.yaml");
    fs::write(&file, "results: {free_space_floor: 0B}\n")?;
    let token = cluster.token("n3", &[])?;
    cluster.join_with(3, &token, &["--config", &file.display().to_string()])?;
    cluster.wait_for_voters(3)?;
    let words = ["10.77.0.0/22", "--ports", "80,81", "--rate", "200", "--no-discovery"];
    let job = Job::submit(&cluster, 1, &words)?;
    let why = "results cannot be written: No space left on device";
    let document = wait::until("n3 to say that it takes no work", LIMIT, || {
        let document = job.document(&cluster, 1)?;
        Ok(Some(document).filter(|document| document["waits"].to_string().contains(why)))
    })?;
    assert!(document["waits"].to_string().contains("n3 takes no work: "), "{document}");
    let text = cluster.pentora(2, &["cluster", "status"])?.ok()?;
    println!("{text}");
    assert!(text.contains(&format!("- n3 takes no work: {why}")), "{text}");
    let document = job.wait(&cluster, 1, Duration::from_secs(120))?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &1024.into()), "{document}");
    let events = job.events(&cluster, 1)?;
    let released = events.iter().any(|event| event["kind"] == "released" && event["worker"] == "wrk_n3");
    assert!(released, "its units did not wait for their term: {events:?}");
    let score = job.score(&cluster, 2, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    assert!(score.is_exact(), "{score}");

    fs::remove_file(chunks.join("filler"))?;
    mount(None::<&str>, &chunks, None::<&str>, MsFlags::MS_REMOUNT, Some("size=64m")).context("making room")?;
    wait::until("n3 to take work again", LIMIT, || {
        Ok(node(&cluster.status(1)?, "n3")?["takes_no_work"].is_null().then_some(()))
    })
}
