//! Starts and stops a node: joins its rooms by their handles.
//!
//! Order of starting: the signals, the data directory, then both listeners (so that a port in use is told before anything runs),
//! then the cluster (begin, join or resume), then consensus, and last the tasks that use it; `standing` has that up to the tasks. Order of stopping: the worker
//! hands back what is unfinished, a leader hands over, then the API, consensus and the mesh end.

mod addresses;
mod another;
mod api_tls;
mod begin;
mod certifier;
mod embedded;
mod ending;
#[cfg(test)]
mod growth;
mod log_version;
mod membership_sync;
mod node_info;
mod own_addresses;
mod recover;
mod register;
mod reload;
mod reminder;
mod removed;
mod restore;
mod rivals;
mod routes;
mod serve;
mod services;
mod settings;
mod signers;
#[cfg(test)]
mod simulation;
mod standalone;
mod standing;
mod suspend;
mod telling;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_p2p::{Incoming, Mesh, MeshConfig};
use pentora_raft::Raft;
use pentora_raft::command::{Command, NodeInfo};
use pentora_raft::handle::Viewer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use addresses::Seeker;
use another::becomes_another;
use api_tls::OwnCertificate;
use certifier::Certifier;
#[cfg(test)]
pub(crate) use embedded::start as start_embedded;
pub use embedded::{Embedded, StopHandle, embedded};
pub use ending::Asked;
use ending::{hand_over, say_goodbye, until_broken, until_end, vital};
use own_addresses::{Advertised, OwnAddresses};
pub use recover::Stopped;
use serve::Whereabouts;
use services::{Parts, Services, start_engine};
use standing::{Stood, stand};

use crate::api::{self, Access, Departure, Served};
use crate::config::{ApiAuth, NodeConfig, StartAction, StartPlan};
use crate::coordinator::CoordinatorConfig;
use crate::coordinator::plan::UNIT_SECONDS;
use crate::data_dir::{DataDir, DataDirError, NodeIdentity};
use crate::drill::{self, Faults};
use crate::durable_file;
use crate::failure::{ExitCode, Failure};
use crate::feeds::FeedStore;
use crate::feeds::follow::follow;
use crate::holders::Holders;
use crate::malloc;
use crate::member_address::MemberAddress;
use crate::outside::Outside;
use crate::policy::own::OwnFile;
use crate::results::{COPIES, ChunkStore};
use crate::rpc::proposer::Proposer;
use crate::sign_in::SignIn;
use crate::traces::Line;

/// How long requests in flight may take to end when the node stops.
const API_STOP_WITHIN: Duration = Duration::from_secs(3);

/// How a process that is no failure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// In order, with what the node had begun.
    InOrder,
    /// Before the node was up: it had begun nothing that is to be waited for.
    Early,
}

/// Runs a node until it is `asked` to end.
///
/// # Errors
/// Why it could not start, or what ended it.
pub async fn run(mut plan: StartPlan, mut asked: Asked) -> Result<Ended, Failure> {
    if matches!(plan.action, StartAction::Standalone) {
        return standalone::run(plan, &mut asked).await.map(|()| Ended::InOrder);
    }
    if asked.unless(drill::stay_down()).await.is_none() {
        return Ok(Ended::Early);
    }
    let data_dir = Arc::new(DataDir::open(&plan.config.data_dir)?);
    let rules = node_info::own_rules(&plan.config.worker);
    let file = OwnFile::new(rules.map_err(|error| Failure::new(ExitCode::Config, error))?);
    let advertised = Advertised::new(plan.config.mesh.advertise.clone());
    let sign_in = SignIn::default();
    sign_in
        .take(plan.config.api.oidc.provider())
        .map_err(|why| Failure::new(ExitCode::Config, "the keys of server.api.oidc cannot be used").because(why))?;
    let certificate = OwnCertificate::of(&plan.config.api)?;
    let (tasks, reading) = (TaskTracker::new(), CancellationToken::new());
    let _until_the_end = reading.clone().drop_guard();
    if let Some(hang_ups) = asked.take_hang_ups() {
        let (read_from, shown) = (plan.read_from.clone(), certificate.clone());
        let kept = (file.clone(), advertised.clone());
        tasks.spawn(reload::keep(hang_ups, read_from, kept, sign_in.clone(), shown, reading));
    }
    let kept = ((&file, &advertised), &sign_in, certificate.as_ref());
    // A node that the cluster makes another kind begins anew as that, in the same process; what its own file said last holds on.
    loop {
        let Some(stood) = stand(&plan, &data_dir, kept, &mut asked).await? else {
            return Ok(Ended::Early);
        };
        let Stood { node, incoming, admitted_at, viewer } = stood;
        // It is in its cluster, and there the next time: how it came in it needs no more, nor a secret that lets others in.
        plan.action = StartAction::Resume;
        malloc::leave_what_is_freed();
        if node.run(incoming, admitted_at, viewer, &mut asked).await? == End::Done {
            return Ok(Ended::InOrder);
        }
    }
}

