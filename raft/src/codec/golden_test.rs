//! The bytes of every command and of every table's rows, as they are in the logs and stores of the release that brought each.
//!
//! `commands.hex` holds an entry of each command, `rows.hex` a key and a row a line: those of the state that some of the
//! commands lead to. Both were made field by field from the layout, not by this program.

use std::collections::BTreeSet;

use super::{Kind, decode, encode};
use crate::command::{
    AccessRole, Arrangement, AuditEntry, Author, BudgetRule, Command, Completion, ExclusionRule, Finished, Hours,
    Imported, ImportedUnit, LeaseRef, LogStep, NewAccessToken, NewLease, NewRule, NewToken, NodeInfo, NodePolicy,
    NodeRole, NotedRetirement, OrderedJob, Outcome, PolicyChange, ProfileRule, Proposal, Response, Rule, RuleKind,
    ScopeEffect, ScopeRule, SiteRule, SpecRef, StoredChunk, Submission, TokenGrant, TokenLimits, UnitKey, UnitRange,
    Voting, When, WindowEffect, WindowRule,
};
use crate::id::{ClusterId, Digest, JobId, RecoveryId, TokenId};
use crate::state::{
    Authority, Backoff, Cluster, CommandKind, Counts, FailureAction, FeedRecord, JobLimits, KeepSpec, LogPlace,
    Measures, MissedPolicy, Needs, NewSessionKey, Occurrence, OrderRecord, OverlapPolicy, Partition, PassReason,
    Preference, Priority, Recovery, Remarks, Run, RunOutcome, ScheduleSpec, Settings, Share, Slice, State, TakenOut,
    TokenDay, WorkerEnd, WorkerEndState,
};
use crate::version::Versions;

