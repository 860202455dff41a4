//! Questions about standing scans.

use axum::http::Method;

use super::{Client, ClientError};
use crate::document::{KeepDocument, KeepRequest};

impl Client {
    /// Every standing scan, by name (`GET /keeps`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn keeps(&self) -> Result<Vec<KeepDocument>, ClientError> {
        self.pages("/api/v1/keeps", None).await
    }

    /// Makes a standing scan (`POST /keeps`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_keep(&self, request: &KeepRequest) -> Result<KeepDocument, ClientError> {
        self.post("/api/v1/keeps", request).await
    }

    /// One standing scan (`GET /keeps/{name}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn keep(&self, name: &str) -> Result<KeepDocument, ClientError> {
        self.get(&format!("/api/v1/keeps/{name}")).await
    }

    /// Holds a standing scan, or lets it go on (`POST /keeps/{name}/pause`, `resume`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn hold_keep(&self, name: &str, paused: bool) -> Result<KeepDocument, ClientError> {
        let verb = if paused { "pause" } else { "resume" };
        self.post(&format!("/api/v1/keeps/{name}/{verb}"), &serde_json::json!({})).await
    }

    /// Ends a standing scan (`DELETE /keeps/{name}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_keep(&self, name: &str) -> Result<(), ClientError> {
        self.command(Method::DELETE, &format!("/api/v1/keeps/{name}"), None).await
    }
}
