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
    any_access_name, any_access_token, any_arrangement, any_audit_entry, any_author, any_change, any_counts,
    any_digest, any_feed, any_feed_kind, any_grant_of_token, any_holders, any_info, any_join, any_keep, any_measures,
    any_name, any_networks, any_occurrence, any_pass_reason, any_remarks, any_rule, any_schedule, any_settings,
    any_share, any_submission, any_token, any_token_id, text,
};
use super::sample_test::{limits, submission, two_nodes};
use crate::command::{
    Author, Command, Completion, Finished, Imported, ImportedUnit, LeaseRef, LogStep, NewLease, NotedRetirement,
    OrderedJob, Proposal, Response, StoredChunk, Submission, TokenLimits, UnitKey, UnitRange,
};
use crate::id::{ClusterId, Digest, JobId, NodeId, RecoveryId};
use crate::state::{
    Authority, CommandKind, Counts, JobStatus, Lease, NewSessionKey, Occurrence, Priority, Recovery, Remarks, Share,
    State, TakenOut,
};
use crate::version::Versions;

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
#[expect(clippy::too_many_lines, reason = "one arm for each command and no wildcard, so that none is left out")]
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
        CommandKind::CompleteMeasured => {
            draw(3, (any_part(), any_remarks(), any_measures()), |(part, remarks, measures), scene| {
                let (remarks, measures) = (remarks.clone(), measures.clone());
                Command::CompleteMeasured { completion: Box::new(part.at(scene)), remarks, measures }
            })
        }
        CommandKind::Release => {
            draw(4, any_leases(), |leases, scene| Command::Release { leases: scene.lease_refs(leases) })
        }
        CommandKind::Expire => draw(10, (any_leases(), text(".{0,20}")), |(leases, reason), scene| Command::Expire {
            leases: scene.lease_refs(leases),
            reason: reason.clone(),
        }),
        CommandKind::Decline => draw(5, (any_leases(), text(".{0,20}")), |(leases, reason), scene| Command::Decline {
            leases: scene.lease_refs(leases),
            reason: reason.clone(),
        }),
        CommandKind::TakeBack => draw(3, (any_pick(), any_lease(), any::<bool>()), |(node, lease, holds), scene| {
            Command::TakeBack(if *holds { scene.lease(lease).1.node } else { scene.node(node) })
        }),
        CommandKind::YieldShare => draw(3, (any_lease(), 0..12u64), |(lease, rate_pps), scene| Command::YieldShare {
            lease: scene.lease(lease).0,
            rate_pps: *rate_pps,
        }),
        // Half of them one that holds a lease, or did: the history of its jobs is what matters.
        CommandKind::WorkerSuspect => {
            draw(3, (any_pick(), any_lease(), any::<bool>()), |(node, lease, holds), scene| Command::WorkerSuspect {
                node: if *holds { scene.lease(lease).1.node } else { scene.node(node) },
            })
        }
        CommandKind::Cancel => draw(2, (any_pick(), text(".{0,20}")), |(job, reason), scene| Command::Cancel {
            job: scene.job(job),
            reason: reason.clone(),
        }),
        // Most often one that holds a lease: what its failure brings is what matters.
        CommandKind::WorkerFailed => {
            draw(3, (any_pick(), any_lease(), any::<bool>()), |(node, lease, holds), scene| Command::WorkerFailed {
                node: if *holds { scene.lease(lease).1.node } else { scene.node(node) },
            })
        }
        CommandKind::WorkerBack => draw(12, (any_pick(), any_lease(), any::<bool>()), |(node, lease, holds), scene| {
            Command::WorkerBack { node: if *holds { scene.lease(lease).1.node } else { scene.node(node) } }
        }),
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
        CommandKind::DeleteJob => draw(1, any_pick(), |job, scene| Command::DeleteJob { job: scene.job(job) }),
        CommandKind::SetSpecHolders => draw(2, (any_pick(), any_holders()), |(job, holders), scene| {
            Command::SetSpecHolders { updates: vec![(scene.job(job), holders.clone())] }
        }),
        CommandKind::SetSettings => {
            draw(4, any_settings(), |settings, _| Command::SetSettings { settings: Box::new(settings.clone()) })
        }
        CommandKind::PauseJob => {
            draw(2, (any_pick(), prop::bool::weighted(0.4), text(".{0,20}")), |(job, paused, reason), scene| {
                Command::PauseJob { job: scene.job(job), paused: *paused, reason: reason.clone() }
            })
        }
        CommandKind::Reprioritize => {
            draw(1, (any_pick(), prop::sample::select(Priority::ALL.to_vec())), |(job, priority), scene| {
                Command::Reprioritize { job: scene.job(job), priority: *priority }
            })
        }
        CommandKind::SetBackoff => draw(3, (any::<Index>(), any::<u64>()), |(of, at), scene| {
            let units: Vec<UnitKey> = scene.state.retries().map(|(unit, _)| unit).collect();
            let unit = if units.is_empty() { nowhere_unit() } else { units[of.index(units.len())] };
            Command::SetBackoff { updates: vec![(unit, *at)] }
        }),
        CommandKind::SetAside => draw(1, (any_pick(), any::<u64>()), |(node, until_ms), scene| Command::SetAside {
            node: scene.node(node),
            until_ms: *until_ms,
        }),
        CommandKind::SetNetworks => draw(1, (any_pick(), any_networks()), |(node, networks), scene| {
            Command::SetNetworks { node: scene.node(node), networks: networks.clone() }
        }),
        CommandKind::MakeToken => draw(1, any_grant_of_token(), |grant, _| Command::MakeToken(Box::new(grant.clone()))),
        CommandKind::Admit => draw(3, (any_token_id(), any_info()), |(token, info), _| Command::Admit {
            token: *token,
            info: Box::new(info.clone()),
        }),
        CommandKind::SetPolicy => draw(1, (any_pick(), any_change()), |(node, change), scene| Command::SetPolicy {
            node: scene.node(node),
            change: Box::new(change.clone()),
        }),
        CommandKind::NodeLeft => draw(1, any_pick(), |node, scene| Command::NodeLeft { node: scene.node(node) }),
        CommandKind::Retire => draw(1, any_pick(), |node, scene| Command::Retire { node: scene.node(node) }),
        CommandKind::Forget => draw(1, (any_pick(), prop::bool::weighted(0.8)), |(node, right), scene| {
            let node = scene.node(node);
            let since_ms = scene.state.node(node).map_or(0, |record| record.changed_at_ms);
            Command::Forget { node, since_ms: if *right { since_ms } else { since_ms.wrapping_add(1) } }
        }),
        CommandKind::AimVoters => draw(1, 0u32..9, |voters, _| Command::AimVoters { voters: *voters }),
        CommandKind::CarryJob => draw(3, any_submission(), |submission, _| {
            // Nothing of it is finished, but for one that is refused now and then.
            let keeps = submission.finished.len() > 1;
            let finished = if keeps { submission.finished.clone() } else { Vec::new() };
            Command::CarryJob(Box::new(Submission { finished, ..submission.clone() }))
        }),
        CommandKind::SetOffline => draw(3, (0u8..3, prop::option::weighted(0.9, 0u8..3)), |(peer, name), _| {
            let name = name.map(|name| format!("far{name}"));
            Command::SetOffline { peer: format!("peer-far{peer}"), name }
        }),
        CommandKind::Import => draw(16, any_import(), |import, scene| import.at(scene)),
        CommandKind::NoteBundles => draw(1, (any::<Index>(), 1u64..9, 0u64..9), |(of, first, last), scene| {
            Command::NoteBundles { worker: scene.offline(of), first: *first, last: *last }
        }),
        CommandKind::AddSchedule => draw(3, (any_name(), any_schedule()), |(name, spec), _| Command::AddSchedule {
            name: name.clone(),
            spec: Box::new(spec.clone()),
        }),
        CommandKind::RemoveSchedule => draw(1, any_name(), |name, _| Command::RemoveSchedule { name: name.clone() }),
        CommandKind::PauseSchedule => draw(1, (any_name(), prop::bool::weighted(0.3)), |(name, paused), _| {
            Command::PauseSchedule { name: name.clone(), paused: *paused }
        }),
        CommandKind::StartOccurrence => {
            draw(4, (any_name(), any_occurrence(), any_submission()), |(name, occurrence, submission), scene| {
                Command::StartOccurrence {
                    schedule: name.clone(),
                    occurrence: scene.occurrence(name, *occurrence),
                    submission: Box::new(Submission { idempotency_key: None, ..submission.clone() }),
                }
            })
        }
        CommandKind::PassOccurrence => {
            draw(2, (any_name(), any_occurrence(), any_pass_reason()), |(name, occurrence, why), scene| {
                Command::PassOccurrence {
                    schedule: name.clone(),
                    occurrence: scene.occurrence(name, *occurrence),
                    why: why.clone(),
                }
            })
        }
        CommandKind::SetRule => draw(2, any_rule(), |rule, _| Command::SetRule(Box::new(rule.clone()))),
        CommandKind::RemoveRule => draw(2, (any_rule(), any_author()), |(rule, author), _| Command::RemoveRule {
            kind: rule.rule.kind(),
            name: rule.name.clone(),
            author: author.clone(),
        }),
        CommandKind::SubmitAs => draw(3, (any_submission(), any_author()), |(submission, author), _| {
            Command::SubmitAs { submission: Box::new(submission.clone()), author: author.clone() }
        }),
        CommandKind::SubmitOrdered => {
            let any_order = (0u8..6, any_submission(), any_author(), prop::bool::weighted(0.2));
            draw(2, any_order, |(order, submission, author, is_carried), _| {
                Command::SubmitOrdered(Box::new(OrderedJob {
                    order: Digest([*order; 32]),
                    expires_at_ms: 1_000,
                    author: author.clone(),
                    submission: submission.clone(),
                    is_carried: *is_carried,
                }))
            })
        }
        CommandKind::HoldJob => {
            draw(3, (any_pick(), prop::option::weighted(0.4, text(".{0,20}"))), |(job, hold), scene| Command::HoldJob {
                job: scene.job(job),
                hold: hold.clone(),
            })
        }
        CommandKind::AddKeep => draw(3, (any_name(), any_keep()), |(name, spec), _| Command::AddKeep {
            name: name.clone(),
            spec: Box::new(spec.clone()),
        }),
        CommandKind::RemoveKeep => draw(1, any_name(), |name, _| Command::RemoveKeep { name: name.clone() }),
        CommandKind::PauseKeep => draw(1, (any_name(), prop::bool::weighted(0.3)), |(name, paused), _| {
            Command::PauseKeep { name: name.clone(), paused: *paused }
        }),
        CommandKind::StartSlice => {
            draw(4, (any_name(), 0u32..3, any_submission()), |(keep, slice, submission), _| Command::StartSlice {
                keep: keep.clone(),
                slice: *slice,
                submission: Box::new(Submission { idempotency_key: None, ..submission.clone() }),
            })
        }
        // Most often the pass that is on.
        CommandKind::EndSlice => {
            draw(6, (any_name(), any_pick(), prop::bool::weighted(0.1)), |(keep, job, other), scene| {
                let running = scene.state.keep(keep).and_then(|keep| keep.running).filter(|_| !*other);
                Command::EndSlice { keep: keep.clone(), job: running.map_or_else(|| scene.job(job), |(_, job)| job) }
            })
        }
        CommandKind::RefuseSlice => draw(1, (any_name(), text(".{0,20}")), |(keep, reason), _| Command::RefuseSlice {
            keep: keep.clone(),
            reason: reason.clone(),
        }),
        CommandKind::SetSigners => {
            let keys = prop::option::of(prop::collection::vec("[a-z]{0,2}", 0..3));
            draw(1, (any_pick(), keys), |(node, keys), scene| Command::SetSigners {
                node: scene.node(node),
                keys: keys.clone(),
            })
        }
        CommandKind::SetVersions => draw(1, (any_pick(), 0u32..4, 0u32..4), |(node, oldest, newest), scene| {
            let versions = Versions { oldest: *oldest, newest: *newest };
            Command::SetVersions { node: scene.node(node), versions }
        }),
        CommandKind::RaiseLog => draw(1, 0u32..4, |version, _| Command::RaiseLog { version: *version }),
        CommandKind::ArrangeAs => draw(6, (any_author(), any_arrangement()), |(author, arrangement), _| {
            Command::ArrangeAs { author: author.clone(), arrangement: Box::new(arrangement.clone()) }
        }),
        CommandKind::MakeAccessToken => {
            draw(2, any_access_token(), |new, _| Command::MakeAccessToken(Box::new(new.clone())))
        }
        CommandKind::RotateAccessToken => {
            draw(1, (any_access_name(), any_digest(), any_author()), |(name, key, author), _| {
                let (name, key, author) = (name.clone(), *key, author.clone());
                Command::RotateAccessToken { name, key, author }
            })
        }
        CommandKind::LimitAccessToken => {
            let bound = || prop::option::of(0u32..4);
            draw(
                2,
                (any_access_name(), bound(), bound(), prop::option::of(0u64..40), any_author()),
                |(name, rate, jobs, targets, author), _| {
                    let limits =
                        TokenLimits { requests_per_minute: *rate, open_jobs: *jobs, targets_per_day: *targets };
                    Command::LimitAccessToken { name: name.clone(), limits, author: author.clone() }
                },
            )
        }
        CommandKind::RevokeAccessToken => draw(1, (any_access_name(), any_author()), |(name, author), _| {
            Command::RevokeAccessToken { name: name.clone(), author: author.clone() }
        }),
        CommandKind::NoteAudit => {
            draw(2, (0u64..20, prop::collection::vec(any_audit_entry(), 0..4)), |(batch, entries), _| {
                Command::NoteAudit { batch: *batch, entries: entries.clone() }
            })
        }
        CommandKind::SetAuthority => {
            let bytes = || prop::collection::vec(any::<u8>(), 0..4);
            draw(1, (bytes(), bytes()), |(certificate, sealed_key), _| {
                let (certificate, sealed_key) = (certificate.clone(), sealed_key.clone());
                Command::SetAuthority(Box::new(Authority { certificate, sealed_key }))
            })
        }
        // Most often behind the newest key, so that it is taken.
        CommandKind::SetSessionKey => draw(1, (0u64..3, prop::bool::weighted(0.9)), |(after, fits), scene| {
            let newest = scene.state.newest_session_key().map_or(0, |(number, _)| number);
            let after = if *fits { newest } else { *after };
            let (public, sealed) = (vec![7; if *fits { 32 } else { 3 }], vec![1]);
            Command::SetSessionKey(Box::new(NewSessionKey { after, public, sealed }))
        }),
        // Most often a step that the node can take.
        CommandKind::MoveInLog => {
            draw(3, (any_pick(), 0u8..3, prop::bool::weighted(0.1)), |(node, step, late), scene| {
                let node = scene.node(node);
                let since = scene.state.log_place(node).filter(|_| !*late).map_or(1, |place| place.since);
                let step = match step {
                    0 => LogStep::GiveUp,
                    1 => LogStep::Out { since },
                    _ => LogStep::Back { since },
                };
                Command::MoveInLog { node, step }
            })
        }
        CommandKind::SetAddresses => {
            draw(1, (any_pick(), prop::collection::vec("[a-z]{0,3}:[0-9]{1,2}", 0..3)), |(node, addresses), scene| {
                Command::SetAddresses(scene.node(node), addresses.clone())
            })
        }
        CommandKind::RetireNoted => {
            draw(4, (any_pick(), any_lease(), any::<bool>(), 0u64..20), |(node, lease, holds, asked), scene| {
                let node = if *holds { scene.lease(lease).1.node } else { scene.node(node) };
                let (author, action) = (Author { who: "ci".into(), from: "a".into() }, "POST /leave".to_owned());
                let (asked, batch) = (*asked, 100 + asked);
                Command::RetireNoted(Box::new(NotedRetirement { node, author, action, asked, batch }))
            })
        }
        CommandKind::Recover => draw(1, (any_pick(), any::<[u8; 16]>()), |(node, id), scene| {
            let taken_out = vec![TakenOut { name: "n".into(), peer: "p".into(), addresses: vec!["a:1".into()] }];
            Command::Recover(Box::new(Recovery { id: RecoveryId(*id), node: scene.node(node), taken_out }))
        }),
        #[cfg(feature = "next-version")]
        CommandKind::Rehearse => draw(1, any_pick(), |node, scene| Command::Rehearse { node: scene.node(node) }),
    }
}

