//! A job is one trace across the nodes that worked on it, for a collector that is told by each of them alone; and nobody waits for
//! a collector.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const SCAN_MAX: Duration = Duration::from_secs(120);
/// Where the collector is, for every host of the lab.
const COLLECTOR: &str = "10.88.0.1:4318";

/// A collector of spans over HTTP: what came, each with the name of the node that told it.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Value)>>>);

impl Collector {
    /// Collects on host 1 until the test's process ends.
    fn start(lab: &Lab) -> anyhow::Result<Self> {
        let listener = lab.host(1).within(|| TcpListener::bind(COLLECTOR).context("the collector's address"))?;
        let collector = Self::default();
        let collecting = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let collecting = collecting.clone();
                thread::spawn(move || while collecting.one(&stream).is_ok() {});
            }
        });
        Ok(collector)
    }

    /// Takes one request of a connection.
    fn one(&self, mut stream: &TcpStream) -> anyhow::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut line, mut head) = (String::new(), Vec::new());
        while reader.read_line(&mut line)? > 2 {
            head.push(std::mem::take(&mut line).trim_end().to_ascii_lowercase());
        }
        ensure!(head.first().is_some_and(|first| first == "post /v1/traces http/1.1"), "{head:?}");
        let value = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
        ensure!(value("content-type: ") == Some("application/json"), "{head:?}");
        let length: u64 = value("content-length: ").context("a length")?.parse()?;
        let mut body = Vec::new();
        reader.take(length).read_to_end(&mut body)?;
        let body: Value = serde_json::from_slice(&body)?;
        let resource = body.pointer("/resourceSpans/0").context("a resource")?;
        let node = fact(resource.get("resource").context("its description")?, "service.instance.id");
        let node = node.context("the node's name")?;
        let spans = resource.pointer("/scopeSpans/0/spans").and_then(Value::as_array).context("spans")?;
        let came = spans.iter().map(|span| (node.clone(), span.clone()));
        self.0.lock().map_err(|_poisoned| anyhow::anyhow!("a collecting thread panicked"))?.extend(came);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")?;
        Ok(())
    }

    /// The spans of a job, by who told them.
    fn of(&self, job: &Job) -> anyhow::Result<Vec<(String, Value)>> {
        let came = self.0.lock().map_err(|_poisoned| anyhow::anyhow!("a collecting thread panicked"))?;
        Ok(came.iter().filter(|(_, span)| fact(span, "job").as_ref() == Some(&job.0)).cloned().collect())
    }

    /// The same, once the whole job is told of.
    fn whole(&self, job: &Job) -> anyhow::Result<Vec<(String, Value)>> {
        wait::until("the job's own span", LIMIT, || Ok(self.of(job)?.iter().any(is("job")).then_some(())))?;
        // What other nodes told is a moment behind: each gathers for a second.
        wait::until("the parents of all spans", LIMIT, || {
            let spans = self.of(job)?;
            Ok(parents_missing(&spans).is_empty().then_some(()))
        })
        .with_context(|| format!("{:?}", self.of(job).map(|spans| parents_missing(&spans))))?;
        self.of(job)
    }
}

/// An attribute of a span or of who tells it, as text.
fn fact(of: &Value, key: &str) -> Option<String> {
    let attribute = of.get("attributes")?.as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    let value = attribute.get("value")?;
    value.get("stringValue").or(value.get("intValue"))?.as_str().map(str::to_owned)
}

fn is(name: &str) -> impl Fn(&(String, Value)) -> bool {
    move |(_, span)| span["name"] == name
}

fn text(span: &Value, field: &str) -> String {
    span.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Names of spans whose parent nobody told of.
fn parents_missing(spans: &[(String, Value)]) -> Vec<String> {
    let told: BTreeSet<String> = spans.iter().map(|(_, span)| text(span, "spanId")).collect();
    let orphans = spans.iter().filter(|(_, span)| {
        let parent = text(span, "parentSpanId");
        !parent.is_empty() && !told.contains(&parent)
    });
    orphans.map(|(node, span)| format!("{} of {node}", span["name"])).collect()
}

/// Which name each span's parent has, and that all are of one trace with one root.
fn shape(spans: &[(String, Value)]) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let traces: BTreeSet<String> = spans.iter().map(|(_, span)| text(span, "traceId")).collect();
    ensure!(traces.len() == 1, "one job, one trace: {traces:?}");
    let names: BTreeMap<String, String> =
        spans.iter().map(|(_, span)| (text(span, "spanId"), text(span, "name"))).collect();
    let mut shape: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, span) in spans {
        let parent = names.get(&text(span, "parentSpanId")).cloned().unwrap_or_default();
        shape.entry(text(span, "name")).or_default().insert(parent);
        let (began, ended) = (text(span, "startTimeUnixNano"), text(span, "endTimeUnixNano"));
        ensure!(began.parse::<u64>()? <= ended.parse::<u64>()?, "{span}");
    }
    Ok(shape)
}

fn cluster(lab: Lab) -> anyhow::Result<Cluster> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("traced.yaml");
    std::fs::write(&file, format!("telemetry: {{otlp: 'http://{COLLECTOR}'}}\n"))?;
    // The nodes read it at each start.
    let file = folder.keep().join("traced.yaml").display().to_string();
    Cluster::with_options(lab, 3, &["--config", &file])
}

fn lab() -> anyhow::Result<Option<Lab>> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    Ok(Some(lab))
}

