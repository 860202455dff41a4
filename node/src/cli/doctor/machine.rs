//! What the machine says: clock, disk, descriptors, capabilities, connection tracking, routes, MTU.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};

use super::Finding;
use crate::cli::output::{counted, grouped};
use crate::clock::{duration_words, wall_ms};

/// Files that programs which keep the clock leave while they do, and the programs.
const CLOCK_KEEPERS: [(&str, &str); 5] = [
    ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
    ("/run/chrony/chronyd.pid", "chrony"),
    ("/run/chronyd.pid", "chrony"),
    ("/run/ntpd.pid", "ntpd"),
    ("/run/ntp/ntpd.pid", "ntpd"),
];
/// A file may be so much newer than now: coarse time stamps, and a clock that is being set.
const AHEAD_MS_MAX: u64 = 2_000;
/// How often the disk is asked: enough for a median.
const SYNCS: usize = 15;
/// A sync that takes longer makes each write of a job be felt.
const SYNC_SLOW: Duration = Duration::from_millis(30);
/// One that takes longer outlasts heartbeats, so that leaders come and go.
const SYNC_TOO_SLOW: Duration = Duration::from_millis(250);
/// The API takes 512 connections, and a scan a thousand sockets and more.
const DESCRIPTORS_WANTED: u64 = 8_192;
/// Below this the API and the store alone use them up.
const DESCRIPTORS_LEAST: u64 = 1_024;
/// `CAP_NET_RAW`, as a bit (linux/capability.h).
const CAP_NET_RAW: u32 = 13;
/// Flows that a scan at its own pace opens at once; what the table holds beside them is others'.
const CONNTRACK_WANTED: u64 = 65_536;
/// The smallest MTU that IPv6 allows (RFC 8200 section 5).
const MTU_LEAST: u64 = 1_280;

/// The clock: not behind what was written by it, and kept by something.
pub(super) fn clock(data_dir: &Path) -> Finding {
    let ahead = newest_ms(data_dir).map_or(0, |newest| newest.saturating_sub(wall_ms()));
    if ahead > AHEAD_MS_MAX {
        let by = duration_words(ahead / 1_000);
        let what = format!("{by} behind the newest file of the data directory: it was set back");
        return Finding::fail("clock", what, "set it right, and let NTP keep it (timedatectl set-ntp true)");
    }
    match CLOCK_KEEPERS.iter().find(|(file, _)| Path::new(file).exists()) {
        Some((_, keeper)) => Finding::ok("clock", format!("kept by {keeper}")),
        None => Finding::warn(
            "clock",
            "nothing is known to keep it",
            "run NTP (timedatectl set-ntp true); in a container the host has to: leases and windows go by it",
        ),
    }
}

/// When the newest file of a directory was written, in unix milliseconds.
fn newest_ms(directory: &Path) -> Option<u64> {
    let written = |entry: fs::DirEntry| {
        let at = entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(at.as_millis()).ok()
    };
    let deeper = fs::read_dir(directory.join("raft")).into_iter().flatten();
    let entries = fs::read_dir(directory).into_iter().flatten().chain(deeper);
    entries.filter_map(|entry| written(entry.ok()?)).max()
}

/// The disk: that it takes writes, and how long it takes until one is safe.
pub(super) fn disk(data_dir: &Path) -> Finding {
    let about = "fsync";
    let there = data_dir.ancestors().find(|path| path.is_dir());
    let Some(there) = there else { return Finding::unknown(about, "no part of the data directory's path is there") };
    match sync_times(there) {
        Err(error) => Finding::fail(
            about,
            format!("{} cannot be written: {error}", there.display()),
            "start the node as a user that may write there, or name another place: --data-dir",
        ),
        Ok(mut times) => {
            times.sort_unstable();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let what = format!("{:.1} ms at {}", median.as_secs_f64() * 1_000.0, there.display());
            let next = "put the data directory on a disk of its own, with flash or a cache that survives a power cut";
            match median {
                median if median > SYNC_TOO_SLOW => Finding::fail(about, what, next),
                median if median > SYNC_SLOW => Finding::warn(about, what, next),
                _ => Finding::ok(about, what),
            }
        }
    }
}