const COMMANDS: &str = include_str!("commands.hex");
const ROWS: &str = include_str!("rows.hex");
const AT_MS: u64 = 1_700_000_000_123;
const JOB: JobId = JobId(5);
const UNIT: UnitKey = UnitKey { job: JOB, partition: 0, start: 10 };
const LEASE: LeaseRef = LeaseRef { unit: UNIT, epoch: 6 };
const OCCURRENCE: Occurrence = Occurrence { at_ms: 300, passed_over: 2 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn digest(of: u8) -> Digest {
    Digest([of; 32])
}

fn info() -> NodeInfo {
    NodeInfo {
        name: "n".into(),
        peer: "p".into(),
        addresses: vec!["a:1".into()],
        version: "0.1.0".into(),
        region: Some("eu".into()),
        tags: vec!["dmz".into()],
        networks: None,
        max_concurrent_scans: 3,
        max_targets_per_scan: 300,
        role: NodeRole::Scanner,
        engines: vec!["raw".into()],
    }
}

fn counts() -> Counts {
    Counts {
        hosts_up: 1,
        open_ports: 2,
        services_detected: 3,
        vulnerabilities: 4,
        probes_sent: 5,
        retransmitted: 6,
        replies: 7,
        lost_millionths: 8,
        recall_weight: 9,
        missed_millionths: 10,
    }
}

fn stored(of: u8, bytes: u64) -> StoredChunk {
    StoredChunk { digest: digest(of), bytes, holders: vec![1, 5] }
}

fn submission() -> Submission {
    let needs = Needs {
        networks: Vec::new(),
        region: Some("eu".into()),
        required_tags: vec!["a".into()],
        preferred_tags: vec!["b".into()],
        engine: Some("raw".into()),
    };
    let unit = UnitRange { partition: 0, start: 0, end: 10 };
    Submission {
        spec: SpecRef::Inline(vec![7, 8]),
        partitions: vec![Partition { target_count: 40, needs }],
        priority: Priority::High,
        limits: JobLimits { budget_pps: Some(60), network_pps: Some(9), max_workers: Some(2), max_attempts: 3 },
        via: 1,
        idempotency_key: Some(digest(3)),
        title: "title".into(),
        finished: vec![Finished { unit, stored: stored(4, 300), counts: counts() }],
    }
}

fn completion() -> Completion {
    let counts = counts();
    Completion { lease: LEASE, start: 10, end: 15, goes_on: true, node: 1, stored: stored(5, 70_000), counts }
}

fn feed() -> FeedRecord {
    FeedRecord {
        digest: digest(6),
        bytes: 9,
        records: 3,
        source: "cve.zip".into(),
        holders: vec![1],
        signer: "p".into(),
        signature: vec![1, 2],
        imported_at_ms: 0,
    }
}

fn settings() -> Settings {
    Settings {
        heartbeat_ms: 100,
        grace_ms: 200,
        max_attempts: 3,
        backoff: Backoff::Fixed,
        attempt_ms: 300,
        failure: FailureAction::Wait,
        preference: Preference::TagAffinity,
        queue_depth: 7,
        max_load_thousandths: 800,
    }
}

fn schedule() -> ScheduleSpec {
    ScheduleSpec {
        cron: "0 2 * * *".into(),
        timezone: "UTC".into(),
        missed: MissedPolicy::RunOnce,
        overlap: OverlapPolicy::Queue,
        request: vec![7, 8],
        title: "t".into(),
    }
}

fn keep() -> KeepSpec {
    let slices = vec![20, 300];
    KeepSpec { request: vec![7, 8], title: "t".into(), fresh_ms: 60_000, rate_pps: 5_000, slices }
}

fn new_token() -> NewToken {
    NewToken {
        token: TokenId([1; 8]),
        secret: digest(2),
        name: "n".into(),
        ttl_ms: 5_000,
        uses: 2,
        role: NodeRole::Auto,
        region: Some("eu".into()),
        networks: None,
    }
}

fn policy() -> NodePolicy {
    NodePolicy {
        role: NodeRole::Scanner,
        voting: Voting::Preferred,
        region: Some("eu".into()),
        site: Some("a".into()),
        networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        tags: Some(vec!["dmz".into()]),
        ephemeral: true,
        keeps_results: false,
    }
}

fn change() -> PolicyChange {
    PolicyChange {
        role: Some(NodeRole::Auto),
        voting: Some(Voting::Never),
        region: Some("eu".into()),
        site: None,
        networks: Some(Vec::new()),
        tags: Some(vec!["b".into()]),
        ephemeral: Some(true),
        keeps_results: None,
    }
}

fn author() -> Author {
    Author { who: "ci".into(), from: "a".into() }
}

fn rule() -> NewRule {
    let networks = vec!["203.0.113.0/24".parse().unwrap()];
    let rule = Rule::Scope(ScopeRule { networks, tokens: vec!["ci".into()], effect: ScopeEffect::Only });
    NewRule { name: "lab".into(), rule, reason: "why".into(), author: author() }
}

/// A rule of each kind that has no line of its own among the commands.
fn more_rules() -> [Command; 5] {
    let hours = Hours { zone: "UTC".into(), days: 3, from_minute: 60, until_minute: 120 };
    let exclusion = ExclusionRule { targets: vec!["10.0.0.9".into()], when: Some(When::Weekly(hours)) };
    let when = When::Once { from_ms: 1, until_ms: 2 };
    let window = WindowRule { networks: Vec::new(), when, effect: WindowEffect::Blackout };
    let budget = BudgetRule { networks: vec!["10.0.0.0/8".parse().unwrap()], rate_pps: 9 };
    let site = SiteRule { networks: vec!["10.0.0.0/8".parse().unwrap()] };
    let profile = ProfileRule { options: "{}".into() };
    [Rule::Exclusion(exclusion), Rule::Profile(profile), Rule::Window(window), Rule::Budget(budget), Rule::Site(site)]
        .map(|rule| Command::SetRule(Box::new(NewRule { rule, ..self::rule() })))
}

/// The commands of the file, in its order, which is that of [`CommandKind::ALL`].
#[expect(clippy::too_many_lines, reason = "one command after the other, and none left out")]
fn commands() -> Vec<Command> {
    let share = Share { rate_pps: Some(50), network_pps: Some(4) };
    let (token, secret) = (TokenId([1; 8]), digest(2));
    vec![
        Command::Begin { cluster: ClusterId([7; 16]), info: info(), admin_token: digest(1) },
        Command::CreateToken(new_token()),
        Command::RevokeToken { token },
        Command::Join { token, secret, info: info() },
        Command::UpdateNode { node: 1, info: info() },
        Command::SubmitJob(Box::new(submission())),
        Command::Grant { grants: vec![NewLease { unit: UNIT, end: 20, node: 1, share }] },
        Command::Complete { completions: vec![completion()] },
        Command::Release { leases: vec![LEASE] },
        Command::Expire { leases: vec![LEASE], reason: "late".into() },
        Command::WorkerSuspect { node: 1 },
        Command::Cancel { job: JOB, reason: "asked".into() },
        Command::WorkerFailed { node: 1 },
        Command::WorkerBack { node: 1 },
        Command::SetHolders { updates: vec![(UNIT, vec![1, 5])] },
        Command::RemoveNode { node: 1 },
        Command::DrainNode { node: 1, draining: true },
        Command::SetFeed { kind: "cve".into(), record: Box::new(feed()) },
        Command::RemoveFeed { kind: "cve".into() },
        Command::SetFeedHolders { digest: digest(6), holders: vec![1, 5] },
        Command::SetSpecHolders { updates: vec![(JOB, vec![1, 5])] },
        Command::CompleteWith {
            completion: Box::new(Completion { start: 15, end: 18, ..completion() }),
            remarks: Remarks { not_probed: [(0, 3), (4, 1)].into(), notes: ["note".into()].into() },
        },
        Command::DeleteJob { job: JOB },
        Command::SetSettings { settings: Box::new(settings()) },
        Command::PauseJob { job: JOB, paused: true, reason: "held".into() },
        Command::Reprioritize { job: JOB, priority: Priority::Low },
        Command::SetBackoff { updates: vec![(UNIT, 300)] },
        Command::SetAside { node: 1, until_ms: 300 },
        Command::SetNetworks { node: 1, networks: Some(vec!["10.0.0.0/8".parse().unwrap()]) },
        Command::MakeToken(Box::new(TokenGrant {
            token: TokenId([2; 8]),
            key: secret,
            name: "n".into(),
            ttl_ms: 5_000,
            uses: 2,
            policy: policy(),
            by: "ci".into(),
        })),
        Command::Admit { token: TokenId([2; 8]), info: Box::new(info()) },
        Command::SetPolicy { node: 1, change: Box::new(change()) },
        Command::NodeLeft { node: 1 },
        Command::Retire { node: 1 },
        Command::Forget { node: 1, since_ms: 5 },
        Command::AimVoters { voters: 5 },
        Command::CarryJob(Box::new(submission())),
        Command::SetOffline { peer: "f".into(), name: Some("far".into()) },
        Command::Import(Box::new(Imported {
            worker: 9,
            job: JOB,
            units: vec![ImportedUnit {
                finished: submission().finished.remove(0),
                remarks: Remarks { not_probed: [(0, 3)].into(), notes: ["note".into()].into() },
            }],
        })),
        Command::NoteBundles { worker: 9, first: 2, last: 3 },
        Command::AddSchedule { name: "nightly".into(), spec: Box::new(schedule()) },
        Command::RemoveSchedule { name: "nightly".into() },
        Command::PauseSchedule { name: "nightly".into(), paused: true },
        Command::StartOccurrence {
            schedule: "nightly".into(),
            occurrence: OCCURRENCE,
            submission: Box::new(submission()),
        },
        Command::PassOccurrence {
            schedule: "nightly".into(),
            occurrence: OCCURRENCE,
            why: PassReason::Refused { reason: "no".into() },
        },
        Command::SetRule(Box::new(rule())),
        Command::RemoveRule { kind: RuleKind::Scope, name: "lab".into(), author: author() },
        Command::SubmitAs {
            submission: Box::new(Submission { idempotency_key: None, ..submission() }),
            author: author(),
        },
        Command::HoldJob { job: JOB, hold: Some("scope".into()) },
        Command::CompleteMeasured {
            completion: Box::new(Completion { start: 18, end: 19, ..completion() }),
            remarks: Remarks::default(),
            measures: Measures { sums: [(0, 3), (7, 300)].into() },
        },
        Command::AddKeep { name: "k".into(), spec: Box::new(keep()) },
        Command::RemoveKeep { name: "k".into() },
        Command::PauseKeep { name: "k".into(), paused: true },
        Command::StartSlice { keep: "k".into(), slice: 1, submission: Box::new(submission()) },
        Command::EndSlice { keep: "k".into(), job: JOB },
        Command::RefuseSlice { keep: "k".into(), reason: "no".into() },
        Command::SetVersions { node: 1, versions: Versions { oldest: 1, newest: 2 } },
        Command::RaiseLog { version: 2 },
        Command::ArrangeAs {
            author: author(),
            arrangement: Box::new(Arrangement::Keep { name: "k".into(), spec: keep() }),
        },
        Command::MakeAccessToken(Box::new(NewAccessToken {
            name: "ci".into(),
            key: digest(9),
            role: AccessRole::Operator,
            ttl_ms: Some(5_000),
            networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
            scopes: vec!["lab".into()],
            author: author(),
        })),
        Command::RotateAccessToken { name: "ci".into(), key: digest(10), author: author() },
        Command::RevokeAccessToken { name: "ci".into(), author: author() },
        Command::NoteAudit {
            batch: 300,
            entries: vec![
                AuditEntry {
                    author: author(),
                    action: "GET /a".into(),
                    object: String::new(),
                    outcome: Outcome::Asked,
                    times: 1,
                },
                AuditEntry {
                    author: author(),
                    action: "GET /a".into(),
                    object: "name=b".into(),
                    outcome: Outcome::Answered { asked: 300, status: 200 },
                    times: 1,
                },
                AuditEntry {
                    author: Author::default(),
                    action: "GET /a".into(),
                    object: String::new(),
                    outcome: Outcome::Refused { status: 401 },
                    times: 3,
                },
            ],
        },
        Command::SetAuthority(Box::new(Authority { certificate: vec![7, 8], sealed_key: vec![9] })),
        Command::SetSigners { node: 1, keys: Some(vec!["k".into()]) },
        Command::LimitAccessToken {
            name: "ci".into(),
            limits: TokenLimits { requests_per_minute: Some(60), open_jobs: None, targets_per_day: Some(300) },
            author: author(),
        },
        Command::MoveInLog { node: 1, step: LogStep::Out { since: 300 } },
        Command::SetSessionKey(Box::new(NewSessionKey { after: 0, public: vec![7; 32], sealed: vec![9, 1] })),
        Command::Decline { leases: vec![LEASE], reason: "hours".into() },
        Command::SubmitOrdered(Box::new(OrderedJob {
            order: digest(11),
            expires_at_ms: 300,
            author: author(),
            submission: Submission { idempotency_key: None, ..submission() },
            is_carried: true,
        })),
        Command::TakeBack(3),
        Command::YieldShare { lease: LEASE, rate_pps: 300 },
        Command::SetAddresses(3, vec!["a:1".into()]),
        Command::RetireNoted(Box::new(NotedRetirement {
            node: 3,
            author: author(),
            action: "PUT /a".into(),
            asked: 300,
            batch: 301,
        })),
        Command::Recover(Box::new(Recovery {
            id: RecoveryId([7; 16]),
            node: 1,
            taken_out: vec![TakenOut { name: "m".into(), peer: "q".into(), addresses: vec!["a:1".into()] }],
        })),
    ]
}

#[test]
fn every_command_has_the_bytes_of_the_first_release() {
    let kinds: Vec<CommandKind> = commands().iter().map(Command::kind).collect();
    assert_eq!(kinds, CommandKind::ALL, "each command has its line");
    assert_eq!(COMMANDS.lines().count(), kinds.len());
    for (line, command) in COMMANDS.lines().zip(commands()) {
        let (name, golden) = line.split_once(' ').unwrap();
        let proposal = Proposal { at_ms: AT_MS, command };
        assert_eq!(name, proposal.command.name());
        assert_eq!(hex(&encode(Kind::Entry, &proposal)), golden, "{name}");
        assert_eq!(decode::<Proposal>(Kind::Entry, &bytes(golden)).unwrap(), proposal);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a row of each table, one after the other")]
fn the_rows_of_every_table_have_the_bytes_of_the_first_release() {
    let drawn = |kind| commands().into_iter().find(|command| command.kind() == kind).unwrap();
    let worked = [
        CommandKind::Begin,
        CommandKind::CreateToken,
        CommandKind::WorkerBack,
        CommandKind::SubmitJob,
        CommandKind::Grant,
        CommandKind::Complete,
        CommandKind::CompleteWith,
        CommandKind::SetFeed,
        CommandKind::SetSettings,
        CommandKind::MakeToken,
        CommandKind::AimVoters,
    ];
    let joiner = Box::new(NodeInfo { name: "m".into(), peer: "q".into(), ..info() });
    let joins = Command::Admit { token: TokenId([2; 8]), info: joiner };
    let later = [CommandKind::AddSchedule, CommandKind::PauseSchedule].map(drawn);
    let keeps = [CommandKind::AddKeep, CommandKind::PauseKeep, CommandKind::RefuseSlice].map(drawn);
    let versions = [CommandKind::SetVersions, CommandKind::RaiseLog].map(drawn);
    let of_people = [
        CommandKind::MakeAccessToken,
        CommandKind::NoteAudit,
        CommandKind::SetAuthority,
        CommandKind::SetSigners,
        CommandKind::LimitAccessToken,
        CommandKind::SetSessionKey,
        CommandKind::Recover,
    ]
    .map(drawn);
    let mut state = State::default();
    let later = [joins, drawn(CommandKind::SetOffline)].into_iter().chain(later);
    let later =
        later.chain([drawn(CommandKind::SetRule)]).chain(more_rules()).chain([drawn(CommandKind::CompleteMeasured)]);
    for (index, command) in
        (2..).zip(worked.map(drawn).into_iter().chain(later).chain(keeps).chain(versions).chain(of_people))
    {
        let response = state.apply(index, &Proposal { at_ms: AT_MS, command });
        assert!(!matches!(response, Response::Refused(_)), "{response:?}");
    }
    // What comes of a unit that failed, beside what all others left.
    state.note_retry(JOB, UnitRange { partition: 0, start: 20, end: 30 }, 1, false);
    state.set_backoff(&[(UnitKey { start: 20, ..UNIT }, 300)]);
    state.note_failure(1, "late");
    state.ends.insert((JOB, 1), WorkerEnd { worker_id: "wrk_n".into(), state: WorkerEndState::Failed });
    let outcomes = [
        RunOutcome::Started { job: JOB },
        RunOutcome::Overlapped { job: JOB },
        RunOutcome::Missed,
        RunOutcome::Refused { reason: "no".into() },
    ];
    let runs = (300..).zip(outcomes);
    let runs = runs.map(|(at_ms, outcome)| Run { occurrence: Occurrence { at_ms, ..OCCURRENCE }, at_ms: 400, outcome });
    let schedule = state.schedules.get_mut(&"nightly".to_owned()).unwrap();
    (schedule.last_job, schedule.runs) = (Some(JOB), runs.collect());
    state.authors.insert(JOB, author());
    state.job_networks.insert(JOB, vec!["10.0.0.0/8".parse().unwrap()]);
    state.token_days.insert("ci".into(), TokenDay { day: 300, targets: 9 });
    state.holds.insert(JOB, "scope".into());
    state.orders.insert(digest(11), OrderRecord { job: JOB, expires_at_ms: 300 });
    state.log_places.insert(1, LogPlace { since: 300, is_out: true });
    state.residences.insert(JOB, "eu".into());
    state.schedule_authors.insert("nightly".into(), author());
    state.keep_authors.insert("k".into(), author());
    let cluster = Cluster { former: vec![ClusterId([8; 16])], ..state.cluster() };
    state.cluster.insert(0, cluster);
    let keep = state.keeps.get_mut(&"k".to_owned()).unwrap();
    keep.running = Some((1, JOB));
    keep.slices[1] = Slice {
        seen_ms: Some(300),
        unseen: 1,
        took_ms: 400,
        hosts_up: 2,
        open_ports: 3,
        changed_ms: Some(500),
        failed_ms: Some(600),
        job: Some(JOB),
        left_out: 4,
    };
    let mut rows = Vec::new();
    state.for_each_row(|key, value| rows.push((key, value)));
    let tables: BTreeSet<u8> = rows.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(tables, State::TABLES.iter().copied().collect::<BTreeSet<_>>(), "each table has a row");
    let lines: Vec<String> = rows.iter().map(|(key, value)| format!("{} {}", hex(key), hex(value))).collect();
    assert_eq!(lines, ROWS.lines().collect::<Vec<_>>());
    let mut read = State::default();
    for (key, value) in ROWS.lines().map(|line| line.split_once(' ').unwrap()) {
        read.load_row(&bytes(key), &bytes(value)).unwrap();
    }
    assert_eq!(read, state);
}
