//! Two nodes over a mesh in memory: admission, removal, malformed frames, chunks and who repairs them, proposals.

use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::memory::Network;
use pentora_p2p::{Identity, Mesh, MeshConfig, PeerAddress, PreSharedKey};
use pentora_raft::Digest;
use pentora_raft::clock::WallClock;
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::{Command, NodeInfo, NodePolicy, NodeRole, SpecRef, StoredChunk, Submission, TokenGrant};
use pentora_raft::state::{FIRST_NODE, FeedRecord, JobLimits, Needs, Partition, Priority, Settings};
use pentora_raft::store::Storage;
use pentora_raft::{ClusterId, Config, NodeId, Profile, TokenId};

use super::*;
use crate::app::services::{Parts, Services, start_engine};
use crate::app::{begin_cluster, membership_sync};
use crate::coordinator::CoordinatorConfig;
use crate::coordinator::plan::UNIT_SECONDS;
use crate::holders::{Holders, HoldersConfig, Retention};
use crate::join::token::JoinToken;
use crate::join::{self, JoinError};
use crate::member_address::MemberAddress;
use crate::policy::own::OwnFile;
use crate::raft_transport::MeshTransport;
use crate::results::ChunkStore;
use crate::rpc::proposer::{Proposer, Unavailable};

#[path = "membership_test.rs"]
mod membership;
#[path = "signed_test.rs"]
mod signed;
#[path = "versions_test.rs"]
mod versions;

const CLUSTER: ClusterId = ClusterId([9; 16]);

/// Nodes in this process over a mesh in memory.
pub(super) struct TestCluster {
    network: Network,
    psk: PreSharedKey,
}

/// One of them.
pub(super) struct TestNode {
    pub(super) mesh: Mesh,
    pub(super) raft: Raft,
    proposer: Proposer,
    pub(super) exchange: Exchange,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TestCluster {
    pub(super) fn new() -> Self {
        Self { network: Network::new(3), psk: PreSharedKey::generate() }
    }

    pub(super) fn mesh(&self, host: u8) -> (Mesh, Incoming) {
        let cluster = pentora_p2p::ClusterId::from_bytes(CLUSTER.0);
        let mut config = MeshConfig::new(Identity::generate(), self.psk.clone(), cluster);
        config.listen = vec![([10, 0, 0, host], 7400).into()];
        self.network.start(config).unwrap()
    }

    pub(super) async fn first(&self) -> TestNode {
        self.first_with(WallClock::default(), ChunkStore::memory()).await
    }

    /// The same, with a clock and a place for chunks of its own.
    async fn first_with(&self, wall: WallClock, store: ChunkStore) -> TestNode {
        let (mesh, incoming) = self.mesh(1);
        let node = TestNode::open_with(FIRST_NODE, mesh, incoming, Vec::new(), (OwnFile::default(), wall, store)).await;
        node.raft.initialize(&node.mesh.peer_id().to_string()).await.unwrap();
        begin_cluster(&node.raft, CLUSTER, said("first", &node.mesh), Digest::of(b"admin")).await.unwrap();
        node
    }

    /// A second node that joined through the first and follows its log.
    async fn second(&self, first: &TestNode) -> TestNode {
        self.second_with(first, OwnFile::default()).await
    }

    /// The same, with a file of its own.
    async fn second_with(&self, first: &TestNode, own: OwnFile) -> TestNode {
        let token = self.token(first, 1).await;
        let (mesh, incoming) = self.mesh(2);
        let admission = join::request_admission(&mesh, first_address(), &token, said("second", &mesh)).await.unwrap();
        assert!(!admission.is_outside);
        let welcome = admission.welcome;
        assert_eq!(welcome.cluster, CLUSTER);
        mesh.set_members(membership_sync::members(&welcome.members, &std::collections::BTreeSet::new()));
        let node = TestNode::open_with(
            welcome.node,
            mesh,
            incoming,
            welcome.members,
            (own, WallClock::default(), ChunkStore::memory()),
        )
        .await;
        assert!(node.raft.wait_applied(welcome.index, Duration::from_secs(20)).await, "the log did not come");
        node
    }

    async fn token(&self, node: &TestNode, uses: u32) -> JoinToken {
        self.token_of(node, uses, NodeRole::Auto).await
    }

    pub(super) async fn token_of(&self, node: &TestNode, uses: u32, role: NodeRole) -> JoinToken {
        let token = JoinToken::generate(CLUSTER, &self.psk);
        let (key, policy) = (token.key(), NodePolicy { role, ..NodePolicy::default() });
        let (name, by) = ("t".into(), String::new());
        let grant = TokenGrant { token: token.id, key, name, ttl_ms: 60_000, uses, policy, by };
        node.proposer.propose(Command::MakeToken(Box::new(grant))).await.unwrap();
        token
    }
}

impl TestNode {
    async fn open(node: NodeId, mesh: Mesh, incoming: Incoming, members: Vec<MemberAddress>) -> Self {
        Self::open_with(node, mesh, incoming, members, (OwnFile::default(), WallClock::default(), ChunkStore::memory()))
            .await
    }