/// Any move, each as often as its weight says.
pub(crate) fn any_move() -> impl Strategy<Value = Move> {
    any_move_of(CommandKind::ALL)
}

/// Any move of these commands, each as often as its weight says.
pub(crate) fn any_move_of(kinds: &[CommandKind]) -> impl Strategy<Value = Move> + use<> {
    Union::new_weighted(kinds.iter().map(|kind| moves(*kind)).collect())
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
    /// An occurrence so long after the last one of its schedule that is over.
    fn occurrence(&self, name: &str, after: Occurrence) -> Occurrence {
        let over_ms = self.state.schedule(name).map_or(0, |schedule| schedule.over_ms);
        Occurrence { at_ms: over_ms.saturating_add(after.at_ms), ..after }
    }

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
            stray => nowhere(stray.unwrap_or_else(nowhere_unit)),
        };
        (LeaseRef { unit, epoch: lease.epoch + u64::from(pick.wrong_epoch) }, lease)
    }

    /// A worker without a network, or nobody.
    fn offline(&self, of: &Index) -> NodeId {
        let there: Vec<NodeId> = self.state.offline_workers().map(|(id, _)| id).collect();
        if there.is_empty() { 999 } else { there[of.index(there.len())] }
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

fn nowhere_unit() -> UnitKey {
    UnitKey { job: JobId(1), partition: 0, start: 0 }
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

/// Results of a worker without a network, mostly of a carried job.
#[derive(Debug, Clone)]
struct ImportMove {
    worker: Index,
    of: Index,
    stray: Option<Pick>,
    units: Vec<(u32, u64, u64, StoredChunk, Counts, Remarks)>,
}

impl ImportMove {
    fn at(&self, scene: &Scene<'_>) -> Command {
        let carried: Vec<JobId> =
            scene.state.jobs().filter(|(_, job)| job.status == JobStatus::Carried).map(|(id, _)| id).collect();
        let job = match &self.stray {
            None if !carried.is_empty() => carried[self.of.index(carried.len())],
            None => JobId(999),
            Some(stray) => scene.job(stray),
        };
        let unit = |(partition, start, length, stored, counts, remarks): &(_, u64, u64, StoredChunk, _, Remarks)| {
            let unit = UnitRange { partition: *partition, start: *start, end: start.saturating_add(*length) };
            let finished = Finished { unit, stored: stored.clone(), counts: *counts };
            ImportedUnit { finished, remarks: remarks.clone() }
        };
        let units = self.units.iter().map(unit).collect();
        Command::Import(Box::new(Imported { worker: scene.offline(&self.worker), job, units }))
    }
}

fn any_import() -> impl Strategy<Value = ImportMove> {
    let stored = (0u8..3, any::<u64>(), prop_oneof![9 => Just(vec![1, 2]), 1 => any_holders()])
        .prop_map(|(chunk, bytes, holders)| StoredChunk { digest: Digest::of(&[chunk]), bytes, holders });
    let start = prop_oneof![30 => 0u64..14, 1 => any::<u64>()];
    let unit = (prop_oneof![4 => Just(0u32), 2 => 1u32..3], start, 0u64..20, stored, any_counts(), any_remarks());
    (any::<Index>(), any::<Index>(), prop::option::weighted(0.1, any_pick()), prop::collection::vec(unit, 1..5))
        .prop_map(|(worker, of, stray, units)| ImportMove { worker, of, stray, units })
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
