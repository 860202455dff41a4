//! A cluster of real `pentora-node` processes, each on a host of its own in a [`Lab`], driven by the command line.
//!
//! Node `N` runs on host `N` at 10.88.0.`N`, is named `nN`, listens for the mesh on port 7400 and serves its API on its
//! own loopback, so every command is given on the host whose node shall take it. A test that fails prints the end of
//! every node's log and keeps the data folders.

mod job;
mod node;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

pub use self::job::{Job, units_completed};
pub use self::node::Node;

use crate::command_line::{self, Ran};
use crate::http::{Answer, Request};
use crate::lab::Lab;
use crate::wait;

/// A node listens and has a leader within this: it opens an empty store and elects itself.
pub const START_MAX: Duration = Duration::from_secs(20);

/// Three nodes are voters within this: two joins, two snapshots of nearly nothing, one membership change.
pub const VOTERS_MAX: Duration = Duration::from_secs(40);

/// Where each node serves its API, on its own host.
pub const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Lines of each node's log that a failed test prints.
const LOG_LINES: usize = 60;

/// Nodes on hosts of a lab.
#[derive(Debug)]
pub struct Cluster {
    // The order is that of removal: processes, then their namespaces, then their files.
    nodes: BTreeMap<usize, Node>,
    lab: Lab,
    folder: Option<TempDir>,
    /// Given to every node at every start.
    options: Vec<String>,
    /// Given to a node instead of those.
    own_options: BTreeMap<usize, Vec<String>>,
}

impl Cluster {
    /// A cluster of one node, on host 1.
    ///
    /// # Errors
    /// Where it is not ready within [`START_MAX`].
    pub fn of_one(lab: Lab) -> anyhow::Result<Self> {
        Self::first(lab, &[])
    }

    fn first(lab: Lab, options: &[&str]) -> anyhow::Result<Self> {
        let options = options.iter().map(|word| (*word).to_owned()).collect();
        let folder = tempfile::Builder::new().prefix("pentora-cluster-").tempdir().context("a folder for the nodes")?;
        let (nodes, own_options) = Default::default();
        let mut cluster = Self { nodes, lab, folder: Some(folder), options, own_options };
        let node = Node::new(1, cluster.lab.host(1), cluster.folder());
        cluster.nodes.insert(1, node);
        let listen = cluster.listen_options(1);
        cluster.node_mut(1)?.run("start", &[&["--init"], as_strs(&listen).as_slice()].concat())?;
        wait::until("an answer of the first node with itself as leader", START_MAX, || {
            cluster.ended_early(1)?;
            Ok(cluster.status(1).ok().filter(|status| status["leader"] == "n1"))
        })?;
        Ok(cluster)
    }

    /// A cluster of `size` nodes on hosts 1 to `size`, joined by token, with its voters made up: three, or one
    /// where there are fewer nodes.
    ///
    /// # Errors
    /// Where that does not come about in [`START_MAX`] and [`VOTERS_MAX`].
    pub fn of(lab: Lab, size: usize) -> anyhow::Result<Self> {
        Self::with_options(lab, size, &[])
    }

    /// As [`Cluster::of`], with further options given to every node at every start.
    ///
    /// # Errors
    /// As [`Cluster::of`].
    pub fn with_options(lab: Lab, size: usize, options: &[&str]) -> anyhow::Result<Self> {
        let mut cluster = Self::first(lab, options)?;
        for number in 2..=size {
            let token = cluster.token(&format!("n{number}"), &[])?;
            cluster.join(number, &token)?;
        }
        cluster.wait_for_voters(if size < 3 { 1 } else { 3 })?;
        Ok(cluster)
    }

