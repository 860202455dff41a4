//! Nodes through their time in a cluster: by which policy they come in, how they go, and what of them stays in the
//! documents of jobs that have ended.

use crate::command::sample_test::{limits, node_info, submission, two_nodes};
use crate::command::{
    AuditEntry, Author, Command, LogStep, NewLease, NodeInfo, NodePolicy, NodeRole, NotedRetirement, Outcome,
    PolicyChange, Proposal, Refusal, Response, TokenGrant, UnitKey, Voting,
};
use crate::id::{Digest, JobId, NodeId, TokenId};
use crate::invariant;
use crate::state::{LogPlace, NodeStatus, Share, State, WorkerEnd, WorkerEndState};
use crate::version::SECOND;

const TOKEN: TokenId = TokenId([9; 8]);

/// Two working nodes, 1 and 5, and a token with a policy.
struct Log {
    state: State,
    index: u64,
    at_ms: u64,
}

impl Log {
    fn begun(policy: NodePolicy) -> Self {
        let mut log = Self { state: State::default(), index: 1, at_ms: 1_000 };
        let name = "n".to_owned();
        let by = String::new();
        let grant = TokenGrant { token: TOKEN, key: Digest::of(b"k"), name, ttl_ms: 5_000, uses: 2, policy, by };
        for command in two_nodes().into_iter().chain([Command::MakeToken(Box::new(grant))]) {
            assert!(!matches!(log.apply(command.clone()), Response::Refused(_)), "{command:?}");
        }
        log
    }

    fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let response = self.state.apply(self.index, &Proposal { at_ms: self.at_ms, command });
        invariant::check(&self.state, self.index).unwrap();
        response
    }

    fn admit(&mut self, info: NodeInfo) -> Response {
        self.apply(Command::Admit { token: TOKEN, info: Box::new(info) })
    }

    fn info(&self, node: NodeId) -> &NodeInfo {
        &self.state.node(node).unwrap().info
    }

    fn status(&self, node: NodeId) -> NodeStatus {
        self.state.node(node).unwrap().status
    }

    /// A job of one unit that node 5 works on.
    fn job_on_5(&mut self) -> JobId {
        self.apply(Command::WorkerBack { node: 5 });
        self.apply(Command::SubmitJob(Box::new(submission(&[10], limits()))));
        let job = JobId(self.index);
        let unit = UnitKey { job, partition: 0, start: 0 };
        self.apply(Command::Grant { grants: vec![NewLease { unit, end: 10, node: 5, share: Share::default() }] });
        job
    }
}

fn scanner_in_eu() -> NodePolicy {
    NodePolicy {
        role: NodeRole::Scanner,
        region: Some("eu-central".into()),
        networks: Some(vec!["10.88.0.0/30".parse().unwrap()]),
        ..NodePolicy::default()
    }
}

fn says_more(name: &str) -> NodeInfo {
    NodeInfo {
        region: Some("other".into()),
        networks: Some(vec!["10.88.0.0/16".parse().unwrap()]),
        role: NodeRole::Auto,
        ..node_info(name)
    }
}

#[test]
fn what_a_token_limits_holds_at_the_admission_and_after_every_start() {
    let mut log = Log::begun(scanner_in_eu());
    let Response::Joined { node } = log.admit(says_more("n2")) else { panic!("not admitted") };
    for _ in 0..2 {
        let info = log.info(node);
        assert_eq!((info.role, info.region.as_deref()), (NodeRole::Scanner, Some("eu-central")));
        assert_eq!(info.networks, scanner_in_eu().networks);
        assert!(!log.state.may_vote(node));
        log.apply(Command::UpdateNode { node, info: says_more("n2") });
    }
}

