//! How a node comes into its cluster: it begins one, joins one, or was there before.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use pentora_p2p::{Backoff, Identity, Incoming, Mesh, PeerAddress, PreSharedKey};
use pentora_raft::command::{Command, NodeInfo};
use pentora_raft::state::FIRST_NODE;
use pentora_raft::{ClusterId, Digest, Raft, State, kill_point, recovery};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::membership_sync::members;
use super::register::{Registered, Unregistered, register};
use super::reminder::Reminder;
use super::restore::restore;
use super::{begin_cluster, certifier, mesh_config, node_info};
use crate::config::{NodeConfig, NodeMode, StartAction, StartPlan};
use crate::data_dir::{DataDir, DataDirError, NodeIdentity, is_secret};
use crate::durable_file;
use crate::failure::{ExitCode, Failure};
use crate::join::token::JoinToken;
use crate::join::{self, Admission, JoinError};
use crate::member_address::MemberAddress;
use crate::rpc::proposer::Proposer;

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let failure = Self::new(ExitCode::Failure, error.to_string());
        match error {
            DataDirError::InUse { .. } => failure.next("stop the other process, or name another --data-dir"),
            DataDirError::Io { .. } => {
                failure.next("let the user who runs this write there, or name another --data-dir")
            }
            // They say themselves what to do, or there is nothing that always helps.
            DataDirError::Exposed { .. } | DataDirError::Damaged { .. } => failure,
        }
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
    if plan.config.is_named && plan.config.name != identity.name {
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
    /// Whether it stands outside the log.
    pub(super) is_outside: bool,
}

/// Starts the mesh; joins first where there is no node yet, and has it `told` what that waits for.
pub(super) async fn enter(
    data_dir: &DataDir,
    plan: &StartPlan,
    config: &NodeConfig,
    resumed: Option<NodeIdentity>,
    told: &watch::Sender<String>,
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
                .next("restore mesh.key; or free its name (pentora cluster remove NAME), and join again with a new token and an empty \
                       --data-dir"));
        }
        let (mesh, incoming) = start_mesh(data_dir, config, psk, identity.cluster)?;
        mesh.set_members(members(&identity.members, &BTreeSet::new()));
        let is_outside = config.mode == NodeMode::Worker || data_dir.stands_outside();
        return Ok(Entered { mesh, incoming, identity, admitted_at: None, is_outside });
    }
    match &plan.action {
        StartAction::Join { peers, token } => join(data_dir, config, (peers, token.expose()), told).await,
        StartAction::Init | StartAction::Resume | StartAction::Standalone => {
            init(data_dir, config, plan.restore.as_deref())
        }
    }
}

fn init(data_dir: &DataDir, config: &NodeConfig, backup: Option<&Path>) -> Result<Entered, Failure> {
    let cluster = ClusterId(rand::random());
    let psk = match &config.mesh.psk_file {
        Some(path) => read_psk(path)?,
        None => PreSharedKey::generate(),
    };
    let (mesh, incoming) = start_mesh(data_dir, config, psk.clone(), cluster)?;
    data_dir.save_pre_shared_key(&psk)?;
    kill_point::reached("init-key-kept");
    let admin: [u8; 32] = rand::random();
    let admin = format!("pna_{}", data_encoding::BASE32_NOPAD.encode(&admin).to_ascii_lowercase());
    let path = data_dir.save_admin_token(&admin)?;
    kill_point::reached("init-token-kept");
    tracing::info!(path = %path.display(), "the administrator token is in this file");
    let node = match backup {
        Some(backup) => {
            let own = node_info::of(config, &mesh, &config.name);
            restore(data_dir, backup, cluster, own, Digest::of(admin.as_bytes()))?
        }
        None => FIRST_NODE,
    };
    let store_begun = backup.is_some();
    let identity = NodeIdentity { cluster, node, name: config.name.clone(), members: Vec::new(), store_begun };
    data_dir.save_identity(&identity)?;
    kill_point::reached("init-identity-kept");
    Ok(Entered { mesh, incoming, identity, admitted_at: None, is_outside: false })
}

