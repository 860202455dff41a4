//! Connections of the detection: opened where the gate lets them, at the job's pace, few at once, read with a bound on bytes
//! and time.
//!
//! They are closed with a reset, so that neither side keeps state for a connection that was only a question.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;

use super::ANSWERED_LEAST;
use super::matcher::ANSWER_BYTES_MAX;
use super::own_time::{OwnTime, SLOT_WAIT_MAX};
use super::pacing::{KERNEL_REPEATS, LATE_LEAST, Pacing};
use super::ports;
use crate::gate::{self, Gate, Stage, Verdict};
use crate::occupancy::{Entered, Slot};
use crate::pace::RateCap;
use crate::port::Protocol;

/// Longest wait for a connection to a port that has just answered a SYN.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// A connection that is late is begun once more beside: the kernel repeats a lost SYN only after a second. Each further wait
/// is twice as long.
const AGAIN_MAX: usize = 2;
/// Longest wait for a TLS handshake.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(4);
/// Pause when this machine is out of sockets or local ports.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a segment of an ordinary path.
const SEGMENT_BYTES: usize = 1448;
/// Most bytes that one connection takes in below TLS: four answers and the handshake.
const WIRE_BYTES_MAX: usize = 4 * ANSWER_BYTES_MAX;
/// Slot for the bytes that are waited for: as much again as an answer has by now, within these. Most of the thousands of
/// ports that are waited for at once say little or nothing.
const ROOM: (usize, usize) = (256, 4096);
/// An answer is looked at after each of its first chunks; from then on only when it has grown by a quarter, so that a
/// server that sends byte by byte costs no more than one that does not.
const LOOKS_FREE: u32 = 32;

/// What a connection may use.
#[derive(Clone, Copy)]
pub(super) struct Endpoint<'a> {
    pub(super) address: SocketAddr,
    /// The host name that the target was given as.
    pub(super) name: Option<&'a str>,
    /// Speak inside TLS.
    pub(super) tls: Option<&'a TlsConnector>,
    /// Whether that TLS carries HTTP/2.
    pub(super) speaks_http_2: bool,
    /// What may be sent.
    pub(super) gate: &'a Gate,
    /// Connections that may be open at once, to this port and host.
    pub(super) room: &'a Slot,
    /// The same of the whole detector.
    pub(super) connections: &'a Semaphore,
    /// How connections begin.
    pub(super) pacing: Option<&'a Pacing>,
    /// When everything at this endpoint ends.
    pub(super) time: OwnTime<'a>,
}

/// A stream of bytes, in the clear or inside TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(super) struct Connection<'a> {
    pub(super) stream: Box<dyn Stream>,
    /// About one round trip.
    pub(super) round_trip: Duration,
    _permit: Permit<'a>,
}

/// An open connection in the clear.
pub(super) struct Opened<'a> {
    pub(super) stream: Paid<TcpStream>,
    pub(super) round_trip: Duration,
    /// Held as long as the connection is.
    pub(super) permit: Permit<'a>,
}

/// A connection whose packets are owed to a budget, but for its SYN, which had a slot.
pub(super) struct Paid<S> {
    inner: S,
    pace: Option<Arc<RateCap>>,
}

impl<S> Paid<S> {
    /// Of one that has come about, which was acknowledged.
    fn new(inner: S, pace: Option<Arc<RateCap>>) -> Self {
        let paid = Self { inner, pace };
        paid.owe(1);
        paid
    }

    fn owe(&self, packets: usize) {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.pace.iter().for_each(|pace| pace.owe(packets));
    }
}

impl<S> Drop for Paid<S> {
    fn drop(&mut self) {
        // It ends with a reset.
        self.owe(1);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paid<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if polled.is_ready() {
            // Every other segment is acknowledged, and the last of those that come together.
            self.owe((buffer.filled().len() - before).div_ceil(2 * SEGMENT_BYTES));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paid<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.owe(written.div_ceil(SEGMENT_BYTES));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// That a connection may be open.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    _place: Entered<'a>,
    _of_all: SemaphorePermit<'a>,
}

/// How reading came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The reader has what it wanted.
    Enough,
    /// The other side closed, in order or with a reset.
    Closed,
    /// Nothing came, or nothing more.
    Quiet,
    /// As much came as is read.
    Full,
    /// There was no connection.
    Refused,
}

impl AsyncRead for Connection<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection<'_> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<'a> Endpoint<'a> {
    /// The same endpoint, which has just answered: there are some seconds for more, however late it is.
    pub(super) fn answered(self) -> Self {
        Self { time: self.time.with_at_least(ANSWERED_LEAST), ..self }
    }

    /// When everything at this endpoint ends, if nothing waits for a slot from now on.
    pub(super) fn deadline(&self) -> Instant {
        self.time.real(self.time.ends)
    }

    /// The same of listening to a greeting.
    pub(super) fn listens_until(&self) -> Instant {
        self.time.real(self.time.listens_until)
    }

