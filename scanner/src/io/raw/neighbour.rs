//! The sockets by which next hops are asked for their hardware addresses: ARP over IPv4, neighbour discovery over IPv6.
#![expect(unsafe_code, reason = "packet addresses have no safe form; each block says why it is sound")]

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::routes::Link;
use super::transmit::{LINK_ADDRESS_BYTES, ether_type, link_address};
use crate::packet::arp::{self, Mac};
use crate::packet::nd;

/// Longest message that is read: an advertisement with some options.
const MESSAGE_BYTES: usize = 256;

/// Requests out, every answer in.
#[derive(Debug)]
pub(super) struct Resolver {
    arp: Socket,
    nd: Socket,
}

/// An answer: by which interface it came, who has given it, and their hardware address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Advertised {
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    pub(super) mac: Mac,
}

impl Resolver {
    pub(super) fn open() -> io::Result<Self> {
        let open = |protocol| {
            let protocol = Protocol::from(i32::from(ether_type(protocol)));
            Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(protocol))
        };
        let nd = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(Protocol::from(0)))?;
        // Advertisements alone: the whole of other people's IPv6 would be too much to look at.
        nd.attach_filter(&[
            SockFilter::new(0x30, 0, 0, 6),
            SockFilter::new(0x15, 0, 3, 58),
            SockFilter::new(0x30, 0, 0, 40),
            SockFilter::new(0x15, 0, 1, 136),
            SockFilter::new(0x06, 0, 0, u32::try_from(MESSAGE_BYTES).expect("a small number")),
            SockFilter::new(0x06, 0, 0, 0),
        ])?;
        let address = link_address(ether_type(libc::ETH_P_IPV6), 0, [0; 6]);
        // SAFETY: the pointer and length are those of a socket address that lives through the call.
        let bound = unsafe { libc::bind(nd.as_raw_fd(), ptr::from_ref(&address).cast(), LINK_ADDRESS_BYTES) };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { arp: open(libc::ETH_P_ARP)?, nd })
    }

    /// Asks on a link for the hardware address of `wanted`.
    pub(super) fn ask(&self, link: &Link, wanted: IpAddr) -> io::Result<()> {
        match (link.from, wanted) {
            (IpAddr::V4(from), IpAddr::V4(wanted)) => {
                let bytes = arp::request(link.mac, from.to_bits(), wanted.to_bits());
                send(&self.arp, &bytes, &link_address(ether_type(libc::ETH_P_ARP), link.interface, [0xff; 6]))
            }
            (IpAddr::V6(from), IpAddr::V6(wanted)) => {
                let bytes = nd::solicitation(link.mac, from, wanted);
                let group = nd::group(wanted).1;
                send(&self.nd, &bytes, &link_address(ether_type(libc::ETH_P_IPV6), link.interface, group))
            }
            // An IPv4 route through an IPv6 router: it is asked from where it can answer to, by the kernel alone.
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// An answer that has come, if any.
    pub(super) fn next(&self) -> Option<Advertised> {
        // Other people's questions are read past.
        while let Some(Message { interface, bytes }) = receive(&self.arp) {
            if let Some((address, mac)) = arp::reply(&bytes) {
                return Some(Advertised { interface, address: Ipv4Addr::from_bits(address).into(), mac });
            }
        }
        while let Some(Message { interface, bytes }) = receive(&self.nd) {
            if let Some((address, mac)) = nd::advertisement(&bytes) {
                return Some(Advertised { interface, address: address.into(), mac });
            }
        }
        None
    }

    /// Its packet sockets, to be closed.
    pub(super) fn into_sockets(self) -> [Socket; 2] {
        [self.arp, self.nd]
    }

    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.arp.as_fd(), self.nd.as_fd()]
    }
}

fn send(socket: &Socket, bytes: &[u8], address: &libc::sockaddr_ll) -> io::Result<()> {
    let (fd, name) = (socket.as_raw_fd(), ptr::from_ref(address).cast());
    // SAFETY: the pointers and lengths are those of a packet and an address that live through the call.
    let sent = unsafe { libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), 0, name, LINK_ADDRESS_BYTES) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What came in by an interface.
struct Message {
    interface: u32,
    bytes: Vec<u8>,
}

/// The next message of a socket.
fn receive(socket: &Socket) -> Option<Message> {
    let mut buffer = [MaybeUninit::uninit(); MESSAGE_BYTES];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    // SAFETY: the kernel has filled so many bytes of the buffer.
    let bytes = buffer.iter().take(length).map(|byte| unsafe { byte.assume_init() }).collect();
    if i32::from(from.family()) != libc::AF_PACKET {
        return None;
    }
    // SAFETY: an address of this family is a `sockaddr_ll`, which fits into the storage that `from` is.
    let interface = unsafe { (*from.as_ptr().cast::<libc::sockaddr_ll>()).sll_ifindex };
    Some(Message { interface: u32::try_from(interface).ok()?, bytes })
}
