//! Dialing, from a list of addresses with or without names to a connection or a reason.
//!
//! Members are dialed at all their addresses at once, as any will do. A caller's dial without an expected peer goes
//! through the addresses of its host name one after the other, because two answers would be two peers.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::{DialError, DialFailure, EventLoop, PeerAddress, PeerId, RESOLVING_MAX, Wire};

/// Addresses tried for one dial; a name that resolves to more is a mistake or an attack.
const ADDRESSES_MAX: usize = 16;

/// Why something is being dialed.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The peer table wants it.
    Member(PeerId),
    /// Somebody called `dial`.
    Caller(CallerDial),
}

/// One call of `dial`.
#[derive(Debug)]
pub(super) struct CallerDial {
    address: PeerAddress,
    expected: Option<PeerId>,
    /// Still to be tried.
    candidates: VecDeque<SocketAddr>,
    reply: oneshot::Sender<Result<PeerId, DialError>>,
}

impl CallerDial {
    pub(super) fn new(
        address: PeerAddress,
        expected: Option<PeerId>,
        reply: oneshot::Sender<Result<PeerId, DialError>>,
    ) -> Self {
        Self { address, expected, candidates: VecDeque::new(), reply }
    }

    fn fail(self, error: impl FnOnce(PeerAddress) -> DialError) {
        let _ = self.reply.send(Err(error(self.address)));
    }
}

/// A dial whose host names have been looked up.
#[derive(Debug)]
pub(super) struct Resolved {
    purpose: Purpose,
    result: Result<Vec<SocketAddr>, String>,
}

impl<W: Wire> EventLoop<W> {
    pub(super) fn dial_member(&mut self, peer: PeerId, addresses: Vec<PeerAddress>) {
        self.resolve(Purpose::Member(peer), addresses);
    }

    pub(super) fn dial_for_caller(&mut self, call: CallerDial) {
        let addresses = vec![call.address.clone()];
        self.resolve(Purpose::Caller(call), addresses);
    }

    /// Numeric addresses go on at once; names take a task, since the operating system's resolver may be slow.
    fn resolve(&mut self, purpose: Purpose, addresses: Vec<PeerAddress>) {
        let mut numeric = Vec::new();
        let mut names = Vec::new();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match address {
                PeerAddress::Socket(address) => numeric.push(address),
                PeerAddress::Name { host, port } => names.push((host, port)),
            }
        }
        if names.is_empty() {
            return self.dial_resolved(purpose, Ok(numeric));
        }
        if self.resolving.len() >= RESOLVING_MAX {
            return self
                .dial_failed(purpose, DialFailure::Denied(format!("{RESOLVING_MAX} host names are being looked up")));
        }
        let timeout = self.timings.resolve_timeout;
        self.resolving.spawn(async move {
            let lookup = tokio::time::timeout(timeout, look_up(names, numeric)).await;
            let result = lookup.unwrap_or_else(|_elapsed| Err(format!("no answer within {timeout:?}")));
            Resolved { purpose, result }
        });
    }

    pub(super) fn on_resolved(&mut self, resolved: Result<Resolved, JoinError>) {
        match resolved {
            Ok(Resolved { purpose, result }) => self.dial_resolved(purpose, result),
            // The caller's reply is dropped with the task, and the member is dialed again when a call asks for it.
            Err(error) => tracing::error!(%error, "a name lookup broke"),
        }
    }

    fn dial_resolved(&mut self, purpose: Purpose, result: Result<Vec<SocketAddr>, String>) {
        match (purpose, result) {
            (Purpose::Member(peer), Ok(addresses)) => self.start_dial(Purpose::Member(peer), Some(peer), addresses),
            (Purpose::Member(peer), Err(reason)) => {
                self.dial_failed(Purpose::Member(peer), DialFailure::Unreachable(reason))
            }
            (Purpose::Caller(mut call), Ok(addresses)) => {
                call.candidates = addresses.into();
                self.dial_next_candidate(call, DialFailure::Unreachable("the name has no address".to_owned()));
            }
            (Purpose::Caller(call), Err(reason)) => call.fail(|address| DialError::Unresolved { address, reason }),
        }
    }

    fn start_dial(&mut self, purpose: Purpose, expected: Option<PeerId>, addresses: Vec<SocketAddr>) {
        let dial = self.next_dial;
        self.next_dial += 1;
        self.dials.insert(dial, purpose);
        self.wire.dial(dial, expected, addresses);
    }

    /// Tries the next address of a caller's dial, or gives up with what went wrong last.
    fn dial_next_candidate(&mut self, mut call: CallerDial, last: DialFailure) {
        if call.reply.is_closed() {
            return;
        }
        if let Some(candidate) = call.candidates.pop_front() {
            let expected = call.expected;
            return self.start_dial(Purpose::Caller(call), expected, vec![candidate]);
        }
        let expected = call.expected;
        call.fail(|address| match last {
            DialFailure::Unreachable(reason) => DialError::Unreachable { address, reason },
            DialFailure::Handshake(reason) => DialError::HandshakeFailed { address, reason },
            DialFailure::Silent(reason) => DialError::Silent { address, reason },
            DialFailure::HungUp(reason) => DialError::HungUp { address, reason },
            DialFailure::WrongPeer(found) => {
                DialError::WrongPeer { address, expected: expected.unwrap_or(found), found }
            }
            DialFailure::Oneself => DialError::Oneself { address },
            DialFailure::Denied(reason) => DialError::Busy { address, reason },
        });
    }

    pub(super) fn dial_succeeded(&mut self, peer: PeerId, purpose: Purpose) {
        match purpose {
            Purpose::Member(_) => self.peers.lock().dial_succeeded(peer),
            Purpose::Caller(call) => {
                let _ = call.reply.send(Ok(peer));
            }
        }
    }

    pub(super) fn dial_failed(&mut self, purpose: Purpose, failure: DialFailure) {
        match purpose {
            Purpose::Member(peer) => {
                let reason = describe(failure);
                tracing::debug!(%peer, reason, "dial failed");
                self.peers.lock().dial_failed(Instant::now(), peer, reason.clone());
                self.fail_waiting(peer, &reason);
            }
            // A limit of ours will hold for the other addresses, too; any other failure is about one address.
            Purpose::Caller(mut call) => {
                if matches!(failure, DialFailure::Denied(_)) {
                    call.candidates.clear();
                }
                self.dial_next_candidate(call, failure);
            }
        }
    }
}

fn describe(failure: DialFailure) -> String {
    match failure {
        DialFailure::Unreachable(reason) | DialFailure::Denied(reason) => reason,
        DialFailure::Handshake(reason) => {
            format!("the handshake failed ({reason}): wrong pre-shared key, or not a pentora mesh port")
        }
        DialFailure::Silent(reason) => format!("it takes connections and does not answer ({reason})"),
        DialFailure::HungUp(reason) => format!("it hung up before it said who it is ({reason})"),
        DialFailure::WrongPeer(found) => format!("another peer is there: {found}"),
        DialFailure::Oneself => "the address is this node's own".to_owned(),
    }
}

/// Looks up names and adds their addresses to `found`. One name that resolves is enough.
async fn look_up(names: Vec<(String, u16)>, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let mut reason = None;
    for (host, port) in names {
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => reason = Some(format!("{host}: {error}")),
        }
    }
    found.truncate(ADDRESSES_MAX);
    match reason {
        Some(reason) if found.is_empty() => Err(reason),
        _ => Ok(found),
    }
}
