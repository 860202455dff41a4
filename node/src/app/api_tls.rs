//! The certificate that this node's API shows, and its reading again.

use std::time::{SystemTime, UNIX_EPOCH};

use super::certifier::OWN_MACHINE;
use crate::config::{ApiSettings, ApiTls};
use crate::data_dir::{DataDir, is_kept};
use crate::failure::{ExitCode, Failure};
use crate::tls::{Authority, Files, Given, Leaf, Pair, Shown, Wanted, certificate_pem};

/// Where a certificate is shown, and the files that it comes from; without files it is of the cluster's authority
/// (`certifier`).
#[derive(Debug, Clone)]
pub(super) struct OwnCertificate {
    files: Option<Files>,
    shown: Shown,
}

impl OwnCertificate {
    /// Reads what the configuration names; nothing where the API is plain.
    ///
    /// # Errors
    /// The files cannot be used.
    pub(super) fn of(api: &ApiSettings) -> Result<Option<Self>, Failure> {
        let files = match api.tls() {
            ApiTls::Plain => return Ok(None),
            ApiTls::Cluster => return Ok(Some(Self { files: None, shown: Shown::default() })),
            ApiTls::Files(files) => files,
        };
        let given = read(&files).map_err(|error| {
            Failure::new(ExitCode::Config, "the API's certificate cannot be used")
                .because(error)
                .next("correct server.api.tls.cert and server.api.tls.key")
        })?;
        if let Some(why) = given.out_of_date {
            tracing::error!(%why, "clients will not trust the API");
        }
        let shown = Shown::default();
        shown.show(given.certified);
        Ok(Some(Self { files: Some(files), shown }))
    }

    /// What is shown.
    pub(super) fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Whether it is of the cluster's authority.
    pub(super) fn is_of_cluster(&self) -> bool {
        self.files.is_none()
    }

    /// Where it is to be of the cluster's authority: shows one of this process's own making until then, and notes it for commands
    /// beside this node, which know it by that alone. Nobody else believes it, and nobody is to: a probe that looks at no
    /// certificate is answered.
    pub(super) fn show_own(&self, data_dir: &DataDir, name: &str) {
        if !self.is_of_cluster() {
            return;
        }
        let shown = own(name).and_then(|(leaf, certificate)| {
            data_dir.save_waiting(&certificate_pem(&certificate)).map_err(|error| error.to_string())?;
            self.shown.show(leaf.certified());
            Ok(())
        });
        if let Err(why) = shown {
            tracing::warn!(why, "the API has no certificate before the cluster's authority signs one");
        }
    }

    /// Reads the files again, and shows what is in them if it is good; whether it is. Blocks on a slow disk.
    pub(super) fn read_again(&self) -> bool {
        let Some(files) = &self.files else { return false };
        let read = read(files);
        let read = read.and_then(|given| given.out_of_date.map_or(Ok(given.certified), |error| Err(error.to_string())));
        match read {
            Ok(certified) => {
                self.shown.show(certified);
                tracing::info!(path = %files.cert.display(), "the API's certificate was read again");
                true
            }
            Err(error) => {
                tracing::error!(error, "the API's certificate is wrong, and the one before is still shown");
                false
            }
        }
    }
}

/// Reads files that nobody else may change or exchange: whose key it is, is taken for this node.
fn read(files: &Files) -> Result<Given, String> {
    for path in [&files.cert, &files.key] {
        is_kept(path).map_err(|error| error.to_string())?;
    }
    files.read(now_s()).map_err(|error| error.to_string())
}

/// A certificate for this machine alone, of an authority that is forgotten at once, and its own DER.
fn own(name: &str) -> Result<(Leaf, Vec<u8>), String> {
    let wanted = Wanted { node: name.to_owned(), hosts: OWN_MACHINE.map(str::to_owned).to_vec(), is_member: false };
    let (authority, pair) = (Authority::make(&rand::random(), now_s()), Pair::generate()?);
    let chain = authority.and_then(|authority| authority.sign(pair.point(), &wanted, now_s()));
    let chain = chain.map_err(|error| error.to_string())?;
    let certificate = chain.first().cloned().unwrap_or_default();
    Ok((pair.with(chain)?, certificate))
}

