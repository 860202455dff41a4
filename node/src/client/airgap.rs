//! Bundles for and from workers without a network, and who those are.

use axum::http::Method;
use pentora_p2p::PeerId;

use super::{Client, ClientError, Pieces, in_path};
use crate::document::{ImportDocument, OfflineWorkerDocument};

impl Client {
    /// All orders that are carried out, as a bundle in pieces (`POST /exports`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn export(&self, feeds: bool) -> Result<Pieces, ClientError> {
        let path = format!("/api/v1/exports?feeds={feeds}");
        let reply = self.send(&self.call(Method::POST, &path, Some(b"{}".to_vec()))).await?;
        Ok(Pieces::new(self.good(reply).await?.body))
    }

    /// A finished job with all by which it can be verified, as a bundle in pieces (`GET /jobs/{id}/bundle`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job_bundle(&self, job: &str) -> Result<Pieces, ClientError> {
        let path = format!("/api/v1/jobs/{}/bundle", in_path(job));
        let reply = self.send(&self.call(Method::GET, &path, None)).await?;
        Ok(Pieces::new(self.good(reply).await?.body))
    }

    /// Takes a bundle of results in (`POST /imports`). It is sent once: it may be large, and taking it in twice is as once.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn import(
        &self,
        file: tokio::fs::File,
        dry_run: bool,
        trust: Option<PeerId>,
    ) -> Result<ImportDocument, ClientError> {
        let trust = trust.map(|key| format!("&trust={key}")).unwrap_or_default();
        let path = format!("/api/v1/imports?dry_run={dry_run}{trust}");
        let reply = self.backend.upload(&self.call(Method::POST, &path, None), file).await;
        self.decode(reply.map_err(super::Attempt::into_error)?).await
    }

    /// The workers without a network (`GET /offline-workers`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn offline_workers(&self) -> Result<Vec<OfflineWorkerDocument>, ClientError> {
        self.pages("/api/v1/offline-workers", None).await
    }

    /// Lets no more results of one in (`DELETE /offline-workers/{name}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_offline_worker(&self, name: &str) -> Result<(), ClientError> {
        self.command(Method::DELETE, &format!("/api/v1/offline-workers/{}", in_path(name)), None).await
    }
}
