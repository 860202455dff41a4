//! How a node comes into its cluster: it begins one, joins one, or was there before.

use pentora_p2p::{Incoming, Mesh, PeerAddress, PreSharedKey};
use pentora_raft::state::FIRST_NODE;
use pentora_raft::{ClusterId, Digest, Raft};

use super::membership_sync::members;
use super::{begin_cluster, mesh_config, node_info};
use crate::config::{NodeConfig, StartAction, StartPlan};
use crate::data_dir::{DataDir, DataDirError, NodeIdentity};
use crate::failure::{ExitCode, Failure};
use crate::join::token::JoinToken;
use crate::join::{self, JoinError};

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        Self::new(ExitCode::Failure, error.to_string())
    }
}

/// The node that lives in the data directory, held against what is asked.
pub(super) fn existing(data_dir: &DataDir, plan: &StartPlan) -> Result<Option<NodeIdentity>, Failure> {
    let Some(identity) = data_dir.identity()? else {
        return match &plan.action {
            StartAction::Resume => {
                Err(Failure::new(ExitCode::Failure, format!("there is no node in {}", data_dir.path().display()))
                    .next("begin a cluster with `pentora-node start --init`, or enter one with `pentora-node join`"))
            }
            _ => Ok(None),
        };
    };
    if plan.config.name != identity.name {
        return Err(Failure::new(
            ExitCode::Failure,
            format!("{} is the data directory of node {}", data_dir.path().display(), identity.name),
        )
        .because(format!("it was asked to start as {}", plan.config.name))
        .next("name the node's own --data-dir, or leave --name out"));
    }
    if let StartAction::Join { token, .. } = &plan.action {
        let token = parse_token(token.expose())?;
        if token.cluster != identity.cluster {
            return Err(Failure::new(
                ExitCode::Failure,
                format!("node {} is in another cluster than the token", identity.name),
            )
            .because(format!(
                "the data directory belongs to cluster {}, the token to {}",
                identity.cluster, token.cluster
            ))
            .next("name an empty --data-dir to join the other cluster"));
        }
    }
    Ok(Some(identity))
}

/// A node that is in its cluster, or will be with its first entry.
pub(super) struct Entered {
    pub(super) mesh: Mesh,
    pub(super) incoming: Incoming,
    pub(super) identity: NodeIdentity,
    /// The log index of its admission, if it was now.
    pub(super) admitted_at: Option<u64>,
}

/// Starts the mesh; joins first where there is no node yet.
pub(super) async fn enter(
    data_dir: &DataDir,
    plan: &StartPlan,
    config: &NodeConfig,
    resumed: Option<NodeIdentity>,
) -> Result<Entered, Failure> {
    if let Some(identity) = resumed {
        let psk = data_dir.pre_shared_key()?.ok_or_else(|| {
            Failure::new(ExitCode::Failure, format!("{} has lost its mesh.psk", data_dir.path().display()))
                .next("copy mesh.psk from another node of the cluster")
        })?;
        if !data_dir.has_key() {
            let failure =
                Failure::new(ExitCode::Failure, format!("{} has lost its mesh.key", data_dir.path().display()));
            return Err(failure
                .because(format!("the cluster admitted node {} under that key and knows it by no other", identity.name))
                .next("restore mesh.key, or join again with a new token, another --name and an empty --data-dir"));
        }
        let (mesh, incoming) = start_mesh(data_dir, config, psk, identity.cluster)?;
        mesh.set_members(members(&identity.members));
        return Ok(Entered { mesh, incoming, identity, admitted_at: None });
    }
    match &plan.action {
        StartAction::Join { peers, token } => join(data_dir, config, peers, token.expose()).await,
        StartAction::Init | StartAction::Resume => init(data_dir, config),
    }
}

fn init(data_dir: &DataDir, config: &NodeConfig) -> Result<Entered, Failure> {
    let cluster = ClusterId(rand::random());
    let psk = match &config.mesh.psk_file {
        Some(path) => read_psk(path)?,
        None => PreSharedKey::generate(),
    };
    let (mesh, incoming) = start_mesh(data_dir, config, psk.clone(), cluster)?;
    data_dir.save_pre_shared_key(&psk)?;
    let admin: [u8; 32] = rand::random();
    let path = data_dir
        .save_admin_token(&format!("pna_{}", data_encoding::BASE32_NOPAD.encode(&admin).to_ascii_lowercase()))?;
    tracing::info!(path = %path.display(), "the administrator token is in this file");
    let identity =
        NodeIdentity { cluster, node: FIRST_NODE, name: config.name.clone(), members: Vec::new(), store_begun: false };
    data_dir.save_identity(&identity)?;
    Ok(Entered { mesh, incoming, identity, admitted_at: None })
}

