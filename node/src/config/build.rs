//! From settings to a typed [`NodeConfig`], with the relations between keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::file::{ConfigText, Host};
use super::issue::{ConfigError, ConfigIssue, Origin};
use super::keys::{Checked, Effect, KEYS, env_name, find};
use super::layers::{FlagValue, Raw, Roots, Setting, Settings, stack};
use super::suggest::nearest;
use super::{
    ApiAuth, ApiSettings, Backoff, ClientSettings, CoordinatorSettings, FailureAction, MeshSettings, NetworkAccess,
    NodeConfig, NodeMode, Secret, Strategy, SyncSettings, TimingProfile, WorkerSettings, WorkersSettings, yaml,
};

/// Everything a configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// What the node wrote down at an earlier start ([`super::REMEMBERED_FILE`]), if it did.
    pub remembered: Option<ConfigText>,
    /// The file, if there is one.
    pub file: Option<ConfigText>,
    /// The process environment.
    pub env: BTreeMap<String, String>,
    /// Flags that stand for keys.
    pub flags: Vec<FlagValue>,
    /// What the machine contributes.
    pub host: Host,
    /// Whose configuration it is.
    pub purpose: Purpose,
}

/// Whose configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// A node's: every key counts.
    #[default]
    Node,
    /// The command line's: only the keys that say where a node is. A file written for a service may name variables
    /// that the person at the terminal does not have.
    Client,
}

impl Purpose {
    /// Whether the key `path` is read.
    pub(super) fn reads(self, path: &str) -> bool {
        const CLIENT_KEYS: [&str; 4] = ["client.api", "client.token_file", "node.data_dir", "server.api.listen"];
        self == Self::Node || CLIENT_KEYS.contains(&path)
    }
}

/// A checked configuration, with its story.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: NodeConfig,
    /// What an operator should know: ignored variables, unusual exposure.
    pub warnings: Vec<String>,
    /// Keys that were set and do nothing yet.
    pub notes: Vec<String>,
    pub(super) settings: Settings,
}

impl Loaded {
    /// Where the value of the key `path` came from; `None` for a key without a value.
    #[must_use]
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.settings.get(path).map(|setting| &setting.origin)
    }
}

/// Reads, checks and types a configuration. Opens no file and no socket.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut issues = Vec::new();
    let mut tree = |text: &Option<ConfigText>| match text.as_ref().map(|file| yaml::parse(&file.name, &file.text))? {
        Ok(root) => Some(root),
        Err(issue) => {
            issues.push(issue);
            None
        }
    };
    let roots = Roots { remembered: tree(&sources.remembered), file: tree(&sources.file) };
    let mut settings = stack(&roots, &sources.env, &sources.flags, sources.purpose, &mut issues);
    host_defaults(&mut settings, sources);
    merge_names(&mut settings, &mut issues);
    one_token(&mut settings, &mut issues);
    let config = Values(&settings).config();
    if sources.purpose == Purpose::Node {
        relations(&config, &settings, &mut issues);
    }
    if !issues.is_empty() {
        return Err(ConfigError::new(issues));
    }
    Ok(Loaded { warnings: warnings(&config, &sources.env), notes: notes(&settings), config, settings })
}

/// Defaults that depend on the machine.
fn host_defaults(settings: &mut Settings, sources: &Sources) {
    let by_default = |raw: String| Setting { raw: Raw::Text(raw), origin: Origin::Default };
    let data_dir = sources.host.default_data_dir(&sources.env).display().to_string();
    settings.entry("node.data_dir").or_insert_with(|| by_default(data_dir));
    if !settings.contains_key("node.name") && !settings.contains_key("worker.name") {
        let clean: String =
            sources.host.name.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).collect();
        let clean: String = clean.trim_start_matches('-').chars().take(63).collect();
        let name = if clean.is_empty() { "node".to_owned() } else { clean };
        settings.insert("node.name", by_default(name));
    }
}

/// `worker.name` is another spelling of `node.name`: the stronger layer wins, two different names in one layer do not.
fn merge_names(settings: &mut Settings, issues: &mut Vec<ConfigIssue>) {
    let Some(worker) = settings.get("worker.name").cloned() else { return };
    match settings.get("node.name") {
        Some(node) if node.origin.rank() > worker.origin.rank() => {}
        Some(node) if node.origin.rank() == worker.origin.rank() && node.raw != worker.raw => {
            let message = format!("differs from node.name ({}): a node has one name", node.origin);
            issues.push(ConfigIssue { origin: worker.origin, key: Some("worker.name".to_owned()), message });
        }
        _ => {
            settings.insert("node.name", worker);
        }
    }
}

/// A token and a token file: the stronger layer wins, both in one layer contradict each other.
fn one_token(settings: &mut Settings, issues: &mut Vec<ConfigIssue>) {
    let (Some(text), Some(file)) = (settings.get("worker.token"), settings.get("worker.token_file")) else { return };
    let weaker = match text.origin.rank().cmp(&file.origin.rank()) {
        std::cmp::Ordering::Less => "worker.token",
        std::cmp::Ordering::Greater => "worker.token_file",
        std::cmp::Ordering::Equal => {
            issues.push(ConfigIssue {
                origin: text.origin.clone(),
                key: Some("worker.token".to_owned()),
                message: format!("is set beside worker.token_file ({}): keep one", file.origin),
            });
            return;
        }
    };
    settings.remove(weaker);
}

