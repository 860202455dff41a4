//! Questions about the cluster's policy: each kind of rule listed, shown, written and removed in the same way.

use axum::http::Method;
use serde::Deserialize;

use super::{Client, ClientError, in_path};
use crate::document::{Noun, RuleDocument};

/// What something that is listed is called, and a word about it.
#[derive(Debug, Deserialize)]
pub struct Called {
    /// Its name.
    pub name: String,
    /// Its id, where commands take that.
    pub token_id: Option<String>,
    /// What it is for.
    #[serde(default, alias = "role")]
    pub reason: Option<String>,
}

impl Client {
    /// What there is in a list of the API with names, such as `sites` (`GET /sites` and the like).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn called(&self, list: &str) -> Result<Vec<Called>, ClientError> {
        self.pages(&format!("/api/v1/{list}"), None).await
    }

    /// The rules of a kind (`GET /scopes` and the like).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rules<N: Noun>(&self) -> Result<Vec<RuleDocument<N::Words>>, ClientError> {
        self.pages(&format!("/api/v1/{}", N::PATH), None).await
    }

    /// One rule (`GET /scopes/{name}` and the like).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rule<N: Noun>(&self, name: &str) -> Result<RuleDocument<N::Words>, ClientError> {
        self.get(&format!("/api/v1/{}/{}", N::PATH, in_path(name))).await
    }

    /// Writes a rule, over one of the same name (`POST /scopes` and the like).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_rule<N: Noun>(&self, request: &N::Request) -> Result<RuleDocument<N::Words>, ClientError> {
        self.post(&format!("/api/v1/{}", N::PATH), request).await
    }

    /// Takes a rule away (`DELETE /scopes/{name}` and the like).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_rule<N: Noun>(&self, name: &str) -> Result<(), ClientError> {
        self.command(Method::DELETE, &format!("/api/v1/{}/{}", N::PATH, in_path(name)), None).await
    }
}
