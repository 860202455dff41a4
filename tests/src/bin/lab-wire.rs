//! A wire with length: carries Ethernet frames between two interfaces of its network namespace, each way after a delay.
//!
//! For kernels without netem. Good for some 100,000 frames per second, which a mesh under test stays far below. The
//! interfaces must have their offloads off: a frame is carried as it is found.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recvfrom, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

const USAGE: &str = "usage: lab-wire ONE-INTERFACE OTHER-INTERFACE DELAY-MS";

/// Frames on the way, each direction: half a second of what this program can carry. What comes on top is lost, as on a
/// real wire.
const FRAMES_MAX: usize = 65_536;

/// Frames that wait for this program. Asked for past the kernel's limit, which a lab may do.
const BUFFER_BYTES: usize = 64 << 20;

/// The largest frame: offloads are off, so an MTU of 1,500 and its header, with room for jumbo frames.
const FRAME_BYTES_MAX: usize = 16 << 10;

/// `sll_pkttype` of a frame that this machine itself sends on the interface (linux/if_packet.h, PACKET_OUTGOING).
const OUTGOING: u8 = 4;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-wire: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [one, other, delay] = words.as_slice() else { return Err(anyhow!(USAGE)) };
    let delay = Duration::try_from_secs_f64(delay.parse::<f64>().context("DELAY-MS")? / 1e3).context("DELAY-MS")?;
    let (one, other) = (open(one)?, open(other)?);
    println!("carrying, {} us each way", delay.as_micros());
    thread::scope(|scope| {
        let back = scope.spawn(|| carry(&other, &one, delay));
        carry(&one, &other, delay)?;
        back.join().unwrap_or_else(|_| Err(anyhow!("the way back panicked")))
    })
}

/// A raw socket on one interface.
fn open(interface: &str) -> anyhow::Result<OwnedFd> {
    let address = getifaddrs()
        .context("the list of interfaces")?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address.and_then(|address| address.as_link_addr().copied()))
        .with_context(|| format!("no interface {interface}"))?;
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .context("a packet socket")?;
    // The address carries the interface; its protocol is 0, which keeps the socket's own.
    bind(fd.as_raw_fd(), &address).with_context(|| format!("binding to {interface}"))?;
    // In a user namespace the limit holds, and a burst may be lost.
    let forced = setsockopt(&fd, sockopt::RcvBufForce, &BUFFER_BYTES);
    forced.or_else(|_limited| setsockopt(&fd, sockopt::RcvBuf, &BUFFER_BYTES)).context("a receive buffer")?;
    Ok(fd)
}

/// Moves frames one way until an interface goes.
fn carry(from: &OwnedFd, to: &OwnedFd, delay: Duration) -> anyhow::Result<()> {
    let mut on_the_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    loop {
        while on_the_way.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, frame)) = on_the_way.pop_front() {
                // A full queue at the far interface loses the frame.
                let _ = send(to.as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT);
            }
        }
        let until_due =
            on_the_way.front().map(|(due, _)| TimeSpec::from(due.saturating_duration_since(Instant::now())));
        let mut polled = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        if ppoll(&mut polled, until_due, None).context("waiting for a frame")? == 0 {
            continue;
        }
        let (length, sender) = recvfrom::<LinkAddr>(from.as_raw_fd(), &mut buffer).context("receiving a frame")?;
        if sender.is_some_and(|sender| sender.len() > 0 && sender.pkttype() == OUTGOING) {
            continue;
        }
        if let Some(frame) = buffer.get(..length).filter(|_| on_the_way.len() < FRAMES_MAX) {
            on_the_way.push_back((Instant::now() + delay, frame.to_vec()));
        }
    }
}
