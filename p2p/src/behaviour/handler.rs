//! One connection's part of [`super::Streams`]: it asks libp2p for outbound streams and offers our protocols inbound.
//!
//! It lives in the connection's own task. Who may open what is asked of the [`StreamGate`] at the moment a stream arrives.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};

use super::opening::{Door, InboundOpening, NotOpened, OutboundOpening};
use crate::OpenError;
use crate::gate::Refusal;
use crate::handle::OpenRequest;

/// Streams of ours in their opening at a time. yamux ends the whole connection when it runs out of streams, so a burst
/// of calls must not take them all; the rest wait for a few milliseconds.
const OPENING_MAX: usize = 32;
/// Calls that wait for their opening; more than there are streams to be had on the other side.
const REQUESTS_MAX: usize = 512;

/// What a connection is told.
#[derive(Debug)]
pub(crate) enum ToHandler {
    /// Open a stream for somebody.
    Open(OpenRequest),
    /// Hold the connection open while nothing happens on it, or stop doing so.
    Keep(bool),
}

/// See the module's description.
pub(crate) struct Handler {
    door: Arc<Door>,
    open_timeout: Duration,
    keep: bool,
    requests: VecDeque<OpenRequest>,
    opening: usize,
    waker: Option<Waker>,
}

impl Handler {
    pub(crate) fn new(door: Arc<Door>, open_timeout: Duration) -> Self {
        Self { door, open_timeout, keep: false, requests: VecDeque::new(), opening: 0, waker: None }
    }

    fn answer_failure(&self, request: OpenRequest, error: StreamUpgradeError<NotOpened>) {
        let (peer, class) = (self.door.peer, request.class);
        let answer = match error {
            StreamUpgradeError::Timeout => OpenError::TimedOut { peer, class, after: self.open_timeout },
            StreamUpgradeError::NegotiationFailed => {
                OpenError::Unsupported { peer, class, protocol: self.door.names.of(class).as_ref().to_owned() }
            }
            StreamUpgradeError::Apply(NotOpened::Refused(Refusal::NotMember)) => {
                OpenError::NotAllowed { peer, class, refused_by: peer }
            }
            StreamUpgradeError::Apply(NotOpened::Refused(Refusal::TooMany | Refusal::Busy)) => {
                OpenError::Busy { peer, class }
            }
            StreamUpgradeError::Apply(NotOpened::Failed(error)) => {
                OpenError::Unreachable { peer, reason: error.to_string() }
            }
            StreamUpgradeError::Io(error) => OpenError::Unreachable { peer, reason: error.to_string() },
        };
        let _ = request.reply.send(Err(answer));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = Infallible;
    type InboundProtocol = InboundOpening;
    type OutboundProtocol = OutboundOpening;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenRequest;

    fn listen_protocol(&self) -> SubstreamProtocol<InboundOpening> {
        SubstreamProtocol::new(InboundOpening(Arc::clone(&self.door)), ()).with_timeout(self.open_timeout)
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<OutboundOpening, OpenRequest, Infallible>> {
        while self.opening < OPENING_MAX
            && let Some(request) = self.requests.pop_front()
        {
            if request.reply.is_closed() {
                continue;
            }
            self.opening += 1;
            let opening = OutboundOpening { door: Arc::clone(&self.door), name: self.door.names.of(request.class) };
            let protocol = SubstreamProtocol::new(opening, request).with_timeout(self.open_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, order: ToHandler) {
        match order {
            ToHandler::Open(request) if self.requests.len() < REQUESTS_MAX => self.requests.push_back(request),
            ToHandler::Open(request) => {
                let busy = OpenError::Busy { peer: self.door.peer, class: request.class };
                let _ = request.reply.send(Err(busy));
            }
            ToHandler::Keep(keep) => self.keep = keep,
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, InboundOpening, OutboundOpening, (), OpenRequest>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: request }) => {
                self.opening = self.opening.saturating_sub(1);
                // A caller that gave up drops the stream with the answer, and the peer sees it end.
                let _ = request.reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: request, error }) => {
                self.opening = self.opening.saturating_sub(1);
                self.answer_failure(request, error);
            }
            // An admitted inbound stream is with the application already; a refused one has had its answer.
            _ => {}
        }
    }
}
