//! What every node consists of, alone in a process or in a mesh, and how its services are joined.

use std::sync::Arc;
use std::time::Duration;

use pentora_p2p::Mesh;
use pentora_raft::{Raft, worker_id};
use pentora_scanner::engine::{Engine, EngineConfig};
use pentora_scanner::scope::Scope;

use super::serve::StreamServices;
use crate::coordinator::{Coordinator, CoordinatorConfig, WorkSessions};
use crate::failure::{ExitCode, Failure};
use crate::feeds::FeedStore;
use crate::results::{ChunkStore, Exchange};
use crate::rpc::calls::Calls;
use crate::rpc::proposer::Proposer;
use crate::worker::{Context, Fence, Units, Worker};

/// What a running node consists of, by its handles.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) proposer: Proposer,
    pub(super) sessions: Arc<WorkSessions>,
    pub(super) exchange: Exchange,
    pub(super) worker: Worker,
    pub(super) coordinator: Coordinator,
    pub(super) scope: Arc<Scope>,
}

/// What they are made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) raft: Raft,
    pub(super) mesh: Option<Mesh>,
    pub(super) store: ChunkStore,
    pub(super) engine: Engine,
    pub(super) feeds: Option<FeedStore>,
    pub(super) coordinator: CoordinatorConfig,
}

impl Services {
    /// Joins the services of a node; nothing runs yet.
    pub(super) fn make(parts: Parts<'_>) -> Self {
        let Parts { name, raft, mesh, store, engine, feeds, coordinator } = parts;
        let calls = mesh.map(Calls::new);
        let has_mesh = calls.is_some();
        let proposer = Proposer::new(raft.clone(), calls.clone());
        let exchange = Exchange::new(raft.clone(), store, calls);
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let sessions = Arc::new(WorkSessions::new(millis(coordinator.heartbeat), millis(coordinator.grace)));
        let scope = Arc::new(Scope::default());
        let worker = Worker::new(Context {
            node: raft.node(),
            worker_id: worker_id(name),
            raft: raft.clone(),
            proposer: proposer.clone(),
            engine,
            exchange: exchange.clone(),
            scope: Arc::clone(&scope),
            fence: Fence::new(coordinator.grace),
            units: Units::default(),
            feeds,
        });
        let coordinator = Coordinator::new(raft.clone(), Arc::clone(&sessions), coordinator, has_mesh);
        Self { proposer, sessions, exchange, worker, coordinator, scope }
    }

    /// What streams are served from.
    pub(super) fn for_streams(&self, raft: &Raft) -> StreamServices {
        StreamServices {
            raft: raft.clone(),
            proposer: self.proposer.clone(),
            exchange: self.exchange.clone(),
            sessions: Arc::clone(&self.sessions),
        }
    }
}

/// Starts the best engine that this machine allows.
pub(super) fn start_engine() -> Result<Engine, Failure> {
    Engine::start(EngineConfig::default())
        .map_err(|error| Failure::new(ExitCode::Failure, "the scan engine did not start").because(error.to_string()))
}
