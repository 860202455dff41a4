//! The mesh that suffers: five members, four nodes that only scan, and what can be done to each and undone again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use pentora_tests::cluster::Cluster;
use pentora_tests::http::Request;
use pentora_tests::lab::WorldOptions;
use pentora_tests::wait;
use serde_json::Value;
use tempfile::TempDir;

use super::plan::{Disturbance, Fault, KEEPS_TOKEN, MEMBERS, SCANNERS, Victim};
use super::small_disk::{SmallDisk, bytes_below, empty, keep_mounts_to_ourselves};

/// Results are taken on a small disk as well.
const FREE_SPACE_FLOOR: &str = "4MiB";
/// A node ends in order within this.
const STOP_MAX: Duration = Duration::from_secs(30);
/// A node that was removed notices, says so and ends within this; the contract is two seconds where it hears a member.
const REMOVED_MAX: Duration = Duration::from_secs(40);
/// All nodes are there again within this after the last disturbance: units come back after fifteen seconds, voters are
/// replaced after ten, and a node that joins anew reads a snapshot.
const WHOLE_MAX: Duration = Duration::from_secs(120);
/// Somebody leads within this, and what leads is only asked for to be hit.
const LEADER_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Exit codes of a node that cannot write, and of one that the cluster does not have any more.
const CANNOT_WRITE: i32 = 1;
const REMOVED: i32 = 4;
/// Of each log, as evidence.
const LOG_BYTES_MAX: usize = 32 << 20;

/// The nodes, their small disks, and what is known of what they suffered.
#[derive(Debug)]
pub(crate) struct Mesh {
    // Removed before the folders that they are mounted in.
    disks: BTreeMap<usize, SmallDisk>,
    pub(crate) cluster: Cluster,
    settings: TempDir,
    voters: usize,
    /// Those whose disk was full since all were there last: they may have ended for it.
    were_full: BTreeSet<usize>,
    /// Those that were killed, and not started since.
    killed: BTreeSet<usize>,
    /// Those that are to be wanted among the voters again.
    demoted: BTreeSet<usize>,
}

/// A disturbance that goes on.
#[derive(Debug)]
pub(crate) struct Suffered {
    pub(crate) fault: Fault,
    pub(crate) node: usize,
    /// Whether it led when it was hit.
    pub(crate) led: bool,
    /// What the cluster refused, if it did.
    pub(crate) refused: Option<String>,
}

impl Mesh {
    /// All nine nodes, up and known to each other, of which `voters` vote.
    pub(crate) fn start(voters: usize) -> anyhow::Result<Self> {
        keep_mounts_to_ourselves()?;
        let mut lab = crate::lab(9)?;
        lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
        let settings = tempfile::tempdir()?;
        let member = settings.path().join("member.yaml");
        let text = format!("cluster: {{voters: {voters}}}\nresults: {{free_space_floor: {FREE_SPACE_FLOOR}}}\n");
        fs::write(&member, text)?;
        fs::write(settings.path().join("scanner.yaml"), "server: {mode: worker}\n")?;
        let cluster = Cluster::with_options(lab, 1, &["--config", &member.display().to_string()])?;
        let (disks, were_full, killed, demoted) = Default::default();
        let mut mesh = Self { disks, cluster, settings, voters, were_full, killed, demoted };
        for number in MEMBERS.filter(|number| *number != KEEPS_TOKEN) {
            mesh.disks.insert(number, SmallDisk::at(mesh.cluster.data_dir(number))?);
            mesh.join(number, KEEPS_TOKEN)?;
        }
        let scanner = mesh.settings.path().join("scanner.yaml").display().to_string();
        for number in SCANNERS {
            mesh.cluster.set_options(number, &["--config", &scanner]);
            mesh.join(number, KEEPS_TOKEN)?;
        }
        mesh.make_whole()?;
        Ok(mesh)
    }

    /// Has a node join through a member.
    fn join(&mut self, number: usize, through: usize) -> anyhow::Result<()> {
        let name = format!("n{number}");
        let role: &[&str] = if SCANNERS.contains(&number) { &["--role", "scanner"] } else { &[] };
        let words = [&["coordinator", "worker-token", "create", "--name", &name], role].concat();
        let token = self.cluster.pentora(through, &words)?.ok()?;
        let peer = format!("{}:7400", self.cluster.lab().host(through).address());
        self.cluster.join_through(number, &peer, token.trim())
    }

    /// A member that is none of the `busy` ones.
    fn member_beside(&self, busy: &[usize]) -> anyhow::Result<usize> {
        MEMBERS.rev().find(|member| !busy.contains(member)).context("a member that nothing happens to")
    }

    /// The cluster as a node tells it.
    fn told_by(&self, number: usize) -> anyhow::Result<Value> {
        let request = Request { method: "GET", path: "/api/v1/cluster", ..Request::default() };
        self.cluster.api(number, &request, ANSWER_MAX)?.json()
    }

