//! Which node to ask, and with which token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::{ApiTls, Loaded, Origin, Secret};
use crate::durable_file;
use crate::tls::{AUTHORITY_FILE, Anchor, Trust, WAITING_FILE, first_of};

/// Largest token file: a token is a line.
const TOKEN_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Room for what a token file has; a join token has less than 200 letters.
const TOKEN_ROOM_BYTES: usize = 1024;

/// Where a node is expected, and the proof of who is asking.
#[derive(Debug, Clone)]
pub struct Location {
    /// `https://host:port` or `http://...`, in order of preference.
    pub endpoints: Vec<String>,
    /// The API token, if one was found.
    pub token: Option<Secret>,
    /// Who is believed to be a node there.
    pub trust: Trust,
    /// Whether somebody named a cluster, rather than us hoping for one on this host.
    pub chosen: bool,
    /// Where a token was looked for, as a sentence fragment.
    pub searched: String,
}

impl Location {
    /// An address of another machine that a token would be sent to in plain HTTP.
    #[must_use]
    pub fn in_clear(&self) -> Option<&str> {
        let is_clear = |endpoint: &&String| {
            let Some(authority) = endpoint.strip_prefix("http://") else { return false };
            let authority = authority.split('/').next().unwrap_or_default();
            let host = match authority.strip_prefix('[') {
                Some(rest) => rest.split(']').next().unwrap_or_default(),
                None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
            };
            let is_own = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
            !is_own && !host.eq_ignore_ascii_case("localhost")
        };
        self.token.as_ref().and_then(|_| self.endpoints.iter().find(is_clear)).map(String::as_str)
    }
}

