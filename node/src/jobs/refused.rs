//! Why a request is no job.

use std::time::Duration;

use pentora_raft::JobId;
use pentora_scanner::port::PortError;
use pentora_scanner::spec::{DiscoveryError, SpecError};
use pentora_scanner::target::TargetError;

use super::NotAsked;
use crate::exclusions::ExclusionError;
use crate::orders::OrderError;
use crate::policy::{Closed, OutsidePolicy};
use crate::rpc::proposer::Unavailable;

/// Why a request was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RefusedRequest {
    /// Targets that do not parse.
    #[error(transparent)]
    Targets(Box<TargetError>),
    /// Exclusions that cannot be held to.
    #[error(transparent)]
    Exclusions(Box<ExclusionError>),
    /// Ports that do not parse.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// Ports to leave out that do not parse.
    #[error("exclude_{0}")]
    ExcludedPorts(PortError),
    /// Discovery probes that do not parse.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Fields that do not go together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// There is no such profile.
    #[error("there is no profile named `{name}`: built in are {built_in}; `pentora profile list` prints all")]
    Profile {
        /// The name.
        name: String,
        /// Those that are built in.
        built_in: String,
    },
    /// Both ways of naming ports at once, a number of 0, and the like.
    #[error("{0}")]
    Field(&'static str),
    /// The hosts of a link are not known.
    #[error("the hosts of {link} are not known: {why}")]
    Link {
        /// The link.
        link: String,
        /// Why not.
        why: String,
        /// Whether they may not be looked for.
        is_denied: bool,
    },
    /// Outside of what the cluster's rules allow.
    #[error(transparent)]
    Scope(#[from] OutsidePolicy),
    /// Its signature does not hold.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// It is more than was signed.
    #[error(transparent)]
    NotAsked(#[from] NotAsked),
    /// An order for one job, which is made already.
    #[error("the order was carried out as {job}: an order is for one job, sign another")]
    OrderUsed {
        /// That job.
        job: JobId,
    },
    /// The order of a schedule, for a scan that is none of its times.
    #[error("the order was signed for a schedule's times, and is no order for a scan beside them: sign that by itself")]
    OrderRepeats,
    /// A window is closed, or a blackout holds.
    #[error("these targets may not be scanned now: {0}")]
    Closed(Closed),
    /// Several sites have an address, and none was named.
    #[error("{range} is at several sites, each with hosts of its own: {}", sites.join(", "))]
    Ambiguous {
        /// The first range that is.
        range: String,
        /// The sites.
        sites: Vec<String>,
    },
    /// There is no such site.
    #[error("there is no site named `{name}`: {}", there_is(sites))]
    Site {
        /// The name.
        name: String,
        /// Those that there are.
        sites: Vec<String>,
    },
    /// An exclusion of the cluster cannot be held to.
    #[error("exclusion `{rule}` cannot be held to: {error}")]
    Rule {
        /// Which.
        rule: String,
        /// Why.
        error: Box<ExclusionError>,
    },
    /// The cluster's exclusions leave nothing.
    #[error("every target is excluded, by {rules}")]
    AllExcluded {
        /// Which do.
        rules: String,
    },
    /// No node may take a part of it.
    #[error("no node can scan {part}")]
    NoEligibleNode {
        /// Which part of the targets.
        part: String,
        /// Each node's reason.
        reasons: Vec<(String, String)>,
    },
    /// Its spec is too large for the log and could not be kept by two nodes.
    #[error("the targets could not be kept on two nodes within {} s: the disk is full or other nodes do not answer", within.as_secs())]
    NotDurable {
        /// How long it was tried.
        within: Duration,
    },
    /// It was not put into the log.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What sites there are, for whoever named another.
fn there_is(sites: &[String]) -> String {
    match sites {
        [] => "there are none; `pentora site add` says where one is, and `pentora nodes set --site` who is there"
            .to_owned(),
        sites => format!("there {} {}", if sites.len() == 1 { "is" } else { "are" }, sites.join(", ")),
    }
}

// Boxed, because they hold whole tokens and every step of a request returns this.
impl From<TargetError> for RefusedRequest {
    fn from(error: TargetError) -> Self {
        Self::Targets(Box::new(error))
    }
}

impl From<ExclusionError> for RefusedRequest {
    fn from(error: ExclusionError) -> Self {
        Self::Exclusions(Box::new(error))
    }
}

impl RefusedRequest {
    /// The error, with each node's reason where there is one.
    #[must_use]
    pub fn with_reasons(&self) -> String {
        let Self::NoEligibleNode { reasons, .. } = self else { return self.to_string() };
        let reasons: Vec<String> = reasons.iter().map(|(node, why)| format!("{node}: {why}")).collect();
        format!("{self}: {}", reasons.join("; "))
    }
}