/// How a node's run ends, where it ends well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// For good.
    Done,
    /// It goes on as another kind of node.
    AsAnother,
}

/// A node that is in its cluster and about to run.
struct Node {
    data_dir: Arc<DataDir>,
    config: NodeConfig,
    /// What it allows itself, as its file was read last.
    file: OwnFile,
    /// Where it says that others reach it, as its file was read last.
    advertised: Advertised,
    /// By whose word it lets people in.
    sign_in: SignIn,
    identity: NodeIdentity,
    mesh: Mesh,
    raft: Raft,
    api: TcpListener,
    /// What the API shows; none where it is plain HTTP.
    certificate: Option<OwnCertificate>,
    /// The way to whoever collects traces.
    line: Option<Line>,
}

impl Node {
    /// Runs to an end, of its own or because it is `asked`; with a `viewer`, outside the log.
    #[expect(clippy::too_many_lines, reason = "the order in which the rooms start and end, in one place")]
    async fn run(
        self,
        incoming: Incoming,
        admitted_at: Option<u64>,
        viewer: Option<Viewer>,
        asked: &mut Asked,
    ) -> Result<End, Failure> {
        let (store, feeds) = self.stores()?;
        let coordinator = CoordinatorConfig { settings: settings::of(&self.config), paced_unit_seconds: UNIT_SECONDS };
        let engine = start_engine()?;
        match engine.note() {
            Some(note) => tracing::warn!("{note}"),
            None => tracing::info!("scanning with raw packets"),
        }
        let engines = node_info::engines_of(&engine);
        let (traces, exporter) = telling::begin(self.line.clone(), &self.identity);
        let parts = Parts {
            name: &self.identity.name,
            raft: self.raft.clone(),
            mesh: Some(self.mesh.clone()),
            store,
            engine: engine.clone(),
            feeds: Some(feeds.clone()),
            coordinator,
            copies: usize::try_from(self.config.results.copies).unwrap_or(COPIES),
            own: self.file.clone(),
            traces,
        };
        let services = Services::make(parts);
        let tasks = TaskTracker::new();
        let (leaving, stop) = (CancellationToken::new(), CancellationToken::new());
        if let Some(exporter) = exporter {
            tasks.spawn(exporter.run(stop.clone()));
        }
        let departure = Departure::default();
        let served = self.served(&services, feeds.clone(), &tasks, departure.clone())?;
        let place = Arc::new(tokio::sync::Notify::new());
        tasks.spawn(another::notice_place(
            removed::noticed(
                self.raft.clone(),
                self.mesh.clone(),
                self.identity.members.clone(),
                self.data_dir.inside_since(),
            ),
            departure.clone(),
            Arc::clone(&place),
            stop.clone(),
        ));
        self.announce();
        let own = NodeInfo { engines, ..node_info::of(&self.config, &self.mesh, &self.identity.name) };
        let seeker = self.seeker(&own);
        let whereabouts =
            Whereabouts { mesh: self.mesh.clone(), hints: Arc::clone(&seeker.hints), own: seeker.own.clone() };
        let for_streams = services.for_streams(&self.raft, Some(&served), Some(whereabouts));
        let (broken, mut broke) = watch::channel(None);
        let work = services.worker.run(services.sessions, Some(self.mesh.clone()), leaving.clone());
        let worker = tasks.spawn(vital("the worker", work, broken.clone()));
        tasks.spawn(vital(
            "the mesh's streams",
            serve::streams(incoming, for_streams, tasks.clone(), stop.clone()),
            broken.clone(),
        ));
        tasks.spawn(rivals::keep(self.raft.clone(), self.mesh.clone(), services.door.rivals(), stop.clone()));
        tasks.spawn(services.meters.clone().watch_leaders(self.raft.clone(), stop.clone()));
        let is_outside = viewer.is_some();
        tasks.spawn(self.sign_in.clone().keep(stop.clone()));
        self.keep_membership(&services.proposer, own, (seeker, viewer), &tasks, &stop);
        let (found, mut other_version) = watch::channel(None);
        tasks.spawn(follow(
            (self.raft.clone(), services.exchange.clone()),
            feeds,
            engine,
            self.file.clone(),
            stop.clone(),
        ));
        if !is_outside {
            tasks.spawn(log_version::keep(self.raft.clone(), services.proposer.clone(), found, stop.clone()));
            #[cfg(feature = "next-version")]
            tasks.spawn(log_version::rehearse(self.raft.clone(), services.proposer.clone(), stop.clone()));
            tasks.spawn(vital("the coordinator", services.coordinator.run(stop.clone()), broken.clone()));
            tasks.spawn(vital("the schedules", services.schedules.keep(stop.clone()), broken.clone()));
            tasks.spawn(vital("the standing scans", services.keeps.keep(stop.clone()), broken.clone()));
            tasks.spawn(vital("the gateway", services.gateway.run(stop.clone()), broken.clone()));
            let holders = Holders {
                raft: self.raft.clone(),
                exchange: services.exchange,
                proposer: services.proposer.clone(),
                config: settings::holders(&self.config.results),
            };
            tasks.spawn(vital("the holders of results", holders.keep(stop.clone()), broken.clone()));
        }
        if let Some(trail) = served.trail.clone().filter(|_| !is_outside) {
            tasks.spawn(trail.keep(stop.clone()));
        }
        tasks.spawn(self.certifier(&services.proposer)?.keep(stop.clone()));
        let tls = self.certificate.map(|certificate| certificate.shown().acceptor());
        let serving = api::serve(self.api, api::router(served), tls, api::Bounds::default(), stop.clone());
        tasks.spawn(vital("the API", serving, broken.clone()));
        if let Some(index) = admitted_at {
            let how =
                if is_outside { "outside the log, through gateways" } else { "following the log from the leader" };
            tracing::info!(index, "admitted; {how}");
        }
        let ended = tokio::select! {
            ended = until_end(asked, &self.raft, &departure, &mut other_version, &self.identity.name) => ended.map(|()| End::Done),
            failure = until_broken(&mut broke) => Err(failure),
            () = becomes_another(&self.raft, &services.proposer, &self.data_dir, &self.config, &place) => Ok(End::AsAnother),
        };
        leaving.cancel();
        if let Err(error) = worker.await {
            tracing::warn!(%error, "the worker ended badly");
        }
        if !departure.is_removed() && !matches!(ended, Ok(End::AsAnother)) {
            say_goodbye(&services.proposer, &self.raft).await;
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

    /// Has log and mesh told of each other: who the members are, and where and what this node is.
    fn keep_membership(
        &self,
        proposer: &Proposer,
        own: NodeInfo,
        (seeker, viewer): (Seeker, Option<Viewer>),
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let (raft, mesh, known) = (self.raft.clone(), self.mesh.clone(), self.identity.members.clone());
        match viewer {
            None => {
                let hints = Arc::clone(&seeker.hints);
                tasks.spawn(membership_sync::keep_members(raft, mesh, known, hints, stop.clone()));
            }
            Some(viewer) => {
                let outside = Outside { raft, viewer, mesh, known, whereabouts: seeker.hints.clone() };
                let (data_dir, identity) = (Arc::clone(&self.data_dir), self.identity.clone());
                let remember = move |members: Vec<MemberAddress>| {
                    let (data_dir, now) = (Arc::clone(&data_dir), NodeIdentity { members, ..identity.clone() });
                    async move {
                        if let Err(error) = data_dir.beside(move |data_dir| data_dir.save_identity(&now)).await {
                            tracing::warn!(%error, "the members are not noted for the next start");
                        }
                    }
                };
                let stop = stop.clone();
                tasks.spawn(async move { outside.keep(remember, stop).await });
            }
        }
        let (raft, mesh) = (self.raft.clone(), self.mesh.clone());
        let (advertised, at) = (self.advertised.clone(), seeker.own.clone());
        let watch = own_addresses::Watch { raft, proposer: proposer.clone(), mesh, advertised, own: at };
        tasks.spawn(watch.keep(stop.clone()));
        tasks.spawn(seeker.run(stop.clone()));
        tasks.spawn(membership_sync::keep_own(
            self.raft.clone(),
            proposer.clone(),
            own,
            Arc::clone(&self.data_dir),
            self.identity.clone(),
            stop.clone(),
        ));
        let reach = (self.config.worker.network_access.clone(), self.file.clone());
        tasks.spawn(routes::keep(self.raft.clone(), proposer.clone(), reach, stop.clone()));
        tasks.spawn(signers::keep(self.raft.clone(), proposer.clone(), self.file.clone(), stop.clone()));
    }

    /// What keeps the API's certificate, and makes the authority where the cluster has none.
    fn certifier(&self, proposer: &Proposer) -> Result<Certifier, Failure> {
        let shown = self.certificate.as_ref().filter(|certificate| certificate.is_of_cluster());
        Ok(Certifier {
            raft: self.raft.clone(),
            proposer: proposer.clone(),
            data_dir: Arc::clone(&self.data_dir),
            name: self.identity.name.clone(),
            cluster: self.identity.cluster,
            psk: self.data_dir.pre_shared_key()?,
            api: self.config.api.clone(),
            advertise: self.advertised.clone(),
            shown: shown.map(|certificate| certificate.shown().clone()),
        })
    }

    /// What this node keeps beside the log: chunks, and feeds.
    fn stores(&self) -> Result<(ChunkStore, FeedStore), Failure> {
        let unusable = |error: std::io::Error| {
            Failure::new(ExitCode::Failure, "the chunk directory cannot be used").because(error.to_string())
        };
        let floor = self.config.results.free_space_floor.0;
        if self.raft.is_outside() {
            let chunks = ChunkStore::open_spool(&another::spool(&self.data_dir)?, floor).map_err(unusable)?;
            return Ok((chunks, FeedStore::lazy(&self.data_dir.feed_dir())));
        }
        let chunks = ChunkStore::open(&self.data_dir.chunk_dir(), floor).map_err(unusable)?;
        let feeds = FeedStore::open(&self.data_dir.feed_dir());
        Ok((chunks, feeds.map_err(|error| Failure::new(ExitCode::Failure, error.to_string()))?))
    }

    fn served(
        &self,
        services: &Services,
        feeds: FeedStore,
        tasks: &TaskTracker,
        departure: Departure,
    ) -> Result<Arc<Served>, Failure> {
        let failed = |error: DataDirError| Failure::new(ExitCode::Failure, error.to_string());
        let (psk, key) = (self.data_dir.pre_shared_key().map_err(failed)?, self.data_dir.key().map_err(failed)?);
        Ok(Arc::new(Served {
            name: self.identity.name.clone(),
            cluster: self.identity.cluster,
            hosts: self.config.api.hosts(&self.identity.name, &self.config.mesh.advertise),
            psk,
            raft: self.raft.clone(),
            mesh: Some(self.mesh.clone()),
            proposer: services.proposer.clone(),
            exchange: services.exchange.clone(),
            sessions: Arc::clone(&services.sessions),
            settings: settings::of(&self.config),
            access: if self.config.api.auth == ApiAuth::None { Access::Open } else { Access::Token },
            token_rate: self.config.api.requests_per_minute,
            started: Instant::now(),
            tasks: tasks.clone(),
            feeds: Some(feeds),
            signer: Some(key),
            departure,
            rivals: services.door.rivals(),
            auto_register: self.config.workers.auto_register,
            sign_in: self.sign_in.clone(),
            trail: Some(services.trail.clone()),
            spool: Some(self.spool()?),
            faults: Some(Faults::new(self.mesh.clone(), self.raft.clone(), tasks.clone())),
            meters: services.meters.clone(),
            traces: services.traces.clone(),
        }))
    }

    /// Where bundles lie while they come in and go out; what an earlier process left there is removed.
    fn spool(&self) -> Result<api::Spool, Failure> {
        let directory = self.data_dir.handed_in_dir();
        if directory.exists() {
            durable_file::remove_half_written(&directory)
                .map_err(|error| Failure::new(ExitCode::Failure, format!("{}: {error}", directory.display())))?;
        }
        Ok(api::Spool::new(directory, self.config.results.free_space_floor.0))
    }

    /// What finds members, and has this node be found.
    fn seeker(&self, own: &NodeInfo) -> Seeker {
        Seeker {
            raft: self.raft.clone(),
            mesh: self.mesh.clone(),
            hints: Arc::default(),
            peers: self.config.mesh.peers.iter().filter_map(|peer| peer.parse().ok()).collect(),
            own: OwnAddresses::new(MemberAddress { peer: own.peer.clone(), addresses: own.addresses.clone() }),
        }
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
            api = format!("{}://{api}", if self.certificate.is_some() { "https" } else { "http" }),
            profile = settings::profile(self.config.mesh.profile).name(),
            "node runs"
        );
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
