//! Workers that fail what they get: how often in a row, why, and until when each is set aside.
//!
//! Only failures and completions are counted here. That a worker is set aside is proposed by the leader, which alone knows
//! for how long; a worker that completes a unit, starts again or leaves has no row any more.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Refusal, Response};
use crate::id::NodeId;

/// How much of a reason is kept, in characters. Ours: a few lines of a terminal.
const REASON_CHARS_MAX: usize = 300;

/// What is known of a worker that fails.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Units that it failed since it completed one, or since it was set aside last.
    pub failures: u32,
    /// Why it failed the last one.
    pub reason: String,
    /// Until when it is set aside, unix milliseconds; `None` where it never was.
    pub aside_until_ms: Option<u64>,
    /// How often it was set aside without completing a unit.
    pub times: u32,
}

impl Health {
    /// Whether it is set aside at `now_ms`.
    #[must_use]
    pub fn is_aside(&self, now_ms: u64) -> bool {
        self.aside_until_ms.is_some_and(|until| until > now_ms)
    }
}

impl State {
    /// The workers that fail, by node.
    pub fn failing(&self) -> impl Iterator<Item = (NodeId, &Health)> {
        self.health.iter().map(|(node, health)| (*node, health))
    }

    /// What is known of a worker that fails; `None` where nothing is.
    #[must_use]
    pub fn health(&self, node: NodeId) -> Option<&Health> {
        self.health.get(&node)
    }

    /// Counts a unit that `node` failed.
    pub(crate) fn note_failure(&mut self, node: NodeId, reason: &str) {
        if self.nodes.get(&node).is_none() {
            return;
        }
        let mut health = self.health.get(&node).cloned().unwrap_or_default();
        health.failures = health.failures.saturating_add(1);
        health.reason = reason.chars().take(REASON_CHARS_MAX).collect();
        self.health.insert(node, health);
    }

    /// `node` did a unit, began anew or is gone: nothing is held against it.
    pub(super) fn clear_health(&mut self, node: NodeId) {
        if self.health.get(&node).is_some() {
            self.health.remove(&node);
        }
    }

    /// Sets a node aside that fails; one that does not is left alone.
    pub(super) fn set_aside(&mut self, node: NodeId, until_ms: u64) -> Result<Response, Refusal> {
        if self.nodes.get(&node).is_none() {
            return Err(Refusal::NodeUnknown { node });
        }
        // The same word again, as a proposal that is retried brings it, is no second time.
        let is_new = self.health.get(&node).is_some_and(|health| health.aside_until_ms != Some(until_ms));
        if is_new && let Some(health) = self.health.get_mut(&node) {
            health.aside_until_ms = Some(until_ms);
            health.failures = 0;
            health.times = health.times.saturating_add(1);
        }
        Ok(Response::Done)
    }
}
