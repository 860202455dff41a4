//! What a gateway shows of a state, and what a node outside makes of it.

use super::*;
use crate::command::sample_test::{limits, submission, two_nodes};
use crate::command::{Command, NewLease, NodeRole, PolicyChange, Proposal, UnitKey};
use crate::config::Config;
use crate::handle::Raft;
use crate::id::{JobId, RecoveryId};
use crate::state::{Recovery, Share, TakenOut};
use crate::version::SECOND;
use crate::view::{Look, Rows, changes};

/// Members 1 and 5, of which 5 only scans from some point on, and two jobs, of which one is 5's to work on.
struct Log {
    state: State,
    index: u64,
}

impl Log {
    fn begun() -> Self {
        let mut log = Self { state: State::default(), index: 1 };
        two_nodes().into_iter().for_each(|command| log.apply(command));
        let change = PolicyChange { role: Some(NodeRole::Scanner), ..PolicyChange::default() };
        log.apply(Command::SetPolicy { node: 5, change: Box::new(change) });
        log
    }

    fn apply(&mut self, command: Command) {
        self.index += 1;
        let _ = self.state.apply(self.index, &Proposal { at_ms: 1_000 + self.index, command });
    }

    fn job(&mut self) -> JobId {
        self.apply(Command::SubmitJob(Box::new(submission(&[10], limits()))));
        JobId(self.index)
    }

    fn grant(&mut self, job: JobId, node: NodeId) -> UnitKey {
        let unit = UnitKey { job, partition: 0, start: 0 };
        self.apply(Command::Grant { grants: vec![NewLease { unit, end: 10, node, share: Share::default() }] });
        unit
    }

    fn rows(&self, node: NodeId) -> Rows {
        let mut seen = Look::default().at(&self.state, &BTreeSet::from([node]));
        let mut rows = Rows::clone(&seen.own.remove(&node).unwrap());
        rows.extend(seen.common.iter().map(|(key, row)| (key.clone(), Arc::clone(row))));
        rows
    }
}

fn word(applied: u64, leader: Option<(NodeId, u64)>) -> ViewFrame {
    let voter_sets = vec![BTreeSet::from([1])];
    ViewFrame::Word(GatewayWord { applied, leader, term: 3, voter_sets, now_ms: 9_000_000 })
}

fn outside() -> (Raft, Viewer) {
    Raft::outside(5, Config::default())
}

