//! From settings to a typed [`NodeConfig`], with the relations between keys.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pentora_raft::state::SIGNERS_MAX;

use super::file::{ConfigText, Host};
use super::issue::{ConfigError, ConfigIssue, Origin};
use super::keys::{self, Effect, KEYS, Typed, env_name};
use super::kind::Value;
use super::layers::{FlagValue, Raw, Roots, Setting, Settings, stack};
use super::suggest::nearest;
use super::{ApiAuth, ApiTls, NodeConfig, WorkerMode, parse_duration, yaml};
use crate::traces::read_headers;

/// Everything a configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// What the node wrote down at an earlier start ([`super::REMEMBERED_FILE`]), if it did.
    pub remembered: Option<ConfigText>,
    /// What the node that runs here wrote down of its API ([`super::API_FILE`]), for the command line.
    pub noted: Option<ConfigText>,
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
        const CLIENT_KEYS: [&str; 9] = [
            "client.api",
            "client.ca_file",
            "client.ca_fingerprint",
            "client.token_file",
            "node.data_dir",
            "server.api.insecure",
            "server.api.listen",
            "server.api.tls.cert",
            "server.api.tls.key",
        ];
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
    let settings = settled(sources, &mut issues);
    let values = Values(&settings);
    let config = NodeConfig::read(&values);
    if sources.purpose == Purpose::Node {
        relations(&config, &values, &mut issues);
    }
    if !issues.is_empty() {
        return Err(ConfigError::new(issues));
    }
    Ok(Loaded { warnings: warnings(&config, &settings, sources), config, settings })
}

/// The value that each key ends up with, as text. What is wrong is added to `issues`.
fn settled(sources: &Sources, issues: &mut Vec<ConfigIssue>) -> Settings {
    let mut tree = |text: &Option<ConfigText>| match text.as_ref().map(|file| yaml::parse(&file.name, &file.text))? {
        Ok(root) => Some(root),
        Err(issue) => {
            issues.push(issue);
            None
        }
    };
    let roots = Roots { remembered: tree(&sources.remembered), file: tree(&sources.file), noted: tree(&sources.noted) };
    let mut settings = stack(&roots, &sources.env, &sources.flags, sources.purpose, issues);
    host_defaults(&mut settings, sources);
    timer_defaults(&mut settings);
    merge_names(&mut settings, issues);
    one_token(&mut settings, issues);
    one_mode(&mut settings, issues);
    settings
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

/// Timers that nobody set follow the ones that they must not fall below: three heartbeats for the grace period, and the
/// grace period for a try.
fn timer_defaults(settings: &mut Settings) {
    follow(settings, "coordinator.worker_failure.grace_period", "workers.heartbeat_interval", 3);
    follow(settings, "coordinator.job_retry.timeout", "coordinator.worker_failure.grace_period", 1);
}

/// Raises the default of `key` to so many `times` of `other`, within what its kind takes.
fn follow(settings: &mut Settings, key: &'static str, other: &str, times: u32) {
    let time = |settings: &Settings, key: &str| match settings.get(key).map(|setting| &setting.raw) {
        Some(Raw::Text(text)) => parse_duration(text).ok(),
        _ => None,
    };
    let is_default = settings.get(key).is_some_and(|setting| setting.origin == Origin::Default);
    let (Some(default), Some(least)) = (time(settings, key), time(settings, other)) else { return };
    let least = least.saturating_mul(times);
    if is_default && least > default {
        let (ms, seconds) = (least.as_millis(), least.as_secs());
        let raw = Raw::Text(if ms % 1_000 == 0 { format!("{seconds}s") } else { format!("{ms}ms") });
        settings.insert(key, Setting { raw, origin: Origin::Default });
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

/// `worker.offline` is another spelling of `worker.mode: standalone`: the stronger layer wins, both in one layer say the same.
fn one_mode(settings: &mut Settings, issues: &mut Vec<ConfigIssue>) {
    let values = Values(settings);
    let is_standalone = values.get(keys::WORKER_MODE) == WorkerMode::Standalone;
    if is_standalone == values.get(keys::WORKER_OFFLINE) {
        return;
    }
    let (Some(mode), Some(offline)) = (settings.get("worker.mode"), settings.get("worker.offline")) else { return };
    let word = |standalone| if standalone { "standalone" } else { "cluster" }.to_owned();
    let (key, text, origin) = match mode.origin.rank().cmp(&offline.origin.rank()) {
        std::cmp::Ordering::Less => ("worker.mode", word(!is_standalone), offline.origin.clone()),
        std::cmp::Ordering::Greater => ("worker.offline", is_standalone.to_string(), mode.origin.clone()),
        std::cmp::Ordering::Equal => {
            let message = format!(
                "{} contradicts worker.mode: {} ({}), which is the same in another word: keep one",
                !is_standalone,
                word(is_standalone),
                mode.origin
            );
            let (origin, key) = (offline.origin.clone(), Some("worker.offline".to_owned()));
            issues.push(ConfigIssue { origin, key, message });
            return;
        }
    };
    settings.insert(key, Setting { raw: Raw::Text(text), origin });
}

/// Typed access to checked settings: `put` let only values of the right kind in.
pub(super) struct Values<'a>(pub(super) &'a Settings);

impl Values<'_> {
    /// The value of a key.
    pub(super) fn get<T: Value>(&self, Typed { key, .. }: Typed<T>) -> T {
        let value = match self.0.get(key.path) {
            Some(setting) => key.kind.check(&setting.raw).ok().and_then(T::of),
            None => T::absent(),
        };
        value.unwrap_or_else(|| unreachable!("{} has a value of its type, as a test of every key holds", key.path))
    }
}

impl Values<'_> {
    /// Whether somebody set a key.
    pub(super) fn is_set<T: Value>(&self, Typed { key, .. }: Typed<T>) -> bool {
        self.0.get(key.path).is_some_and(|setting| setting.origin != Origin::Default)
    }
}

