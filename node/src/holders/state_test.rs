//! A replicated state with nodes and finished jobs, for the tests of what is done with their chunks.

use pentora_raft::command::{
    Command, Finished, NewToken, NodeInfo, NodeRole, Proposal, SpecRef, StoredChunk, Submission, UnitRange,
};
use pentora_raft::state::{Counts, FeedRecord, JobLimits, Partition, Priority};
use pentora_raft::{ClusterId, Digest, JobId, NodeId, Response, State, TokenId};

/// A state, and the index and time of its last entry.
pub(super) struct Log {
    pub(super) state: State,
    index: u64,
    pub(super) at_ms: u64,
}

impl Log {
    /// A cluster of one node, 1, that works.
    pub(super) fn begun() -> Self {
        let mut log = Self { state: State::default(), index: 0, at_ms: 1_000 };
        let admin_token = Digest::of(b"admin");
        log.apply(Command::Begin { cluster: ClusterId([1; 16]), info: info("n0", None, NodeRole::Auto), admin_token });
        log.apply(Command::WorkerBack { node: 1 });
        log
    }

    pub(super) fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let response = self.state.apply(self.index, &Proposal { at_ms: self.at_ms, command });
        assert!(!matches!(response, Response::Refused(_)), "{response:?}");
        response
    }

    /// Admits a node, which works from then on.
    pub(super) fn join(&mut self, region: Option<&str>, role: NodeRole) -> NodeId {
        let (number, secret) = (self.index.to_le_bytes(), Digest::of(b"secret"));
        let token = TokenId(number);
        let new =
            NewToken { token, secret, name: String::new(), ttl_ms: 1_000, uses: 1, role, region: None, networks: None };
        self.apply(Command::CreateToken(new));
        let info = info(&format!("n{}", self.index), region, role);
        let Response::Joined { node } = self.apply(Command::Join { token, secret, info }) else { panic!("not joined") };
        self.apply(Command::WorkerBack { node });
        node
    }

    /// A finished job with a chunk for each of `chunks`: its bytes, and who holds it.
    pub(super) fn job(&mut self, chunks: &[(&[u8], &[NodeId])]) -> JobId {
        let finished = (0u64..).zip(chunks).map(|(start, (bytes, holders))| Finished {
            unit: UnitRange { partition: 0, start, end: start + 1 },
            stored: StoredChunk { digest: Digest::of(bytes), bytes: bytes.len() as u64, holders: holders.to_vec() },
            counts: Counts::default(),
        });
        let submission = Submission {
            spec: SpecRef::Inline(Vec::new()),
            partitions: vec![Partition { target_count: chunks.len() as u64, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: finished.collect(),
        };
        self.submit(submission)
    }

    /// A job that waits, whose spec is a chunk.
    pub(super) fn job_with_spec(&mut self, spec: &[u8], holders: &[NodeId]) -> JobId {
        self.submit(Submission {
            spec: SpecRef::Chunk { digest: Digest::of(spec), holders: holders.to_vec() },
            partitions: vec![Partition { target_count: 1, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        })
    }

    pub(super) fn feed(&mut self, bytes: &[u8], holders: &[NodeId]) {
        let record = FeedRecord {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
            records: 1,
            source: String::new(),
            holders: holders.to_vec(),
            signer: String::new(),
            signature: Vec::new(),
            imported_at_ms: 0,
        };
        self.apply(Command::SetFeed { kind: "cve".into(), record: Box::new(record) });
    }

    fn submit(&mut self, submission: Submission) -> JobId {
        match self.apply(Command::SubmitJob(Box::new(submission))) {
            Response::Submitted { job, .. } => job,
            other => panic!("{other:?}"),
        }
    }
}

fn info(name: &str, region: Option<&str>, role: NodeRole) -> NodeInfo {
    NodeInfo { name: name.into(), peer: name.into(), region: region.map(str::to_owned), role, ..NodeInfo::default() }
}
