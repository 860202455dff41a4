//! The table over every command, every class of streams and every call.

use pentora_p2p::PeerId;
use pentora_raft::command::{
    AccessRole, Arrangement, Author, Imported, NewAccessToken, NewLease, NewRule, NewToken, NodePolicy,
    NotedRetirement, OrderedJob, Proposal, Rule, RuleKind, ScopeEffect, ScopeRule, SpecRef, StoredChunk, Submission,
    TokenGrant, TokenLimits, UnitKey,
};
use pentora_raft::state::{
    Authority, Counts, FeedRecord, JobLimits, KeepSpec, Measures, NewSessionKey, Occurrence, Partition, PassReason,
    Priority, Recovery, Remarks, ScheduleSpec, Share,
};
use pentora_raft::{ClusterId, Digest, JobId, RecoveryId, Response, TokenId, Versions};

use super::*;
use crate::drill::Fault;
use crate::rpc::calls::ApiCall;

/// A member, 1, and two nodes that only scan, of which each holds a lease of the job.
pub(crate) struct Scene {
    pub(crate) state: State,
    pub(crate) scanners: [NodeId; 2],
    pub(crate) job: JobId,
    pub(crate) leases: [LeaseRef; 2],
}

fn info(name: &str, role: NodeRole) -> NodeInfo {
    NodeInfo { name: name.into(), peer: name.into(), role, ..NodeInfo::default() }
}

fn scene() -> Scene {
    let mut state = State::default();
    let mut index = 0;
    let mut apply = |command| {
        index += 1;
        let response = state.apply(index, &Proposal { at_ms: 1, command });
        assert!(!matches!(response, Response::Refused(_)), "{response:?}");
        response
    };
    let (token, secret) = (TokenId([1; 8]), Digest::of(b"s"));
    apply(Command::Begin { cluster: ClusterId([1; 16]), info: info("m", NodeRole::Auto), admin_token: secret });
    let new = NewToken {
        token,
        secret,
        name: String::new(),
        ttl_ms: 1_000,
        uses: 2,
        role: NodeRole::Scanner,
        region: None,
        networks: None,
    };
    apply(Command::CreateToken(new));
    let scanners = ["s1", "s2"].map(|name| {
        let info = info(name, NodeRole::Scanner);
        let Response::Joined { node } = apply(Command::Join { token, secret, info }) else { panic!("not joined") };
        apply(Command::WorkerBack { node });
        node
    });
    let Response::Submitted { job, .. } = apply(Command::SubmitJob(Box::new(submission()))) else { panic!("no job") };
    let grants = [0, 5].into_iter().zip(scanners);
    let grants = grants.map(|(start, node)| NewLease {
        unit: UnitKey { job, partition: 0, start },
        end: start + 5,
        node,
        share: Share::default(),
    });
    let Response::Granted { leases } = apply(Command::Grant { grants: grants.collect() }) else { panic!("no leases") };
    let leases = [&leases[0], &leases[1]].map(|(unit, lease)| LeaseRef { unit: *unit, epoch: lease.epoch });
    Scene { state, scanners, job, leases }
}

