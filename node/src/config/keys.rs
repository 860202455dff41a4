//! The table of every key of `pentora.yaml`: its kind, its default, its environment variables, and whether this
//! version acts on it. Parsing, environment, defaults, help and schema all read this one table.
//!
//! A key that works has a constant with the type of its value. The compiler refuses a constant that nothing reads, and a field
//! that nothing reads; so a key that does nothing says so in its row. Two constants fill no field, because their keys are only
//! held against others (`build`).

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::kind::Kind;
use super::size::Size;
use super::{
    ApiAuth, FailedUnits, NetworkAccess, NodeMode, RetryPause, Secret, Strategy, TimingProfile, VoterCount, WorkerMode,
};
use crate::tls::Fingerprint;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path in the file, and for messages.
    pub path: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// The default as one would write it; empty means none.
    pub default: &'static str,
    /// Whether this version acts on it.
    pub effect: Effect,
    /// Names of environment variables besides [`env_name`], weaker than it.
    pub also_env: &'static [&'static str],
    /// What it is for, in a line.
    pub about: &'static str,
}

/// Whether a key does something in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Now,
    /// It is another spelling of the key of this path.
    SpellingOf(&'static str),
    /// It belongs to something that Pentora does not have: taken with a warning, whose text says what is in its place.
    Replaced(&'static str),
}

/// A key, and the type of its value.
pub(super) struct Typed<T> {
    pub(super) key: Key,
    value: PhantomData<fn() -> T>,
}

impl<T> Typed<T> {
    const fn of(key: Key) -> Self {
        Self { key, value: PhantomData }
    }
}

const MS: u64 = 1;
const SECOND: u64 = 1000 * MS;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Writes the table out: [`KEYS`], and the constants of the rows that have one.
macro_rules! keys {
    (@row ; $key:expr) => { without_reader($key) };
    (@row $type:ty ; $key:expr) => { $key };
    ($($name:tt $(: $type:ty)? => $key:expr),+ $(,)?) => {
        /// Every key, in the order in which `config show` prints them.
        pub const KEYS: &[Key] = &[$(keys!(@row $($type)? ; $key)),+];

        $($(pub(super) const $name: Typed<$type> = Typed::of($key);)?)+
    };
}

keys! {
    NODE_NAME: String =>
        key("node.name", Kind::Label, "", "what people call this node; unique in the cluster (default: the host name)"),
    NODE_DATA_DIR: PathBuf =>
        key("node.data_dir", Kind::Path, "", "identity, log, state and results").also_env(&["PENTORA_DATA_DIR"]),
    NODE_INIT: bool =>
        key("node.init", Kind::Switch, "false", "create a new cluster when the data directory holds no node yet"),
    MESH_LISTEN: SocketAddr =>
        key("mesh.listen", Kind::Socket, "0.0.0.0:7400", "address of the mesh; port 0 takes a free one"),
    MESH_ADVERTISE: Vec<String> =>
        key("mesh.advertise", Kind::Peers, "", "addresses under which other nodes reach this one"),
    MESH_PROFILE: TimingProfile =>
        key("mesh.profile", Kind::Word(TimingProfile::WORDS), "lan", "timers of the leader election"),
    MESH_PEERS: Vec<String> => key("mesh.peers", Kind::Peers, "", "nodes to join through, and to find others by"),
    MESH_PSK_FILE: Option<PathBuf> =>
        key("mesh.psk_file", Kind::Path, "", "file with the mesh's pre-shared key, 64 hexadecimal digits"),
    SERVER_MODE: NodeMode =>
        key("server.mode", Kind::Word(NodeMode::WORDS), "coordinator", "coordinator may vote, worker only scans"),
    API_LISTEN: SocketAddr => key("server.api.listen", Kind::Socket, "127.0.0.1:8080", "address of the HTTP API"),
    API_AUTH: ApiAuth =>
        key("server.api.auth", Kind::Word(ApiAuth::WORDS), "jwt", "bearer tokens, or none on loopback only"),
    API_TLS_CERT: Option<PathBuf> => key(
        "server.api.tls.cert",
        Kind::Path,
        "",
        "file with the API's certificate and those of whoever signed it, in PEM; read again on SIGHUP",
    ),
    API_TLS_KEY: Option<PathBuf> =>
        key("server.api.tls.key", Kind::Path, "", "file with the certificate's private key, in PEM"),
    API_TLS_NAMES: Vec<String> => key(
        "server.api.tls.names",
        Kind::Hosts,
        "",
        "more names and addresses under which the API is reached, for the certificate of the cluster's authority",
    ),
    API_INSECURE: bool => key(
        "server.api.insecure",
        Kind::Switch,
        "false",
        "plain HTTP on addresses that others reach: behind a proxy with TLS alone",
    ),
    API_REQUESTS_PER_MINUTE: u32 => key(
        "server.api.requests_per_minute",
        Kind::Count(60, 60_000_000),
        "30000",
        "requests with one token that this node takes, four times as many with all that one answers for; others are answered 429",
    ),
    OIDC_ISSUER: Option<String> => key(
        "server.api.oidc.issuer",
        Kind::Text,
        "",
        "provider of identities whose JWTs are taken, as their `iss` says; read again on SIGHUP, like all of server.api.oidc",
    ),
    OIDC_AUDIENCE: Option<String> =>
        key("server.api.oidc.audience", Kind::Text, "", "whom its JWTs must be for, as their `aud` says"),
    OIDC_JWKS_FILE: Option<PathBuf> =>
        key("server.api.oidc.jwks_file", Kind::Path, "", "file with its public keys, a JWK set"),
    OIDC_JWKS_URL: Option<String> => key(
        "server.api.oidc.jwks_url",
        Kind::KeysUrl,
        "",
        "where its public keys are fetched: https, or http on a loopback address beside server.api.insecure",
    ),
    OIDC_NAME_CLAIM: String => key("server.api.oidc.name_claim", Kind::Text, "sub", "the claim that says who somebody is"),
    OIDC_ROLE_CLAIM: String => key(
        "server.api.oidc.role_claim",
        Kind::Text,
        "roles",
        "the claim that says what somebody is; dots lead into objects, as in realm_access.roles",
    ),
    OIDC_ROLES: Vec<String> => key(
        "server.api.oidc.roles",
        Kind::Roles,
        "",
        "the role that each value of that claim means, such as `scan-team: operator`; the first that somebody has counts",
    ),
    AUTO_REGISTER: bool => key(
        "workers.auto_register",
        Kind::Switch,
        "true",
        "a worker registers with its join token alone; otherwise an administrator registers it",
    ),
    HEARTBEAT_INTERVAL: Duration =>
        key("workers.heartbeat_interval", Kind::Time(100 * MS, HOUR), "5s", "how often a worker reports"),
    _ => key("queue.url", Kind::Anything, "", "not used: there is no broker").that(Effect::Replaced(NO_BROKER)),
    _ => key("queue.backend", Kind::Word(&["raft", "redis", "kafka"]), "raft", "always the replicated log")
        .that(Effect::Replaced(NO_BROKER)),
    _ => key("worker.name", Kind::Label, "", "the same as node.name").that(Effect::SpellingOf("node.name")),
    WORKER_COORDINATOR: Vec<String> =>
        key("worker.coordinator", Kind::Coordinators, "", "node to join through: a mesh address or an API address")
            .also_env(&["COORDINATOR_URL"]),
    WORKER_TOKEN: Option<Secret> => key("worker.token", Kind::Secret, "", "join token").also_env(&["WORKER_TOKEN"]),
    WORKER_TOKEN_FILE: Option<PathBuf> => key("worker.token_file", Kind::Path, "", "file with the join token"),
    WORKER_REGION: Option<String> => key("worker.region", Kind::Label, "", "region label"),
    WORKER_TAGS: Vec<String> => key("worker.tags", Kind::Labels, "", "labels that jobs may prefer or require"),
    NETWORK_ACCESS: NetworkAccess =>
        key("worker.network_access", Kind::Networks, "auto", "prefixes this node can reach, or auto"),
    WORKER_SCOPE: NetworkAccess =>
        key("worker.scope", Kind::Networks, "auto", "prefixes this node may send to, whatever the cluster allows; auto for all of that"),
    WORKER_EXCLUDE: Vec<String> =>
        key("worker.exclude", Kind::Targets, "", "targets this node never sends to: addresses, prefixes, ranges, names"),
    WORKER_WINDOWS: Vec<String> => key(
        "worker.windows",
        Kind::Windows,
        "",
        "when this node may scan, such as `mon-fri 22:00-06:00 Europe/Berlin`; networks in front: these alone",
    ),
    WORKER_BLACKOUTS: Vec<String> =>
        key("worker.blackouts", Kind::Windows, "", "when this node may not scan, written like worker.windows"),
    REQUIRE_SIGNED_ORDERS: bool => key(
        "worker.require_signed_orders",
        Kind::Switch,
        "false",
        "begin no work but that of orders which a key of worker.trusted_keys signed, whoever leads the cluster",
    ),
    TRUSTED_KEYS: Vec<String> =>
        key("worker.trusted_keys", Kind::Keys, "", "keys of people as `pentora key show` prints them, such as `ed25519:AbC... alice`"),
    MAX_CONCURRENT_SCANS: u32 =>
        key("worker.capacity.max_concurrent_scans", Kind::Count(1, 1024), "10", "leases held at once"),
    MAX_TARGETS_PER_SCAN: u64 =>
        key("worker.capacity.max_targets_per_scan", Kind::Count(1, 1 << 32), "65536", "targets in one unit"),
    WORKER_MODE: WorkerMode => key(
        "worker.mode",
        Kind::Word(WorkerMode::WORDS),
        "cluster",
        "standalone scans what signed bundles of orders say, and opens no port",
    ),
    WORKER_OFFLINE: bool =>
        key("worker.offline", Kind::Switch, "false", "no port and no connection but scans; the same as mode standalone"),
    LOCAL_QUEUE: Option<PathBuf> =>
        key("worker.local_queue", Kind::Path, "", "orders of a standalone worker (default: queue in node.data_dir)"),
    LOCAL_RESULTS: Option<PathBuf> =>
        key("worker.local_results", Kind::Path, "", "results of a standalone worker (default: results in node.data_dir)"),
    EXPORT_INTERVAL: Duration => key(
        "sync.export_interval",
        Kind::Time(SECOND, 365 * DAY),
        "1h",
        "how often a standalone worker writes a bundle of new results",
    ),
    EXPORT_PATH: Option<PathBuf> =>
        key("sync.export_path", Kind::Path, "", "where it writes them (default: nowhere by itself)"),
    REQUIRE_MOUNT: bool =>
        key("sync.require_mount", Kind::Switch, "false", "write bundles only where something is mounted"),
    ENCRYPT_BUNDLES: bool =>
        key("sync.encrypt", Kind::Switch, "false", "encrypt bundles of results to the cluster's key (the age format)"),
    STRATEGY: Strategy => key(
        "coordinator.load_balancing.strategy",
        Kind::Word(Strategy::WORDS),
        "least_loaded",
        "which of several eligible workers is preferred",
    ),
    MAX_QUEUE_DEPTH: u32 => key(
        "coordinator.load_balancing.thresholds.max_queue_depth",
        Kind::Count(1, 1_000_000),
        "100",
        "waiting jobs before normal and low priority are turned away",
    ),
    WORKER_MAX_LOAD: f64 => key(
        "coordinator.load_balancing.thresholds.worker_max_load",
        Kind::Share,
        "0.8",
        "load above which a worker gets only urgent work",
    ),
    MAX_ATTEMPTS: u32 =>
        key("coordinator.job_retry.max_attempts", Kind::Count(1, 100), "3", "tries of a unit before it is given up"),
    BACKOFF: RetryPause => key(
        "coordinator.job_retry.backoff",
        Kind::Word(RetryPause::WORDS),
        "exponential",
        "pause between two tries of a unit",
    ),
    ATTEMPT_TIMEOUT: Duration => key(
        "coordinator.job_retry.timeout",
        Kind::Time(10 * SECOND, 7 * DAY),
        "30m",
        "time for one try of a unit (default: at least the grace period)",
    ),
    FAILURE_ACTION: FailedUnits => key(
        "coordinator.worker_failure.action",
        Kind::Word(FailedUnits::WORDS),
        "reassign",
        "what happens to the units of a failed worker",
    ),
    GRACE_PERIOD: Duration => key(
        "coordinator.worker_failure.grace_period",
        Kind::Time(SECOND, DAY),
        "15s",
        "silence after which a worker counts as failed (default: at least three heartbeats)",
    ),
    RESULTS_COPIES: u32 =>
        key("results.copies", Kind::Count(1, 3), "2", "nodes that hold each result, as far as there are members"),
    RESULTS_FLOOR: Size => key(
        "results.free_space_floor",
        Kind::Size(0, u64::MAX),
        "512MiB",
        "free space below which this node takes no more results",
    ),
    RESULTS_GRACE: Duration => key(
        "results.grace",
        Kind::Time(SECOND, 365 * DAY),
        "1h",
        "how long a copy stays that is no longer needed",
    ),
    RESULTS_SCRUB: Duration => key(
        "results.scrub_interval",
        Kind::Time(SECOND, 365 * DAY),
        "7d",
        "how often every result is read again to find damage",
    ),
    RETENTION_AGE: Option<Duration> => key(
        "results.retention.max_age",
        Kind::Time(SECOND, 36_500 * DAY),
        "",
        "how long ended jobs are kept (default: without end)",
    ),
    RETENTION_JOBS: Option<u64> =>
        key("results.retention.max_jobs", Kind::Count(1, 1_000), "", "how many ended jobs are kept (default: 1000)"),
    RETENTION_BYTES: Option<Size> => key(
        "results.retention.max_bytes",
        Kind::Size(1, u64::MAX),
        "",
        "bytes of results that are kept of ended jobs (default: without end)",
    ),
    CLUSTER_VOTERS: VoterCount => key(
        "cluster.voters",
        Kind::Word(VoterCount::WORDS),
        "3",
        "how many voters a new cluster aims at; read by --init alone",
    ),
    CLIENT_API: Option<String> =>
        key("client.api", Kind::Urls, "", "API addresses for the command line").also_env(&["PENTORA_API"]),
    CLIENT_TOKEN_FILE: Option<PathBuf> =>
        key("client.token_file", Kind::Path, "", "file with the API token for the command line")
            .also_env(&["PENTORA_TOKEN_FILE"]),
    CLIENT_CA_FILE: Option<PathBuf> => key(
        "client.ca_file",
        Kind::Path,
        "",
        "file with the certificate authorities to trust, in PEM (default: those of the system)",
    )
    .also_env(&["PENTORA_CA_FILE"]),
    CLIENT_CA_FINGERPRINT: Option<Fingerprint> => key(
        "client.ca_fingerprint",
        Kind::Fingerprint,
        "",
        "SHA-256 fingerprint of the certificate authority to trust",
    )
    .also_env(&["PENTORA_CA_FINGERPRINT"]),
    TELEMETRY_OTLP: Option<String> => key(
        "telemetry.otlp",
        Kind::Collector,
        "",
        "collector that takes traces as OTLP over HTTP, such as http://127.0.0.1:4318 (default: none is told anything)",
    ),
    TELEMETRY_CA_FILE: Option<PathBuf> => key(
        "telemetry.ca_file",
        Kind::Path,
        "",
        "file with the certificate authorities to trust there, in PEM (default: those of the system)",
    ),
    TELEMETRY_HEADERS: Option<Secret> => key(
        "telemetry.headers",
        Kind::Secret,
        "",
        "headers that are wanted there, as name=value,... with %20 and the like in values",
    )
    .also_env(&["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]),
    TELEMETRY_HEADERS_FILE: Option<PathBuf> =>
        key("telemetry.headers_file", Kind::Path, "", "file with such headers, one to a line, which go before those"),
}

/// What is in the place of a broker.
const NO_BROKER: &str = "the replicated log is the queue, and no broker is used";

/// A key that works.
const fn key(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Now, also_env: &[], about }
}

/// A row without a constant, so without a field: its key must not be one that is said to work.
const fn without_reader(key: Key) -> Key {
    assert!(!matches!(key.effect, Effect::Now), "a key that works has a constant with the type of its value");
    key
}

impl Key {
    const fn that(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    const fn also_env(self, also_env: &'static [&'static str]) -> Self {
        Self { also_env, ..self }
    }
}

/// The environment variable of a key: `server.api.listen` is `PENTORA_SERVER_API_LISTEN`.
#[must_use]
pub fn env_name(path: &str) -> String {
    format!("PENTORA_{}", path.replace('.', "_").to_ascii_uppercase())
}

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether keys lie below this path.
pub(super) fn is_group(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::super::kind::Checked;
    use super::super::layers::Raw;
    use super::*;

    #[test]
    fn every_default_passes_the_check_of_its_own_kind() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            key.kind.check(&Raw::Text(key.default.to_owned())).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        }
    }

    #[test]
    fn no_two_keys_share_a_path_or_an_environment_variable() {
        let mut names: Vec<String> = KEYS
            .iter()
            .flat_map(|key| key.also_env.iter().map(ToString::to_string).chain([env_name(key.path)]))
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(KEYS.iter().all(|key| !is_group(key.path)), "a key is not a group as well");
    }

    #[test]
    fn each_kind_refuses_what_it_is_not_and_names_it() {
        for (path, text, part) in [
            ("node.name", "two words", "is not a label"),
            ("node.init", "yes", "neither true nor false"),
            ("mesh.listen", "localhost:7400", "address with port"),
            ("mesh.advertise", "0.0.0.0:7400", "names no machine"),
            ("mesh.profile", "lann", "lan, wan, fast"),
            ("cluster.voters", "4", "3, 5, 7"),
            ("queue.backend", "rabbit", "raft, redis, kafka"),
            ("worker.network_access", "10.0.0.0/40", "is not a prefix"),
            ("worker.network_access", "", "names no network"),
            ("worker.exclude", "10.0.0.300", "10.0.0.300"),
            ("worker.windows", "22:00-06:00", "write it as"),
            ("worker.blackouts", "mon 22:00-06:00 Mars", "`Mars`"),
            ("worker.require_signed_orders", "yes", "neither true nor false"),
            ("worker.trusted_keys", "alice", "is no key"),
            ("results.free_space_floor", "1.5GB", "is not a size"),
            ("results.retention.max_bytes", "0", "is not between"),
            ("worker.capacity.max_concurrent_scans", "0", "from 1 to 1024"),
            ("worker.capacity.max_concurrent_scans", "0x10", "from 1 to 1024"),
            ("coordinator.load_balancing.thresholds.worker_max_load", "1.5", "above 0 and up to 1"),
            ("coordinator.load_balancing.thresholds.worker_max_load", "NaN", "above 0 and up to 1"),
            ("workers.heartbeat_interval", "30", "lacks a unit"),
            ("workers.heartbeat_interval", "1ms", "is not between"),
            ("client.api", "ftp://n1:8080", "is not an API address"),
            ("server.api.tls.names", "a b", "neither an address nor a host name"),
            ("client.ca_fingerprint", "sha256:ab", "is not a fingerprint"),
            ("client.api", "n1:8080", "is not an API address"),
            ("telemetry.otlp", "collector:4318", "is not the address of a collector"),
            ("telemetry.otlp", "grpc://collector:4317", "is not the address of a collector"),
            ("telemetry.otlp", "http://user:secret@collector:4318", "is not the address of a collector"),
            ("telemetry.otlp", "http://collector:4318/?token=secret", "is not the address of a collector"),
            ("telemetry.otlp", "http://collector:99999", "is not the address of a collector"),
        ] {
            let error = find(path).unwrap().kind.check(&Raw::Text(text.to_owned())).unwrap_err();
            assert!(error.contains(part), "{path}={text}: {error}");
        }
    }

    #[test]
    fn a_scalar_with_commas_stands_for_a_list() {
        let tags = find("worker.tags").unwrap().kind.check(&Raw::Text("aws, production".to_owned()));
        assert_eq!(tags, Ok(Checked::List(vec!["aws".to_owned(), "production".to_owned()])));
    }
}
