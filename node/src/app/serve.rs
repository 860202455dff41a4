//! The streams that other nodes open, each served by a task of its own, as far as `access` lets their peer.

mod api_call;
mod brought;
mod chunks;
mod copies;
mod refusals;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use futures::StreamExt;
use pentora_p2p::{Class, FrameStream, Incoming, Mesh, PeerId, PreSharedKey};
use pentora_raft::command::Command;
use pentora_raft::{ClusterId, NodeId, ProposeError, Raft, Response, State};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::chunks::{kept, pass_on_chunk, send_chunk};
pub(super) use self::refusals::Refusals;
use super::addresses::{self, Hints};
use super::api_tls::now_s;
use super::certifier;
use super::own_addresses::OwnAddresses;
use crate::access::{self, Denied, Peer};
use crate::coordinator::{WorkSessions, demote, granted, hand_in, plan_removal, retire, retire_noted, soft_state};
use crate::drill::{Fault, Faults};
use crate::gateway::{Gateway, serve_relay};
use crate::join::Door;
use crate::raft_transport::{raft_class, raft_duplex};
use crate::results::Exchange;
use crate::rpc::calls::{self, Answer, ApiCall, CallError, Calls, Request};
use crate::rpc::proposer::Unavailable;
use crate::rpc::{LogFigures, SoftState};
use crate::traces::Traces;
use crate::work_protocol;

/// How long it is waited for the grant of a lease that a node outside names: it may have heard of it before this member.
const GRANT_APPLIED_WITHIN: Duration = Duration::from_secs(1);
/// How long a node that only scans may take to say that it will suffer a fault.
const FAULT_TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// What streams are served from.
#[derive(Debug, Clone)]
pub(super) struct StreamServices {
    pub(super) raft: Raft,
    pub(super) door: Door,
    pub(super) exchange: Exchange,
    pub(super) sessions: Arc<WorkSessions>,
    pub(super) gateway: Gateway,
    /// What carries out orders that nodes hand on which only scan. It asks for a token.
    pub(super) api: Option<Router>,
    /// What this node suffers for a drill.
    pub(super) faults: Option<Faults>,
    /// What was refused to whom.
    pub(super) refusals: Refusals,
    /// Where members say they are; `None` without a mesh.
    pub(super) whereabouts: Option<Whereabouts>,
    /// What the authority's key is sealed with, where certificates are signed.
    pub(super) sealing: Option<(PreSharedKey, ClusterId)>,
    /// Holds what is proposed against who proposes it.
    pub(super) judge: Judge,
    /// Where copies that it was given are told of.
    pub(super) traces: Traces,
}

/// The command as a peer may have it proposed: [`access::proposal`], but in a simulation of its absence.
pub(super) type Judge = fn(&State, Peer, Command) -> Result<Command, Denied>;

impl StreamServices {
    /// Who opened a stream, by the log as it is now.
    fn peer(&self, stream: &FrameStream) -> Peer {
        let key = stream.peer.to_string();
        self.raft.read(|state| Peer::of(state, self.raft.node(), &key))
    }
}

/// What is told of addresses, and to whom.
#[derive(Debug, Clone)]
pub(super) struct Whereabouts {
    pub(super) mesh: Mesh,
    pub(super) hints: Arc<Hints>,
    /// Where this node is.
    pub(super) own: OwnAddresses,
}

/// Hands each inbound stream to a task of its own until `stop`.
pub(super) async fn streams(
    mut incoming: Incoming,
    services: StreamServices,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            stream = incoming.next() => match stream {
                Some(stream) => stream,
                None => return,
            },
        };
        let serving = serve(stream, services.clone(), tasks.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = serving => {}
            }
        });
    }
}

