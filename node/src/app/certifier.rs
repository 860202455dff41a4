//! Keeps the certificate of this node's API, signed by the cluster's authority: a member signs for itself, a node that only
//! scans asks its gateway. Renewed long before its end, and when the node is reached under other names.
//!
//! The leader makes the authority where the log has none: a cluster of an older release, or one that began with a backup.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pentora_p2p::PreSharedKey;
use pentora_raft::command::Command;
use pentora_raft::state::Authority as Noted;
use pentora_raft::{ClusterId, NodeId, Raft, State};
use tokio_util::sync::CancellationToken;

use super::api_tls::now_s;
use super::node_info::interface_addresses;
use super::own_addresses::Advertised;
use crate::config::ApiSettings;
use crate::data_dir::DataDir;
use crate::rpc::calls::{Answer, Request};
use crate::rpc::proposer::Proposer;
use crate::tls::{
    Authority, AuthorityError, Fingerprint, Leaf, Pair, Sealing, Shown, Wanted, certificate_pem, is_host,
};

/// How often a node looks whether its certificate is to be renewed, and whether its addresses are still the same.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The same while it has none yet.
const LOOK_SOON: Duration = Duration::from_millis(250);
/// The same where a gateway has to be asked, which may be of an earlier release and know nothing of it.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a gateway may take to sign.
const SIGNED_WITHIN: Duration = Duration::from_secs(5);
/// How many days before its end the cluster's authority is told with each new certificate.
const TOLD_DAYS: i64 = 365;
const DAY_S: i64 = 86_400;
/// What each machine calls itself.
pub(super) const OWN_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What a node's certificate is kept with.
pub(super) struct Certifier {
    pub(super) raft: Raft,
    pub(super) proposer: Proposer,
    pub(super) data_dir: Arc<DataDir>,
    pub(super) name: String,
    pub(super) cluster: ClusterId,
    pub(super) psk: Option<PreSharedKey>,
    pub(super) api: ApiSettings,
    /// `host:port` under which other nodes reach this one.
    pub(super) advertise: Advertised,
    /// Where the certificate is shown; none where the API is plain, or has one from files.
    pub(super) shown: Option<Shown>,
}

/// Makes an authority and has the log note it.
///
/// # Errors
/// A sentence fragment.
pub(super) async fn begin(proposer: &Proposer, cluster: ClusterId, psk: &PreSharedKey) -> Result<(), String> {
    let sealing = Sealing { psk: psk.as_bytes(), cluster: &cluster.0 };
    let authority = Authority::make(&cluster.0, now_s()).map_err(|error| error.to_string())?;
    let sealed_key = authority.seal(sealing).map_err(|error| error.to_string())?;
    let noted = Noted { certificate: authority.certificate().to_vec(), sealed_key };
    proposer.propose(Command::SetAuthority(Box::new(noted))).await.map_err(|error| error.to_string()).map(|_| ())
}

/// The cluster's authority, where the log has one, to sign with.
///
/// # Errors
/// Its key does not open here.
pub(super) fn authority(
    raft: &Raft,
    cluster: ClusterId,
    psk: &PreSharedKey,
) -> Result<Option<Authority>, AuthorityError> {
    let Some(noted) = raft.read(|state| state.authority().cloned()) else { return Ok(None) };
    let sealing = Sealing { psk: psk.as_bytes(), cluster: &cluster.0 };
    Authority::open(&noted.certificate, &noted.sealed_key, sealing).map(Some)
}

/// What a node that only scans may be certified as: its own machine, and the address from which this node sees it, where the log has that
/// for it and for no other. What it says of itself is not enough, and no name is: it could be taken for a member.
pub(super) fn of_scanner(state: &State, node: NodeId, seen: Option<IpAddr>) -> Wanted {
    let own = state.node(node).map(|record| &record.info);
    let others = state.nodes().filter(|(id, _)| *id != node).flat_map(|(_, record)| &record.info.addresses);
    let hosts = own_alone(own.map_or(&[][..], |info| info.addresses.as_slice()), seen, others);
    Wanted { node: own.map_or_else(String::new, |info| info.name.clone()), hosts, is_member: false }
}

/// The IP address of `own`, which are `host:port`, that is `seen` and not among `others`, behind the names of one's own machine.
fn own_alone<'a>(own: &[String], seen: Option<IpAddr>, others: impl Iterator<Item = &'a String>) -> Vec<String> {
    let ip = |address: &String| host_of(address).parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let others: BTreeSet<IpAddr> = others.filter_map(ip).collect();
    let is_own = |address: &IpAddr| Some(*address) == seen && !others.contains(address);
    let own = own.iter().filter_map(ip).find(is_own).map(|address| address.to_string());
    OWN_MACHINE.map(str::to_owned).into_iter().chain(own).collect()
}

/// The host of `host:port`, without brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A certificate, and what the node was reached as when it was signed.
struct Kept {
    leaf: Leaf,
    reached: Vec<String>,
}

