//! The UDP engine with real sockets: on loopback, and against a machine in a network namespace of its own whose kernel
//! limits its ICMP messages as Linux does unless told otherwise.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::detect::{RuleSet, ServiceProbes};
use crate::engine::Engine;
use crate::finding::{HostRecord, PortState, Reason};
use crate::io::EngineConfig;
use crate::io::cable::{self, ip};
use crate::pace::RateCap;
use crate::sample::{self, finish, task};
use crate::spec::{EngineChoice, ScanSpec, Timing};

fn engine() -> Engine {
    Engine::start(EngineConfig { choice: EngineChoice::Connect, ..EngineConfig::default() }).unwrap()
}

fn spec(targets: &str, ports: &str) -> ScanSpec {
    sample::spec(targets, ports, 5)
}

fn states(host: &HostRecord) -> BTreeMap<u16, (PortState, Reason)> {
    host.ports.iter().map(|port| (port.port, (port.state, port.reason))).collect()
}

/// Answers every datagram with the same words until the socket's test is over.
fn serve(socket: UdpSocket, words: &'static [u8]) {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(words, from);
        }
    });
}

fn bound(address: &str) -> (UdpSocket, u16) {
    let socket = UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[test]
fn open_silent_and_closed_ports_are_told_apart_over_both_families() {
    for address in ["127.0.0.1", "::1"] {
        if UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), 0)).is_err() {
            eprintln!("skipped: no {address} here");
            continue;
        }
        let (talking, open) = bound(address);
        let (_quiet, silent) = bound(address);
        let closed = bound(address).1;
        serve(talking, b"220 here\r\n");
        let ports = format!("U:{open},{silent},{closed}");
        let engine = engine();
        let (records, outcome) = finish(engine.scan(task(spec(address, &ports))).unwrap());
        assert_eq!(records.len(), 1);
        let states = states(&records[0]);
        assert_eq!(states[&open], (PortState::Open, Reason::UdpResponse));
        assert_eq!(states[&silent], (PortState::OpenFiltered, Reason::NoResponse));
        assert_eq!(states[&closed], (PortState::Closed, Reason::PortUnreach));
        let banner = records[0].open_ports().next().unwrap().banner.clone();
        assert_eq!(banner.as_deref(), Some("220 here"));
        let tally = outcome.unwrap().progress.tally;
        assert_eq!((tally.targets_done, tally.hosts_up, tally.open_ports), (1, 1, 1));
    }
}

/// Answers what is asked in these words alone, and with these; gives back what else it was asked.
fn answers_only(socket: UdpSocket, question: &'static [u8], answer: &'static [u8]) -> Arc<Mutex<Vec<Vec<u8>>>> {
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let others = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&others);
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            if &bytes[..length] == question {
                let _ = socket.send_to(answer, from);
            } else {
                heard.lock().unwrap().push(bytes[..length].to_vec());
            }
        }
    });
    others
}

#[test]
fn a_port_that_answers_a_users_own_probe_alone_is_open_and_known_by_it() {
    let (gizmo, port) = bound("127.0.0.1");
    let (other, unnamed) = bound("127.0.0.1");
    let others = answers_only(gizmo, b"GIZMO?\r\n", b"gizmo 4.2 ready\r\n");
    let unasked = answers_only(other, b"GIZMO?\r\n", b"gizmo 4.2 ready\r\n");
    let file = format!(
        "Probe UDP Gizmo q|GIZMO?\\r\\n|\nports {port}\nrarity 9\nmatch gizmo m|^gizmo ([\\d.]+) ready| p/Gizmo/ v/$1/\n"
    );
    let probes = Arc::new(ServiceProbes::of_bytes(Path::new("own.probes"), file.as_bytes()).unwrap());
    let asked = |rules: RuleSet| {
        let engine = engine();
        engine.set_rules(rules);
        let spec = ScanSpec { services: Some(1), ..spec("127.0.0.1", &format!("U:{port},{unnamed}")) };
        let (records, _) = finish(engine.scan(task(spec)).unwrap());
        let ports: Vec<_> = records.into_iter().flat_map(|host| host.ports).collect();
        let state = |number: u16| ports.iter().find(|known| known.port == number).map(|known| known.state);
        let service = ports.iter().find(|known| known.port == port).and_then(|known| known.service.clone());
        (state(port), state(unnamed), service.and_then(|service| service.product.zip(service.version)))
    };
    let with_own = asked(RuleSet::builtin().with_service_probes(Arc::clone(&probes)));
    let product = Some(("Gizmo".to_owned(), "4.2".to_owned()));
    assert_eq!(with_own, (Some(PortState::Open), Some(PortState::OpenFiltered), product));
    assert_eq!(*others.lock().unwrap(), Vec::<Vec<u8>>::new(), "in place of an empty datagram");
    assert!(unasked.lock().unwrap().iter().all(Vec::is_empty), "a port that the file does not name");
    let silent = ServiceProbes::of_bytes(Path::new("own.probes"), file.as_bytes()).unwrap().silent();
    let without = asked(RuleSet::builtin().with_service_probes(Arc::new(silent)));
    let unheard = Some(PortState::OpenFiltered);
    assert_eq!(without, (unheard, unheard, None), "nor is what may not be sent");
}

