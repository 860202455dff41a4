//! Random commands, drawn in one place: for the codec, which wants every value that a field can have, and for the laws of
//! the state, which want sequences that mean something.
//!
//! So a command is drawn as a [`Move`], before a state is known, and aimed at one afterwards: most moves hit what is
//! there, some are stale, foreign or wrong on purpose. [`moves`] has one arm for each command and no other, so that a
//! command that nobody draws does not compile.

use std::fmt::Debug;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::Union;

use super::parts_test::{
    any_counts, any_digest, any_feed, any_feed_kind, any_holders, any_info, any_join, any_remarks, any_share,
    any_submission, any_token, any_token_id, text,
};
use super::sample_test::{limits, submission, two_nodes};
use crate::command::{Command, Completion, LeaseRef, NewLease, Proposal, Response, StoredChunk, UnitKey};
use crate::id::{ClusterId, Digest, JobId, NodeId};
use crate::state::{CommandKind, Counts, Lease, Share, State};

/// A command before it knows the state.
#[derive(Debug, Clone)]
pub(crate) struct Move(Arc<dyn Aim>);

impl Move {
    /// The command that it means there.
    pub(crate) fn at(&self, scene: &Scene<'_>) -> Command {
        self.0.at(scene)
    }
}

trait Aim: Debug + Send + Sync {
    fn at(&self, scene: &Scene<'_>) -> Command;
}

/// What was drawn, and what it means in a state.
struct Drawn<T> {
    what: T,
    aim: fn(&T, &Scene<'_>) -> Command,
}

impl<T: Debug> Debug for Drawn<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.what.fmt(f)
    }
}

impl<T: Debug + Send + Sync> Aim for Drawn<T> {
    fn at(&self, scene: &Scene<'_>) -> Command {
        (self.aim)(&self.what, scene)
    }
}

/// Moves of one command: how often they come beside those of others, and how they are drawn.
type Moves = (u32, BoxedStrategy<Move>);