    async fn open_with(
        node: NodeId,
        mesh: Mesh,
        incoming: Incoming,
        members: Vec<MemberAddress>,
        (own, wall, store): (OwnFile, WallClock, ChunkStore),
    ) -> Self {
        let config = Config { profile: Profile::Fast, wall, ..Config::default() };
        let raft = Raft::start(node, config, &Storage::Memory, MeshTransport::new(mesh.clone())).await.unwrap();
        let coordinator = CoordinatorConfig {
            settings: Settings { heartbeat_ms: 100, grace_ms: 60_000, ..Settings::default() },
            paced_unit_seconds: UNIT_SECONDS,
        };
        let name = &node.to_string();
        let parts = Parts {
            name,
            raft: raft.clone(),
            mesh: Some(mesh.clone()),
            store,
            engine: start_engine().unwrap(),
            feeds: None,
            coordinator,
            copies: 2,
            own,
            traces: Traces::default(),
        };
        let services = Services::make(parts);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (proposer, exchange) = (services.proposer.clone(), services.exchange.clone());
        let for_streams = services.for_streams(&raft, None, None);
        tasks.spawn(streams(incoming, for_streams, tasks.clone(), stop.clone()));
        tasks.spawn(services.coordinator.run(stop.clone()));
        tasks.spawn(services.gateway.run(stop.clone()));
        tasks.spawn(services.worker.run(services.sessions, Some(mesh.clone()), stop.clone()));
        tasks.spawn(membership_sync::keep_members(
            raft.clone(),
            mesh.clone(),
            members,
            std::sync::Arc::default(),
            stop.clone(),
        ));
        Self { mesh, raft, proposer, exchange, stop, tasks }
    }

    fn holders(&self) -> Holders {
        let (raft, exchange, proposer) = (self.raft.clone(), self.exchange.clone(), self.proposer.clone());
        let (grace, scrub_interval) = (Duration::from_secs(4), Duration::from_secs(3600));
        let config = HoldersConfig { grace, scrub_interval, retention: Retention::default() };
        Holders { raft, exchange, proposer, config }
    }

    /// Waits until this node, which leads, has heard another: from then on that one holds copies for others.
    async fn until_heard(&self, node: NodeId) {
        let is_heard = |state: &pentora_raft::State| {
            state.node(node).is_some_and(|node| node.status != pentora_raft::state::NodeStatus::Joining)
        };
        for _ in 0..200 {
            if self.raft.read(is_heard) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("node {node} is not heard");
    }

    pub(super) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        assert!(tokio::time::timeout(Duration::from_secs(10), self.tasks.wait()).await.is_ok(), "tasks do not end");
        self.raft.shutdown().await;
        self.mesh.shutdown().await;
    }
}

pub(super) fn first_address() -> PeerAddress {
    "10.0.0.1:7400".parse().unwrap()
}

pub(super) fn said(name: &str, mesh: &Mesh) -> NodeInfo {
    NodeInfo {
        name: name.into(),
        peer: mesh.peer_id().to_string(),
        addresses: mesh.listen_addrs().iter().map(ToString::to_string).collect(),
        version: "test".into(),
        max_concurrent_scans: 1,
        max_targets_per_scan: 1,
        ..NodeInfo::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_admitted_by_its_token_once_and_told_why_it_is_not() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let token = cluster.token(&first, 1).await;
    let (mesh, _incoming) = cluster.mesh(5);
    let refusal = async |token: &JoinToken, name: &str, mesh: &Mesh| match join::request_admission(
        mesh,
        first_address(),
        token,
        said(name, mesh),
    )
    .await
    {
        Err(JoinError::Refused { code, message }) => (code, message),
        other => panic!("{other:?}"),
    };
    let unknown = JoinToken::generate(CLUSTER, &cluster.psk);
    assert_eq!(refusal(&unknown, "x", &mesh).await.0, "token_unknown");
    assert_eq!(refusal(&token, "first", &mesh).await.0, "name_taken");
    let welcome = join::request_admission(&mesh, first_address(), &token, said("x", &mesh)).await.unwrap();
    let again = join::request_admission(&mesh, first_address(), &token, said("x", &mesh)).await;
    assert!(
        again.is_ok_and(|again| again.welcome.node == welcome.welcome.node),
        "a crash before its answer was kept loses no token"
    );
    let (other, _incoming) = cluster.mesh(6);
    let (code, message) = refusal(&token, "y", &other).await;
    assert!(message.contains("used"), "{code}: {message}");
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_an_unknown_version_cut_short_or_of_another_kind_end_their_stream_and_nothing_else() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let token = cluster.token(&first, 1).await;
    let (mesh, _incoming) = cluster.mesh(5);
    let peer = mesh.dial(first_address(), None).await.unwrap();
    let good = codec::encode(Kind::WorkFrame, &7u64);
    for frame in [vec![], vec![1], vec![9, 8, 1, 2, 3], vec![1, 8, 0xff, 0xff, 0xff], good, vec![0; 60_000]] {
        let mut stream = mesh.open(peer, Class::Join).await.unwrap();
        stream.send(Bytes::from(frame.clone())).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), stream.receive()).await.expect("an end");
        assert!(!matches!(answer, Ok(Some(_))), "{:?} was answered", frame.get(..8.min(frame.len())));
    }
    for class in [Class::Work, Class::Admin, Class::Chunk, Class::RaftControl] {
        let refused = match mesh.open(peer, class).await {
            Err(_refused) => true,
            Ok(mut stream) => {
                drop(stream.send(Bytes::from_static(&[1, 8])).await);
                !matches!(tokio::time::timeout(Duration::from_secs(5), stream.receive()).await, Ok(Ok(Some(_))))
            }
        };
        assert!(refused, "{class} is not for strangers");
    }
    assert!(
        join::request_admission(&mesh, first_address(), &token, said("x", &mesh)).await.is_ok(),
        "the node still answers"
    );
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_durable_on_two_nodes_and_read_from_either() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let second = cluster.second(&first).await;
    let node = second.raft.node();
    first.until_heard(node).await;
    let bytes = Bytes::from(vec![5; 600_000]);
    let digest = Digest::of(&bytes);
    let mut stored = first.exchange.make_durable(bytes.clone()).await;
    stored.holders.sort_unstable();
    assert_eq!(stored, StoredChunk { digest, bytes: 600_000, holders: vec![FIRST_NODE, node] });
    assert_eq!(second.exchange.store().get(digest).await.unwrap(), Some(bytes.clone()));

