//! What strangers and disks do to a node: it stays up within bounds or stops with a reason, and keeps what it promised.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use pentora_tests::binaries::binary;
use pentora_tests::cluster::{API, Cluster, START_MAX};
use pentora_tests::command_line::run;
use pentora_tests::dice::Dice;
use pentora_tests::http::Request;
use pentora_tests::lab::{Host, Lab};
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::json;

/// The node's mesh listens here, on host 1.
const MESH: &str = "10.88.0.1:7400";

/// A node that ends by itself does so within this.
const END_MAX: Duration = Duration::from_secs(30);

/// Memory that a burst of strangers may cost, in millions of bytes.
const BURST_MB_MAX: f64 = 40.0;

/// A scan of one port of the node's own loopback, over at once.
const SMALL: &str = r#"{"targets": ["127.0.0.1"], "ports": "1", "discovery": false}"#;

fn open_files(cluster: &Cluster) -> anyhow::Result<usize> {
    let id = cluster.node(1)?.id()?;
    Ok(fs::read_dir(format!("/proc/{id}/fd")).context("the node's open files")?.count())
}

fn post<'a>(path: &'a str, body: &'a str) -> Request<'a> {
    Request { method: "POST", path, body: Some(body), ..Request::default() }
}

#[test]
fn strangers_on_the_mesh_port_cost_a_bounded_amount_and_are_let_go() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let mesh: SocketAddr = MESH.parse()?;
    let (before, files) = (cluster.node(1)?.usage()?.resident_mb, open_files(&cluster)?);
    let mut dice = Dice::new(7);
    let noise: Vec<u8> = (0..1 << 20).map(|_| u8::try_from(dice.below(256)).unwrap_or(0)).collect();
    cluster.lab().host(1).within(|| {
        let mut held = Vec::new();
        for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096], &noise, &[]] {
            let mut stream = TcpStream::connect(mesh)?;
            // The node hangs up in the middle of it; that is what is wanted.
            let _ = stream.write_all(first);
            held.push(stream);
        }
        for _ in 0..600 {
            let mut stream = TcpStream::connect(mesh)?;
            let _ = stream.write_all(noise.get(..64).unwrap_or_default());
            held.push(stream);
        }
        Ok(())
    })?;
    let grown = cluster.node(1)?.usage()?.resident_mb - before;
    assert!(grown < BURST_MB_MAX, "the node grew by {grown:.1} MB");
    wait::until("the strangers' connections to be closed", Duration::from_secs(30), || {
        Ok((open_files(&cluster)? < files + 20).then_some(()))
    })?;
    assert_eq!(cluster.api(1, &post("/api/v1/scans", SMALL), Duration::from_secs(5))?.status, 202);
    Ok(())
}

#[test]
fn clients_that_never_finish_a_request_do_not_shut_others_out_for_long() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let (before, files) = (cluster.node(1)?.usage()?.resident_mb, open_files(&cluster)?);
    let slow = cluster.lab().host(1).within(|| {
        let mut slow = Vec::new();
        for _ in 0..570 {
            let mut stream = TcpStream::connect_timeout(&API, Duration::from_secs(5))?;
            stream.write_all(b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\n")?;
            slow.push(stream);
        }
        Ok(slow)
    })?;
    assert!(open_files(&cluster)? < files + 540, "connections are bounded");
    let grown = cluster.node(1)?.usage()?.resident_mb - before;
    assert!(grown < BURST_MB_MAX, "the node grew by {grown:.1} MB");
    // The node has 512 places and the slow ones 15 s each for their heads; the last come in a second round.
    let ready = Request { method: "GET", path: "/readyz", ..Request::default() };
    assert_eq!(cluster.api(1, &ready, Duration::from_secs(60))?.status, 200);
    drop(slow);
    Ok(())
}

#[test]
fn what_a_kill_left_half_written_is_cleaned_up_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let accepted = cluster.api(1, &post("/api/v1/scans", SMALL), Duration::from_secs(5))?;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    cluster.node_mut(1)?.kill()?;
    let data = cluster.data_dir(1);
    let left = ["node.id.tmp", "admin.token.tmp", "chunks/0123.tmp"].map(|name| data.join(name));
    for path in &left {
        fs::write(path, "half")?;
    }
    cluster.restart(1)?;
    wait::until("the node to lead again", START_MAX, || Ok(cluster.leader().ok()))?;
    for path in &left {
        assert!(!path.exists(), "{} is still there", path.display());
    }
    let job = accepted.json()?["job_id"].as_str().context("a job id")?.to_owned();
    let path = format!("/api/v1/jobs/{job}");
    let answer =
        cluster.api(1, &Request { method: "GET", path: &path, ..Request::default() }, Duration::from_secs(5))?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Ok(())
}

