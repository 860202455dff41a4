//! Workers register over the API as the original description writes it, at a port that says nothing of the mesh's, with their
//! token alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::binaries::binary;
use pentora_tests::command_line::pentora;
use pentora_tests::http::{Answer, Request};
use pentora_tests::lab::{Host, Lab};
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::Value;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the first node serves its API and its mesh: neither is where anybody would guess it.
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18_080);
const MESH: &str = "127.0.0.1:17400";

/// The original's request.
const REQUEST: &str = r#"{
  "name": "worker-us-east-1",
  "version": "1.0.0",
  "capacity": {
    "max_concurrent_scans": 10,
    "max_targets_per_scan": 1000
  },
  "tags": ["aws", "us-east-1", "production"],
  "network_access": [
    "172.31.0.0/16",
    "10.0.0.0/24"
  ]
}"#;

/// A node on the lab's one host.
struct Node {
    process: Process,
    folder: PathBuf,
}

fn start(host: &Host, folder: &Path, name: &str, settings: &[(&str, &str)], words: &[&str]) -> anyhow::Result<Node> {
    let folder = folder.join(name);
    let mut command = host.command(&binary("pentora-node")?);
    command.env_clear().env("HOME", &folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("PENTORA_DATA_DIR", &folder).envs(settings.iter().copied()).args(words);
    let log = folder.with_extension("log");
    Ok(Node { process: Process::start(&mut command, &log)?, folder })
}

struct Mesh {
    lab: Lab,
    folder: tempfile::TempDir,
    first: Node,
}

impl Mesh {
    fn start(settings: &[(&str, &str)]) -> anyhow::Result<Option<Self>> {
        let Some(lab) = Lab::start(1)? else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let words = ["start", "--init", "--name", "first", "--mesh-listen", MESH, "--api-listen", &API.to_string()];
        let first = start(lab.host(1), folder.path(), "first", settings, &words)?;
        let mesh = Self { lab, folder, first };
        wait::until("the first node", LIMIT, || {
            Ok(mesh.ask("GET", "/readyz", None, None).ok().filter(|answer| answer.status == 200))
        })?;
        Ok(Some(mesh))
    }

    fn admin(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.first.folder.join("admin.token"))?.trim().to_owned())
    }

    fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> anyhow::Result<Answer> {
        self.lab.host(1).request(API, &Request { method, path, token, body, headers: &[] }, LIMIT)
    }

    fn token(&self, name: &str, more: &[&str]) -> anyhow::Result<String> {
        let api = format!("http://{API}");
        let file = self.first.folder.join("admin.token").display().to_string();
        let words = [&["coordinator", "worker-token", "create", "--name", name], more].concat();
        let ran = pentora(
            self.lab.host(1),
            self.folder.path(),
            &[("PENTORA_API", &api), ("PENTORA_TOKEN_FILE", &file)],
            &words,
        )?;
        Ok(ran.ok()?.trim().to_owned())
    }

    /// `worker start` with nothing but the two variables, a folder, and a port of its own for the API.
    fn worker(&self, place: &str, token: &str, port: u16, more: &[&str]) -> anyhow::Result<Node> {
        let settings = [("COORDINATOR_URL", format!("http://{API}")), ("WORKER_TOKEN", token.to_owned())];
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (listen, mesh) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port + 1));
        let words = [&["worker", "start", "--api-listen", &listen, "--mesh-listen", &mesh], more].concat();
        start(self.lab.host(1), self.folder.path(), place, &settings, &words)
    }

    fn wait_for(&self, worker_id: &str) -> anyhow::Result<Value> {
        let admin = self.admin()?;
        wait::until(&format!("{worker_id} at work"), LIMIT, || {
            let answer = self.ask("GET", &format!("/api/v1/workers/{worker_id}"), Some(&admin), None)?;
            let worker = answer.json()?;
            let is_idle = worker.get("status").is_some_and(|status| status == "Idle");
            Ok((answer.status == 200 && is_idle).then_some(worker))
        })
    }
}

