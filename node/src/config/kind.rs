//! What the value of a key may be: the check of a written value, and the types that come out of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use pentora_raft::command::AccessRole;

use super::address::coordinator_address;
use super::duration::parse_duration;
use super::layers::Raw;
use super::size::Size;
use super::{NetworkAccess, Secret, peer_address};
use crate::policy::exclusion_targets;
use crate::policy::own::check_window;
use crate::sign_in::Source;
use crate::signing::TrustedKey;
use crate::tls::{Fingerprint, is_host};

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
    /// A number of bytes within these bounds, with a unit.
    Size(u64, u64),
    /// An IP address with port to listen on.
    Socket,
    /// Addresses of nodes.
    Peers,
    /// Addresses of nodes, or of their APIs.
    Coordinators,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `auto` or a list of prefixes.
    Networks,
    /// Addresses, prefixes, ranges and host names, to be left out.
    Targets,
    /// Times of windows or blackouts, a text each.
    Windows,
    /// What a value of a claim means as a role: `VALUE=ROLE` each, or a mapping.
    Roles,
    /// A text that can be shown.
    Text,
    /// Where keys of a provider of identities are fetched from.
    KeysUrl,
    /// Public keys of people, each with a name behind it or none.
    Keys,
    /// A token: never shown.
    Secret,
    /// HTTP addresses.
    Urls,
    /// The HTTP address of a collector of traces.
    Collector,
    /// Names and addresses of hosts.
    Hosts,
    /// The fingerprint of a certificate.
    Fingerprint,
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
    Size(Size),
    Socket(SocketAddr),
    Networks(NetworkAccess),
    Fingerprint(Fingerprint),
}

/// What a checked value becomes in a field.
pub(super) trait Value: Sized {
    /// The value; `None` where the key's kind is of another type, which is a slip in the table.
    fn of(checked: Checked) -> Option<Self>;

    /// What stands for a key that nobody set and that has no default; `None` where the type has nothing to stand for it.
    fn absent() -> Option<Self> {
        None
    }
}

macro_rules! values {
    ($($type:ty = $pattern:pat => $value:expr),+ $(,)?) => {
        $(impl Value for $type {
            fn of(checked: Checked) -> Option<Self> {
                match checked {
                    $pattern => Some($value),
                    _ => None,
                }
            }
        })+
    };
}

values! {
    String = Checked::Text(text) => text,
    Secret = Checked::Text(text) => Self::new(&text),
    PathBuf = Checked::Path(path) => path,
    bool = Checked::Switch(is_on) => is_on,
    u64 = Checked::Count(count) => count,
    // The kinds of these keys end far below.
    u32 = Checked::Count(count) => Self::try_from(count).unwrap_or(Self::MAX),
    f64 = Checked::Share(share) => share,
    Duration = Checked::Time(time) => time,
    Size = Checked::Size(size) => size,
    SocketAddr = Checked::Socket(socket) => socket,
    NetworkAccess = Checked::Networks(networks) => networks,
    Fingerprint = Checked::Fingerprint(fingerprint) => fingerprint,
}

