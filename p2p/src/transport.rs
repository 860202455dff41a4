//! From a TCP connection to an encrypted, multiplexed one: pre-shared key, noise, yamux, in that order.
//!
//! Every step has its own error, because "wrong key", "nobody listens" and "no answer" ask different things of the
//! person who reads them. Between the pre-shared key (libp2p pnet, which only encrypts) and noise, both sides send
//! [`GREETING`]: with different keys it arrives as garbage, and the connection ends at once with the right reason.
//! The greeting's version also fixes what follows, so nothing is negotiated before noise, as libp2p usually does:
//! two round trips less, and no parser in front of the encryption.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::Transport as _;
use libp2p::core::connection::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::pnet::{PnetConfig, PnetError, PreSharedKey};
use libp2p::tcp::tokio::TcpStream;
use libp2p::{noise, tcp, yamux};
use tokio::time::timeout;

use crate::cut::{Cuts, Cuttable, Line};
use crate::lines::Lines;
use crate::{Identity, MeshError, PeerId, Timings};

mod linger;
use linger::Lingering;

/// What both sides say right after the pre-shared key. Sixteen fixed bytes of known plaintext give nothing away that
/// the negotiation text after them would not.
const GREETING: [u8; 16] = *b"pentora mesh/1\r\n";
/// libp2p's names of the two protocols; with a single choice of each they are never sent.
const NOISE: &str = "/noise";
/// See [`NOISE`].
const YAMUX: &str = "/yamux/1.0.0";
/// Streams on one connection, both directions together: the sum of what the classes allow each way, two pings, and
/// room for streams that are on their way to being refused.
const STREAMS_MAX: usize = 256;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// TCP did not connect.
    #[error("{0}")]
    Connect(String),
    /// TCP did, and then nothing came in time.
    #[error("{0}")]
    Silent(String),
    /// TCP did, and the other side hung up before it said who it is.
    #[error("{0}")]
    HungUp(String),
    /// TCP did, the rest did not.
    #[error("{0}")]
    Handshake(String),
}

impl LinkError {
    fn handshake(step: &str, error: impl std::fmt::Display) -> Self {
        Self::Handshake(format!("{step}: {error}"))
    }

    /// What came of the first bytes: a proxy without a node behind it takes a connection and ends it.
    fn first_bytes(step: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::HungUp(format!("{step}: {error}"))
            }
            _ => Self::handshake(step, error),
        }
    }
}

/// What a handshake needs; cloned for every connection.
#[derive(Clone)]
struct Handshake {
    psk: PreSharedKey,
    noise: noise::Config,
    yamux: yamux::Config,
    timings: Timings,
    cuts: Arc<Cuts>,
    lines: Arc<Lines>,
}

/// Builds the transport of a mesh.
///
/// # Errors
/// [`MeshError::Encryption`] when the identity cannot sign its noise key.
pub(crate) fn build(
    identity: &Identity,
    psk: &crate::PreSharedKey,
    timings: Timings,
    (cuts, lines): (Arc<Cuts>, Arc<Lines>),
) -> Result<Boxed<(libp2p::PeerId, StreamMuxerBox)>, MeshError> {
    let noise =
        noise::Config::new(&identity.keypair()).map_err(|error| MeshError::Encryption { reason: error.to_string() })?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_MAX);
    let handshake = Handshake { psk: PreSharedKey::new(*psk.as_bytes()), noise, yamux, timings, cuts, lines };
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true).listen_backlog(1024));
    let transport = TransportTimeout::with_outgoing_timeout(tcp, timings.connect_timeout)
        .map_err(|error| match error {
            TransportTimeoutError::Timeout => LinkError::Connect("no answer".to_owned()),
            TransportTimeoutError::TimerError(error) | TransportTimeoutError::Other(error) => {
                LinkError::Connect(error.to_string())
            }
        })
        .and_then(move |socket, endpoint| async move {
            let limit = handshake.timings.handshake_timeout;
            let finished = timeout(limit, handshake.run(socket, endpoint)).await;
            finished.unwrap_or_else(|_elapsed| Err(LinkError::Silent(format!("no answer within {limit:?}"))))
        })
        .map_err(|either| either.into_inner());
    Ok(transport.boxed())
}

impl Handshake {
    async fn run(
        self,
        socket: TcpStream,
        endpoint: ConnectedPoint,
    ) -> Result<(libp2p::PeerId, StreamMuxerBox), LinkError> {
        limit_unanswered(&socket, self.timings.silence_max);
        let line = Line::new(self.cuts);
        // A socket that has none is about to end by itself.
        let local = socket.0.local_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        let socket = self.lines.watched(local, Lingering::new(socket));
        let keyed = PnetConfig::new(self.psk).handshake(Cuttable::new(socket, line.clone())).await;
        let mut keyed = keyed.map_err(|error| match error {
            PnetError::HandshakeError(error) | PnetError::IoError(error) => LinkError::first_bytes("nonces", &error),
        })?;
        let greeted = greet(&mut keyed).await;
        greeted.map_err(|error| LinkError::first_bytes("greeting", &error))?;
        let dialed = endpoint.is_dialer();
        let secured = match dialed {
            true => self.noise.upgrade_outbound(keyed, NOISE).await,
            false => self.noise.upgrade_inbound(keyed, NOISE).await,
        };
        let (peer, secured) = secured.map_err(|error| LinkError::handshake("noise", error))?;
        if let Some(peer) = PeerId::from_libp2p(&peer) {
            line.is_to(peer);
        }
        let multiplexed = match dialed {
            true => self.yamux.upgrade_outbound(secured, YAMUX).await,
            false => self.yamux.upgrade_inbound(secured, YAMUX).await,
        };
        let muxer = multiplexed.map_err(|error| LinkError::handshake("yamux", error))?;
        Ok((peer, StreamMuxerBox::new(muxer)))
    }
}

/// Says [`GREETING`] and expects it.
async fn greet<S>(stream: &mut S) -> io::Result<()>
where
    S: libp2p::futures::AsyncRead + libp2p::futures::AsyncWrite + Unpin,
{
    stream.write_all(&GREETING).await?;
    stream.flush().await?;
    let mut heard = [0_u8; GREETING.len()];
    stream.read_exact(&mut heard).await?;
    if heard == GREETING { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "the keys differ")) }
}

/// Has the kernel end the connection when sent bytes stay unacknowledged for this long, so that closing one towards a
/// vanished host does not linger for the quarter of an hour that TCP would take by itself.
fn limit_unanswered(socket: &TcpStream, limit: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&socket.0).set_tcp_user_timeout(Some(limit)) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT was not accepted");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, limit);
}
