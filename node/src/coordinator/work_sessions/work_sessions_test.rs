//! Work sessions: replaced, revoked, reminded.

use super::*;
use pentora_raft::codec::{self, Kind};
use pentora_raft::state::{Counts, Share};

use crate::work_protocol::{LINK_FRAMES_MAX, pair};

type Worker = Link<WorkerFrame, LeaderFrame>;

/// A leader whose sessions are open, and a task set that serves them.
struct TestLeader {
    sessions: std::sync::Arc<WorkSessions>,
    serving: tokio::task::JoinSet<bool>,
}

impl TestLeader {
    fn open() -> Self {
        Self::with_beats_of(50)
    }

    fn with_beats_of(heartbeat_ms: u64) -> Self {
        let sessions = std::sync::Arc::new(WorkSessions::new(heartbeat_ms, 1_000));
        sessions.open();
        Self { sessions, serving: tokio::task::JoinSet::new() }
    }

    /// A session of `node`, welcomed.
    async fn welcome(&mut self, node: NodeId, granted: Vec<(UnitKey, Lease)>) -> Worker {
        let (mut worker, link) = pair();
        let sessions = std::sync::Arc::clone(&self.sessions);
        self.serving.spawn(async move { sessions.serve(node, link, || granted).await });
        let welcome = worker.from.recv().await;
        assert!(matches!(welcome, Some(LeaderFrame::Welcome { lease_term_ms: 1_000, .. })), "{welcome:?}");
        worker
    }
}

fn key(start: u64) -> UnitKey {
    UnitKey { job: JobId(1), partition: 0, start }
}

fn lease(node: NodeId, epoch: u64) -> Lease {
    Lease { start: 0, end: 10, node, epoch, attempts: 0, share: Share::default(), granted_at_ms: 0 }
}

fn reference(start: u64, epoch: u64) -> LeaseRef {
    LeaseRef { unit: key(start), epoch }
}

fn targets_done(targets: u64) -> Figures {
    Figures { targets, ..Figures::default() }
}

/// Beats and waits until it was heard.
async fn beat(worker: &mut Worker, leases: &[(LeaseRef, u64)]) {
    let leases = leases.iter().map(|(lease, targets)| (*lease, targets_done(*targets))).collect();
    let frame = WorkerFrame::Beat { leases, rates: vec![(JobId(1), 2.5)], engine_pps: 100.0 };
    worker.out.send(frame).await.unwrap();
    while worker.from.recv().await.expect("an answer") != LeaderFrame::Heard {}
}

#[tokio::test]
async fn a_second_session_of_a_worker_replaces_the_first_whose_beats_count_no_more() {
    let mut leader = TestLeader::open();
    let mut first = leader.welcome(7, vec![]).await;
    beat(&mut first, &[(reference(0, 1), 4)]).await;
    let mut second = leader.welcome(7, vec![]).await;
    beat(&mut second, &[(reference(0, 1), 9)]).await;
    let late = WorkerFrame::Beat { leases: vec![(reference(0, 1), targets_done(5))], rates: vec![], engine_pps: 1.0 };
    first.out.send(late).await.unwrap();
    assert_eq!(first.from.recv().await, None, "its session is over");
    assert_eq!(leader.sessions.in_progress(), BTreeMap::from([(JobId(1), targets_done(9))]));
    beat(&mut second, &[]).await;
    assert_eq!(leader.sessions.rates().len(), 1, "the end of the first took nothing from the second");
}

#[tokio::test]
async fn who_hung_up_is_gone_while_it_has_no_session_and_says_nothing() {
    let mut leader = TestLeader::open();
    let at_once = Duration::ZERO;
    let mut worker = leader.welcome(7, vec![]).await;
    leader.sessions.hung_up(7);
    assert!(leader.sessions.gone(at_once).is_empty(), "its session stands");
    drop(worker);
    assert_eq!(leader.serving.join_next().await.unwrap().ok(), Some(true));
    assert_eq!(leader.sessions.gone(at_once), [7]);
    assert!(leader.sessions.gone(Duration::from_secs(600)).is_empty(), "it has time to come back");
    worker = leader.welcome(7, vec![]).await;
    leader.sessions.hung_up(7);
    beat(&mut worker, &[]).await;
    drop(worker);
    assert_eq!(leader.serving.join_next().await.unwrap().ok(), Some(true));
    assert!(leader.sessions.gone(at_once).is_empty(), "it beat after that: what is told late was of before");
    leader.sessions.hung_up(7);
    leader.sessions.close();
    leader.sessions.open();
    assert!(leader.sessions.gone(at_once).is_empty(), "a new reign begins with nothing");
}

#[tokio::test]
async fn a_node_that_does_not_lead_serves_nobody_and_one_that_stops_leading_ends_its_sessions() {
    let mut leader = TestLeader::open();
    let mut worker = leader.welcome(7, vec![]).await;
    beat(&mut worker, &[]).await;
    leader.sessions.close();
    assert!(leader.sessions.heard().is_empty());
    worker.out.send(WorkerFrame::Beat { leases: vec![], rates: vec![], engine_pps: 1.0 }).await.unwrap();
    assert_eq!(worker.from.recv().await, None);
    let (out, _from_leader) = mpsc::channel(1);
    let (_to_leader, from) = mpsc::channel(1);
    assert!(!leader.sessions.serve(8, Link { out, from }, Vec::new).await);
}

