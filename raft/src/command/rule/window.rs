//! Windows: when networks may be scanned, and blackouts: when they may not.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{RULE_NETWORKS_MAX, When};
use crate::names::names;

/// When networks may be scanned, or may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRule {
    /// Which; all where there is none.
    pub networks: Vec<IpNet>,
    /// When.
    pub when: When,
    /// What it does then.
    pub effect: WindowEffect,
}

/// What a window does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowEffect {
    /// Its networks may be scanned then, and at other times only by another window.
    Window,
    /// Its networks may not be scanned then, whatever windows say.
    Blackout,
}

names! { WindowEffect, name, NAMES:
    Window => "window",
    Blackout => "blackout",
}

impl WindowRule {
    /// What is wrong with it, or `None`.
    pub(super) fn problem(&self) -> Option<String> {
        let many = self.networks.len() > RULE_NETWORKS_MAX;
        let many = many.then(|| format!("a window names at most {RULE_NETWORKS_MAX} networks"));
        many.or_else(|| self.when.problem())
    }
}
