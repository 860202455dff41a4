//! What a node's files say, and a cluster where one answers: who may read the keys, releases, clocks beside each other.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Finding;
use crate::cli::api_session::{ApiSession, NodeArgs};
use crate::cli::context::Context;
use crate::config::{ApiTls, NodeConfig};
use crate::document::ClusterDocument;
use crate::tls::Given;

/// Files of a data directory that are for its owner alone.
const SECRETS: [&str; 4] = ["mesh.key", "mesh.psk", "admin.token", "api.pem"];
/// Days before its end from which a certificate is told.
const CERTIFICATE_DAYS: i64 = 14;
/// Clocks that differ by more are told, in milliseconds: NTP keeps them within a few.
const SKEW_MS_MAX: u64 = 1_000;

/// Who may read what is secret.
pub(super) fn keys(config: &NodeConfig) -> Vec<Finding> {
    let named = [&config.mesh.psk_file, &config.client.token_file];
    let kept = SECRETS.iter().map(|name| config.data_dir.join(name));
    // By what they are in the end: one file has many names, and is told once.
    let paths: BTreeSet<PathBuf> =
        kept.chain(named.into_iter().flatten().cloned()).filter_map(|path| path.canonicalize().ok()).collect();
    if paths.is_empty() {
        return vec![Finding::unknown("keys", format!("no node has been in {} yet", config.data_dir.display()))];
    }
    let open = |path: &PathBuf| {
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        let what = format!("{} is readable by others than its owner (mode {mode:o})", path.display());
        (mode & 0o077 != 0).then(|| Finding::fail("keys", what, format!("chmod 600 {}", path.display())))
    };
    let found: Vec<Finding> = paths.iter().filter_map(open).collect();
    if found.is_empty() {
        let home = config.data_dir.canonicalize().unwrap_or_default();
        // One that lies elsewhere may be called as one here.
        let name = |path: &PathBuf| path.strip_prefix(&home).unwrap_or(path).display().to_string();
        let names = paths.iter().map(name).collect::<Vec<_>>().join(", ");
        return vec![Finding::ok("keys", format!("{names}: for their owner alone"))];
    }
    found
}

/// How long the API's certificate holds on, where somebody gave the node one; those of the cluster's authority are renewed.
pub(super) fn certificate(config: &NodeConfig, now_s: i64) -> Option<Finding> {
    let about = "certificate";
    let ApiTls::Files(files) = config.api.tls() else { return None };
    let next = "put the new one in its place and send the node SIGHUP";
    let ends_s = match files.read(now_s) {
        Ok(Given { out_of_date: Some(why), .. }) => return Some(Finding::fail(about, why.to_string(), next)),
        Ok(given) => given.ends_s,
        Err(error) => return Some(Finding::fail(about, error.to_string(), next)),
    };
    let days = (ends_s - now_s) / 86_400;
    let what = format!("{} holds for {days} more days", files.cert.display());
    Some(if days < CERTIFICATE_DAYS { Finding::warn(about, what, next) } else { Finding::ok(about, what) })
}

/// What a node that runs tells of its cluster.
pub(super) async fn of_cluster(args: &NodeArgs, context: &Context) -> Vec<Finding> {
    let asked = async {
        let session = ApiSession::open(args, context)?;
        session.client.healthz().await.map_err(|error| session.failure(&error))?;
        session.client.cluster().await.map_err(|error| session.failure(&error))
    };
    match asked.await {
        Ok(cluster) => vec![versions(&cluster), clocks(&cluster)],
        Err(failure) => {
            vec![Finding::unknown("cluster", format!("versions and clocks are not compared: {}", failure.what))]
        }
    }
}

fn versions(cluster: &ClusterDocument) -> Finding {
    let about = "version skew";
    let own = env!("CARGO_PKG_VERSION");
    let incompatible = cluster.nodes.iter().filter(|node| node.status == "Incompatible");
    let cannot: Vec<&str> = incompatible.map(|node| node.name.as_str()).collect();
    if !cannot.is_empty() {
        let what = format!("{} cannot read the cluster's log (version {})", cannot.join(", "), cluster.log_version);
        return Finding::fail(about, what, "put the newer release on them");
    }
    let others = cluster.nodes.iter().filter(|node| node.version.as_deref().is_some_and(|version| version != own));
    let others: Vec<String> =
        others.map(|node| format!("{} runs {}", node.name, node.version.as_deref().unwrap_or("?"))).collect();
    if others.is_empty() {
        return Finding::ok(about, format!("every node runs {own}"));
    }
    let what = format!("this program is {own}; {}", others.join(", "));
    Finding::warn(about, what, "that is so while a cluster is upgraded; bring all nodes to one release then")
}

