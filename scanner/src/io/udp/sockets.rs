//! The datagram sockets of one unit: opened when first needed, written and read by the batch.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::poll::poll;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr, RcvBuf, RcvBufForce};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::finding::{NotProbed, PortState, Reason};
use crate::packet::icmp;
use crate::udp_scan::LANES;

/// Datagrams given to the kernel or taken from it at once.
pub(super) const BATCH: usize = 64;
/// The part of a datagram that is read: more than any answer to what is asked.
const DATAGRAM_BYTES: usize = 4096;
/// Room for answers that arrive while the thread is busy; the kernel gives what it may.
const RECEIVE_BYTES: usize = 4 << 20;
/// How often a full queue is waited for, a millisecond each: one that is emptied has room by then.
const FULL_TRIES: u32 = 250;
/// How often a send is repeated that was met by the error of an earlier datagram: each attempt takes one in.
const STALE_TRIES: u32 = 64;
/// How often an error that may be an earlier datagram's is cleared and the send repeated before it is believed.
const DOUBT_TRIES: u32 = 3;

/// A datagram to send.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) to: SocketAddr,
    pub(super) lane: u8,
    pub(super) bytes: Vec<u8>,
}

/// Something that was read.
#[derive(Debug)]
pub(super) enum Incoming {
    Datagram {
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Error {
        to: SocketAddr,
        by: Option<IpAddr>,
        state: PortState,
        reason: Reason,
    },
    /// It could not be sent.
    NotSent {
        to: SocketAddr,
        why: NotProbed,
    },
    /// It was not sent, as the queue of its interface took nothing for a while.
    Full {
        to: SocketAddr,
    },
}

/// Where a unit's sockets are watched, and under which name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) epoll: &'a Epoll,
    pub(super) name: u64,
}

/// The sockets of one unit, by lane: IPv4 and IPv6.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    v4: [Option<Socket>; LANES as usize],
    v6: [Option<Socket>; LANES as usize],
}

impl Sockets {
    /// Sends datagrams of one lane and family; hands those that were not sent to `refused`. True if a queue that was full has taken
    /// one.
    pub(super) fn send(&mut self, watch: Watch<'_>, batch: &[Outgoing], mut refused: impl FnMut(u8, Incoming)) -> bool {
        let mut has_drained = false;
        let Some(first) = batch.first() else { return has_drained };
        let not_sent = |outgoing: &Outgoing, why| (outgoing.lane, Incoming::NotSent { to: outgoing.to, why });
        let mut refused = |(lane, incoming)| refused(lane, incoming);
        let socket = match self.socket(watch, first) {
            Ok(socket) => socket,
            Err(error) => {
                let reason = local_reason(Errno::from_raw(error.raw_os_error().unwrap_or(0)));
                if let Some(reason) = reason {
                    batch.iter().for_each(|outgoing| refused(not_sent(outgoing, reason)));
                }
                return has_drained;
            }
        };
        let (mut sent, mut full, mut stale, mut doubt) = (0, 0, 0, 0);
        while let Some(rest) = batch.get(sent..).filter(|rest| !rest.is_empty()) {
            match send_some(socket, rest) {
                Ok(count) => {
                    sent += count.max(1);
                    // What another interface takes behind one that was given up says nothing of the full one.
                    has_drained |= full > 0 && full < FULL_TRIES;
                    (full, stale, doubt) = (0, 0, 0);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) if full < FULL_TRIES => {
                    full += 1;
                    wait_a_millisecond();
                }
                // The same says a link whose other end is gone, before this one notices.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => {
                    let outgoing = rest.first();
                    outgoing.into_iter().for_each(|it| refused((it.lane, Incoming::Full { to: it.to })));
                    sent += 1;
                }
                // Only ever about an earlier datagram.
                Err(Errno::ECONNREFUSED) if stale < STALE_TRIES => stale += 1,
                Err(errno) => {
                    let reason = local_reason(errno);
                    if reason.is_some() && doubt < DOUBT_TRIES {
                        doubt += 1;
                        let _ = socket.take_error();
                        continue;
                    }
                    if let (Some(reason), Some(outgoing)) = (reason, rest.first()) {
                        refused(not_sent(outgoing, reason));
                    }
                    sent += 1;
                    (stale, doubt) = (0, 0);
                }
            }
        }
        has_drained
    }

    /// Reads what has arrived, at most a batch of each kind per socket; `hear` is told the lane. True if there may be
    /// more.
    pub(super) fn receive(&self, buffers: &mut Buffers, mut hear: impl FnMut(u8, Incoming)) -> bool {
        let mut has_more = false;
        for lanes in [&self.v4, &self.v6] {
            for (lane, socket) in (0_u8..).zip(lanes).filter_map(|(lane, socket)| Some((lane, socket.as_ref()?))) {
                // Errors first: what the kernel reports about a socket is then taken back.
                has_more |= buffers.read(socket, MsgFlags::MSG_ERRQUEUE, |incoming| hear(lane, incoming));
                has_more |= buffers.read(socket, MsgFlags::empty(), |incoming| hear(lane, incoming));
            }
        }
        has_more
    }

    fn socket(&mut self, watch: Watch<'_>, outgoing: &Outgoing) -> io::Result<&Socket> {
        let lanes = if outgoing.to.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let slot = lanes.get_mut(usize::from(outgoing.lane % LANES)).expect("a remainder is below its divisor");
        if slot.is_none() {
            let socket = open(outgoing.to)?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLERR, watch.name);
            watch.epoll.add(&socket, event)?;
            *slot = Some(socket);
        }
        Ok(slot.as_ref().expect("just filled"))
    }
}