/// Typed access to checked settings. `put` let only values of the right kind in, so a wrong kind is a slip between
/// the key table and this file, which the tests would show.
struct Values<'a>(&'a Settings);

impl Values<'_> {
    fn checked(&self, path: &str) -> Option<Checked> {
        let kind = find(path).expect("only paths of the key table are asked for").kind;
        self.0.get(path).and_then(|setting| kind.check(&setting.raw).ok())
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.checked(path)? {
            Checked::Text(text) => Some(text),
            _ => None,
        }
    }

    fn list(&self, path: &str) -> Vec<String> {
        match self.checked(path) {
            Some(Checked::List(list)) => list,
            _ => Vec::new(),
        }
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        match self.checked(path)? {
            Checked::Path(path) => Some(path),
            _ => None,
        }
    }

    fn switch(&self, path: &str) -> bool {
        self.checked(path) == Some(Checked::Switch(true))
    }

    fn is(&self, path: &str, word: &str) -> bool {
        self.text(path).as_deref() == Some(word)
    }

    fn count(&self, path: &str) -> u64 {
        match self.checked(path) {
            Some(Checked::Count(count)) => count,
            _ => unreachable_default(path),
        }
    }

    fn count32(&self, path: &str) -> u32 {
        u32::try_from(self.count(path)).unwrap_or(u32::MAX)
    }

    fn share(&self, path: &str) -> f64 {
        match self.checked(path) {
            Some(Checked::Share(share)) => share,
            _ => unreachable_default(path),
        }
    }

    fn time(&self, path: &str) -> Duration {
        match self.checked(path) {
            Some(Checked::Time(time)) => time,
            _ => unreachable_default(path),
        }
    }

    fn socket(&self, path: &str) -> SocketAddr {
        match self.checked(path) {
            Some(Checked::Socket(socket)) => socket,
            _ => unreachable_default(path),
        }
    }

    fn config(&self) -> NodeConfig {
        let mut peers = self.list("mesh.peers");
        peers.extend(self.list("worker.coordinator"));
        NodeConfig {
            name: self.text("node.name").unwrap_or_default(),
            data_dir: self.path("node.data_dir").unwrap_or_default(),
            init: self.switch("node.init"),
            mode: if self.is("server.mode", "worker") { NodeMode::Worker } else { NodeMode::Coordinator },
            mesh: MeshSettings {
                listen: self.socket("mesh.listen"),
                advertise: self.list("mesh.advertise"),
                profile: match self.text("mesh.profile").as_deref() {
                    Some("wan") => TimingProfile::Wan,
                    Some("fast") => TimingProfile::Fast,
                    _ => TimingProfile::Lan,
                },
                peers,
                psk_file: self.path("mesh.psk_file"),
            },
            api: ApiSettings {
                listen: self.socket("server.api.listen"),
                auth: if self.is("server.api.auth", "none") { ApiAuth::None } else { ApiAuth::Jwt },
            },
            worker: self.worker(),
            workers: WorkersSettings {
                auto_register: self.switch("workers.auto_register"),
                heartbeat_interval: self.time("workers.heartbeat_interval"),
            },
            sync: SyncSettings {
                export_interval: self.time("sync.export_interval"),
                export_path: self.path("sync.export_path"),
                require_mount: self.switch("sync.require_mount"),
            },
            coordinator: self.coordinator(),
            client: ClientSettings { api: self.text("client.api"), token_file: self.path("client.token_file") },
        }
    }

    fn worker(&self) -> WorkerSettings {
        WorkerSettings {
            token: self.text("worker.token").map(|token| Secret::new(&token)),
            token_file: self.path("worker.token_file"),
            region: self.text("worker.region"),
            tags: self.list("worker.tags"),
            network_access: match self.checked("worker.network_access") {
                Some(Checked::Networks(Some(networks))) => NetworkAccess::Networks(networks),
                _ => NetworkAccess::Auto,
            },
            max_concurrent_scans: self.count32("worker.capacity.max_concurrent_scans"),
            max_targets_per_scan: self.count("worker.capacity.max_targets_per_scan"),
            standalone: self.is("worker.mode", "standalone"),
            offline: self.switch("worker.offline"),
            local_queue: self.path("worker.local_queue"),
            local_results: self.path("worker.local_results"),
        }
    }

    fn coordinator(&self) -> CoordinatorSettings {
        CoordinatorSettings {
            strategy: match self.text("coordinator.load_balancing.strategy").as_deref() {
                Some("round_robin") => Strategy::RoundRobin,
                Some("tag_affinity") => Strategy::TagAffinity,
                _ => Strategy::LeastLoaded,
            },
            max_queue_depth: self.count32("coordinator.load_balancing.thresholds.max_queue_depth"),
            worker_max_load: self.share("coordinator.load_balancing.thresholds.worker_max_load"),
            max_attempts: self.count32("coordinator.job_retry.max_attempts"),
            backoff: match self.text("coordinator.job_retry.backoff").as_deref() {
                Some("none") => Backoff::None,
                Some("fixed") => Backoff::Fixed,
                _ => Backoff::Exponential,
            },
            attempt_timeout: self.time("coordinator.job_retry.timeout"),
            on_worker_failure: match self.text("coordinator.worker_failure.action").as_deref() {
                Some("wait") => FailureAction::Wait,
                Some("fail") => FailureAction::Fail,
                _ => FailureAction::Reassign,
            },
            grace_period: self.time("coordinator.worker_failure.grace_period"),
        }
    }
}