fn submission() -> Submission {
    Submission {
        spec: SpecRef::Inline(Vec::new()),
        partitions: vec![Partition { target_count: 10, ..Partition::default() }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
        via: 1,
        idempotency_key: None,
        title: String::new(),
        finished: Vec::new(),
    }
}

fn completion(lease: LeaseRef, node: NodeId, holders: &[NodeId]) -> Completion {
    let stored = StoredChunk { digest: Digest::of(b"x"), bytes: 1, holders: holders.to_vec() };
    let start = lease.unit.start;
    Completion { lease, start, end: start + 5, goes_on: false, node, stored, counts: Counts::default() }
}

/// One of each command, as `node` would mean it with `lease`.
#[expect(clippy::too_many_lines, reason = "one arm for each command and no wildcard, so that none is left out")]
pub(crate) fn sample(kind: CommandKind, node: NodeId, lease: LeaseRef) -> Command {
    let (job, digest) = (lease.unit.job, Digest::of(b"x"));
    let token = TokenId([9; 8]);
    match kind {
        CommandKind::Begin => {
            Command::Begin { cluster: ClusterId([2; 16]), info: info("x", NodeRole::Auto), admin_token: digest }
        }
        CommandKind::CreateToken => Command::CreateToken(NewToken {
            token,
            secret: digest,
            name: String::new(),
            ttl_ms: 1_000,
            uses: 1,
            role: NodeRole::Auto,
            region: None,
            networks: None,
        }),
        CommandKind::RevokeToken => Command::RevokeToken { token },
        CommandKind::Join => Command::Join { token, secret: digest, info: info("x", NodeRole::Auto) },
        CommandKind::UpdateNode => Command::UpdateNode { node, info: info("s1", NodeRole::Auto) },
        CommandKind::SubmitJob => Command::SubmitJob(Box::new(submission())),
        CommandKind::Grant => {
            let unit = UnitKey { start: 0, ..lease.unit };
            Command::Grant { grants: vec![NewLease { unit, end: 5, node, share: Share::default() }] }
        }
        CommandKind::Complete => Command::Complete { completions: vec![completion(lease, node, &[1])] },
        CommandKind::CompleteWith => {
            Command::CompleteWith { completion: Box::new(completion(lease, node, &[1])), remarks: Remarks::default() }
        }
        CommandKind::CompleteMeasured => {
            let completion = Box::new(completion(lease, node, &[1]));
            Command::CompleteMeasured { completion, remarks: Remarks::default(), measures: Measures::default() }
        }
        CommandKind::Release => Command::Release { leases: vec![lease] },
        CommandKind::Expire => Command::Expire { leases: vec![lease], reason: "x".into() },
        CommandKind::Decline => Command::Decline { leases: vec![lease], reason: "x".into() },
        CommandKind::TakeBack => Command::TakeBack(node),
        CommandKind::YieldShare => Command::YieldShare { lease, rate_pps: 1 },
        CommandKind::SubmitOrdered => Command::SubmitOrdered(Box::new(OrderedJob {
            order: Digest::of(b"order"),
            expires_at_ms: 1,
            author: Author::default(),
            submission: submission(),
            is_carried: false,
        })),
        CommandKind::WorkerSuspect => Command::WorkerSuspect { node: 1 },
        CommandKind::Cancel => Command::Cancel { job, reason: "x".into() },
        CommandKind::WorkerFailed => Command::WorkerFailed { node: 1 },
        CommandKind::WorkerBack => Command::WorkerBack { node },
        CommandKind::SetHolders => Command::SetHolders { updates: vec![(lease.unit, vec![node])] },
        CommandKind::RemoveNode => Command::RemoveNode { node: 1 },
        CommandKind::DrainNode => Command::DrainNode { node: 1, draining: true },
        CommandKind::SetFeed => {
            let record = FeedRecord {
                digest,
                bytes: 1,
                records: 1,
                source: String::new(),
                holders: vec![1],
                signer: "m".into(),
                signature: Vec::new(),
                imported_at_ms: 0,
            };
            Command::SetFeed { kind: "cve".into(), record: Box::new(record) }
        }
        CommandKind::RemoveFeed => Command::RemoveFeed { kind: "cve".into() },
        CommandKind::SetFeedHolders => Command::SetFeedHolders { digest, holders: vec![node] },
        CommandKind::SetSpecHolders => Command::SetSpecHolders { updates: vec![(job, vec![node])] },
        CommandKind::DeleteJob => Command::DeleteJob { job },
        CommandKind::SetSettings => Command::SetSettings { settings: Box::default() },
        CommandKind::PauseJob => Command::PauseJob { job, paused: true, reason: "x".into() },
        CommandKind::Reprioritize => Command::Reprioritize { job, priority: Priority::Low },
        CommandKind::SetBackoff => Command::SetBackoff { updates: vec![(lease.unit, 1)] },
        CommandKind::SetAside => Command::SetAside { node, until_ms: 1 },
        CommandKind::MakeToken => Command::MakeToken(Box::new(TokenGrant {
            token,
            key: digest,
            name: String::new(),
            ttl_ms: 1_000,
            uses: 1,
            policy: NodePolicy::default(),
            by: String::new(),
        })),
        CommandKind::Admit => Command::Admit { token, info: Box::new(info("x", NodeRole::Auto)) },
        CommandKind::SetPolicy => Command::SetPolicy { node, change: Box::default() },
        CommandKind::NodeLeft => Command::NodeLeft { node },
        CommandKind::Retire => Command::Retire { node },
        CommandKind::Forget => Command::Forget { node, since_ms: 1 },
        CommandKind::AimVoters => Command::AimVoters { voters: 5 },
        CommandKind::CarryJob => Command::CarryJob(Box::new(submission())),
        CommandKind::SetOffline => Command::SetOffline { peer: "f".into(), name: Some("far".into()) },
        CommandKind::Import => Command::Import(Box::new(Imported { worker: node, job, units: Vec::new() })),
        CommandKind::NoteBundles => Command::NoteBundles { worker: node, first: 1, last: 1 },
        CommandKind::SetNetworks => Command::SetNetworks { node, networks: None },
        CommandKind::AddSchedule => {
            let (cron, timezone, title) = ("@daily".into(), "UTC".into(), String::new());
            let (missed, overlap) = Default::default();
            let spec = ScheduleSpec { cron, timezone, missed, overlap, request: Vec::new(), title };
            Command::AddSchedule { name: "s".into(), spec: Box::new(spec) }
        }
        CommandKind::RemoveSchedule => Command::RemoveSchedule { name: "s".into() },
        CommandKind::PauseSchedule => Command::PauseSchedule { name: "s".into(), paused: true },
        CommandKind::StartOccurrence => {
            let occurrence = Occurrence { at_ms: 1, passed_over: 0 };
            Command::StartOccurrence { schedule: "s".into(), occurrence, submission: Box::new(submission()) }
        }
        CommandKind::PassOccurrence => {
            let occurrence = Occurrence { at_ms: 1, passed_over: 0 };
            Command::PassOccurrence { schedule: "s".into(), occurrence, why: PassReason::Missed }
        }
        CommandKind::SetRule => Command::SetRule(Box::new(NewRule {
            name: "lab".into(),
            rule: Rule::Scope(ScopeRule {
                networks: vec!["203.0.113.0/24".parse().unwrap()],
                tokens: Vec::new(),
                effect: ScopeEffect::Allow,
            }),
            reason: "x".into(),
            author: Author::default(),
        })),
        CommandKind::RemoveRule => {
            Command::RemoveRule { kind: RuleKind::Scope, name: "lab".into(), author: Author::default() }
        }
        CommandKind::SubmitAs => Command::SubmitAs { submission: Box::new(submission()), author: Author::default() },
        CommandKind::HoldJob => Command::HoldJob { job, hold: Some("x".into()) },
        CommandKind::AddKeep => {
            let spec =
                KeepSpec { request: Vec::new(), title: String::new(), fresh_ms: 60_000, rate_pps: 1, slices: vec![1] };
            Command::AddKeep { name: "k".into(), spec: Box::new(spec) }
        }
        CommandKind::RemoveKeep => Command::RemoveKeep { name: "k".into() },
        CommandKind::PauseKeep => Command::PauseKeep { name: "k".into(), paused: true },
        CommandKind::StartSlice => {
            Command::StartSlice { keep: "k".into(), slice: 0, submission: Box::new(submission()) }
        }
        CommandKind::EndSlice => Command::EndSlice { keep: "k".into(), job },
        CommandKind::RefuseSlice => Command::RefuseSlice { keep: "k".into(), reason: "x".into() },
        CommandKind::SetVersions => Command::SetVersions { node, versions: Versions::OWN },
        CommandKind::SetAddresses => Command::SetAddresses(node, vec!["10.0.0.9:7400".into()]),
        CommandKind::RetireNoted => Command::RetireNoted(Box::new(NotedRetirement {
            node,
            author: Author::default(),
            action: "POST /api/v1/cluster/leave".into(),
            asked: 1,
            batch: 1,
        })),
        CommandKind::Recover => {
            Command::Recover(Box::new(Recovery { id: RecoveryId([1; 16]), node, taken_out: Vec::new() }))
        }
        CommandKind::SetSigners => Command::SetSigners { node, keys: None },
        CommandKind::RaiseLog => Command::RaiseLog { version: 1 },
        CommandKind::ArrangeAs => {
            Command::ArrangeAs { author: Author::default(), arrangement: Box::new(Arrangement::Carried(submission())) }
        }
        CommandKind::MakeAccessToken => Command::MakeAccessToken(Box::new(NewAccessToken {
            name: "x".into(),
            key: digest,
            role: AccessRole::Admin,
            ttl_ms: None,
            networks: None,
            scopes: Vec::new(),
            author: Author::default(),
        })),
        CommandKind::RotateAccessToken => {
            Command::RotateAccessToken { name: "admin".into(), key: digest, author: Author::default() }
        }
        CommandKind::RevokeAccessToken => {
            Command::RevokeAccessToken { name: "admin".into(), author: Author::default() }
        }
        CommandKind::LimitAccessToken => Command::LimitAccessToken {
            name: "admin".into(),
            limits: TokenLimits::default(),
            author: Author::default(),
        },
        CommandKind::NoteAudit => Command::NoteAudit { batch: 1, entries: Vec::new() },
        CommandKind::SetAuthority => {
            Command::SetAuthority(Box::new(Authority { certificate: vec![1], sealed_key: vec![1] }))
        }
        CommandKind::SetSessionKey => {
            Command::SetSessionKey(Box::new(NewSessionKey { after: 0, public: vec![1; 32], sealed: vec![1] }))
        }
        CommandKind::MoveInLog => Command::MoveInLog { node, step: LogStep::Back { since: 1 } },
        #[cfg(feature = "next-version")]
        CommandKind::Rehearse => Command::Rehearse { node },
    }
}

/// What a node that only scans may propose, and nothing else.
pub(crate) const OF_SCANNERS: [CommandKind; 15] = [
    CommandKind::UpdateNode,
    CommandKind::SetAddresses,
    CommandKind::SetNetworks,
    CommandKind::SetVersions,
    CommandKind::SetSigners,
    CommandKind::NodeLeft,
    CommandKind::Retire,
    CommandKind::MoveInLog,
    CommandKind::Complete,
    CommandKind::Release,
    CommandKind::Expire,
    CommandKind::Decline,
    CommandKind::CompleteWith,
    CommandKind::CompleteMeasured,
    CommandKind::YieldShare,
];

#[test]
fn a_scanner_proposes_its_own_part_and_is_refused_every_other_command_with_a_reason() {
    let Scene { state, scanners: [own, _], leases: [lease, _], .. } = scene();
    for kind in CommandKind::ALL {
        let command = sample(*kind, own, lease);
        assert_eq!(command.kind(), *kind);
        let as_scanner = proposal(&state, Peer::Scanner(own), command.clone());
        assert_eq!(as_scanner.is_ok(), OF_SCANNERS.contains(kind), "{}", kind.name());
        if let Err(denied) = as_scanner {
            let told = denied.to_string();
            assert!(told.contains("only scans") && told.contains(kind.name()) && told.contains(": "), "{told}");
        }
        let as_member = proposal(&state, Peer::Member(1), command.clone());
        let is_nobodys = matches!(kind, CommandKind::Begin | CommandKind::Recover);
        assert_eq!(as_member.is_ok(), !is_nobodys, "{}", kind.name());
        for nobody in [Peer::Stranger, Peer::Unread] {
            assert!(proposal(&state, nobody, command.clone()).is_err(), "{}", kind.name());
        }
    }
}

#[test]
fn what_a_scanner_may_propose_is_about_itself_and_its_own_leases_alone() {
    let Scene { state, scanners: [own, other], leases: [lease, anothers], job } = scene();
    let refused = [
        Command::UpdateNode { node: other, info: info("s2", NodeRole::Scanner) },
        Command::UpdateNode { node: 1, info: info("m", NodeRole::Scanner) },
        Command::SetNetworks { node: other, networks: None },
        Command::SetVersions { node: other, versions: Versions::OWN },
        Command::SetAddresses(other, vec!["10.0.0.9:7400".into()]),
        Command::SetSigners { node: other, keys: None },
        Command::NodeLeft { node: other },
        Command::Retire { node: 1 },
        Command::MoveInLog { node: other, step: LogStep::Back { since: 1 } },
        Command::MoveInLog { node: own, step: LogStep::Out { since: 1 } },
        Command::Release { leases: vec![lease, anothers] },
        Command::Expire { leases: vec![anothers], reason: "x".into() },
        Command::Decline { leases: vec![anothers], reason: "x".into() },
        Command::YieldShare { lease: anothers, rate_pps: 1 },
        Command::Complete { completions: vec![completion(anothers, own, &[1])] },
        Command::Complete { completions: vec![completion(lease, other, &[1])] },
        Command::Complete { completions: vec![completion(lease, own, &[own])] },
        Command::Complete { completions: vec![completion(lease, own, &[1, 77])] },
        Command::Complete { completions: vec![completion(lease, own, &[])] },
    ];
    for command in refused {
        let denied = proposal(&state, Peer::Scanner(own), command.clone());
        assert!(denied.is_err(), "{command:?}");
    }
    let gone = LeaseRef { unit: UnitKey { job, partition: 0, start: 99 }, epoch: 1 };
    let late = Command::Release { leases: vec![gone] };
    assert_eq!(proposal(&state, Peer::Scanner(own), late.clone()), Ok(late), "what stands no more is nobody else's");
    let report = Command::UpdateNode { node: own, info: info("s1", NodeRole::Auto) };
    let command = proposal(&state, Peer::Scanner(own), report).expect("its own report");
    let mut after = state;
    after.apply(100, &Proposal { at_ms: 1, command });
    assert!(after.node(own).is_some_and(|record| !record.may_vote()), "no report makes a member");
}

#[test]
fn a_feed_is_signed_by_a_member_whoever_proposes_it() {
    let Scene { state, scanners: [own, _], leases: [lease, _], .. } = scene();
    let Command::SetFeed { kind, record } = sample(CommandKind::SetFeed, own, lease) else { panic!("another command") };
    for (signer, is_good) in [("m", true), ("s1", false), ("nobody", false)] {
        let record = Box::new(FeedRecord { signer: signer.into(), ..FeedRecord::clone(&record) });
        let command = Command::SetFeed { kind: kind.clone(), record };
        assert_eq!(proposal(&state, Peer::Member(1), command).is_ok(), is_good, "{signer}");
    }
}

#[test]
fn every_class_of_streams_is_open_to_members_and_to_others_as_far_as_their_part_needs() {
    for class in Class::ALL {
        assert_eq!(stream(Peer::Member(1), class), Ok(()), "{class}");
        let may = |peer| stream(peer, class).is_ok();
        let of_scanner = [Class::Work, Class::View, Class::Chunk, Class::Admin, Class::Join];
        assert_eq!(may(Peer::Scanner(2)), of_scanner.contains(&class), "{class}");
        assert_eq!(may(Peer::Stranger), class == Class::Join, "{class}");
        let of_log = [Class::RaftAppend, Class::RaftControl, Class::RaftSnapshot, Class::Join];
        assert_eq!(may(Peer::Unread), of_log.contains(&class), "{class}");
        let outside = |peer| stream_outside(peer, class).is_ok();
        let of_members = [Class::Chunk, Class::Admin, Class::Join];
        for peer in [Peer::Member(1), Peer::Unread] {
            assert_eq!(outside(peer), of_members.contains(&class), "{class}");
        }
        for peer in [Peer::Scanner(2), Peer::Stranger] {
            assert_eq!(outside(peer), class == Class::Join, "{class}: nobody else asks a node outside the log");
        }
    }
}

#[test]
fn a_scanner_leaves_leadership_and_the_keeping_of_chunks_to_members_and_outside_the_log_hardly_anything_is_answered() {
    let digest = Digest::of(b"x");
    let api = ApiCall { method: "POST".into(), path: "/".into(), headers: Vec::new() };
    for (request, of_scanner, by_outside) in [
        (Request::Propose { term: 1, command: Box::new(Command::DeleteJob { job: JobId(1) }) }, true, false),
        (Request::GetChunk(digest), true, true),
        (Request::PutChunk { digest, bytes: 1 }, true, false),
        (Request::HandIn { digest, bytes: 1 }, true, false),
        (Request::Bring { chunks: vec![(digest, 1)], to_hand_in: true }, true, false),
        (Request::Api(Box::new((api.clone(), 0))), true, false),
        (Request::ApiStream(Box::new((api, 0))), true, false),
        (Request::Addresses(Vec::new()), true, true),
        (Request::Soft, false, false),
        (Request::Lacking, false, false),
        (Request::PlanRemoval(2), false, false),
        (Request::Demote(2, Box::default()), false, false),
        (Request::Retire(2), false, false),
        (
            Request::RetireNoted(Box::new(NotedRetirement {
                node: 2,
                author: Author::default(),
                action: String::new(),
                asked: 1,
                batch: 1,
            })),
            false,
            false,
        ),
        (Request::ReadIndex, false, false),
        (Request::EndUnits(JobId(1)), false, false),
        (Request::Figures, true, false),
        (Request::Certify { key: vec![4; 65] }, true, false),
        (Request::TransferLeader(2), false, false),
        (Request::KeepChunk { digest, holders: vec![1] }, false, false),
        (Request::Suffer { node: 2, fault: Fault::Kill { down_ms: 1 }, after_ms: 0 }, false, true),
    ] {
        assert_eq!(call(Peer::Scanner(2), &request).is_ok(), of_scanner, "{request:?}");
        let by_members = !matches!(request, Request::Certify { .. });
        assert_eq!(call(Peer::Member(1), &request).is_ok(), by_members, "members sign for themselves");
        assert_eq!(call_outside(Peer::Member(1), &request).is_ok(), by_outside, "{request:?}");
        if matches!(request, Request::Suffer { .. }) {
            let others = [Peer::Scanner(2), Peer::Unread, Peer::Stranger];
            assert!(others.iter().all(|peer| call_outside(*peer, &request).is_err()), "members order faults alone");
        }
    }
}

#[test]
fn a_scanner_reads_feeds_and_the_specs_of_its_own_units_and_no_other_chunk() {
    let Scene { mut state, scanners: [own, other], leases: [lease, _], .. } = scene();
    let mut apply = |index, command| state.apply(index, &Proposal { at_ms: 1, command });
    let (feed, spec, foreign) = (Digest::of(b"x"), Digest::of(b"spec"), Digest::of(b"results"));
    apply(100, sample(CommandKind::SetFeed, own, lease));
    let large = SpecRef::Chunk { digest: spec, holders: vec![1] };
    apply(101, Command::SubmitJob(Box::new(Submission { spec: large, ..submission() })));
    let unit = UnitKey { job: JobId(101), partition: 0, start: 0 };
    apply(102, Command::Grant { grants: vec![NewLease { unit, end: 5, node: own, share: Share::default() }] });
    assert_eq!(readable(&state, Peer::Scanner(own), feed), Ok(vec![1]));
    assert_eq!(readable(&state, Peer::Scanner(own), spec), Ok(vec![1]));
    assert!(readable(&state, Peer::Scanner(other), spec).is_err(), "it has no unit of that job");
    assert!(readable(&state, Peer::Scanner(own), foreign).is_err());
    for peer in [Peer::Stranger, Peer::Unread] {
        assert!(readable(&state, peer, feed).is_err());
    }
}

#[test]
fn what_is_about_leases_is_judged_by_whoever_has_applied_the_last_of_them() {
    let Scene { scanners: [own, _], leases: [lease, anothers], .. } = scene();
    let last = LeaseRef { epoch: 77, ..anothers };
    assert_eq!(judged_from(&Command::Release { leases: vec![lease, last] }), 77);
    assert_eq!(judged_from(&Command::Expire { leases: vec![last], reason: String::new() }), 77);
    assert_eq!(judged_from(&Command::Decline { leases: vec![last], reason: String::new() }), 77);
    assert_eq!(judged_from(&Command::Complete { completions: vec![completion(last, own, &[1])] }), 77);
    let with = Box::new(completion(last, own, &[1]));
    assert_eq!(judged_from(&Command::CompleteWith { completion: with.clone(), remarks: Remarks::default() }), 77);
    let (remarks, measures) = (Remarks::default(), Measures::default());
    assert_eq!(judged_from(&Command::CompleteMeasured { completion: with, remarks, measures }), 77);
    assert_eq!(judged_from(&Command::YieldShare { lease: last, rate_pps: 1 }), 77);
    assert_eq!(judged_from(&Command::NodeLeft { node: own }), 0);
}

#[test]
fn a_scanner_has_the_chunks_of_its_own_units_kept_and_no_others() {
    let Scene { state, scanners: [own, other], leases: [lease, _], .. } = scene();
    let heading = |start, end| Heading { unit: UnitKey { start, ..lease.unit }, end };
    let may = |node, heading: &Heading| chunk(&state, 1, Peer::Scanner(node), Some(heading), None).is_ok();
    assert!(may(own, &heading(0, 5)) && may(own, &heading(0, 3)) && may(other, &heading(5, 10)));
    assert!(!may(own, &heading(5, 10)) && !may(own, &heading(0, 6)) && !may(other, &heading(0, 5)));
    let elsewhere = Heading { unit: UnitKey { partition: 1, ..lease.unit }, end: 5 };
    assert!(!may(own, &elsewhere) && chunk(&state, 1, Peer::Scanner(own), None, None).is_err());
    assert_eq!(chunk(&state, 1, Peer::Member(1), None, None), Ok(()), "specs and feeds go between members");
    // What it says of a region is held against the log.
    assert!(chunk(&state, 1, Peer::Scanner(own), Some(&heading(0, 5)), Some("eu")).is_err());
    let nowhere = chunk(&state, 1, Peer::Member(1), Some(&heading(0, 5)), Some("eu")).unwrap_err().to_string();
    assert!(nowhere.contains("this node is not in the region"), "{nowhere}");
    assert!(given(&state, Peer::Member(1), Some("eu")).is_err() && given(&state, Peer::Member(1), None).is_ok());
}

#[test]
fn a_peer_is_who_the_log_says_and_before_it_was_read_whom_the_mesh_was_told_of() {
    let Scene { state, scanners: [own, _], .. } = scene();
    assert_eq!(Peer::of(&state, 1, "s1"), Peer::Scanner(own));
    assert_eq!(Peer::of(&state, own, "m"), Peer::Member(1));
    let stranger = pentora_p2p::Identity::generate().peer_id();
    let key: &PeerId = &stranger;
    assert_eq!(Peer::of(&state, 1, &key.to_string()), Peer::Stranger);
    assert_eq!(Peer::of(&State::default(), own, "m"), Peer::Unread);
}
