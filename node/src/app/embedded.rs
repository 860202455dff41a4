//! The node inside `pentora scan`: the same rooms in memory, alone, without sockets but those that scan.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_raft::network::memory::Network;
use pentora_raft::state::FIRST_NODE;
use pentora_raft::store::Storage;
use pentora_raft::{ClusterId, Config, Digest, Profile, Raft};
use pentora_scanner::engine::Engine;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::services::{Parts, Services, start_engine};
use super::{begin_cluster, node_info, suspend};
use crate::api::{self, Access, Served};
use crate::client::Client;
use crate::coordinator::{CoordinatorConfig, PlanConfig};
use crate::document::{ScanAccepted, ScanRequest};
use crate::embedded::{EmbeddedNode, EmbeddedOptions, SavedUnit, Suspended};
use crate::failure::{ExitCode, Failure};
use crate::feeds::FeedStore;
use crate::results::ChunkStore;
use crate::worker::Worker;

/// How often the embedded worker beats: it is what a progress bar follows, and costs microseconds here.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Nobody else could take its units over, so its lease need not end soon.
const GRACE: Duration = Duration::from_secs(3600);
/// How often a unit is tried; here a try fails only for a reason that stays.
const ATTEMPTS_MAX: u32 = 3;
/// How long a unit of a scan with a rate takes: what Ctrl-C loses of a scan that is taken up again later.
const PACED_UNIT_SECONDS: f64 = 3.0;
/// How long its tasks may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A node inside this process.
#[derive(Debug)]
pub struct Embedded {
    note: Option<String>,
    served: Arc<Served>,
    worker: Worker,
    stop: StopHandle,
}

impl Embedded {
    /// Stops the node and removes what it kept.
    pub async fn stop(self) {
        self.stop.stop().await;
    }
}

impl EmbeddedNode for Embedded {
    fn client(&self) -> Client {
        Client::in_process(api::router(Arc::clone(&self.served)), None)
    }

    fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    async fn suspend(&self, job_id: &str) -> Result<Suspended, Failure> {
        suspend::suspend(&self.served, &self.worker, job_id).await
    }

    async fn resume(&self, request: ScanRequest, spec: Digest, units: Vec<SavedUnit>) -> Result<ScanAccepted, Failure> {
        suspend::resume(&self.served, request, spec, units).await
    }
}

/// Ends an embedded node.
#[derive(Debug)]
pub struct StopHandle {
    stop: CancellationToken,
    tasks: TaskTracker,
    raft: Raft,
}

impl StopHandle {
    /// Stops the node and removes what it kept.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::debug!("some tasks of the embedded node did not end in time");
        }
        self.raft.shutdown().await;
    }
}

/// Starts a node inside this process, without sockets.
///
/// # Errors
/// Why it could not start.
pub async fn embedded(options: EmbeddedOptions) -> Result<Embedded, Failure> {
    let EmbeddedOptions { name, feeds, rules } = options;
    let engine = start_engine()?;
    if let Some(rules) = rules {
        engine.set_rules(rules);
    }
    start_with(name, engine, feeds, Access::Open, Digest::of(&[])).await
}

/// A node in this process and what its API serves from, for tests; `admin_token` is the digest of the token that
/// [`Access::Token`] lets in.
#[cfg(test)]
pub(crate) async fn start(
    name: String,
    access: Access,
    admin_token: Digest,
) -> Result<(Arc<Served>, StopHandle), Failure> {
    let node = start_with(name, start_engine()?, None, access, admin_token).await?;
    Ok((node.served, node.stop))
}

async fn start_with(
    name: String,
    engine: Engine,
    feeds: Option<FeedStore>,
    access: Access,
    admin_token: Digest,
) -> Result<Embedded, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failure, "the embedded node did not start").because(why);
    let network = Network::default();
    let (transport, _no_peers) = network.join(FIRST_NODE);
    let config = Config { profile: Profile::Fast, ..Config::default() };
    let raft = Raft::start(FIRST_NODE, config, &Storage::Memory, transport)
        .await
        .map_err(|error| failed(error.to_string()))?;
    raft.initialize("embedded").await.map_err(|error| failed(error.to_string()))?;
    let cluster = ClusterId::default();
    begin_cluster(&raft, cluster, node_info::of_embedded(&name, &engine), admin_token).await?;
    let plan = PlanConfig { paced_unit_seconds: PACED_UNIT_SECONDS, ..PlanConfig::default() };
    let coordinator = CoordinatorConfig { heartbeat: HEARTBEAT, grace: GRACE, plan };
    let note = engine.note().map(str::to_owned);
    let parts = Parts {
        name: &name,
        raft: raft.clone(),
        mesh: None,
        store: ChunkStore::memory(),
        engine,
        feeds: feeds.clone(),
        coordinator,
    };
    let services = Services::make(parts);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let served = Arc::new(Served {
        name,
        cluster,
        psk: None,
        raft: raft.clone(),
        proposer: services.proposer,
        exchange: services.exchange,
        sessions: Arc::clone(&services.sessions),
        scope: services.scope,
        max_attempts: ATTEMPTS_MAX,
        access,
        started: Instant::now(),
        tasks: tasks.clone(),
        feeds,
        signer: None,
    });
    tasks.spawn(services.worker.clone().run(services.sessions, None, stop.clone()));
    tasks.spawn(services.coordinator.run(stop.clone()));
    Ok(Embedded { note, served, worker: services.worker, stop: StopHandle { stop, tasks, raft } })
}
