//! Join tokens: who may become a node. Of a secret, only what verifies it is kept: a key that proves are checked with.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Author, NewToken, NodeInfo, NodePolicy, NodeRole, Refusal, Response, TokenGrant};
use crate::id::{Digest, NodeId, TokenId, is_node_name};

/// A join token's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The node name it is for.
    pub name: String,
    /// What a proof of its secret half is verified with; of a token that an earlier release made, the secret's digest.
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
    /// Who made it: the name of an access token, where that is known.
    pub by: String,
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
                self.token_policies.remove(&id);
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
            by: String::new(),
        };
        self.tokens.insert(new.token, token);
        Ok(Response::Done)
    }

    pub(super) fn revoke_token(&mut self, token: TokenId) -> Result<Response, Refusal> {
        self.token_policies.remove(&token);
        self.tokens.remove(&token).map(|_| Response::Done).ok_or(Refusal::TokenUnknown)
    }

    /// Makes a token whose policy is more than an early release's token can say.
    pub(super) fn make_token(&mut self, grant: &TokenGrant) -> Result<Response, Refusal> {
        let TokenGrant { token, key, name, ttl_ms, uses, policy, by } = grant.clone();
        if !is_node_name(&name) {
            return Err(Refusal::Malformed { what: format!("no node can be called `{}`", name.escape_debug()) });
        }
        let is_new = self.tokens.get(&token).is_none();
        let (role, region, networks) = (policy.role, policy.region.clone(), policy.networks.clone());
        let made = self.create_token(&NewToken { token, secret: key, name, ttl_ms, uses, role, region, networks })?;
        if is_new {
            self.token_policies.insert(token, policy);
            if let Some(row) = self.tokens.get_mut(&token) {
                row.by = Author { who: by, from: String::new() }.cut().who;
            }
        }
        Ok(made)
    }

    /// What the nodes may be that use `token`, whose row is `row`.
    #[must_use]
    pub fn token_policy(&self, token: TokenId, row: &JoinToken) -> NodePolicy {
        self.token_policies.get(&token).cloned().unwrap_or_else(|| NodePolicy {
            role: row.role,
            region: row.region.clone(),
            networks: row.networks.clone(),
            ..NodePolicy::default()
        })
    }

    /// Admits a node whose proof the proposing member has verified.
    pub(super) fn admit_by_token(&mut self, index: u64, token: TokenId, info: &NodeInfo) -> Result<Response, Refusal> {
        let row = self.tokens.get(&token).ok_or(Refusal::TokenUnknown)?.clone();
        if let Some(node) = self.node_of(&info.peer) {
            return Ok(Response::Joined { node });
        }
        self.usable(&row)?;
        if !is_node_name(&info.name) {
            return Err(Refusal::Malformed { what: format!("no node can be called `{}`", info.name.escape_debug()) });
        }
        let policy = self.token_policy(token, &row);
        let node = self.admit(index, &policy.narrow(info))?;
        self.stand(node, policy, info);
        self.use_up(token);
        Ok(Response::Joined { node })
    }

    /// Whether a token has time and uses left.
    ///
    /// # Errors
    /// Which of them it lacks.
    pub fn usable(&self, row: &JoinToken) -> Result<(), Refusal> {
        if row.expires_at_ms <= self.now_ms() {
            return Err(Refusal::TokenExpired);
        }
        if row.uses_left == 0 { Err(Refusal::TokenUsed) } else { Ok(()) }
    }

    /// The node that was admitted as this peer.
    #[must_use]
    pub fn node_of(&self, peer: &str) -> Option<NodeId> {
        self.nodes.iter().find(|(_, node)| node.info.peer == peer).map(|(id, _)| *id)
    }

    fn use_up(&mut self, token: TokenId) {
        if let Some(row) = self.tokens.get_mut(&token) {
            row.uses_left = row.uses_left.saturating_sub(1);
        }
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
        if let Some(node) = self.node_of(&info.peer) {
            return Ok(Response::Joined { node });
        }
        self.usable(&row)?;
        let mut info = info.clone();
        info.role = if row.role == NodeRole::Scanner { NodeRole::Scanner } else { info.role };
        info.region = row.region.or(info.region);
        info.networks = row.networks.or(info.networks);
        let node = self.admit(index, &info)?;
        self.use_up(token);
        Ok(Response::Joined { node })
    }
}
