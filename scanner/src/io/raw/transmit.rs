//! The sending sockets: probes in batches.
//!
//! Packets for others go to a packet socket without a link header (`SOCK_DGRAM`): the kernel puts the interface's own in
//! front, so one path serves Ethernet and links that have no addresses. Packets for this machine itself go to raw IP
//! sockets: what comes in from outside with an address of loopback is not believed by the kernel, whoever injects it.
#![expect(unsafe_code, reason = "sendmmsg has no safe form; each block says why it is sound")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

use nix::poll::poll;
use socket2::{Domain, Protocol, Socket, Type};

use super::routes::Link;
use crate::io::clock;
use crate::packet::arp::Mac;
use crate::packet::template::PACKET_BYTES;

/// Packets given to the kernel at once: more gain nothing, and answers wait while they are sent.
pub(super) const BATCH: usize = 64;
/// How often a full queue of the interface is tried again at once, before what is left waits for the next turn.
const FULL_TRIES: u32 = 32;
/// A queue that has not taken a single packet for so long will not take one: what is left is refused. One that was not met full
/// for as long is full anew.
const FULL_MAX: Duration = Duration::from_secs(3);
/// Room for packets on their way to the interface.
const SEND_BUFFER_BYTES: usize = 4 << 20;

/// A batch of probes.
#[derive(Debug)]
pub(super) struct Transmitter {
    outward: Socket,
    /// To this machine itself, over IPv4 and IPv6; a kernel without IPv6 has no socket for it.
    own_v4: Socket,
    own_v6: Option<Socket>,
    packets: Box<[[u8; PACKET_BYTES]; BATCH]>,
    lengths: [usize; BATCH],
    addresses: Box<[Destination; BATCH]>,
    count: usize,
    /// Packets of the batch that are out.
    sent: usize,
    /// Queues that were met full and have taken nothing since: a few.
    full: Vec<Full>,
    /// Which socket the batch is for.
    lane: Lane,
    /// Whom the packets of the batch are for.
    targets: [IpAddr; BATCH],
    /// Whom the kernel has refused to send to, and with which error, until that is asked for.
    pub(super) refused: Vec<(IpAddr, i32)>,
}

/// A full queue: of which interface, since when, and when it was met so last.
#[derive(Debug, Clone, Copy)]
struct Full {
    interface: i32,
    since: Duration,
    last: Duration,
}

/// The sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Outward,
    OwnV4,
    OwnV6,
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy)]
enum Destination {
    Link(libc::sockaddr_ll),
    OwnV4(libc::sockaddr_in),
    OwnV6(libc::sockaddr_in6),
}