/// Keys with these kinds have a default, and a test checks each default against its kind.
fn unreachable_default<T>(path: &str) -> T {
    unreachable!("{path} has a default of its kind")
}

/// What must hold between keys. A relation is reported at the key that was set by the stronger layer.
fn relations(config: &NodeConfig, settings: &Settings, issues: &mut Vec<ConfigIssue>) {
    let mut broken = |key: &'static str, other: &'static str, message: String| {
        let origin = |path| settings.get(path).map_or(Origin::Default, |setting: &Setting| setting.origin.clone());
        let (key, origin) =
            if origin(other).rank() > origin(key).rank() { (other, origin(other)) } else { (key, origin(key)) };
        issues.push(ConfigIssue { origin, key: Some(key.to_owned()), message });
    };
    let api = config.api.listen;
    if config.api.auth == ApiAuth::None && !api.ip().is_loopback() {
        let message =
            format!("none is for loopback only, and the API listens on {api}: use jwt, or listen on 127.0.0.1");
        broken("server.api.auth", "server.api.listen", message);
    }
    let mesh = config.mesh.listen;
    if mesh.port() != 0 && mesh.port() == api.port() && overlap(mesh.ip(), api.ip()) {
        broken(
            "mesh.listen",
            "server.api.listen",
            format!("{mesh} and the API's {api} are the same port: choose another"),
        );
    }
    let (heartbeat, grace) = (config.workers.heartbeat_interval, config.coordinator.grace_period);
    if grace < heartbeat * 2 {
        let message = format!(
            "a grace period of {grace:?} is less than two heartbeats of {heartbeat:?}: one lost report would fail a \
             healthy worker"
        );
        broken("coordinator.worker_failure.grace_period", "workers.heartbeat_interval", message);
    }
    if config.coordinator.attempt_timeout < grace {
        let message =
            format!("a try may take {:?}, less than the grace period of {grace:?}", config.coordinator.attempt_timeout);
        broken("coordinator.job_retry.timeout", "coordinator.worker_failure.grace_period", message);
    }
    if config.worker.offline && !config.mesh.peers.is_empty() {
        let message = "an offline worker reaches no other node: remove the address, or set worker.offline: false";
        broken("worker.offline", "worker.coordinator", message.to_owned());
    }
    if config.init && !config.mesh.peers.is_empty() {
        let message =
            "a node either creates a cluster or joins one: remove node.init, or the addresses to join through";
        broken("node.init", "mesh.peers", message.to_owned());
    }
}

/// Whether two listening addresses meet on the same port.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

/// What is allowed and worth saying.
fn warnings(config: &NodeConfig, env: &BTreeMap<String, String>) -> Vec<String> {
    let mut warnings = Vec::new();
    if env.get("LICENSE_KEY").is_some_and(|key| !key.is_empty()) {
        warnings.push("LICENSE_KEY is ignored: Pentora needs no licence key".to_owned());
    }
    if !config.api.listen.ip().is_loopback() {
        warnings.push(format!(
            "the API listens on {} in plain HTTP: put a proxy with TLS in front, or listen on 127.0.0.1",
            config.api.listen
        ));
    }
    let known: Vec<String> = KEYS
        .iter()
        .flat_map(|key| key.also_env.iter().map(ToString::to_string).chain([env_name(key.path)]))
        .chain(["PENTORA_CONFIG", "PENTORA_LOG_FORMAT"].map(str::to_owned))
        .collect();
    // Orchestrators set variables of their own with our prefix, so only a likely misspelling is worth a word.
    let without_prefix = known.iter().filter_map(|name| name.strip_prefix("PENTORA_"));
    for name in env.keys().filter(|name| !known.contains(name)) {
        let near = name.strip_prefix("PENTORA_").and_then(|rest| nearest(rest, without_prefix.clone()));
        if let Some(near) = near {
            warnings.push(format!("environment {name} is not a setting: did you mean PENTORA_{near}?"));
        }
    }
    warnings
}

/// Keys somebody set that this version accepts and does not use.
fn notes(settings: &Settings) -> Vec<String> {
    let set = |path| settings.get(path).filter(|setting: &&Setting| setting.origin != Origin::Default);
    KEYS.iter()
        .filter(|key| key.effect == Effect::Later)
        .filter_map(|key| set(key.path).map(|setting| (key.path, &setting.origin)))
        .map(|(path, origin)| format!("{origin}: {path} is accepted and not used yet"))
        .collect()
}

#[cfg(test)]
#[path = "build_test.rs"]
mod tests;
