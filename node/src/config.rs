//! A node's configuration: one typed [`NodeConfig`] out of flags, environment, one YAML file and defaults.
//!
//! The way through: `yaml` reads the file into a tree that remembers positions, `layers` puts flags over environment
//! over file over defaults and knows where each value came from, `build` turns texts into types and checks relations
//! between keys. Everything wrong is reported at once, each with its place. What flags and environment said is written
//! down in the data directory (`remember`), so that a node starts again by its data directory alone. The whole module is pure: the file's text,
//! the environment and the host's facts are arguments, so `config check` can never bind or dial anything.
//!
//! A new key is a row in `keys`, a field here with the line that fills it, and whoever reads the field. The compiler holds
//! the three together: a typed row that nothing reads and a field without a reader are errors. For that, fields are `pub(crate)`,
//! and the settings derive nothing that reads all of them, such as `PartialEq`.
//!
//! A node's file holds what concerns that node. Policy of the whole cluster (scopes, exclusions, windows, budgets) is
//! not in here: it lives in the replicated log.

mod address;
mod api;
mod build;
mod client;
mod duration;
mod expand;
mod file;
mod issue;
mod keys;
mod kind;
mod layers;
mod reload;
mod remember;
mod secret;
mod show;
mod size;
mod start;
mod suggest;
mod telemetry;
mod words;
mod yaml;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use self::build::Values;
use self::words::words;

pub use address::{DEFAULT_MESH_PORT, peer_address};
pub use api::{ApiAuth, ApiSettings, ApiTls, OidcSettings};
pub use build::{Loaded, Purpose, Sources, load};
pub use client::ClientSettings;
pub use duration::parse_duration;
pub use file::{ConfigText, Host, find_file};
pub use issue::{ConfigError, ConfigIssue, Origin, Position};
pub use keys::{Effect, KEYS, Key, env_name};
pub use kind::Kind;
pub use layers::{FlagValue, Raw};
pub use reload::{ReadFrom, Reloaded, reload};
pub use remember::{API_FILE, REMEMBERED_FILE, remembered};
pub use secret::Secret;
pub use show::{schema, show};
pub use size::Size;
pub use start::{StartAction, StartPlan};
pub use telemetry::TelemetrySettings;

/// Everything a node is told before it starts. Every value is checked.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What people call this node; unique in the cluster.
    pub(crate) name: String,
    /// Whether somebody said so; the host's name is only a guess.
    pub(crate) is_named: bool,
    /// Where identity, log, state and chunks are kept.
    pub(crate) data_dir: PathBuf,
    /// Create a new cluster when `data_dir` holds no node yet.
    pub(crate) init: bool,
    /// Whether this node may become a voter.
    pub(crate) mode: NodeMode,
    /// The peer-to-peer side.
    pub(crate) mesh: MeshSettings,
    /// The HTTP side.
    pub(crate) api: ApiSettings,
    /// This node as a scanner.
    pub(crate) worker: WorkerSettings,
    /// What this node asks of workers while it leads.
    pub(crate) workers: WorkersSettings,
    /// What this node does while it leads.
    pub(crate) coordinator: CoordinatorSettings,
    /// How results are kept.
    pub(crate) results: ResultsSettings,
    /// What a standalone worker does with its results.
    pub(crate) sync: SyncSettings,
    /// What a cluster is told when it begins.
    pub(crate) cluster: ClusterSettings,
    /// Where the command line on this machine finds a cluster.
    pub(crate) client: ClientSettings,
    /// Who is told what this node does.
    pub(crate) telemetry: TelemetrySettings,
}

impl NodeConfig {
    fn read(values: &Values<'_>) -> Self {
        Self {
            name: values.get(keys::NODE_NAME),
            is_named: values.is_set(keys::NODE_NAME),
            data_dir: values.get(keys::NODE_DATA_DIR),
            init: values.get(keys::NODE_INIT),
            mode: values.get(keys::SERVER_MODE),
            mesh: MeshSettings::read(values),
            api: ApiSettings::read(values),
            worker: WorkerSettings::read(values),
            workers: WorkersSettings::read(values),
            coordinator: CoordinatorSettings::read(values),
            results: ResultsSettings::read(values),
            sync: SyncSettings::read(values),
            cluster: ClusterSettings { voters: values.get(keys::CLUSTER_VOTERS) },
            client: ClientSettings::read(values),
            telemetry: TelemetrySettings::read(values),
        }
    }
}

words! {
    /// `server.mode`: what a node may become.
    NodeMode,
    /// Scans, and may be made a voter.
    Coordinator = "coordinator",
    /// Scans only; never votes.
    Worker = "worker",
}

/// `mesh.*`.
#[derive(Debug, Clone)]
pub struct MeshSettings {
    /// Address the mesh listens on; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// `host:port` under which other nodes reach this one; empty means the listening addresses.
    pub(crate) advertise: Vec<String>,
    /// Raft's timers.
    pub(crate) profile: TimingProfile,
    /// `host:port` of nodes to join through, in order of preference: `mesh.peers`, then `worker.coordinator`. At every
    /// start they are also where members are looked for while no leader is known.
    pub(crate) peers: Vec<String>,
    /// File with the mesh's pre-shared key, instead of one generated at `--init` or carried by the join token.
    pub(crate) psk_file: Option<PathBuf>,
}