fn sync_times(directory: &Path) -> std::io::Result<Vec<Duration>> {
    let path = directory.join(format!(".pentora-doctor-{}", std::process::id()));
    let times = (|| {
        let mut file = fs::OpenOptions::new().create_new(true).write(true).open(&path)?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            file.write_all(&[0; 4_096])?;
            let asked = Instant::now();
            file.sync_data()?;
            times.push(asked.elapsed());
        }
        Ok(times)
    })();
    // It may not have been made.
    drop(fs::remove_file(&path));
    times
}

/// How many files and sockets a process may have open.
pub(super) fn descriptors() -> Finding {
    let about = "descriptors";
    let next = "raise the limit: LimitNOFILE=65536 in the unit, or ulimit -n 65536";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard < DESCRIPTORS_LEAST => Finding::fail(about, grouped(hard), next),
        Ok((_, hard)) if hard < DESCRIPTORS_WANTED => Finding::warn(about, grouped(hard), next),
        Ok((soft, hard)) => Finding::ok(about, format!("{} of {}", grouped(soft), grouped(hard))),
        Err(error) => Finding::unknown(about, error.to_string()),
    }
}

/// Whether raw packets may be sent.
pub(super) fn capabilities() -> Finding {
    let about = "capabilities";
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) else {
        return Finding::unknown(about, "/proc/self/status does not say");
    };
    if effective >> CAP_NET_RAW & 1 == 1 {
        return Finding::ok(about, "raw packets may be sent (CAP_NET_RAW)");
    }
    Finding::warn(
        about,
        "raw packets may not be sent by this user: scans use connections, which are slower and seen more",
        "setcap cap_net_raw+ep $(command -v pentora-node), or AmbientCapabilities=CAP_NET_RAW in the unit",
    )
}

/// The table of connections, where this machine keeps one.
pub(super) fn conntrack() -> Finding {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    of_conntrack(read("count").zip(read("max")))
}

fn of_conntrack(table: Option<(u64, u64)>) -> Finding {
    let about = "conntrack";
    let Some((count, max)) = table else { return Finding::ok(about, "this machine tracks no connections") };
    let what = format!("{} of {} connections", grouped(count), grouped(max));
    let next =
        "leave scans out of it (a `notrack` rule for what the node sends), or raise net.netfilter.nf_conntrack_max";
    match max.saturating_sub(count) {
        left if left < CONNTRACK_WANTED / 16 => {
            Finding::fail(about, format!("{what}: answers of a scan would be dropped"), next)
        }
        left if left < CONNTRACK_WANTED => Finding::warn(about, what, next),
        _ => Finding::ok(about, what),
    }
}

/// Ways out of this machine.
pub(super) fn routes() -> Finding {
    let table = |path| fs::read_to_string(path).unwrap_or_default();
    of_routes(&table("/proc/net/route"), &table("/proc/net/ipv6_route"))
}

fn of_routes(v4: &str, v6: &str) -> Finding {
    let about = "routes";
    // Destination and mask of nothing but zeros (proc_net_route); of IPv6 the first two columns.
    let column = |line: &str, number: usize| line.split_whitespace().nth(number).unwrap_or_default().to_owned();
    let of_v4 = v4.lines().skip(1).filter(|line| !line.trim().is_empty());
    let (default_v4, others_v4): (Vec<&str>, Vec<&str>) =
        of_v4.partition(|line| column(line, 1) == "00000000" && column(line, 7) == "00000000");
    let is_default_v6 = |line: &&str| {
        column(line, 0).bytes().all(|byte| byte == b'0') && column(line, 1) == "00" && column(line, 9) != "lo"
    };
    let default_v6 = v6.lines().filter(|line| !line.trim().is_empty()).filter(is_default_v6).count();
    if default_v4.is_empty() && default_v6 == 0 {
        let what = format!("no default route, {} to networks", counted(others_v4.len() as u64, "route"));
        return Finding::warn(
            about,
            what,
            "add one, unless this node is to scan its own networks alone: what has no route is told as not probed",
        );
    }
    let family = match (default_v4.is_empty(), default_v6) {
        (false, 0) => "IPv4",
        (true, _) => "IPv6",
        (false, _) => "IPv4 and IPv6",
    };
    Finding::ok(about, format!("default route for {family}, {} beside", counted(others_v4.len() as u64, "route")))
}