fn draw<S>(weight: u32, what: S, aim: fn(&S::Value, &Scene<'_>) -> Command) -> Moves
where
    S: Strategy<Value: Debug + Send + Sync> + 'static,
{
    (weight, what.prop_map(move |what| Move(Arc::new(Drawn { what, aim }))).boxed())
}

/// How moves of each command are drawn. The weights make long runs in which jobs are worked on and end in every way.
fn moves(kind: CommandKind) -> Moves {
    match kind {
        CommandKind::Begin => draw(1, (any::<[u8; 16]>(), any_info()), |(cluster, info), _| Command::Begin {
            cluster: ClusterId(*cluster),
            info: info.clone(),
            admin_token: Digest::of(cluster),
        }),
        CommandKind::CreateToken => draw(1, any_token(), |token, _| Command::CreateToken(token.clone())),
        CommandKind::RevokeToken => draw(1, any_token_id(), |token, _| Command::RevokeToken { token: *token }),
        CommandKind::Join => draw(6, any_join(), |(token, secret, info), _| Command::Join {
            token: *token,
            secret: *secret,
            info: info.clone(),
        }),
        CommandKind::UpdateNode => draw(1, (any_pick(), any_info()), |(node, info), scene| Command::UpdateNode {
            node: scene.node(node),
            info: info.clone(),
        }),
        CommandKind::SubmitJob => {
            draw(6, any_submission(), |submission, _| Command::SubmitJob(Box::new(submission.clone())))
        }
        CommandKind::Grant => draw(20, prop::collection::vec(any_grant(), 1..5), |grants, scene| Command::Grant {
            grants: grants.iter().map(|grant| grant.at(scene)).collect(),
        }),
        CommandKind::Complete => draw(16, prop::collection::vec(any_part(), 1..4), |parts, scene| Command::Complete {
            completions: parts.iter().map(|part| part.at(scene)).collect(),
        }),
        CommandKind::CompleteWith => draw(6, (any_part(), any_remarks()), |(part, remarks), scene| {
            Command::CompleteWith { completion: Box::new(part.at(scene)), remarks: remarks.clone() }
        }),
        CommandKind::Release => {
            draw(4, any_leases(), |leases, scene| Command::Release { leases: scene.lease_refs(leases) })
        }
        CommandKind::Expire => draw(6, (any_leases(), text(".{0,20}")), |(leases, reason), scene| Command::Expire {
            leases: scene.lease_refs(leases),
            reason: reason.clone(),
        }),
        CommandKind::WorkerSuspect => {
            draw(2, any_pick(), |node, scene| Command::WorkerSuspect { node: scene.node(node) })
        }
        CommandKind::Cancel => draw(2, (any_pick(), text(".{0,20}")), |(job, reason), scene| Command::Cancel {
            job: scene.job(job),
            reason: reason.clone(),
        }),
        CommandKind::WorkerFailed => {
            draw(2, any_pick(), |node, scene| Command::WorkerFailed { node: scene.node(node) })
        }
        CommandKind::WorkerBack => draw(7, any_pick(), |node, scene| Command::WorkerBack { node: scene.node(node) }),
        CommandKind::SetHolders => draw(2, (any_lease(), any_holders()), |(lease, holders), scene| {
            Command::SetHolders { updates: vec![(scene.lease(lease).0.unit, holders.clone())] }
        }),
        CommandKind::RemoveNode => draw(1, any_pick(), |node, scene| Command::RemoveNode { node: scene.node(node) }),
        CommandKind::DrainNode => draw(2, (any_pick(), any::<bool>()), |(node, draining), scene| Command::DrainNode {
            node: scene.node(node),
            draining: *draining,
        }),
        CommandKind::SetFeed => draw(2, (any_feed_kind(), any_feed()), |(kind, record), _| Command::SetFeed {
            kind: (*kind).to_owned(),
            record: Box::new(record.clone()),
        }),
        CommandKind::RemoveFeed => draw(1, any_feed_kind(), |kind, _| Command::RemoveFeed { kind: (*kind).to_owned() }),
        CommandKind::SetFeedHolders => draw(1, (any_digest(), any_holders()), |(digest, holders), _| {
            Command::SetFeedHolders { digest: *digest, holders: holders.clone() }
        }),
        CommandKind::SetSpecHolders => draw(2, (any_pick(), any_holders()), |(job, holders), scene| {
            Command::SetSpecHolders { updates: vec![(scene.job(job), holders.clone())] }
        }),
    }
}

/// Any move, each as often as its weight says.
pub(crate) fn any_move() -> impl Strategy<Value = Move> {
    Union::new_weighted(CommandKind::ALL.iter().map(|kind| moves(*kind)).collect())
}

/// One of each command, aimed at a state in which something is there to be hit.
pub(crate) fn one_of_each() -> Vec<BoxedStrategy<Command>> {
    let (mut state, mut past) = (State::default(), Past::default());
    let unit = UnitKey { job: JobId(7), partition: 0, start: 0 };
    let grant = NewLease { unit, end: 9, node: 5, share: Share::default() };
    let job = Command::SubmitJob(Box::new(submission(&[20], limits())));
    let opening = two_nodes().into_iter().chain([job, Command::Grant { grants: vec![grant] }]);
    for (index, command) in (2..).zip(opening) {
        past.note(&state.apply(index, &Proposal { at_ms: index, command }));
    }
    let scene = Arc::new((state, past));
    let aimed = |kind: &CommandKind| {
        let scene = Arc::clone(&scene);
        moves(*kind).1.prop_map(move |drawn| drawn.at(&Scene { state: &scene.0, past: &scene.1 })).boxed()
    };
    CommandKind::ALL.iter().map(aimed).collect()
}

/// What has been granted so far, so that a move can name a lease of the past.
#[derive(Debug, Default)]
pub(crate) struct Past(Vec<(UnitKey, Lease)>);

impl Past {
    pub(crate) fn note(&mut self, response: &Response) {
        if let Response::Granted { leases } = response {
            self.0.extend(leases.iter().cloned());
        }
    }
}

/// What moves are aimed at.
pub(crate) struct Scene<'a> {
    pub(crate) state: &'a State,
    pub(crate) past: &'a Past,
}

/// Names one of what is there, or now and then something that is not.
#[derive(Debug, Clone)]
struct Pick {
    of: Index,
    stray: Option<u64>,
}

impl Scene<'_> {
    fn node(&self, pick: &Pick) -> NodeId {
        pick.among(self.state.nodes().map(|(id, _)| id))
    }

    fn job(&self, pick: &Pick) -> JobId {
        JobId(pick.among(self.state.jobs().map(|(id, _)| id.0)))
    }

    /// A lease that is out, or was, and who has it from where on.
    fn lease(&self, pick: &LeasePick) -> (LeaseRef, Lease) {
        let standing: Vec<_> = self.state.leases().map(|(unit, lease)| (unit, lease.clone())).collect();
        let from = if pick.once || standing.is_empty() { &self.past.0 } else { &standing };
        let (unit, lease) = match pick.stray {
            None if !from.is_empty() => from[pick.of.index(from.len())].clone(),
            stray => nowhere(stray.unwrap_or(UnitKey { job: JobId(1), partition: 0, start: 0 })),
        };
        (LeaseRef { unit, epoch: lease.epoch + u64::from(pick.wrong_epoch) }, lease)
    }

    fn lease_refs(&self, picks: &[LeasePick]) -> Vec<LeaseRef> {
        picks.iter().map(|pick| self.lease(pick).0).collect()
    }
}

