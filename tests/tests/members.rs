//! Members come and go: what a token limits holds, voters are one or three, and a node that is removed, leaves or stops
//! is told apart from one that fails.

use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

/// A node that was removed has noticed and ended within this.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// A change of the membership shows within this: a voter is replaced after ten seconds of silence.
const CHANGES_WITHIN: Duration = Duration::from_secs(40);
/// A worker is marked as failed within this: two beats and the grace period.
const FAILS_WITHIN: Duration = Duration::from_secs(40);
/// Exit code of a node that the cluster does not have any more.
const REMOVED: i32 = 4;

fn node_named(status: &Value, name: &str) -> Option<Value> {
    status["nodes"].as_array()?.iter().find(|node| node["name"] == name).cloned()
}

fn voters(status: &Value) -> Vec<String> {
    let nodes = status["nodes"].as_array().into_iter().flatten().filter(|node| node["role"] == "voter");
    nodes.filter_map(|node| node["name"].as_str().map(str::to_owned)).collect()
}

/// Waits until a node shows with a status.
fn wait_for_status(cluster: &Cluster, asked: usize, name: &str, status: &str, limit: Duration) -> anyhow::Result<()> {
    wait::until(&format!("{name} as {status}"), limit, || {
        let seen = cluster.status(asked).ok().and_then(|all| node_named(&all, name));
        Ok(seen.filter(|node| node["status"] == status).map(drop))
    })
}

fn wait_until_gone(cluster: &Cluster, asked: usize, name: &str) -> anyhow::Result<()> {
    wait::until(&format!("{name} gone"), CHANGES_WITHIN, || {
        Ok(cluster.status(asked).ok().filter(|all| node_named(all, name).is_none()).map(drop))
    })
}

#[test]
fn what_a_token_limits_holds_against_the_nodes_own_word_also_after_a_restart() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let limits = ["--role", "scanner", "--region", "eu-central", "--networks", "10.88.0.0/30", "--site", "fra1"];
    let token = cluster.token("n2", &limits)?;
    cluster.join_with(2, &token, &["--region", "other", "--network-access", "10.88.0.0/16"])?;
    for round in 0..2 {
        let worker = wait::until("the second worker", CHANGES_WITHIN, || {
            let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
            let found = list.as_array().and_then(|all| all.iter().find(|worker| worker["name"] == "n2").cloned());
            Ok(found.filter(|worker| worker["status"] == "Idle"))
        })?;
        assert_eq!((&worker["region"], &worker["site"]), (&"eu-central".into(), &"fra1".into()), "{round}: {worker}");
        assert_eq!(worker["network_access"], serde_json::json!(["10.88.0.0/30"]), "{round}: {worker}");
        assert_eq!(voters(&cluster.status(1)?), ["n1"], "{round}");
        if round == 0 {
            cluster.node_mut(2)?.kill()?;
            cluster.restart(2)?;
            wait::until("the second node's start", CHANGES_WITHIN, || Ok(cluster.status(2).ok()))?;
        }
    }
    cluster.pentora(1, &["nodes", "set", "n2", "--region", "us", "--networks", "10.88.0.0/31"])?.ok()?;
    let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
    let worker = list.as_array().and_then(|all| all.iter().find(|worker| worker["name"] == "n2")).context("n2")?;
    assert_eq!((&worker["region"], &worker["network_access"][0]), (&"us".into(), &"10.88.0.0/31".into()), "{worker}");
    Ok(())
}

#[test]
fn of_two_members_one_votes_so_the_others_death_stops_nothing_and_its_name_is_free_once_it_is_removed()
-> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 2)?;
    wait_for_status(&cluster, 1, "n2", "Active", CHANGES_WITHIN)?;
    assert_eq!(voters(&cluster.status(1)?), ["n1"]);
    cluster.node_mut(2)?.kill()?;
    cluster.token("written-without-it", &[])?;

    let taken = cluster.pentora(1, &["cluster", "remove", "n2"])?;
    assert_eq!(taken.code, 2, "without a terminal it needs --yes: {taken:?}");
    let plan = cluster.pentora(1, &["cluster", "remove", "n2", "--plan", "--json"])?.json()?;
    assert_eq!((&plan["removed"], &plan["voters_after"][0]), (&false.into(), &"n1".into()), "{plan}");
    let last = cluster.pentora(1, &["cluster", "remove", "n1", "--yes"])?;
    assert_eq!(last.code, 4, "the only voter stays: {last:?}");
    assert!(last.stderr.contains("only voter"), "{last:?}");
    cluster.pentora(1, &["cluster", "remove", "n2", "--yes"])?.ok()?;

    // One that was away meanwhile is told when it is back.
    cluster.restart(2)?;
    assert_eq!(cluster.node_mut(2)?.exit_code(ENDS_WITHIN)?, REMOVED);
    assert!(cluster.node(2)?.log().contains("was removed from the cluster"), "{}", cluster.node(2)?.log_tail(20));

    std::fs::remove_dir_all(cluster.data_dir(2))?;
    let token = cluster.token("n2", &[])?;
    cluster.join(2, &token)?;
    wait_for_status(&cluster, 1, "n2", "Active", CHANGES_WITHIN)
}

