//! From nothing to a node that stands: its data directory is this process's, it is in its cluster, its log is open.
//!
//! Whatever may wait for others here ends where this node is asked to end.

use std::sync::Arc;

use pentora_p2p::{Incoming, Mesh};
use pentora_raft::handle::Viewer;
use pentora_raft::store::{OpenError, Storage};
use pentora_raft::{Raft, StartError};
use tokio::net::TcpListener;

use super::api_tls::OwnCertificate;
use super::begin::{self, Entered};
use super::ending::Asked;
use super::own_addresses::Advertised;
use super::{Node, log_version, settings, telling, waiting};
use crate::config::{NodeConfig, StartPlan};
use crate::data_dir::{DataDir, NodeIdentity};
use crate::failure::{ExitCode, Failure};
use crate::policy::own::OwnFile;
use crate::raft_transport::MeshTransport;
use crate::sign_in::SignIn;

/// A node about to run, and what its run takes.
pub(super) struct Stood {
    pub(super) node: Node,
    pub(super) incoming: Incoming,
    /// The log index of its admission, if it was now.
    pub(super) admitted_at: Option<u64>,
    /// Where it stands outside the log.
    pub(super) viewer: Option<Viewer>,
}

/// Has a node stand; nothing where it is asked to end before.
///
/// # Errors
/// Why it cannot.
pub(super) async fn stand(
    plan: &StartPlan,
    data_dir: &Arc<DataDir>,
    ((file, advertised), sign_in, certificate): ((&OwnFile, &Advertised), &SignIn, Option<&OwnCertificate>),
    asked: &mut Asked,
) -> Result<Option<Stood>, Failure> {
    let config = plan.config.clone();
    let resumed = begin::existing(data_dir, plan)?;
    let line = telling::line(&config.telemetry)?;
    let api = TcpListener::bind(config.api.listen).await.map_err(|error| {
        Failure::new(ExitCode::Failure, format!("the API cannot listen on {}", config.api.listen))
            .because(error.to_string())
            .next("name another address: --api-listen ADDRESS, or end what uses this one")
    })?;
    plan.note_api(api.local_addr().unwrap_or(config.api.listen)).map_err(unwritable)?;
    let entering = waiting::enter(data_dir, plan, resumed, (&api, certificate));
    let Some(entered) = asked.unless(entering).await else { return Ok(None) };
    let Entered { mesh, incoming, mut identity, admitted_at, is_outside } = entered?;
    let (raft, viewer) = if is_outside {
        begin::stand_outside(data_dir, &mut identity)?;
        let (raft, viewer) = Raft::outside(identity.node, raft_config(&config, data_dir));
        (raft, Some(viewer))
    } else {
        let raft = start_raft(data_dir, &config, &identity, &mesh).await?;
        let begun = asked.unless(begin::ensure_begun(data_dir, &config, &identity, &mesh, &raft)).await;
        let Some(begun) = begun else {
            raft.shutdown().await;
            mesh.shutdown().await;
            return Ok(None);
        };
        begun?;
        (raft, None)
    };
    plan.remember().map_err(unwritable)?;
    let (file, sign_in, certificate) = (file.clone(), sign_in.clone(), certificate.cloned());
    let advertised = advertised.clone();
    let data_dir = Arc::clone(data_dir);
    let node = Node { data_dir, config, file, advertised, sign_in, identity, mesh, raft, api, certificate, line };
    Ok(Some(Stood { node, incoming, admitted_at, viewer }))
}

fn unwritable(error: std::io::Error) -> Failure {
    Failure::new(ExitCode::Failure, "the data directory does not take this node's settings").because(error.to_string())
}

fn raft_config(config: &NodeConfig, data_dir: &DataDir) -> pentora_raft::Config {
    let (profile, votes_from) = (settings::profile(config.mesh.profile), data_dir.inside_since());
    pentora_raft::Config { profile, votes_from, ..pentora_raft::Config::default() }
}

async fn start_raft(
    data_dir: &DataDir,
    config: &NodeConfig,
    identity: &NodeIdentity,
    mesh: &Mesh,
) -> Result<Raft, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failure, "consensus did not start").because(why);
    let storage = Storage::Disk(data_dir.store_dir());
    let raft = Raft::start(identity.node, raft_config(config, data_dir), &storage, MeshTransport::new(mesh.clone()))
        .await
        .map_err(|error| match error {
            StartError::Store(OpenError::OtherVersion { version, .. }) => log_version::other_version(version),
            error => failed(error.to_string()),
        })?;
    let begun = raft.is_initialized().await.map_err(|error| failed(error.to_string()))?;
    if identity.store_begun && !begun {
        return Err(Failure::new(ExitCode::Failure, format!("node {} has lost its store", identity.name))
            .because(format!(
                "{} says that node {} lives here, but its log is empty; a node that forgot its votes could vote twice",
                data_dir.path().join("node.id").display(),
                identity.node
            ))
            .next(
                "move this data directory away, free the name (pentora cluster remove NAME), and join again with a new token",
            ));
    }
    Ok(raft)
}