async fn serve(mut stream: FrameStream, services: StreamServices, tasks: TaskTracker) {
    let (key, class) = (stream.peer, stream.class);
    let peer = services.peer(&stream);
    let may =
        if services.raft.is_outside() { access::stream_outside(peer, class) } else { access::stream(peer, class) };
    let ended = if let Err(denied) = may {
        // Whom this node has yet to read of may be a member, as at each start.
        if peer != Peer::Unread && services.refusals.is_news(key, class, Instant::now()) {
            tracing::warn!(peer = %key, %class, %denied, "a stream is refused");
        }
        stream.refuse(&denied.to_string()).await.map_err(|error| error.to_string())
    } else if let Some(raft_class) = raft_class(class) {
        services.raft.serve(raft_class, raft_duplex(stream), peer.node()).await.map_err(|error| error.to_string())
    } else {
        match class {
            Class::Work => serve_worker(stream, peer, &services, &tasks).await,
            Class::View => match peer.node() {
                Some(node) => services.gateway.show(stream, node).await,
                None => Err("a node that is not in the cluster".into()),
            },
            Class::Relay => serve_relay(stream, &services.raft, &services.sessions, &tasks).await,
            Class::Join => services.door.answer(&mut stream).await,
            _ => serve_calls(&mut stream, &services).await.map_err(|error| error.to_string()),
        }
    };
    if let Err(reason) = ended {
        tracing::debug!(peer = %key, %class, %reason, "stream ended");
    }
}

async fn serve_worker(
    stream: FrameStream,
    peer: Peer,
    services: &StreamServices,
    tasks: &TaskTracker,
) -> Result<(), String> {
    let node = peer.node().ok_or("a work session of a node that is not in the cluster")?;
    let link = work_protocol::over(stream, tasks);
    if matches!(peer, Peer::Scanner(_)) && services.raft.status().leader != Some(services.raft.node()) {
        return services.gateway.carry(node, link, tasks).await;
    }
    let held = || granted(&services.raft, node);
    if services.sessions.serve(node, link, held).await { Ok(()) } else { Err("this node does not lead".into()) }
}

async fn serve_calls(stream: &mut FrameStream, services: &StreamServices) -> Result<(), CallError> {
    let mut known = None;
    while let Some(request) = calls::next_request(stream).await? {
        // Asked anew where nodes have changed: a stream may outlive its peer's membership.
        let revision = services.raft.read(State::nodes_revision);
        let peer = match known {
            Some((as_of, peer)) if as_of == revision => peer,
            _ => services.peer(stream),
        };
        known = Some((revision, peer));
        let may = may_call(services, stream, peer, &request);
        match (request, may) {
            // What follows a request is taken off the stream, so that the next one is understood.
            (Request::PutChunk { digest, bytes }, may) => {
                let answer = brought::take_one(stream, services, (peer, may), (digest, bytes), false).await?;
                calls::send_answer(stream, &answer).await?;
            }
            (Request::HandIn { digest, bytes }, may) => {
                let answer = brought::take_one(stream, services, (peer, may), (digest, bytes), true).await?;
                calls::send_answer(stream, &answer).await?;
            }
            (Request::Bring { chunks, to_hand_in }, may) => {
                let answer = brought::take(stream, services, (peer, may), (&chunks, to_hand_in)).await?;
                calls::send_answer(stream, &answer).await?;
            }
            (Request::ApiStream(call), may) => {
                let (call, bytes) = *call;
                let body = calls::receive_parts(stream, bytes).await?;
                match may {
                    Ok(()) => return carry_out(stream, services, peer, (call, body), false).await,
                    Err(denied) => calls::send_answer(stream, &Answer::Denied(denied.to_string())).await?,
                }
            }
            (Request::Api(call), may) => {
                let (call, bytes) = *call;
                let body = calls::receive_parts(stream, bytes).await?;
                match may {
                    Ok(()) => carry_out(stream, services, peer, (call, body), true).await?,
                    Err(denied) => calls::send_answer(stream, &Answer::Denied(denied.to_string())).await?,
                }
            }
            (_, Err(denied)) => calls::send_answer(stream, &Answer::Denied(denied.to_string())).await?,
            (Request::GetChunk(digest), Ok(())) if matches!(peer, Peer::Scanner(_)) => {
                pass_on_chunk(stream, services, peer, digest).await?;
            }
            (Request::GetChunk(digest), Ok(())) => send_chunk(stream, services, peer, digest).await?,
            (Request::Addresses(list), Ok(())) => {
                let answer = match &services.whereabouts {
                    Some(Whereabouts { mesh, hints, own }) => {
                        let from = stream.peer.to_string();
                        // A node that only scans says where it is itself, and nothing of others.
                        let all = matches!(peer, Peer::Member(_));
                        hints.take(&from, list.into_iter().filter(|it| all || it.peer == from).collect());
                        Answer::Addresses(addresses::view(&services.raft, mesh, own.now()))
                    }
                    None => Answer::NotFound,
                };
                calls::send_answer(stream, &answer).await?;
            }
            (other, Ok(())) => {
                let answer = answer(other, peer, services).await;
                calls::send_answer(stream, &answer).await?;
            }
        }
    }
    Ok(())
}