#[test]
fn a_data_directory_that_is_not_what_it_was_is_refused_with_what_is_missing() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let token_of_this = cluster.token("n2", &[])?;
    cluster.node_mut(1)?.kill()?;
    let data = cluster.data_dir(1);
    let host = cluster.lab().host(1);
    let shown = data.display().to_string();
    let refused = |words: &[&str], part: &str| -> anyhow::Result<()> {
        let ran = run(host, "pentora-node", cluster.folder(), &[], words)?;
        assert!(ran.code > 0 && ran.stderr.contains(part), "{part} in: {ran:?}");
        Ok(())
    };
    let start = ["start", "--data-dir", &shown];
    refused(&[&start[..], &["--name", "other"]].concat(), "is the data directory of node n1")?;
    for (file, part) in [("mesh.key", "has lost its mesh.key"), ("mesh.psk", "has lost its mesh.psk")] {
        let (path, away) = (data.join(file), data.join("away"));
        fs::rename(&path, &away)?;
        refused(&start, part)?;
        fs::rename(&away, &path)?;
    }
    let identity = fs::read(data.join("node.id"))?;
    for bytes in [identity.get(..9).unwrap_or_default(), &[9, 11], &[]] {
        fs::write(data.join("node.id"), bytes)?;
        refused(&start, "node.id cannot be read")?;
    }
    fs::write(data.join("node.id"), &identity)?;

    // Another cluster's token does not move a node that is already in one.
    let Some(elsewhere) = Lab::start(1)? else { return Ok(()) };
    let foreign = Cluster::of_one(elsewhere)?.token("n1", &[])?;
    assert_ne!(foreign, token_of_this);
    let file = cluster.folder().join("foreign.token");
    fs::write(&file, &foreign)?;
    let file = file.display().to_string();
    refused(
        &["join", "--peer", MESH, "--token-file", &file, "--name", "n1", "--data-dir", &shown],
        "is in another cluster than the token",
    )?;
    cluster.restart(1)?;
    wait::until("the node to lead again", START_MAX, || Ok(cluster.leader().ok()))?;
    Ok(())
}

/// A disk of `bytes` at `folder`, for this thread and what it starts; gone with them.
fn small_disk(folder: &Path, bytes: &str) -> anyhow::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of this thread's own")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("keeping mounts to ourselves")?;
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(format!("mode=0700,size={bytes}").as_str()))
        .context("a small disk")
}

/// A node by itself, whose data directory the test chooses.
fn start(host: &Host, data: &Path, log: &Path, words: &[&str]) -> anyhow::Result<Process> {
    let mut command = host.command(&binary("pentora-node")?);
    command.arg("start").args(words).arg("--data-dir").arg(data);
    command.args(["--mesh-listen", MESH, "--api-listen", &API.to_string()]);
    Process::start(&mut command, log)
}

fn ready(host: &Host, node: &mut Process) -> anyhow::Result<()> {
    let ask = Request { method: "GET", path: "/readyz", ..Request::default() };
    wait::until("the node to be ready", START_MAX, || {
        anyhow::ensure!(node.is_running()?, "the node has ended:\n{}", node.log_tail(20));
        Ok(host.request(API, &ask, Duration::from_secs(5)).ok().filter(|answer| answer.status == 200).map(drop))
    })
}

/// Submits scans of many scattered addresses until one is refused; gives how many were accepted, and the refusal.
fn submit_until_full(host: &Host, token: &str) -> anyhow::Result<(usize, String)> {
    let mut dice = Dice::new(11);
    for accepted in 0..1000 {
        let targets: Vec<String> =
            (0..5000).map(|_| format!("127.{}.{}.{}", dice.below(256), dice.below(256), dice.below(256))).collect();
        // A packet a second to this host's own loopback: the log is what fills the disk. A deep queue refuses no urgent job.
        let body = json!({"targets": targets, "ports": "1", "rate": 1, "workers": 1, "discovery": false,
            "priority": "high"})
        .to_string();
        let request = Request { token: Some(token), ..post("/api/v1/scans", &body) };
        match host.request(API, &request, Duration::from_secs(10)) {
            Ok(answer) if answer.status == 202 => {}
            Ok(answer) => return Ok((accepted, answer.body)),
            Err(error) => return Ok((accepted, format!("{error:#}"))),
        }
    }
    anyhow::bail!("the disk was never full")
}

#[test]
fn a_full_disk_stops_the_node_with_its_reason_and_what_was_acknowledged_is_there_once_there_is_room()
-> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let host = lab.host(1);
    let folder = tempfile::tempdir()?;
    let (disk, log) = (folder.path().join("disk"), folder.path().join("log"));
    fs::create_dir(&disk)?;
    small_disk(&disk, "18m")?;
    let data = disk.join("n1");
    let mut node = start(host, &data, &log, &["--init", "--name", "n1"])?;
    ready(host, &mut node)?;
    let token = fs::read_to_string(data.join("admin.token"))?.trim().to_owned();

    let (accepted, refusal) = submit_until_full(host, &token)?;
    let status = node.ended(END_MAX)?;
    let said = node.log_tail(5);
    assert_eq!(status.code(), Some(1), "{refusal}\n{said}");
    assert!(said.contains("No space left on device") && said.contains("look at the disk"), "{said}");

    let mut again = start(host, &data, &log, &[])?;
    assert_eq!(again.ended(END_MAX)?.code(), Some(1), "{}", again.log_tail(5));
    assert!(again.log_tail(5).contains("No space left on device"), "{}", again.log_tail(5));

    mount(None::<&str>, &disk, None::<&str>, MsFlags::MS_REMOUNT, Some("size=96m")).context("making room")?;
    let mut node = start(host, &data, &log, &[])?;
    ready(host, &mut node)?;
    let list = Request { method: "GET", path: "/api/v1/jobs", token: Some(&token), ..Request::default() };
    let jobs = host.request(API, &list, END_MAX)?.json()?["items"].as_array().map_or(0, Vec::len);
    // The one that was refused may be in the log: it was not known to be, which is not known not to be.
    assert!(jobs == accepted || jobs == accepted + 1, "{accepted} accepted, {jobs} there");
    Ok(())
}