#[test]
fn a_leader_that_is_removed_hands_over_first_and_stops_saying_why() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let leader = cluster.leader()?;
    let (name, asked) = (format!("n{leader}"), *cluster.followers()?.first().context("a follower")?);
    cluster.pentora(asked, &["cluster", "remove", &name, "--yes"])?.ok()?;
    assert_eq!(cluster.node_mut(leader)?.exit_code(ENDS_WITHIN)?, REMOVED);
    let log = cluster.node(leader)?.log();
    assert!(log.contains("was removed from the cluster"), "{log}");
    let status = cluster.status(asked)?;
    assert!(status["leader"].is_string() && node_named(&status, &name).is_none(), "{status}");
    assert_eq!(voters(&status).len(), 1, "three become one, never two: {status}");
    // The admin's token is read from the first node's folder, whoever runs.
    cluster.pentora(asked, &["coordinator", "worker-token", "create", "--name", "next"])?.ok()?;
    Ok(())
}

#[test]
fn a_node_that_leaves_ends_by_itself_without_an_error_and_one_that_stops_shows_as_left() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let [stops, leaves] = cluster.followers()?[..] else { anyhow::bail!("two followers") };
    let leader = cluster.leader()?;
    cluster.node_mut(stops)?.stop(Duration::from_secs(30))?;
    wait_for_status(&cluster, leader, &format!("n{stops}"), "Left", Duration::from_secs(10))?;
    cluster.restart(stops)?;
    wait_for_status(&cluster, leader, &format!("n{stops}"), "Active", CHANGES_WITHIN)?;

    let left = cluster.pentora(leaves, &["leave", "--yes"])?.ok()?;
    assert!(left.contains("is out of the cluster"), "{left}");
    assert_eq!(cluster.node_mut(leaves)?.exit_code(ENDS_WITHIN)?, 0);
    wait_until_gone(&cluster, leader, &format!("n{leaves}"))?;

    // By the time it could say what came of its order it was out: the log has that by the order itself.
    let noted = cluster.pentora(leader, &["audit", "list", "--json"])?.json()?;
    let noted = noted.as_array().context("audit entries")?;
    let of_leave = |entry: &&Value| entry["action"] == "POST /api/v1/cluster/leave";
    let of_leave: Vec<&Value> = noted.iter().filter(of_leave).collect();
    let outcomes: Vec<&Value> = of_leave.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["asked", "answered"], "{of_leave:?}");
    assert_eq!((&of_leave[1]["status"], &of_leave[1]["asked"]), (&202.into(), &of_leave[0]["number"]), "{of_leave:?}");
    assert_eq!(of_leave[1]["object"], format!("name=n{leaves}"), "{of_leave:?}");
    Ok(())
}

/// What a client was told of as a connection that broke: the node that was asked goes as well, before it has read that the other is out.
#[test]
fn a_removal_that_was_asked_of_a_node_which_is_removed_meanwhile_is_answered_with_what_was_done() -> anyhow::Result<()>
{
    let Some(lab) = Lab::start(5)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 5)?;
    for node in 1..=5 {
        wait_for_status(&cluster, node, "n5", "Active", CHANGES_WITHIN)?;
    }
    let leader = cluster.leader()?;
    let voters = voters(&cluster.status(leader)?);
    let votes = |number: &usize| voters.contains(&format!("n{number}"));
    let mut rest = cluster.followers()?;
    rest.sort_by_key(votes);
    // Both are asked for at once: that of the other through the one that goes.
    let (asked, other) = (rest[0], rest[1]);
    let removed = |through: usize, name: usize| {
        let path = format!("/api/v1/cluster/nodes/n{name}/remove");
        let order = Request { method: "POST", path: &path, body: Some("{}"), ..Request::default() };
        cluster.api(through, &order, Duration::from_secs(40))
    };
    let (of_asked, of_other) = std::thread::scope(|threads| {
        let of_asked = threads.spawn(|| removed(leader, asked));
        let of_other = threads.spawn(|| removed(asked, other));
        (of_asked.join().expect("no thread panics"), of_other.join().expect("no thread panics"))
    });
    assert_eq!(of_asked?.status, 200);
    let answer = of_other.context("the node that was asked answers")?;
    let document = answer.json()?;
    // Before or after it was out itself: in either case it says what became of the other.
    let is_gone = node_named(&cluster.status(leader)?, &format!("n{other}")).is_none();
    match answer.status {
        200 => assert!(document["removed"] == true && is_gone, "{document}"),
        202 => assert_eq!(document["removed"], false, "{document}"),
        409 => assert!(document["code"] == "removed" && !is_gone, "{document}"),
        status => anyhow::bail!("{status} {document}"),
    }
    println!("the other's removal was answered with {}: {document}", answer.status);
    Ok(())
}

