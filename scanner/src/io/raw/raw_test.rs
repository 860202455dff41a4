//! The raw engine against a machine in a network namespace of its own, at the other end of a cable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::engine::{Engine, EngineKind};
use crate::finding::{HostRecord, PortState, Reason};
use crate::io::EngineConfig;
use crate::io::cable::{self, ip};
use crate::pace::RateCap;
use crate::sample::{self, finish};
use crate::spec::{DiscoveryProbe, EngineChoice, Profile, ScanSpec};

#[path = "raw_test/gate_test.rs"]
mod gate;
#[path = "raw_test/states_test.rs"]
mod states;
#[path = "raw_test/ways_test.rs"]
mod ways;

/// The other machine answers for 10.77.0.0/24 and fd77::/64 as well, and is fd09::2, with a greeting on 2022 and silence on
/// 2080.
fn other_machine() -> TcpListener {
    ip("route add local 10.77.0.0/24 dev lo");
    ip("addr add fd09::2/64 dev cable1 nodad");
    ip("-6 route add local fd77::/64 dev lo");
    let greeting = TcpListener::bind("[::]:2022").unwrap();
    thread::spawn(move || {
        for connection in greeting.incoming() {
            let _ = connection.and_then(|mut socket| socket.write_all(b"220 here\r\n"));
        }
    });
    TcpListener::bind("[::]:2080").unwrap()
}

/// Runs a test while the other machine is there.
fn with_a_cable(test: impl FnOnce() + Send) {
    with_a_cable_to(|| {}, test);
}

/// The same with more that the other machine does.
fn with_a_cable_to(also: impl FnOnce() + Send, test: impl FnOnce() + Send) {
    let far = || {
        let silent = other_machine();
        also();
        silent
    };
    let near = || {
        ip("route add 10.77.0.0/24 via 10.9.0.2");
        ip("addr add fd09::1/64 dev cable0 nodad");
        ip("route add fd77::/64 via fd09::2");
    };
    cable::with_a_cable(far, near, test);
}

fn engine() -> Engine {
    let engine = Engine::start(EngineConfig { choice: EngineChoice::Raw, ..EngineConfig::default() }).unwrap();
    assert_eq!(engine.kind(), EngineKind::Raw);
    engine
}

fn task(targets: &str, ports: &str, choice: EngineChoice) -> UnitTask {
    sample::task(ScanSpec { engine: choice, ..sample::spec(targets, ports, 5) })
}

/// Of the ports 2022, 2080 and 2081 of the other machine.
fn assert_told_apart(host: &HostRecord) {
    let ports: BTreeMap<u16, _> = host.ports.iter().map(|port| (port.port, port)).collect();
    let known = |port: u16| (ports[&port].state, ports[&port].reason);
    assert_eq!(known(2022), (PortState::Open, Reason::SynAck));
    assert_eq!(ports[&2022].banner.as_deref(), Some("220 here"));
    assert_eq!(known(2080), (PortState::Open, Reason::SynAck));
    assert_eq!(ports[&2080].banner, None);
    assert_eq!(known(2081), (PortState::Closed, Reason::Reset));
}

#[test]
fn open_and_closed_ports_behind_a_gateway_are_told_apart_and_greetings_heard() {
    with_a_cable(|| {
        let (records, outcome) =
            finish(engine().scan(task("10.77.0.0/27", "2022,2080,2081", EngineChoice::Raw)).unwrap());
        assert_eq!(records.len(), 32);
        records.iter().for_each(assert_told_apart);
        let progress = outcome.unwrap().progress;
        let tally = progress.tally;
        assert_eq!((tally.targets_done, tally.hosts_up, tally.open_ports), (32, 32, 64));
        assert!(progress.estimates.loss < 1e-9);
    });
}

#[test]
fn on_the_link_a_host_is_up_when_it_answers_arp() {
    with_a_cable(|| {
        let (records, outcome) =
            finish(engine().scan(task("10.9.0.2-10.9.0.20", "2022,2081-2090", EngineChoice::Raw)).unwrap());
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].address, records[0].open_ports().count()), ("10.9.0.2".parse::<IpAddr>().unwrap(), 1));
        let tally = outcome.unwrap().progress.tally;
        assert_eq!(tally.targets_done, 19);
        // Whom nobody answers for is asked for three times.
        assert!(tally.probes_sent >= 18 * 3 && tally.retransmitted >= 18 * 2, "{tally:?}");
    });
}

