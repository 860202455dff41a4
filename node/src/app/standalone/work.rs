//! One order that is worked on, by an embedded node that lives as long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pentora_raft::command::{
    Command, Finished, NewRule, NodeInfo, SPEC_INLINE_BYTES_MAX, SpecRef, StoredChunk, Submission, UnitKey,
};
use pentora_raft::state::{Counts, Remarks};
use pentora_raft::{Digest, IntervalSet, JobId, Response};
use pentora_scanner::engine::Engine;

use super::super::embedded::{self, Embedded};
use crate::airgap::kept::Kept;
use crate::airgap::manifest::{Content, Order, Unit};
use crate::airgap::{BundleError, carried_policy};
use crate::feeds::FeedStore;
use crate::orders::Verified;
use crate::policy::own::OwnFile;
use crate::results::{ChunkWriter, EARLIER_RUN, Heading};

/// Longest wait for units to count what is settled of them when work ends early.
const SUSPEND_WITHIN: Duration = Duration::from_secs(5);

/// An order that is to be begun.
pub(super) struct Next {
    pub(super) order: Order,
    pub(super) spec: Vec<u8>,
    pub(super) done: Vec<IntervalSet>,
    /// What somebody signed, where this worker asks for that.
    pub(super) signed: Option<Verified>,
}

/// An order that is worked on.
pub(super) struct Work {
    pub(super) order: Order,
    node: Embedded,
    /// Its job in the embedded node.
    job: JobId,
    /// Units that are saved, or were done before.
    saved: BTreeSet<(u32, u64)>,
    /// What was remarked on those.
    remarks: Remarks,
}

impl Work {
    /// Starts a node for an order and gives it what is left to do.
    pub(super) async fn begin(
        next: Next,
        rules: &[NewRule],
        (own, file): (NodeInfo, OwnFile),
        engine: Engine,
        feeds: FeedStore,
    ) -> Result<Self, String> {
        let Next { order, spec, done, .. } = next;
        let node = embedded::of_worker(own, file, engine, feeds).await.map_err(|failure| failure.to_string())?;
        let begun = match hold_to(&node, rules).await {
            Ok(()) => Self::submit(&node, &order, spec, &done).await,
            Err(why) => Err(why),
        };
        match begun {
            Ok((job, saved)) => Ok(Self { order, node, job, saved, remarks: Remarks::default() }),
            Err(why) => {
                node.stop().await;
                Err(why)
            }
        }
    }

