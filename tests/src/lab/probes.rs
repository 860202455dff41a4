//! Probes as the world sees them: each SYN's time of arrival, as the kernel there stamps it. A scanner's own figures are not
//! asked.

use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
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

/// Watches the SYNs to the world that arrive at `host` for so long: what has to be quiet is heard there.
///
/// # Errors
/// Where there can be no packet socket.
pub fn probes_within(host: &Host, time: Duration) -> anyhow::Result<Vec<Probe>> {
    let began = Instant::now();
    host.within(|| Capture::open()?.probes_while(|| began.elapsed() < time))
}

/// Waits until `count` SYNs from the address `from` to the world have arrived at `host`.
pub(super) fn probes_from(host: &Host, from: Ipv4Addr, count: usize, limit: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    host.within(|| {
        let capture = Capture::open()?;
        let mut heard = 0;
        while heard < count {
            ensure!(began.elapsed() < limit, "{heard} of {count} probes from {from} within {limit:?}");
            heard += usize::from(capture.next()?.is_some_and(|syn| syn.from == from));
        }
        Ok(())
    })
}

fn probes_until(is_over: &AtomicBool) -> anyhow::Result<Vec<Probe>> {
    Capture::open()?.probes_while(|| !is_over.load(Ordering::Relaxed))
}

/// A socket that gets every packet of the host's interfaces.
struct Capture(OwnedFd);

/// The first packet of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Syn {
    at: Duration,
    from: Ipv4Addr,
    to: Ipv4Addr,
}

impl Capture {
    fn open() -> anyhow::Result<Self> {
        let fd = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
            .context("a packet socket")?;
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true).context("times of arrival")?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).context("a time limit")?;
        Ok(Self(fd))
    }

    fn probes_while(&self, mut goes_on: impl FnMut() -> bool) -> anyhow::Result<Vec<Probe>> {
        let mut probes = Vec::new();
        while goes_on() {
            probes.extend(self.next()?.map(|syn| (syn.at, syn.to)));
        }
        probes.sort_unstable();
        Ok(probes)
    }

    /// The next packet, if it comes soon and is a SYN to the world.
    fn next(&self) -> anyhow::Result<Option<Syn>> {
        let mut bytes = [0; 64];
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message = match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
            Ok(message) => message,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
            Err(error) => return Err(error).context("receiving a packet"),
        };
        let time = message.cmsgs().context("a packet's time")?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        Ok(time.zip(ends_of_syn(&bytes)).map(|(at, (from, to))| Syn { at, from, to }))
    }
}

/// From whom to which address of the world an IPv4 packet is a SYN: our side's resets of what was found open are no probes,
/// nor is what the world sends.
fn ends_of_syn(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let address = |at| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let (from, to) = (address(12)?, address(16)?);
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let is_syn = packet.get(9) == Some(&6) && packet.get(header + 13).is_some_and(|flags| flags & 0x16 == 0x02);
    (to.octets().starts_with(&[10, 77]) && is_syn).then_some((from, to))
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
            bytes[12..16].copy_from_slice(&[10, 88, 0, 3]);
            bytes[16..20].copy_from_slice(&[10, to, 0, 1]);
            bytes[33] = flags;
            bytes
        };
        let ends = (Ipv4Addr::new(10, 88, 0, 3), Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(ends_of_syn(&packet(77, 0x02)), Some(ends));
        let others = [packet(76, 0x02), packet(77, 0x12), packet(77, 0x04)];
        assert!(others.iter().all(|packet| ends_of_syn(packet).is_none()) && ends_of_syn(&[]).is_none());
    }
}
