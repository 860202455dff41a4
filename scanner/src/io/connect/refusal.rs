//! Who refused a connection: the host, by a reset, or an ICMP error, from the host or from something on the way.
//!
//! To `connect` both are one error number. A socket that asks for it (`IP_RECVERR`, `IPV6_RECVERR`) keeps the ICMP error itself in
//! a queue, with its type, its code and its sender.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use socket2::Socket;

use crate::finding::Reason;
use crate::packet::icmp;

/// An ICMP error about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// Who sent it.
    pub(super) by: Option<IpAddr>,
}

/// Makes a socket to an address of the family of `to` keep ICMP errors.
pub(super) fn keep(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match to {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// The ICMP error by which an attempt has failed, if it was one; whatever else is in the queue is taken out.
pub(super) fn read(socket: &Socket) -> Option<Refusal> {
    let mut refusal = None;
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut byte = [0; 1];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    while let Ok(message) = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
        let Ok(mut controls) = message.cmsgs() else { continue };
        refusal = refusal.or_else(|| controls.find_map(|control| refusal_of(&control)));
    }
    refusal
}

fn refusal_of(control: &ControlMessageOwned) -> Option<Refusal> {
    let (error, by) = match control {
        ControlMessageOwned::Ipv4RecvErr(error, by) => {
            (error, by.map(|by| IpAddr::from(u32::from_be(by.sin_addr.s_addr).to_be_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, by) => (error, by.map(|by| IpAddr::from(by.sin6_addr.s6_addr))),
        _ => return None,
    };
    let reason = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => icmp::reason(error.ee_type, error.ee_code)?,
        libc::SO_EE_ORIGIN_ICMP6 => icmp::reason_v6(error.ee_type, error.ee_code)?,
        _ => return None,
    };
    Some(Refusal { reason, by: by.filter(|by| !by.is_unspecified()) })
}
