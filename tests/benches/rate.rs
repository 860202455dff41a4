//! `--rate 1000`, seen from the target: every probe's time of arrival, as the kernel there stamps it.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};
use pentora_tests::lab::{Course, WORLD_PORTS, WorldOptions};

use crate::figures::{head, row};
use crate::scanners::check;
use crate::{bounded, choices};

const RATE: usize = 1000;
/// 1,024 addresses and 20 ports: twenty seconds at this rate.
const TARGETS: &str = "10.77.0.0/22";
const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

pub(crate) fn measure() -> anyhow::Result<()> {
    head(&["program", "seed", "probes", "most in any second", "most in any 100 ms", "mean per second", "goal"]);
    for seed in choices::seeds(2)? {
        for engine in ["raw", "connect"] {
            measure_one(engine, seed)?;
        }
    }
    Ok(())
}

fn measure_one(engine: &str, seed: u64) -> anyhow::Result<()> {
    let course = Course::start(Duration::ZERO)?;
    let mut course = course.context("a measurement needs a lab: unset PENTORA_SKIP_LAB")?;
    course.become_world(&WorldOptions { seed, addresses: 1024, ..WorldOptions::default() })?;
    let folder = tempfile::tempdir()?;
    let ports = WORLD_PORTS.map(|port| port.to_string()).join(",");
    let rate = RATE.to_string();
    let words = ["scan", TARGETS, "--ports", &ports, "--rate", &rate, "--engine", engine];
    let mut command = course.scanner().command(&pentora_tests::binaries::binary("pentora")?);
    command.env_clear().env("HOME", folder.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(words).args(["--no-discovery", "--no-banners", "--local", "-o", "list"]);
    let is_over = AtomicBool::new(false);
    let (ran, times) = thread::scope(|scope| -> anyhow::Result<_> {
        let listening = scope.spawn(|| course.far().within(|| probes_until(&is_over)));
        let ran = bounded::run(&mut command, folder.path(), choices::limit()?);
        is_over.store(true, Ordering::Relaxed);
        let times = listening.join().unwrap_or_else(|_| Err(anyhow!("listening panicked")))?;
        Ok((ran?, times))
    })?;
    let name = format!("pentora --rate {RATE} --engine {engine}");
    if let Err(refused) = check(&name, &ran) {
        row(&[&[name, seed.to_string(), refused.to_string()][..], &[const { String::new() }; 4]].concat());
        return Ok(());
    }
    let span = times.last().zip(times.first()).map_or(Duration::ZERO, |(last, first)| *last - *first);
    row(&[
        name,
        seed.to_string(),
        times.len().to_string(),
        most_within(&times, SECOND).to_string(),
        most_within(&times, TENTH).to_string(),
        format!("{:.0}", times.len() as f64 / span.as_secs_f64().max(1e-3)),
        "<= 1050, <= 105, >= 950".to_owned(),
    ]);
    Ok(())
}

/// When SYNs to the world arrived at this thread's namespace, in order.
fn probes_until(is_over: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let fd = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .context("a packet socket")?;
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true).context("times of arrival")?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).context("a time limit")?;
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        times.extend(next_probe(&fd)?);
    }
    times.sort_unstable();
    Ok(times)
}

fn next_probe(fd: &OwnedFd) -> anyhow::Result<Option<Duration>> {
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
    Ok(time.filter(|_| is_probe(&bytes)))
}

/// Whether an IPv4 packet is a SYN to the world: our side's resets of what was found open are no probes, nor is what the
/// world sends.
fn is_probe(packet: &[u8]) -> bool {
    let is_ours = packet.get(16..18) == Some(&[10, 77]);
    let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    is_ours && packet.get(9) == Some(&6) && packet.get(header + 13).is_some_and(|flags| flags & 0x16 == 0x02)
}

/// The most times that lie within any span of this length.
fn most_within(times: &[Duration], span: Duration) -> usize {
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
        assert_eq!(most_within(&millis, SECOND), 5);
        assert_eq!(most_within(&millis, TENTH), 2);
        assert_eq!(most_within(&[], SECOND), 0);
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
        assert!(is_probe(&packet(77, 0x02)));
        assert!(!is_probe(&packet(76, 0x02)) && !is_probe(&packet(77, 0x12)) && !is_probe(&packet(77, 0x04)));
        assert!(!is_probe(&[]));
    }
}
