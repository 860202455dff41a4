//! One connection attempt: how it is begun, and what its end says about the port.
//!
//! Most ports are closed, so what a refused connection costs is what a scan costs. Linux lets a socket be used again
//! once its attempt has failed: the second `connect` with the same socket returns the first one's error and leaves the
//! socket as new. A closed port then takes two system calls, and no socket is made, watched or closed for it.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

#[cfg(target_os = "linux")]
use super::refusal::{self, Refusal};
use crate::connect_scan::Answer;
use crate::finding::{BANNER_BYTES_MAX, NotProbed, PortState, Reason};

/// What a connection attempt says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::io) enum Verdict {
    /// The port, or something on the way to it, answered.
    Answer(Answer),
    /// The socket is connected to itself: nobody listens, and the probe told nothing.
    SelfConnected,
    /// This machine has no descriptor, memory or local port left.
    Exhausted,
    /// The attempt is still going on.
    Pending,
    /// It has ended and nothing is known; the scan's own time-out decides.
    Nothing,
    /// It never began: this machine has no way to send it.
    NotSent(NotProbed),
    /// An ICMP error came while the kernel still tries: within the call that began the attempt, from a machine near by.
    Refused(Answer),
    /// Such an error came from this machine itself, whose own filter let the attempt not out.
    RefusedHere(Reason),
}

/// A socket that can [`begin`] to connect to addresses of the family of `to`.
pub(in crate::io) fn open(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    #[cfg(target_os = "linux")]
    refusal::keep(&socket, to)?;
    Ok(socket)
}

/// Begins to connect. An error is the whole answer; otherwise [`verdict`] tells, once the socket is writable.
pub(in crate::io) fn begin(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if errno(&error) != Errno::EINPROGRESS => Err(error),
        _ => Ok(()),
    }
}

/// What an attempt begun with [`begin`] says. Once that is anything but [`Verdict::Pending`], the attempt is over: a
/// socket that is not connected is as new, and asking again would begin another attempt.
pub(in crate::io) fn verdict(socket: &Socket, to: SocketAddr, sockets_open: usize) -> Verdict {
    match socket.connect(&to.into()) {
        Err(error) => match errno(&error) {
            // The kernel goes on after an error that met it within the call, and would be told the same a second later.
            Errno::EALREADY | Errno::EINPROGRESS => refused_meanwhile(socket, to).unwrap_or(Verdict::Pending),
            Errno::EINTR => Verdict::Pending,
            Errno::EISCONN => connected(socket, to),
            _ => refused(socket, to).unwrap_or_else(|| verdict_of(&error, sockets_open)),
        },
        Ok(()) => connected(socket, to),
    }
}

/// What an established connection says.
fn connected(socket: &Socket, to: SocketAddr) -> Verdict {
    // The kernel chose the port asked as the local one, and the SYN met its own socket (RFC 9293 section 3.5,
    // simultaneous open). Somebody listening there would have kept the port from being chosen.
    if socket.local_addr().is_ok_and(|local| local.as_socket() == Some(to)) {
        return Verdict::SelfConnected;
    }
    Verdict::Answer(Answer::own(PortState::Open, Reason::SynAck))
}

/// What an ICMP error says by which an attempt has failed, if it was one: whatever the kernel calls it, only a reset is the word of
/// a closed port.
#[cfg(target_os = "linux")]
fn refused(socket: &Socket, to: SocketAddr) -> Option<Verdict> {
    refusal::read(socket).map(|refusal| Verdict::Answer(answer_of(&refusal, to)))
}

#[cfg(not(target_os = "linux"))]
fn refused(_: &Socket, _: SocketAddr) -> Option<Verdict> {
    None
}

/// What an ICMP error says about an attempt that goes on. One in this machine's own name about another is a filter's on the way
/// out; but for that of a neighbour who does not answer, which the kernel tells in its own name as well.
#[cfg(target_os = "linux")]
fn refused_meanwhile(socket: &Socket, to: SocketAddr) -> Option<Verdict> {
    let refusal = refusal::read(socket)?;
    let answer = answer_of(&refusal, to);
    let own = socket.local_addr().ok().and_then(|own| own.as_socket());
    let is_ours = own.is_some_and(|own| refusal.by == Some(own.ip().to_canonical()));
    if is_ours && !answer.is_own_word && refusal.reason != Reason::HostUnreach {
        return Some(Verdict::RefusedHere(refusal.reason));
    }
    Some(Verdict::Refused(answer))
}

#[cfg(not(target_os = "linux"))]
fn refused_meanwhile(_: &Socket, _: SocketAddr) -> Option<Verdict> {
    None
}

#[cfg(target_os = "linux")]
fn answer_of(Refusal { reason, by }: &Refusal, to: SocketAddr) -> Answer {
    let is_own_word = by.is_some_and(|by| by.to_canonical() == to.ip().to_canonical());
    Answer { state: PortState::Filtered, reason: *reason, is_own_word }
}

