//! A new worker's first question: at an API address, who it is and where the mesh is.
//!
//! `worker.coordinator` may be an API address whose port says nothing of the mesh's. The worker registers there with a
//! credential of its join token, which shows nothing of the secret, and joins through the members that it is told of. Where
//! nobody answers there, or nobody who is trusted, the mesh is tried on that host at its usual port.

use std::time::Duration;

use pentora_p2p::{Identity, PeerAddress};

use crate::client::{Client, ClientError};
use crate::config::{NetworkAccess, NodeConfig, Secret};
use crate::document::{RegistrationCapacity, RegistrationRequest};
use crate::join::token::JoinToken;
use crate::tls::{Anchor, Trust};

/// How long one address gets.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What a worker was told.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    /// What it is called.
    pub(super) name: String,
    /// Where members are.
    pub(super) members: Vec<PeerAddress>,
}

/// Why it was not registered.
#[derive(Debug)]
pub(super) enum Unregistered {
    /// Nobody answered, with a sentence for each address; none where there is no API address.
    Unanswered(Vec<String>),
    /// The cluster says no, and will say so again.
    Refused(String),
}

/// Registers at the first API address that answers.
///
/// # Errors
/// [`Unregistered`].
pub(super) async fn register(
    config: &NodeConfig,
    key: &Identity,
    token: &JoinToken,
) -> Result<Registered, Unregistered> {
    let mut reasons = Vec::new();
    for url in &config.worker.registrars {
        match tokio::time::timeout(ANSWER_WITHIN, at(url, config, key, token)).await {
            Ok(Ok(registered)) => {
                tracing::info!(url, name = registered.name, "registered");
                return Ok(registered);
            }
            Ok(Err(Unregistered::Refused(why))) => return Err(Unregistered::Refused(format!("{url}: {why}"))),
            Ok(Err(Unregistered::Unanswered(why))) => reasons.extend(why.iter().map(|why| format!("{url}: {why}"))),
            Err(_elapsed) => reasons.push(format!("{url}: it did not answer")),
        }
    }
    Err(Unregistered::Unanswered(reasons))
}

async fn at(url: &str, config: &NodeConfig, key: &Identity, token: &JoinToken) -> Result<Registered, Unregistered> {
    let unanswered = |why: String| Unregistered::Unanswered(vec![why]);
    let credential = Secret::new(&token.credential(key).to_string());
    // A member of the token's cluster, wherever it is reached, or whom this machine trusts: nothing secret is sent there.
    let said = Trust::said(config.client.ca_file.as_deref(), config.client.ca_fingerprint);
    let trust = token.authority.map_or(said.clone(), |authority| said.or(Anchor::Authority(authority)));
    let client = Client::http(vec![url.to_owned()], Some(credential), &trust);
    let client = client.map_err(|error| unanswered(error.to_string()))?;
    let request = RegistrationRequest {
        name: if config.is_named { config.name.clone() } else { String::new() },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capacity: RegistrationCapacity {
            max_concurrent_scans: config.worker.max_concurrent_scans,
            max_targets_per_scan: config.worker.max_targets_per_scan,
        },
        tags: config.worker.tags.clone(),
        network_access: match &config.worker.network_access {
            NetworkAccess::Auto => vec!["auto".to_owned()],
            NetworkAccess::Networks(nets) => nets.iter().map(ToString::to_string).collect(),
        },
    };
    let answer = client.register(&request).await.map_err(|error| match &error {
        // What is said of the token or the name stays so; anything else may be another server, or pass.
        ClientError::Refused { status: 401 | 403 | 409, .. } => Unregistered::Refused(error.to_string()),
        _ => unanswered(error.to_string()),
    })?;
    let members: Vec<PeerAddress> = answer.mesh.iter().filter_map(|address| address.parse().ok()).collect();
    if members.is_empty() {
        return Err(unanswered("it named no member".into()));
    }
    Ok(Registered { name: answer.name, members })
}
