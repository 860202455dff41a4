//! Carries out what the autopilot says: who follows the log, who votes, who goes.

use std::time::Duration;

use pentora_raft::autopilot::{Aim, Obstacle, Removal, Step, View, next_step, removal};
use pentora_raft::command::{Command, LogStep, SpecRef, Voting};
use pentora_raft::{LogVersion, NodeId, Raft, Role, State};

use super::WorkSessions;

/// Every member follows the log, so that each answers reads by itself; nodes that only scan stand outside (`gateway`).
const STANDBYS: usize = 64;
/// How long a node that is to leave may take to copy what only it keeps, in milliseconds: two looks at the holders.
const COPIES_WITHIN_MS: u64 = 20_000;

/// Looks at the members and makes at most one change; `led` is for how long this node has led.
pub(super) async fn step(raft: &Raft, led: Duration) {
    let (view, aim) = (view_of(raft, led), aim_of(raft));
    if let Some(step) = next_step(&view, &aim) {
        carry_out(raft, step).await;
    }
    if let Some(version) = next_log_version(raft, &view) {
        match raft.propose(Command::RaiseLog { version }).await {
            Ok(_) => tracing::info!(version, "the log's version is raised: every node that follows it reads that"),
            Err(error) => tracing::debug!(version, %error, "not raised; the next round looks again"),
        }
    }
    for command in out_of_the_log(raft, &view) {
        match raft.propose(command).await {
            Ok(_) => tracing::info!("the group does not count on a node any more that gives up its log"),
            Err(error) => tracing::debug!(%error, "not decided; the next round looks again"),
        }
    }
    for command in departures(raft, &view) {
        let name = command.name();
        match raft.propose(command.clone()).await {
            Ok(_) => tracing::info!(?command, "a node is out of the cluster"),
            Err(error) => tracing::debug!(command = name, %error, "not decided; the next round looks again"),
        }
    }
}

/// What it would come to if `node` were removed now, or why it must not be; `None` where this node does not lead.
#[must_use]
pub fn plan_removal(raft: &Raft, sessions: &WorkSessions, node: NodeId) -> Option<Result<Removal, Obstacle>> {
    let led = sessions.led().filter(|_| raft.status().role == Role::Leader)?;
    Some(removal(&view_of(raft, led), &aim_of(raft), node))
}

async fn carry_out(raft: &Raft, step: Step) {
    let outcome = match &step {
        Step::AddLearner(node) => match peer_of(raft, *node) {
            Some(peer) => raft.add_learner(*node, &peer).await.map_err(|error| error.to_string()),
            None => return,
        },
        Step::SetVoters(voters) => raft.change_voters(voters.clone()).await.map_err(|error| error.to_string()),
        Step::HandOver(to) => raft.transfer_leader(*to).await.map_err(|error| error.to_string()),
        Step::Remove(node) => raft.remove_learner(*node).await.map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => tracing::info!(?step, "membership changed"),
        Err(error) => tracing::debug!(?step, %error, "membership not changed; the next round looks again"),
    }
}

/// The version that the log can be raised to, because every node that follows it, or may be asked to, reads that. Those that
/// only scan stand outside.
fn next_log_version(raft: &Raft, view: &View) -> Option<LogVersion> {
    let following = view.voters.iter().chain(&view.learners).chain(&view.eligible);
    raft.read(|state| {
        let newest = following.map(|node| state.versions(*node).newest).min()?;
        (newest > state.log_version()).then_some(newest)
    })
}

/// What says of nodes that give up their log that the group does not count on them any more. The entry that took them out of it
/// stands before this one, so both are decided or neither.
fn out_of_the_log(raft: &Raft, view: &View) -> Vec<Command> {
    let is_counted_on =
        |node: &NodeId| view.becoming.is_some() || view.voters.contains(node) || view.learners.contains(node);
    raft.read(|state| {
        let waiting = state.log_places().filter(|(node, place)| !place.is_out && !is_counted_on(node));
        waiting.map(|(node, place)| Command::MoveInLog { node, step: LogStep::Out { since: place.since } }).collect()
    })
}

