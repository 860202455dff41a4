//! What the workers of a job were when it ended, so that its document does not change with what becomes of them.

use serde::{Deserialize, Serialize};

use super::{Job, NodeStatus, State};
use crate::id::{JobId, NodeId};
use crate::names::names;
use crate::version::SECOND;

/// A worker of a job at the job's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerEnd {
    /// The id under which it scanned.
    pub worker_id: String,
    /// What it was.
    pub state: WorkerEndState,
}

/// What a worker was when its job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerEndState {
    /// There.
    Done,
    /// Marked as failed.
    Failed,
    /// Stopped in order, or not in the cluster any more.
    Left,
}

names! { WorkerEndState, name, NAMES:
    Done => "Done",
    Failed => "Failed",
    Left => "Left",
}

impl State {
    /// What a worker of an ended job was when the job ended; `None` for jobs that ended under an earlier release.
    #[must_use]
    pub fn worker_end(&self, job: JobId, node: NodeId) -> Option<&WorkerEnd> {
        self.ends.get(&(job, node))
    }

    /// Keeps under which id a worker scanned for jobs that go on without it, now that it leaves the cluster.
    pub(super) fn note_gone(&mut self, node: NodeId) {
        // An older release keeps nothing then, and the same on every replica.
        if self.log_version() < SECOND {
            return;
        }
        let worked =
            |(id, job): (&JobId, &Job)| (job.is_open() && self.stats.get(&(*id, node)).is_some()).then_some(*id);
        let jobs: Vec<JobId> = self.jobs.iter().filter_map(worked).collect();
        for job in jobs {
            let end = WorkerEnd { worker_id: self.worker_id(node), state: WorkerEndState::Left };
            self.ends.insert((job, node), end);
        }
    }

    /// Keeps what the workers of a job are now that it ends.
    pub(super) fn note_workers(&mut self, job: JobId) {
        let nodes: Vec<NodeId> = self.job_workers(job).map(|(node, _)| node).collect();
        for node in nodes {
            let record = self.node(node);
            if record.is_none() && self.worker_end(job, node).is_some() {
                continue;
            }
            let end = WorkerEnd {
                worker_id: self.worker_id(node),
                state: match record.map(|record| record.status) {
                    Some(NodeStatus::Failed) => WorkerEndState::Failed,
                    None if self.offline.get(&node).is_some() => WorkerEndState::Done,
                    None | Some(NodeStatus::Left) => WorkerEndState::Left,
                    Some(_) => WorkerEndState::Done,
                },
            };
            self.ends.insert((job, node), end);
        }
    }
}