async fn join(
    data_dir: &DataDir,
    config: &NodeConfig,
    (peers, token): (&[String], &str),
    told: &watch::Sender<String>,
) -> Result<Entered, Failure> {
    let token = parse_token(token)?;
    let psk = PreSharedKey::from_bytes(token.psk);
    let (mesh, incoming) = start_mesh(data_dir, config, psk.clone(), token.cluster)?;
    if peers.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "no node to join through").next("name one: --peer HOST:7400"));
    }
    let peers = peers.iter().map(|peer| peer.parse::<PeerAddress>()).collect::<Result<Vec<_>, _>>();
    let peers = peers.map_err(|error| Failure::new(ExitCode::Usage, format!("{error}")))?;
    let own = (&mesh, &data_dir.key()?);
    let (Admission { welcome, is_outside }, name) = admitted_by(own, config, (&peers, &token), told).await?;
    kill_point::reached("join-admitted");
    data_dir.save_pre_shared_key(&psk)?;
    kill_point::reached("join-key-kept");
    let identity = NodeIdentity {
        cluster: welcome.cluster,
        node: welcome.node,
        name,
        members: welcome.members,
        store_begun: false,
    };
    data_dir.save_identity(&identity)?;
    kill_point::reached("join-identity-kept");
    mesh.set_members(members(&identity.members, &BTreeSet::new()));
    let is_outside = is_outside || config.mode == NodeMode::Worker;
    Ok(Entered { mesh, incoming, identity, admitted_at: Some(welcome.index), is_outside })
}

/// Asks the peers in turn until one lets this node in. One that is not up yet, slow or without a majority is asked again
/// and again: units and containers start in any order. What no waiting heals ends it: a refusal, or that every peer has
/// another key.
async fn admitted_by(
    (mesh, key): (&Mesh, &Identity),
    config: &NodeConfig,
    (peers, token): (&[PeerAddress], &JoinToken),
    told: &watch::Sender<String>,
) -> Result<(Admission, String), Failure> {
    let (mut reminder, mut rounds) = (Reminder::default(), 0);
    let mut registered: Option<Registered> = None;
    loop {
        let mut unregistered = Vec::new();
        if registered.is_none() {
            match register(config, key, token).await {
                Ok(told) => registered = Some(told),
                Err(Unregistered::Unanswered(reasons)) => unregistered = reasons,
                Err(Unregistered::Refused(why)) => {
                    let failure = Failure::new(ExitCode::Refused, "the cluster did not register this worker");
                    return Err(failure.because(why).next(
                        "make a new token: pentora coordinator worker-token create --name NAME; or choose another --name",
                    ));
                }
            }
        }
        let name = registered.as_ref().map_or(&config.name, |told| &told.name).clone();
        let mut reasons = Vec::new();
        for peer in registered.iter().flat_map(|told| &told.members).chain(peers) {
            let own = NodeInfo { name: name.clone(), ..node_info::of_joiner(config, mesh, peer) };
            match join::request_admission(mesh, peer.clone(), token, own).await {
                Ok(admission) => return Ok((admission, name)),
                Err(error @ JoinError::Refused { .. }) => return Err(refused(&error)),
                Err(error) => reasons.push(error),
            }
        }
        let why = reasons.iter().map(ToString::to_string).chain(unregistered).collect::<Vec<_>>().join("; ");
        if !reasons.iter().any(JoinError::is_passing) {
            let failure = Failure::new(ExitCode::Unreachable, "no node of the cluster let this one in").because(why);
            return Err(failure.next(
                "check the address and that the token is of this cluster: it carries the mesh's pre-shared key",
            ));
        }
        if reminder.is_due(Instant::now()) {
            tracing::warn!("no node lets this one in yet, trying on: {why}");
        }
        told.send_replace(why);
        rounds += 1;
        tokio::time::sleep(JOIN_AGAIN.delay(rounds, rand::random())).await;
    }
}

/// How soon a joiner asks again: soon enough that machines started together come up together, and seldom enough that a
/// whole rack of them does not weigh on a cluster that is down.
const JOIN_AGAIN: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(10) };

fn refused(error: &JoinError) -> Failure {
    let failure = Failure::new(ExitCode::Refused, "the cluster did not admit this node").because(error.to_string());
    match error {
        JoinError::Refused { code, .. } if code == "name_taken" => {
            failure.next("choose another --name, or remove the node that has it: pentora cluster remove NAME")
        }
        JoinError::Refused { code, .. } if code == "incompatible" => {
            failure.next("install the release that the cluster runs; `pentora cluster status` shows it")
        }
        _ => failure.next("make a new token: pentora coordinator worker-token create --name NAME"),
    }
}

/// Notes the members that a node knew by its log, so that it finds them without it.
fn note_members(data_dir: &DataDir, identity: &mut NodeIdentity, state: &State) -> Result<(), Failure> {
    let others = state.nodes().filter(|(id, record)| *id != identity.node && record.may_vote());
    let members: Vec<MemberAddress> = others.map(|(_, record)| MemberAddress::of(record)).collect();
    if !members.is_empty() && members != identity.members {
        identity.members = members;
        data_dir.save_identity(identity)?;
    }
    Ok(())
}