#[test]
fn a_node_is_shown_the_members_itself_and_its_own_leases_and_nothing_of_tokens_or_of_others_jobs() {
    let mut log = Log::begun();
    let (own, other) = (log.job(), log.job());
    let unit = log.grant(own, 5);
    log.grant(other, 1);
    let (raft, mut viewer) = outside();
    viewer.take(ViewFrame::Anew).unwrap();
    viewer.take(ViewFrame::Rows(changes(&Rows::new(), &log.rows(5)))).unwrap();
    assert_eq!(raft.read(|state| state.nodes().count()), 0, "nothing is shown before the word behind it");
    viewer.take(word(log.index, Some((1, 5)))).unwrap();
    raft.read(|state| {
        assert_eq!(state.nodes().map(|(id, _)| id).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(state.node(5), log.state.node(5));
        assert_eq!(state.policy(5), log.state.policy(5));
        assert_eq!(
            state.leases().collect::<Vec<_>>(),
            log.state.leases().filter(|(it, _)| *it == unit).collect::<Vec<_>>()
        );
        assert_eq!(state.spec(own), log.state.spec(own));
        assert!(state.spec(other).is_none() && state.jobs().count() == 0 && state.chunks().count() == 0);
        assert_eq!((log.state.tokens().count(), state.tokens().count()), (1, 0));
        assert_eq!(state.cluster().id, log.state.cluster().id);
    });
    assert_eq!(*raft.watch_applied().borrow(), log.index);
    assert!(raft.now_ms() >= 9_000_000, "the log's time is the gateway's word");
}

#[test]
fn another_node_that_only_scans_is_not_shown() {
    let log = Log::begun();
    let seen = Look::default().at(&log.state, &BTreeSet::from([1]));
    let of_5 = log.state.nodes.stored(&5).unwrap().0;
    assert!(!seen.common.contains_key(&of_5) && !seen.own[&1].contains_key(&of_5));
}

#[test]
fn every_node_is_shown_the_recoveries_of_its_cluster() {
    let mut log = Log::begun();
    log.apply(Command::RaiseLog { version: SECOND });
    let out = TakenOut { peer: "b".into(), name: "n2".into(), addresses: vec!["10.0.0.2:7400".into()] };
    let recovery = Recovery { id: RecoveryId([7; 16]), node: 1, taken_out: vec![out] };
    log.apply(Command::Recover(Box::new(recovery.clone())));
    let (raft, mut viewer) = outside();
    viewer.take(ViewFrame::Anew).unwrap();
    viewer.take(ViewFrame::Rows(changes(&Rows::new(), &log.rows(5)))).unwrap();
    viewer.take(word(log.index, Some((1, 0)))).unwrap();
    let shown: Vec<Recovery> = raft.read(|state| state.recoveries().map(|it| it.recovery.clone()).collect());
    assert_eq!(shown, [recovery]);
}

#[test]
fn what_changed_is_sent_and_rows_that_are_gone_go() {
    let mut log = Log::begun();
    let job = log.job();
    log.grant(job, 5);
    let before = log.rows(5);
    let (raft, mut viewer) = outside();
    viewer.take(ViewFrame::Rows(changes(&Rows::new(), &before))).unwrap();
    viewer.take(word(log.index, None)).unwrap();
    log.apply(Command::NodeLeft { node: 5 });
    let now = log.rows(5);
    let changed = changes(&before, &now);
    assert_eq!(changed.iter().filter(|row| row.value.is_none()).count(), 2, "the lease, and the spec of its job");
    viewer.take(ViewFrame::Rows(changed)).unwrap();
    viewer.take(word(log.index, None)).unwrap();
    assert_eq!(raft.read(|state| state.leases().count()), 0);
    assert!(changes(&now, &log.rows(5)).is_empty());
}

#[test]
fn a_look_finds_what_a_first_look_would_and_leaves_what_has_not_changed_the_very_same() {
    let (mut log, mut look) = (Log::begun(), Look::default());
    let nodes = BTreeSet::from([1, 5]);
    let mut before = look.at(&log.state, &nodes);
    let job = log.job();
    let same = look.at(&log.state, &nodes);
    assert!(
        Arc::ptr_eq(&same.common, &before.common) && Arc::ptr_eq(&same.own[&5], &before.own[&5]),
        "a job is nobody's yet"
    );
    let unit = log.grant(job, 5);
    let lease = |log: &Log| log.state.leases().next().map(|(unit, lease)| (unit, lease.epoch));
    assert_eq!(lease(&log).map(|(unit, _)| unit), Some(unit));
    let release = |log: &Log| {
        let leases = lease(log).map(|(unit, epoch)| crate::command::LeaseRef { unit, epoch }).into_iter().collect();
        Command::Release { leases }
    };
    let site = PolicyChange { site: Some("berlin".into()), ..PolicyChange::default() };
    type Step<'a> = Box<dyn Fn(&Log) -> Command + 'a>;
    let steps: Vec<(&str, Step<'_>)> = vec![
        ("nothing but a lease's end", Box::new(release)),
        ("a member's policy", Box::new(move |_| Command::SetPolicy { node: 1, change: Box::new(site.clone()) })),
        ("the scanner's status", Box::new(|_| Command::NodeLeft { node: 5 })),
        ("the same once more", Box::new(|_| Command::WorkerBack { node: 5 })),
    ];
    for (what, step) in steps {
        let seen = look.at(&log.state, &nodes);
        let anew = Look::default().at(&log.state, &nodes);
        assert_eq!((&seen.common, &seen.own), (&anew.common, &anew.own), "before {what}");
        let is_other = |node: NodeId| !Arc::ptr_eq(&seen.own[&node], &before.own[&node]);
        assert_eq!(
            [is_other(1), is_other(5)],
            [1, 5].map(|node| seen.own[&node] != before.own[&node]),
            "before {what}"
        );
        before = seen;
        let command = step(&log);
        log.apply(command);
    }
    // A snapshot that is installed is another state, however many changes it came of.
    let mut other = State::default();
    log.state.for_each_row(|key, row| other.load_row(&key, &row).unwrap());
    other.nodes.remove(&5);
    other.take_place_of(&log.state);
    let (seen, anew) = (look.at(&other, &nodes), Look::default().at(&other, &nodes));
    assert_eq!((seen.common, seen.own), (anew.common, anew.own));
}

#[test]
fn a_gateway_that_is_behind_and_rows_that_make_no_sense_change_nothing() {
    let log = Log::begun();
    let (raft, mut viewer) = outside();
    viewer.take(ViewFrame::Rows(changes(&Rows::new(), &log.rows(5)))).unwrap();
    viewer.take(word(log.index, None)).unwrap();
    viewer.lost();
    viewer.take(ViewFrame::Anew).unwrap();
    assert!(viewer.take(word(log.index - 1, None)).is_err(), "the past");
    viewer.lost();
    let damaged = RowChange { key: vec![2, 0xff], value: Some(vec![1, 2, 3]) };
    viewer.take(ViewFrame::Rows(vec![damaged])).unwrap();
    assert!(viewer.take(word(log.index + 1, None)).is_err());
    assert_eq!(raft.read(|state| state.nodes().count()), 2);
    assert_eq!(viewer.applied(), log.index);
    let flood = vec![RowChange { key: vec![2], value: Some(vec![0; PENDING_BYTES_MAX]) }];
    assert!(viewer.take(ViewFrame::Rows(flood)).is_err(), "more than any node needs");
}

#[test]
fn a_leader_is_known_through_a_gateway_while_its_word_is_fresh_and_not_beyond() {
    let (raft, mut viewer) = outside();
    assert_eq!((raft.way(), raft.status().role), (None, Role::Outside));
    viewer.take(word(4, Some((1, 0)))).unwrap();
    assert_eq!(raft.way(), None, "nobody knows yet whose word it is");
    viewer.comes_from(Some(7));
    assert_eq!((raft.status().leader, raft.way()), (Some(1), Some(7)));
    assert_eq!(raft.status().voters, BTreeSet::from([1]));
    viewer.take(word(5, Some((1, 60_000)))).unwrap();
    assert_eq!((raft.status().leader, raft.way()), (None, None), "the gateway heard it a minute ago");
    viewer.take(word(6, Some((1, 10)))).unwrap();
    assert_eq!(raft.way(), Some(7));
    viewer.take(word(7, None)).unwrap();
    assert_eq!(raft.way(), None, "an election goes on");
    viewer.take(word(8, Some((2, 10)))).unwrap();
    viewer.lost();
    assert_eq!((raft.status().leader, raft.way()), (None, None));
}

#[tokio::test]
async fn a_node_outside_proposes_nothing_itself() {
    let (raft, _viewer) = outside();
    let refused = raft.propose(Command::NodeLeft { node: 5 }).await;
    assert!(matches!(refused, Err(crate::handle::ProposeError::NotLeader { .. })), "{refused:?}");
    assert!(raft.ensure_linearizable().await.is_err() && raft.snapshot().await.is_err());
    assert!(raft.add_learner(6, "peer").await.is_err() && raft.initialize("peer").await.is_err());
    raft.shutdown().await;
}