#[test]
fn a_changed_policy_holds_at_once_and_what_the_node_says_comes_back_when_it_is_lifted() {
    let mut log = Log::begun(NodePolicy::default());
    let change = |change| Command::SetPolicy { node: 5, change: Box::new(change) };
    let narrow = PolicyChange { networks: Some(vec!["10.9.0.0/16".parse().unwrap()]), ..PolicyChange::default() };
    log.apply(change(PolicyChange { tags: Some(vec!["pci".into()]), ..narrow }));
    assert_eq!((log.info(5).tags.clone(), log.info(5).networks.clone().unwrap().len()), (vec!["pci".to_owned()], 1));
    let lift = PolicyChange { networks: Some(Vec::new()), tags: Some(Vec::new()), ..PolicyChange::default() };
    log.apply(change(lift));
    assert_eq!(log.info(5), &node_info("n1"), "what an earlier release admitted says all of itself");
    let many = vec!["10.0.0.0/8".parse().unwrap(); 1025];
    let refused = log.apply(change(PolicyChange { networks: Some(many), ..PolicyChange::default() }));
    assert!(matches!(refused, Response::Refused(Refusal::Malformed { .. })), "{refused:?}");
}

/// What made a node hang without a log: the leader still counted on entries of the one that it had thrown away.
#[test]
fn a_node_that_is_to_be_a_member_again_holds_as_one_only_once_the_group_has_forgotten_the_log_that_it_gave_up() {
    let mut log = Log::begun(NodePolicy::default());
    let set = |role| {
        let change = PolicyChange { role: Some(role), ..PolicyChange::default() };
        Command::SetPolicy { node: 5, change: Box::new(change) }
    };
    let step = |step| Command::MoveInLog { node: 5, step };
    log.apply(set(NodeRole::Scanner));
    let since = log.index;
    log.apply(set(NodeRole::Auto));
    log.apply(set(NodeRole::Scanner));
    log.apply(set(NodeRole::Auto));
    assert_eq!(log.state.log_place(5), Some(LogPlace { since, is_out: false }), "the way out is gone to its end");
    assert_eq!((log.info(5).role, log.state.wanted_role(5)), (NodeRole::Scanner, Some(NodeRole::Auto)));
    log.apply(step(LogStep::Back { since }));
    log.apply(step(LogStep::Out { since: since - 1 }));
    log.apply(Command::UpdateNode { node: 5, info: node_info("n1") });
    log.apply(Command::SetNetworks { node: 5, networks: None });
    assert_eq!(log.info(5).role, NodeRole::Scanner, "the group counts on it still");
    log.apply(step(LogStep::Out { since }));
    assert_eq!(log.info(5).role, NodeRole::Scanner, "it has yet to say that it is there without a log");
    log.apply(step(LogStep::Back { since }));
    assert_eq!((log.info(5).role, log.state.log_place(5)), (NodeRole::Auto, None));
    // A step that comes once more, late, is none.
    log.apply(set(NodeRole::Scanner));
    log.apply(step(LogStep::Out { since }));
    assert_eq!(log.state.log_place(5), Some(LogPlace { since: log.index - 1, is_out: false }));
    log.apply(Command::RemoveNode { node: 5 });
    assert_eq!(log.state.log_places().count(), 0);
}

#[test]
fn a_node_that_gave_up_its_log_by_its_own_file_or_was_admitted_to_scan_only_comes_in_by_steps_as_well() {
    let mut log = Log::begun(NodePolicy { role: NodeRole::Scanner, ..NodePolicy::default() });
    log.apply(Command::MoveInLog { node: 5, step: LogStep::GiveUp });
    let since = log.index;
    log.apply(Command::MoveInLog { node: 5, step: LogStep::GiveUp });
    assert_eq!(log.state.log_place(5), Some(LogPlace { since, is_out: false }), "said twice");
    assert_eq!((log.info(5).role, log.state.wanted_role(5)), (NodeRole::Scanner, Some(NodeRole::Auto)));
    let Response::Joined { node } = log.admit(node_info("n2")) else { panic!("not admitted") };
    assert_eq!((log.info(node).role, log.state.log_place(node)), (NodeRole::Scanner, None));
    let change = PolicyChange { role: Some(NodeRole::Auto), ..PolicyChange::default() };
    log.apply(Command::SetPolicy { node, change: Box::new(change) });
    let since = log.index;
    assert_eq!(log.state.log_place(node), Some(LogPlace { since, is_out: true }), "nobody counts on it");
    log.apply(Command::MoveInLog { node, step: LogStep::Back { since } });
    assert_eq!((log.info(node).role, log.state.may_vote(node)), (NodeRole::Auto, true));
}

