//! Writes per second, each in the logs of a majority and on their disks before it is answered, beside etcd.
//!
//! Both over HTTP on kept connections, from the leader's own host: here a write that changes nothing (one entry of the log), there
//! a put of as many bytes through etcd's JSON gateway.

#![expect(clippy::indexing_slicing, reason = "a document that lacks a field has null there")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::cluster::{API, Cluster};
use pentora_tests::http::Request;
use pentora_tests::lab::{Host, Lab};
use pentora_tests::process::Process;
use pentora_tests::wait;

use crate::figures::{Sample, head, row};

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(5);
/// Connections that write at once.
const WRITERS: [usize; 2] = [1, 64];
/// What our nodes are told: with one token they take no more than 500 requests a second otherwise.
const CONFIG: &str = "server: {api: {requests_per_minute: 60000000}}\n";
const ANSWER_MAX: Duration = Duration::from_secs(10);
const START_MAX: Duration = Duration::from_secs(30);
/// Where etcd takes clients, on each host's loopback.
const ETCD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);
/// `pentora` and its base64 for a key, and 32 bytes for a value: about what our entry has.
const PUT: &str = r#"{"key":"cGVudG9yYQ==","value":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}"#;

pub(crate) fn measure() -> anyhow::Result<()> {
    head(&["nodes", "connections", "writes/s", "p50", "p99", "etcd writes/s", "p50", "p99"]);
    for nodes in [1, 3] {
        let own = ours(nodes)?;
        let etcds = etcd(nodes)?;
        for ((writers, own), other) in WRITERS.into_iter().zip(own).zip(etcds) {
            let cells = [own, other].map(|(rate, times)| {
                [
                    format!("{rate:.0}"),
                    format!("{:.1} ms", times.percentile(50)),
                    format!("{:.1} ms", times.percentile(99)),
                ]
            });
            row(&[&[nodes.to_string(), writers.to_string()], cells.concat().as_slice()].concat());
        }
    }
    Ok(())
}

type Figure = (f64, Sample);

fn ours(nodes: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("pentora.yaml");
    std::fs::write(&config, CONFIG)?;
    let config = config.to_str().context("a path of the system's temporary folder is text")?;
    let cluster = Cluster::with_options(crate::lab(u8::try_from(nodes)?)?, nodes, &["--config", config])?;
    let leader = cluster.leader()?;
    let body = r#"{"name": "writer", "role": "admin"}"#;
    let request = Request { method: "POST", path: "/api/v1/tokens", body: Some(body), ..Request::default() };
    let answer = cluster.api(leader, &request, ANSWER_MAX)?.json()?;
    let token = answer["token"].as_str().with_context(|| format!("no token in {answer}"))?;
    let request =
        format!("GET /api/v1/cluster/empty-write HTTP/1.1\r\nHost: {API}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let request = std::slice::from_ref(&request);
    WRITERS.iter().map(|writers| write(cluster.lab().host(leader), API, request, *writers)).collect()
}

fn etcd(nodes: usize) -> anyhow::Result<Vec<Figure>> {
    let lab = crate::lab(u8::try_from(nodes)?)?;
    let folder = tempfile::tempdir()?;
    let peer = |number: usize| format!("http://{}:2380", lab.host(number).address());
    let all: Vec<String> = (1..=nodes).map(|number| format!("e{number}={}", peer(number))).collect();
    let mut members = Vec::new();
    for number in 1..=nodes {
        let mut command = lab.host(number).command(Path::new("etcd"));
        command.args(["--name", &format!("e{number}"), "--data-dir"]).arg(folder.path().join(number.to_string()));
        command.args([
            "--listen-client-urls",
            "http://127.0.0.1:2379",
            "--advertise-client-urls",
            "http://127.0.0.1:2379",
        ]);
        command.args(["--listen-peer-urls", &peer(number), "--initial-advertise-peer-urls", &peer(number)]);
        command.args(["--initial-cluster", &all.join(",")]);
        let log = folder.path().join(format!("{number}.log"));
        members.push(Process::start(&mut command, &log).context("etcd: apt-get install etcd-server")?);
    }
    let leader = wait::until("a leader of etcd", START_MAX, || Ok((1..=nodes).find(|number| leads(&lab, *number))))?;
    let request = format!(
        "POST /v3/kv/put HTTP/1.1\r\nHost: {ETCD}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{PUT}",
        PUT.len()
    );
    WRITERS.iter().map(|writers| write(lab.host(leader), ETCD, std::slice::from_ref(&request), *writers)).collect()
}

/// Whether the member on a host says that it leads.
fn leads(lab: &Lab, number: usize) -> bool {
    let request = Request { method: "POST", path: "/v3/maintenance/status", body: Some("{}"), ..Request::default() };
    let answer = lab.host(number).request(ETCD, &request, ANSWER_MAX).and_then(|answer| answer.json());
    answer.is_ok_and(|status| status["leader"].is_string() && status["leader"] == status["header"]["member_id"])
}

/// Writes on so many connections for a while: writes a second, and how long each took in milliseconds.
fn write(host: &Host, server: SocketAddr, requests: &[String], writers: usize) -> anyhow::Result<Figure> {
    let began = Instant::now();
    let connections = (0..writers).map(|_| host.connect(server)).collect::<anyhow::Result<Vec<_>>>()?;
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(first, connection)| {
                let requests = requests.iter().cycle().skip(first % requests.len());
                scope.spawn(move || one_after_the_other(connection, requests, began))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("a writer panics"));
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let elapsed = began.elapsed().as_secs_f64();
    let mut all: Vec<f64> = times.into_iter().flatten().collect();
    all.sort_by(f64::total_cmp);
    ensure!(!all.is_empty(), "nothing was written");
    Ok((all.len() as f64 / elapsed, Sample::sorted(all)))
}

fn one_after_the_other<'a>(
    stream: TcpStream,
    mut requests: impl Iterator<Item = &'a String>,
    began: Instant,
) -> anyhow::Result<Vec<f64>> {
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_nodelay(true)?;
    let (mut to, mut from) = (stream.try_clone()?, BufReader::new(stream));
    let (mut times, mut line, mut body) = (Vec::new(), String::new(), Vec::new());
    while began.elapsed() < TIME {
        let request = requests.next().context("a request")?;
        let asked = Instant::now();
        to.write_all(request.as_bytes())?;
        let mut length = 0;
        let mut is_first = true;
        loop {
            line.clear();
            ensure!(from.read_line(&mut line)? > 0, "the server ended the connection");
            if is_first {
                ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
                is_first = false;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        from.read_exact(&mut body)?;
        times.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
