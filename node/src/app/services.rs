//! What every node consists of, alone in a process or in a mesh, and how its services are joined.

use std::sync::Arc;
use std::time::Duration;

use pentora_p2p::Mesh;
use pentora_raft::{Raft, worker_id};
use pentora_scanner::engine::{Engine, EngineConfig};

use super::serve::{Refusals, StreamServices, Whereabouts};
use crate::access;
use crate::api::{self, Access, Served};
use crate::coordinator::{Coordinator, CoordinatorConfig, WorkSessions};
use crate::failure::{ExitCode, Failure};
use crate::feeds::FeedStore;
use crate::gateway::Gateway;
use crate::join::Door;
use crate::keeps::Keeps;
use crate::meters::Meters;
use crate::policy::own::OwnFile;
use crate::results::{ChunkStore, Exchange};
use crate::rpc::batch::Batch;
use crate::rpc::calls::Calls;
use crate::rpc::proposer::Proposer;
use crate::schedules::Schedules;
use crate::traces::Traces;
use crate::trail::Trail;
use crate::worker::{Context, Fence, Permits, Rest, Skew, Units, Worker};

/// What a running node consists of, by its handles.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) proposer: Proposer,
    pub(super) sessions: Arc<WorkSessions>,
    pub(super) exchange: Exchange,
    pub(super) worker: Worker,
    pub(super) coordinator: Coordinator,
    pub(super) schedules: Schedules,
    pub(super) keeps: Keeps,
    pub(super) door: Door,
    /// Writes the audit log.
    pub(super) trail: Trail,
    pub(super) gateway: Gateway,
    pub(super) meters: Meters,
    pub(super) traces: Traces,
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
    /// How many nodes hold each chunk.
    pub(super) copies: usize,
    /// What this node's own file lets it scan.
    pub(super) own: OwnFile,
    /// Where its part of each job's way is told.
    pub(super) traces: Traces,
}

impl Services {
    /// Joins the services of a node; nothing runs yet.
    pub(super) fn make(parts: Parts<'_>) -> Self {
        let Parts { name, raft, mesh, store, engine, feeds, coordinator, copies, own, traces } = parts;
        let calls = mesh.clone().map(Calls::new);
        let has_mesh = calls.is_some();
        let proposer = Proposer::new(raft.clone(), calls.clone());
        let (heartbeat_ms, grace_ms) = (coordinator.settings.heartbeat_ms, coordinator.settings.grace_ms);
        let sessions = Arc::new(WorkSessions::new(heartbeat_ms, grace_ms));
        let gateway = Gateway::new(&raft, &proposer, &sessions, mesh.clone());
        let trail = Trail::new(proposer.clone());
        let door = Door::new(raft.clone(), proposer.clone(), mesh, trail.clone());
        let exchange = Exchange::new(raft.clone(), store, calls, copies);
        let meters = Meters::default();
        let worker = Worker::new(Context {
            node: raft.node(),
            worker_id: worker_id(name),
            raft: raft.clone(),
            proposer: proposer.clone(),
            batch: Batch::new(proposer.clone()),
            engine,
            exchange: exchange.clone(),
            permits: Permits::new(own),
            fence: Fence::new(Duration::from_millis(grace_ms)),
            units: Units::default(),
            rest: Rest::default(),
            instance: rand::random(),
            skew: Skew::default(),
            feeds,
            meters: meters.clone(),
            traces: traces.clone(),
        });
        let keeps = Keeps {
            raft: raft.clone(),
            proposer: proposer.clone(),
            exchange: exchange.clone(),
            settings: coordinator.settings.clone(),
        };
        let schedules = Schedules {
            raft: raft.clone(),
            proposer: proposer.clone(),
            exchange: exchange.clone(),
            settings: coordinator.settings.clone(),
        };
        let coordinator =
            Coordinator::new(raft.clone(), Arc::clone(&sessions), exchange.clone(), coordinator, has_mesh)
                .telling(traces.clone());
        Self {
            proposer,
            sessions,
            exchange,
            worker,
            coordinator,
            schedules,
            keeps,
            door,
            trail,
            gateway,
            meters,
            traces,
        }
    }

    /// What streams are served from. With `served`, requests of the API and faults to suffer are taken from members.
    pub(super) fn for_streams(
        &self,
        raft: &Raft,
        served: Option<&Served>,
        whereabouts: Option<Whereabouts>,
    ) -> StreamServices {
        StreamServices {
            raft: raft.clone(),
            door: self.door.clone(),
            exchange: self.exchange.clone(),
            sessions: Arc::clone(&self.sessions),
            gateway: self.gateway.clone(),
            api: served.map(for_others),
            faults: served.and_then(|served| served.faults.clone()),
            refusals: Refusals::default(),
            whereabouts,
            sealing: served.and_then(|served| Some((served.psk.clone()?, served.cluster))),
            judge: access::proposal,
            traces: self.traces.clone(),
        }
    }
}

/// The API for whoever comes through another node: with a token, whatever this node lets in on its own loopback.
fn for_others(served: &Served) -> axum::Router {
    api::router(Arc::new(Served { access: Access::Token, ..served.clone() }))
}

/// Starts the best engine that this machine allows.
pub(super) fn start_engine() -> Result<Engine, Failure> {
    #[cfg(test)]
    if let Some(engine) = super::growth::engine() {
        return Ok(engine);
    }
    Engine::start(EngineConfig::default())
        .map_err(|error| Failure::new(ExitCode::Failure, "the scan engine did not start").because(error.to_string()))
}
