//! What the metrics tell of the replicated state, and above all how much work waits: the figure that autoscalers go by.
//!
//! The backlog is counted in units, the pieces in which work is given out, which take a worker about ten seconds each. So a
//! share of five a worker, as the original description's autoscaler wants it, is a minute's work. Targets would not do: a
//! hundred of them are a moment's work for one worker. How many units a job's targets will make is told by those it had so far;
//! before there is one, by the largest that a worker takes.

use std::collections::BTreeMap;

use pentora_raft::state::{Needs, NodeRecord, NodeStatus};
use pentora_raft::{JobId, NodeId, State};

use crate::coordinator::{VERSION, placement};
use crate::rpc::LogFigures as Figures;

/// Needs whose share is kept while the jobs are looked at: most jobs have the same.
const SHARES_KEPT_MAX: usize = 32;
/// What the estimates of loss in the log are parts of.
const MILLION: f64 = 1e6;
/// Targets of a unit where no worker says how many it takes.
const UNIT_TARGETS_UNKNOWN: u64 = 65_536;

/// Every word for a status, so that one without a node is told as 0.
const STATUSES: [(NodeStatus, &str); 6] = [
    (NodeStatus::Joining, "joining"),
    (NodeStatus::Active, "active"),
    (NodeStatus::Stale, "stale"),
    (NodeStatus::Failed, "failed"),
    (NodeStatus::Draining, "draining"),
    (NodeStatus::Left, "left"),
];

impl Figures {
    /// As they are for the node `own`.
    pub(crate) fn of(state: &State, own: NodeId) -> Self {
        let count = |status| state.nodes().filter(|(_, record)| record.status == status).count();
        let mut figures = Self {
            leases_own: state.leases().filter(|(_, lease)| lease.node == own).count(),
            nodes: STATUSES.iter().map(|(status, word)| ((*word).to_owned(), count(*status))).collect(),
            ..Self::default()
        };
        let sizes = Sizes::of(state);
        figures.leases = sizes.leases;
        let mut shares: Vec<(&Needs, f64)> = Vec::new();
        let mut lost_millionths = 0u128;
        for (id, job) in state.jobs() {
            let unit_targets = sizes.of_job(state, id);
            for (index, partition) in (0u32..).zip(&job.partitions).filter(|_| job.wants_work()) {
                let Some(progress) = state.progress(id, index) else { continue };
                let settled = progress.done.total().saturating_add(progress.dead.total());
                let left = partition.target_count.saturating_sub(settled);
                let units = left.div_ceil(unit_targets);
                figures.targets_waiting = figures.targets_waiting.saturating_add(left);
                figures.units_waiting = figures.units_waiting.saturating_add(units);
                let known = shares.iter().find(|(needs, _)| **needs == partition.needs).map(|(_, share)| *share);
                let share = known.unwrap_or_else(|| share_of(state, own, &partition.needs));
                if known.is_none() && shares.len() < SHARES_KEPT_MAX {
                    shares.push((&partition.needs, share));
                }
                figures.units_own += units as f64 * share;
            }
            figures.jobs_waiting += usize::from(super::super::jobs::is_waiting(job));
            figures.jobs_open += usize::from(job.is_open());
            figures.units_done += state.job_workers(id).map(|(_, stat)| stat.units).sum::<u64>();
            figures.probes_sent += job.counts.probes_sent;
            figures.probes_retransmitted += job.counts.retransmitted;
            figures.probes_received += job.counts.replies;
            lost_millionths += u128::from(job.counts.lost_millionths);
        }
        figures.probes_lost = lost_millionths as f64 / MILLION;
        figures
    }
}

/// How large units are.
struct Sizes {
    /// Units that are out, and their targets, by job.
    out: BTreeMap<JobId, (u64, u64)>,
    /// How many are out in all.
    leases: usize,
    /// The largest that a worker takes.
    largest: u64,
}

impl Sizes {
    fn of(state: &State) -> Self {
        let mut sizes = Self { out: BTreeMap::new(), leases: 0, largest: 0 };
        for (unit, lease) in state.leases() {
            let (units, targets) = sizes.out.entry(unit.job).or_default();
            *units += 1;
            *targets = targets.saturating_add(lease.end.saturating_sub(lease.start));
            sizes.leases += 1;
        }
        let taken = state.nodes().filter(|(_, record)| record.takes_leases());
        sizes.largest =
            taken.map(|(_, record)| record.info.max_targets_per_scan).max().unwrap_or(UNIT_TARGETS_UNKNOWN).max(1);
        sizes
    }

    /// Targets of a unit of a job: the mean of those it had and has.
    fn of_job(&self, state: &State, job: JobId) -> u64 {
        let (mut units, mut targets) = self.out.get(&job).copied().unwrap_or_default();
        for (_, stat) in state.job_workers(job) {
            units = units.saturating_add(stat.units);
            targets = targets.saturating_add(stat.targets);
        }
        targets.checked_div(units).unwrap_or(self.largest).max(1)
    }
}

/// The share of work with these needs that falls to `own`: an equal one for each worker that may take it.
fn share_of(state: &State, own: NodeId, needs: &Needs) -> f64 {
    let may = |id: NodeId, record: &NodeRecord| {
        record.takes_leases() && placement::refused(state, id, record, needs, VERSION).is_none()
    };
    if !state.node(own).is_some_and(|record| may(own, record)) {
        return 0.0;
    }
    1.0 / state.nodes().filter(|(id, record)| may(*id, record)).count().max(1) as f64
}

#[cfg(test)]
#[path = "autoscaler_test.rs"]
mod tests;