fn metric(cluster: &Cluster, number: usize, line: &str) -> anyhow::Result<u64> {
    let metrics = cluster.api(number, &Request { method: "GET", path: "/metrics", ..Request::default() }, LIMIT)?.body;
    let found = metrics.lines().find_map(|it| it.strip_prefix(line)).with_context(|| format!("no {line}"))?;
    Ok(found.trim().parse()?)
}

#[test]
fn a_job_is_one_trace_of_which_each_node_tells_its_own_part() -> anyhow::Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let collector = Collector::start(&lab)?;
    let cluster = cluster(lab)?;
    let asked = cluster.followers()?.first().copied().context("a follower")?;
    let words = ["10.77.0.0/22", "--ports", "80,81", "--rate", "400", "--no-discovery", "--no-services"];
    let job = Job::submit(&cluster, asked, &words)?;
    let document = job.wait(&cluster, asked, SCAN_MAX)?;
    assert_eq!(document["status"], "completed", "{document}");

    let spans = collector.whole(&job)?;
    let only = |parent: &str| BTreeSet::from([parent.to_owned()]);
    let expected = [
        ("chunk", only("unit")),
        ("complete", only("unit")),
        ("job", only("")),
        ("keep", only("chunk")),
        ("lease", only("plan")),
        ("plan", only("job")),
        ("submit", only("job")),
        ("unit", only("lease")),
    ];
    assert_eq!(shape(&spans)?, expected.map(|(name, parents)| (name.to_owned(), parents)).into());
    let by = |name: &str| -> BTreeSet<&str> {
        spans.iter().filter(|it| is(name)(it)).map(|(node, _)| node.as_str()).collect()
    };
    let leader = format!("n{}", cluster.leader()?);
    assert_eq!(by("submit"), BTreeSet::from([format!("n{asked}").as_str()]));
    for name in ["job", "plan", "lease"] {
        assert_eq!(by(name), BTreeSet::from([leader.as_str()]), "{name}");
    }
    assert!(by("unit").len() >= 2, "{:?}", by("unit"));
    let tellers: BTreeSet<&str> = spans.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(tellers, BTreeSet::from(["n1", "n2", "n3"]));
    // Each lease that was given is told of, and was done.
    let count = |name: &str| spans.iter().filter(|it| is(name)(it)).count();
    assert_eq!((count("job"), count("submit"), count("unit")), (1, 1, count("lease")));
    assert!(spans.iter().all(|(_, span)| span.get("status").is_none()), "nothing failed");
    let faults = (1..=3).map(|number| metric(&cluster, number, "pentora_trace_spans_total{outcome=\"dropped\"}"));
    assert_eq!(faults.collect::<anyhow::Result<Vec<u64>>>()?, [0, 0, 0]);
    Ok(())
}

#[test]
fn a_leader_that_dies_leaves_a_whole_trace_in_which_its_own_lease_is_seen_to_be_lost() -> anyhow::Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let collector = Collector::start(&lab)?;
    let mut cluster = cluster(lab)?;
    let (leader, asked) = (cluster.leader()?, cluster.followers()?.first().copied().context("a follower")?);
    let words = ["10.77.0.0/22", "--ports", "80,81", "--rate", "200", "--no-discovery", "--no-services"];
    let job = Job::submit(&cluster, asked, &words)?;
    cluster.lab().wait_for_probes(leader, 100)?;
    cluster.node_mut(leader)?.kill()?;
    let document = job.wait(&cluster, asked, SCAN_MAX)?;
    assert_eq!(document["status"], "completed", "{document}");
    // The dead one's plans are told by nobody; all else hangs together, and the next leader tells the end.
    wait::until("the job's own span", LIMIT, || Ok(collector.of(&job)?.iter().any(is("job")).then_some(())))?;
    wait::until("the lost lease", LIMIT, || {
        let spans = collector.of(&job)?;
        let lost = spans.iter().find(|it| {
            is("lease")(it) && it.1.get("status").is_some() && fact(&it.1, "worker") == Some(format!("n{leader}"))
        });
        Ok(lost.map(drop))
    })?;
    let spans = collector.of(&job)?;
    let traces: BTreeSet<String> = spans.iter().map(|(_, span)| text(span, "traceId")).collect();
    assert_eq!(traces.len(), 1, "{traces:?}");
    let roots: BTreeSet<&str> = spans.iter().filter(|it| is("job")(it)).map(|(node, _)| node.as_str()).collect();
    assert_eq!(roots, BTreeSet::from([format!("n{}", cluster.leader()?).as_str()]));
    Ok(())
}

#[test]
fn a_collector_that_is_away_delays_no_scan_and_what_it_misses_is_counted() -> anyhow::Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    // Nobody listens there.
    let cluster = cluster(lab)?;
    let words = ["10.77.0.0/24", "--ports", "80", "--no-discovery", "--no-services"];
    let job = Job::submit(&cluster, 1, &words)?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!(document["status"], "completed", "{document}");
    // After half a minute of asking again.
    wait::until("spans that were dropped", Duration::from_secs(90), || {
        let dropped = (1..=3).map(|number| metric(&cluster, number, "pentora_trace_spans_total{outcome=\"dropped\"}"));
        let dropped = dropped.collect::<anyhow::Result<Vec<u64>>>()?;
        Ok((dropped.iter().sum::<u64>() > 0).then_some(()))
    })?;
    let log = (1..=3).map(|number| cluster.node(number).map(pentora_tests::cluster::Node::log));
    let log = log.collect::<anyhow::Result<Vec<String>>>()?.concat();
    let said = log.lines().filter(|line| line.contains("spans are not taken")).count();
    assert!((1..=3).contains(&said), "once on each node: {said}");
    Ok(())
}
