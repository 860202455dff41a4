//! The table of every key of `pentora.yaml`: its type, its default, its environment variables, and whether this
//! version acts on it. Parsing, environment, defaults, help and schema all read this one table.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::duration::parse_duration;
use super::layers::Raw;
use super::peer_address;

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
    /// It is checked and kept, but nothing reads it yet.
    Later,
    /// It belonged to something that Pentora does not have; the text says what took its place.
    Refused(&'static str),
}

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A label: letters, digits, and `._:/@+=-`, up to 63.
    Label,
    /// Several labels.
    Labels,
    /// A file or directory.
    Path,
    /// `true` or `false`.
    Switch,
    /// A whole number within these bounds.
    Count(u64, u64),
    /// A number above 0 and up to 1.
    Share,
    /// A duration within these bounds, in milliseconds.
    Time(u64, u64),
    /// An IP address with port to listen on.
    Socket,
    /// Addresses of nodes.
    Peers,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `auto` or a list of prefixes.
    Networks,
    /// A token: never shown.
    Secret,
    /// HTTP addresses.
    Urls,
    /// Anything: the key is refused, whatever its value.
    Anything,
}

/// A value after its [`Kind`] was checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Checked {
    Text(String),
    List(Vec<String>),
    Path(PathBuf),
    Switch(bool),
    Count(u64),
    Share(f64),
    Time(Duration),
    Socket(SocketAddr),
    /// `None` is `auto`.
    Networks(Option<Vec<IpNet>>),
}

const MS: u64 = 1;
const SECOND: u64 = 1000 * MS;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Every key, in the order in which `config show` prints them.
pub const KEYS: &[Key] = &[
    key("node.name", Kind::Label, "", "what people call this node; unique in the cluster (default: the host name)"),
    Key { also_env: &["PENTORA_DATA_DIR"], ..key("node.data_dir", Kind::Path, "", "identity, log, state and results") },
    key("node.init", Kind::Switch, "false", "create a new cluster when the data directory holds no node yet"),
    key("mesh.listen", Kind::Socket, "0.0.0.0:7400", "address of the mesh; port 0 takes a free one"),
    key("mesh.advertise", Kind::Peers, "", "addresses under which other nodes reach this one"),
    key("mesh.profile", Kind::Word(&["lan", "wan", "fast"]), "lan", "timers of the leader election"),
    key("mesh.peers", Kind::Peers, "", "nodes to join through"),
    key("mesh.psk_file", Kind::Path, "", "file with the mesh's pre-shared key, 64 hexadecimal digits"),
    key(
        "server.mode",
        Kind::Word(&["coordinator", "worker"]),
        "coordinator",
        "coordinator may vote, worker only scans",
    ),
    key("server.api.listen", Kind::Socket, "127.0.0.1:8080", "address of the HTTP API"),
    key("server.api.auth", Kind::Word(&["jwt", "none"]), "jwt", "bearer tokens, or none on loopback only"),
    later("workers.auto_register", Kind::Switch, "true", "a valid token is enough to become a worker"),
    key("workers.heartbeat_interval", Kind::Time(100 * MS, HOUR), "5s", "how often a worker reports"),
    Key {
        effect: Effect::Refused("the replicated log replaces the broker"),
        ..key("queue.url", Kind::Anything, "", "not used: there is no broker")
    },
    key("queue.backend", Kind::Word(&["raft"]), "raft", "the replicated log; redis and kafka are refused"),
    key("worker.name", Kind::Label, "", "the same as node.name"),
    Key {
        also_env: &["COORDINATOR_URL"],
        ..key("worker.coordinator", Kind::Peers, "", "node to join through: a mesh address or an API address")
    },
    Key { also_env: &["WORKER_TOKEN"], ..key("worker.token", Kind::Secret, "", "join token") },
    key("worker.token_file", Kind::Path, "", "file with the join token"),
    key("worker.region", Kind::Label, "", "region label"),
    key("worker.tags", Kind::Labels, "", "labels that jobs may prefer or require"),
    key("worker.network_access", Kind::Networks, "auto", "prefixes this node can reach, or auto"),
    key("worker.capacity.max_concurrent_scans", Kind::Count(1, 1024), "10", "leases held at once"),
    key("worker.capacity.max_targets_per_scan", Kind::Count(1, 1 << 32), "65536", "targets in one unit"),
    later("worker.mode", Kind::Word(&["cluster", "standalone"]), "cluster", "standalone works from signed bundles"),
    later("worker.offline", Kind::Switch, "false", "no outbound connection but scans"),
    later("worker.local_queue", Kind::Path, "", "work orders of an offline worker"),
    later("worker.local_results", Kind::Path, "", "results of an offline worker"),
    later("sync.export_interval", Kind::Time(SECOND, 365 * DAY), "1h", "how often a bundle is written"),
    later("sync.export_path", Kind::Path, "", "where bundles are written"),
    later("sync.require_mount", Kind::Switch, "false", "refuse to write where nothing is mounted"),
    later(
        "coordinator.load_balancing.strategy",
        Kind::Word(&["round_robin", "least_loaded", "tag_affinity"]),
        "least_loaded",
        "which of several eligible workers is preferred",
    ),
    later(
        "coordinator.load_balancing.thresholds.max_queue_depth",
        Kind::Count(1, 1_000_000),
        "100",
        "waiting jobs before normal and low priority are turned away",
    ),
    later(
        "coordinator.load_balancing.thresholds.worker_max_load",
        Kind::Share,
        "0.8",
        "load above which a worker gets only urgent work",
    ),
    key("coordinator.job_retry.max_attempts", Kind::Count(1, 100), "3", "tries of a unit before it is given up"),
    later(
        "coordinator.job_retry.backoff",
        Kind::Word(&["none", "fixed", "exponential"]),
        "exponential",
        "pause between tries",
    ),
    key("coordinator.job_retry.timeout", Kind::Time(10 * SECOND, 7 * DAY), "30m", "time for one try of a unit"),
    later(
        "coordinator.worker_failure.action",
        Kind::Word(&["reassign", "wait", "fail"]),
        "reassign",
        "what happens to the units of a failed worker",
    ),
    key(
        "coordinator.worker_failure.grace_period",
        Kind::Time(SECOND, DAY),
        "15s",
        "silence after which a worker counts as failed",
    ),
    Key { also_env: &["PENTORA_API"], ..key("client.api", Kind::Urls, "", "API addresses for the command line") },
    Key {
        also_env: &["PENTORA_TOKEN_FILE"],
        ..key("client.token_file", Kind::Path, "", "file with the API token for the command line")
    },
];