    /// Who leads, as members tell that nothing happens to.
    fn leader_beside(&self, busy: &[usize]) -> Option<usize> {
        let look = || {
            let told = self.member_beside(busy).and_then(|member| self.told_by(member)).ok();
            Ok(told.and_then(|told| number_of(told.get("leader")?)))
        };
        wait::until("a leader", LEADER_MAX, look).ok()
    }

    /// Begins a disturbance; `busy` are the nodes that another one of the round is for.
    pub(crate) fn begin(&mut self, disturbance: &Disturbance, busy: &[usize]) -> anyhow::Result<Suffered> {
        let fault = disturbance.fault;
        let leader = self.leader_beside(busy);
        let can_be = |node: &usize| fault.may_hit(*node) && !busy.contains(node);
        let node = match disturbance.victim {
            Victim::Leader(drawn) => leader.filter(can_be).unwrap_or(drawn),
            Victim::Node(node) => node,
        };
        let mut suffered = Suffered { fault, node, led: leader == Some(node), refused: None };
        let busy = [busy, &[node]].concat();
        let others = || MEMBERS.chain(SCANNERS).filter(|other| *other != node);
        match fault {
            Fault::Kill => self.kill(node)?,
            Fault::Stop => self.cluster.node_mut(node)?.stop(STOP_MAX).map(drop)?,
            Fault::Freeze => self.cluster.node(node)?.signal(Signal::SIGSTOP)?,
            Fault::Isolate => self.cluster.lab().isolate(node)?,
            Fault::Deaf => others().try_for_each(|other| self.cluster.lab().oneway(other, node))?,
            Fault::Mute => others().try_for_each(|other| self.cluster.lab().oneway(node, other))?,
            Fault::FullDisk => {
                self.were_full.insert(node);
                self.disks.get(&node).context("a small disk")?.fill()?;
            }
            Fault::Transfer => {
                suffered.refused = self.ask(&busy, &["cluster", "transfer-leadership", "--yes"])?;
            }
            Fault::Demote => {
                self.demoted.insert(node);
                suffered.refused = self.ask(&busy, &["cluster", "demote", &format!("n{node}"), "--yes"])?;
            }
            Fault::Rejoin | Fault::RejoinDead => {
                if fault == Fault::RejoinDead {
                    self.kill(node)?;
                }
                suffered.refused = self.ask(&busy, &["cluster", "remove", &format!("n{node}"), "--yes"])?;
            }
        }
        Ok(suffered)
    }

    fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.killed.insert(node);
        self.cluster.node_mut(node)?.kill()
    }

    fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        self.killed.remove(&node);
        self.cluster.restart(node)
    }

    /// Gives a command on a member that nothing happens to; the answer is why it was refused, where it was.
    fn ask(&self, busy: &[usize], words: &[&str]) -> anyhow::Result<Option<String>> {
        let ran = self.cluster.pentora(self.member_beside(busy)?, words)?;
        let why = ran.stderr.lines().rfind(|line| line.contains("error")).or(ran.stderr.lines().next_back());
        Ok((ran.code != 0).then(|| format!("exit {}: {}", ran.code, why.unwrap_or("no reason"))))
    }

    /// Undoes a disturbance; what could not be done at once comes with [`Mesh::make_whole`].
    pub(crate) fn end(&mut self, suffered: &Suffered, busy: &[usize]) -> anyhow::Result<()> {
        let node = suffered.node;
        match suffered.fault {
            Fault::Kill | Fault::Stop => self.restart(node),
            Fault::Freeze => self.cluster.node(node)?.signal(Signal::SIGCONT),
            Fault::Isolate | Fault::Deaf | Fault::Mute => self.cluster.lab().heal(),
            Fault::FullDisk => {
                self.disks.get(&node).context("a small disk")?.make_room()?;
                self.start_if_ended(node, busy)
            }
            Fault::Transfer | Fault::Demote => Ok(()),
            Fault::Rejoin | Fault::RejoinDead if suffered.refused.is_some() => self.start_if_ended(node, busy),
            Fault::Rejoin => {
                let code = self.cluster.node_mut(node)?.exit_code(REMOVED_MAX).context("the end of a removed node")?;
                ensure!(code == REMOVED, "n{node} was removed and ends with exit code {code}");
                self.join_anew(node, busy)
            }
            Fault::RejoinDead => self.join_anew(node, busy),
        }
    }

    /// Has a node that was removed join again, under its name and without anything of before.
    fn join_anew(&mut self, node: usize, busy: &[usize]) -> anyhow::Result<()> {
        let through = self.member_beside(&[busy, &[node]].concat())?;
        let name = format!("n{node}");
        wait::until(&format!("n{node} gone from the cluster"), REMOVED_MAX, || {
            Ok(self.told_by(through).ok().filter(|told| named(told, &name).is_none()).map(drop))
        })?;
        empty(&self.cluster.data_dir(node))?;
        self.killed.remove(&node);
        self.join(node, through)
    }

    /// Starts a node that has ended, for a reason that it may have ended for.
    fn start_if_ended(&mut self, node: usize, busy: &[usize]) -> anyhow::Result<()> {
        if self.cluster.node(node)?.is_running() {
            return Ok(());
        }
        match self.cluster.node_mut(node)?.exit_code(Duration::ZERO)? {
            -1 if self.killed.contains(&node) => self.restart(node),
            CANNOT_WRITE if self.were_full.contains(&node) => self.restart(node),
            // A removal that was not known to be decided, and was.
            REMOVED => self.join_anew(node, busy),
            code => bail!("n{node} ended by itself with exit code {code}:\n{}", self.cluster.node(node)?.log_tail(20)),
        }
    }

    /// Waits until all nodes are there and take work and as many vote as are to.
    pub(crate) fn make_whole(&mut self) -> anyhow::Result<()> {
        let mut lacks = String::new();
        let whole = wait::until("a whole mesh", WHOLE_MAX, || {
            for number in MEMBERS.chain(SCANNERS) {
                self.start_if_ended(number, &[])?;
            }
            for number in self.demoted.clone() {
                if self.ask(&[], &["cluster", "promote", &format!("n{number}")])?.is_none() {
                    self.demoted.remove(&number);
                }
            }
            lacks = self.lacks();
            Ok(lacks.is_empty().then_some(()))
        });
        whole.with_context(|| format!("the mesh is not whole: {lacks}"))?;
        self.were_full.clear();
        Ok(())
    }

    /// What is not as it should be when nothing is wrong; nothing where it is.
    fn lacks(&self) -> String {
        if !self.demoted.is_empty() {
            return format!("{:?} could not be promoted", self.demoted);
        }
        let Some(leader) = MEMBERS.rev().find_map(|member| number_of(self.told_by(member).ok()?.get("leader")?)) else {
            return "nobody knows a leader".to_owned();
        };
        let Ok(told) = self.told_by(leader) else { return format!("n{leader} leads and does not answer") };
        for number in MEMBERS.chain(SCANNERS) {
            let Some(node) = named(&told, &format!("n{number}")) else {
                return format!("n{number} is not in the cluster");
            };
            let word = |field: &str| node.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            if !matches!(word("status").as_str(), "Active" | "Idle") {
                return format!("n{number} is {}", word("status"));
            }
            if !word("takes_no_work").is_empty() {
                return format!("n{number} takes no work: {}", word("takes_no_work"));
            }
            let ready = Request { method: "GET", path: "/readyz", ..Request::default() };
            if !self.cluster.api(number, &ready, ANSWER_MAX).is_ok_and(|answer| answer.status == 200) {
                return format!("n{number} is not ready");
            }
        }
        let voters = nodes(&told).filter(|node| node.get("role").is_some_and(|role| role == "voter")).count();
        if voters == self.voters { String::new() } else { format!("{voters} vote instead of {}", self.voters) }
    }

    /// The logs of all nodes, over all their processes.
    pub(crate) fn logs(&self) -> anyhow::Result<Vec<String>> {
        MEMBERS.chain(SCANNERS).map(|number| Ok(self.cluster.node(number)?.log())).collect()
    }

    /// The fullest of the members' disks, and all logs, in bytes.
    pub(crate) fn bytes(&self) -> anyhow::Result<(u64, u64)> {
        let disks = self.disks.values().map(SmallDisk::used_bytes).collect::<anyhow::Result<Vec<_>>>()?;
        let first = bytes_below(&self.cluster.data_dir(KEEPS_TOKEN))?;
        let logs = self.logs()?.iter().map(|log| log.len() as u64).sum();
        Ok((disks.into_iter().chain([first]).max().unwrap_or_default(), logs))
    }

    /// Writes what is there of a round that failed into a folder: logs, and what each node tells of the cluster.
    pub(crate) fn keep_evidence(&self, folder: &Path, text: &str) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("round.txt"), text)?;
        for number in MEMBERS.chain(SCANNERS) {
            let log = self.cluster.node(number)?.log();
            let cut = (log.len().saturating_sub(LOG_BYTES_MAX)..log.len()).find(|at| log.is_char_boundary(*at));
            fs::write(folder.join(format!("n{number}.log")), log.get(cut.unwrap_or_default()..).unwrap_or_default())?;
            if let Ok(told) = self.told_by(number) {
                fs::write(folder.join(format!("n{number}.cluster.json")), serde_json::to_string_pretty(&told)?)?;
            }
        }
        Ok(folder.to_path_buf())
    }
}

fn nodes(told: &Value) -> impl Iterator<Item = &Value> {
    told.get("nodes").and_then(Value::as_array).into_iter().flatten()
}

fn named<'a>(told: &'a Value, name: &str) -> Option<&'a Value> {
    nodes(told).find(|node| node.get("name").is_some_and(|is| is == name))
}

fn number_of(name: &Value) -> Option<usize> {
    name.as_str()?.strip_prefix('n')?.parse().ok()
}