#[tokio::test]
async fn leases_held_by_the_log_are_handed_out_again_at_the_greeting() {
    let mut leader = TestLeader::open();
    let held = vec![(key(0), lease(7, 3))];
    let mut worker = leader.welcome(7, held.clone()).await;
    assert_eq!(worker.from.recv().await, Some(LeaderFrame::Grant(held)));
}

#[tokio::test]
async fn grants_go_to_the_worker_they_are_for_and_to_nobody_else() {
    let mut leader = TestLeader::open();
    let (mut seven, mut eight) = (leader.welcome(7, vec![]).await, leader.welcome(8, vec![]).await);
    leader.sessions.hand_out(vec![(key(0), lease(7, 3)), (key(10), lease(8, 3)), (key(20), lease(9, 3))]);
    assert_eq!(seven.from.recv().await, Some(LeaderFrame::Grant(vec![(key(0), lease(7, 3))])));
    assert_eq!(eight.from.recv().await, Some(LeaderFrame::Grant(vec![(key(10), lease(8, 3))])));
}

#[tokio::test]
async fn a_unit_whose_lease_is_gone_is_revoked_once_and_counts_no_more() {
    let mut leader = TestLeader::open();
    let mut worker = leader.welcome(7, vec![]).await;
    beat(&mut worker, &[(reference(0, 3), 4), (reference(10, 3), 5)]).await;
    let held = lease(7, 3);
    let standing = BTreeMap::from([(reference(10, 3), &held)]);
    leader.sessions.revoke_all_but(&standing, |_, _| false);
    leader.sessions.revoke_all_but(&standing, |_, _| false);
    assert_eq!(worker.from.recv().await, Some(LeaderFrame::Revoke(vec![reference(0, 3)])));
    assert!(worker.from.try_recv().is_err(), "once");
    assert_eq!(leader.sessions.in_progress(), BTreeMap::from([(JobId(1), targets_done(5))]));
}

#[tokio::test]
async fn of_a_unit_that_was_counted_its_worker_hears_as_the_answer_to_that_alone() {
    let mut leader = TestLeader::open();
    let mut worker = leader.welcome(7, vec![(key(0), lease(7, 3)), (key(10), lease(7, 3))]).await;
    assert!(matches!(worker.from.recv().await, Some(LeaderFrame::Grant(_))));
    beat(&mut worker, &[(reference(0, 3), 4), (reference(10, 3), 5), (reference(20, 3), 6)]).await;
    let is_counted = |lease: &LeaseRef, end| (lease.unit.start, end) == (0, 10);
    leader.sessions.revoke_all_but(&Standing::new(), is_counted);
    let gone = vec![reference(10, 3), reference(20, 3)];
    assert_eq!(worker.from.recv().await, Some(LeaderFrame::Revoke(gone)));
    leader.sessions.revoke_all_but(&Standing::new(), is_counted);
    assert!(worker.from.try_recv().is_err());
    assert!(leader.sessions.in_progress().is_empty());
}

#[tokio::test]
async fn a_lease_that_its_worker_leaves_out_of_two_beats_is_sent_to_it_again_and_to_nobody_else() {
    let mut leader = TestLeader::open();
    let (mut seven, mut eight) = (leader.welcome(7, vec![]).await, leader.welcome(8, vec![]).await);
    let (of_seven, of_eight, of_nobody) = (lease(7, 3), lease(8, 3), lease(9, 3));
    let standing: Standing<'_> =
        [(reference(0, 3), &of_seven), (reference(10, 3), &of_eight), (reference(20, 3), &of_nobody)].into();
    leader.sessions.remind(&standing);
    for _beat in 0..2 {
        beat(&mut seven, &[]).await;
        beat(&mut eight, &[(reference(10, 3), 1)]).await;
        assert!(seven.from.try_recv().is_err(), "a beat may have crossed the grant");
        leader.sessions.remind(&standing);
    }
    assert_eq!(seven.from.recv().await, Some(LeaderFrame::Grant(vec![(key(0), of_seven.clone())])));
    beat(&mut seven, &[(reference(0, 3), 1)]).await;
    leader.sessions.remind(&standing);
    assert!(seven.from.try_recv().is_err() && eight.from.try_recv().is_err());
}

#[tokio::test]
async fn the_first_beat_of_a_session_wakes_the_planner_and_those_behind_it_wake_nobody() {
    let mut leader = TestLeader::with_beats_of(60_000);
    let mut woken = leader.sessions.watch();
    woken.mark_unchanged();
    let mut worker = leader.welcome(7, vec![]).await;
    beat(&mut worker, &[]).await;
    assert!(woken.has_changed().unwrap());
    woken.mark_unchanged();
    beat(&mut worker, &[(reference(0, 1), 4)]).await;
    assert!(!woken.has_changed().unwrap());
    let mut again = leader.welcome(7, vec![]).await;
    beat(&mut again, &[]).await;
    assert!(woken.has_changed().unwrap());
}

