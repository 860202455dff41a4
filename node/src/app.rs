//! Starts and stops a node: joins its rooms by their handles.
//!
//! Order of starting: the data directory, then both listeners (so that a port in use is told before anything runs), then
//! the cluster (begin, join or resume), then consensus, and last the tasks that use it. Order of stopping: the worker
//! hands back what is unfinished, a leader hands over, then the API, consensus and the mesh end.

mod begin;
mod embedded;
mod holders;
mod membership_sync;
mod node_info;
mod serve;
mod services;
mod suspend;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_p2p::{Incoming, Mesh, MeshConfig};
use pentora_raft::command::{Command, NodeInfo};
use pentora_raft::store::Storage;
use pentora_raft::{Profile, Raft, Role};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use begin::Entered;
#[cfg(test)]
pub(crate) use embedded::start as start_embedded;
pub use embedded::{Embedded, StopHandle, embedded};
use holders::Holders;
use services::{Parts, Services, start_engine};

use crate::api::{self, Access, Served};
use crate::config::{ApiAuth, NodeConfig, StartPlan, Strategy, TimingProfile};
use crate::coordinator::plan::Preference;
use crate::coordinator::{CoordinatorConfig, PlanConfig};
use crate::data_dir::{DataDir, DataDirError, NodeIdentity};
use crate::failure::{ExitCode, Failure};
use crate::feeds::FeedStore;
use crate::feeds::follow::follow;
use crate::raft_transport::MeshTransport;
use crate::results::ChunkStore;
use crate::rpc::proposer::Proposer;

/// How long requests in flight may take to end when the node stops.
const API_STOP_WITHIN: Duration = Duration::from_secs(3);
/// How long a leader that stops waits for another to take over.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// Runs a node until a signal ends it.
///
/// # Errors
/// Why it could not start, or what ended it.
pub async fn run(plan: StartPlan) -> Result<(), Failure> {
    let data_dir = DataDir::open(&plan.config.data_dir).map_err(|error| {
        Failure::new(ExitCode::Failure, error.to_string()).next("stop the other process, or name another --data-dir")
    })?;
    let config = plan.config.clone();
    let resumed = begin::existing(&data_dir, &plan)?;
    let api = TcpListener::bind(config.api.listen).await.map_err(|error| {
        Failure::new(ExitCode::Failure, format!("the API cannot listen on {}", config.api.listen))
            .because(error.to_string())
            .next("name another address: --api-listen ADDRESS, or end what uses this one")
    })?;
    let Entered { mesh, incoming, identity, admitted_at } = begin::enter(&data_dir, &plan, &config, resumed).await?;
    let raft = start_raft(&data_dir, &config, &identity, &mesh).await?;
    begin::ensure_begun(&data_dir, &config, &identity, &mesh, &raft).await?;
    plan.remember().map_err(|error| {
        Failure::new(ExitCode::Failure, "the data directory does not take this node's settings")
            .because(error.to_string())
    })?;
    let node = Node { data_dir: Arc::new(data_dir), config, identity, mesh, raft, api };
    node.run(incoming, admitted_at).await
}

async fn start_raft(
    data_dir: &DataDir,
    config: &NodeConfig,
    identity: &NodeIdentity,
    mesh: &Mesh,
) -> Result<Raft, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failure, "consensus did not start").because(why);
    let raft_config = pentora_raft::Config { profile: profile(config.mesh.profile), ..pentora_raft::Config::default() };
    let storage = Storage::Disk(data_dir.store_dir());
    let raft = Raft::start(identity.node, raft_config, &storage, MeshTransport::new(mesh.clone()))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let begun = raft.is_initialized().await.map_err(|error| failed(error.to_string()))?;
    if identity.store_begun && !begun {
        return Err(Failure::new(ExitCode::Failure, format!("node {} has lost its store", identity.name))
            .because(format!(
                "{} says that node {} lives here, but its log is empty; a node that forgot its votes could vote twice",
                data_dir.path().join("node.id").display(),
                identity.node
            ))
            .next("move this data directory away and join again with a new token, under a new node id"));
    }
    Ok(raft)
}

/// A node that is in its cluster and about to run.
struct Node {
    data_dir: Arc<DataDir>,
    config: NodeConfig,
    identity: NodeIdentity,
    mesh: Mesh,
    raft: Raft,
    api: TcpListener,
}

