//! One connection attempt: how it is begun, and what its end says about the port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::finding::{PortState, Reason};
use crate::session::Answer;

/// What the end of a connection attempt means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The port, or something on the way to it, answered.
    Answer(Answer),
    /// The socket is connected to itself: nobody listens, and the probe told nothing.
    SelfConnected,
    /// This machine has no descriptor, memory or local port left.
    Exhausted,
    /// Nothing is known; the session's own time-out decides.
    Nothing,
}

/// Begins to connect. The socket is to be watched until it is writable, also when it is connected at once.
pub(super) fn connect(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket),
    }
}

/// What a socket that has become writable, or has failed, says about `to`.
pub(super) fn verdict(socket: &Socket, to: SocketAddr, sockets_open: usize) -> Verdict {
    match socket.take_error() {
        Ok(Some(error)) | Err(error) => verdict_of(&error, sockets_open),
        // The kernel chose the port asked as the local one, and the SYN met its own socket (RFC 9293 section 3.5,
        // simultaneous open). Somebody listening there would have kept the port from being chosen.
        Ok(None) if socket.local_addr().is_ok_and(|local| local.as_socket() == Some(to)) => Verdict::SelfConnected,
        Ok(None) if socket.peer_addr().is_ok() => {
            Verdict::Answer(Answer { state: PortState::Open, reason: Reason::SynAck })
        }
        // Connected and reset again before anybody looked.
        Ok(None) => Verdict::Answer(Answer { state: PortState::Open, reason: Reason::SynAck }),
    }
}

/// What an error of `connect` says about the port, while `sockets_open` sockets are in use.
pub(super) fn verdict_of(error: &io::Error, sockets_open: usize) -> Verdict {
    let filtered = |reason| Verdict::Answer(Answer { state: PortState::Filtered, reason });
    let closed = |reason| Verdict::Answer(Answer { state: PortState::Closed, reason });
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::ECONNREFUSED => closed(Reason::ConnRefused),
        Errno::ECONNRESET => closed(Reason::Reset),
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => filtered(Reason::HostUnreach),
        Errno::ENETUNREACH | Errno::ENETDOWN | Errno::EAFNOSUPPORT | Errno::EINVAL => filtered(Reason::NetUnreach),
        // With few sockets open no local port is missing: it is the local address, as for IPv6 where there is none.
        Errno::EADDRNOTAVAIL if sockets_open < 1000 => filtered(Reason::NetUnreach),
        Errno::EACCES | Errno::EPERM => filtered(Reason::AdminProhibited),
        Errno::ENOPROTOOPT => filtered(Reason::ProtoUnreach),
        Errno::EADDRNOTAVAIL | Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE => {
            Verdict::Exhausted
        }
        _ => Verdict::Nothing,
    }
}

/// Closes an established connection with a reset, so that no local port waits in TIME_WAIT.
pub(super) fn reset(socket: Socket) {
    // If the option is refused, the connection is closed in the ordinary way.
    let _ = socket.set_linger(Some(Duration::ZERO));
    drop(socket);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn error(errno: Errno) -> io::Error {
        errno.into()
    }

    fn answer(state: PortState, reason: Reason) -> Verdict {
        Verdict::Answer(Answer { state, reason })
    }

    #[test]
    fn errors_are_told_in_nmaps_words() {
        assert_eq!(verdict_of(&error(Errno::ECONNREFUSED), 0), answer(PortState::Closed, Reason::ConnRefused));
        assert_eq!(verdict_of(&error(Errno::EHOSTUNREACH), 0), answer(PortState::Filtered, Reason::HostUnreach));
        assert_eq!(verdict_of(&error(Errno::ENETUNREACH), 0), answer(PortState::Filtered, Reason::NetUnreach));
        assert_eq!(verdict_of(&error(Errno::EPERM), 0), answer(PortState::Filtered, Reason::AdminProhibited));
        assert_eq!(verdict_of(&error(Errno::ETIMEDOUT), 0), Verdict::Nothing);
        assert_eq!(verdict_of(&error(Errno::EMFILE), 0), Verdict::Exhausted);
        assert_eq!(verdict_of(&error(Errno::EADDRNOTAVAIL), 5), answer(PortState::Filtered, Reason::NetUnreach));
        assert_eq!(verdict_of(&error(Errno::EADDRNOTAVAIL), 30_000), Verdict::Exhausted);
    }

    #[test]
    fn a_connection_to_oneself_is_no_open_port() {
        // Bound to a port and connected to it: what the kernel does by chance is done on purpose.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        assert_eq!(verdict(&socket, own.as_socket().unwrap(), 1), Verdict::SelfConnected);
        reset(socket);
    }

    #[test]
    fn a_listener_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let socket = connect(to).unwrap();
        let (_accepted, from) = listener.accept().unwrap();
        assert_eq!(verdict(&socket, to, 1), answer(PortState::Open, Reason::SynAck));
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(from));
    }
}