#[test]
fn over_ipv6_ports_are_told_apart_and_greetings_heard() {
    with_a_cable(|| {
        let (records, outcome) =
            finish(engine().scan(task("fd77::/123", "2022,2080,2081", EngineChoice::Raw)).unwrap());
        assert_eq!(records.len(), 32);
        records.iter().for_each(assert_told_apart);
        assert_eq!(outcome.unwrap().progress.tally.open_ports, 64);
        // Neighbours on the link: who advertises is up, nobody else is sent anything.
        let (records, outcome) =
            finish(engine().scan(task("fd09::2-fd09::20", "2022,2081-2090", EngineChoice::Raw)).unwrap());
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].reason, records[0].open_ports().count()), (Reason::NdResponse, 1));
        assert_eq!(outcome.unwrap().progress.tally.targets_done, 31);
    });
}

/// How hosts are known to be up.
fn reasons(targets: &str, discovery: Vec<DiscoveryProbe>) -> BTreeMap<Reason, usize> {
    let mut task = task(targets, "2022", EngineChoice::Raw);
    let ports = crate::port::PortSet::default();
    task.spec = Arc::new(ScanSpec { discovery, ports, ..(*task.spec).clone() });
    let (records, outcome) = finish(engine().scan(task).unwrap());
    assert_eq!(outcome.unwrap().progress.tally.open_ports, 0);
    let mut reasons = BTreeMap::new();
    records.iter().for_each(|host| *reasons.entry(host.reason).or_default() += 1);
    reasons
}

#[test]
fn discovery_alone_finds_hosts_by_each_of_its_probes() {
    with_a_cable(|| {
        for (probe, reason) in [
            (DiscoveryProbe::Echo, Reason::EchoReply),
            (DiscoveryProbe::Timestamp, Reason::TimestampReply),
            (DiscoveryProbe::Syn(2022), Reason::SynAck),
            (DiscoveryProbe::Syn(2023), Reason::Reset),
            (DiscoveryProbe::Ack(2022), Reason::Reset),
            (DiscoveryProbe::Link, Reason::NoResponse),
        ] {
            let expected = BTreeMap::from([(reason, 16)]);
            // Behind a gateway there is no link to ask on.
            let expected = if probe == DiscoveryProbe::Link { BTreeMap::new() } else { expected };
            assert_eq!(reasons("10.77.0.0/28", vec![probe]), expected, "{probe}");
        }
        assert_eq!(reasons("fd77::/124", vec![DiscoveryProbe::Echo]), BTreeMap::from([(Reason::EchoReply, 16)]));
        assert_eq!(reasons("fd77::/124", vec![DiscoveryProbe::Ack(9)]), BTreeMap::from([(Reason::Reset, 16)]));
        let default = DiscoveryProbe::DEFAULT.to_vec();
        assert_eq!(reasons("10.9.0.2-10.9.0.9", default), BTreeMap::from([(Reason::ArpResponse, 1)]));
        assert_eq!(
            reasons("10.9.0.2-10.9.0.9", vec![DiscoveryProbe::Echo]),
            BTreeMap::from([(Reason::EchoReply, 1)]),
            "with ARP only to reach it"
        );
    });
}

#[test]
fn this_machines_own_addresses_are_scanned_as_well() {
    with_a_cable(|| {
        let _open = TcpListener::bind("[::]:2022").unwrap();
        let engine = engine();
        for (targets, up) in [
            ("10.9.0.0/29", &["10.9.0.1", "10.9.0.2"][..]),
            ("127.0.0.1-127.0.0.3,::1", &["::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"]),
        ] {
            let (records, _) = finish(engine.scan(task(targets, "2022,2023", EngineChoice::Raw)).unwrap());
            let found: BTreeSet<String> = records.iter().map(|host| host.address.to_string()).collect();
            assert_eq!(found, up.iter().map(|address| (*address).to_owned()).collect());
            for host in &records {
                let states: Vec<PortState> = host.ports.iter().map(|port| port.state).collect();
                assert_eq!(states, [PortState::Open, PortState::Closed], "{}", host.address);
            }
        }
    });
}

#[test]
fn a_fragile_network_is_scanned_raw_by_slow_single_syns() {
    with_a_cable(|| {
        let mut task = task("10.77.0.0/30", "2022,2081", EngineChoice::Raw);
        task.spec = Arc::new(ScanSpec { profile: Profile::OtSafe, ..(*task.spec).clone() });
        let begun = Instant::now();
        let (records, outcome) = finish(engine().scan(task).unwrap());
        let progress = outcome.unwrap().progress;
        assert_eq!((progress.tally.open_ports, progress.tally.probes_sent), (4, 8));
        assert!(begun.elapsed() >= Duration::from_millis(7 * 50), "twenty per second at most");
        assert!(records.iter().flat_map(|host| &host.ports).all(|port| port.banner.is_none()));
    });
}