impl Node {
    async fn run(self, incoming: Incoming, admitted_at: Option<u64>) -> Result<(), Failure> {
        let (store, feeds) = self.stores()?;
        let coordinator = coordinator_config(&self.config);
        let engine = start_engine()?;
        match engine.note() {
            Some(note) => tracing::warn!("{note}"),
            None => tracing::info!("scanning with raw packets"),
        }
        let engines = node_info::engines_of(&engine);
        let parts = Parts {
            name: &self.identity.name,
            raft: self.raft.clone(),
            mesh: Some(self.mesh.clone()),
            store,
            engine: engine.clone(),
            feeds: Some(feeds.clone()),
            coordinator,
        };
        let services = Services::make(parts);
        let tasks = TaskTracker::new();
        let (leaving, stop) = (CancellationToken::new(), CancellationToken::new());
        let served = self.served(&services, feeds.clone(), &tasks)?;
        self.announce();
        let for_streams = services.for_streams(&self.raft);
        let worker = tasks.spawn(services.worker.run(services.sessions, Some(self.mesh.clone()), leaving.clone()));
        tasks.spawn(services.coordinator.run(stop.clone()));
        tasks.spawn(serve::streams(incoming, for_streams, tasks.clone(), stop.clone()));
        tasks.spawn(membership_sync::keep_members(
            self.raft.clone(),
            self.mesh.clone(),
            self.identity.members.clone(),
            stop.clone(),
        ));
        let own = NodeInfo { engines, ..node_info::of(&self.config, &self.mesh, &self.identity.name) };
        tasks.spawn(membership_sync::keep_own(
            self.raft.clone(),
            services.proposer.clone(),
            own,
            Arc::clone(&self.data_dir),
            self.identity.clone(),
            stop.clone(),
        ));
        tasks.spawn(follow(self.raft.clone(), services.exchange.clone(), feeds, engine, stop.clone()));
        let holders =
            Holders { raft: self.raft.clone(), exchange: services.exchange, proposer: services.proposer.clone() };
        tasks.spawn(holders.keep(stop.clone()));
        tasks.spawn(api::serve(self.api, api::router(served), api::Bounds::default(), stop.clone()));
        if let Some(index) = admitted_at {
            tracing::info!(index, "admitted; following the log from the leader");
        }
        let ended = until_end(&self.raft).await;
        leaving.cancel();
        if let Err(error) = worker.await {
            tracing::warn!(%error, "the worker ended badly");
        }
        hand_over(&self.raft).await;
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(API_STOP_WITHIN, tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        self.raft.shutdown().await;
        self.mesh.shutdown().await;
        ended
    }

    /// What this node keeps beside the log: chunks, and feeds.
    fn stores(&self) -> Result<(ChunkStore, FeedStore), Failure> {
        let chunks = ChunkStore::open(&self.data_dir.chunk_dir()).map_err(|error| {
            Failure::new(ExitCode::Failure, "the chunk directory cannot be used").because(error.to_string())
        })?;
        let feeds = FeedStore::open(&self.data_dir.feed_dir());
        Ok((chunks, feeds.map_err(|error| Failure::new(ExitCode::Failure, error.to_string()))?))
    }

    fn served(&self, services: &Services, feeds: FeedStore, tasks: &TaskTracker) -> Result<Arc<Served>, Failure> {
        let failed = |error: DataDirError| Failure::new(ExitCode::Failure, error.to_string());
        let (psk, key) = (self.data_dir.pre_shared_key().map_err(failed)?, self.data_dir.key().map_err(failed)?);
        Ok(Arc::new(Served {
            name: self.identity.name.clone(),
            cluster: self.identity.cluster,
            psk,
            raft: self.raft.clone(),
            proposer: services.proposer.clone(),
            exchange: services.exchange.clone(),
            sessions: Arc::clone(&services.sessions),
            scope: Arc::clone(&services.scope),
            max_attempts: self.config.coordinator.max_attempts,
            access: if self.config.api.auth == ApiAuth::None { Access::Open } else { Access::Token },
            started: Instant::now(),
            tasks: tasks.clone(),
            feeds: Some(feeds),
            signer: Some(key),
        }))
    }

    fn announce(&self) {
        let api =
            self.api.local_addr().map_or_else(|_| self.config.api.listen.to_string(), |address| address.to_string());
        let mesh: Vec<String> = self.mesh.listen_addrs().iter().map(ToString::to_string).collect();
        tracing::info!(
            node = self.identity.node,
            name = self.identity.name,
            cluster = %self.identity.cluster,
            peer = %self.mesh.peer_id(),
            mesh = mesh.join(","),
            api = format!("http://{api}"),
            profile = profile(self.config.mesh.profile).name(),
            "node runs"
        );
    }
}

/// Waits for a signal, or for consensus to stop, which only a restart heals.
async fn until_end(raft: &Raft) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| {
        Failure::new(ExitCode::Failure, "signals cannot be received").because(error.to_string())
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                tracing::info!("asked to stop");
                return Ok(());
            }
            _ = interrupt.recv() => {
                tracing::info!("interrupted");
                return Ok(());
            }
            () = raft.status_changed(Duration::from_secs(1)) => {
                if let Some(reason) = raft.status().stopped {
                    return Err(Failure::new(ExitCode::Failure, "consensus has stopped on this node")
                        .because(reason)
                        .next("look at the disk, then start the node again; a supervisor does that by itself"));
                }
            }
        }
    }
}

