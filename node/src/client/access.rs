//! Questions about who may use the API, and about the audit log.

use axum::http::Method;

use super::{Client, ClientError, Pieces, in_path};
use crate::document::{AccessTokenCreated, AccessTokenDocument, AccessTokenRequest, AuditDocument, SessionDocument};

impl Client {
    /// Access tokens without their secrets (`GET /tokens`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn access_tokens(&self) -> Result<Vec<AccessTokenDocument>, ClientError> {
        self.pages("/api/v1/tokens", None).await
    }

    /// One access token without its secret (`GET /tokens/{name}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn access_token(&self, name: &str) -> Result<AccessTokenDocument, ClientError> {
        self.get(&format!("/api/v1/tokens/{}", in_path(name))).await
    }

    /// The token that this client shows (`GET /tokens/self`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn own_access_token(&self) -> Result<AccessTokenDocument, ClientError> {
        self.get("/api/v1/tokens/self").await
    }

    /// A session in place of the token that this client shows (`POST /auth/login`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn login(&self) -> Result<SessionDocument, ClientError> {
        self.post("/api/v1/auth/login", &serde_json::json!({})).await
    }

    /// Makes an access token (`POST /tokens`). Where the answer is lost, so is the secret: revoke it and make another.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_access_token(&self, request: &AccessTokenRequest) -> Result<AccessTokenCreated, ClientError> {
        self.post("/api/v1/tokens", request).await
    }

    /// Gives an access token another secret (`POST /tokens/{name}/rotate`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rotate_access_token(&self, name: &str) -> Result<AccessTokenCreated, ClientError> {
        self.post(&format!("/api/v1/tokens/{}/rotate", in_path(name)), &serde_json::json!({})).await
    }

    /// Makes an access token useless (`DELETE /tokens/{name}`), and with its work stops what it asked for.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_access_token(&self, name: &str, with_work: bool) -> Result<(), ClientError> {
        let how = if with_work { "?with_work=true" } else { "" };
        self.command(Method::DELETE, &format!("/api/v1/tokens/{}{how}", in_path(name)), None).await
    }

    /// The audit log, oldest entry first (`GET /audit`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit(&self) -> Result<Vec<AuditDocument>, ClientError> {
        self.pages("/api/v1/audit", None).await
    }

    /// The audit log as lines that can be verified without a node, in pieces (`GET /audit/export`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit_export(&self) -> Result<Pieces, ClientError> {
        let reply = self.send(&self.call(Method::GET, "/api/v1/audit/export", None)).await?;
        Ok(Pieces::new(self.good(reply).await?.body))
    }
}