impl Transmitter {
    pub(super) fn open() -> io::Result<Self> {
        let raw = |domain| {
            let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::from(libc::IPPROTO_RAW)))?;
            // It receives nothing: of this protocol number there are no packets.
            socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
            Ok::<Socket, io::Error>(socket)
        };
        // Protocol 0: it receives nothing.
        let outward = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(Protocol::from(0)))?;
        outward.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        Ok(Self {
            outward,
            own_v4: raw(Domain::IPV4)?,
            own_v6: raw(Domain::IPV6).ok(),
            packets: Box::new([[0; PACKET_BYTES]; BATCH]),
            lengths: [0; BATCH],
            addresses: Box::new(std::array::from_fn(|_| Destination::Link(link_address(0, 0, [0; 6])))),
            count: 0,
            sent: 0,
            full: Vec::new(),
            lane: Lane::Outward,
            targets: [IpAddr::V4(Ipv4Addr::UNSPECIFIED); BATCH],
            refused: Vec::new(),
        })
    }

    /// Its packet socket, to be closed.
    pub(super) fn into_outward(self) -> Socket {
        self.outward
    }

    /// Adds a packet to `to` that leaves by a link to a hardware address; `write` returns its length. What does not fit
    /// into the batch begins another.
    pub(super) fn push(
        &mut self,
        link: &Link,
        to: IpAddr,
        mac: Mac,
        write: impl FnOnce(&mut [u8; PACKET_BYTES]) -> usize,
    ) {
        let address = destination(link, to, mac);
        let lane = address.lane();
        if self.count == BATCH || (lane != self.lane && self.count > 0) {
            self.clear();
        }
        self.lane = lane;
        let slots =
            (self.packets.get_mut(self.count), self.lengths.get_mut(self.count), self.addresses.get_mut(self.count));
        let (Some(packet), Some(length), Some(slot)) = slots else { return };
        *length = write(packet);
        *slot = address;
        self.targets.get_mut(self.count).into_iter().for_each(|target| *target = to);
        // What is no packet is not sent.
        self.count += usize::from(*length > 0);
    }

    /// Whether packets wait for a full queue of the interface: then nothing more is given out.
    pub(super) fn is_held_up(&self) -> bool {
        self.sent < self.count
    }

    /// Sends the batch, as far as there is room for it: a full queue says nothing about a packet but that its time has not come, so
    /// what is left stays for the next call, however often a target is asked. Only what a queue that is stuck does not take is refused.
    pub(super) fn flush(&mut self) {
        let mut full = 0;
        while self.is_held_up() {
            match self.send_from(self.sent) {
                Ok(more) => {
                    full = 0;
                    self.have_taken(more);
                    self.sent += more.max(1);
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOBUFS | libc::EAGAIN) if full < FULL_TRIES => {
                        full += 1;
                        std::thread::yield_now();
                    }
                    Some(libc::ENOBUFS | libc::EAGAIN) if !self.is_stuck() => return,
                    Some(libc::EINTR) => {}
                    code => {
                        // This packet's interface is down or gone; the others' may not be.
                        let refused = self.targets.get(self.sent).map(|target| (*target, code.unwrap_or(0)));
                        self.refused.extend(refused);
                        self.sent += 1;
                    }
                },
            }
        }
        (self.count, self.sent) = (0, 0);
    }

    /// The queues of the next packets have taken so many.
    fn have_taken(&mut self, count: usize) {
        if !self.full.is_empty() {
            let taken = self.addresses.iter().skip(self.sent).take(count);
            let (taken, full): (Vec<i32>, _) = (taken.map(Destination::interface).collect(), &mut self.full);
            full.retain(|full| !taken.contains(&full.interface));
        }
    }

    /// Whether the queue of the next packet, which has no room now, has had none for so long that nobody empties it.
    fn is_stuck(&mut self) -> bool {
        let interface = self.addresses.get(self.sent).map_or(0, Destination::interface);
        is_stuck(&mut self.full, interface, clock::now())
    }

    /// Makes room for a packet of another batch.
    fn clear(&mut self) {
        loop {
            self.flush();
            if !self.is_held_up() {
                return;
            }
            // A few of one turn do not fit beside what is held up.
            let _ = poll(&mut [], 1_u16);
        }
    }

    /// Hands the kernel the packets from `first` on; returns how many it took.
    fn send_from(&mut self, first: usize) -> io::Result<usize> {
        let socket = match self.lane {
            Lane::Outward => &self.outward,
            Lane::OwnV4 => &self.own_v4,
            Lane::OwnV6 => self.own_v6.as_ref().ok_or(io::ErrorKind::Unsupported)?,
        };
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: an all-zero message header is a valid one, without name, buffers or control data.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let packets = self.packets.iter_mut().zip(self.lengths).zip(self.addresses.iter_mut());
        let pending = packets.take(self.count).skip(first);
        let mut count: libc::c_uint = 0;
        for (((packet, length), address), (part, message)) in pending.zip(parts.iter_mut().zip(messages.iter_mut())) {
            part.iov_base = packet.as_mut_ptr().cast();
            part.iov_len = length;
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            let (name, name_length) = match address {
                Destination::Link(address) => (ptr::from_mut(address).cast(), LINK_ADDRESS_BYTES),
                Destination::OwnV4(address) => (ptr::from_mut(address).cast(), IPV4_ADDRESS_BYTES),
                Destination::OwnV6(address) => (ptr::from_mut(address).cast(), IPV6_ADDRESS_BYTES),
            };
            message.msg_hdr.msg_name = name;
            message.msg_hdr.msg_namelen = name_length;
            count += 1;
        }
        // SAFETY: the first `count` messages point to packets, addresses and parts that live through the call, with
        // their true lengths.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
    }
}