    /// The lab the nodes are in: its faults, hosts and world.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Where the nodes' files are: `n1`, `n2`, ... and their logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// A node's data directory.
    #[must_use]
    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.folder().join(format!("n{number}"))
    }

    /// A node.
    ///
    /// # Errors
    /// Where there is none of that number.
    pub fn node(&self, number: usize) -> anyhow::Result<&Node> {
        self.nodes.get(&number).with_context(|| format!("there is no node {number}"))
    }

    /// A node, to start or end it.
    ///
    /// # Errors
    /// Where there is none of that number.
    pub fn node_mut(&mut self, number: usize) -> anyhow::Result<&mut Node> {
        self.nodes.get_mut(&number).with_context(|| format!("there is no node {number}"))
    }

    fn listen_options(&self, number: usize) -> Vec<String> {
        let data = self.data_dir(number).display().to_string();
        let mesh = format!("{}:7400", self.lab.host(number).address());
        let [name, data_flag, mesh_flag, api_flag] = ["--name", "--data-dir", "--mesh-listen", "--api-listen"];
        let words = [name, &format!("n{number}"), data_flag, &data, mesh_flag, &mesh, api_flag, &API.to_string()];
        words.map(str::to_owned).into_iter().chain(self.options_of(number).iter().cloned()).collect()
    }

    /// Gives a node other options than all the others get, at each of its starts from now on.
    pub fn set_options(&mut self, number: usize, options: &[&str]) {
        self.own_options.insert(number, options.iter().map(|word| (*word).to_owned()).collect());
    }

    fn options_of(&self, number: usize) -> &[String] {
        self.own_options.get(&number).unwrap_or(&self.options)
    }

    /// Has the first running node make a join token.
    ///
    /// # Errors
    /// Where it is refused.
    pub fn token(&self, name: &str, options: &[&str]) -> anyhow::Result<String> {
        let asked = self.any_running()?;
        let command = [&["coordinator", "worker-token", "create", "--name", name], options].concat();
        Ok(self.pentora(asked, &command)?.ok()?.trim_end().to_owned())
    }

    /// Starts node `number` on its host by `pentora-node join` and does not wait for it.
    ///
    /// # Errors
    /// Where the process does not start.
    pub fn join(&mut self, number: usize, token: &str) -> anyhow::Result<()> {
        self.join_with(number, token, &[])
    }

    /// As [`Cluster::join`], with further options for this start of this node.
    ///
    /// # Errors
    /// Where the process does not start.
    pub fn join_with(&mut self, number: usize, token: &str, options: &[&str]) -> anyhow::Result<()> {
        let peer = format!("{}:7400", self.lab.host(self.any_running()?).address());
        self.join_by(number, &peer, token, options)
    }

    /// As [`Cluster::join`], through the peer given.
    ///
    /// # Errors
    /// Where the process does not start.
    pub fn join_through(&mut self, number: usize, peer: &str, token: &str) -> anyhow::Result<()> {
        self.join_by(number, peer, token, &[])
    }

    fn join_by(&mut self, number: usize, peer: &str, token: &str, options: &[&str]) -> anyhow::Result<()> {
        let token_file = self.folder().join(format!("n{number}.token"));
        fs::write(&token_file, token).context("the token's file")?;
        let token_file = token_file.display().to_string();
        self.join_as(number, &[&["--peer", peer, "--token-file", &token_file], options].concat())
    }

    /// Starts node `number` on its host by `pentora-node join` with these options and those of where it listens, and does not wait for
    /// it.
    ///
    /// # Errors
    /// Where the process does not start.
    pub fn join_as(&mut self, number: usize, options: &[&str]) -> anyhow::Result<()> {
        // A node that tried before keeps its program.
        if !self.nodes.contains_key(&number) {
            self.nodes.insert(number, Node::new(number, self.lab.host(number), self.folder()));
        }
        let listen = self.listen_options(number);
        self.node_mut(number)?.run("join", &[as_strs(&listen).as_slice(), options].concat())
    }

    /// Has the process of node `number` that is started next die at a named point.
    pub fn dies_at(&mut self, number: usize, point: &str) {
        let node = Node::new(number, self.lab.host(number), self.folder());
        self.nodes.entry(number).or_insert(node).dies_at(point);
    }

    /// Starts a node that has been part of the cluster again, by its data directory (and the options of
    /// [`Cluster::with_options`]) alone.
    ///
    /// # Errors
    /// Where the process does not start.
    pub fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        self.restart_with(number, &[])
    }

    /// As [`Cluster::restart`], with further options for this start of this node.
    ///
    /// # Errors
    /// Where the process does not start.
    pub fn restart_with(&mut self, number: usize, more: &[&str]) -> anyhow::Result<()> {
        let data = self.data_dir(number).display().to_string();
        let options = self.options_of(number).to_vec();
        self.node_mut(number)?.run("start", &[&["--data-dir", &data], as_strs(&options).as_slice(), more].concat())
    }

    /// Starts what was copied into the data directory of node `number` on that node's host, at its address: a second
    /// process of the node that it was copied from.
    ///
    /// # Errors
    /// Where the process does not start.
    pub fn start_copy(&mut self, number: usize) -> anyhow::Result<()> {
        let node = Node::new(number, self.lab.host(number), self.folder());
        self.nodes.insert(number, node);
        let mesh = format!("{}:7400", self.lab.host(number).address());
        self.restart_with(number, &["--mesh-listen", &mesh])
    }

    /// Runs `pentora` with `words` on the host of a node.
    ///
    /// # Errors
    /// Where it does not start. That it fails is in the result.
    pub fn pentora(&self, number: usize, words: &[&str]) -> anyhow::Result<Ran> {
        let api = format!("http://{API}");
        let token_file = self.data_dir(1).join("admin.token").display().to_string();
        let settings = [("PENTORA_API", api.as_str()), ("PENTORA_TOKEN_FILE", &token_file)];
        command_line::pentora(self.lab.host(number), self.folder(), &settings, words)
    }

    /// Sends a request with the admin's token to a node's API, from its own host.
    ///
    /// # Errors
    /// Where no whole answer comes.
    pub fn api(&self, number: usize, request: &Request<'_>, limit: Duration) -> anyhow::Result<Answer> {
        let token = fs::read_to_string(self.data_dir(1).join("admin.token")).context("the admin's token")?;
        let request = Request { token: request.token.or(Some(token.trim())), ..request.clone() };
        self.lab.host(number).request(API, &request, limit)
    }

    /// `cluster status --json`, asked of a node.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn status(&self, number: usize) -> anyhow::Result<Value> {
        self.pentora(number, &["cluster", "status", "--json"])?.json()
    }

    /// Waits until `count` nodes vote, as a running node sees it.
    ///
    /// # Errors
    /// Where they do not within [`VOTERS_MAX`], or a node ended.
    pub fn wait_for_voters(&self, count: usize) -> anyhow::Result<()> {
        let asked = self.any_running()?;
        let running: Vec<usize> = self.nodes.keys().copied().collect();
        wait::until(&format!("{count} voters"), VOTERS_MAX, || {
            running.iter().try_for_each(|number| self.ended_early(*number))?;
            let status = self.status(asked).ok();
            let voters = |status: &Value| {
                let nodes = status["nodes"].as_array();
                nodes.map_or(0, |nodes| nodes.iter().filter(|node| node["role"] == "voter").count())
            };
            Ok(status.filter(|status| voters(status) >= count).map(drop))
        })
    }

    /// The number of the node that leads, as a running node sees it, waiting for one to.
    ///
    /// # Errors
    /// Where none does within [`START_MAX`].
    pub fn leader(&self) -> anyhow::Result<usize> {
        wait::until("a leader", START_MAX, || {
            let status = self.status(self.any_running()?).ok();
            let leader = status.and_then(|status| status.get("leader")?.as_str()?.strip_prefix('n')?.parse().ok());
            Ok(leader.filter(|number| self.nodes.get(number).is_some_and(Node::is_running)))
        })
    }

    /// The running nodes that do not lead.
    ///
    /// # Errors
    /// Where there is no leader.
    pub fn followers(&self) -> anyhow::Result<Vec<usize>> {
        let leader = self.leader()?;
        let running = self.nodes.iter().filter(|(number, node)| **number != leader && node.is_running());
        Ok(running.map(|(number, _)| *number).collect())
    }

    fn any_running(&self) -> anyhow::Result<usize> {
        let running = self.nodes.iter().find(|(_, node)| node.is_running());
        running.map(|(number, _)| *number).context("no node runs")
    }

    fn ended_early(&self, number: usize) -> anyhow::Result<()> {
        let node = self.node(number)?;
        if node.is_started() && !node.is_running() {
            bail!("node {number} has ended; its log ends:\n{}", node.log_tail(LOG_LINES));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (number, node) in &self.nodes {
            eprintln!("---- the log of node {number} ends:\n{}", node.log_tail(LOG_LINES));
        }
        if let Some(folder) = self.folder.take() {
            eprintln!("---- files are kept in {}", folder.keep().display());
        }
    }
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
