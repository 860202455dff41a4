//! A node that waits to be let into its cluster answers at its API's address: that it works, and what it waits for.
//!
//! Its peers may be hours away, and whoever supervises it would start it again and again for want of an answer. The listener
//! is handed on as it is: a connection that comes meanwhile waits for the API behind it.

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::api_tls::OwnCertificate;
use super::begin::{self, Entered};
use crate::api;
use crate::config::{StartAction, StartPlan};
use crate::data_dir::{DataDir, NodeIdentity};
use crate::failure::Failure;

/// Enters the cluster as [`begin::enter`] does, and serves on `listener` meanwhile where others have to let this node in.
///
/// # Errors
/// As there.
pub(super) async fn enter(
    data_dir: &DataDir,
    plan: &StartPlan,
    resumed: Option<NodeIdentity>,
    (listener, certificate): (&TcpListener, Option<&OwnCertificate>),
) -> Result<Entered, Failure> {
    let (told, why) = watch::channel(String::new());
    match &plan.action {
        StartAction::Join { peers, .. } if resumed.is_none() => {
            told.send_replace(format!("asking {}", peers.join(", ")))
        }
        _ => return begin::enter(data_dir, plan, &plan.config, resumed, &told).await,
    };
    if let Some(certificate) = certificate {
        certificate.show_own(data_dir, &plan.config.name);
    }
    let tls = certificate.map(|certificate| certificate.shown().acceptor());
    tokio::select! {
        biased;
        entered = begin::enter(data_dir, plan, &plan.config, None, &told) => entered,
        never = api::serve_meanwhile(listener, api::waiting(why), tls, api::Bounds::default()) => match never {},
    }
}