impl MeshSettings {
    fn read(values: &Values<'_>) -> Self {
        let coordinators = values.get(keys::WORKER_COORDINATOR).into_iter();
        let coordinators = coordinators.filter_map(|address| peer_address(&address).ok());
        Self {
            listen: values.get(keys::MESH_LISTEN),
            advertise: values.get(keys::MESH_ADVERTISE),
            profile: values.get(keys::MESH_PROFILE),
            peers: values.get(keys::MESH_PEERS).into_iter().chain(coordinators).collect(),
            psk_file: values.get(keys::MESH_PSK_FILE),
        }
    }
}

words! {
    /// `mesh.profile`: how quickly a silent leader is replaced, against how much delay is tolerated.
    TimingProfile,
    /// One site: heartbeat 150 ms.
    Lan = "lan",
    /// Several sites: heartbeat 500 ms.
    Wan = "wan",
    /// One rack or one machine: heartbeat 50 ms.
    Fast = "fast",
}

/// `worker.*`.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Join token, from `worker.token` or the environment. Whoever joins by it takes it from here.
    pub(crate) token: Option<Secret>,
    /// File holding the join token.
    pub(crate) token_file: Option<PathBuf>,
    /// Region label.
    pub(crate) region: Option<String>,
    /// Tags that jobs may prefer or require.
    pub(crate) tags: Vec<String>,
    /// Which networks this node can reach.
    pub(crate) network_access: NetworkAccess,
    /// Which networks it may send to, whatever the cluster allows.
    pub(crate) scope: NetworkAccess,
    /// Which targets it never sends to.
    pub(crate) exclude: Vec<String>,
    /// When it may scan.
    pub(crate) windows: Vec<String>,
    /// When it may not.
    pub(crate) blackouts: Vec<String>,
    /// Whether it begins work of signed orders alone.
    pub(crate) require_signed_orders: bool,
    /// Whose.
    pub(crate) trusted_keys: Vec<String>,
    /// Leases it holds at once at most.
    pub(crate) max_concurrent_scans: u32,
    /// Targets in one unit at most.
    pub(crate) max_targets_per_scan: u64,
    /// API addresses to register at, before it joins.
    pub(crate) registrars: Vec<String>,
    /// Whether it works from signed bundles, without a mesh: `worker.mode: standalone` or `worker.offline: true`.
    pub(crate) standalone: bool,
    /// Where a standalone worker's orders are.
    pub(crate) local_queue: Option<PathBuf>,
    /// Where its results are.
    pub(crate) local_results: Option<PathBuf>,
}

impl WorkerSettings {
    fn read(values: &Values<'_>) -> Self {
        Self {
            token: values.get(keys::WORKER_TOKEN),
            token_file: values.get(keys::WORKER_TOKEN_FILE),
            region: values.get(keys::WORKER_REGION),
            tags: values.get(keys::WORKER_TAGS),
            network_access: values.get(keys::NETWORK_ACCESS),
            scope: values.get(keys::WORKER_SCOPE),
            exclude: values.get(keys::WORKER_EXCLUDE),
            windows: values.get(keys::WORKER_WINDOWS),
            blackouts: values.get(keys::WORKER_BLACKOUTS),
            require_signed_orders: values.get(keys::REQUIRE_SIGNED_ORDERS),
            trusted_keys: values.get(keys::TRUSTED_KEYS),
            max_concurrent_scans: values.get(keys::MAX_CONCURRENT_SCANS),
            max_targets_per_scan: values.get(keys::MAX_TARGETS_PER_SCAN),
            registrars: values
                .get(keys::WORKER_COORDINATOR)
                .into_iter()
                .filter(|address| address.contains("://"))
                .collect(),
            standalone: values.get(keys::WORKER_OFFLINE),
            local_queue: values.get(keys::LOCAL_QUEUE),
            local_results: values.get(keys::LOCAL_RESULTS),
        }
    }
}

words! {
    /// `worker.mode`.
    WorkerMode,
    /// Part of a mesh.
    Cluster = "cluster",
    /// Without one: orders come and results go as bundles on a medium.
    Standalone = "standalone",
}

/// `sync.*`.
#[derive(Debug, Clone)]
pub struct SyncSettings {
    /// How often a bundle of new results is written.
    pub(crate) export_interval: Duration,
    /// Where.
    pub(crate) export_path: Option<PathBuf>,
    /// Whether something must be mounted there.
    pub(crate) require_mount: bool,
    /// Whether bundles are encrypted to the cluster's key.
    pub(crate) encrypt: bool,
}

impl SyncSettings {
    fn read(values: &Values<'_>) -> Self {
        Self {
            export_interval: values.get(keys::EXPORT_INTERVAL),
            export_path: values.get(keys::EXPORT_PATH),
            require_mount: values.get(keys::REQUIRE_MOUNT),
            encrypt: values.get(keys::ENCRYPT_BUNDLES),
        }
    }
}

