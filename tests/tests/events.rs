//! Histories as server-sent events, read on one node and taken up on another: nothing is missed and nothing comes twice,
//! also where the node that was read is killed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};
use pentora_tests::cluster::{API, Cluster, Job};
use pentora_tests::lab::{Lab, WorldOptions};
use serde_json::Value;

/// The longest that a stream may be silent: heartbeats come every ten seconds.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Reads events behind `last` from a node until `enough` of what was read; the id of each with its document.
fn read(
    cluster: &Cluster,
    number: usize,
    path: &str,
    last: Option<&str>,
    enough: impl Fn(&[(String, Value)]) -> bool,
) -> anyhow::Result<Vec<(String, Value)>> {
    let token = std::fs::read_to_string(cluster.data_dir(1).join("admin.token"))?;
    let mut stream: TcpStream = cluster.lab().host(number).connect(API)?;
    stream.set_read_timeout(Some(SILENT_MAX))?;
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\n{last}\r\n",
        token.trim()
    )?;
    let (mut found, mut id) = (Vec::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let line = line.with_context(|| format!("after {} events", found.len()))?;
        if let Some(read) = line.strip_prefix("id: ") {
            id = read.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            found.push((id.clone(), serde_json::from_str(data)?));
            if enough(&found) {
                return Ok(found);
            }
        }
    }
    bail!("the stream ended after {} events", found.len())
}

#[test]
fn a_stream_goes_on_at_another_node_without_gap_or_repeat() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let followers = cluster.followers()?;
    let [first, second] = followers.as_slice() else { bail!("followers: {followers:?}") };
    let scan = ["10.77.0.0/24", "--ports", "80,81", "--rate", "100", "--no-discovery"];
    let (job, other) = (Job::submit(&cluster, *first, &scan)?, Job::submit(&cluster, *second, &scan)?);
    let path = "/api/v1/events?after=0";
    let unit_done = |read: &[(String, Value)]| read.iter().any(|(_, event)| event["kind"] == "unit_done");
    let mut all = read(&cluster, *first, path, None, unit_done)?;
    cluster.node_mut(*first)?.kill()?;
    // Both jobs end with the nodes that are left; each hand-over is read from where the last one was.
    let both = |read: &[(String, Value)]| read.iter().filter(|(_, event)| event["kind"] == "finished").count();
    while both(&all) < 2 {
        let (number, last) =
            (if all.len() % 2 == 0 { *second } else { cluster.leader()? }, all.last().context("an event")?.0.clone());
        all.extend(read(&cluster, number, path, Some(&last), |read| read.len() >= 3 || both(read) > 0)?);
    }
    let leader = cluster.leader()?;
    for job in [job, other] {
        job.wait(&cluster, leader, Duration::from_secs(60))?;
        let listed = job.events(&cluster, leader)?;
        let streamed: Vec<&Value> =
            all.iter().map(|(_, event)| event).filter(|event| event["job_id"] == listed[0]["job_id"]).collect();
        // What came behind both ends was not waited for.
        assert_eq!(listed.iter().take(streamed.len()).collect::<Vec<_>>(), streamed);
        assert!(streamed.iter().any(|event| event["kind"] == "finished"), "{streamed:?}");
    }
    let places: Vec<u64> = all.iter().filter_map(|(_, event)| event["index"].as_u64()).collect();
    assert!(places.is_sorted(), "{places:?}");
    Ok(())
}

#[test]
fn what_happens_to_nodes_and_to_the_policy_is_told_on_any_node_and_read_on_from_where_a_reader_was()
-> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let scope = ["scope", "add", "203.0.113.0/28", "--reason", "a test", "--name", "lab"];
    cluster.pentora(1, &scope)?.ok()?;
    cluster.pentora(1, &["scope", "remove", "lab", "--yes"])?.ok()?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    cluster.node_mut(follower)?.stop(Duration::from_secs(30))?;
    cluster.restart(follower)?;
    let path = "/api/v1/events?after=0";
    let of = |event: &Value| {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        (text("kind"), text("node"))
    };
    let stopped = format!("n{follower}");
    let is_back = |event: &Value| of(event) == ("node_left".to_owned(), stopped.clone());
    let leader = cluster.leader()?;
    let all = read(&cluster, leader, path, None, |read| read.iter().any(|(_, event)| is_back(event)))?;
    let told: Vec<(String, String)> = all.iter().map(|(_, event)| of(event)).collect();
    for expected in
        [("node_joined", "n1"), ("node_joined", "n2"), ("node_joined", "n3"), ("rule_set", ""), ("rule_removed", "")]
    {
        let count = told.iter().filter(|(kind, node)| (kind.as_str(), node.as_str()) == expected).count();
        assert_eq!(count, 1, "{expected:?} in {told:?}");
    }
    // From the middle on, at another node: the rest, and no more.
    let (middle, _) = all.get(all.len() / 2).context("events")?;
    let other = (1..=3).find(|number| *number != leader).context("another node")?;
    let rest = read(&cluster, other, path, Some(middle), |read| read.iter().any(|(_, event)| is_back(event)))?;
    assert_eq!(rest, all.get(all.len() / 2 + 1..).unwrap_or_default(), "behind {middle}");
    Ok(())
}