/// Whether a socket with this verdict has to be closed instead of being used again.
pub(in crate::io) fn is_connected(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Answer(answer) => answer.state == PortState::Open,
        // Or, of a refused one, be connected yet: the kernel still tries.
        Verdict::SelfConnected | Verdict::Nothing | Verdict::Pending => true,
        Verdict::Refused(_) | Verdict::RefusedHere(_) => true,
        Verdict::Exhausted | Verdict::NotSent(_) => false,
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// What it means that an attempt did not [`begin`], while `sockets_open` sockets are in use: whatever this machine's own
/// routes and filters refuse is no word of the host.
pub(in crate::io) fn verdict_of_begin(error: &io::Error, sockets_open: usize) -> Verdict {
    match errno(error) {
        Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO => Verdict::NotSent(NotProbed::InterfaceDown),
        Errno::EPERM => Verdict::NotSent(NotProbed::SendRefused),
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL | Errno::EAFNOSUPPORT => {
            Verdict::NotSent(NotProbed::NoRoute)
        }
        // With few sockets open no local port is missing: it is the local address, as for IPv6 where there is none.
        Errno::EADDRNOTAVAIL if sockets_open < 1000 => Verdict::NotSent(NotProbed::NoRoute),
        // Over loopback the host answers within the call.
        _ => verdict_of(error, sockets_open),
    }
}

/// What an error of `connect` says about the port, while `sockets_open` sockets are in use.
pub(in crate::io) fn verdict_of(error: &io::Error, sockets_open: usize) -> Verdict {
    let filtered = |reason| Verdict::Answer(Answer::on_the_way(reason));
    match errno(error) {
        Errno::ECONNREFUSED => Verdict::Answer(Answer::own(PortState::Closed, Reason::ConnRefused)),
        // A reset before the handshake is a refusal to the kernel; any other reset came after it, from a service that
        // accepted and hung up at once.
        Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED => {
            Verdict::Answer(Answer::own(PortState::Open, Reason::SynAck))
        }
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

/// Reads the words that have come on a connection behind those that were `heard`; true if there is nothing more to wait
/// for: with the first line, with enough, or with the connection's end.
pub(in crate::io) fn read_words(mut socket: &Socket, heard: &mut Vec<u8>) -> bool {
    let mut buffer = [0; BANNER_BYTES_MAX];
    loop {
        let left = BANNER_BYTES_MAX - heard.len();
        match socket.read(buffer.get_mut(..left).unwrap_or_default()) {
            Ok(0) => return true,
            Ok(count) => heard.extend(buffer.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return heard.ends_with(b"\n"),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
}

/// Closes an established connection with a reset, so that no local port waits in TIME_WAIT.
pub(in crate::io) fn reset(socket: Socket) {
    // If the option is refused, the connection is closed in the ordinary way.
    let _ = socket.set_linger(Some(Duration::ZERO));
    drop(socket);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, poll};

    use super::*;

    fn error(errno: Errno) -> io::Error {
        errno.into()
    }

    fn answer(state: PortState, reason: Reason) -> Verdict {
        let is_own_word = state != PortState::Filtered;
        Verdict::Answer(Answer { state, reason, is_own_word })
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

    /// Waits until an attempt is over.
    fn wait(socket: &Socket, to: SocketAddr) -> Verdict {
        let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        assert_eq!(poll(&mut polled, 5000_u16), Ok(1));
        verdict(socket, to, 1)
    }

    #[test]
    fn a_connection_to_oneself_is_no_open_port() {
        // Bound to a port and connected to it: what the kernel does by chance is done on purpose.
        let socket = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        begin(&socket, own).unwrap();
        assert_eq!(wait(&socket, own), Verdict::SelfConnected);
        reset(socket);
    }

    #[test]
    fn one_socket_asks_many_closed_ports_and_then_an_open_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open_port = listener.local_addr().unwrap();
        let socket = open(open_port).unwrap();
        let closed: Vec<SocketAddr> = (0..20)
            .map(|_| TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap())
            .collect();
        for to in closed {
            begin(&socket, to).unwrap();
            assert_eq!(wait(&socket, to), answer(PortState::Closed, Reason::ConnRefused));
        }
        begin(&socket, open_port).unwrap();
        assert_eq!(wait(&socket, open_port), answer(PortState::Open, Reason::SynAck));
        let (_accepted, from) = listener.accept().unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(from));
    }

    #[test]
    fn a_service_that_hangs_up_at_once_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let socket = open(to).unwrap();
        begin(&socket, to).unwrap();
        reset(Socket::from(listener.accept().unwrap().0));
        assert_eq!(wait(&socket, to), answer(PortState::Open, Reason::SynAck));
    }

    #[test]
    fn an_attempt_that_goes_on_is_pending() {
        // A listener whose queue is full drops further SYNs.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let to = listener.local_addr().unwrap().as_socket().unwrap();
        let sockets: Vec<Socket> = (0..8).map(|_| open(to).unwrap()).collect();
        for socket in &sockets {
            begin(socket, to).unwrap();
        }
        assert_eq!(verdict(&sockets[7], to, 8), Verdict::Pending);
        assert_eq!(verdict(&sockets[7], to, 8), Verdict::Pending);
    }
}