#[tokio::test]
async fn rates_are_those_of_workers_with_a_session() {
    let mut leader = TestLeader::open();
    let mut worker = leader.welcome(7, vec![]).await;
    beat(&mut worker, &[]).await;
    let rates = leader.sessions.rates();
    assert_eq!(rates[&7], Rates { engine_pps: 100.0, targets_per_second: BTreeMap::from([(JobId(1), 2.5)]) });
    drop(worker);
    assert_eq!(leader.serving.join_next().await.unwrap().ok(), Some(true));
    assert!(leader.sessions.rates().is_empty());
    assert!(leader.sessions.heard().contains_key(&7), "when it was last heard is still known");
}

#[tokio::test]
async fn a_worker_that_does_not_read_loses_its_session_instead_of_holding_up_the_leader() {
    let mut leader = TestLeader::open();
    let mut worker = leader.welcome(7, vec![]).await;
    beat(&mut worker, &[]).await;
    for number in 0..=LINK_FRAMES_MAX as u64 {
        leader.sessions.hand_out(vec![(key(number), lease(7, 3))]);
    }
    assert!(leader.sessions.rates().is_empty(), "its session is over, so nothing more is planned for it");
}

#[test]
fn figures_travel_as_five_numbers() {
    let counts = Counts { hosts_up: 2, open_ports: 3, probes_sent: 4, lost_millionths: 5, ..Counts::default() };
    let figures = Figures { targets: 1, counts };
    let bytes = codec::encode(Kind::WorkFrame, &figures);
    assert_eq!(bytes, [codec::VERSION, Kind::WorkFrame as u8, 1, 2, 3, 4, 5]);
    assert_eq!(codec::decode::<Figures>(Kind::WorkFrame, &bytes).unwrap(), figures);
    let more = Figures { counts: Counts { replies: 6, ..counts }, ..figures };
    assert_eq!(codec::encode(Kind::WorkFrame, &more), bytes, "nobody looks at what else is counted");
}

/// Says what a worker says of itself, and gives why the leader has it rest.
async fn say(worker: &mut Worker, instance: u128, rests: Option<&str>) -> Option<String> {
    let about = About { instance, skew_ms: Some(-40), rests: rests.map(str::to_owned) };
    worker.out.send(WorkerFrame::About(about)).await.unwrap();
    match worker.from.recv().await {
        Some(LeaderFrame::Noted { rest, .. }) => rest,
        other => panic!("no answer: {other:?}"),
    }
}

#[tokio::test]
async fn a_worker_that_rests_is_good_for_no_work_until_it_works_again_and_its_reason_is_told() {
    let mut leader = TestLeader::with_beats_of(60_000);
    let mut worker = leader.welcome(2, Vec::new()).await;
    beat(&mut worker, &[]).await;
    assert!(leader.sessions.rates().contains_key(&2));
    assert_eq!(say(&mut worker, 7, Some("its disk is full")).await, None);
    assert!(!leader.sessions.rates().contains_key(&2));
    assert_eq!(leader.sessions.abouts()[&2].rests.as_deref(), Some("its disk is full"));
    assert_eq!(say(&mut worker, 7, None).await, None);
    assert!(leader.sessions.rates().contains_key(&2));
}

#[tokio::test]
async fn two_processes_of_one_node_are_both_told_to_rest_and_a_restarted_one_is_not() {
    let mut leader = TestLeader::with_beats_of(60_000);
    let mut one = leader.welcome(2, Vec::new()).await;
    assert_eq!(say(&mut one, 1, None).await, None);
    let mut other = leader.welcome(2, Vec::new()).await;
    assert_eq!(say(&mut other, 2, None).await, None, "a restart looks like this");
    let mut one = leader.welcome(2, Vec::new()).await;
    assert_eq!(say(&mut one, 1, None).await.as_deref(), Some(COPY));
    let mut other = leader.welcome(2, Vec::new()).await;
    assert_eq!(say(&mut other, 2, None).await.as_deref(), Some(COPY));
    beat(&mut other, &[]).await;
    assert!(leader.sessions.rates().is_empty());
    assert_eq!(leader.sessions.abouts()[&2].rests.as_deref(), Some(COPY));
}

#[tokio::test]
async fn the_clocks_of_workers_that_are_there_are_told_as_far_as_they_are_known() {
    let mut leader = TestLeader::with_beats_of(5_000);
    let (mut two, mut three) = (leader.welcome(2, Vec::new()).await, leader.welcome(3, Vec::new()).await);
    beat(&mut two, &[]).await;
    say(&mut two, 1, None).await;
    beat(&mut three, &[]).await;
    let clocks = leader.sessions.clocks(1);
    assert_eq!(clocks.len(), 2);
    assert_eq!(clocks.iter().flatten().map(|clock| clock.ahead_ms).collect::<Vec<_>>(), [-40]);
    assert_eq!(leader.sessions.clocks(2).len(), 1, "this node's own clock is no other");
}
