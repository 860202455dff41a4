//! Join tokens: who may become a node. Only digests of secrets are kept.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{NewToken, NodeInfo, NodeRole, Refusal, Response};
use crate::id::{Digest, TokenId};

/// A join token's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The node name it is for.
    pub name: String,
    /// Digest of its secret half.
    pub secret: Digest,
    /// When it was made, unix milliseconds of the log's clock.
    pub created_at_ms: u64,
    /// When it ends.
    pub expires_at_ms: u64,
    /// How many nodes may still use it.
    pub uses_left: u32,
    /// The role it allows.
    pub role: NodeRole,
    /// The region it puts a node in.
    pub region: Option<String>,
    /// The networks it limits a node to.
    pub networks: Option<Vec<IpNet>>,
}

/// How many tokens are kept; the oldest expired ones go first. Ours: far above what a rollout makes in a day.
const TOKENS_MAX: usize = 10_000;

impl State {
    pub(super) fn create_token(&mut self, new: &NewToken) -> Result<Response, Refusal> {
        if new.uses == 0 || new.ttl_ms == 0 {
            return Err(Refusal::Malformed { what: "a join token needs at least one use and some time".into() });
        }
        if self.cluster().id.is_none() {
            return Err(Refusal::Malformed { what: "the cluster has not begun".into() });
        }
        // Asked again because the first answer was lost: what was used up meanwhile stays used up.
        if let Some(token) = self.tokens.get(&new.token) {
            return if token.secret == new.secret {
                Ok(Response::Done)
            } else {
                Err(Refusal::Malformed { what: "another join token has this id".into() })
            };
        }
        let now_ms = self.now_ms();
        if self.tokens.len() >= TOKENS_MAX {
            let over: Vec<TokenId> =
                self.tokens.iter().filter(|(_, token)| token.expires_at_ms <= now_ms).map(|(id, _)| *id).collect();
            for id in over {
                self.tokens.remove(&id);
            }
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Refusal::QueueFull { limit: TOKENS_MAX });
        }
        let token = JoinToken {
            name: new.name.clone(),
            secret: new.secret,
            created_at_ms: now_ms,
            expires_at_ms: now_ms.saturating_add(new.ttl_ms),
            uses_left: new.uses,
            role: new.role,
            region: new.region.clone(),
            networks: new.networks.clone(),
        };
        self.tokens.insert(new.token, token);
        Ok(Response::Done)
    }

    pub(super) fn revoke_token(&mut self, token: TokenId) -> Result<Response, Refusal> {
        self.tokens.remove(&token).map(|_| Response::Done).ok_or(Refusal::TokenUnknown)
    }

    pub(super) fn join(
        &mut self,
        index: u64,
        token: TokenId,
        secret: Digest,
        info: &NodeInfo,
    ) -> Result<Response, Refusal> {
        let row = self.tokens.get(&token).ok_or(Refusal::TokenUnknown)?.clone();
        if row.secret != secret {
            return Err(Refusal::TokenSecretWrong);
        }
        // The same peer asking again (its first answer was lost) gets the same id and uses nothing up.
        if let Some((&node, _)) = self.nodes.iter().find(|(_, node)| node.info.peer == info.peer) {
            return Ok(Response::Joined { node });
        }
        if row.expires_at_ms <= self.now_ms() {
            return Err(Refusal::TokenExpired);
        }
        if row.uses_left == 0 {
            return Err(Refusal::TokenUsed);
        }
        let mut info = info.clone();
        info.role = if row.role == NodeRole::Scanner { NodeRole::Scanner } else { info.role };
        info.region = row.region.or(info.region);
        info.networks = row.networks.or(info.networks);
        let node = self.admit(index, &info)?;
        if let Some(row) = self.tokens.get_mut(&token) {
            row.uses_left -= 1;
        }
        Ok(Response::Joined { node })
    }
}
