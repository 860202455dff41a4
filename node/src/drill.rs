//! Faults that a node suffers because somebody rehearses them: its process ends as if it were killed, its mesh is cut, or its
//! disk is slow.
//!
//! A node suffers what an administrator asks for, of it or of another member, and comes back by itself within
//! [`LASTS_MAX_MS`]: a process that ends begins anew in its own place, so no supervisor is needed and none notices. What a
//! drill does and measures is the command line's (`cli/cluster/drill.rs`).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use pentora_p2p::{Mesh, PeerId};
use pentora_raft::Raft;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

/// The longest that a fault lasts, in milliseconds: five minutes show what any grace period does.
pub const LASTS_MAX_MS: u64 = 300_000;
/// The longest that each sync of a slow disk waits, in milliseconds: longer than any election, so that it is seen what comes of that.
pub const DELAY_MAX_MS: u64 = 5_000;
/// How long after the answer a fault begins at the soonest, so that whoever asked has the answer.
pub const BEGINS_AFTER: Duration = Duration::from_millis(100);
/// How long after the answer a fault may begin, in milliseconds: time to tell many nodes, of which the last needs a majority too.
pub const BEGINS_AFTER_MAX_MS: u64 = 60_000;
/// Tells the process that begins anew for how long the node is to be down, in milliseconds.
pub const DOWN_FOR: &str = "PENTORA_DRILL_DOWN_MS";

/// What a node suffers. Append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Its process ends at once: nothing is handed over, said or flushed.
    Kill {
        /// For how long it is down.
        down_ms: u64,
    },
    /// It neither hears nor reaches these peers; nobody, where none is named.
    Cut {
        /// By their names on the mesh.
        from: Vec<String>,
        /// For how long.
        for_ms: u64,
    },
    /// Each sync of its log waits before it begins.
    SlowDisk {
        /// How long.
        delay_ms: u64,
        /// For how long.
        for_ms: u64,
    },
}

/// Has this node suffer faults.
#[derive(Debug, Clone)]
pub struct Faults {
    mesh: Mesh,
    raft: Raft,
    tasks: TaskTracker,
}

impl Faults {
    /// Faults of the node with this mesh and this log.
    #[must_use]
    pub fn new(mesh: Mesh, raft: Raft, tasks: TaskTracker) -> Self {
        Self { mesh, raft, tasks }
    }

    /// Begins a fault so long after this answers, or [`BEGINS_AFTER`].
    ///
    /// # Errors
    /// Why it does not; nothing happens then.
    pub fn suffer(&self, fault: Fault, after: Duration) -> Result<(), String> {
        let (Fault::Kill { down_ms: lasts_ms }
        | Fault::Cut { for_ms: lasts_ms, .. }
        | Fault::SlowDisk { for_ms: lasts_ms, .. }) = &fault;
        if *lasts_ms > LASTS_MAX_MS {
            return Err(format!("a fault lasts at most {} s", LASTS_MAX_MS / 1_000));
        }
        let after = after.max(BEGINS_AFTER);
        if after > Duration::from_millis(BEGINS_AFTER_MAX_MS) {
            return Err(format!("a fault begins within {} s", BEGINS_AFTER_MAX_MS / 1_000));
        }
        let lasts = Duration::from_millis(*lasts_ms);
        let from = match &fault {
            Fault::Cut { from, .. } => {
                let peers = from.iter().map(|peer| peer.parse::<PeerId>().map_err(|error| error.to_string()));
                peers.collect::<Result<BTreeSet<_>, _>>()?
            }
            Fault::Kill { .. } | Fault::SlowDisk { .. } => BTreeSet::new(),
        };
        if let Fault::SlowDisk { delay_ms, .. } = &fault {
            if self.raft.is_outside() {
                return Err("this node only scans, and has no log whose disk could be slow".to_owned());
            }
            if *delay_ms > DELAY_MAX_MS {
                return Err(format!("a sync waits at most {} s", DELAY_MAX_MS / 1_000));
            }
        }
        let (mesh, raft) = (self.mesh.clone(), self.raft.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            match fault {
                Fault::Kill { down_ms } => {
                    tracing::warn!(down_ms, "this process ends for a drill, and begins anew");
                    match begin_anew(lasts) {
                        Ok(never) => match never {},
                        Err(error) => tracing::error!(%error, "it goes on: it cannot begin anew"),
                    }
                }
                Fault::Cut { for_ms, .. } => {
                    let all = from.is_empty();
                    tracing::warn!(for_ms, peers = from.len(), all, "the mesh is cut for a drill");
                    if !mesh.cut_off((!all).then_some(from), lasts) {
                        tracing::error!("this mesh cannot be cut");
                    }
                }
                Fault::SlowDisk { delay_ms, for_ms } => {
                    tracing::warn!(for_ms, delay_ms, "the log's disk is slow for a drill");
                    if !raft.slow_disk(Duration::from_millis(delay_ms), lasts) {
                        tracing::error!("this node has no log on a disk");
                    }
                }
            }
        });
        Ok(())
    }
}

/// Puts a new process of this program, with the same arguments, in the place of this one: the kernel ends every thread and
/// closes every file and connection, as where a process is killed.
///
/// # Errors
/// Where the kernel refuses, and this process goes on.
fn begin_anew(down: Duration) -> std::io::Result<Infallible> {
    let mut arguments = std::env::args_os();
    // By its path the process keeps its name; a file that was replaced meanwhile has none.
    let path = std::env::current_exe().ok().filter(|path| path.exists());
    let mut command = Command::new(path.unwrap_or_else(|| "/proc/self/exe".into()));
    if let Some(called) = arguments.next() {
        command.arg0(called);
    }
    command.args(arguments).env(DOWN_FOR, down.as_millis().to_string());
    // What came in on standard input, a token, was read by the process that is to end.
    Err(command.stdin(Stdio::null()).exec())
}

/// Waits where this process began anew for a drill until the node may be back.
pub async fn stay_down() {
    let Some(down) = std::env::var(DOWN_FOR).ok().and_then(|text| text.parse::<u64>().ok()) else { return };
    let down_ms = down.min(LASTS_MAX_MS);
    tracing::warn!(down_ms, "ended for a drill; down for so long");
    tokio::time::sleep(Duration::from_millis(down_ms)).await;
}