/// A token file that was named and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the token file {} ({origin}) cannot be used: {reason}", path.display())]
pub struct TokenFileError {
    /// The file.
    pub path: PathBuf,
    /// Who named it.
    pub origin: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Finds addresses and token in `loaded`.
///
/// Addresses: `--api`, `PENTORA_API`, `client.api`, else the API of a node on this host. Token: the file of
/// `--token-file`, `PENTORA_TOKEN_FILE` or `client.token_file`, else `admin.token` in the data directory, which the
/// first node of a cluster writes.
///
/// # Errors
/// A token file was named and cannot be read. A missing `admin.token` is no error.
pub fn locate(loaded: &Loaded) -> Result<Location, TokenFileError> {
    let client = &loaded.config.client;
    let said = Trust::said(client.ca_file.as_deref(), client.ca_fingerprint);
    let (endpoints, trust) = match &client.api {
        Some(api) => (api.split(',').map(str::to_owned).collect(), said),
        None => {
            let (endpoint, trust) = here(loaded, said);
            (vec![endpoint], trust)
        }
    };
    let chosen = client.api.is_some();
    if let Some(path) = &client.token_file {
        let origin = loaded.origin("client.token_file").map_or_else(String::new, Origin::to_string);
        return match read_token(path) {
            Ok(token) => Ok(Location {
                endpoints,
                token: Some(token),
                trust,
                chosen,
                searched: format!("{} ({origin})", path.display()),
            }),
            Err(reason) => Err(TokenFileError { path: path.clone(), origin, reason }),
        };
    }
    let path = loaded.config.data_dir.join("admin.token");
    let (token, found) = match read_token(&path) {
        Ok(token) => (Some(token), "was used".to_owned()),
        Err(reason) => (None, reason),
    };
    let searched =
        format!("no --token-file, PENTORA_TOKEN_FILE or client.token_file was given; {}: {found}", path.display());
    Ok(Location { endpoints, token, trust, chosen, searched })
}

/// The API of a node on this host. One with a certificate from files is known by that, if it may be read here: it is for
/// names under which others reach the node.
fn here(loaded: &Loaded, said: Trust) -> (String, Trust) {
    let address = reachable(loaded.config.api.listen);
    match loaded.config.api.tls() {
        ApiTls::Plain => (format!("http://{address}"), said),
        ApiTls::Files(files) => {
            let own = first_of(&files.cert).map(|own| Trust::only(Anchor::Exactly(own)));
            (format!("https://{address}"), own.unwrap_or(said))
        }
        // The node writes its cluster's authority down, and before it has one what it shows in the meantime.
        ApiTls::Cluster => {
            let noted = |name: &str| first_of(&loaded.config.data_dir.join(name));
            let trust = noted(AUTHORITY_FILE).map(Anchor::Authority).map(Trust::only).unwrap_or(said);
            let own = noted(WAITING_FILE).map(Anchor::Exactly);
            (format!("https://{address}"), own.map(|own| trust.clone().or(own)).unwrap_or(trust))
        }
    }
}

/// The address under which a listener on this host is reached.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The one line of a token file.
///
/// # Errors
/// A sentence fragment: missing, unreadable, empty, or not a token.
pub fn read_token(path: &Path) -> Result<Secret, String> {
    use std::io::Read;
    let file = durable_file::given(path).map_err(|error| error.to_string())?;
    // With room for a token and more: of a text that grows pieces are left behind, and reading to an end that is not known begins
    // on the stack.
    let mut text = Zeroizing::new(String::with_capacity(TOKEN_ROOM_BYTES));
    file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    // Some editors begin a file with a mark of its byte order, which is no part of what is in it.
    checked_token(text.strip_prefix('\u{feff}').unwrap_or(&text))
}

/// A token as a header can carry it.
///
/// # Errors
/// A sentence fragment: empty, or with characters that no token has.
pub fn checked_token(text: &str) -> Result<Secret, String> {
    let token = Secret::new(text);
    match token.expose() {
        "" => Err("it is empty".to_owned()),
        text if !text.chars().all(|c| c.is_ascii_graphic()) => Err("it holds more than one token".to_owned()),
        _ => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FlagValue, Raw, Sources, load};

    fn located(directory: &Path, flags: &[(&'static str, &str)]) -> Result<Location, TokenFileError> {
        let flag =
            |(key, value): &(&'static str, &str)| FlagValue { key, flag: "--x", value: Raw::Text((*value).to_owned()) };
        let mut sources = Sources { flags: flags.iter().map(flag).collect(), ..Sources::default() };
        sources.env.insert("PENTORA_DATA_DIR".to_owned(), directory.display().to_string());
        locate(&load(&sources).unwrap())
    }

    #[test]
    fn a_mark_of_the_byte_order_is_no_part_of_a_token() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "\u{feff}pna_1\r\n").unwrap();
        assert_eq!(read_token(&file).unwrap().expose(), "pna_1");
        std::fs::write(&file, "\u{feff}").unwrap();
        assert_eq!(read_token(&file).unwrap_err(), "it is empty");
    }

    #[test]
    fn a_token_that_would_go_to_another_machine_in_clear_is_told_of_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let clear =
            |api: &str| located(directory.path(), &[("client.api", api)]).unwrap().in_clear().map(str::to_owned);
        assert_eq!(clear("http://10.0.0.1:8080"), None, "no token goes there");
        std::fs::write(directory.path().join("admin.token"), "pna_1\n").unwrap();
        let plain = "http://127.0.0.1:1,http://[::1]:1,http://localhost:1,https://10.0.0.1:1,http://127.0.0.9";
        assert_eq!(clear(plain), None);
        for api in ["http://10.0.0.1:8080", "http://[fd00::1]:8080", "http://n1.example", "http://127.0.0.1.example:1"]
        {
            assert_eq!(clear(&format!("https://10.0.0.1:1,{api}")).as_deref(), Some(api));
        }
    }

    #[test]
    fn without_settings_a_node_on_this_host_is_hoped_for_with_the_token_of_its_data_directory() {
        let directory = tempfile::tempdir().unwrap();
        let location = located(directory.path(), &[]).unwrap();
        assert_eq!(location.endpoints, ["http://127.0.0.1:8080"]);
        assert!(!location.chosen && location.token.is_none());
        assert!(location.searched.contains("admin.token: No such file"), "{}", location.searched);

        std::fs::write(directory.path().join("admin.token"), "pna_1\n").unwrap();
        let location = located(directory.path(), &[("server.api.listen", "127.0.0.1:81")]).unwrap();
        assert_eq!(location.endpoints, ["http://127.0.0.1:81"]);
        assert_eq!(location.token.as_ref().map(Secret::expose), Some("pna_1"));
    }

    #[test]
    fn a_node_on_this_host_that_others_reach_is_asked_over_tls_and_known_by_what_it_wrote_down() {
        let directory = tempfile::tempdir().unwrap();
        let listen = ("server.api.listen", "[::]:81");
        let before = located(directory.path(), &[listen]).unwrap();
        assert_eq!((before.endpoints, before.trust), (vec!["https://[::1]:81".to_owned()], Trust::default()));
        let authority = crate::tls::made::Authority::new();
        std::fs::copy(authority.write(directory.path()), directory.path().join(AUTHORITY_FILE)).unwrap();
        let location = located(directory.path(), &[listen]).unwrap();
        assert_eq!(location.trust, Trust::only(Anchor::Authority(authority.fingerprint())));
        let waits = authority.leaf(&["n1"], crate::tls::made::NOW);
        std::fs::write(directory.path().join(WAITING_FILE), crate::tls::certificate_pem(&waits.chain[0])).unwrap();
        let waiting = located(directory.path(), &[listen]).unwrap();
        let own = Anchor::Exactly(crate::tls::Fingerprint::of(&waits.chain[0]));
        assert_eq!(waiting.trust, location.trust.or(own), "what it shows until the authority signs");
        std::fs::remove_file(directory.path().join(WAITING_FILE)).unwrap();
        let insecure = located(directory.path(), &[listen, ("server.api.insecure", "true")]).unwrap();
        assert_eq!(insecure.endpoints, ["http://[::1]:81"]);
        let own = authority.leaf(&["n1"], crate::tls::made::NOW);
        let files = own.write(directory.path());
        let [cert, key] = [files.cert, files.key].map(|path| path.display().to_string());
        let given = [listen, ("server.api.tls.cert", cert.as_str()), ("server.api.tls.key", key.as_str())];
        let location = located(directory.path(), &given).unwrap();
        assert_eq!(location.trust, Trust::only(Anchor::Exactly(crate::tls::Fingerprint::of(&own.chain[0]))));
    }

    #[test]
    fn a_named_cluster_is_chosen_with_every_address() {
        let directory = tempfile::tempdir().unwrap();
        let location = located(directory.path(), &[("client.api", "http://n1:8080,http://n2:8080/")]).unwrap();
        assert!(location.chosen);
        assert_eq!(location.endpoints, ["http://n1:8080", "http://n2:8080"]);
    }

    #[test]
    fn a_named_token_file_must_hold_one_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t");
        let named = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            located(directory.path(), &[("client.token_file", path.to_str().unwrap())])
                .map_err(|error| error.to_string())
        };
        assert!(named(None).unwrap_err().contains("(flag --x) cannot be used: No such file"));
        assert!(named(Some(" \n")).unwrap_err().contains("it is empty"));
        assert!(named(Some("a b")).unwrap_err().contains("more than one"));
        assert_eq!(named(Some("pna_2\n")).unwrap().token.as_ref().map(Secret::expose), Some("pna_2"));
    }
}