impl Certifier {
    /// Keeps it until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut kept = self.earlier();
        let mut told = None;
        loop {
            let now_s = now_s();
            let is_outside = self.raft.is_outside();
            let looked = if is_outside { self.ask(&mut kept, now_s).await } else { self.sign(&mut kept, now_s).await };
            match &looked {
                Ok(()) => told = None,
                // What a node waits for when it starts is told once it takes long: at the second look with a certificate.
                Err(why) if told.as_ref() != Some(why) => {
                    tracing::info!(why, "the API's certificate waits");
                    told = Some(why.clone());
                }
                Err(_) => {}
            }
            let pause = match looked.is_ok() || kept.is_some() {
                true => LOOK_EVERY,
                false if self.raft.is_outside() => ASK_AGAIN,
                false => LOOK_SOON,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A member's look: signs for itself.
    async fn sign(&self, kept: &mut Option<Kept>, now_s: i64) -> Result<(), String> {
        let psk = self.psk.as_ref().ok_or("the mesh's pre-shared key is not here")?;
        let authority = match authority(&self.raft, self.cluster, psk).map_err(|error| error.to_string())? {
            Some(authority) => authority,
            None if self.raft.status().leader == Some(self.raft.node()) => {
                begin(&self.proposer, self.cluster, psk).await?;
                return Err("the cluster's authority was made".to_owned());
            }
            None => return Err("the log has no authority yet".to_owned()),
        };
        let noted = self.note(authority.certificate()).await;
        let Some(shown) = &self.shown else { return noted };
        let hosts = self.hosts();
        if kept.as_ref().is_some_and(|kept| kept.reached == hosts && !kept.leaf.is_due(now_s)) {
            return noted;
        }
        let wanted = Wanted { node: self.name.clone(), hosts: hosts.clone(), is_member: true };
        let pair = Pair::generate()?;
        let chain = authority.sign(pair.point(), &wanted, now_s).map_err(|error| error.to_string())?;
        let leaf = pair.with(chain)?;
        shown.show(leaf.certified());
        self.data_dir.forget_waiting();
        tracing::info!(authority = %authority.fingerprint(), "the API has a new certificate");
        let days = authority.left_s(now_s) / DAY_S;
        if days < TOLD_DAYS {
            tracing::warn!(
                days,
                "the cluster's authority ends, and there is no other to go on with: begin a new cluster with a backup"
            );
        }
        *kept = Some(Kept { leaf, reached: hosts });
        noted
    }

    /// The look of a node that only scans: has its gateway sign.
    async fn ask(&self, kept: &mut Option<Kept>, now_s: i64) -> Result<(), String> {
        let Some(shown) = &self.shown else { return Ok(()) };
        let reached = self.raft.read(|state| state.node(self.raft.node()).map(|record| record.info.addresses.clone()));
        let reached = reached.ok_or("the cluster does not show this node yet")?;
        if kept.as_ref().is_some_and(|kept| kept.reached == reached && !kept.leaf.is_due(now_s)) {
            return Ok(());
        }
        let gateway = self.raft.way().ok_or("no gateway is known")?;
        let (calls, peer) = self.proposer.reach(gateway)?;
        let pair = Pair::generate()?;
        let request = Request::Certify { key: pair.point().to_vec() };
        let chain = match calls.ask(peer, &request, SIGNED_WITHIN).await.map_err(|error| error.to_string())? {
            Answer::Certified { chain } => chain,
            Answer::Unavailable(why) | Answer::Denied(why) => return Err(why),
            _ => return Err("the gateway answered something else".to_owned()),
        };
        let leaf = pair.with(chain)?;
        let authority = leaf.authority().to_vec();
        // Before it is shown, so that commands beside this node know it by then.
        let noted = self.note(&authority).await;
        shown.show(leaf.certified());
        self.data_dir.forget_waiting();
        tracing::info!(authority = %Fingerprint::of(&authority), "the API has a new certificate");
        let pem = leaf.to_pem();
        // It is shown from now on, also where the disk takes nothing: no other is asked for then.
        *kept = Some(Kept { leaf, reached });
        noted?;
        self.data_dir.beside(move |data_dir| data_dir.save_api_certificate(&pem)).await
    }

    /// What an earlier process of a node that only scans had signed: it is shown until a gateway is there, so that probes and
    /// collectors of metrics are answered meanwhile.
    fn earlier(&self) -> Option<Kept> {
        let shown = self.shown.as_ref().filter(|_| self.raft.is_outside())?;
        let leaf = Leaf::from_pem(&self.data_dir.api_certificate()?).ok()?;
        shown.show(leaf.certified());
        Some(Kept { leaf, reached: Vec::new() })
    }

    /// Writes the authority's certificate where the command line on this machine, and whoever hands it on, finds it.
    async fn note(&self, certificate: &[u8]) -> Result<(), String> {
        let pem = certificate_pem(certificate);
        self.data_dir.beside(move |data_dir| data_dir.save_authority(&pem)).await
    }

    /// What this member is reached as.
    fn hosts(&self) -> Vec<String> {
        let ip = self.api.listen.ip();
        let own = if ip.is_unspecified() { interface_addresses() } else { vec![ip] };
        let advertised = self.advertise.now();
        let advertised = advertised.iter().map(|address| host_of(address).to_owned());
        let mut hosts: Vec<String> = OWN_MACHINE.map(str::to_owned).into_iter().chain([self.name.clone()]).collect();
        hosts.extend(own.iter().map(ToString::to_string).chain(advertised).chain(self.api.tls_names.iter().cloned()));
        let mut seen = BTreeSet::new();
        hosts.retain(|host| is_host(host) && seen.insert(host.clone()));
        hosts
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pentora_raft::command::NodeInfo;
    use pentora_raft::network::memory::Network;
    use pentora_raft::state::FIRST_NODE;
    use pentora_raft::store::Storage;
    use pentora_raft::{Config, Digest, Profile};

    use super::*;
    use crate::app::begin_cluster;
    use crate::config::{Sources, load};

    /// A member that is looked at whenever a test likes.
    async fn member(folder: &Path) -> Certifier {
        let (transport, _no_peers) = Network::default().join(FIRST_NODE);
        let config = Config { profile: Profile::Fast, ..Config::default() };
        let raft = Raft::start(FIRST_NODE, config, &Storage::Memory, transport).await.unwrap();
        raft.initialize("n1").await.unwrap();
        let (cluster, psk) = (ClusterId([3; 16]), PreSharedKey::from_bytes([5; 32]));
        let info = NodeInfo { name: "n1".into(), ..NodeInfo::default() };
        begin_cluster(&raft, cluster, info, Digest::of(&[])).await.unwrap();
        let proposer = Proposer::new(raft.clone(), None);
        begin(&proposer, cluster, &psk).await.unwrap();
        let api = load(&Sources::default()).unwrap().config.api;
        let (data_dir, shown) = (Arc::new(DataDir::open(folder).unwrap()), Some(Shown::default()));
        let (name, psk, advertise) = ("n1".into(), Some(psk), Advertised::new(Vec::new()));
        Certifier { raft, proposer, data_dir, name, cluster, psk, api, advertise, shown }
    }

    #[tokio::test]
    async fn a_member_has_a_certificate_that_holds_however_its_clock_went_and_none_more_of_an_authority_that_ended() {
        let folder = tempfile::tempdir().unwrap();
        let certifier = member(folder.path()).await;
        let began_s = now_s();
        let mut kept = None;
        let mut seen: Vec<Vec<u8>> = Vec::new();
        // Before its end, at a machine that slept or was down over its end, and by a clock that was ahead and is set right.
        for (day, is_new) in [(0, true), (19, false), (21, true), (22, false), (400, true), (401, false), (10, true)] {
            let at_s = began_s + day * DAY_S;
            certifier.sign(&mut kept, at_s).await.unwrap();
            let leaf = &kept.as_ref().unwrap().leaf;
            let first = leaf.certified().cert[0].to_vec();
            assert_eq!((seen.last() != Some(&first), leaf.is_due(at_s)), (is_new, false), "day {day}");
            seen.push(first);
        }
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 4, "each has a key of its own");
        for day in [20 * 365 + 1, 30 * 365] {
            let refused = certifier.sign(&mut kept, began_s + day * DAY_S).await.unwrap_err();
            assert!(refused.contains("the cluster's authority has ended"), "{refused}");
            assert_eq!(
                kept.as_ref().unwrap().leaf.certified().cert[0].to_vec(),
                seen[6],
                "the one before is left alone"
            );
        }
        certifier.raft.shutdown().await;
    }

    #[test]
    fn a_node_that_only_scans_is_certified_as_no_address_that_another_has_and_by_no_name() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let own = list(&["10.0.0.1:7400", "n1.example:7400", "10.0.0.9:7400", "[fd00::9]:7400", "[fd00::1]:7400", "x"]);
        let others = list(&["10.0.0.1:9", "[fd00::1]:7400", "n1.example:7400"]);
        let machine = ["localhost", "127.0.0.1", "::1"];
        let seen_as = |seen: &str| own_alone(&own, Some(seen.parse().unwrap()), others.iter());
        assert_eq!(seen_as("10.0.0.9"), [&machine[..], &["10.0.0.9"]].concat());
        assert_eq!(seen_as("fd00::9"), [&machine[..], &["fd00::9"]].concat());
        for of_another in ["10.0.0.1", "fd00::1", "10.0.0.7"] {
            assert_eq!(seen_as(of_another), machine, "{of_another}");
        }
        assert_eq!(own_alone(&own, None, others.iter()), machine, "what it says alone is not enough");
    }
}