/// `worker.network_access` and `worker.scope`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkAccess {
    /// What the routes reach; what the cluster allows.
    Auto,
    /// Exactly these.
    Networks(Vec<IpNet>),
}

/// `workers.*`.
#[derive(Debug, Clone)]
pub struct WorkersSettings {
    /// How often a worker reports.
    pub(crate) heartbeat_interval: Duration,
    /// Whether a worker registers with its join token alone.
    pub(crate) auto_register: bool,
}

impl WorkersSettings {
    fn read(values: &Values<'_>) -> Self {
        Self {
            heartbeat_interval: values.get(keys::HEARTBEAT_INTERVAL),
            auto_register: values.get(keys::AUTO_REGISTER),
        }
    }
}

/// `coordinator.*`.
#[derive(Debug, Clone)]
pub struct CoordinatorSettings {
    /// Which of several eligible workers is preferred.
    pub(crate) strategy: Strategy,
    /// How many jobs may wait before those of normal and low priority are turned away.
    pub(crate) max_queue_depth: u32,
    /// Share of its capacity above which a worker gets urgent work only.
    pub(crate) worker_max_load: f64,
    /// How often a unit is tried before it is given up.
    pub(crate) max_attempts: u32,
    /// How long it rests between two tries.
    pub(crate) backoff: RetryPause,
    /// How long one try may take.
    pub(crate) attempt_timeout: Duration,
    /// What happens to the units of a failed worker.
    pub(crate) failure_action: FailedUnits,
    /// Silence after which a worker counts as failed.
    pub(crate) grace_period: Duration,
}

impl CoordinatorSettings {
    fn read(values: &Values<'_>) -> Self {
        Self {
            strategy: values.get(keys::STRATEGY),
            max_queue_depth: values.get(keys::MAX_QUEUE_DEPTH),
            worker_max_load: values.get(keys::WORKER_MAX_LOAD),
            max_attempts: values.get(keys::MAX_ATTEMPTS),
            backoff: values.get(keys::BACKOFF),
            attempt_timeout: values.get(keys::ATTEMPT_TIMEOUT),
            failure_action: values.get(keys::FAILURE_ACTION),
            grace_period: values.get(keys::GRACE_PERIOD),
        }
    }
}

words! {
    /// `coordinator.load_balancing.strategy`.
    Strategy,
    /// One after the other.
    RoundRobin = "round_robin",
    /// The one with the most room.
    LeastLoaded = "least_loaded",
    /// The one with most of the job's preferred tags.
    TagAffinity = "tag_affinity",
}

/// `results.*`.
#[derive(Debug, Clone)]
pub struct ResultsSettings {
    /// How many nodes hold each chunk.
    pub(crate) copies: u32,
    /// Free space below which this node takes no more chunks.
    pub(crate) free_space_floor: Size,
    /// How long a copy stays that is no longer needed.
    pub(crate) grace: Duration,
    /// How often every chunk is read again.
    pub(crate) scrub_interval: Duration,
    /// How long ended jobs are kept.
    pub(crate) max_age: Option<Duration>,
    /// How many ended jobs are kept.
    pub(crate) max_jobs: Option<u64>,
    /// Bytes of results that are kept of ended jobs.
    pub(crate) max_bytes: Option<Size>,
}

impl ResultsSettings {
    fn read(values: &Values<'_>) -> Self {
        Self {
            copies: values.get(keys::RESULTS_COPIES),
            free_space_floor: values.get(keys::RESULTS_FLOOR),
            grace: values.get(keys::RESULTS_GRACE),
            scrub_interval: values.get(keys::RESULTS_SCRUB),
            max_age: values.get(keys::RETENTION_AGE),
            max_jobs: values.get(keys::RETENTION_JOBS),
            max_bytes: values.get(keys::RETENTION_BYTES),
        }
    }
}

/// `cluster.*`: read when a cluster begins, and kept by it from then on.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// How many voters it aims at.
    pub(crate) voters: VoterCount,
}

words! {
    /// `cluster.voters`.
    VoterCount,
    /// Survives the loss of one.
    Three = "3",
    /// Survives the loss of two.
    Five = "5",
    /// Survives the loss of three.
    Seven = "7",
}

impl VoterCount {
    /// As a number.
    pub(crate) fn count(self) -> u32 {
        match self {
            Self::Three => 3,
            Self::Five => 5,
            Self::Seven => 7,
        }
    }
}

words! {
    /// `coordinator.job_retry.backoff`.
    RetryPause,
    /// No pause.
    None = "none",
    /// Always as long.
    Fixed = "fixed",
    /// Twice as long after each try, less what chance takes off.
    Exponential = "exponential",
}

words! {
    /// `coordinator.worker_failure.action`.
    FailedUnits,
    /// Others get them.
    Reassign = "reassign",
    /// They wait until the worker is back.
    Wait = "wait",
    /// They are given up.
    Fail = "fail",
}
