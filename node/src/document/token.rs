//! Join tokens: asking for one, the one-time answer with the secret, and the list without it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v1/worker-tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What the token is called in lists; also the default name of the node that joins with it.
    pub name: String,
    /// Seconds until it expires; absent takes the node's default (24 h).
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
    /// How often it may be used; absent means once.
    #[serde(default)]
    pub uses: Option<u32>,
    /// `scanner` for a node that never votes; absent or `member` lets the autopilot decide.
    #[serde(default)]
    pub role: Option<String>,
    /// Region forced upon the joining node.
    #[serde(default)]
    pub region: Option<String>,
    /// Networks the joining node may scan, as prefixes; empty means no limit beyond the scope.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Site of the joining node.
    #[serde(default)]
    pub site: Option<String>,
    /// Tags of the joining node, in place of what it says; empty leaves them to it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether it comes and goes: it never votes, and is forgotten ten minutes after it went.
    #[serde(default)]
    pub ephemeral: bool,
    /// Whether results may be kept on it for others; absent means yes, but for one that comes and goes.
    #[serde(default)]
    pub keeps_results: Option<bool>,
}

/// The only time the token itself is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// `pnj_...`; whoever holds it may join.
    pub token: String,
    /// RFC 3339.
    pub expires_at: String,
    /// The token's name.
    pub name: String,
}

/// Hides the token: it must not reach a log by way of `{:?}`.
impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated")
            .field("token", &"pnj_...")
            .field("expires_at", &self.expires_at)
            .field("name", &self.name)
            .finish()
    }
}

/// A token in a list, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenDocument {
    /// Handle for revocation.
    pub token_id: String,
    /// The token's name.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub expires_at: String,
    /// Uses left.
    pub uses_left: u32,
    /// `valid`, `expired`, `used` or `revoked`.
    pub status: String,
    /// As in [`TokenRequest::role`].
    #[serde(default)]
    pub role: Option<String>,
    /// As in [`TokenRequest::region`].
    #[serde(default)]
    pub region: Option<String>,
    /// As in [`TokenRequest::networks`].
    #[serde(default)]
    pub networks: Vec<String>,
    /// As in [`TokenRequest::site`].
    #[serde(default)]
    pub site: Option<String>,
    /// As in [`TokenRequest::tags`].
    #[serde(default)]
    pub tags: Vec<String>,
    /// As in [`TokenRequest::ephemeral`].
    #[serde(default)]
    pub ephemeral: bool,
    /// As in [`TokenRequest::keeps_results`].
    #[serde(default)]
    pub keeps_results: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_token_does_not_show_in_debug_output() {
        let created = TokenCreated { token: "pnj_secret".into(), expires_at: String::new(), name: "n2".into() };
        assert!(!format!("{created:?}").contains("secret"));
    }

    #[test]
    fn a_token_request_needs_only_a_name() {
        let request: TokenRequest = serde_json::from_str(r#"{"name":"n2"}"#).unwrap();
        assert_eq!((request.ttl_seconds, request.uses, request.networks.len()), (None, None, 0));
    }
}