#[expect(clippy::disallowed_methods, reason = "an edge: certificates end at dates of the calendar")]
pub(super) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use crate::tls::made::{Authority, Made, NOW, Years};
    use crate::tls::{Anchor, Fingerprint, Trust};

    /// Whether what is shown is this one.
    async fn shows(own: &OwnCertificate, made: &Made) -> bool {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let trust = Trust::only(Anchor::Exactly(Fingerprint::of(&made.chain[0])));
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(trust.config().unwrap()));
        let acceptor = own.shown().acceptor();
        let name = "n1".try_into().unwrap();
        let (client, _server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
        client.is_ok()
    }

    #[tokio::test]
    async fn files_that_are_wrong_when_they_are_read_again_leave_the_one_before_and_good_ones_take_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let leaf = |years: Years| authority.leaf(&["n1"], years);
        let first = leaf(NOW);
        let files = first.write(folder.path());
        let mut sources = Sources::default();
        for (name, path) in [("CERT", &files.cert), ("KEY", &files.key)] {
            sources.env.insert(format!("PENTORA_SERVER_API_TLS_{name}"), path.display().to_string());
        }
        let api = load(&sources).unwrap().config.api;
        let own = OwnCertificate::of(&api).unwrap().unwrap();
        assert!(shows(&own, &first).await && !own.is_of_cluster());
        let key = std::fs::read(&files.key).unwrap();
        leaf((2020, 2021)).write(folder.path());
        assert!(!own.read_again());
        assert!(shows(&own, &first).await, "over");
        let second = leaf(NOW);
        second.write(folder.path());
        std::fs::write(&files.key, &key).unwrap();
        assert!(!own.read_again());
        assert!(shows(&own, &first).await, "another's key");
        second.write(folder.path());
        assert!(own.read_again());
        assert!(shows(&own, &second).await && !shows(&own, &first).await);
        let chmod = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        let third = leaf(NOW);
        third.write(folder.path());
        for (exposed, mode, kept) in [(folder.path(), 0o777, 0o700), (files.cert.as_path(), 0o646, 0o600)] {
            chmod(exposed, mode);
            assert!(!own.read_again());
            assert!(shows(&own, &second).await, "others may put theirs there");
            assert!(OwnCertificate::of(&api).unwrap_err().to_string().contains("to mend it: chmod o-w "));
            chmod(exposed, kept);
        }
        std::fs::remove_file(&files.cert).unwrap();
        assert!(!own.read_again());
        assert!(shows(&own, &second).await, "gone");
        let refused = OwnCertificate::of(&api).unwrap_err().to_string();
        assert!(refused.contains("the API's certificate cannot be used"), "{refused}");
    }

    #[tokio::test]
    async fn before_the_authority_signs_one_a_certificate_is_shown_that_commands_beside_the_node_know() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let mut sources = Sources::default();
        sources.env.insert("PENTORA_SERVER_API_LISTEN".into(), "0.0.0.0:8080".into());
        let own = OwnCertificate::of(&load(&sources).unwrap().config.api).unwrap().unwrap();
        own.show_own(&data_dir, "n1");
        let connects = async |trust: Trust| {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(trust.config().unwrap()));
            let acceptor = own.shown().acceptor();
            let (client, _server) =
                tokio::join!(connector.connect("127.0.0.1".try_into().unwrap(), ours), acceptor.accept(theirs));
            client.is_ok()
        };
        let noted = crate::tls::first_of(&folder.path().join(crate::tls::WAITING_FILE)).unwrap();
        assert!(connects(Trust::only(Anchor::Exactly(noted))).await);
        let cluster = crate::tls::Authority::make(&[1; 16], now_s()).unwrap();
        assert!(!connects(Trust::only(Anchor::Authority(cluster.fingerprint()))).await, "it is no cluster's");
        data_dir.forget_waiting();
        assert!(!folder.path().join(crate::tls::WAITING_FILE).exists());
    }
}
