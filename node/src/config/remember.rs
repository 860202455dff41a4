//! What a node writes down about how it was started, so that it starts again by its data directory alone.
//!
//! Only what flags and environment said is kept: what stands in the operator's file is read there each time, and a value
//! deleted there must not live on here. Secrets and one-time wishes (create, join) are never kept.

use std::net::SocketAddr;
use std::path::Path;

use super::build::Loaded;
use super::issue::Origin;
use super::show::{render, scalar};
use super::{ApiSettings, ApiTls};

/// The file's name in the data directory.
pub const REMEMBERED_FILE: &str = "node.yaml";

/// The name of the file in the data directory that says where the API of the node that runs there is.
pub const API_FILE: &str = "api.yaml";

/// Keys that say what to do once, or where things are for others than the node.
const NEVER: [&str; 13] = [
    "node.data_dir",
    "node.init",
    "mesh.psk_file",
    "worker.name",
    "worker.coordinator",
    "worker.token",
    "worker.token_file",
    "client.api",
    "client.token_file",
    "client.ca_file",
    "client.ca_fingerprint",
    "telemetry.headers",
    "telemetry.headers_file",
];

/// The text of [`REMEMBERED_FILE`] for a node that was started as `loaded` says. A name that nobody said is not in it:
/// the node keeps the one that it was admitted by, whatever its machine is called.
#[must_use]
pub fn remembered(loaded: &Loaded) -> String {
    let wanted = |path: &str, origin: &Origin| {
        let told = matches!(origin, Origin::Remembered(_) | Origin::Environment(_) | Origin::Flag(_));
        told && !NEVER.contains(&path)
    };
    format!(
        "# Written by this node at its start: what it was told by flags and environment. The configuration file, \
         the\n# environment and flags are stronger; what they say at the next start is written down here in turn.\n{}",
        render(loaded, false, wanted)
    )
}

/// The text of [`API_FILE`] for a node whose API is as `api` says and listens `at`: all that a command beside it has to know, wherever
/// the node was told it, defaults included. The node itself never reads it.
#[must_use]
pub(super) fn noted(api: &ApiSettings, at: SocketAddr) -> String {
    let mut text = format!(
        "# Written by this node at its start: where its API is, for commands on this machine.\nserver:\n  api:\n    \
         listen: {}\n    insecure: {}\n",
        scalar(&at.to_string()),
        api.insecure
    );
    if let ApiTls::Files(files) = api.tls() {
        // A command may be given in another folder.
        let whole = |path: &Path| scalar(&std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string());
        text += &format!("    tls:\n      cert: {}\n      key: {}\n", whole(&files.cert), whole(&files.key));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigText, FlagValue, Purpose, Raw, Sources, load};
    use super::*;

    #[test]
    fn flags_and_environment_are_kept_but_neither_the_files_values_nor_secrets() {
        let mut sources = Sources {
            file: Some(ConfigText { name: "p.yaml".into(), text: "worker: {region: eu}".into() }),
            flags: vec![FlagValue { key: "mesh.listen", flag: "--mesh-listen", value: Raw::Text("10.0.0.1:1".into()) }],
            ..Sources::default()
        };
        for (name, value) in
            [("WORKER_TOKEN", "pnj_secret"), ("PENTORA_WORKER_TAGS", "a,b"), ("PENTORA_NODE_INIT", "true")]
        {
            sources.env.insert(name.to_owned(), value.to_owned());
        }
        let text = remembered(&load(&sources).unwrap());
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = ["mesh:", "  listen: \"10.0.0.1:1\"", "worker:", "  tags: [a, b]"];
        assert_eq!(lines, expected);
        let again = Sources { remembered: Some(ConfigText { name: "node.yaml".into(), text }), ..Sources::default() };
        let again = load(&again).unwrap();
        assert_eq!((again.config.mesh.listen.port(), again.config.worker.tags.len()), (1, 2));
        assert_eq!(again.origin("mesh.listen").map(ToString::to_string).as_deref(), Some("remembered node.yaml:4:11"));
    }
    #[test]
    fn what_is_noted_of_the_api_goes_before_what_others_say_of_it_and_takes_its_place_whole() {
        let text = |text: &str| Some(ConfigText { name: "p.yaml".into(), text: text.into() });
        let api = |text: &str| {
            let file = Some(ConfigText { name: "own.yaml".into(), text: text.into() });
            load(&Sources { file, ..Sources::default() }).unwrap().config.api
        };
        let found = |note: String| {
            let files = "server: {api: {listen: 0.0.0.0:8080, tls: {cert: /c, key: /k}}}";
            let noted = Some(ConfigText { name: "api.yaml".into(), text: note });
            let mut sources = Sources { file: text(files), noted, purpose: Purpose::Client, ..Sources::default() };
            sources.env.insert("PENTORA_SERVER_API_LISTEN".into(), "10.0.0.1:1".into());
            load(&sources).unwrap().config.api
        };
        let bound: SocketAddr = "127.0.0.1:41234".parse().unwrap();
        let plain = found(noted(&api("server: {api: {listen: 127.0.0.1:0}}"), bound));
        assert!(plain.listen == bound && matches!(plain.tls(), ApiTls::Plain), "{plain:?}");
        let everywhere: SocketAddr = "0.0.0.0:9".parse().unwrap();
        let of_cluster = found(noted(&api("server: {api: {listen: 0.0.0.0:9}}"), everywhere));
        assert!(of_cluster.listen == everywhere && matches!(of_cluster.tls(), ApiTls::Cluster), "{of_cluster:?}");
        let in_clear = found(noted(&api("server: {api: {listen: 0.0.0.0:9, insecure: true}}"), everywhere));
        assert!(matches!(in_clear.tls(), ApiTls::Plain), "{in_clear:?}");
        let given = found(noted(&api("server: {api: {tls: {cert: own $.pem, key: /own/key}}}"), bound));
        let ApiTls::Files(files) = given.tls() else { panic!("{given:?}") };
        assert_eq!((files.cert, files.key), (std::path::absolute("own $.pem").unwrap(), "/own/key".into()));
    }
}
