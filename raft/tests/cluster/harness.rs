//! Starts nodes, cuts them off, stops and restarts them, and waits for what should come about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use futures::future::BoxFuture;
use pentora_raft::command::{Command, NewToken, NodeInfo, NodeRole, SpecRef, Submission};
use pentora_raft::config::{Config, Profile};
use pentora_raft::network::memory::{Inbound, Network};
use pentora_raft::network::{Class, Duplex, Transport, TransportError};
use pentora_raft::state::{JobLimits, Partition, Priority};
use pentora_raft::store::Storage;
use pentora_raft::{Applied, ClusterId, Digest, JobId, NodeId, ProposeError, Raft, Response, Role, State, TokenId};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Longer than anything here takes on a busy machine; only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(30);

/// What passed over the transports of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) snapshots: AtomicUsize,
    pub(crate) largest_frame: AtomicUsize,
}

/// A transport that counts.
struct Counted {
    inner: Arc<dyn Transport>,
    traffic: Arc<Traffic>,
}

impl Transport for Counted {
    fn open(&self, target: NodeId, peer: &str, class: Class) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let opening = self.inner.open(target, peer, class);
        let traffic = Arc::clone(&self.traffic);
        Box::pin(async move {
            let Duplex { sink, source } = opening.await?;
            if class == Class::Snapshot {
                traffic.snapshots.fetch_add(1, Ordering::Relaxed);
            }
            let counted = sink.with(move |frame: Bytes| {
                traffic.largest_frame.fetch_max(frame.len(), Ordering::Relaxed);
                std::future::ready(Ok(frame))
            });
            Ok(Duplex { sink: Box::pin(counted), source })
        })
    }
}

struct Running {
    raft: Raft,
    /// Serves what others open; ends with this.
    _serving: JoinSet<()>,
}

/// Nodes 1, 2, ... in one process.
pub(crate) struct Cluster {
    pub(crate) network: Network,
    pub(crate) traffic: Arc<Traffic>,
    nodes: BTreeMap<NodeId, Running>,
    config: Config,
    /// `None` for nodes in memory.
    dir: Option<TempDir>,
}

pub(crate) enum Kept {
    OnDisk,
    InMemory,
}

impl Cluster {
    /// Starts `count` nodes that know nothing of each other.
    pub(crate) async fn start(count: u64, config: Config, kept: Kept) -> Self {
        let dir = matches!(kept, Kept::OnDisk).then(|| TempDir::new().unwrap());
        let network = Network::default();
        let mut cluster = Self { network, traffic: Arc::default(), nodes: BTreeMap::new(), config, dir };
        for node in 1..=count {
            cluster.restart(node).await;
        }
        cluster
    }

    /// Starts `count` nodes and makes the first `voters` of them vote and the others follow.
    pub(crate) async fn formed(count: u64, voters: u64, config: Config, kept: Kept) -> Self {
        let cluster = Self::start(count, config, kept).await;
        cluster.form(count, voters).await;
        cluster
    }

    /// Begins with node 1, lets `count` nodes follow and the first `voters` of them vote.
    pub(crate) async fn form(&self, count: u64, voters: u64) {
        let first = self.raft(1);
        first.initialize("peer-1").await.unwrap();
        self.until("node 1 leads and its first membership is committed", || {
            let status = self.raft(1).status();
            status.role == Role::Leader && status.applied_index >= 1
        })
        .await;
        for node in 2..=count {
            first.add_learner(node, &format!("peer-{node}")).await.unwrap();
        }
        if voters > 1 {
            first.change_voters((1..=voters).collect()).await.unwrap();
        }
        first.propose(begin()).await.unwrap();
    }

    pub(crate) fn raft(&self, node: NodeId) -> &Raft {
        &self.nodes[&node].raft
    }

    pub(crate) fn state(&self, node: NodeId) -> State {
        self.raft(node).read(State::clone)
    }

    /// Where a node on disk keeps everything.
    pub(crate) fn dir(&self, node: NodeId) -> PathBuf {
        self.dir.as_ref().unwrap().path().join(node.to_string())
    }

    pub(crate) async fn stop(&mut self, node: NodeId) {
        let running = self.nodes.remove(&node).unwrap();
        running.raft.shutdown().await;
    }

