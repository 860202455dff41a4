//! The receiving socket: a ring of blocks shared with the kernel (TPACKET_V3), filled behind a filter.
//!
//! The kernel fills a block with packets and hands it over as a whole; what is read from it is copied nowhere. What is
//! let through is said in [`filter`]. A socket for one protocol alone does not see what is sent, so it costs the sender
//! nothing: there is a ring for IPv4 and another for IPv6.
#![expect(unsafe_code, reason = "the ring is memory shared with the kernel; each block says why it is sound")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::filter;
use crate::packet::block::each_packet;

/// One block: a thousand answers.
const BLOCK_BYTES: usize = 128 * 1024;
/// All blocks of a ring: 8 MiB for IPv4, a quarter of a second at 250,000 answers per second; half of it for IPv6, of
/// which no scan is as wide.
const BLOCKS_V4: usize = 64;
const BLOCKS_V6: usize = 32;
/// The kernel hands over a block that is not full after so many milliseconds.
const RETIRE_MS: u32 = 2;
/// Where a block's header says whose it is (`struct tpacket_block_desc` of linux/if_packet.h).
const STATUS: usize = 8;

/// The ring and its socket.
#[derive(Debug)]
pub(super) struct Ring {
    socket: Socket,
    memory: NonNull<u8>,
    blocks: usize,
    at: usize,
}

/// Which packets a ring is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

// SAFETY: the mapping belongs to this value alone and is reached through it alone, from whichever thread owns it.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring that takes answers to source ports from `first` on, `count` of them.
    pub(super) fn open(family: Family, first: u16, count: u16) -> io::Result<Self> {
        // Protocol 0 receives nothing until the filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        let last = first + (count - 1);
        let (filter, blocks, protocol) = match family {
            Family::V4 => (filter::v4(first, last), BLOCKS_V4, libc::ETH_P_IP),
            Family::V6 => (filter::v6(first, last), BLOCKS_V6, libc::ETH_P_IPV6),
        };
        socket.attach_filter(&filter)?;
        let version: libc::c_int = 2; // TPACKET_V3
        set_option(&socket, libc::PACKET_VERSION, &version)?;
        let size = |bytes: usize| libc::c_uint::try_from(bytes).expect("the ring is a few megabytes");
        let request = libc::tpacket_req3 {
            tp_block_size: size(BLOCK_BYTES),
            tp_block_nr: size(blocks),
            tp_frame_size: 2048,
            tp_frame_nr: size(BLOCK_BYTES / 2048 * blocks),
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set_option(&socket, libc::PACKET_RX_RING, &request)?;
        let (protection, length) = (libc::PROT_READ | libc::PROT_WRITE, BLOCK_BYTES * blocks);
        // SAFETY: a new mapping of the ring that was just set up, of its exact length, at an address the kernel chooses.
        let memory =
            unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, socket.as_raw_fd(), 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let ring = Self { socket, memory, blocks, at: 0 };
        ring.bind(protocol)?;
        Ok(ring)
    }

    /// Begins to receive packets of a protocol from all interfaces.
    fn bind(&self, protocol: libc::c_int) -> io::Result<()> {
        let protocol = u16::try_from(protocol).expect("an EtherType is two bytes").to_be();
        let address = super::transmit::link_address(protocol, 0, [0; 6]);
        let length = libc::socklen_t::try_from(size_of_val(&address)).expect("a socket address is small");
        // SAFETY: the pointer and length are those of a socket address that lives through the call.
        let result = unsafe { libc::bind(self.socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until there is a block in any of some rings, `bell` rings, or some milliseconds have passed.
    pub(super) fn wait(rings: &[Self], bell: BorrowedFd<'_>, millis: u8) {
        let sockets = rings.iter().map(|ring| ring.socket.as_fd());
        let polled = sockets.chain([bell]).map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let mut polled: Vec<PollFd<'_>> = polled.collect();
        // An interrupted wait is as good as one that has ended.
        let _ = poll(&mut polled, PollTimeout::from(millis));
    }

    /// Shows every packet of the next block, from its IP header on; false when no block is ready.
    pub(super) fn read_block(&mut self, mut each: impl FnMut(&[u8])) -> bool {
        // SAFETY: `at` is below the number of blocks, so the block lies inside the mapping.
        let block = unsafe { self.memory.add(self.at * BLOCK_BYTES) };
        // SAFETY: the status word lies in the block, is aligned to four bytes, and is written by the kernel atomically.
        let status = unsafe { AtomicU32::from_ptr(block.add(STATUS).cast().as_ptr()) };
        if status.load(Ordering::Acquire) & 1 == 0 {
            return false;
        }
        // SAFETY: the status says that the block is ours, so the kernel does not write to it before we give it back.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), BLOCK_BYTES) };
        each_packet(bytes, &mut each);
        status.store(0, Ordering::Release);
        self.at = (self.at + 1) % self.blocks;
        true
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`, with its length; nothing borrowed from it outlives this value.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), BLOCK_BYTES * self.blocks) };
    }
}

fn set_option<T>(socket: &Socket, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("an option is small");
    // SAFETY: the pointer and length are those of a value that lives through the call; the kernel only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, name, ptr::from_ref(value).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