/// Takes a node out of the log that stands outside: what it had of it is removed.
///
/// # Errors
/// Where it votes: the others count on it, and a voter that forgets may vote twice.
pub(super) fn stand_outside(data_dir: &DataDir, identity: &mut NodeIdentity) -> Result<(), Failure> {
    let store = data_dir.store_dir();
    if store.exists() {
        let survey = match recovery::survey(&store) {
            Ok(survey) => Some(survey),
            // It was half removed when an earlier process ended.
            Err(_) if data_dir.stands_outside() => None,
            Err(error) => {
                let what = format!("whether {} votes cannot be read from {}", identity.name, store.display());
                return Err(Failure::new(ExitCode::Failure, what)
                    .because(error.to_string())
                    .next("start it with server.mode: coordinator, by the release that it ran last"));
            }
        };
        // Where the cluster had it go outside, its log may be older than the end of its vote.
        let votes = survey.as_ref().is_some_and(|survey| survey.voters.contains(&identity.node));
        if votes && !data_dir.stands_outside() {
            let name = &identity.name;
            return Err(Failure::new(
                ExitCode::Refused,
                format!("{name} votes in its cluster, so it cannot only scan"),
            )
            .because("a node that only scans follows no log")
            .next(format!(
                "start it with server.mode: coordinator, then give `pentora cluster demote {name}` and \
                     `pentora nodes set {name} --role scanner`"
            )));
        }
        if let Some(survey) = survey {
            note_members(data_dir, identity, &survey.state)?;
        }
    }
    if data_dir.stand_outside(identity)? {
        tracing::warn!(
            directory = %store.display(),
            "this node only scans: it follows the log no longer, and what it had of it is removed; results that it kept \
             stay in chunks/ until the members have copied them"
        );
    }
    Ok(())
}

/// Finishes what the first start of a first node began, also after a crash in the middle of it.
pub(super) async fn ensure_begun(
    data_dir: &DataDir,
    config: &NodeConfig,
    identity: &NodeIdentity,
    mesh: &Mesh,
    raft: &Raft,
) -> Result<(), Failure> {
    // A first node that knows others has been outside the log meanwhile: it comes back to theirs.
    if identity.node != FIRST_NODE || identity.store_begun || !identity.members.is_empty() {
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
    let aim = Command::AimVoters { voters: config.cluster.voters.count() };
    Proposer::new(raft.clone(), None).propose(aim).await.map_err(|error| failed(error.to_string()))?;
    if let Some(psk) = data_dir.pre_shared_key()? {
        certifier::begin(&Proposer::new(raft.clone(), None), identity.cluster, &psk).await.map_err(failed)?;
    }
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

/// The longest text of a pre-shared key that is read: 64 digits and what files leave around them.
const PSK_BYTES_MAX: u64 = 1024;

fn read_psk(path: &std::path::Path) -> Result<PreSharedKey, Failure> {
    let failed =
        |why: String| Failure::new(ExitCode::Config, format!("mesh.psk_file: {}", path.display())).because(why);
    is_secret(path)?;
    let mut text = Zeroizing::new(String::new());
    let file = durable_file::regular(path).map_err(|error| failed(error.to_string()))?;
    file.take(PSK_BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    PreSharedKey::from_hex(text.trim()).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_pre_shared_key_that_others_read_or_write_is_refused_with_the_command_that_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("psk");
        std::fs::write(&path, "07".repeat(32)).unwrap();
        for (mode, is_taken) in [(0o600, true), (0o640, true), (0o644, false), (0o666, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let told = read_psk(&path).map(drop).map_err(|failure| failure.to_string());
            assert_eq!(told.is_ok(), is_taken, "{mode:o}: {told:?}");
            assert!(told.err().is_none_or(|why| why.contains("chmod ")));
        }
    }

    #[test]
    fn another_process_is_to_be_stopped_only_where_it_holds_the_data_directory() {
        let path = || PathBuf::from("/d");
        let told = |error: DataDirError| Failure::from(error).to_string();
        assert!(told(DataDirError::InUse { path: path() }).contains("stop the other process"));
        let refused = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(told(DataDirError::Io { path: path(), source: refused }).contains("name another --data-dir"));
        let exposed = DataDirError::Exposed { what: "the group can write it".into(), mend: "chmod 0700 /d".into() };
        assert!(!told(exposed).contains("process"));
    }
}
