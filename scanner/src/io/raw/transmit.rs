//! The sending sockets: SYNs in batches, ARP requests one by one.
//!
//! Both hand the kernel packets without a link header (`SOCK_DGRAM`): it puts the interface's own in front, so one
//! path serves Ethernet and links that have no addresses.
#![expect(unsafe_code, reason = "sendmmsg and packet addresses have no safe form; each block says why it is sound")]

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::packet::arp::{self, Mac};
use crate::packet::syn::SYN_BYTES;

/// Packets given to the kernel at once: more gain nothing, and answers wait while they are sent.
pub(super) const BATCH: usize = 64;
/// How often a full queue of the interface is tried again before the rest of a batch is given up: what is not sent is
/// lost like any packet, and found missing by the canaries.
const FULL_TRIES: u32 = 2000;

/// A batch of SYNs.
#[derive(Debug)]
pub(super) struct Transmitter {
    socket: Socket,
    packets: Box<[[u8; SYN_BYTES]; BATCH]>,
    addresses: Box<[libc::sockaddr_ll; BATCH]>,
    count: usize,
    /// Packets that the kernel refused.
    pub(super) refused: u64,
}

impl Transmitter {
    pub(super) fn open() -> io::Result<Self> {
        // Protocol 0: it receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(Protocol::from(0)))?;
        socket.set_send_buffer_size(4 << 20)?;
        let addresses = Box::new([link_address(0, 0, [0; 6]); BATCH]);
        Ok(Self { socket, packets: Box::new([[0; SYN_BYTES]; BATCH]), addresses, count: 0, refused: 0 })
    }

    /// How many more packets fit in the batch.
    pub(super) fn room(&self) -> usize {
        BATCH - self.count
    }

    /// Adds a packet that leaves by an interface to a hardware address; a full batch takes none.
    pub(super) fn push(&mut self, interface: u32, mac: Mac, write: impl FnOnce(&mut [u8; SYN_BYTES])) {
        let (Some(packet), Some(address)) = (self.packets.get_mut(self.count), self.addresses.get_mut(self.count))
        else {
            return;
        };
        write(packet);
        *address = link_address(ether_type(libc::ETH_P_IP), interface, mac);
        self.count += 1;
    }

    /// Sends the batch.
    pub(super) fn flush(&mut self) {
        let (mut sent, mut full) = (0, 0);
        while sent < self.count {
            match self.send_from(sent) {
                Ok(more) => sent += more.max(1),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOBUFS | libc::EAGAIN) if full < FULL_TRIES => {
                        full += 1;
                        std::thread::yield_now();
                    }
                    Some(libc::EINTR) => {}
                    _ => {
                        // This packet's interface is down or gone; the others' may not be.
                        self.refused += 1;
                        sent += 1;
                    }
                },
            }
        }
        self.count = 0;
    }

    /// Hands the kernel the packets from `first` on; returns how many it took.
    fn send_from(&mut self, first: usize) -> io::Result<usize> {
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: SYN_BYTES }; BATCH];
        // SAFETY: an all-zero message header is a valid one, without name, buffers or control data.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let pending = self.packets.iter_mut().zip(self.addresses.iter_mut()).take(self.count).skip(first);
        let mut count: libc::c_uint = 0;
        for ((packet, address), (part, message)) in pending.zip(parts.iter_mut().zip(messages.iter_mut())) {
            part.iov_base = packet.as_mut_ptr().cast();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = ptr::from_mut(address).cast();
            message.msg_hdr.msg_namelen = ADDRESS_BYTES;
            count += 1;
        }
        // SAFETY: the first `count` messages point to packets, addresses and parts that live through the call, with
        // their true lengths.
        let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
    }
}

/// A socket for ARP: requests out, every ARP packet in.
#[derive(Debug)]
pub(super) struct ArpSocket {
    socket: Socket,
}

impl ArpSocket {
    pub(super) fn open() -> io::Result<Self> {
        let protocol = i32::from(ether_type(libc::ETH_P_ARP));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(Protocol::from(protocol)))?;
        Ok(Self { socket })
    }

    /// Asks everyone on a link for the hardware address of `wanted`.
    pub(super) fn ask(&self, interface: u32, own: Mac, from: u32, wanted: u32) -> io::Result<()> {
        let address = link_address(ether_type(libc::ETH_P_ARP), interface, [0xff; 6]);
        let bytes = arp::request(own, from, wanted);
        let (fd, name) = (self.socket.as_raw_fd(), ptr::from_ref(&address).cast());
        // SAFETY: the pointers and lengths are those of a packet and an address that live through the call.
        let sent = unsafe { libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), 0, name, ADDRESS_BYTES) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// A reply that has come, if any: who, and their hardware address.
    pub(super) fn next(&self) -> Option<(u32, Mac)> {
        let mut bytes = [0; 64];
        // Other people's ARP is read past.
        while let Ok(length) = (&self.socket).read(&mut bytes) {
            if let Some(reply) = bytes.get(..length).and_then(arp::reply) {
                return Some(reply);
            }
        }
        None
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Length of a packet socket's address.
#[expect(clippy::cast_possible_truncation, reason = "twenty bytes")]
const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// An EtherType in network order.
fn ether_type(number: libc::c_int) -> u16 {
    u16::try_from(number).expect("an EtherType is two bytes").to_be()
}

/// The address of a hardware address on an interface; interface 0 for all.
pub(super) fn link_address(protocol: u16, interface: u32, mac: Mac) -> libc::sockaddr_ll {
    let mut address = [0; 8];
    address.iter_mut().zip(mac).for_each(|(byte, value)| *byte = value);
    libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("a family is a small number"),
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(interface).unwrap_or(0),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: address,
    }
}
