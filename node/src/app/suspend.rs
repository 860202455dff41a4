//! An embedded scan that is suspended, and one that is taken up again.
//!
//! Suspending counts what is settled of each unit in work, and takes every finished unit out of the node with its chunk, so
//! that another process can begin the same job with them. Only the embedded node can: a mesh needs no such thing, its jobs
//! go on without whoever asked for them.

use std::time::Duration;

use pentora_raft::command::{Author, Finished, UnitKey};
use pentora_raft::state::Remarks;
use pentora_raft::{Digest, JobId};
use pentora_scanner::finding::{NotProbed, NotProbedCounts};

use crate::api::Served;
use crate::document::{ScanAccepted, ScanRequest};
use crate::embedded::{SavedRemarks, SavedUnit, Suspended};
use crate::failure::{ExitCode, Failure};
use crate::jobs::{self, RefusedRequest};
use crate::results::{ChunkError, ChunkWriter, EARLIER_RUN, Heading};
use crate::spec;
use crate::worker::Worker;

/// Longest wait for units to count what is settled of them.
const SUSPEND_WITHIN: Duration = Duration::from_secs(5);
/// Neighbouring units are joined up to so many hosts, because one entry of the log names them all; a chunk of as many
/// hosts is a few megabytes.
const JOINED_HOSTS_MAX: u64 = 20_000;

/// Ends the scan early and takes out what it has.
///
/// # Errors
/// The job is not there, or its chunks cannot be read: bugs, told in words.
pub(super) async fn suspend(served: &Served, worker: &Worker, job_id: &str) -> Result<Suspended, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failure, "the scan cannot be suspended").because(why);
    let job: JobId = job_id.parse().map_err(|error: pentora_raft::id::IdError| failed(error.to_string()))?;
    let (unfinished, unfinished_probes) = match tokio::time::timeout(SUSPEND_WITHIN, worker.suspend()).await {
        Ok(left) => left,
        Err(_) => return Err(failed("a unit did not end in time".into())),
    };
    let (kept, chunks, remarks) = served.raft.read(|state| {
        let chunks: Vec<_> = state.job_chunks(job).map(|(unit, chunk)| (unit, chunk.clone())).collect();
        (state.spec(job).cloned(), chunks, state.job_remarks(job).map(remarks_of).unwrap_or_default())
    });
    let spec = spec::digest(&kept.ok_or_else(|| failed(format!("{job} is gone")))?);
    let mut units = Vec::new();
    for (unit, chunk) in chunks {
        let bytes = served.exchange.fetch(chunk.stored.digest, &chunk.stored.holders).await;
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        let (partition, start, end, counts) = (unit.partition, unit.start, chunk.end, chunk.counts);
        units.push(SavedUnit { partition, start, end, counts, chunk: bytes });
    }
    let units = joined(units).map_err(|error| failed(error.to_string()))?;
    Ok(Suspended { spec, units, remarks, unfinished, unfinished_probes })
}

/// Submits a scan of which `units` are finished; `spec` is that of the scan they were taken from.
///
/// # Errors
/// The request is refused, or is not the one that the units belong to.
pub(super) async fn resume(
    served: &Served,
    request: ScanRequest,
    spec: Digest,
    units: Vec<SavedUnit>,
) -> Result<ScanAccepted, Failure> {
    let refused = |error: RefusedRequest| Failure::new(ExitCode::Usage, error.to_string());
    let prepared = jobs::prepare(request, Author::default(), &served.raft).map_err(refused)?;
    if prepared.spec_digest() != spec {
        return Err(Failure::new(ExitCode::Usage, "the saved results are not of this scan")
            .because("its targets or options come out otherwise than when it was interrupted"));
    }
    let node = served.raft.node();
    let mut finished = Vec::new();
    for SavedUnit { partition, start, end, counts, chunk } in units {
        let unit = UnitKey { job: EARLIER_RUN, partition, start };
        let stored = served.exchange.make_durable(chunk).await;
        finished.push(Finished { unit: unit.until(end), stored, counts });
    }
    let prepared = prepared.with_finished(finished);
    let accepted =
        jobs::submit(prepared, None, &served.proposer, &served.exchange, node, served.settings().max_attempts)
            .await
            .map_err(refused)?;
    Ok(accepted.into())
}

/// Remarks as they are saved; a reason that this release does not know is one of the kernel's.
fn remarks_of(remarks: &Remarks) -> SavedRemarks {
    let mut not_probed = NotProbedCounts::default();
    for (code, targets) in &remarks.not_probed {
        not_probed.add(NotProbed::from_code(*code).unwrap_or(NotProbed::SendRefused), *targets);
    }
    SavedRemarks { not_probed, notes: remarks.notes.clone() }
}

/// Neighbouring units as one each, as far as they have few hosts, with the job of an earlier run in their headings.
fn joined(units: Vec<SavedUnit>) -> Result<Vec<SavedUnit>, ChunkError> {
    let mut joined: Vec<SavedUnit> = Vec::new();
    let mut rest = units.into_iter().peekable();
    while let Some(mut first) = rest.next() {
        let mut chunks = vec![std::mem::take(&mut first.chunk)];
        let fits = |first: &SavedUnit, next: &SavedUnit| {
            (first.partition, first.end) == (next.partition, next.start)
                && first.counts.hosts_up + next.counts.hosts_up <= JOINED_HOSTS_MAX
        };
        while let Some(next) = rest.next_if(|next| fits(&first, next)) {
            first.end = next.end;
            first.counts.add(&next.counts);
            chunks.push(next.chunk);
        }
        let unit = UnitKey { job: EARLIER_RUN, partition: first.partition, start: first.start };
        let mut chunk = ChunkWriter::new(&Heading { unit, end: first.end });
        chunks.into_iter().try_for_each(|bytes| chunk.append(bytes))?;
        joined.push(SavedUnit { chunk: chunk.finish(), ..first });
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use pentora_raft::state::Counts;

    use super::*;
    use crate::results::ChunkReader;

    #[test]
    fn neighbours_are_joined_and_counted_together_up_to_a_size() {
        let unit = |partition, start, end, hosts_up| SavedUnit {
            partition,
            start,
            end,
            counts: Counts { hosts_up, ..Counts::default() },
            chunk: ChunkWriter::new(&Heading { unit: UnitKey { job: JobId(9), partition, start }, end }).finish(),
        };
        let units = vec![
            unit(0, 0, 10, 5),
            unit(0, 10, 20, 6),
            unit(0, 30, 40, 1),
            unit(0, 40, 50, JOINED_HOSTS_MAX),
            unit(1, 50, 60, 1),
        ];
        let units = joined(units).unwrap();
        for unit in &units {
            let heading = ChunkReader::open(unit.chunk.clone()).unwrap().heading();
            assert_eq!((heading.unit.job, heading.unit.start, heading.end), (EARLIER_RUN, unit.start, unit.end));
        }
        let shapes: Vec<_> = units.iter().map(|unit| (unit.start, unit.end, unit.counts.hosts_up)).collect();
        assert_eq!(shapes, [(0, 20, 11), (30, 40, 1), (40, 50, JOINED_HOSTS_MAX), (50, 60, 1)]);
    }
}