/// A leader that stops hands over first, which is a thousand times quicker than an election after silence.
async fn hand_over(raft: &Raft) {
    let status = raft.status();
    if status.role != Role::Leader {
        return;
    }
    let Some(to) = status
        .voters
        .iter()
        .copied()
        .filter(|voter| *voter != status.node)
        .max_by_key(|voter| status.matched.get(voter))
    else {
        return;
    };
    if let Err(error) = raft.transfer_leader(to).await {
        tracing::warn!(to, %error, "leadership was not handed over");
        return;
    }
    let end = Instant::now() + HAND_OVER_WITHIN;
    while raft.status().leader != Some(to) && Instant::now() < end {
        raft.status_changed(Duration::from_millis(20)).await;
    }
    tracing::info!(to, done = raft.status().leader == Some(to), "leadership handed over");
}

fn profile(profile: TimingProfile) -> Profile {
    match profile {
        TimingProfile::Lan => Profile::Lan,
        TimingProfile::Wan => Profile::Wan,
        TimingProfile::Fast => Profile::Fast,
    }
}

fn coordinator_config(config: &NodeConfig) -> CoordinatorConfig {
    let preference = match config.coordinator.strategy {
        Strategy::RoundRobin => Preference::RoundRobin,
        Strategy::LeastLoaded => Preference::LeastLoaded,
        Strategy::TagAffinity => Preference::TagAffinity,
    };
    CoordinatorConfig {
        heartbeat: config.workers.heartbeat_interval,
        grace: config.coordinator.grace_period,
        plan: PlanConfig { preference, ..PlanConfig::default() },
    }
}

/// Starts the mesh on the configured address.
pub(crate) fn mesh_config(
    data_dir: &DataDir,
    config: &NodeConfig,
    psk: pentora_p2p::PreSharedKey,
    cluster: pentora_raft::ClusterId,
) -> Result<MeshConfig, Failure> {
    let key = data_dir.key().map_err(|error| Failure::new(ExitCode::Failure, error.to_string()))?;
    let mut mesh = MeshConfig::new(key, psk, pentora_p2p::ClusterId::from_bytes(cluster.0));
    mesh.listen = vec![config.mesh.listen];
    Ok(mesh)
}

/// Puts this node's first entry into a new cluster.
pub(crate) async fn begin_cluster(
    raft: &Raft,
    cluster: pentora_raft::ClusterId,
    info: pentora_raft::command::NodeInfo,
    admin_token: pentora_raft::Digest,
) -> Result<(), Failure> {
    let proposer = Proposer::new(raft.clone(), None);
    match proposer.propose(Command::Begin { cluster, info, admin_token }).await {
        Ok(_) | Err(crate::rpc::proposer::Unavailable::Refused(pentora_raft::Refusal::BegunAlready)) => Ok(()),
        Err(error) => Err(Failure::new(ExitCode::Failure, "the new cluster did not begin").because(error.to_string())),
    }
}
