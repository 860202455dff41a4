//! Who is chosen, and what is refused before anybody suffers.

use super::*;
use crate::document::{Quorum, WorkerLoad};

fn cluster(answered_by: &str) -> ClusterDocument {
    let node = |name: &str, role: &str, status: &str, region: &str| NodeDocument {
        name: name.into(),
        role: role.into(),
        status: status.into(),
        region: Some(region.into()),
        ..NodeDocument::default()
    };
    ClusterDocument {
        leader: Some("n1".into()),
        quorum: Quorum { voters: 3, needed: 2, failures_tolerated: Some(1) },
        nodes: vec![
            node("n1", "voter", "Idle", "eu"),
            node("n2", "voter", "Active", "eu"),
            node("n3", "voter", "Idle", "us"),
            node("s1", "scanner", "Failed", "us"),
        ],
        answered_by: answered_by.into(),
        ..ClusterDocument::default()
    }
}

fn worker(name: &str, status: &str, running: u32) -> WorkerDocument {
    let document = serde_json::json!({"worker_id": format!("wrk_{name}"), "name": name, "status": status});
    WorkerDocument {
        load: Some(WorkerLoad { running, capacity: 4 }),
        ..serde_json::from_value(document).expect("a worker's document")
    }
}

fn common(lasts: Option<Duration>) -> Common {
    Common { lasts, form: ShownArgs::default(), yes: YesArgs::default(), node: NodeArgs::default() }
}

#[test]
fn the_leader_a_busy_worker_a_region_and_all_that_are_there_are_chosen() {
    let cluster = cluster("n3");
    let chosen = |command| plan(&command, &cluster, &[worker("n1", "Active", 4), worker("n2", "Active", 1)]).unwrap();
    assert_eq!(chosen(DrillCommand::KillLeader(common(None))).victims, ["n1"]);
    let some_worker = WorkerArgs { worker: None, common: common(None) };
    assert_eq!(chosen(DrillCommand::KillWorker(some_worker)).victims, ["n2"], "the leader is another drill");
    let leader = WorkerArgs { worker: Some("wrk_n1".into()), common: common(None) };
    assert_eq!(chosen(DrillCommand::KillWorker(leader)).victims, ["n1"]);
    let all = chosen(DrillCommand::RestartAll(common(None)));
    assert_eq!(
        (all.victims.as_slice(), all.lasts),
        (["n1", "n2", "n3"].map(str::to_owned).as_slice(), Duration::from_secs(2))
    );
    let region =
        IsolateArgs { isolated: None, region: Some("eu".into()), common: common(Some(Duration::from_secs(30))) };
    let region = chosen(DrillCommand::Isolate(region));
    assert_eq!(
        (region.victims.as_slice(), region.from.as_slice()),
        (["n1", "n2"].map(str::to_owned).as_slice(), ["n3", "s1"].map(str::to_owned).as_slice())
    );
    let asked = question(&region, &cluster);
    assert_eq!(asked, "n1, n2 are cut off from the others, and are back after 30 s; nothing can be written meanwhile");
    let one = chosen(DrillCommand::KillLeader(common(None)));
    assert_eq!(question(&one, &cluster), "n1 ends as if killed, and is back after 10 s");
}

#[test]
fn what_cannot_be_watched_is_nowhere_or_lasts_too_long_is_refused() {
    let refused = |command, answered_by| {
        plan(&command, &cluster(answered_by), &[worker("n1", "Failed", 0)]).unwrap_err().to_string()
    };
    let leader = |lasts| DrillCommand::KillLeader(common(lasts));
    let itself = refused(leader(None), "n1");
    assert!(itself.contains("could not watch itself") && itself.contains("n2, n3, s1"), "{itself}");
    for lasts in [Duration::ZERO, Duration::from_secs(301)] {
        assert!(refused(leader(Some(lasts)), "n3").contains("--for"));
    }
    let whom = |name: Option<&str>, region: Option<&str>| {
        DrillCommand::Isolate(IsolateArgs {
            isolated: name.map(str::to_owned),
            region: region.map(str::to_owned),
            common: common(None),
        })
    };
    assert!(refused(whom(Some("s1"), None), "n3").contains("s1"), "one that is gone");
    assert!(refused(whom(None, Some("mars")), "n3").contains("mars"));
    let gone = WorkerArgs { worker: Some("n1".into()), common: common(None) };
    assert!(refused(DrillCommand::KillWorker(gone), "n3").contains("n1"));
    let nobody = WorkerArgs { worker: None, common: common(None) };
    assert!(refused(DrillCommand::KillWorker(nobody), "n3").contains("no worker"));
}

#[test]
fn the_leaders_disk_is_slow_or_a_members_that_is_named_and_never_one_that_all_writes_wait_for() {
    let slow = |member: Option<&str>, delay: u64| {
        let member = member.map(str::to_owned);
        DrillCommand::SlowDisk(SlowDiskArgs { member, delay: Duration::from_millis(delay), common: common(None) })
    };
    let cluster = cluster("n1");
    let chosen = plan(&slow(None, 250), &cluster, &[]).unwrap();
    assert_eq!(chosen.victims, ["n1"], "it answers here and stays up");
    assert_eq!(question(&chosen, &cluster), "each sync of n1's log begins 250 ms later, for 10 s");
    assert_eq!(plan(&slow(Some("n2"), 1), &cluster, &[]).unwrap().victims, ["n2"]);
    let refused = |command, cluster: &ClusterDocument| {
        let failure = plan(&command, cluster, &[]).unwrap_err();
        (failure.exit, failure.to_string())
    };
    for delay in [0, 5_001] {
        assert!(refused(slow(None, delay), &cluster).1.contains("--delay"));
    }
    for (name, told) in [("s1", "no node s1 is at work"), ("nobody", "no node nobody is at work")] {
        let (exit, why) = refused(slow(Some(name), 1), &cluster);
        assert!(exit == ExitCode::Usage && why.contains(told), "{why}");
    }
    let mut scanning = cluster.clone();
    scanning.nodes[3].status = "Idle".into();
    assert!(refused(slow(Some("s1"), 1), &scanning).1.contains("only scans"));
    let alone = ClusterDocument { quorum: Quorum { voters: 1, needed: 1, failures_tolerated: Some(0) }, ..cluster };
    let (exit, why) = refused(slow(None, 1), &alone);
    assert!(exit == ExitCode::Refused && why.contains("cannot do without n1"), "{why}");
}