    /// Starts a node, again or for the first time.
    pub(crate) async fn restart(&mut self, node: NodeId) {
        let storage = if self.dir.is_some() { Storage::Disk(self.dir(node)) } else { Storage::Memory };
        let (inner, inbound) = self.network.join(node);
        let transport = Arc::new(Counted { inner, traffic: Arc::clone(&self.traffic) });
        let raft = Raft::start(node, self.config.clone(), &storage, transport).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(raft.clone(), inbound));
        self.nodes.insert(node, Running { raft, _serving: serving });
    }

    /// The node that leads and that most others follow, once there is one among `nodes`.
    pub(crate) async fn leader_among(&self, nodes: &[NodeId]) -> NodeId {
        let leader = || {
            let leads = |node: &&NodeId| self.raft(**node).status().role == Role::Leader;
            let leader = *nodes.iter().find(leads)?;
            let followed = nodes.iter().all(|node| self.raft(*node).status().leader == Some(leader));
            followed.then_some(leader)
        };
        self.until("one of them leads", || leader().is_some()).await;
        leader().unwrap_or_else(|| panic!("the leader was lost again"))
    }

    /// Proposes to whoever of `nodes` leads until it is applied there.
    pub(crate) async fn propose_among(&self, nodes: &[NodeId], command: &Command) -> (NodeId, Applied) {
        let begun = Instant::now();
        let mut tried = Vec::new();
        while begun.elapsed() < LIMIT {
            for node in nodes {
                match self.raft(*node).propose(command.clone()).await {
                    Ok(applied) => return (*node, applied),
                    Err(error) => tried.push(error),
                }
            }
            self.raft(nodes[0]).status_changed(Duration::from_millis(5)).await;
        }
        panic!("no node took it: {:?}", tried.last());
    }

    /// Waits until all of `nodes` have applied all of the log of the first, and compares their states.
    pub(crate) async fn all_alike(&self, nodes: &[NodeId]) {
        let last = self.raft(nodes[0]).status().last_index;
        for node in nodes {
            let reached = self.raft(*node).wait_applied(last, LIMIT).await;
            assert!(reached, "node {node} has not applied {last}: {:?}", self.raft(*node).status());
        }
        let states: Vec<State> = nodes.iter().map(|node| self.state(*node)).collect();
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "states differ");
        pentora_raft::invariant::check(&states[0], last).unwrap();
    }

    /// Waits until `holds`.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let statuses: Vec<_> = self.nodes.values().map(|node| node.raft.status()).collect();
            assert!(begun.elapsed() < LIMIT, "not so after {LIMIT:?}: {what}; {statuses:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn serve(raft: Raft, mut inbound: mpsc::Receiver<Inbound>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            opened = inbound.recv() => {
                let Some(Inbound { class, duplex, .. }) = opened else { return };
                let raft = raft.clone();
                streams.spawn(async move { raft.serve(class, duplex, None).await });
            }
            // A stream that ends badly is the business of whoever opened it.
            Some(_ended) = streams.join_next() => {}
        }
    }
}

pub(crate) fn lan() -> Config {
    Config { profile: Profile::Lan, ..Config::default() }
}

pub(crate) fn node_info(name: &str) -> NodeInfo {
    NodeInfo { name: name.into(), peer: format!("peer-{name}"), ..NodeInfo::default() }
}

/// Begins the cluster, with its first node.
pub(crate) fn begin() -> Command {
    Command::Begin { cluster: ClusterId([1; 16]), info: node_info("n1"), admin_token: Digest::of(b"a") }
}

/// A write that is known by its number.
pub(crate) fn write(number: u64) -> Command {
    Command::CreateToken(NewToken {
        token: TokenId(number.to_le_bytes()),
        secret: Digest::of(b"secret"),
        name: "n".into(),
        ttl_ms: 3_600_000,
        uses: 1,
        role: NodeRole::Auto,
        region: None,
        networks: None,
    })
}

pub(crate) fn was_written(state: &State, number: u64) -> bool {
    state.tokens().any(|(token, _)| token == TokenId(number.to_le_bytes()))
}

/// A job with an inline spec of so many bytes.
pub(crate) fn job(number: u64, spec_bytes: usize) -> Command {
    Command::SubmitJob(Box::new(Submission {
        spec: SpecRef::Inline(vec![number.to_le_bytes()[0]; spec_bytes]),
        partitions: vec![Partition { target_count: 10, ..Partition::default() }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 3, ..JobLimits::default() },
        via: 1,
        idempotency_key: Some(Digest::of(&number.to_le_bytes())),
        title: format!("job {number}"),
        finished: Vec::new(),
    }))
}

pub(crate) fn job_id(response: &Response) -> JobId {
    match response {
        Response::Submitted { job, .. } => *job,
        other => panic!("not submitted: {other:?}"),
    }
}

pub(crate) fn set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

/// Whether an error says that this node does not lead or reaches no quorum.
pub(crate) fn is_no_quorum(error: &ProposeError) -> bool {
    matches!(error, ProposeError::NotLeader { .. } | ProposeError::TimedOut { .. })
}