impl Pick {
    fn among(&self, there: impl Iterator<Item = u64>) -> u64 {
        let there: Vec<u64> = there.chain([999]).collect();
        self.stray.unwrap_or_else(|| there[self.of.index(there.len())])
    }
}

fn nowhere(unit: UnitKey) -> (UnitKey, Lease) {
    let (start, end) = (unit.start, unit.start.saturating_add(1));
    let share = Share::default();
    (unit, Lease { start, end, node: 1, epoch: 1, attempts: 0, share, granted_at_ms: 0 })
}

fn any_pick() -> impl Strategy<Value = Pick> {
    (any::<Index>(), prop::option::weighted(0.05, any::<u64>())).prop_map(|(of, stray)| Pick { of, stray })
}

/// Names a lease: one that is out, or one that was, or none at all.
#[derive(Debug, Clone)]
struct LeasePick {
    of: Index,
    once: bool,
    wrong_epoch: bool,
    stray: Option<UnitKey>,
}

fn any_lease() -> impl Strategy<Value = LeasePick> {
    let stray = (any::<u64>(), any::<u32>(), any::<u64>());
    let stray = stray.prop_map(|(job, partition, start)| UnitKey { job: JobId(job), partition, start });
    let (once, wrong_epoch) = (prop::bool::weighted(0.3), prop::bool::weighted(0.1));
    (any::<Index>(), once, wrong_epoch, prop::option::weighted(0.05, stray))
        .prop_map(|(of, once, wrong_epoch, stray)| LeasePick { of, once, wrong_epoch, stray })
}

fn any_leases() -> impl Strategy<Value = Vec<LeasePick>> {
    prop::collection::vec(any_lease(), 0..4)
}

#[derive(Debug, Clone)]
struct GrantMove {
    job: Pick,
    partition: u32,
    /// `None` for the first index that is free.
    start: Option<u64>,
    length: u64,
    node: Pick,
    share: Share,
}

impl GrantMove {
    fn at(&self, scene: &Scene<'_>) -> NewLease {
        let (job, partition) = (scene.job(&self.job), self.partition);
        let first_free = || {
            let progress = scene.state.progress(job, partition)?;
            Some(progress.free.keys().next().copied().unwrap_or(progress.next))
        };
        let start = self.start.or_else(first_free).unwrap_or(0);
        let unit = UnitKey { job, partition, start };
        NewLease { unit, end: start.saturating_add(self.length), node: scene.node(&self.node), share: self.share }
    }
}

fn any_grant() -> impl Strategy<Value = GrantMove> {
    let partition = prop_oneof![60 => Just(0u32), 40 => Just(1), 20 => Just(2), 1 => any::<u32>()];
    let start = prop_oneof![30 => 0u64..14, 1 => any::<u64>()];
    (any_pick(), partition, prop::option::weighted(0.3, start), 0u64..7, any_pick(), any_share()).prop_map(
        |(job, partition, start, length, node, share)| GrantMove { job, partition, start, length, node, share },
    )
}

#[derive(Debug, Clone)]
struct PartMove {
    lease: LeasePick,
    /// How much of the unit's end is left undone; may be more than there is.
    short_by: u64,
    goes_on: bool,
    /// How far the start is off.
    late_by: u64,
    wrong_node: bool,
    stored: StoredChunk,
    counts: Counts,
}

impl PartMove {
    fn at(&self, scene: &Scene<'_>) -> Completion {
        let (lease, held) = scene.lease(&self.lease);
        Completion {
            lease,
            start: held.start.saturating_add(self.late_by),
            end: held.end.saturating_sub(self.short_by),
            goes_on: self.goes_on,
            node: held.node + u64::from(self.wrong_node),
            stored: self.stored.clone(),
            counts: self.counts,
        }
    }
}

fn any_part() -> impl Strategy<Value = PartMove> {
    let short_by = prop_oneof![4 => Just(0u64), 2 => 0u64..8];
    let late_by = prop_oneof![9 => Just(0u64), 1 => 1u64..3];
    let stored = (0u8..3, any::<u64>(), prop_oneof![9 => Just(vec![1, 2]), 1 => any_holders()])
        .prop_map(|(chunk, bytes, holders)| StoredChunk { digest: Digest::of(&[chunk]), bytes, holders });
    (any_lease(), short_by, any::<bool>(), late_by, prop::bool::weighted(0.1), stored, any_counts()).prop_map(
        |(lease, short_by, goes_on, late_by, wrong_node, stored, counts)| PartMove {
            lease,
            short_by,
            goes_on,
            late_by,
            wrong_node,
            stored,
            counts,
        },
    )
}