#[test]
fn a_node_votes_unless_its_role_its_policy_or_its_leaving_is_against_it() {
    let mut log = Log::begun(NodePolicy::default());
    assert!(log.state.may_vote(5));
    for (bars, lifts) in [
        (
            PolicyChange { voting: Some(Voting::Never), ..PolicyChange::default() },
            PolicyChange { voting: Some(Voting::AsNeeded), ..PolicyChange::default() },
        ),
        (
            PolicyChange { ephemeral: Some(true), ..PolicyChange::default() },
            PolicyChange { ephemeral: Some(false), ..PolicyChange::default() },
        ),
        (
            PolicyChange { role: Some(NodeRole::Scanner), ..PolicyChange::default() },
            PolicyChange { role: Some(NodeRole::Auto), ..PolicyChange::default() },
        ),
    ] {
        log.apply(Command::SetPolicy { node: 5, change: Box::new(bars) });
        assert!(!log.state.may_vote(5));
        log.apply(Command::SetPolicy { node: 5, change: Box::new(lifts) });
        // A role is given back in steps.
        if let Some(LogPlace { since, .. }) = log.state.log_place(5) {
            assert!(!log.state.may_vote(5));
            log.apply(Command::MoveInLog { node: 5, step: LogStep::Out { since } });
            log.apply(Command::MoveInLog { node: 5, step: LogStep::Back { since } });
        }
        assert!(log.state.may_vote(5));
    }
    log.apply(Command::Retire { node: 5 });
    assert!(!log.state.may_vote(5));
}

#[test]
fn a_token_is_held_to_its_uses_and_its_time_and_names_no_node_that_cannot_be() {
    let mut log = Log::begun(NodePolicy::default());
    for name in ["a b", "", "x\u{1b}", "-n", &"n".repeat(64)] {
        let refused = log.admit(node_info(name));
        assert!(matches!(refused, Response::Refused(Refusal::Malformed { .. })), "{name}: {refused:?}");
    }
    let Response::Joined { node } = log.admit(node_info("n2")) else { panic!("not admitted") };
    assert_eq!(log.admit(node_info("n2")), Response::Joined { node }, "the same peer asks again");
    assert!(matches!(log.admit(node_info("n3")), Response::Joined { .. }));
    assert_eq!(log.admit(node_info("n4")), Response::Refused(Refusal::TokenUsed));
    log.at_ms += 5_000;
    assert_eq!(log.admit(node_info("n4")), Response::Refused(Refusal::TokenExpired));
    let grant = TokenGrant {
        token: TokenId([8; 8]),
        key: Digest::of(b"k"),
        name: "a b".into(),
        ttl_ms: 1,
        uses: 1,
        policy: NodePolicy::default(),
        by: String::new(),
    };
    let refused = log.apply(Command::MakeToken(Box::new(grant)));
    assert!(matches!(refused, Response::Refused(Refusal::Malformed { .. })), "{refused:?}");
}

#[test]
fn a_node_that_says_goodbye_shows_as_left_whatever_is_found_of_it_later_and_works_again_after_a_start() {
    let mut log = Log::begun(NodePolicy::default());
    let job = log.job_on_5();
    log.apply(Command::NodeLeft { node: 5 });
    assert_eq!(log.state.job_leases(job).count(), 0, "what it worked on is free");
    for late in [Command::WorkerSuspect { node: 5 }, Command::WorkerFailed { node: 5 }] {
        log.apply(late);
        assert_eq!(log.status(5), NodeStatus::Left);
    }
    log.apply(Command::UpdateNode { node: 5, info: node_info("n1") });
    assert_eq!(log.status(5), NodeStatus::Joining);
    log.apply(Command::WorkerBack { node: 5 });
    assert_eq!(log.status(5), NodeStatus::Active);
}

