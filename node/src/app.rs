//! Starts and stops a node: joins its parts by their handles.

use crate::cli::{ExitCode, Failure};
use crate::client::Client;
use crate::config::StartPlan;

/// How an embedded node differs from its defaults.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The host's name, which becomes the node's.
    pub name: String,
}

/// A node inside this process.
#[derive(Debug)]
pub struct Embedded {
    /// Asks it.
    pub client: Client,
    /// Ends it.
    pub stop: StopHandle,
}

/// Ends an embedded node.
#[derive(Debug)]
pub struct StopHandle {}

impl StopHandle {
    /// Stops the node and removes what it kept.
    pub async fn stop(self) {}
}

/// Runs a node until a signal ends it.
///
/// # Errors
/// Why it could not start, or what ended it.
pub async fn run(plan: StartPlan) -> Result<(), Failure> {
    Err(Failure::new(ExitCode::Failure, format!("node {} cannot run yet", plan.config.name)))
}

/// Starts a node inside this process, without sockets.
///
/// # Errors
/// Why it could not start.
pub async fn embedded(options: EmbeddedOptions) -> Result<Embedded, Failure> {
    Err(Failure::new(ExitCode::Failure, format!("node {} cannot run yet", options.name)))
}
