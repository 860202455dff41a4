//! A node's configuration: one typed [`NodeConfig`] out of flags, environment, one YAML file and defaults.
//!
//! The way through: `yaml` reads the file into a tree that remembers positions, `layers` puts flags over environment
//! over file over defaults and knows where each value came from, `build` turns texts into types and checks relations
//! between keys. Everything wrong is reported at once, each with its place. What flags and environment said is written
//! down in the data directory (`remember`), so that a node starts again by its data directory alone. The whole module is pure: the file's text,
//! the environment and the host's facts are arguments, so `config check` can never bind or dial anything.
//!
//! A node's file holds what concerns that node. Policy of the whole cluster (scopes, exclusions, windows, budgets) is
//! not in here: it lives in the replicated log.

mod address;
mod build;
mod duration;
mod expand;
mod file;
mod issue;
mod keys;
mod layers;
mod remember;
mod secret;
mod show;
mod start;
mod suggest;
mod yaml;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use address::{DEFAULT_MESH_PORT, peer_address};
pub use build::{Loaded, Purpose, Sources, load};
pub use duration::parse_duration;
pub use file::{ConfigText, Host, find_file};
pub use issue::{ConfigError, ConfigIssue, Origin, Position};
pub use keys::{Effect, KEYS, Key, Kind, env_name};
pub use layers::{FlagValue, Raw};
pub use remember::{REMEMBERED_FILE, remembered};
pub use secret::Secret;
pub use show::{schema, show};
pub use start::{StartAction, StartPlan};

/// Everything a node is told before it starts. Every value is checked.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What people call this node; unique in the cluster.
    pub name: String,
    /// Where identity, log, state and chunks are kept.
    pub data_dir: PathBuf,
    /// Create a new cluster when `data_dir` holds no node yet.
    pub init: bool,
    /// Whether this node may become a voter.
    pub mode: NodeMode,
    /// The peer-to-peer side.
    pub mesh: MeshSettings,
    /// The HTTP side.
    pub api: ApiSettings,
    /// This node as a scanner.
    pub worker: WorkerSettings,
    /// What this node asks of workers while it leads.
    pub workers: WorkersSettings,
    /// Bundles over removable media.
    pub sync: SyncSettings,
    /// What this node does while it leads.
    pub coordinator: CoordinatorSettings,
    /// Where the command line on this machine finds a cluster.
    pub client: ClientSettings,
}

/// `server.mode`: what a node may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeMode {
    /// Scans, and may be made a voter.
    Coordinator,
    /// Scans only; never votes.
    Worker,
}

/// `mesh.*`.
#[derive(Debug, Clone)]
pub struct MeshSettings {
    /// Address the mesh listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` under which other nodes reach this one; empty means the listening addresses.
    pub advertise: Vec<String>,
    /// Raft's timers.
    pub profile: TimingProfile,
    /// `host:port` of nodes to join through, in order of preference.
    pub peers: Vec<String>,
    /// File with the mesh's pre-shared key, instead of one generated at `--init` or carried by the join token.
    pub psk_file: Option<PathBuf>,
}

/// `mesh.profile`: how quickly a silent leader is replaced, against how much delay is tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimingProfile {
    /// One site: heartbeat 150 ms.
    Lan,
    /// Several sites: heartbeat 500 ms.
    Wan,
    /// One rack or one machine: heartbeat 50 ms.
    Fast,
}

/// `server.api.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiSettings {
    /// Address the HTTP API listens on.
    pub listen: SocketAddr,
    /// How callers prove who they are.
    pub auth: ApiAuth,
}

/// `server.api.auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiAuth {
    /// A bearer token is needed.
    Jwt,
    /// No proof asked; accepted on loopback addresses only.
    None,
}

/// `worker.*`.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Join token, from `worker.token` or the environment.
    pub token: Option<Secret>,
    /// File holding the join token.
    pub token_file: Option<PathBuf>,
    /// Region label.
    pub region: Option<String>,
    /// Tags that jobs may prefer or require.
    pub tags: Vec<String>,
    /// Which networks this node can reach.
    pub network_access: NetworkAccess,
    /// Leases it holds at once at most.
    pub max_concurrent_scans: u32,
    /// Targets in one unit at most.
    pub max_targets_per_scan: u64,
    /// Works alone from bundles (`worker.mode: standalone`).
    pub standalone: bool,
    /// Makes no outbound connection but scans.
    pub offline: bool,
    /// Directory of work orders for an offline worker.
    pub local_queue: Option<PathBuf>,
    /// Directory of results of an offline worker.
    pub local_results: Option<PathBuf>,
}

/// `worker.network_access`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkAccess {
    /// Every network, until measured otherwise.
    Auto,
    /// Exactly these.
    Networks(Vec<IpNet>),
}

/// `workers.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkersSettings {
    /// A node with a valid token becomes a worker without a further step.
    pub auto_register: bool,
    /// How often a worker reports.
    pub heartbeat_interval: Duration,
}

/// `sync.*`.
#[derive(Debug, Clone)]
pub struct SyncSettings {
    /// How often a bundle is written when there is news.
    pub export_interval: Duration,
    /// Where bundles are written.
    pub export_path: Option<PathBuf>,
    /// Refuse to write where nothing is mounted.
    pub require_mount: bool,
}

/// `coordinator.*`.
#[derive(Debug, Clone)]
pub struct CoordinatorSettings {
    /// Which of several eligible workers is preferred.
    pub strategy: Strategy,
    /// Jobs waiting at most before low priorities are turned away.
    pub max_queue_depth: u32,
    /// Load above which a worker gets no more work of normal and low priority, 0 to 1.
    pub worker_max_load: f64,
    /// How often a unit is tried before it is given up.
    pub max_attempts: u32,
    /// Waiting time between tries of a unit.
    pub backoff: Backoff,
    /// How long one try may take.
    pub attempt_timeout: Duration,
    /// What happens to the leases of a failed worker.
    pub on_worker_failure: FailureAction,
    /// Silence after which a worker counts as failed.
    pub grace_period: Duration,
}

/// `coordinator.load_balancing.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other.
    RoundRobin,
    /// The one with the most room.
    LeastLoaded,
    /// The one with most of the job's preferred tags.
    TagAffinity,
}

/// `coordinator.job_retry.backoff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Try again at once.
    None,
    /// The same pause each time.
    Fixed,
    /// Doubling pauses.
    Exponential,
}

/// `coordinator.worker_failure.action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureAction {
    /// Grant its units to others.
    Reassign,
    /// Wait for it to come back.
    Wait,
    /// Count its units as failed.
    Fail,
}

/// `client.*`: read by the command line, not by a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// API addresses, separated by commas, tried in order.
    pub api: Option<String>,
    /// File with the API token.
    pub token_file: Option<PathBuf>,
}
