//! Probes as the world sees them: each SYN's time of arrival, as the kernel there stamps it. A scanner's own figures are not
//! asked.

use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};

use super::Host;

/// A SYN that has arrived: when, on the clock of the kernel, and for whom.
pub type Probe = (Duration, Ipv4Addr);

/// Runs `work` and notes the SYNs to the world that arrive at `host` until it has ended, in order of time.
///
/// # Errors
/// Where `work` fails, or there can be no packet socket.
pub fn probes_during<T>(host: &Host, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Vec<Probe>)> {
    host.watched(probes_until, work)
}

fn probes_until(is_over: &AtomicBool) -> anyhow::Result<Vec<Probe>> {
    let fd = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .context("a packet socket")?;
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true).context("times of arrival")?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).context("a time limit")?;
    let mut probes = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        probes.extend(next_probe(&fd)?);
    }
    probes.sort_unstable();
    Ok(probes)
}

fn next_probe(fd: &OwnedFd) -> anyhow::Result<Option<Probe>> {
    let mut bytes = [0; 64];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = match recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
        Ok(message) => message,
        Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
        Err(error) => return Err(error).context("receiving a packet"),
    };
    let time = message.cmsgs().context("a packet's time")?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
        _ => None,
    });
    Ok(time.zip(probed(&bytes)))
}

/// The address of the world that an IPv4 packet is a SYN to: our side's resets of what was found open are no probes, nor is
/// what the world sends.
fn probed(packet: &[u8]) -> Option<Ipv4Addr> {
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let is_syn = packet.get(9) == Some(&6) && packet.get(header + 13).is_some_and(|flags| flags & 0x16 == 0x02);
    (to.starts_with(&[10, 77]) && is_syn).then(|| to.into())
}

/// The most times that lie within any span of this length.
#[must_use]
pub fn most_within(times: &[Duration], span: Duration) -> usize {
    let mut begin = 0;
    let counts = times.iter().enumerate().map(|(end, time)| {
        while times.get(begin).is_some_and(|first| *time - *first >= span) {
            begin += 1;
        }
        end + 1 - begin
    });
    counts.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_span_is_found_wherever_it_lies() {
        let millis: Vec<Duration> = [0, 10, 500, 990, 1000, 1490, 1499, 3000].map(Duration::from_millis).to_vec();
        assert_eq!(most_within(&millis, Duration::from_secs(1)), 5);
        assert_eq!(most_within(&millis, Duration::from_millis(100)), 2);
        assert_eq!(most_within(&[], Duration::from_secs(1)), 0);
    }

    #[test]
    fn only_a_syn_to_the_world_is_a_probe() {
        let packet = |to: u8, flags: u8| {
            let mut bytes = [0; 44];
            bytes[0] = 0x45;
            bytes[9] = 6;
            bytes[16..20].copy_from_slice(&[10, to, 0, 1]);
            bytes[33] = flags;
            bytes
        };
        assert_eq!(probed(&packet(77, 0x02)), Some(Ipv4Addr::new(10, 77, 0, 1)));
        let others = [packet(76, 0x02), packet(77, 0x12), packet(77, 0x04)];
        assert!(others.iter().all(|packet| probed(packet).is_none()) && probed(&[]).is_none());
    }
}