fn clocks(cluster: &ClusterDocument) -> Finding {
    let skewed = cluster.nodes.iter().filter_map(|node| Some((node, node.clock_ahead_ms?)));
    let skewed: Vec<String> = skewed
        .filter(|(_, ahead_ms)| ahead_ms.unsigned_abs() > SKEW_MS_MAX)
        .map(|(node, ahead_ms)| format!("{} by {ahead_ms} ms", node.name))
        .collect();
    if skewed.is_empty() {
        return Finding::ok("clock skew", "every clock that is known is within a second of the leader's");
    }
    let what = format!("ahead of the leader's clock: {}", skewed.join(", "));
    Finding::warn("clock skew", what, "let NTP keep these clocks (timedatectl set-ntp true)")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::config::{Sources, load};
    use crate::document::NodeDocument;

    #[test]
    fn a_key_that_others_may_read_fails_and_says_how_to_close_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut sources = Sources::default();
        sources.env.insert("PENTORA_DATA_DIR".to_owned(), folder.path().display().to_string());
        let config = load(&sources).unwrap().config;
        assert_eq!(keys(&config)[0].verdict, Verdict::Unknown);
        let key = folder.path().join("mesh.key");
        fs::write(&key, "k").unwrap();
        for (mode, verdict) in
            [(0o600, Verdict::Ok), (0o400, Verdict::Ok), (0o640, Verdict::Fail), (0o644, Verdict::Fail)]
        {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(keys(&config)[0].verdict, verdict, "{mode:o}");
        }
        assert_eq!(keys(&config)[0].next, Some(format!("chmod 600 {}", key.display())));
    }

    #[test]
    fn a_key_is_told_once_whatever_names_it_has_and_one_that_lies_elsewhere_with_its_place() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |path: &std::path::Path| {
            fs::write(path, "k").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let (own, other) = (folder.path().join("admin.token"), elsewhere.path().join("admin.token"));
        write(&own);
        write(&other);
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let told = |token_file: &std::path::Path| {
            let mut sources = Sources::default();
            sources.env.insert("PENTORA_DATA_DIR".to_owned(), folder.path().display().to_string());
            sources.env.insert("PENTORA_TOKEN_FILE".to_owned(), token_file.display().to_string());
            keys(&load(&sources).unwrap().config)[0].what.clone()
        };
        assert_eq!(told(&own), "admin.token: for their owner alone");
        assert_eq!(told(&link), "admin.token: for their owner alone");
        let other = other.canonicalize().unwrap();
        let both = told(&other);
        assert!(both.contains("admin.token, ") && both.contains(&*other.to_string_lossy()), "{both}");
    }

    #[test]
    fn a_certificate_that_ends_soon_is_told_and_one_that_is_over_fails() {
        use crate::tls::made::Authority;
        let folder = tempfile::tempdir().unwrap();
        let files = Authority::new().leaf(&["n1"], (2020, 2040)).write(folder.path());
        let mut sources = Sources::default();
        for (name, path) in [("CERT", &files.cert), ("KEY", &files.key)] {
            sources.env.insert(format!("PENTORA_SERVER_API_TLS_{name}"), path.display().to_string());
        }
        let config = load(&sources).unwrap().config;
        let end_s = "2040-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        for (days, verdict) in [(400, Verdict::Ok), (15, Verdict::Ok), (13, Verdict::Warn), (-1, Verdict::Fail)] {
            let found = certificate(&config, end_s - days * 86_400).unwrap();
            assert_eq!(found.verdict, verdict, "{found:?}");
        }
        assert!(certificate(&load(&Sources::default()).unwrap().config, 0).is_none());
    }

    #[test]
    fn releases_and_clocks_that_differ_are_told_by_name() {
        let node = |name: &str, version: &str, ahead| NodeDocument {
            name: name.into(),
            version: Some(version.into()),
            clock_ahead_ms: ahead,
            ..NodeDocument::default()
        };
        let cluster = |nodes| ClusterDocument { nodes, ..ClusterDocument::default() };
        let own = env!("CARGO_PKG_VERSION");
        let well = cluster(vec![node("n1", own, Some(3)), node("n2", own, None)]);
        assert_eq!((versions(&well).verdict, clocks(&well).verdict), (Verdict::Ok, Verdict::Ok));
        let other = cluster(vec![node("n1", own, Some(-1_500)), node("n2", "0.0.9", None)]);
        assert!(versions(&other).what.contains("n2 runs 0.0.9"), "{:?}", versions(&other));
        assert!(clocks(&other).what.contains("n1 by -1500 ms"), "{:?}", clocks(&other));
        let stuck = NodeDocument { status: "Incompatible".into(), ..node("n3", own, None) };
        assert_eq!(versions(&cluster(vec![stuck])).verdict, Verdict::Fail);
    }
}