/// Holds a call against what its peer may have done.
fn may_call(services: &StreamServices, stream: &FrameStream, peer: Peer, request: &Request) -> Result<(), Denied> {
    let may = if services.raft.is_outside() {
        access::stream_outside(peer, stream.class).and_then(|()| access::call_outside(peer, request))
    } else {
        access::stream(peer, stream.class).and_then(|()| access::call(peer, request))
    };
    if let Err(denied) = &may
        && services.refusals.is_news(stream.peer, stream.class, Instant::now())
    {
        tracing::warn!(peer = %stream.peer, %denied, "a call is refused");
    }
    may
}

/// Carries out a request of the API. Its answer's body is sent as it is made, until either side ends it, or whole to a node
/// that asks so.
async fn carry_out(
    stream: &mut FrameStream,
    services: &StreamServices,
    peer: Peer,
    (call, body): (ApiCall, Bytes),
    whole: bool,
) -> Result<(), CallError> {
    let answered = match &services.api {
        Some(api) => api_call::begin(api.clone(), peer.node(), call, body).await,
        None => Err("this node has no API".into()),
    };
    let (status, headers, body) = match answered {
        Ok(answered) => answered,
        Err(why) => return calls::send_answer(stream, &Answer::Unavailable(why)).await,
    };
    if whole {
        return match axum::body::to_bytes(body, calls::CHUNK_BYTES_MAX).await {
            Ok(body) => {
                calls::send_answer(stream, &Answer::Api { status, headers, bytes: body.len() as u64 }).await?;
                calls::send_parts(stream, &body).await
            }
            Err(error) => calls::send_answer(stream, &Answer::Unavailable(error.to_string())).await,
        };
    }
    calls::send_answer(stream, &Answer::ApiHead { status, headers }).await?;
    let mut pieces = body.into_data_stream();
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            // Whoever asked says nothing more: what comes is that it reads no further.
            _ = stream.source.next() => return Ok(()),
        };
        match piece {
            Some(Ok(piece)) => calls::send_parts(stream, &piece).await?,
            // The stream ends without its last part, so that nobody takes the body for whole.
            Some(Err(_broken)) => return Err(CallError::Unexpected("the answer's body broke off")),
            None => return Ok(stream.send(Bytes::new()).await?),
        }
    }
}

async fn answer(request: Request, peer: Peer, services: &StreamServices) -> Answer {
    match request {
        Request::Propose { term, command } => propose((term, *command), peer, services).await,
        Request::Soft => {
            let soft = soft_state(&services.raft, &services.sessions);
            Answer::Soft(SoftState { results_short: services.exchange.short(), ..soft })
        }
        Request::EndUnits(job) => {
            hand_in(&services.raft, &services.sessions, job).await;
            Answer::Done
        }
        Request::Lacking => services.exchange.lacking(),
        Request::KeepChunk { digest, holders } => kept(services.exchange.keep(digest, &holders).await),
        Request::TransferLeader(to) => match services.raft.transfer_leader(to).await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Unavailable(error.to_string()),
        },
        Request::PlanRemoval(node) => match plan_removal(&services.raft, &services.sessions, node) {
            Some(plan) => Answer::Removal(plan),
            None => Answer::NotLeader { leader: services.raft.status().leader },
        },
        Request::Demote(node, change) => demote(&services.raft, &services.sessions, node, *change).await,
        Request::Retire(node) => retire(&services.raft, &services.sessions, node).await,
        Request::RetireNoted(noted) => retire_noted(&services.raft, &services.sessions, *noted).await,
        Request::Suffer { node, fault, after_ms } => {
            let suffers = if node == services.raft.node() {
                let faults = services.faults.as_ref().ok_or_else(|| "this node has no mesh".to_owned());
                faults.and_then(|faults| faults.suffer(fault, Duration::from_millis(after_ms)))
            } else {
                hand_on_fault(services, node, (fault, after_ms)).await
            };
            suffers.map_or_else(Answer::Unavailable, |()| Answer::Done)
        }
        Request::Certify { key } => certify(&key, peer, services),
        Request::Figures => {
            let of = peer.node().unwrap_or(services.raft.node());
            Answer::Figures(Box::new(services.raft.read(|state| LogFigures::of(state, of))))
        }
        Request::ReadIndex => match services.raft.ensure_linearizable().await {
            Ok(()) => Answer::ReadIndex(*services.raft.watch_applied().borrow()),
            Err(ProposeError::NotLeader { leader }) => Answer::NotLeader { leader },
            Err(error) => Answer::Unavailable(error.to_string()),
        },
        Request::GetChunk(_)
        | Request::PutChunk { .. }
        | Request::HandIn { .. }
        | Request::Bring { .. }
        | Request::Api(_)
        | Request::ApiStream(_)
        | Request::Addresses(_) => Answer::NotFound,
    }
}

