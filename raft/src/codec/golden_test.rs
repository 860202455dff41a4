//! The bytes of every command and of every table's rows, as they are in the logs and stores of the release that brought each.
//!
//! `commands.hex` holds an entry of each command, `rows.hex` a key and a row a line: those of the state that some of the
//! commands lead to. Both were made field by field from the layout, not by this program.

use std::collections::BTreeSet;

use super::{Kind, decode, encode};
use crate::command::{
    Command, Completion, Finished, LeaseRef, NewLease, NewToken, NodeInfo, NodeRole, Proposal, Response, SpecRef,
    StoredChunk, Submission, UnitKey, UnitRange,
};
use crate::id::{ClusterId, Digest, JobId, TokenId};
use crate::state::{CommandKind, Counts, FeedRecord, JobLimits, Needs, Partition, Priority, Remarks, Share, State};

const COMMANDS: &str = include_str!("commands.hex");
const ROWS: &str = include_str!("rows.hex");
const AT_MS: u64 = 1_700_000_000_123;
const JOB: JobId = JobId(5);
const UNIT: UnitKey = UnitKey { job: JOB, partition: 0, start: 10 };
const LEASE: LeaseRef = LeaseRef { unit: UNIT, epoch: 6 };

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

/// The commands of the file, in its order, which is that of [`CommandKind::ALL`].
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
    ];
    let mut state = State::default();
    for (index, kind) in (2..).zip(worked) {
        let response = state.apply(index, &Proposal { at_ms: AT_MS, command: drawn(kind) });
        assert!(!matches!(response, Response::Refused(_)), "{response:?}");
    }
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
