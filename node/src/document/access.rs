//! Access tokens: asking for one, the one-time answer with the secret, and the list without it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessTokenRequest {
    /// What it is called: 1 to 64 letters, digits, `.`, `_` and `-`. Names are never given twice.
    pub name: String,
    /// `viewer`, `auditor`, `operator` or `admin`.
    pub role: String,
    /// Seconds until it ends; absent means until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Networks that its bearer may scan, as prefixes; empty, with no scopes either, means all that policy allows.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Scopes that its bearer may scan, by name.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Requests a minute that each node takes from its bearer; absent for as many as its file says (500 a second).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Jobs of its bearer that wait or run at once; absent for as many as the cluster takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_jobs: Option<u32>,
    /// Targets of all its jobs in a day, UTC; absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets_per_day: Option<u64>,
}

/// The only time the token itself is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessTokenCreated {
    /// `pna_...`; whoever holds it is let in.
    pub token: String,
    /// Its name.
    pub name: String,
    /// As in [`AccessTokenRequest::role`].
    pub role: String,
    /// RFC 3339; absent where it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Hides the token: it must not reach a log by way of `{:?}`.
impl std::fmt::Debug for AccessTokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessTokenCreated")
            .field("token", &"pna_...")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// `POST /api/v1/auth/login`: a session that stands for the token that was shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionDocument {
    /// A JWT, to be shown as a bearer token.
    pub token: String,
    /// `Bearer`.
    pub token_type: String,
    /// Seconds until it ends: 900, or less where the token ends before.
    pub expires_in: u64,
    /// RFC 3339.
    pub expires_at: String,
    /// The name of the token that it stands for.
    pub name: String,
    /// As in [`AccessTokenRequest::role`].
    pub role: String,
}

/// Hides the session: it must not reach a log by way of `{:?}`.
impl std::fmt::Debug for SessionDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionDocument")
            .field("token", &"...")
            .field("expires_at", &self.expires_at)
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// An access token without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessTokenDocument {
    /// Its name.
    pub name: String,
    /// As in [`AccessTokenRequest::role`].
    pub role: String,
    /// `valid`, `expired`, `revoked`, or `restored`: it came with a backup and lets nobody in until it is given a secret.
    /// `person` of somebody whom a provider of identities lets in.
    pub status: String,
    /// RFC 3339; empty where it is no token, but somebody whom a provider of identities let in.
    pub created_at: String,
    /// When its secret became what it is, RFC 3339; empty as above.
    pub changed_at: String,
    /// RFC 3339; absent where it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339; absent where it was not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// As in [`AccessTokenRequest::networks`].
    #[serde(default)]
    pub networks: Vec<String>,
    /// As in [`AccessTokenRequest::scopes`].
    #[serde(default)]
    pub scopes: Vec<String>,
    /// As in [`AccessTokenRequest::requests_per_minute`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// As in [`AccessTokenRequest::open_jobs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_jobs: Option<u32>,
    /// As in [`AccessTokenRequest::targets_per_day`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets_per_day: Option<u64>,
    /// The name of the token with which it was made; empty for the one that was made with the cluster.
    pub by: String,
    /// The address from which it was made.
    pub from: String,
    /// What its bearer asked for that goes on by itself, where one token is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<TokenWork>,
}

/// What the bearer of a token asked for that goes on, also when the token is of no use any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenWork {
    /// Schedules that are not paused, by name.
    pub schedules: Vec<String>,
    /// Standing scans that are not paused, by name.
    pub keeps: Vec<String>,
    /// Jobs that wait or run.
    pub jobs: Vec<String>,
    /// Access tokens that it made or gave the secret that they have, and that are valid, by name.
    pub tokens: Vec<String>,
    /// Join tokens that it made and that let nodes in, by their ids.
    #[serde(default)]
    pub join_tokens: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_token_does_not_show_in_debug_output() {
        let created = AccessTokenCreated {
            token: "pna_secret".into(),
            name: "ci".into(),
            role: "viewer".into(),
            expires_at: None,
        };
        assert!(!format!("{created:?}").contains("secret"));
    }

    #[test]
    fn a_request_needs_a_name_and_a_role_and_a_misspelt_limit_is_an_error() {
        let request: AccessTokenRequest = serde_json::from_str(r#"{"name":"ci","role":"viewer"}"#).unwrap();
        assert_eq!((request.ttl_seconds, request.networks.len(), request.scopes.len()), (None, 0, 0));
        assert!(serde_json::from_str::<AccessTokenRequest>(r#"{"name":"ci"}"#).is_err());
        assert!(serde_json::from_str::<AccessTokenRequest>(r#"{"name":"ci","role":"viewer","network":[]}"#).is_err());
    }
}