#[test]
fn a_node_that_is_to_leave_gets_no_work_again_and_its_name_is_free_once_it_is_removed() {
    let mut log = Log::begun(NodePolicy::default());
    let job = log.job_on_5();
    log.apply(Command::Retire { node: 5 });
    assert_eq!((log.state.job_leases(job).count(), log.status(5)), (0, NodeStatus::Draining));
    log.apply(Command::UpdateNode { node: 5, info: node_info("n1") });
    log.apply(Command::WorkerBack { node: 5 });
    assert_eq!(log.status(5), NodeStatus::Draining, "a start does not call it back");
    assert!(log.state.is_leaving(5) && !log.state.keeps_results(5));
    log.apply(Command::RemoveNode { node: 5 });
    assert_eq!(log.state.standings().count(), 0);
    let again = log.admit(NodeInfo { peer: "another key".into(), ..node_info("n1") });
    assert_eq!(again, Response::Joined { node: log.index }, "under an id of its own");
}

#[test]
fn only_a_node_that_has_been_gone_since_then_is_forgotten() {
    let mut log = Log::begun(NodePolicy { ephemeral: true, ..NodePolicy::default() });
    let Response::Joined { node } = log.admit(node_info("n2")) else { panic!("not admitted") };
    log.apply(Command::WorkerBack { node });
    let since_ms = log.state.node(node).unwrap().changed_at_ms;
    log.apply(Command::Forget { node, since_ms });
    assert!(log.state.node(node).is_some(), "it is there");
    log.apply(Command::WorkerFailed { node });
    log.at_ms += 1;
    log.apply(Command::Forget { node, since_ms: since_ms + 1 });
    assert!(log.state.node(node).is_some(), "the leader saw another failure than the last");
    assert_eq!(log.apply(Command::Forget { node, since_ms }), Response::Done);
    assert!(log.state.node(node).is_none());
}

#[test]
fn ephemeral_nodes_are_waited_for_minutes_scanners_a_day_and_members_for_ever() {
    let minutes = |minutes: u64| 1_000 + minutes * 60 * 1_000;
    for (policy, waits) in [
        (NodePolicy { ephemeral: true, ..NodePolicy::default() }, Some(10)),
        (NodePolicy { role: NodeRole::Scanner, ..NodePolicy::default() }, Some(24 * 60)),
        (NodePolicy::default(), None),
    ] {
        let mut log = Log::begun(policy);
        let Response::Joined { node } = log.admit(node_info("n2")) else { panic!("not admitted") };
        log.apply(Command::WorkerFailed { node });
        let gone = |at_ms| log.state.long_gone(at_ms).map(|(node, _)| node).collect::<Vec<_>>();
        assert!(gone(minutes(waits.unwrap_or(100_000)) - 1).is_empty());
        assert_eq!(gone(minutes(waits.unwrap_or(100_000))), waits.map_or(Vec::new(), |_| vec![node]));
    }
}

#[test]
fn what_becomes_of_a_worker_after_a_jobs_end_does_not_change_what_the_job_says_of_it() {
    let mut log = Log::begun(NodePolicy::default());
    let job = log.job_on_5();
    log.apply(Command::Cancel { job, reason: "asked".into() });
    let end = |log: &Log| log.state.worker_end(job, 5).cloned().unwrap();
    let at_the_end = end(&log);
    assert_eq!((at_the_end.worker_id.as_str(), at_the_end.state), ("wrk_n1", WorkerEndState::Done));
    log.apply(Command::WorkerFailed { node: 5 });
    assert_eq!(end(&log), at_the_end);
    log.apply(Command::RemoveNode { node: 5 });
    assert_eq!(end(&log), at_the_end);

    let mut log = Log::begun(NodePolicy::default());
    let job = log.job_on_5();
    log.apply(Command::WorkerFailed { node: 5 });
    log.apply(Command::Cancel { job, reason: "asked".into() });
    assert_eq!(log.state.worker_end(job, 5).unwrap().state, WorkerEndState::Failed);
    log.apply(Command::WorkerBack { node: 5 });
    assert_eq!(log.state.worker_end(job, 5).unwrap().state, WorkerEndState::Failed);

    // One that leaves in the middle of a job keeps its name in what the job says, now and at its end; with members of an older release it
    // does not, so that all keep the same.
    let mut log = Log::begun(NodePolicy::default());
    let job = log.job_on_5();
    log.apply(Command::RemoveNode { node: 5 });
    assert_eq!(log.state.worker_end(job, 5), None);
    let mut log = Log::begun(NodePolicy::default());
    log.apply(Command::RaiseLog { version: SECOND });
    let job = log.job_on_5();
    assert_eq!(log.state.worker_end(job, 5), None);
    log.apply(Command::RemoveNode { node: 5 });
    let left = WorkerEnd { worker_id: "wrk_n1".into(), state: WorkerEndState::Left };
    assert_eq!(log.state.worker_end(job, 5), Some(&left));
    log.apply(Command::Cancel { job, reason: "asked".into() });
    assert_eq!(log.state.worker_end(job, 5), Some(&left));
}