/// A tunnel's end, whose packets are read and written as they are.
#[expect(unsafe_code, reason = "a tunnel is made by an ioctl, which has no safe form")]
fn tunnel(name: &str) -> File {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    // IFF_TUN and IFF_NO_PI of linux/if_tun.h.
    request[16..18].copy_from_slice(&0x1001_u16.to_ne_bytes());
    // SAFETY: the request is as long as an `ifreq`, and lives through the call.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&file), 0x4004_54ca, request.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    file
}

/// Answers SYNs out of a tunnel: port 22 is open everywhere, all others are closed.
fn answer_syns(mut tunnel: File) {
    let mut bytes = [0; 2048];
    while let Ok(length) = tunnel.read(&mut bytes) {
        if length < 40 || bytes[0] != 0x45 || bytes[9] != 6 || bytes[33] != 0x02 {
            continue;
        }
        let port = u16::from_be_bytes([bytes[22], bytes[23]]);
        let sequence = u32::from_be_bytes(bytes[24..28].try_into().unwrap());
        let mut answer = bytes[..40].to_vec();
        answer[12..16].copy_from_slice(&bytes[16..20]);
        answer[16..20].copy_from_slice(&bytes[12..16]);
        answer[20..22].copy_from_slice(&bytes[22..24]);
        answer[22..24].copy_from_slice(&bytes[20..22]);
        answer[28..32].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
        answer[32..34].copy_from_slice(&[0x50, if port == 22 { 0x12 } else { 0x14 }]);
        answer[3] = 40;
        if tunnel.write_all(&answer).is_err() {
            return;
        }
    }
}

#[test]
fn links_without_hardware_addresses_are_scanned() {
    thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("skipped: this user may not make network namespaces");
            return;
        }
        ip("link set lo up");
        let end = tunnel("tun9");
        ip("addr add 10.88.0.1/24 dev tun9");
        ip("link set tun9 up");
        thread::spawn(move || answer_syns(end));
        let mut task = task("10.88.0.2-10.88.0.33", "20-29", EngineChoice::Raw);
        task.spec = Arc::new(ScanSpec { banners: false, ..(*task.spec).clone() });
        let (records, outcome) = finish(engine().scan(task).unwrap());
        assert_eq!((records.len(), outcome.unwrap().progress.tally.open_ports), (32, 32));
    })
    .join()
    .unwrap();
}

#[test]
fn units_side_by_side_do_not_take_each_others_answers() {
    with_a_cable(|| {
        let engine = engine();
        // More than there are slots, on the same hosts.
        let units: Vec<UnitScan> = (0..20)
            .map(|unit| {
                let port = 2070 + unit;
                engine.scan(task("10.77.0.0/26", &format!("{port},3000"), EngineChoice::Raw)).unwrap()
            })
            .collect();
        for (unit, port) in units.into_iter().zip(2070..) {
            let (records, outcome) = finish(unit);
            assert_eq!(outcome.unwrap().progress.tally.open_ports, if port == 2080 { 64 } else { 0 });
            assert_eq!(records.len(), 64);
            assert!(records.iter().all(|host| host.ports.iter().all(|known| [port, 3000].contains(&known.port))));
        }
    });
}

/// Packets that have left by the cable.
fn packets_sent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with("cable0")).unwrap();
    line.split_whitespace().nth(10).unwrap().parse().unwrap()
}

#[test]
fn the_rate_holds_outside_and_a_cancelled_unit_falls_silent() {
    with_a_cable(|| {
        let engine = engine();
        // As a budget, as the spec's rate, and as the share of the one network that is scanned.
        let ways: [fn(&mut UnitTask); 3] = [
            |task| task.pace = Arc::new(RateCap::new(Some(1000))),
            |task| Arc::make_mut(&mut task.spec).rate_pps = Some(1000),
            |task| Arc::make_mut(&mut task.spec).network_rate_pps = Some(1000),
        ];
        for (number, limit) in ways.iter().enumerate() {
            let mut task = task("10.77.0.0/24", "3000-3049", EngineChoice::Raw);
            limit(&mut task);
            let cancel = task.cancel.clone();
            let unit = engine.scan(task).unwrap();
            let pause = |millis| thread::park_timeout(Duration::from_millis(millis));
            pause(500);
            let (begun, before) = (Instant::now(), packets_sent());
            pause(1500);
            let rate = (packets_sent() - before) as f64 / begun.elapsed().as_secs_f64();
            // A machine that does much else may send less; that it sends as much as it may is measured (`make bench BENCH=rate`).
            assert!((100.0..=1060.0).contains(&rate), "{rate} packets per second, way {number}");
            cancel.cancel();
            pause(100);
            let silent = packets_sent();
            pause(300);
            // The kernel may renew what it knows of its neighbour.
            assert!(packets_sent() - silent <= 2);
            assert_eq!(finish(unit).1.map(drop), Err(ScanError::Cancelled));
        }
    });
}