/// Notes that the queue of an interface is full; true if it is so for so long that nobody empties it.
fn is_stuck(met: &mut Vec<Full>, interface: i32, now: Duration) -> bool {
    met.retain(|full| now <= full.last + FULL_MAX);
    match met.iter_mut().find(|full| full.interface == interface) {
        Some(full) => {
            full.last = now;
            now > full.since + FULL_MAX
        }
        None => {
            met.push(Full { interface, since: now, last: now });
            false
        }
    }
}

impl Destination {
    /// The number of the interface; that of this machine itself is 0.
    fn interface(&self) -> i32 {
        match self {
            Self::Link(address) => address.sll_ifindex,
            Self::OwnV4(_) | Self::OwnV6(_) => 0,
        }
    }

    /// The socket that such packets leave by.
    fn lane(&self) -> Lane {
        match self {
            Self::Link(_) => Lane::Outward,
            Self::OwnV4(_) => Lane::OwnV4,
            Self::OwnV6(_) => Lane::OwnV6,
        }
    }
}

fn destination(link: &Link, to: IpAddr, mac: Mac) -> Destination {
    let outward = |protocol| Destination::Link(link_address(ether_type(protocol), link.interface, mac));
    match to {
        IpAddr::V4(to) if link.is_local => Destination::OwnV4(own_v4(to)),
        IpAddr::V6(to) if link.is_local => Destination::OwnV6(own_v6(to, link.interface)),
        IpAddr::V4(_) => outward(libc::ETH_P_IP),
        IpAddr::V6(_) => outward(libc::ETH_P_IPV6),
    }
}

fn own_v4(to: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: family(libc::AF_INET),
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.octets()) },
        sin_zero: [0; 8],
    }
}

fn own_v6(to: Ipv6Addr, interface: u32) -> libc::sockaddr_in6 {
    // An interface is only said where the address means nothing without it; elsewhere the kernel would be held to it.
    let is_link_local = to.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80);
    libc::sockaddr_in6 {
        sin6_family: family(libc::AF_INET6),
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: to.octets() },
        sin6_scope_id: if is_link_local { interface } else { 0 },
    }
}

fn family(number: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).expect("a family is a small number")
}

/// Lengths of the addresses of IP sockets.
#[expect(clippy::cast_possible_truncation, reason = "sixteen and twenty-eight bytes")]
const IPV4_ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;
#[expect(clippy::cast_possible_truncation, reason = "sixteen and twenty-eight bytes")]
const IPV6_ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
/// Length of a packet socket's address.
#[expect(clippy::cast_possible_truncation, reason = "twenty bytes")]
pub(super) const LINK_ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// An EtherType in network order.
pub(super) fn ether_type(number: libc::c_int) -> u16 {
    u16::try_from(number).expect("an EtherType is two bytes").to_be()
}

/// The address of a hardware address on an interface; interface 0 for all.
pub(super) fn link_address(protocol: u16, interface: u32, mac: Mac) -> libc::sockaddr_ll {
    let mut address = [0; 8];
    address.iter_mut().zip(mac).for_each(|(byte, value)| *byte = value);
    libc::sockaddr_ll {
        sll_family: family(libc::AF_PACKET),
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(interface).unwrap_or(0),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_stuck_once_it_was_met_full_for_seconds_and_each_by_itself() {
        let (at, mut met) = (Duration::from_millis, Vec::new());
        let stuck = |met: &mut Vec<Full>, interface, ms| is_stuck(met, interface, at(ms));
        assert!(!stuck(&mut met, 1, 1000) && !stuck(&mut met, 1, 2500) && !stuck(&mut met, 2, 3900));
        assert!(stuck(&mut met, 1, 4001) && !stuck(&mut met, 2, 4001), "the other one is full for a moment");
        assert!(stuck(&mut met, 1, 7000), "it stays stuck while it is met so");
        assert!(!stuck(&mut met, 1, 10_001), "what is full seconds later is full anew");
        assert_eq!(met.len(), 1, "and those that were not met are forgotten");
    }
}