#[test]
fn a_worker_needs_an_api_address_and_a_token_and_is_called_as_the_token_says() -> anyhow::Result<()> {
    let Some(mesh) = Mesh::start(&[])? else { return Ok(()) };
    let token = mesh.token("us-east-worker", &["--role", "scanner"])?;
    let mut worker = mesh.worker("a", &token, 19_000, &[])?;
    let found = mesh.wait_for("wrk_us_east_worker")?;
    ensure!(found["name"] == "us-east-worker", "{found}");
    let admin = mesh.admin()?;
    let heard = mesh.ask("POST", "/api/v1/workers/wrk_us_east_worker/heartbeat", Some(&admin), None)?;
    ensure!(heard.status == 200 && heard.json()?["heard"] == true, "{heard:?}");

    // Any node takes a registration: asked of the worker, which only scans, a member answers.
    let at_worker = SocketAddr::new(API.ip(), 19_000);
    let ask_worker = |path: &str, token: Option<&str>, body: &str| {
        let request = Request { method: "POST", path, token, body: Some(body), headers: &[] };
        mesh.lab.host(1).request(at_worker, &request, LIMIT)
    };
    let answer = ask_worker("/api/v1/workers/register", Some(&admin), REQUEST)?;
    ensure!(answer.status == 201 && answer.json()?["mesh"][0] == MESH, "{answer:?}");
    let heard = ask_worker("/api/v1/workers/wrk_us_east_worker/heartbeat", Some(&admin), "")?;
    ensure!(heard.status == 200 && heard.json()?["heard"] == true, "{heard:?}");
    let unknown = ask_worker("/api/v1/workers/register", Some("pna_wrong"), REQUEST)?;
    ensure!(unknown.status == 401, "{unknown:?}");
    ensure!(ask_worker("/api/v1/workers/register", None, REQUEST)?.status == 401, "without a token");
    let second = mesh.token("through-a-worker", &["--role", "scanner"])?;
    let settings = [("COORDINATOR_URL", format!("http://{at_worker}")), ("WORKER_TOKEN", second)];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let words = ["worker", "start", "--api-listen", "127.0.0.1:19030", "--mesh-listen", "127.0.0.1:19031"];
    let _through = start(mesh.lab.host(1), mesh.folder.path(), "through", &settings, &words)?;
    mesh.wait_for("wrk_through_a_worker")?;

    // Started again with nothing changed, it is the same one.
    worker.process.stop(LIMIT)?;
    let worker = mesh.worker("a", &token, 19_000, &[])?;
    mesh.wait_for("wrk_us_east_worker")?;
    let drained = mesh.ask("POST", "/api/v1/workers/wrk_us_east_worker/drain", Some(&admin), None)?;
    ensure!(drained.status == 204, "{drained:?}");
    let revoked = mesh.ask("POST", "/api/v1/workers/wrk_us_east_worker/revoke", Some(&admin), None)?;
    ensure!(revoked.status == 200, "{revoked:?}");
    let gone = mesh.ask("GET", "/api/v1/workers/wrk_us_east_worker", Some(&admin), None)?;
    ensure!(gone.status == 404, "{gone:?}");
    wait::until("the revoked worker to stop", LIMIT, || {
        let mut process = worker_running(&worker)?;
        process.retain(|line| line.contains("removed from the cluster"));
        Ok((!process.is_empty()).then_some(()))
    })
}

fn worker_running(worker: &Node) -> anyhow::Result<Vec<String>> {
    Ok(worker.process.log().lines().map(str::to_owned).collect())
}

#[test]
fn the_original_request_is_answered_as_it_says_and_strangers_are_not() -> anyhow::Result<()> {
    let Some(mesh) = Mesh::start(&[("PENTORA_WORKERS_AUTO_REGISTER", "false")])? else { return Ok(()) };
    let path = "/api/v1/workers/register";
    for token in [None, Some("x"), Some("pnw_aaaa"), Some("pnj_aaaa")] {
        ensure!(mesh.ask("POST", path, token, Some(REQUEST))?.status == 401, "{token:?}");
    }
    let admin = mesh.admin()?;
    for (body, status) in [
        ("{}", 400),
        ("", 400),
        (r#"{"name":"a b","version":"1","capacity":{"max_concurrent_scans":1,"max_targets_per_scan":1}}"#, 400),
    ] {
        let answer = mesh.ask("POST", path, Some(&admin), Some(body))?;
        ensure!(answer.status == status, "{body}: {answer:?}");
    }
    let answer = mesh.ask("POST", path, Some(&admin), Some(REQUEST))?;
    let told = answer.json()?;
    ensure!(answer.status == 201 && told["worker_id"] == "wrk_worker_us_east_1", "{told}");
    ensure!(told["heartbeat_interval"] == 5 && told["mesh"][0] == MESH, "{told}");
    let token = told["token"].as_str().context("a token")?.to_owned();

    // With auto_register off a join token alone registers nobody, and the worker says why and ends.
    let mut refused = mesh.worker("b", &token, 19_010, &["--name", "worker-us-east-1"])?;
    let status = refused.process.ended(LIMIT)?;
    let log = refused.process.log();
    ensure!(status.code() == Some(4) && log.contains("auto_register"), "{status}: {log}");
    // The token itself is good: over the mesh, whose address the answer named, it joins.
    let words = [
        "join",
        "--peer",
        MESH,
        "--name",
        "worker-us-east-1",
        "--api-listen",
        "127.0.0.1:19020",
        "--mesh-listen",
        "127.0.0.1:19021",
    ];
    let _joined = start(mesh.lab.host(1), mesh.folder.path(), "c", &[("WORKER_TOKEN", &token)], &words)?;
    let worker = mesh.wait_for("wrk_worker_us_east_1")?;
    ensure!(worker["tags"] == serde_json::json!(["aws", "us-east-1", "production"]), "{worker}");
    Ok(())
}