/// Signs a certificate for a node that only scans, for what the log says of it and this node sees.
fn certify(key: &[u8], peer: Peer, services: &StreamServices) -> Answer {
    let (Some(node), Some((psk, cluster))) = (peer.node(), &services.sealing) else {
        return Answer::Unavailable("this member has nothing to sign with".into());
    };
    let signed = match certifier::authority(&services.raft, *cluster, psk) {
        Ok(Some(authority)) => {
            let seen = seen_at(services, node);
            let wanted = services.raft.read(|state| certifier::of_scanner(state, node, seen));
            authority.sign(key, &wanted, now_s())
        }
        Ok(None) => return Answer::Unavailable("the cluster has no authority yet".into()),
        Err(error) => Err(error),
    };
    signed.map_or_else(|error| Answer::Unavailable(error.to_string()), |chain| Answer::Certified { chain })
}

/// The address from which a node is connected to this one.
fn seen_at(services: &StreamServices, node: NodeId) -> Option<IpAddr> {
    let peer = services.raft.read(|state| state.node(node).map(|record| record.info.peer.clone()))?;
    let peer: PeerId = peer.parse().ok()?;
    let mesh = &services.whereabouts.as_ref()?.mesh;
    let remote = mesh.peer(peer)?.remote?;
    Some(remote.ip().to_canonical())
}

/// Tells a node that is connected to this one, because it only scans, what it is to suffer.
async fn hand_on_fault(services: &StreamServices, node: NodeId, (fault, after_ms): (Fault, u64)) -> Result<(), String> {
    let peer = services.raft.read(|state| state.node(node).map(|record| record.info.peer.clone()));
    let peer: PeerId = peer.and_then(|peer| peer.parse().ok()).ok_or("that node is not known here")?;
    let mesh = services.whereabouts.as_ref().map(|whereabouts| &whereabouts.mesh);
    let mesh = mesh.filter(|mesh| mesh.is_connected(peer)).ok_or("it is not connected to this node")?;
    let order = Request::Suffer { node, fault, after_ms };
    let asked = Calls::new(mesh.clone()).ask(peer, &order, FAULT_TAKEN_WITHIN).await;
    match asked.map_err(|error| error.to_string())? {
        Answer::Done => Ok(()),
        Answer::Unavailable(why) | Answer::Denied(why) => Err(why),
        _ => Err("its answer does not fit".into()),
    }
}

async fn propose((term, command): (u64, Command), peer: Peer, services: &StreamServices) -> Answer {
    let name = command.name();
    let is_scanner = matches!(peer, Peer::Scanner(_));
    if is_scanner && !services.raft.wait_applied(access::judged_from(&command), GRANT_APPLIED_WITHIN).await {
        return Answer::Unavailable("this member has not applied that grant yet".into());
    }
    let command = match services.raft.read(|state| (services.judge)(state, peer, command)) {
        Ok(command) => command,
        Err(denied) => {
            tracing::warn!(command = name, %denied, "a proposal is refused");
            return Answer::Denied(denied.to_string());
        }
    };
    if is_scanner {
        return match services.gateway.propose(command).await {
            Ok(applied) => Answer::Applied { index: applied.index, response: applied.response },
            Err(Unavailable::Refused(refusal)) => {
                let index = *services.raft.watch_applied().borrow();
                Answer::Applied { index, response: Response::Refused(refusal) }
            }
            Err(Unavailable::Denied(why)) => Answer::Denied(why),
            Err(error) => Answer::Unavailable(error.to_string()),
        };
    }
    match services.raft.propose_in(term, command).await {
        Ok(applied) => Answer::Applied { index: applied.index, response: applied.response },
        Err(ProposeError::NotLeader { leader }) => Answer::NotLeader { leader },
        Err(error) => Answer::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
#[path = "serve/rogue_test.rs"]
mod rogue_tests;
#[cfg(test)]
#[path = "serve/serve_test.rs"]
mod tests;