    async fn submit(
        node: &Embedded,
        order: &Order,
        spec: Vec<u8>,
        done: &[IntervalSet],
    ) -> Result<(JobId, BTreeSet<(u32, u64)>), String> {
        let (served, via) = (&node.served, node.served.raft.node());
        let spec = if spec.len() <= SPEC_INLINE_BYTES_MAX {
            SpecRef::Inline(spec)
        } else {
            let StoredChunk { digest, holders, .. } = served.exchange.make_durable(spec.into()).await;
            SpecRef::Chunk { digest, holders }
        };
        // What is done is kept elsewhere: here it only has to be known, under any chunk.
        let heading = Heading { unit: UnitKey { job: EARLIER_RUN, partition: 0, start: 0 }, end: 0 };
        let stored = served.exchange.make_durable(ChunkWriter::new(&heading).finish()).await;
        let mut finished = Vec::new();
        for (partition, done) in (0u32..).zip(done) {
            for range in done.iter() {
                let unit = UnitKey { job: EARLIER_RUN, partition, start: range.start }.until(range.end);
                finished.push(Finished { unit, stored: stored.clone(), counts: Counts::default() });
            }
        }
        let saved = finished.iter().map(|finished| (finished.unit.partition, finished.unit.start)).collect();
        let submission = Submission {
            spec,
            partitions: order.partitions.clone(),
            priority: order.priority,
            limits: order.limits,
            via,
            idempotency_key: None,
            title: order.title.clone(),
            finished,
        };
        let command = Command::SubmitAs { submission: Box::new(submission), author: order.author.clone() };
        match served.proposer.propose(command).await {
            Ok(applied) => match applied.response {
                Response::Submitted { job, .. } => Ok((job, saved)),
                other => Err(format!("{other:?}")),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    /// Has the work go by other rules from now on.
    pub(super) async fn hold_to(&self, rules: &[NewRule]) -> Result<(), String> {
        hold_to(&self.node, rules).await
    }

    /// Saves the units that were finished since the last call, and forgets their chunks.
    pub(super) async fn save(&mut self, kept: &Kept) -> Result<(), BundleError> {
        let (new, remarks) = self.node.served.raft.read(|state| {
            let new: Vec<_> = state
                .job_chunks(self.job)
                .filter(|(unit, _)| !self.saved.contains(&(unit.partition, unit.start)))
                .map(|(unit, chunk)| (unit, chunk.clone()))
                .collect();
            (new, state.job_remarks(self.job).cloned().unwrap_or_default())
        });
        let exchange = &self.node.served.exchange;
        // What was remarked since then belongs to these units; which of them it was of, nobody asks.
        let mut fresh = since(&remarks, &self.remarks);
        for (unit, chunk) in new {
            let wrong = |what: String| BundleError::Contents(what);
            let bytes = exchange.fetch(chunk.stored.digest, &chunk.stored.holders).await;
            let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
            let heading = Heading { unit: UnitKey { job: self.order.job, ..unit }, end: chunk.end };
            let mut writer = ChunkWriter::new(&heading);
            writer.append(bytes).map_err(|error| wrong(error.to_string()))?;
            let bytes = writer.finish();
            let record = Unit {
                job: self.order.job,
                spec: self.order.spec,
                unit: unit.until(chunk.end),
                counts: chunk.counts,
                remarks: part_of(&mut fresh, chunk.end - unit.start),
                chunk: Content { digest: Digest::of(&bytes), bytes: bytes.len() as u64 },
            };
            let kept = kept.clone();
            let saving = tokio::task::spawn_blocking(move || kept.add(&record, &bytes)).await;
            saving.map_err(|error| wrong(error.to_string()))??;
            self.saved.insert((unit.partition, unit.start));
            if let Err(error) = exchange.store().remove(vec![chunk.stored.digest]).await {
                tracing::debug!(%error, "a saved chunk stays in memory");
            }
        }
        self.remarks = remarks;
        Ok(())
    }

    /// How the work ended, if it did: with a reason where a part of it was given up.
    pub(super) fn is_over(&self) -> Option<Result<(), String>> {
        self.node.served.raft.read(|state| {
            let job = state.job(self.job)?;
            let given_up = || job.reason.clone().unwrap_or_else(|| "no reason is known".into());
            (!job.is_open()).then(|| if job.dead > 0 { Err(given_up()) } else { Ok(()) })
        })
    }

    /// Ends the work early, with what is settled of it saved.
    pub(super) async fn end(mut self, kept: &Kept) -> Result<(), BundleError> {
        // Units that do not end in time are scanned again.
        drop(tokio::time::timeout(SUSPEND_WITHIN, self.node.worker.suspend()).await);
        let saved = self.save(kept).await;
        self.stop().await;
        saved
    }

    pub(super) async fn stop(self) {
        self.node.stop().await;
    }
}

/// Puts the rules that were carried into a node's log, in place of those before.
async fn hold_to(node: &Embedded, rules: &[NewRule]) -> Result<(), String> {
    for command in node.served.raft.read(|state| carried_policy::changes(state, rules)) {
        // One that the log refuses is an error.
        node.served.proposer.propose(command).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What `now` has beyond `before`.
pub(super) fn since(now: &Remarks, before: &Remarks) -> Remarks {
    let less = |(code, targets): (&u8, &u64)| {
        let targets = targets.saturating_sub(before.not_probed.get(code).copied().unwrap_or(0));
        (targets > 0).then_some((*code, targets))
    };
    Remarks {
        not_probed: now.not_probed.iter().filter_map(less).collect(),
        notes: now.notes.difference(&before.notes).cloned().collect(),
    }
}

/// As much of remarks as can be of a unit with so many targets; the rest stays for the next.
pub(super) fn part_of(remarks: &mut Remarks, targets: u64) -> Remarks {
    let mut part = Remarks { not_probed: BTreeMap::new(), notes: std::mem::take(&mut remarks.notes) };
    let mut room = targets;
    for (code, left) in &mut remarks.not_probed {
        let taken = (*left).min(room);
        if taken > 0 {
            part.not_probed.insert(*code, taken);
            *left -= taken;
            room -= taken;
        }
    }
    part
}