#[test]
fn a_voter_that_dies_is_replaced_by_the_member_that_stands_by() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(4)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 4)?;
    let leader = cluster.leader()?;
    let before = voters(&cluster.status(leader)?);
    assert_eq!(before.len(), 3, "{before:?}");
    let dies = before.iter().find(|name| **name != format!("n{leader}")).context("another voter")?.clone();
    cluster.node_mut(dies.trim_start_matches('n').parse()?)?.kill()?;
    let after = wait::until("three voters without the dead one", CHANGES_WITHIN, || {
        let now = voters(&cluster.status(leader)?);
        assert!(now.len() != 2, "never two: {now:?}");
        Ok((now.len() == 3 && !now.contains(&dies)).then_some(now))
    })?;
    assert!(after.contains(&format!("n{leader}")), "{after:?}");
    Ok(())
}

#[test]
fn of_demotions_that_come_at_once_each_is_held_against_those_before_it() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 3)?;
    let demoted = |asked: usize, name: usize| {
        let path = format!("/api/v1/cluster/nodes/n{name}/demote");
        let order = Request { method: "POST", path: &path, body: Some("{}"), ..Request::default() };
        cluster.api(asked, &order, Duration::from_secs(20)).map(|answer| (name, answer))
    };
    // All three, each through another node than itself.
    let answers = std::thread::scope(|threads| {
        let begun = [(2, 1), (3, 2), (1, 3)].map(|(asked, name)| threads.spawn(move || demoted(asked, name)));
        begun.map(|thread| thread.join().expect("no thread panics")).into_iter().collect::<anyhow::Result<Vec<_>>>()
    })?;
    let done: Vec<String> =
        answers.iter().filter(|(_, answer)| answer.status == 204).map(|(name, _)| format!("n{name}")).collect();
    assert!((1..=2).contains(&done.len()), "somebody has to vote: {answers:?}");
    assert!(answers.iter().all(|(_, answer)| [204, 409].contains(&answer.status)), "{answers:?}");
    let left = wait::until("nobody to vote who is not to", CHANGES_WITHIN, || {
        let voters = cluster.status(1).map(|status| voters(&status)).unwrap_or_default();
        Ok((!voters.is_empty() && voters.iter().all(|voter| !done.contains(voter))).then_some(voters))
    })?;
    println!("{done:?} do not vote any more, {left:?} do");
    cluster.pentora(1, &["scope", "add", "203.0.113.0/24", "--reason", "it takes writes"])?.ok()?;
    Ok(())
}

#[test]
fn of_removals_and_a_demotion_that_come_at_once_each_is_held_against_those_before_it() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 3)?;
    let gives_up = |asked: usize, name: usize, how: &str| {
        let path = format!("/api/v1/cluster/nodes/n{name}/{how}");
        let order = Request { method: "POST", path: &path, body: Some("{}"), ..Request::default() };
        cluster.api(asked, &order, Duration::from_secs(40)).map(|answer| (name, answer))
    };
    let answers = std::thread::scope(|threads| {
        // All by way of n1, which stays: who is taken out answers nobody any more.
        let begun = [(1, 2, "remove"), (1, 3, "remove"), (1, 1, "demote")];
        let begun = begun.map(|(asked, name, how)| threads.spawn(move || gives_up(asked, name, how)));
        begun.map(|thread| thread.join().expect("no thread panics")).into_iter().collect::<anyhow::Result<Vec<_>>>()
    })?;
    let done = answers.iter().filter(|(_, answer)| (200..300).contains(&answer.status)).count();
    assert!((1..=2).contains(&done), "somebody has to vote: {answers:?}");
    assert!(answers.iter().all(|(_, answer)| [200, 202, 204, 409].contains(&answer.status)), "{answers:?}");
    cluster.pentora(1, &["scope", "add", "203.0.113.0/24", "--reason", "it takes writes"])?.ok()?;
    Ok(())
}

#[test]
fn a_finished_jobs_document_does_not_change_with_what_becomes_of_its_workers() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(2)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 2)?;
    wait_for_status(&cluster, 1, "n2", "Active", CHANGES_WITHIN)?;
    let job = Job::submit(&cluster, 1, &["10.77.0.0/26", "--ports", "80,81", "--rate", "200", "--no-discovery"])?;
    let ended = job.wait(&cluster, 1, Duration::from_secs(90))?;
    assert!(ended["worker_stats"].as_array().is_some_and(|stats| !stats.is_empty()), "{ended}");
    cluster.node_mut(2)?.kill()?;
    wait_for_status(&cluster, 1, "n2", "Failed", FAILS_WITHIN)?;
    let later = cluster.pentora(1, &["job", "status", &job.0, "--json"])?.json()?;
    assert_eq!(later["worker_stats"], ended["worker_stats"]);
    cluster.pentora(1, &["cluster", "remove", "n2", "--yes"])?.ok()?;
    let removed = cluster.pentora(1, &["job", "status", &job.0, "--json"])?.json()?;
    assert_eq!(removed["worker_stats"], ended["worker_stats"]);
    Ok(())
}
