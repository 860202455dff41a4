//! What a job's trace and the spans in it are called: by the log's own names alone, so that every node calls them the same and no
//! node has to be told.
//!
//! ```text
//! job                      the leader, when the job is over
//! +- submit                the node that took the request
//! +- plan                  the leader, at each grant
//!    +- lease              the leader, when the lease is gone
//!       +- unit            the worker
//!          +- chunk        the worker: packed, and on as many disks as there should be
//!          |  +- keep      each other node that was given a copy
//!          +- complete     the worker: counted by the log
//! ```

use pentora_raft::command::{LeaseRef, UnitKey};
use pentora_raft::{ClusterId, Digest, JobId, NodeId};

/// Which part of a job's way a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All of it.
    Job,
    /// From the request to the log, by way of this node.
    Submit(NodeId),
    /// What the leader planned of it at once, up to the grant at this log index.
    Plan(u64),
    /// A lease, from its grant until it is gone.
    Lease(LeaseRef),
    /// What a worker did for a lease.
    Unit(LeaseRef),
    /// Its results, or a part of them, made durable.
    Chunk(LeaseRef, Digest),
    /// Their way into the log: of a lease, the part that begins at this index.
    Complete(LeaseRef, u64),
    /// A copy of them that this node was given.
    Keep(Digest, NodeId),
}

/// The name of a job's trace.
pub(super) fn trace_id(cluster: ClusterId, job: JobId) -> [u8; 16] {
    first(&[b"pentora trace 1", &cluster.0, &job.0.to_be_bytes()])
}

impl Place {
    /// What people read.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Submit(_) => "submit",
            Self::Plan(_) => "plan",
            Self::Lease(_) => "lease",
            Self::Unit(_) => "unit",
            Self::Chunk(..) => "chunk",
            Self::Complete(..) => "complete",
            Self::Keep(..) => "keep",
        }
    }

    /// Its name in a trace.
    pub(super) fn span_id(self, trace: [u8; 16]) -> [u8; 8] {
        let of = |parts: &[&[u8]]| first(&[&[b"pentora span 1", &trace[..], self.name().as_bytes()], parts].concat());
        let of_lease = |lease: LeaseRef, more: &[u8]| {
            let (partition, start) = (lease.unit.partition.to_be_bytes(), lease.unit.start.to_be_bytes());
            of(&[&partition, &start, &lease.epoch.to_be_bytes(), more])
        };
        match self {
            Self::Job => of(&[]),
            Self::Submit(node) => of(&[&node.to_be_bytes()]),
            Self::Plan(epoch) => of(&[&epoch.to_be_bytes()]),
            Self::Lease(lease) | Self::Unit(lease) => of_lease(lease, &[]),
            // By its digest alone: whoever is given a copy knows no lease.
            Self::Chunk(_, digest) => of(&[&digest.0]),
            Self::Complete(lease, start) => of_lease(lease, &start.to_be_bytes()),
            Self::Keep(digest, node) => of(&[&digest.0, &node.to_be_bytes()]),
        }
    }

    /// The name of the span that it is a part of.
    pub(super) fn parent_id(self, trace: [u8; 16]) -> Option<[u8; 8]> {
        let parent = match self {
            Self::Job => return None,
            Self::Submit(_) | Self::Plan(_) => Self::Job,
            Self::Lease(lease) => Self::Plan(lease.epoch),
            Self::Unit(lease) => Self::Lease(lease),
            Self::Chunk(lease, _) | Self::Complete(lease, _) => Self::Unit(lease),
            Self::Keep(digest, _) => {
                // Which lease does not matter to the chunk's name.
                let any = LeaseRef { unit: UnitKey { job: JobId(0), partition: 0, start: 0 }, epoch: 0 };
                Self::Chunk(any, digest)
            }
        };
        Some(parent.span_id(trace))
    }
}

/// The first bytes of the digest of some parts, each behind its length.
fn first<const SIZE: usize>(parts: &[&[u8]]) -> [u8; SIZE] {
    let mut text = Vec::new();
    for part in parts {
        text.extend((part.len() as u64).to_be_bytes());
        text.extend(*part);
    }
    let digest = Digest::of(&text);
    std::array::from_fn(|at| digest.0.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn lease(start: u64, epoch: u64) -> LeaseRef {
        LeaseRef { unit: UnitKey { job: JobId(7), partition: 0, start }, epoch }
    }

    #[test]
    fn each_part_of_a_jobs_way_has_a_name_of_its_own_and_another_in_each_job_and_cluster() {
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let places = [
            Place::Job,
            Place::Submit(1),
            Place::Submit(2),
            Place::Plan(9),
            Place::Plan(10),
            Place::Lease(lease(0, 9)),
            Place::Lease(lease(0, 10)),
            Place::Lease(lease(4, 9)),
            Place::Unit(lease(0, 9)),
            Place::Chunk(lease(0, 9), one),
            Place::Chunk(lease(0, 9), other),
            Place::Complete(lease(0, 9), 0),
            Place::Complete(lease(0, 9), 2),
            Place::Keep(one, 1),
            Place::Keep(one, 2),
        ];
        let traces = [(1, 7), (1, 8), (2, 7)].map(|(cluster, job)| trace_id(ClusterId([cluster; 16]), JobId(job)));
        assert_eq!(traces.iter().collect::<BTreeSet<_>>().len(), traces.len());
        let names: BTreeSet<[u8; 8]> =
            traces.iter().flat_map(|trace| places.iter().map(|place| place.span_id(*trace))).collect();
        assert_eq!(names.len(), traces.len() * places.len());
    }

    #[test]
    fn every_part_hangs_below_the_job_by_what_its_own_node_knows() {
        let trace = trace_id(ClusterId([1; 16]), JobId(7));
        let digest = Digest::of(b"results");
        let below = |place: Place, parent: Place| assert_eq!(place.parent_id(trace), Some(parent.span_id(trace)));
        assert_eq!(Place::Job.parent_id(trace), None);
        below(Place::Submit(1), Place::Job);
        below(Place::Plan(9), Place::Job);
        below(Place::Lease(lease(4, 9)), Place::Plan(9));
        below(Place::Unit(lease(4, 9)), Place::Lease(lease(4, 9)));
        below(Place::Chunk(lease(4, 9), digest), Place::Unit(lease(4, 9)));
        below(Place::Complete(lease(4, 9), 6), Place::Unit(lease(4, 9)));
        below(Place::Keep(digest, 3), Place::Chunk(lease(4, 9), digest));
    }

    #[test]
    fn names_stay_the_same_from_release_to_release_so_that_nodes_of_two_releases_make_one_trace() {
        let trace = trace_id(ClusterId([1; 16]), JobId(7));
        assert_eq!(hex::encode(trace), "f00df787c582e2addf289fe9afc7d8c0");
        assert_eq!(hex::encode(Place::Unit(lease(4, 9)).span_id(trace)), "ba90120e5ac4673a");
    }
}