#[test]
fn tcp_and_udp_ports_of_a_unit_come_as_one_host() {
    let (talking, udp) = bound("127.0.0.1");
    serve(talking, b"hello");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = listener.local_addr().unwrap().port();
    // Some of many targets, so that only those which the TCP part finds up are asked over UDP; and a few, all asked.
    for targets in ["127.0.0.0/28", "127.0.0.1"] {
        let (records, outcome) = finish(engine().scan(task(spec(targets, &format!("T:{tcp},U:{udp}")))).unwrap());
        let host = records.iter().find(|host| host.address.to_string() == "127.0.0.1").unwrap();
        assert_eq!(host.open_ports().count(), 2, "{host:?}");
        let outcome = outcome.unwrap();
        let count = spec(targets, "1").target_count();
        assert_eq!((outcome.progress.tally.targets_done, outcome.progress.tally.open_ports), (count, 2));
        assert_eq!(outcome.progress.tally.hosts_up, records.len() as u64);
    }
}

#[test]
fn a_unit_of_udp_alone_looks_for_hosts_first_and_tells_nothing_of_the_ports_it_used() {
    let (talking, udp) = bound("127.0.0.1");
    serve(talking, b"hello");
    let (records, outcome) = finish(engine().scan(task(spec("127.0.0.0/28", &format!("U:{udp}")))).unwrap());
    assert_eq!(records.len(), 16, "loopback answers for all of them");
    assert!(records.iter().all(|host| host.ports.iter().all(|port| port.port == udp)));
    let tally = outcome.unwrap().progress.tally;
    assert_eq!((tally.hosts_up, tally.open_ports, tally.targets_done), (16, 1, 16));
}

#[test]
fn a_cancelled_unit_falls_silent_and_so_does_its_first_part() {
    let mut task = task(ScanSpec { rate_pps: Some(50), ..spec("127.0.0.0/24", "T:40000-40100,U:40000-40100") });
    task.pace = Arc::new(RateCap::new(Some(50)));
    let cancel = task.cancel.clone();
    let engine = engine();
    let unit = engine.scan(task).unwrap();
    thread::park_timeout(Duration::from_millis(200));
    let begun = Instant::now();
    cancel.cancel();
    assert_eq!(finish(unit).1.map(drop), Err(ScanError::Cancelled));
    assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
}

#[test]
fn a_reader_that_goes_away_ends_the_unit() {
    let engine = engine();
    let unit = engine.scan(task(ScanSpec { rate_pps: Some(200), ..spec("127.0.0.1", "U:40000-41000") })).unwrap();
    drop(unit.findings);
    assert_eq!(unit.outcome.blocking_recv().unwrap().map(drop), Err(ScanError::Cancelled));
}

/// The other machine has a service on port 5060 and a silent one on 161.
fn other_machine() -> UdpSocket {
    ip("addr add fd99::2/64 dev cable1 nodad");
    serve(UdpSocket::bind("10.9.0.2:5060").unwrap(), b"hello");
    wait_for_ipv6("[fd99::1]:9");
    UdpSocket::bind("10.9.0.2:161").unwrap()
}

/// Runs a test while the other machine is there.
fn with_a_cable(test: impl FnOnce() + Send) {
    let near = || {
        ip("addr add fd99::1/64 dev cable0 nodad");
        wait_for_ipv6("[fd99::2]:9");
    };
    cable::with_a_cable(other_machine, near, test);
}

/// IPv6 has a route over a new link only some time after the link is up, on either side.
fn wait_for_ipv6(to: &str) {
    let begun = Instant::now();
    while UdpSocket::bind("[::]:0").unwrap().connect(to).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no way to {to}");
        thread::yield_now();
    }
}