/// A socket that can be read for errors, with a port that the kernel chooses.
fn open(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    match to {
        SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            setsockopt(&socket, Ipv6RecvErr, &true)?;
        }
    }
    // Without the right to more, as much as anyone may have.
    if setsockopt(&socket, RcvBufForce, &RECEIVE_BYTES).is_err() {
        let _ = setsockopt(&socket, RcvBuf, &RECEIVE_BYTES);
    }
    Ok(socket)
}

/// Gives the kernel datagrams; returns how many it took.
fn send_some(socket: &Socket, batch: &[Outgoing]) -> Result<usize, Errno> {
    let batch = batch.get(..BATCH).unwrap_or(batch);
    let parts: Vec<[IoSlice<'_>; 1]> = batch.iter().map(|outgoing| [IoSlice::new(&outgoing.bytes)]).collect();
    let addresses: Vec<Option<SockaddrStorage>> = batch.iter().map(|outgoing| Some(outgoing.to.into())).collect();
    let mut headers = MultiHeaders::preallocate(batch.len(), None);
    sendmmsg(socket.as_raw_fd(), &mut headers, &parts, &addresses, [], MsgFlags::empty()).map(Iterator::count)
}

fn wait_a_millisecond() {
    // Not for the socket, which has room all the time. An interrupted wait is as good as one that has ended.
    let _ = poll(&mut [], 1_u16);
}

/// Why this machine has no way to a target, if that is what an error of its own says.
fn local_reason(errno: Errno) -> Option<NotProbed> {
    match errno {
        Errno::ENETUNREACH
        | Errno::EHOSTUNREACH
        | Errno::EHOSTDOWN
        | Errno::EACCES
        | Errno::EAFNOSUPPORT
        | Errno::EINVAL
        | Errno::EADDRNOTAVAIL => Some(NotProbed::NoRoute),
        Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO => Some(NotProbed::InterfaceDown),
        Errno::EPERM | Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => Some(NotProbed::SendRefused),
        _ => None,
    }
}

/// Where datagrams are read into, used again and again.
#[derive(Debug)]
pub(super) struct Buffers {
    bytes: Box<[[u8; DATAGRAM_BYTES]]>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { bytes: vec![[0; DATAGRAM_BYTES]; BATCH].into() }
    }

    /// Reads a batch; true if it was full.
    fn read(&mut self, socket: &Socket, flags: MsgFlags, mut hear: impl FnMut(Incoming)) -> bool {
        let mut parts: Vec<[IoSliceMut<'_>; 1]> = self.bytes.iter_mut().map(|bytes| [IoSliceMut::new(bytes)]).collect();
        // New ones each time: the kernel leaves in them how much of each it used.
        let space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(space));
        let flags = flags | MsgFlags::MSG_DONTWAIT;
        let Ok(messages) = recvmmsg(socket.as_raw_fd(), &mut headers, parts.iter_mut(), flags, None) else {
            // Nothing there, or the error of an earlier datagram, whose story is in the error queue.
            return false;
        };
        let mut count = 0;
        for message in messages {
            count += 1;
            let Some(address) = message.address.as_ref().and_then(socket_address) else { continue };
            if flags.contains(MsgFlags::MSG_ERRQUEUE) {
                let Ok(mut controls) = message.cmsgs() else { continue };
                if let Some(error) = controls.find_map(|control| error_of(&control, address)) {
                    hear(error);
                }
            } else {
                let bytes = message.iovs().next().unwrap_or_default().to_vec();
                hear(Incoming::Datagram { from: address, bytes });
            }
        }
        count == BATCH
    }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4(SocketAddrV4::from(*address)));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6(SocketAddrV6::from(*address))))
}

/// What an entry of an error queue says about a datagram that was sent to `to`.
fn error_of(control: &ControlMessageOwned, to: SocketAddr) -> Option<Incoming> {
    let (error, by) = match control {
        ControlMessageOwned::Ipv4RecvErr(error, by) => {
            (error, by.map(|by| IpAddr::from(u32::from_be(by.sin_addr.s_addr).to_be_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, by) => (error, by.map(|by| IpAddr::from(by.sin6_addr.s6_addr))),
        _ => return None,
    };
    let (state, reason) = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => state_of(icmp::reason(error.ee_type, error.ee_code)?),
        libc::SO_EE_ORIGIN_ICMP6 => state_of(icmp::reason_v6(error.ee_type, error.ee_code)?),
        _ => {
            let why = local_reason(Errno::from_raw(i32::try_from(error.ee_errno).ok()?))?;
            return Some(Incoming::NotSent { to, why });
        }
    };
    let by = by.filter(|by| !by.is_unspecified());
    Some(Incoming::Error { to, by, state, reason })
}

/// What the reason of an ICMP error says of a datagram's port.
fn state_of(reason: Reason) -> (PortState, Reason) {
    let is_closed = reason == Reason::PortUnreach;
    (if is_closed { PortState::Closed } else { PortState::Filtered }, reason)
}
