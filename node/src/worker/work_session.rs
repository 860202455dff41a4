//! The work session with whoever leads, from outside the log through a gateway: beats out, grants and revocations in. Reconnects for ever.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_p2p::{Class, Mesh, PeerEvent, PeerId};
use pentora_raft::NodeId;
use pentora_scanner::engine::EngineKind;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Context, unit};
use crate::clock::wall_ms;
use crate::coordinator::{WorkSessions, granted};
use crate::work_protocol::{About, CONNECT_PPS, LINK_FRAMES_MAX, LeaderFrame, Link, RAW_PPS, WorkerFrame, over, pair};

/// How long to wait before trying a session again; jitter is not needed, because leaders answer one session per node.
const RETRY: Duration = Duration::from_millis(150);
/// How long a new leader gets to welcome a worker.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// Whatever is to be told sooner than with the next beat comes so long after the last one at least: units that end close together are
/// told of together.
const BEAT_PAUSE: Duration = Duration::from_millis(100);
/// Beats that may wait for their answer; more means that the leader does not answer at all.
const BEATS_UNANSWERED_MAX: usize = 64;

/// Tells the fence of each member that hangs up.
async fn watch_hang_ups(context: &Context, mesh: Option<&Mesh>) {
    let Some(mut events) = mesh.map(Mesh::events) else { return std::future::pending().await };
    loop {
        match events.recv().await {
            Ok(PeerEvent::Down { hung_up: true, .. }) => context.fence.hung_up(),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// Keeps a session until `stop`.
pub(super) async fn keep(
    context: &Arc<Context>,
    tasks: &TaskTracker,
    local: &Arc<WorkSessions>,
    mesh: Option<&Mesh>,
    stop: &CancellationToken,
) {
    let mut hang_ups = pin!(watch_hang_ups(context, mesh));
    while !stop.is_cancelled() {
        let once = async {
            let leads = leads(context);
            match context.raft.way() {
                Some(way) if way == context.node => {
                    // In vain when another was elected meanwhile: then the next look finds that one.
                    let _ = tokio::time::timeout(RETRY, local.opened()).await;
                    hold(context, tasks, leads, connect_local(context, local, tasks)).await
                }
                Some(way) => match connect(context, tasks, way, mesh).await {
                    Ok(link) => hold(context, tasks, leads, link).await,
                    Err(reason) => tracing::debug!(to = way, %reason, "no work session"),
                },
                None => {}
            }
            context.raft.status_changed(RETRY).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = &mut hang_ups => {}
            () = once => {}
        }
    }
}

/// Who leads, and whom this node asks for it: from outside the log a gateway, which carries the session on.
fn leads(context: &Context) -> Option<(NodeId, NodeId)> {
    Some((context.raft.leadership().leader()?, context.raft.way()?))
}

/// One session with whoever `leads`, from its welcome to its end, or to the moment at which another does, or another gateway
/// carries it: one that is frozen or cut off does not hang up.
#[expect(clippy::too_many_lines, reason = "one arm for each thing that may come next")]
async fn hold(
    context: &Arc<Context>,
    tasks: &TaskTracker,
    leads_at_first: Option<(NodeId, NodeId)>,
    mut link: Link<WorkerFrame, LeaderFrame>,
) {
    let welcome = tokio::time::timeout(WELCOME_WITHIN, link.from.recv()).await;
    let Ok(Some(LeaderFrame::Welcome { heartbeat_ms, lease_term_ms })) = welcome else { return };
    context.fence.set_term(Duration::from_millis(lease_term_ms));
    let _in_session = context.fence.met();
    let mut beat = beats(heartbeat_ms);
    let (ended, mut units_ended) = mpsc::channel(LINK_FRAMES_MAX);
    let (mut unanswered, mut asked) = (VecDeque::new(), VecDeque::new());
    let mut said = None;
    context.skew.forget();
    // From before the look below on, so that no change is missed between.
    let (mut changes, mut rests) = (context.raft.watch_status(), context.changes_of_rest());
    let is_over = || leads(context).is_some_and(|now| Some(now) != leads_at_first);
    if is_over() {
        return;
    }
    loop {
        tokio::select! {
            biased;
            Ok(()) = changes.changed() => if is_over() { return },
            () = rests.changed() => beat.reset_immediately(),
            frame = link.from.recv() => match frame {
                None => return,
                Some(LeaderFrame::Heard) => {
                    context.units.was_answered();
                    if let Some(sent) = unanswered.pop_front() {
                        context.fence.heard(sent);
                    }
                }
                Some(LeaderFrame::Grant(leases)) => {
                    for (key, lease) in leases {
                        if let Some(begun) = context.units.begin(key, lease) {
                            tasks.spawn(unit::run(Arc::clone(context), begun, ended.clone()));
                        }
                    }
                }
                Some(LeaderFrame::Revoke(leases)) => context.units.revoke(&leases),
                Some(LeaderFrame::EndEarly(leases)) => context.units.end_early(&leases),
                Some(LeaderFrame::Welcome { heartbeat_ms, lease_term_ms }) => {
                    context.fence.set_term(Duration::from_millis(lease_term_ms));
                    beat = beats(heartbeat_ms);
                }
                Some(LeaderFrame::Noted { wall_ms: leader_ms, rest }) => {
                    context.rest.told(rest);
                    let is_first = context.skew.get().is_none();
                    if let Some(asked) = asked.pop_front() {
                        context.skew.measured(wall_ms(), leader_ms, Instant::now().duration_since(asked));
                    }
                    if is_first && context.skew.get().is_some() {
                        // A new leader has its clock to compare with those of the others.
                        beat.reset_immediately();
                    }
                }
            },
            Some(()) = units_ended.recv() => {
                let since = said.map_or(BEAT_PAUSE, |at: Instant| at.elapsed());
                // Where the next one is due sooner it comes in time: this is much less than a heartbeat.
                beat.reset_after(BEAT_PAUSE.saturating_sub(since));
            }
            _ = beat.tick() => {
                // One that fell silent and is heard again, after it was elected, is no change.
                if is_over() {
                    return;
                }
                if unanswered.len() >= BEATS_UNANSWERED_MAX || link.out.send(say(context)).await.is_err() {
                    return;
                }
                said = Some(Instant::now());
                unanswered.push_back(Instant::now());
                asked.push_back(Instant::now());
                if link.out.send(about(context)).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn beats(heartbeat_ms: u64) -> tokio::time::Interval {
    let mut beat = tokio::time::interval(Duration::from_millis(heartbeat_ms.max(1)));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beat
}

fn about(context: &Context) -> WorkerFrame {
    let about = About { instance: context.instance, skew_ms: context.skew.get(), rests: context.gets_none() };
    WorkerFrame::About(about)
}

fn say(context: &Context) -> WorkerFrame {
    let (leases, rates) = context.units.beat();
    let engine_pps = match context.engine.kind() {
        EngineKind::Raw => RAW_PPS,
        EngineKind::Connect => CONNECT_PPS,
    };
    WorkerFrame::Beat { leases, rates, engine_pps }
}

/// A session with this very node, which leads.
fn connect_local(
    context: &Arc<Context>,
    sessions: &Arc<WorkSessions>,
    tasks: &TaskTracker,
) -> Link<WorkerFrame, LeaderFrame> {
    let (near, far) = pair();
    let (context, sessions) = (Arc::clone(context), Arc::clone(sessions));
    tasks.spawn(async move {
        let held = || granted(&context.raft, context.node);
        sessions.serve(context.node, far, held).await
    });
    near
}

/// A session with another node.
async fn connect(
    context: &Context,
    tasks: &TaskTracker,
    to: NodeId,
    mesh: Option<&Mesh>,
) -> Result<Link<WorkerFrame, LeaderFrame>, String> {
    let mesh = mesh.ok_or("this node has no mesh")?;
    let peer = context.raft.read(|state| state.node(to).map(|node| node.info.peer.clone()));
    let peer: PeerId = peer.ok_or("that node is not known here yet")?.parse().map_err(|error| format!("{error}"))?;
    let stream = mesh.open(peer, Class::Work).await.map_err(|error| error.to_string())?;
    Ok(over(stream, tasks))
}
