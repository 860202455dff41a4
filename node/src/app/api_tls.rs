//! The certificate that this node's API shows, and its reading again.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{ApiSettings, ApiTls};
use crate::failure::{ExitCode, Failure};
use crate::tls::{Files, Shown};

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
        let given = files.read(now_s()).map_err(|error| {
            Failure::new(ExitCode::Config, "the API's certificate cannot be used")
                .because(error.to_string())
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

    /// Reads the files again, and shows what is in them if it is good. Blocks on a slow disk.
    pub(super) fn read_again(&self) {
        let Some(files) = &self.files else { return };
        let read = files.read(now_s()).and_then(|given| given.out_of_date.map_or(Ok(given.certified), Err));
        match read {
            Ok(certified) => {
                self.shown.show(certified);
                tracing::info!(path = %files.cert.display(), "the API's certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the API's certificate is wrong, and the one before is still shown"),
        }
    }
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
        own.read_again();
        assert!(shows(&own, &first).await, "over");
        let second = leaf(NOW);
        second.write(folder.path());
        std::fs::write(&files.key, &key).unwrap();
        own.read_again();
        assert!(shows(&own, &first).await, "another's key");
        second.write(folder.path());
        own.read_again();
        assert!(shows(&own, &second).await && !shows(&own, &first).await);
        std::fs::remove_file(&files.cert).unwrap();
        own.read_again();
        assert!(shows(&own, &second).await, "gone");
        let refused = OwnCertificate::of(&api).unwrap_err().to_string();
        assert!(refused.contains("the API's certificate cannot be used"), "{refused}");
    }
}