    let only_there = Bytes::from_static(b"only with the first");
    let name = Digest::of(&only_there);
    first.exchange.store().put(name, only_there.clone()).await.unwrap();
    assert_eq!(second.exchange.fetch(name, &[FIRST_NODE]).await.unwrap(), only_there);
    let lost = second.exchange.fetch(Digest::of(b"nobody"), &[FIRST_NODE, node]).await.unwrap_err();
    let tried = [(node, "it is not here".to_owned()), (FIRST_NODE, "it has lost it".to_owned())];
    assert_eq!(lost.tried, tried, "{lost}");
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_chunks_of_many_units_at_once_are_on_two_nodes_each() {
    let (cluster, directory) = (TestCluster::new(), tempfile::tempdir().unwrap());
    let first = cluster.first_with(WallClock::default(), ChunkStore::open(directory.path(), 0).unwrap()).await;
    let second = cluster.second(&first).await;
    let node = second.raft.node();
    first.until_heard(node).await;
    let chunks: Vec<Bytes> = (0..200).map(|number| Bytes::from(format!("results of unit {number}"))).collect();
    let begun = Instant::now();
    for mut stored in
        futures::future::join_all(chunks.iter().map(|bytes| first.exchange.make_durable(bytes.clone()))).await
    {
        stored.holders.sort_unstable();
        assert_eq!(stored.holders, [FIRST_NODE, node]);
    }
    let took = begun.elapsed();
    for bytes in &chunks {
        assert_eq!(second.exchange.store().get(Digest::of(bytes)).await.unwrap().as_ref(), Some(bytes));
    }
    assert!(took < Duration::from_secs(10), "far more than a few streams may be open at once: {took:?}");
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_damaged_where_it_should_be_is_said_to_be_so_and_is_short_of_a_holder() {
    let (cluster, directory) = (TestCluster::new(), tempfile::tempdir().unwrap());
    let first = cluster.first_with(WallClock::default(), ChunkStore::open(directory.path(), 0).unwrap()).await;
    let second = cluster.second(&first).await;
    let bytes = Bytes::from_static(b"a bundle");
    let digest = Digest::of(&bytes);
    first.exchange.store().put(digest, bytes).await.unwrap();
    let record = FeedRecord {
        digest,
        bytes: 8,
        records: 1,
        source: String::new(),
        holders: vec![FIRST_NODE],
        signer: String::new(),
        signature: Vec::new(),
        imported_at_ms: 0,
    };
    first.proposer.propose(Command::SetFeed { kind: "cve".into(), record: Box::new(record) }).await.unwrap();
    std::fs::write(directory.path().join(digest.to_string()), b"a bumble").unwrap();
    let fetched = second.exchange.fetch(digest, &[FIRST_NODE]).await.unwrap_err();
    let damaged = format!("chunk {digest} is damaged: its bytes have another digest");
    assert_eq!(fetched.tried, [(FIRST_NODE, damaged)]);
    first.tasks.spawn(first.holders().keep(first.stop.clone()));
    let told = "damaged or missing on first, and no other holder gave it";
    for _ in 0..400 {
        if first.exchange.short().contains_key(told) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(first.exchange.short().get(told), Some(&1), "{:?}", first.exchange.short());
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_lost_a_holder_is_copied_to_another_which_keeps_it_and_the_log_is_told() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let second = cluster.second(&first).await;
    let node = second.raft.node();
    first.until_heard(node).await;
    let bytes = Bytes::from_static(b"many targets");
    let digest = Digest::of(&bytes);
    first.exchange.store().put(digest, bytes.clone()).await.unwrap();
    let needs = Needs { region: Some("nowhere".into()), ..Needs::default() };
    let submission = Submission {
        spec: SpecRef::Chunk { digest, holders: vec![FIRST_NODE, 999] },
        partitions: vec![Partition { target_count: 5, needs }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
        via: FIRST_NODE,
        idempotency_key: None,
        title: "many targets".into(),
        finished: Vec::new(),
    };
    let submitted = first.proposer.propose(Command::SubmitJob(Box::new(submission))).await.unwrap().response;
    let pentora_raft::Response::Submitted { job, .. } = submitted else { panic!("{submitted:?}") };
    for node in [&second, &first] {
        node.tasks.spawn(node.holders().keep(node.stop.clone()));
    }
    let wanted = Some(SpecRef::Chunk { digest, holders: vec![FIRST_NODE, 999, node] });
    for _ in 0..200 {
        if first.raft.read(|state| state.spec(job).cloned()) == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(first.raft.read(|state| state.spec(job).cloned()), wanted);
    assert_eq!(second.exchange.store().get(digest).await.unwrap(), Some(bytes.clone()));
    second.exchange.store().remove(vec![digest]).await.unwrap();
    for _ in 0..200 {
        if second.exchange.store().get(digest).await.unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(second.exchange.store().get(digest).await.unwrap(), Some(bytes), "what it lost it fetches again");
    // Members are asked what they lack once all of them know the question.
    first.proposer.propose(Command::RaiseLog { version: pentora_raft::version::SECOND }).await.unwrap();
    for node in [&second, &first] {
        node.exchange.store().remove(vec![digest]).await.unwrap();
    }
    let lost = || first.exchange.short().into_keys().find(|why| why.contains("damaged or missing"));
    let told = "damaged or missing on first, second, and no other holder gave it";
    for _ in 0..600 {
        if lost().as_deref() == Some(told) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(lost().as_deref(), Some(told), "what all have lost is short of a holder: {:?}", first.exchange.short());
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_proposed_on_a_follower_is_applied_or_refused_as_on_the_leader() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let second = cluster.second(&first).await;
    let cancel = |reason: String| Command::Cancel { job: pentora_raft::JobId(999), reason };
    for proposer in [&first.proposer, &second.proposer] {
        let refused = proposer.propose(cancel("x".into())).await.unwrap_err();
        assert!(matches!(refused, Unavailable::Refused(pentora_raft::Refusal::JobUnknown { .. })), "{refused:?}");
        let large = proposer.propose(cancel("x".repeat(400_000))).await.unwrap_err();
        assert!(matches!(large, Unavailable::Refused(pentora_raft::Refusal::Malformed { .. })), "{large:?}");
    }
    let revoked = TokenId([4; 8]);
    let refused = second.proposer.propose(Command::RevokeToken { token: revoked }).await.unwrap_err();
    assert!(matches!(refused, Unavailable::Refused(pentora_raft::Refusal::TokenUnknown)), "{refused:?}");
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_command_is_refused_within_two_seconds() {
    let cluster = TestCluster::new();
    let (mesh, incoming) = cluster.mesh(1);
    // A node whose log is empty follows nobody and has nobody to ask.
    let alone = TestNode::open(5, mesh, incoming, Vec::new()).await;
    let began = std::time::Instant::now();
    let lost = alone.proposer.propose(Command::RevokeToken { token: TokenId([4; 8]) }).await.unwrap_err();
    assert!(matches!(lost, Unavailable::QuorumLost { .. }), "{lost:?}");
    assert!(matches!(alone.proposer.leader().await, Err(Unavailable::QuorumLost { .. })));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    alone.close().await;
}