/// How large packets of this machine's interfaces may be.
pub(super) fn mtu() -> Finding {
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let file = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
        let is_used = name != "lo" && file("operstate").is_some_and(|state| state.trim() != "down");
        let mtu = file("mtu")?.trim().parse::<u64>().ok()?;
        is_used.then_some((name, mtu))
    };
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten();
    let mut found: Vec<(String, u64)> = entries.filter_map(|entry| read(entry.ok()?)).collect();
    found.sort();
    of_mtu(&found)
}

fn of_mtu(found: &[(String, u64)]) -> Finding {
    let about = "MTU";
    let all: Vec<String> = found.iter().map(|(name, mtu)| format!("{name} {mtu}")).collect();
    let small: Vec<&(String, u64)> = found.iter().filter(|(_, mtu)| *mtu < MTU_LEAST).collect();
    match (all.is_empty(), small.is_empty()) {
        (true, _) => Finding::warn(about, "no interface is up but loopback", "bring one up: ip link set NAME up"),
        (false, true) => Finding::ok(about, all.join(", ")),
        (false, false) => Finding::warn(
            about,
            format!("{}: below {MTU_LEAST}, IPv6 does not work there", all.join(", ")),
            "raise it (ip link set NAME mtu 1280), or do not scan IPv6 through it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_noticed_by_what_was_written_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("node.id")).unwrap();
        assert_ne!(clock(folder.path()).verdict, Verdict::Fail);
        file.set_modified(UNIX_EPOCH + Duration::from_millis(wall_ms()) + Duration::from_secs(7_230)).unwrap();
        let found = clock(folder.path());
        assert!(found.verdict == Verdict::Fail && found.what.starts_with("2h 0m behind"), "{found:?}");
    }

    #[test]
    fn the_disk_is_timed_where_the_data_directory_will_be_and_nothing_stays_there() {
        let folder = tempfile::tempdir().unwrap();
        let found = disk(&folder.path().join("not/there/yet"));
        assert!(found.what.contains(" ms at ") && found.what.ends_with(folder.path().to_str().unwrap()), "{found:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_table_of_connections_that_is_nearly_full_fails() {
        for (table, verdict) in [
            (None, Verdict::Ok),
            (Some((10, 262_144)), Verdict::Ok),
            (Some((200_000, 262_144)), Verdict::Warn),
            (Some((262_000, 262_144)), Verdict::Fail),
        ] {
            assert_eq!(of_conntrack(table).verdict, verdict, "{table:?}");
        }
    }

    #[test]
    fn default_routes_are_those_of_the_kernels_tables() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let net = "eth0\t0000580A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let default = "eth0\t00000000\t0158580A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let zeros = "0".repeat(32);
        let v6 = |device: &str| format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200 {device}\n");
        let found = |v4: &[&str], v6: &str| of_routes(&format!("{head}{}", v4.concat()), v6);
        assert_eq!(found(&[net], &v6("lo")).verdict, Verdict::Warn);
        assert_eq!(found(&[default, net], "").what, "default route for IPv4, 1 route beside");
        assert_eq!(found(&[default], &v6("eth0")).what, "default route for IPv4 and IPv6, 0 routes beside");
        assert_eq!(found(&[], &v6("eth0")).verdict, Verdict::Ok);
    }

    #[test]
    fn an_mtu_that_ipv6_cannot_use_is_told() {
        let of = |mtu| of_mtu(&[("eth0".into(), 1_500), ("tun0".into(), mtu)]);
        assert_eq!(
            (of(1_280).verdict, of(1_000).verdict, of_mtu(&[]).verdict),
            (Verdict::Ok, Verdict::Warn, Verdict::Warn)
        );
    }
}