/// What must hold between keys. A relation is reported at the key that was set by the stronger layer.
fn relations(config: &NodeConfig, values: &Values<'_>, issues: &mut Vec<ConfigIssue>) {
    let mut broken = |key: &'static str, other: &'static str, message: String| {
        let origin = |path| values.0.get(path).map_or(Origin::Default, |setting: &Setting| setting.origin.clone());
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
    let [cert, key] = ["server.api.tls.cert", "server.api.tls.key"];
    match [cert, key].map(|path| values.0.contains_key(path)) {
        [true, false] => broken(cert, cert, format!("needs {key} beside it")),
        [false, true] => broken(key, key, format!("needs {cert} beside it")),
        [true, true] if config.api.insecure => {
            broken("server.api.insecure", cert, format!("asks for plain HTTP, and {cert} for TLS: keep one"));
        }
        _ => {}
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
    let attempt_timeout = config.coordinator.attempt_timeout;
    if attempt_timeout < grace {
        let message = format!("a try may take {attempt_timeout:?}, less than the grace period of {grace:?}");
        broken("coordinator.job_retry.timeout", "coordinator.worker_failure.grace_period", message);
    }
    if config.worker.standalone && !config.mesh.peers.is_empty() {
        let message = "a standalone worker reaches no other node: remove the address, or set worker.mode: cluster and \
                       worker.offline: false";
        let other = if values.0.contains_key("worker.coordinator") { "worker.coordinator" } else { "mesh.peers" };
        broken("worker.offline", other, message.to_owned());
    }
    if config.worker.standalone && config.init {
        let message = "a standalone worker begins no cluster: remove node.init (--init), or set worker.mode: cluster and \
                       worker.offline: false";
        broken("worker.offline", "node.init", message.to_owned());
    }
    super::api::provider_named_whole(config, values, &mut broken);
    signed_orders(config, &mut broken);
    telemetry(config, &mut broken);
    if !config.worker.standalone {
        // One that is written as it would be anyway does no harm: `config show` writes all of them.
        let is_set = |path: &&&str| {
            let default = KEYS.iter().find(|key| key.path == **path).map(default_of);
            values.0.get(**path).is_some_and(|setting| Some(&setting.raw) != default.as_ref())
        };
        for path in STANDALONE_KEYS.iter().filter(is_set) {
            let message = "is read by a standalone worker alone: add worker.mode: standalone, or remove it";
            let origin = values.0.get(*path).map_or(Origin::Default, |setting| setting.origin.clone());
            issues.push(ConfigIssue { origin, key: Some((*path).to_owned()), message: message.to_owned() });
        }
    }
}

/// Signed orders are asked for together with the keys that may sign them.
fn signed_orders(config: &NodeConfig, broken: &mut impl FnMut(&'static str, &'static str, String)) {
    let (signed, keys) = ("worker.require_signed_orders", "worker.trusted_keys");
    match (config.worker.require_signed_orders, config.worker.trusted_keys.len()) {
        (true, 0) => broken(signed, keys, format!("{keys} names nobody, so no work would be begun: add a key")),
        (true, count) if count > SIGNERS_MAX => {
            broken(keys, signed, format!("{count} keys are more than the {SIGNERS_MAX} that a node looks through"));
        }
        (false, count) if count > 0 => {
            broken(keys, signed, format!("keys mean nothing without {signed}: true: set that, or remove them"));
        }
        _ => {}
    }
}

/// A collector is asked for together with how it is trusted, and not where there is no network.
fn telemetry(config: &NodeConfig, broken: &mut impl FnMut(&'static str, &'static str, String)) {
    let (otlp, ca_file) = ("telemetry.otlp", "telemetry.ca_file");
    let (headers, headers_file) = ("telemetry.headers", "telemetry.headers_file");
    let said = config.telemetry.headers.as_ref().filter(|_| config.telemetry.otlp.is_some());
    if let Some(Err(why)) = said.map(|text| read_headers(text.expose())) {
        broken(headers, headers, why);
    }
    // In the environment they may be meant for other programs.
    if config.telemetry.headers_file.is_some() && config.telemetry.otlp.is_none() {
        broken(headers_file, headers_file, format!("means nothing without {otlp}: set that, or remove it"));
    }
    match (config.telemetry.otlp.as_deref(), config.telemetry.ca_file.is_some()) {
        (Some(_), _) if config.worker.standalone => {
            let message = "a standalone worker tells nobody anything: remove the address, or set worker.mode: cluster";
            broken(otlp, "worker.offline", message.to_owned());
        }
        (None, true) => broken(ca_file, ca_file, format!("means nothing without {otlp}: set that, or remove it")),
        (Some(url), true) if url.starts_with("http://") => {
            broken(ca_file, otlp, "means nothing for http://: write https://, or remove it".to_owned());
        }
        _ => {}
    }
}

/// Keys that mean nothing to a node of a mesh.
const STANDALONE_KEYS: [&str; 6] = [
    "worker.local_queue",
    "worker.local_results",
    "sync.export_interval",
    "sync.export_path",
    "sync.require_mount",
    "sync.encrypt",
];

/// Whether two listening addresses meet on the same port.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

/// What is allowed and worth saying.
fn warnings(config: &NodeConfig, settings: &Settings, sources: &Sources) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(replaced(settings));
    if sources.env.get("LICENSE_KEY").is_some_and(|key| !key.is_empty()) {
        warnings.push("LICENSE_KEY is ignored: Pentora needs no licence key".to_owned());
    }
    if matches!(config.api.tls(), ApiTls::Plain) && !config.api.listen.ip().is_loopback() {
        warnings.push(format!(
            "the API listens on {} in plain HTTP (server.api.insecure): whoever is on the way reads its tokens, so a proxy with \
             TLS belongs in front",
            config.api.listen
        ));
    }
    warnings.extend(strange_variables(sources));
    warnings
}

/// A line for each variable that looks like a setting and is none.
fn strange_variables(sources: &Sources) -> Vec<String> {
    let others = [
        "PENTORA_CONFIG",
        "PENTORA_CONTEXT",
        "PENTORA_LOG",
        "PENTORA_LOG_FORMAT",
        "PENTORA_DRILL_DOWN_MS",
        "PENTORA_KILL_AT",
    ];
    let names = KEYS.iter().flat_map(|key| key.also_env.iter().map(ToString::to_string).chain([env_name(key.path)]));
    let known: Vec<String> = names.chain(others.map(str::to_owned)).collect();
    let without_prefix = known.iter().filter_map(|name| name.strip_prefix("PENTORA_"));
    // A file may name variables of its own, as `${PENTORA_SITE}`.
    let is_in_file = |name: &str| sources.file.as_ref().is_some_and(|file| file.text.contains(name));
    let strange =
        sources.env.keys().filter(|name| !known.contains(name) && !is_of_a_service(name) && !is_in_file(name));
    let line = |name: &String| {
        let hint = match nearest(name.strip_prefix("PENTORA_")?, without_prefix.clone()) {
            Some(near) => format!("did you mean PENTORA_{near}?"),
            None => "`pentora config schema` lists the keys".to_owned(),
        };
        Some(format!("environment {name} is not a setting: {hint}"))
    };
    strange.filter_map(line).collect()
}

/// Whether a variable is one of those by which Kubernetes tells a container of each service: of one that is called `pentora-api`,
/// `PENTORA_API_SERVICE_HOST`, `PENTORA_API_SERVICE_PORT_HTTP`, `PENTORA_API_PORT` and `PENTORA_API_PORT_8080_TCP_ADDR`.
fn is_of_a_service(name: &str) -> bool {
    let ends = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];
    ends.iter().any(|end| name.ends_with(end)) || ["_SERVICE_PORT_", "_PORT_"].iter().any(|part| name.contains(part))
}

/// One line for all keys that somebody set and that belong to something which is not there.
fn replaced(settings: &Settings) -> Option<String> {
    let set = |key: &&super::keys::Key| {
        settings
            .get(key.path)
            .is_some_and(|setting| setting.origin != Origin::Default && setting.raw != default_of(key))
    };
    let replaced = KEYS.iter().filter(set).filter_map(|key| match key.effect {
        Effect::Replaced(why) => Some((key.path, why)),
        _ => None,
    });
    let (paths, whys): (Vec<&str>, Vec<&str>) = replaced.unzip();
    let why = whys.first()?;
    Some(format!("{} {} not used: {why}", paths.join(" and "), if paths.len() == 1 { "is" } else { "are" }))
}

pub(super) fn default_of(key: &super::keys::Key) -> Raw {
    Raw::Text(key.default.to_owned())
}

#[cfg(test)]
#[path = "build_test.rs"]
mod tests;