    /// Waits for a slot of the pace, which costs the port none of its time; false where that takes too long.
    pub(super) async fn wait_for_slot(&self) -> bool {
        let Some(pacing) = self.pacing else { return true };
        let _waiting = self.time.waits.begin();
        pacing.probe(self.address.ip(), Instant::now() + SLOT_WAIT_MAX).await
    }

    /// Whether the server usually speaks first here.
    pub(super) fn is_greeted(&self) -> bool {
        ports::is_greeted(self.address.port())
    }

    /// Opens a connection for a stage; with TLS, up to the end of its handshake.
    pub(super) async fn connect(&self, stage: Stage) -> io::Result<Connection<'a>> {
        if self.tls.is_some() {
            self.pass(Stage::Tls)?;
        }
        let Opened { stream, round_trip, permit } = self.open(stage).await?;
        let stream: Box<dyn Stream> = match self.tls {
            None => Box::new(stream),
            // In a box of its own: it is four times as large as all that a connection in the clear needs.
            Some(connector) => Box::new(Box::pin(self.handshake(connector, stream)).await?),
        };
        Ok(Connection { stream, round_trip, _permit: permit })
    }

    /// A handshake over a stream that is ready for it.
    pub(super) async fn handshake<S: Stream>(
        &self,
        connector: &TlsConnector,
        stream: S,
    ) -> io::Result<tokio_rustls::client::TlsStream<Limited<S>>> {
        let until = self.deadline().min(Instant::now() + HANDSHAKE_WAIT);
        let limited = Limited { inner: stream, left: WIRE_BYTES_MAX };
        timeout_at(until, connector.connect(self.server_name(), limited)).await?
    }

    /// What the handshake names: the host name where it can be one, otherwise the address, which is not sent.
    fn server_name(&self) -> ServerName<'static> {
        let name = self.name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        name.unwrap_or_else(|| ServerName::IpAddress(self.address.ip().into()))
    }

    /// Passes the gate with what is about to be sent.
    fn pass(&self, stage: Stage) -> io::Result<()> {
        match self.gate.ask(self.address.ip(), gate::port_of(self.address, Protocol::Tcp), stage) {
            Verdict::Allow | Verdict::OwnProtocol => Ok(()),
            Verdict::SynOnly | Verdict::Deny(_) => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Opens a connection in the clear for a stage, whatever is spoken on it afterwards.
    pub(super) async fn open(&self, stage: Stage) -> io::Result<Opened<'a>> {
        self.pass(stage)?;
        // The place at the host before that among all, which others could use meanwhile.
        let place = self.room.enter(self.deadline()).await.ok_or(io::ErrorKind::TimedOut)?;
        let of_all = timeout_at(self.deadline(), self.connections.acquire()).await?.map_err(io::Error::other)?;
        let permit = Permit { _place: place, _of_all: of_all };
        if !self.wait_for_slot().await {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let until = self.deadline().min(Instant::now() + CONNECT_WAIT);
        loop {
            match timeout_at(until, self.race()).await? {
                Ok((stream, round_trip)) => {
                    if stream.local_addr()? == self.address {
                        // Two ends of one socket: nobody listens there.
                        return Err(io::ErrorKind::ConnectionRefused.into());
                    }
                    stream.set_nodelay(true)?;
                    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                    let stream = Paid::new(stream, self.pacing.map(|pacing| Arc::clone(pacing.pace())));
                    return Ok(Opened { stream, round_trip, permit });
                }
                Err(error) if is_exhausted(&error) && Instant::now() < until => sleep(EXHAUSTED_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Endpoint<'_> {
    /// The first connection that comes about, and what it took: where that is long, others are begun beside it, as far as
    /// pace and sockets allow.
    async fn race(&self) -> io::Result<(TcpStream, Duration)> {
        let connect = || async {
            let begun = Instant::now();
            Ok((TcpStream::connect(self.address).await?, begun.elapsed()))
        };
        let mut first = self.pacing.map(Pacing::begin);
        // Before the connections, which are to be gone when their places are given back.
        let mut permits = Vec::new();
        let mut running = FuturesUnordered::from_iter([connect()]);
        let mut wait = self.pacing.map_or(LATE_LEAST, Pacing::late_after);
        let mut late_at = Instant::now() + wait;
        loop {
            let may_begin = permits.len() < AGAIN_MAX && wait < KERNEL_REPEATS;
            tokio::select! {
                Some(done) = running.next() => {
                    if !done.as_ref().is_err_and(is_exhausted) {
                        first.take().into_iter().for_each(|first| first.tell(false));
                    }
                    match done {
                        Ok((stream, round_trip)) => {
                            self.pacing.into_iter().for_each(|pacing| pacing.came_about(round_trip));
                            return Ok((stream, round_trip));
                        }
                        // One that this machine has no room for leaves the others as they are.
                        Err(error) if running.is_empty() || !is_exhausted(&error) => return Err(error),
                        Err(_) => {}
                    }
                }
                () = sleep_until(late_at), if may_begin => {
                    first.take().into_iter().for_each(|first| first.tell(true));
                    wait *= 2;
                    late_at += wait;
                    if let Some(place) = self.room.try_enter()
                        && let Ok(of_all) = self.connections.try_acquire()
                        && self.pacing.is_none_or(|pacing| pacing.spare_probe(self.address.ip()))
                    {
                        permits.push(Permit { _place: place, _of_all: of_all });
                        running.push(connect());
                    }
                }
            }
        }
    }
}

/// Whether this machine, and not the other, has no room for a connection.
fn is_exhausted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EAGAIN))
}

/// Sends bytes; false when the other side would not have them by then.
pub(super) async fn send(stream: &mut (impl AsyncWrite + Unpin + ?Sized), bytes: &[u8], until: Instant) -> bool {
    let sent = timeout_at(until, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    matches!(sent.await, Ok(Ok(())))
}

/// How long to wait while reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until the first byte.
    pub(super) first: Instant,
    /// Between bytes.
    pub(super) gap: Duration,
    /// In all.
    pub(super) last: Instant,
}

impl Patience {
    /// Until then, however the bytes come.
    pub(super) fn until(last: Instant) -> Self {
        Self { first: last, gap: last.saturating_duration_since(Instant::now()), last }
    }
}

/// Reads into `bytes` until `is_enough` of them, the end, silence, or [`ANSWER_BYTES_MAX`].
///
/// Not cancel-safe in that bytes may be lost; nothing reads on after having been cancelled.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    bytes: &mut Vec<u8>,
    patience: Patience,
    mut is_enough: impl FnMut(&[u8]) -> bool,
) -> Ending {
    let (mut looks, mut look_at) = (0, 0);
    let mut until = patience.first.min(patience.last);
    // The rest of what has come is there already where a slot was filled: half of it is not looked at.
    let mut is_drained = true;
    loop {
        bytes.reserve(bytes.len().clamp(ROOM.0, ROOM.1));
        let deadline = if is_drained { until } else { Instant::now() };
        match timeout_at(deadline, stream.read_buf(bytes)).await {
            Err(_) if is_drained => return Ending::Quiet,
            Err(_) => is_drained = true,
            Ok(Ok(0) | Err(_)) => return Ending::Closed,
            Ok(Ok(_)) => {
                is_drained = bytes.len() < bytes.capacity();
                bytes.truncate(ANSWER_BYTES_MAX);
                if !is_drained && bytes.len() < ANSWER_BYTES_MAX {
                    continue;
                }
            }
        }
        if bytes.len() >= look_at {
            looks += 1;
            look_at = if looks < LOOKS_FREE { 0 } else { bytes.len() + bytes.len() / 4 };
            if is_enough(bytes) {
                return Ending::Enough;
            }
        }
        if bytes.len() >= ANSWER_BYTES_MAX {
            return Ending::Full;
        }
        until = patience.last.min(Instant::now() + patience.gap);
    }
}

/// A stream that ends with an error when more was read than any honest server sends.
#[derive(Debug)]
pub(super) struct Limited<S> {
    inner: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("more bytes than any handshake and answer have")));
        }
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{duplex, repeat};

    use super::*;

    fn patience() -> Patience {
        let last = Instant::now() + Duration::from_secs(60);
        Patience { first: last, gap: Duration::from_secs(1), last }
    }

    #[tokio::test]
    async fn no_more_is_read_than_an_answer_may_have() {
        let mut bytes = Vec::new();
        assert_eq!(read(&mut repeat(b'x'), &mut bytes, patience(), |_| false).await, Ending::Full);
        assert_eq!(bytes.len(), ANSWER_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_server_that_sends_byte_by_byte_is_not_looked_at_byte_by_byte() {
        let (mut near, mut far) = duplex(1);
        let sending = async move {
            for _ in 0..10_000 {
                far.write_all(b"x").await.unwrap();
            }
        };
        let (mut bytes, mut looks) = (Vec::new(), 0);
        let is_enough = |_: &[u8]| {
            looks += 1;
            false
        };
        let reading = read(&mut near, &mut bytes, patience(), is_enough);
        let (ending, ()) = futures::join!(reading, sending);
        assert_eq!((ending, bytes.len()), (Ending::Closed, 10_000));
        assert!(looks < 100, "{looks}");
    }

    #[tokio::test]
    async fn a_stream_below_tls_ends_where_no_honest_one_does() {
        let mut limited = Limited { inner: repeat(b'x'), left: WIRE_BYTES_MAX };
        let mut sink = Vec::new();
        assert!(limited.read_to_end(&mut sink).await.is_err());
        assert!((WIRE_BYTES_MAX..2 * WIRE_BYTES_MAX).contains(&sink.len()), "{}", sink.len());
    }
}
