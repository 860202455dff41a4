//! Sixty nodes as processes on one machine: how long until all are in the cluster, and what they cost at rest.
//!
//! Three members and 57 nodes that only scan, each on a host of its own in network namespaces. The lab stands before the
//! clock starts; all the rest counts: the first node's store, tokens, joins, voters. The first node is not waited for by
//! those that follow longer than until it gives tokens.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::cluster::Cluster;
use pentora_tests::http::Request;
use pentora_tests::process::Usage;
use pentora_tests::wait;

use crate::figures::{Sample, head, row};
use crate::pause;

const NODES: usize = 60;
const MEMBERS: usize = 3;
/// Longest wait for all of them; the goal is a minute.
const JOINED_MAX: Duration = Duration::from_secs(300);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Snapshots and the choice of voters are over by then.
const SETTLE: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(30);

pub(crate) fn measure() -> anyhow::Result<()> {
    let lab = crate::lab(u8::try_from(NODES)?)?;
    let began = Instant::now();
    let mut cluster = Cluster::of_one(lab)?;
    let first = began.elapsed();
    let uses = NODES.to_string();
    let member = cluster.token("member", &["--uses", &uses])?;
    let scanner = cluster.token("scanner", &["--uses", &uses, "--role", "scanner"])?;
    for number in 2..=NODES {
        cluster.join(number, if number <= MEMBERS { &member } else { &scanner })?;
    }
    let started = began.elapsed();
    let mut last = 0;
    let waited = wait::until("all nodes in the cluster", JOINED_MAX, || {
        last = listed(&cluster)?;
        Ok((last == NODES).then_some(()))
    });
    waited.with_context(|| format!("{last} of {NODES} are listed"))?;
    let joined = began.elapsed();
    cluster.wait_for_voters(MEMBERS)?;
    let voting = began.elapsed();
    head(&["from the first node's start", "took", "goal"]);
    for (what, took, goal) in [
        ("the first node leads", first, "-"),
        ("all other processes are started", started, "-"),
        ("the leader lists all 60 as there", joined, "60 s"),
        ("three members vote", voting, "-"),
    ] {
        row(&[what.to_owned(), format!("{:.1} s", took.as_secs_f64()), goal.to_owned()]);
    }
    println!();
    pause(SETTLE);
    at_rest(&cluster)
}

/// How many nodes the leader lists as there.
fn listed(cluster: &Cluster) -> anyhow::Result<usize> {
    let leader = cluster.leader()?;
    let request = Request { method: "GET", path: "/api/v1/workers?limit=1000", ..Request::default() };
    let answer = cluster.api(leader, &request, ANSWER_MAX)?;
    ensure!(answer.status == 200, "{answer:?}");
    let workers = answer.json()?;
    let items = workers.get("items").and_then(serde_json::Value::as_array).context("a list of workers")?;
    let is_there = |worker: &&serde_json::Value| {
        worker.get("status").is_some_and(|status| ["Idle", "Active"].iter().any(|word| status == word))
    };
    Ok(items.iter().filter(is_there).count())
}

/// Memory and processor of all of them while nothing is to do.
fn at_rest(cluster: &Cluster) -> anyhow::Result<()> {
    let usages = || (1..=NODES).map(|number| cluster.node(number)?.usage()).collect::<anyhow::Result<Vec<_>>>();
    let before = usages()?;
    pause(WATCHED);
    let after = usages()?;
    let leader = cluster.leader()?;
    ensure!(listed(cluster)? == NODES, "a node was lost while nothing was to do");
    let all: Vec<(usize, Usage, f64)> = (1..)
        .zip(before.iter().zip(&after))
        .map(|(number, (before, after))| {
            let busy = (after.processor_seconds - before.processor_seconds) / WATCHED.as_secs_f64();
            (number, *after, busy * 100.0)
        })
        .collect();
    head(&["nodes", "n", "resident p50 / max", "of it its own p50 / max", "processor, of one core, p50 / max"]);
    let is_follower = |number: usize| number <= MEMBERS && number != leader;
    show("the member that leads", all.iter().filter(|(number, _, _)| *number == leader));
    show("members that follow", all.iter().filter(|(number, _, _)| is_follower(*number)));
    show("scanners", all.iter().filter(|(number, _, _)| *number > MEMBERS));
    let sum = |of: fn(&(usize, Usage, f64)) -> f64| all.iter().map(of).sum::<f64>();
    println!(
        "\nAll together: {:.0} MB resident, of which {:.0} MB are their own (the rest is the program's file, shared); {:.1} % of a \
         core.",
        sum(|(_, usage, _)| usage.resident_mb),
        sum(|(_, usage, _)| usage.own_mb),
        sum(|(_, _, busy)| *busy),
    );
    Ok(())
}

fn show<'a>(what: &str, nodes: impl Iterator<Item = &'a (usize, Usage, f64)>) {
    let (mut resident, mut own, mut busy) = (Sample::default(), Sample::default(), Sample::default());
    for (_, usage, percent) in nodes {
        resident.add(usage.resident_mb);
        own.add(usage.own_mb);
        busy.add(*percent);
    }
    let both = |sample: &Sample, unit: &str| format!("{:.1} / {:.1} {unit}", sample.median(), sample.max());
    row(&[what.to_owned(), busy.len().to_string(), both(&resident, "MB"), both(&own, "MB"), both(&busy, "%")]);
}
