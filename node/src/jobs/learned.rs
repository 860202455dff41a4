//! `learned` of a request: its most common ports are those that the cluster's own results have open most, as they are when the
//! job is accepted. From then on they are ports like any others.

use pentora_raft::{JobId, Raft};
use pentora_scanner::finding::PortRecord;
use pentora_scanner::port::LearnedPorts;

use super::{RefusedRequest, profile};
use crate::document::ScanRequest;
use crate::results::{Exchange, report};

/// Jobs that are learned from, the newest: what older ones found may be gone.
const JOBS_MAX: usize = 100;
/// Hosts that are read at most, over all of them: seconds.
const HOSTS_MAX: u64 = 200_000;

/// The request with its ports named where it asks for learned ones, and a note about what they were learned from.
///
/// # Errors
/// [`RefusedRequest`] where learned ports do not go with what else it says.
pub async fn learn(
    request: ScanRequest,
    raft: &Raft,
    exchange: &Exchange,
) -> Result<(ScanRequest, Option<String>), RefusedRequest> {
    if !request.learned {
        return Ok((request, None));
    }
    let completed = profile::complete(request.clone(), raft)?.0;
    if completed.ports.is_some() {
        return Err(RefusedRequest::Field("learned goes with top_ports, not with ports"));
    }
    let (learned, jobs) = from_results(raft, exchange).await;
    let request = ScanRequest { top_ports: completed.top_ports, top_udp_ports: completed.top_udp_ports, ..request };
    let (request, note) = request.with_learned(&learned, jobs);
    Ok((request, Some(note)))
}

/// What the newest ended jobs found open, and how many they were. A chunk that cannot be read teaches nothing.
async fn from_results(raft: &Raft, exchange: &Exchange) -> (LearnedPorts, usize) {
    let newest: Vec<JobId> = raft.read(|state| {
        // Ports become part of a request, which the log has everywhere: results that do not leave a region teach nothing.
        let ended = state.jobs().rev().filter(|(id, job)| !job.is_open() && state.residency(*id).is_none());
        ended.map(|(id, _)| id).filter(|id| state.job_chunks(*id).next().is_some()).take(JOBS_MAX).collect()
    });
    let (mut learned, mut jobs, mut hosts) = (LearnedPorts::default(), 0, 0_u64);
    for job in newest {
        let mut wants_more = true;
        let unreadable = report::for_each_record(raft, exchange.clone(), job, Box::new(|_| {}), |record| {
            hosts += 1;
            wants_more = learned.add(record.address, record.open_ports().map(PortRecord::to_port)) && hosts < HOSTS_MAX;
            wants_more
        });
        if !unreadable.await.is_empty() {
            tracing::debug!(%job, "ports are learned from the readable part of a job");
        }
        jobs += 1;
        if !wants_more {
            break;
        }
    }
    (learned, jobs)
}