async fn join(data_dir: &DataDir, config: &NodeConfig, peers: &[String], token: &str) -> Result<Entered, Failure> {
    let token = parse_token(token)?;
    let psk = PreSharedKey::from_bytes(token.psk);
    let (mesh, incoming) = start_mesh(data_dir, config, psk.clone(), token.cluster)?;
    if peers.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "no node to join through").next("name one: --peer HOST:7400"));
    }
    let mut last = None;
    for peer in peers {
        let address: PeerAddress = peer.parse().map_err(|error| Failure::new(ExitCode::Usage, format!("{error}")))?;
        let own = node_info::of_joiner(config, &mesh, &address);
        match join::request_admission(&mesh, address, &token, own).await {
            Ok(welcome) => {
                data_dir.save_pre_shared_key(&psk)?;
                let identity = NodeIdentity {
                    cluster: welcome.cluster,
                    node: welcome.node,
                    name: config.name.clone(),
                    members: welcome.members,
                    store_begun: false,
                };
                data_dir.save_identity(&identity)?;
                mesh.set_members(members(&identity.members));
                return Ok(Entered { mesh, incoming, identity, admitted_at: Some(welcome.index) });
            }
            Err(error @ JoinError::Refused { .. }) => return Err(refused(&error)),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(Failure::new(ExitCode::Unreachable, "no node of the cluster let this one in")
        .because(why)
        .next("check the address and that the token is of this cluster: it carries the mesh's pre-shared key"))
}

fn refused(error: &JoinError) -> Failure {
    let failure = Failure::new(ExitCode::Refused, "the cluster did not admit this node").because(error.to_string());
    match error {
        JoinError::Refused { code, .. } if code == "name_taken" => {
            failure.next("choose another --name, or remove the node that has it")
        }
        _ => failure.next("make a new token: pentora coordinator worker-token create --name NAME"),
    }
}

/// Finishes what the first start of a first node began, also after a crash in the middle of it.
pub(super) async fn ensure_begun(
    data_dir: &DataDir,
    config: &NodeConfig,
    identity: &NodeIdentity,
    mesh: &Mesh,
    raft: &Raft,
) -> Result<(), Failure> {
    if identity.node != FIRST_NODE || identity.store_begun {
        return Ok(());
    }
    let failed = |why: String| Failure::new(ExitCode::Failure, "the new cluster did not begin").because(why);
    if !raft.is_initialized().await.map_err(|error| failed(error.to_string()))? {
        raft.initialize(&mesh.peer_id().to_string()).await.map_err(|error| failed(error.to_string()))?;
    }
    let path = data_dir.path().join("admin.token");
    let token = std::fs::read_to_string(&path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
    let own = node_info::of(config, mesh, &identity.name);
    begin_cluster(raft, identity.cluster, own, Digest::of(token.trim().as_bytes())).await?;
    data_dir.save_identity(&NodeIdentity { store_begun: true, ..identity.clone() })?;
    Ok(())
}

fn start_mesh(
    data_dir: &DataDir,
    config: &NodeConfig,
    psk: PreSharedKey,
    cluster: ClusterId,
) -> Result<(Mesh, Incoming), Failure> {
    let mesh = mesh_config(data_dir, config, psk, cluster)?;
    Mesh::start(mesh).map_err(|error| {
        Failure::new(ExitCode::Failure, format!("the mesh cannot listen on {}", config.mesh.listen))
            .because(error.to_string())
            .next("name another address: --mesh-listen ADDRESS, or end what uses this one")
    })
}

fn parse_token(text: &str) -> Result<JoinToken, Failure> {
    text.parse().map_err(|error| {
        Failure::new(ExitCode::Usage, format!("{error}"))
            .next("make one on a node of the cluster: pentora coordinator worker-token create --name NAME")
    })
}

fn read_psk(path: &std::path::Path) -> Result<PreSharedKey, Failure> {
    let failed =
        |why: String| Failure::new(ExitCode::Config, format!("mesh.psk_file: {}", path.display())).because(why);
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    PreSharedKey::from_hex(text.trim()).map_err(|error| failed(error.to_string()))
}