/// What takes nodes out of the state: those that are to leave and do not vote any more, and those that nobody waits for.
fn departures(raft: &Raft, view: &View) -> Vec<Command> {
    let voting = |node: &NodeId| view.voters.contains(node) || view.becoming.is_some();
    let now_ms = raft.now_ms();
    let leaving: Vec<Command> = raft.read(|state| {
        let out = view.leaving.iter().filter(|node| !voting(node) && !is_waited_for(state, **node, now_ms));
        out.map(|node| Command::RemoveNode { node: *node }).collect()
    });
    let forgotten: Vec<Command> = raft.read(|state| {
        let gone = state.long_gone(now_ms).filter(|(node, _)| !view.voters.contains(node) && *node != view.leader);
        gone.map(|(node, since_ms)| Command::Forget { node, since_ms }).collect()
    });
    leaving.into_iter().chain(forgotten).collect()
}

/// Whether a node that is to leave may stay a little longer: it is there, and copies results that nobody else has.
fn is_waited_for(state: &State, node: NodeId, now_ms: u64) -> bool {
    let since_ms = state.standings().find(|(id, _)| *id == node).and_then(|(_, standing)| standing.leaving_since_ms);
    let is_late = since_ms.is_none_or(|since_ms| now_ms.saturating_sub(since_ms) >= COPIES_WITHIN_MS);
    let is_there = |id: NodeId| state.node(id).is_some_and(|record| !record.status.is_gone());
    let takes_copies = state.nodes().any(|(id, _)| id != node && is_there(id) && state.keeps_results(id));
    let only_there =
        |holders: &[NodeId]| holders.contains(&node) && holders.iter().all(|id| *id == node || !is_there(*id));
    let specs = state.jobs().filter_map(|(job, _)| match state.spec(job) {
        Some(SpecRef::Chunk { holders, .. }) => Some(holders),
        _ => None,
    });
    let chunks = state.chunks().map(|(_, chunk)| &chunk.stored.holders);
    let mut all = chunks.chain(specs).chain(state.feeds().map(|(_, feed)| &feed.holders));
    !is_late && is_there(node) && takes_copies && all.any(|holders| only_there(holders))
}

fn aim_of(raft: &Raft) -> Aim {
    let voters = raft.read(|state| state.shape().voters);
    Aim { standbys: STANDBYS, voters: usize::try_from(voters).unwrap_or(usize::MAX), ..Aim::default() }
}

fn view_of(raft: &Raft, led: Duration) -> View {
    let status = raft.status();
    let mut view = View {
        leader: status.node,
        led_ms: u64::try_from(led.as_millis()).unwrap_or(u64::MAX),
        last_index: status.last_index,
        voters: status.voters,
        learners: status.learners,
        becoming: status.becoming,
        matched: status.matched,
        heard_ms: status.heard_ms,
        ..View::default()
    };
    raft.read(|state| {
        for (id, node) in state.nodes() {
            let policy = state.policy(id);
            let seats = match () {
                () if !node.may_vote() => &mut view.outside,
                () if state.may_vote(id) => &mut view.eligible,
                () => &mut view.followers,
            };
            seats.insert(id);
            if state.is_leaving(id) {
                view.leaving.insert(id);
            }
            if policy.voting == Voting::Preferred {
                view.preferred.insert(id);
            }
            // A site is nearer than a region; what a node says of its region counts where the cluster says nothing.
            if let Some(place) = policy.site.or_else(|| node.info.region.clone()) {
                view.places.insert(id, place);
            }
            if node.status.is_gone() {
                view.failed.insert(id);
            }
        }
    });
    view
}

fn peer_of(raft: &Raft, node: NodeId) -> Option<String> {
    raft.read(|state| state.node(node).map(|record| record.info.peer.clone()))
}