/// A new link carries IPv6 both ways only some time after both ends have a route: until the other kernel refuses a datagram.
fn wait_until_refused(to: &str) {
    let begun = Instant::now();
    let socket = UdpSocket::bind("[::]:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.connect(to).unwrap();
    let is_refused = || {
        let heard = socket.send(b"?").and_then(|_| socket.recv(&mut [0; 8]));
        heard.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    while !is_refused() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{to} does not refuse");
    }
}

#[test]
fn a_host_whose_kernel_says_one_closed_port_per_second_is_waited_for() {
    with_a_cable(|| {
        let begun = Instant::now();
        let (records, outcome) = finish(engine().scan(task(spec("10.9.0.2", "U:161,5060,6001-6018"))).unwrap());
        assert_eq!(records.len(), 1);
        let states = states(&records[0]);
        assert_eq!(states[&5060], (PortState::Open, Reason::UdpResponse));
        assert_eq!(states[&161], (PortState::OpenFiltered, Reason::NoResponse));
        let closed = states.values().filter(|state| **state == (PortState::Closed, Reason::PortUnreach)).count();
        assert_eq!(closed, 18, "{states:?}");
        assert_eq!(outcome.unwrap().progress.tally.open_ports, 1);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_thousand_closed_ports_of_one_host_are_told_as_far_as_the_wait_allows() {
    with_a_cable(|| {
        let begun = Instant::now();
        let scan = task(ScanSpec { timing: Timing::Fast, ..spec("10.9.0.2", "U:161,5060,10000-10999") });
        let cancel = scan.cancel.clone();
        let engine = engine();
        let mut unit = engine.scan(scan).unwrap();
        // Long enough for twenty of them at one per second.
        let (mut closed, mut open) = (0, 0);
        while let Some(findings) = unit.findings.blocking_recv() {
            for finding in findings {
                if let crate::finding::Observation::Port { state, .. } = finding.observation {
                    closed += u32::from(state == PortState::Closed);
                    open += u32::from(state == PortState::Open);
                }
            }
            if begun.elapsed() > Duration::from_secs(25) {
                cancel.cancel();
            }
        }
        assert_eq!(open, 1);
        assert!(closed >= 18, "{closed} in {:?}", begun.elapsed());
    });
}

#[test]
fn a_host_on_the_link_is_up_though_its_ports_are_silent_and_other_hosts_use_up_its_answers() {
    let far = || {
        ip("addr add 10.9.0.3/24 dev cable1");
        other_machine()
    };
    cable::with_a_cable(
        far,
        || (),
        || {
            let engine = Engine::start(EngineConfig::default()).unwrap();
            let link = vec![crate::spec::DiscoveryProbe::Link];
            for discovery in [crate::spec::DiscoveryProbe::DEFAULT.to_vec(), link] {
                let (records, outcome) =
                    finish(engine.scan(task(ScanSpec { discovery, ..spec("10.9.0.2", "U:161") })).unwrap());
                assert_eq!(states(&records[0]), BTreeMap::from([(161, (PortState::OpenFiltered, Reason::NoResponse))]));
                let tally = outcome.unwrap().progress.tally;
                assert_eq!((tally.hosts_up, tally.targets_done), (1, 1));
            }
            // One kernel, and so one limit, for both addresses.
            let (records, _) = finish(engine.scan(task(spec("10.9.0.2-10.9.0.3", "U:6001,6161"))).unwrap());
            let closed = (PortState::Closed, Reason::PortUnreach);
            let all: Vec<_> = records.iter().map(states).collect();
            assert_eq!(
                all,
                [BTreeMap::from([(6001, closed), (6161, closed)]), BTreeMap::from([(6001, closed), (6161, closed)])]
            );
        },
    );
}

#[test]
fn errors_over_ipv6_and_of_the_way_are_read_as_well() {
    with_a_cable(|| {
        wait_until_refused("[fd99::2]:9");
        let (records, _) = finish(engine().scan(task(spec("fd99::2", "U:4001-4004"))).unwrap());
        assert_eq!(states(&records[0]).values().filter(|state| state.0 == PortState::Closed).count(), 4);
        ip("route add prohibit 10.78.0.1");
        let scan = ScanSpec { discovery: Vec::new(), ..spec("10.78.0.1,10.9.0.2", "U:4001,5060") };
        let (records, outcome) = finish(engine().scan(task(scan)).unwrap());
        assert_eq!(records.len(), 1, "nothing is known of a host to which there is no way");
        assert_eq!(outcome.unwrap().progress.tally.targets_done, 2);
    });
}

#[test]
fn a_closed_port_of_a_link_local_address_is_told_by_the_host_itself() {
    let far = || ip("addr add fe80::77/64 dev cable1 nodad");
    let near = || ip("addr add fe80::1/64 dev cable0 nodad");
    cable::with_a_cable(far, near, || {
        let index = nix::net::if_::if_nametoindex("cable0").unwrap();
        wait_for_ipv6(&format!("[fe80::77%{index}]:9"));
        wait_until_refused(&format!("[fe80::77%{index}]:9"));
        let (records, _) = finish(engine().scan(task(spec("fe80::77%cable0", "U:4001-4002"))).unwrap());
        let closed = (PortState::Closed, Reason::PortUnreach);
        assert_eq!(states(&records[0]), BTreeMap::from([(4001, closed), (4002, closed)]));
    });
}

#[test]
fn an_address_of_a_link_that_is_not_named_has_no_route() {
    let mut targets = crate::target::TargetSet::builder();
    targets.add_address("fe80::77".parse().unwrap());
    let spec = ScanSpec { partitions: vec![targets.build().unwrap()], ..spec("127.0.0.1", "U:4001-4003") };
    cable::with_a_cable(
        || {},
        || ip("addr add fe80::1/64 dev cable0 nodad"),
        move || {
            let tally = finish(engine().scan(task(spec)).unwrap()).1.unwrap().progress.tally;
            assert_eq!((tally.probes_sent, tally.not_probed.to_string().as_str()), (0, "no route 1"));
        },
    );
}
