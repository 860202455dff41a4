//! The first frame of every stream: the side that was asked accepts or refuses.
//!
//! The answer rides right behind the negotiated protocol name, so it costs the opener no further round trip.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use futures::AsyncWriteExt;
use libp2p::Stream;
use libp2p::core::UpgradeInfo;
use libp2p::{InboundUpgrade, OutboundUpgrade};
use tokio_util::sync::CancellationToken;

use crate::frame::codec::{self, Decoder, Kind};
use crate::frame::io_half::{frame_stream, read_frame};
use crate::gate::{Refusal, StreamGate};
use crate::protocol::{NamesIter, ProtocolName, ProtocolNames};
use crate::{FrameError, FrameStream, PeerId};

type Opening<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// What a connection's streams have in common; shared, since libp2p asks for a copy at every turn.
#[derive(Debug)]
pub(crate) struct Door {
    /// Who is at the other end.
    pub(super) peer: PeerId,
    /// Who decides.
    pub(super) gate: StreamGate,
    /// What can be asked for.
    pub(super) names: ProtocolNames,
    /// Ends when the connection is given up.
    pub(super) life: CancellationToken,
}

/// Decides over a stream that the peer opens.
#[derive(Debug)]
pub(crate) struct InboundOpening(pub(super) Arc<Door>);

impl UpgradeInfo for InboundOpening {
    type Info = ProtocolName;
    type InfoIter = NamesIter;

    fn protocol_info(&self) -> NamesIter {
        self.0.names.iter()
    }
}

impl InboundUpgrade<Stream> for InboundOpening {
    type Output = ();
    type Error = Infallible;
    type Future = Opening<(), Infallible>;

    fn upgrade_inbound(self, stream: Stream, name: ProtocolName) -> Self::Future {
        Box::pin(async move {
            if let Err(error) = self.0.answer(stream, name).await {
                tracing::debug!(peer = %self.0.peer, %error, "an opening stream broke");
            }
            Ok(())
        })
    }
}

impl Door {
    async fn answer(&self, mut stream: Stream, name: ProtocolName) -> Result<(), FrameError> {
        let class = name.class;
        let admission = self.gate.admit(self.peer, class);
        let mut answer = BytesMut::new();
        match &admission {
            Ok(_) => codec::encode(class, Kind::Accept, &[], &mut answer)?,
            Err(refusal) => codec::encode(class, Kind::Refuse, &[refusal.byte()], &mut answer)?,
        }
        stream.write_all(&answer).await.map_err(|error| FrameError::lost(&error))?;
        stream.flush().await.map_err(|error| FrameError::lost(&error))?;
        match admission {
            Ok(admission) => {
                let frames =
                    frame_stream(self.peer, class, stream, Decoder::new(class), Some(admission.slot), &self.life);
                admission.place.send(frames);
                Ok(())
            }
            Err(refusal) => {
                tracing::debug!(peer = %self.peer, %class, ?refusal, "stream refused");
                stream.close().await.map_err(|error| FrameError::lost(&error))
            }
        }
    }
}

/// Why an outbound stream was not opened.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// The peer said no.
    Refused(Refusal),
    /// The stream broke, or the peer's answer made no sense.
    Failed(FrameError),
}

/// Waits for the peer's decision over a stream that we open.
#[derive(Debug)]
pub(crate) struct OutboundOpening {
    pub(super) door: Arc<Door>,
    pub(super) name: ProtocolName,
}

impl UpgradeInfo for OutboundOpening {
    type Info = ProtocolName;
    type InfoIter = std::iter::Once<ProtocolName>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.name.clone())
    }
}

impl OutboundUpgrade<Stream> for OutboundOpening {
    type Output = FrameStream;
    type Error = NotOpened;
    type Future = Opening<FrameStream, NotOpened>;

    fn upgrade_outbound(self, mut stream: Stream, name: ProtocolName) -> Self::Future {
        Box::pin(async move {
            let class = name.class;
            let mut decoder = Decoder::new(class);
            let first = read_frame(&mut stream, &mut decoder).await.map_err(NotOpened::Failed)?;
            match first.kind {
                // Frames that the peer sent right behind its answer stay in the decoder.
                Kind::Accept => Ok(frame_stream(self.door.peer, class, stream, decoder, None, &self.door.life)),
                Kind::Refuse => {
                    let reason = first.payload.first().copied().unwrap_or_default();
                    Err(NotOpened::Refused(Refusal::from_byte(reason)))
                }
                Kind::Data | Kind::End | Kind::Denied => {
                    Err(NotOpened::Failed(FrameError::Malformed { reason: "the stream did not start with an answer" }))
                }
            }
        })
    }
}