#[test]
fn a_cluster_aims_at_three_voters_unless_told_five_or_seven_and_at_no_other_number() {
    let mut log = Log::begun(NodePolicy::default());
    assert_eq!(log.state.shape().voters, 3);
    for voters in [0, 1, 2, 4, 6, 9] {
        let refused = log.apply(Command::AimVoters { voters });
        assert!(matches!(refused, Response::Refused(Refusal::Malformed { .. })), "{voters}: {refused:?}");
    }
    log.apply(Command::AimVoters { voters: 7 });
    assert_eq!(log.state.shape().voters, 7);
}

/// The rows of a store that an earlier release wrote: none of what came with policies.
#[test]
fn a_state_without_standings_loads_and_its_nodes_have_no_limit() {
    let mut rows = Vec::new();
    let mut old = State::default();
    for (index, command) in (2..).zip(two_nodes()) {
        old.apply(index, &Proposal { at_ms: 1, command });
    }
    old.for_each_row(|key, value| rows.push((key, value)));
    // What happened to the nodes is told by this release alone.
    let of_history = |key: &[u8]| key[0] == 49;
    assert!(rows.iter().all(|(key, _)| key[0] <= 14 || of_history(key)), "nothing else is in a table of this release");
    let mut read = State::default();
    rows.iter().for_each(|(key, value)| read.load_row(key, value).unwrap());
    assert_eq!(read, old);
    assert!(read.may_vote(5) && read.keeps_results(5) && !read.is_leaving(5));
    assert_eq!((read.policy(5), read.shape().voters), (NodePolicy::default(), 3));
}

/// What left a node's own `leave` in the audit log as asked for ever: by the time it could say what came of it, it was out.
#[test]
fn that_a_node_is_to_leave_by_its_own_word_stands_in_the_audit_log_with_what_came_of_it_once() {
    let mut log = Log::begun(NodePolicy::default());
    let author = Author { who: "admin".into(), from: "10.0.0.9".into() };
    let action = "POST /api/v1/cluster/leave".to_owned();
    let noted = NotedRetirement { node: 5, author: author.clone(), action: action.clone(), asked: 1, batch: 77 };
    let retire = || Command::RetireNoted(Box::new(noted.clone()));
    assert!(matches!(log.apply(retire()), Response::Refused(Refusal::NewerThanLog { .. })));
    assert!(!log.state.is_leaving(5) && log.state.audit(0).count() == 0);
    log.apply(Command::RaiseLog { version: SECOND });
    for _ in 0..2 {
        assert_eq!(log.apply(retire()), Response::Done);
    }
    assert!(log.state.is_leaving(5) && log.status(5) == NodeStatus::Draining);
    let outcome = Outcome::Answered { asked: 1, status: 202 };
    let expected = AuditEntry { author, action, object: "name=n1".into(), outcome, times: 1 };
    let entries: Vec<AuditEntry> = log.state.audit(0).map(|(_, record)| record.entry.clone()).collect();
    assert_eq!(entries, [expected], "once, whoever asks again");
    let stranger = NotedRetirement { node: 99, batch: 78, ..noted.clone() };
    let refused = log.apply(Command::RetireNoted(Box::new(stranger)));
    assert_eq!(refused, Response::Refused(Refusal::NodeUnknown { node: 99 }));
    assert_eq!(log.state.audit(0).count(), 1, "what was refused is noted by whoever asked");
}
