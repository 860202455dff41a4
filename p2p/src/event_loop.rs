//! The one task that owns the network: it carries out what the peer table decides and answers the handles.
//!
//! Everything here is plumbing between [`crate::peers`] (which decides), a [`Wire`] (which connects) and the waiting
//! callers. Calls wait in bounded lists; each has a deadline on the caller's side and is dropped when nobody waits.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gate::Peers;
use crate::handle::{Command, OpenRequest};
use crate::peers::{Effect, Route};
use crate::wire::{DialFailure, DialId, Wire, WireEvent};
use crate::{Class, DialError, OpenError, PeerAddress, PeerEvent, PeerId, Timings};

mod dial;
use dial::{CallerDial, Purpose, Resolved};

/// Callers that wait for a connection to one peer; the application needs one stream per class, so many more than that
/// are a caller gone wild.
const WAITING_PER_PEER_MAX: usize = 64;
/// Dials that wait for a host name at one time, as each holds a thread of the resolver.
const RESOLVING_MAX: usize = 32;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct EventLoop<W> {
    wire: W,
    timings: Timings,
    peers: Arc<Peers>,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<PeerEvent>,
    stop: CancellationToken,
    waiting: HashMap<PeerId, Vec<OpenRequest>>,
    dials: HashMap<DialId, Purpose>,
    next_dial: DialId,
    resolving: JoinSet<Resolved>,
}

impl<W: Wire> EventLoop<W> {
    pub(crate) fn new(
        wire: W,
        timings: Timings,
        peers: Arc<Peers>,
        commands: mpsc::Receiver<Command>,
        events: broadcast::Sender<PeerEvent>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            wire,
            timings,
            peers,
            commands,
            events,
            stop,
            waiting: HashMap::new(),
            dials: HashMap::new(),
            next_dial: 0,
            resolving: JoinSet::new(),
        }
    }

    /// Runs until it is stopped or nobody holds a handle.
    pub(crate) async fn run(mut self) {
        let peers = Arc::clone(&self.peers);
        loop {
            self.carry_out_effects();
            let due = peers.lock().next_due();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = peers.changed.notified() => {}
                () = sleep_until(due) => peers.lock().tick(Instant::now()),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                Some(resolved) = self.resolving.join_next() => self.on_resolved(resolved),
                event = self.wire.next_event() => self.on_wire_event(event),
            }
        }
        // Half of the time that a shutdown takes at most, so that its end is still an orderly one.
        if tokio::time::timeout(self.timings.shutdown_timeout / 2, self.wire.finish()).await.is_err() {
            tracing::debug!("not every connection closed in time");
        }
        tracing::debug!("mesh event loop ended");
    }

    fn carry_out_effects(&mut self) {
        let effects = self.peers.lock().take_effects();
        for effect in effects {
            match effect {
                Effect::Announce(event) => {
                    tracing::debug!(?event, "peer event");
                    // No listener is no error.
                    let _ = self.events.send(event);
                }
                Effect::Dial { peer, addresses } => self.dial_member(peer, addresses),
                Effect::Close { peer, link, why } => {
                    tracing::debug!(%peer, why, "connection closed");
                    self.wire.close(peer, link);
                }
                Effect::Keep { peer, link, keep } => self.wire.keep(peer, link, keep),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Open { peer, request } => self.open(peer, request),
            Command::Dial { address, expected: Some(peer), reply } if self.peers.lock().is_connected(peer) => {
                tracing::trace!(%peer, %address, "already connected");
                let _ = reply.send(Ok(peer));
            }
            Command::Dial { address, expected, reply } => {
                self.dial_for_caller(CallerDial::new(address, expected, reply))
            }
        }
    }

    fn open(&mut self, peer: PeerId, request: OpenRequest) {
        let route = {
            let mut table = self.peers.lock();
            // Checked here as well as in the handle: the list may have changed while the call waited its turn.
            if request.class == Class::Join || table.is_member(peer) {
                table.route(Instant::now(), peer)
            } else {
                Route::None("it is no longer a member".to_owned())
            }
        };
        match route {
            Route::Link(link) => self.wire.open(peer, link, request),
            Route::Dialing => self.wait_for_connection(peer, request),
            Route::None(reason) => {
                let _ = request.reply.send(Err(OpenError::Unreachable { peer, reason }));
            }
        }
    }

    fn wait_for_connection(&mut self, peer: PeerId, request: OpenRequest) {
        let waiting = self.waiting.entry(peer).or_default();
        waiting.retain(|waiter| !waiter.reply.is_closed());
        if waiting.len() < WAITING_PER_PEER_MAX {
            waiting.push(request);
        } else {
            let reason = format!("{WAITING_PER_PEER_MAX} calls wait for a connection to it already");
            let _ = request.reply.send(Err(OpenError::Unreachable { peer, reason }));
        }
    }

    /// A connection is there: everybody who waited for it goes on.
    fn serve_waiting(&mut self, peer: PeerId) {
        for request in self.waiting.remove(&peer).unwrap_or_default() {
            self.open(peer, request);
        }
    }

    fn fail_waiting(&mut self, peer: PeerId, reason: &str) {
        for request in self.waiting.remove(&peer).unwrap_or_default() {
            let _ = request.reply.send(Err(OpenError::Unreachable { peer, reason: reason.to_owned() }));
        }
    }

    fn on_wire_event(&mut self, event: WireEvent) {
        match event {
            WireEvent::Connected { peer, dial } => {
                if let Some(purpose) = dial.and_then(|dial| self.dials.remove(&dial)) {
                    self.dial_succeeded(peer, purpose);
                }
                self.serve_waiting(peer);
            }
            WireEvent::Disconnected { peer, link, hung_up } => {
                self.peers.lock().disconnected(Instant::now(), peer, link, hung_up);
            }
            WireEvent::DialFailed { dial, failure } => {
                if let Some(purpose) = self.dials.remove(&dial) {
                    self.dial_failed(purpose, failure);
                }
            }
            WireEvent::Heard { peer, link, rtt } => self.peers.lock().heard(Instant::now(), peer, link, rtt),
        }
    }
}

/// Sleeps until then, or for ever.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
