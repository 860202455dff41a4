//! TLS inside the packets of SQL Server ([MS-TDS] sections 2.2.3.1 and 2.2.6.5): during the handshake each side's records travel
//! as contents of packets of the pre-login.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The kind of packet of a pre-login, and of its answer.
const PRELOGIN: u8 = 0x12;
const ANSWER: u8 = 0x04;
/// The last packet of a message.
const LAST: u8 = 0x01;
const HEAD_BYTES: usize = 8;
/// Most contents of one packet: the size that servers begin with.
const CONTENTS_MAX: usize = 4096 - HEAD_BYTES;
/// Most bytes that wait to be sent: no client's flight has as many.
const WAITING_MAX: usize = 64 * 1024;

/// Asks for encryption: one version, one option, and the end (section 2.2.6.5). The version is nobody's.
pub(super) const ASK: &[u8] = &[
    PRELOGIN, LAST, 0, 26, 0, 0, 1, 0, // head
    0, 0, 11, 0, 6, // the version is at 11 and 6 long
    1, 0, 17, 0, 1, 0xff, // so is the encryption; the end
    0, 0, 0, 0, 0, 0, 1, // on
];

/// Whether a server's answer to [`ASK`] lets the handshake begin; `None` while it is not whole.
pub(crate) fn agrees(answer: &[u8]) -> Option<bool> {
    let head = answer.first_chunk::<HEAD_BYTES>()?;
    let [kind, _, high, low, ..] = *head;
    if kind != ANSWER {
        return Some(false);
    }
    let contents = answer.get(HEAD_BYTES..usize::from(u16::from_be_bytes([high, low])))?;
    let mut options = contents.chunks(5);
    let encryption =
        options.by_ref().take_while(|option| option.first() != Some(&0xff)).find(|option| option.first() == Some(&1));
    let value = match encryption {
        Some(&[_, high, low, ..]) => contents.get(usize::from(u16::from_be_bytes([high, low]))),
        _ => None,
    };
    // Off (for the login alone), on, required; 2 is not there.
    Some(matches!(value, Some(0 | 1 | 3)))
}

/// A stream whose bytes travel in packets.
#[derive(Debug)]
pub(super) struct Packets<S> {
    inner: S,
    /// What was written and not sent, with room for the head in front.
    waiting: Vec<u8>,
    /// Of what is being sent: how much is.
    sent: usize,
    is_sending: bool,
    head: [u8; HEAD_BYTES],
    head_length: usize,
    /// Contents of the present packet that are still to come.
    left: usize,
}

impl<S> Packets<S> {
    pub(super) fn new(inner: S) -> Self {
        let waiting = Vec::new();
        Self { inner, waiting, sent: 0, is_sending: false, head: [0; HEAD_BYTES], head_length: 0, left: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Packets<S> {
    /// Sends what waits.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_sending && !self.waiting.is_empty() {
            let contents = std::mem::take(&mut self.waiting);
            for part in contents.chunks(CONTENTS_MAX) {
                let [high, low] = u16::try_from(part.len() + HEAD_BYTES).unwrap_or(u16::MAX).to_be_bytes();
                self.waiting.extend([PRELOGIN, LAST, high, low, 0, 0, 1, 0]);
                self.waiting.extend(part);
            }
            (self.is_sending, self.sent) = (true, 0);
        }
        while self.is_sending {
            let rest = self.waiting.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.waiting.clear();
                self.is_sending = false;
                break;
            }
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Packets<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_send(context))?;
        while this.left == 0 {
            let mut head = ReadBuf::new(this.head.get_mut(this.head_length..).unwrap_or_default());
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut head))?;
            let count = head.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            this.head_length += count;
            if this.head_length == HEAD_BYTES {
                let [_, _, high, low, ..] = this.head;
                let length = usize::from(u16::from_be_bytes([high, low]));
                this.left = length.checked_sub(HEAD_BYTES).ok_or(io::ErrorKind::InvalidData)?;
                this.head_length = 0;
            }
        }
        let wanted = this.left.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut this.inner).poll_read(context, &mut part))?;
        let count = part.filled().len();
        buffer.advance(count);
        this.left -= count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Packets<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_sending {
            ready!(self.poll_send(context))?;
        }
        if self.waiting.len() + bytes.len() > WAITING_MAX {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        // All that is written up to a flush is one message.
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The contents of packets that come in pieces; `None` where one is none. For the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn contents_of_packets(pieces: &[&[u8]]) -> Option<Vec<u8>> {
    use std::collections::VecDeque;
    use std::pin::pin;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, join, sink};

    struct Pieces<'a>(VecDeque<&'a [u8]>);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            while self.0.front().is_some_and(|piece| piece.is_empty()) {
                self.0.pop_front();
            }
            if let Some(piece) = self.0.front_mut() {
                let (now, later) = piece.split_at(piece.len().min(buffer.remaining()));
                buffer.put_slice(now);
                *piece = later;
            }
            Poll::Ready(Ok(()))
        }
    }

    let mut packets = Packets::new(join(Pieces(pieces.iter().copied().collect()), sink()));
    let mut contents = Vec::new();
    // Everything is there: nothing is waited for.
    let read = {
        let reading = pin!(packets.read_to_end(&mut contents));
        reading.poll(&mut Context::from_waker(Waker::noop()))
    };
    match read {
        Poll::Ready(Ok(_)) => Some(contents),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn a_server_says_whether_it_encrypts() {
        assert_eq!(ASK.len(), usize::from(ASK[3]));
        let answer = |encryption| {
            let mut answer = ASK.to_vec();
            (answer[0], answer[25]) = (ANSWER, encryption);
            answer
        };
        assert_eq!(agrees(&answer(1)), Some(true));
        assert_eq!(agrees(&answer(2)), Some(false));
        assert_eq!(agrees(&answer(3)[..20]), None, "not whole");
        assert_eq!(agrees(b"HTTP/1.1 400"), Some(false));
    }

    #[tokio::test]
    async fn what_is_flushed_is_one_message_and_packets_are_read_as_one_stream() {
        let (ours, mut theirs) = duplex(1024);
        let mut packets = Packets::new(ours);
        packets.write_all(b"abc").await.unwrap();
        packets.write_all(b"def").await.unwrap();
        packets.flush().await.unwrap();
        let mut sent = [0; 14];
        theirs.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, *b"\x12\x01\0\x0e\0\0\x01\0abcdef");
        theirs.write_all(b"\x04\0\0\x0a\0\0\x01\0xy\x04\x01\0\x09\0\0\x01\0z").await.unwrap();
        let mut read = [0; 3];
        packets.read_exact(&mut read).await.unwrap();
        assert_eq!(read, *b"xyz");
        theirs.write_all(b"\x04\0\0\x01\0\0\x01\0").await.unwrap();
        assert!(packets.read_u8().await.is_err(), "shorter than its own head");
    }
}