/// A key that works.
const fn key(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Now, also_env: &[], about }
}

/// A key that is accepted and not used yet.
const fn later(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { effect: Effect::Later, ..key(path, kind, default, about) }
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

impl Kind {
    /// Turns the written value into a checked one.
    pub(super) fn check(self, raw: &Raw) -> Result<Checked, String> {
        match self {
            Self::Labels => each(raw, label).map(Checked::List),
            Self::Peers => each(raw, peer_address).map(Checked::List),
            Self::Urls => each(raw, http_url).map(|urls| Checked::Text(urls.join(","))),
            Self::Networks => networks(raw),
            _ => match raw {
                Raw::Text(text) => self.check_text(text.trim()),
                Raw::List(_) => Err("takes one value, not a list".to_owned()),
            },
        }
    }

    /// Kinds that take a single scalar.
    fn check_text(self, text: &str) -> Result<Checked, String> {
        match self {
            Self::Label => label(text).map(Checked::Text),
            Self::Path if text.contains('\0') || text.is_empty() => Err("is not a path".to_owned()),
            Self::Path => Ok(Checked::Path(PathBuf::from(text))),
            Self::Switch => match text {
                "true" => Ok(Checked::Switch(true)),
                "false" => Ok(Checked::Switch(false)),
                _ => Err(format!("`{text}` is neither true nor false")),
            },
            Self::Count(low, high) => match text.parse::<u64>() {
                Ok(count) if (low..=high).contains(&count) => Ok(Checked::Count(count)),
                _ => Err(format!("`{text}` is not a whole number from {low} to {high}")),
            },
            Self::Share => match text.parse::<f64>() {
                Ok(share) if share > 0.0 && share <= 1.0 => Ok(Checked::Share(share)),
                _ => Err(format!("`{text}` is not a number above 0 and up to 1")),
            },
            Self::Time(low, high) => {
                let time = parse_duration(text)?;
                let (low, high) = (Duration::from_millis(low), Duration::from_millis(high));
                if time < low || time > high {
                    return Err(format!("`{text}` is not between {low:?} and {high:?}"));
                }
                Ok(Checked::Time(time))
            }
            Self::Socket => match text.parse() {
                Ok(socket) => Ok(Checked::Socket(socket)),
                Err(_) => Err(format!("`{text}` is not an address with port, such as 127.0.0.1:8080 or [::1]:8080")),
            },
            Self::Word(words) if words.contains(&text) => Ok(Checked::Text(text.to_owned())),
            Self::Word(_) if matches!(text, "redis" | "kafka") => Err(format!(
                "`{text}` is not used: jobs are kept in the replicated log, which replaces the broker. Write raft or \
                 remove the key"
            )),
            Self::Word(words) => Err(format!("`{text}` is not one of {}", words.join(", "))),
            Self::Secret if text.is_empty() => Err("is empty".to_owned()),
            _ => Ok(Checked::Text(text.to_owned())),
        }
    }
}

/// Checks every item of a list; a scalar is a list with commas, so that a variable can hold one.
fn each(raw: &Raw, check: impl Fn(&str) -> Result<String, String>) -> Result<Vec<String>, String> {
    raw.items().map(|item| check(item.trim())).collect()
}

/// Names, regions and tags: what is safe in a table, a metric label and a file name.
fn label(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._:/@+=-".contains(c);
    if text.is_empty() || text.len() > 63 || !text.chars().all(good) || text.starts_with('-') {
        return Err(format!("`{}` is not a label: 1 to 63 letters, digits or ._:/@+=-", text.escape_debug()));
    }
    Ok(text.to_owned())
}

fn networks(raw: &Raw) -> Result<Checked, String> {
    if let Raw::Text(text) = raw
        && text.trim() == "auto"
    {
        return Ok(Checked::Networks(None));
    }
    let mut networks: Vec<IpNet> = Vec::new();
    for item in raw.items() {
        let item = item.trim();
        let prefix: Result<IpNet, _> = item.parse().or_else(|_| item.parse::<std::net::IpAddr>().map(IpNet::from));
        match prefix {
            Ok(network) => networks.push(network.trunc()),
            Err(_) => return Err(format!("`{item}` is not a prefix such as 10.0.0.0/16 (or the word auto)")),
        }
    }
    if networks.is_empty() {
        return Err("names no network: write prefixes, or the word auto".to_owned());
    }
    Ok(Checked::Networks(Some(networks)))
}

/// An API address; the client speaks plain HTTP, which is meant for loopback or a proxy that adds TLS.
fn http_url(text: &str) -> Result<String, String> {
    let authority = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    match authority {
        Some(authority) if !authority.is_empty() && authority.chars().all(|c| c.is_ascii_graphic() && c != '@') => {
            Ok(format!("http://{authority}"))
        }
        None if text.starts_with("https://") => {
            Err(format!("`{text}`: this version's client speaks http:// only; use a local node or a tunnel"))
        }
        _ => Err(format!("`{text}` is not an API address such as http://127.0.0.1:8080")),
    }
}

#[cfg(test)]
mod tests {
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
            ("queue.backend", "redis", "replicated log"),
            ("queue.backend", "kafka", "replicated log"),
            ("worker.network_access", "10.0.0.0/40", "is not a prefix"),
            ("worker.network_access", "", "names no network"),
            ("worker.capacity.max_concurrent_scans", "0", "from 1 to 1024"),
            ("worker.capacity.max_concurrent_scans", "0x10", "from 1 to 1024"),
            ("coordinator.load_balancing.thresholds.worker_max_load", "1.5", "above 0 and up to 1"),
            ("coordinator.load_balancing.thresholds.worker_max_load", "NaN", "above 0 and up to 1"),
            ("workers.heartbeat_interval", "30", "lacks a unit"),
            ("workers.heartbeat_interval", "1ms", "is not between"),
            ("client.api", "https://n1:8080", "http:// only"),
            ("client.api", "n1:8080", "is not an API address"),
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