impl Value for Vec<String> {
    fn of(checked: Checked) -> Option<Self> {
        match checked {
            Checked::List(list) => Some(list),
            _ => None,
        }
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

impl<T: Value> Value for Option<T> {
    fn of(checked: Checked) -> Option<Self> {
        T::of(checked).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl Kind {
    /// Turns the written value into a checked one.
    pub(super) fn check(self, raw: &Raw) -> Result<Checked, String> {
        match self {
            Self::Labels => each(raw, label).map(Checked::List),
            Self::Peers => each(raw, peer_address).map(Checked::List),
            Self::Hosts => each(raw, host).map(Checked::List),
            Self::Coordinators => each(raw, coordinator_address).map(Checked::List),
            Self::Urls => each(raw, http_url).map(|urls| Checked::Text(urls.join(","))),
            Self::Networks => networks(raw),
            Self::Targets => each(raw, targets).map(Checked::List),
            Self::Windows => windows(raw).map(Checked::List),
            Self::Keys => each(raw, trusted_key).map(Checked::List),
            Self::Roles => each(raw, role_of_claim).map(Checked::List),
            _ => match raw {
                Raw::Text(text) => self.check_text(text.trim()),
                Raw::List(_) => Err("takes one value, not a list".to_owned()),
            },
        }
    }

    /// What is wrong with each item of a value that takes several, by its place in the list.
    pub(super) fn check_items(self, raw: &Raw) -> Vec<(usize, String)> {
        let items: Vec<&str> = match (self, raw) {
            (Self::Windows, Raw::Text(text)) => vec![text.trim()],
            (
                Self::Labels
                | Self::Peers
                | Self::Hosts
                | Self::Coordinators
                | Self::Urls
                | Self::Networks
                | Self::Targets
                | Self::Windows
                | Self::Keys
                | Self::Roles,
                _,
            ) => raw.items().collect(),
            _ => return Vec::new(),
        };
        let wrong = |item: &str| self.check(&Raw::List(vec![item.to_owned()])).err();
        items.into_iter().enumerate().filter_map(|(at, item)| Some((at, wrong(item)?))).collect()
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
            Self::Size(low, high) => {
                let size: Size = text.parse()?;
                if !(low..=high).contains(&size.0) {
                    return Err(format!("`{text}` is not between {low} and {high} bytes"));
                }
                Ok(Checked::Size(size))
            }
            Self::Socket => match text.parse() {
                Ok(socket) => Ok(Checked::Socket(socket)),
                Err(_) => Err(format!("`{text}` is not an address with port, such as 127.0.0.1:8080 or [::1]:8080")),
            },
            Self::Fingerprint => text.parse().map(Checked::Fingerprint),
            Self::Collector => collector(text).map(Checked::Text),
            Self::Word(words) if words.contains(&text) => Ok(Checked::Text(text.to_owned())),
            Self::Word(words) => Err(format!("`{text}` is not one of {}", words.join(", "))),
            Self::Text => plain(text).map(Checked::Text),
            Self::KeysUrl => Source::url(text).map(|_| Checked::Text(text.to_owned())),
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

fn host(text: &str) -> Result<String, String> {
    let shown = || format!("`{}` is neither an address nor a host name", text.escape_debug());
    if is_host(text) { Ok(text.to_owned()) } else { Err(shown()) }
}

/// The longest text of a provider's. Ours: authors have it in their names, of which 256 bytes are kept.
const TEXT_BYTES_MAX: usize = 128;

fn plain(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("`{}` is not a text of 1 to {TEXT_BYTES_MAX} bytes", text.escape_debug()));
    }
    Ok(text.to_owned())
}

/// A value of a claim, and the role that it means.
pub(super) fn claim_and_role(text: &str) -> Option<(String, AccessRole)> {
    let (value, role) = text.rsplit_once('=')?;
    Some((plain(value.trim()).ok()?, AccessRole::named(role.trim())?))
}

fn role_of_claim(text: &str) -> Result<String, String> {
    let read = claim_and_role(text).map(|(value, role)| format!("{value}={}", role.name()));
    let roles = AccessRole::NAMES.join(", ");
    read.ok_or_else(|| format!("`{}` is not VALUE=ROLE, with one of {roles}", text.escape_debug()))
}

fn targets(text: &str) -> Result<String, String> {
    exclusion_targets(&[text.to_owned()]).map(|_read| text.to_owned()).map_err(|error| error.to_string())
}

fn trusted_key(text: &str) -> Result<String, String> {
    text.parse::<TrustedKey>().map(|key| key.to_string()).map_err(|error| error.to_string())
}

/// A text is one of them, commas and all: days have some.
fn windows(raw: &Raw) -> Result<Vec<String>, String> {
    let texts = match raw {
        Raw::Text(text) if text.trim().is_empty() => Vec::new(),
        Raw::Text(text) => vec![text.trim().to_owned()],
        Raw::List(texts) => texts.iter().map(|text| text.trim().to_owned()).collect(),
    };
    let check = |text: &String| check_window(text).map_err(|why| format!("`{text}`: {why}"));
    texts.iter().try_for_each(check).map(|()| texts)
}

fn networks(raw: &Raw) -> Result<Checked, String> {
    if let Raw::Text(text) = raw
        && text.trim() == "auto"
    {
        return Ok(Checked::Networks(NetworkAccess::Auto));
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
    Ok(Checked::Networks(NetworkAccess::Networks(networks)))
}

/// A collector's address: with a path or without, and with nothing in it that is secret, since addresses are printed.
fn collector(text: &str) -> Result<String, String> {
    let good = reqwest::Url::parse(text).ok().filter(|url| {
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_whole = url.query().is_none() && url.fragment().is_none() && url.has_host();
        ["http", "https"].contains(&url.scheme()) && is_plain && is_whole
    });
    match good {
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
        None => {
            Err(format!("`{}` is not the address of a collector such as http://127.0.0.1:4318", text.escape_debug()))
        }
    }
}

/// An API address.
fn http_url(text: &str) -> Result<String, String> {
    let parts = ["https://", "http://"].into_iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)));
    let parts = parts.map(|(scheme, rest)| (scheme, rest.trim_end_matches('/')));
    match parts {
        Some((scheme, authority))
            if !authority.is_empty() && authority.chars().all(|c| c.is_ascii_graphic() && c != '@') =>
        {
            Ok(format!("{scheme}{authority}"))
        }
        _ => Err(format!("`{text}` is not an API address such as https://10.0.0.1:8080")),
    }
}
