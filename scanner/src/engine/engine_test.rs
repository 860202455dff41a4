//! The connect engine on loopback: real sockets, a few chosen ports.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::thread;
use std::time::Instant;

use super::*;
use crate::finding::{PortState, Reason};
use crate::pace::RateCap;
use crate::port::{Port, PortSet};
use crate::sample::{self, finish};
use crate::scope::Scope;

fn engine() -> Engine {
    Engine::start(EngineConfig { choice: EngineChoice::Connect, ..EngineConfig::default() }).unwrap()
}

fn task(targets: &str, ports: PortSet) -> UnitTask {
    sample::task(ScanSpec { ports, ..sample::spec(targets, "1", 7) })
}

/// A listener and its port.
fn listener(address: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn ports(numbers: &[u16]) -> PortSet {
    numbers.iter().map(|number| Port::tcp(*number)).collect()
}

#[test]
fn open_and_closed_ports_of_loopback_are_told_apart() {
    let (_open, open) = listener("127.0.0.1");
    let closed = listener("127.0.0.1").1;
    let (records, outcome) = finish(engine().scan(task("127.0.0.1", ports(&[open, closed]))).unwrap());
    let states: BTreeMap<u16, _> = records[0].ports.iter().map(|port| (port.port, (port.state, port.reason))).collect();
    assert_eq!(states[&open], (PortState::Open, Reason::SynAck));
    assert_eq!(states[&closed], (PortState::Closed, Reason::ConnRefused));
    let outcome = outcome.unwrap();
    let tally = outcome.progress.tally;
    assert_eq!((tally.targets_done, tally.probes_sent, tally.open_ports), (1, 2, 1));
    assert!(outcome.targets_per_second > 0.0);
}

#[test]
fn what_an_open_port_says_first_is_kept_and_nothing_is_sent_to_it() {
    let (greeting, greeting_port) = listener("127.0.0.1");
    let (silent, silent_port) = listener("127.0.0.1");
    let greeter = thread::spawn(move || {
        let (mut socket, _) = greeting.accept().unwrap();
        socket.write_all(b"220 \x1b[31mred\r\n").unwrap();
        // A reset or an end, but never a byte.
        assert_eq!(socket.read(&mut [0; 16]).unwrap_or(0), 0);
    });
    let listener = thread::spawn(move || {
        let (mut socket, _) = silent.accept().unwrap();
        assert_eq!(socket.read(&mut [0; 16]).unwrap_or(0), 0);
    });
    let (records, _) = finish(engine().scan(task("127.0.0.1", ports(&[greeting_port, silent_port]))).unwrap());
    let banners: BTreeMap<u16, _> = records[0].ports.iter().map(|port| (port.port, port.banner.as_deref())).collect();
    assert_eq!(banners[&greeting_port], Some("220 \\x1b[31mred"));
    assert_eq!(banners[&silent_port], None);
    greeter.join().unwrap();
    listener.join().unwrap();
}

#[test]
fn a_flood_instead_of_a_greeting_is_cut() {
    let (flood, port) = listener("127.0.0.1");
    let flooder = thread::spawn(move || {
        let (mut socket, _) = flood.accept().unwrap();
        while socket.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    let (records, _) = finish(engine().scan(task("127.0.0.1", ports(&[port]))).unwrap());
    assert_eq!(records[0].ports[0].banner.as_ref().map(String::len), Some(512));
    flooder.join().unwrap();
}

#[test]
fn both_address_families_are_scanned_where_the_machine_has_them() {
    let (_v4, port) = listener("127.0.0.1");
    let has_v6 = TcpListener::bind(("::1", port)).ok();
    let (records, _) = finish(engine().scan(task("127.0.0.1,::1", ports(&[port]))).unwrap());
    let open: Vec<IpAddr> =
        records.iter().filter(|host| host.open_ports().count() == 1).map(|host| host.address).collect();
    assert!(open.contains(&"127.0.0.1".parse().unwrap()));
    assert_eq!(open.contains(&"::1".parse().unwrap()), has_v6.is_some());
}

#[test]
fn a_name_is_scanned_at_its_address_and_keeps_its_name() {
    let (_listener, port) = listener("127.0.0.1");
    let mut task = task("localhost", ports(&[port]));
    task.permit = Scope::new(&["127.0.0.0/8".parse().unwrap()]).into();
    let (records, outcome) = finish(engine().scan(task).unwrap());
    assert_eq!(outcome.unwrap().left_out.unresolved_count, 0);
    assert_eq!(
        (records[0].name.as_deref(), records[0].address.to_string()),
        (Some("localhost"), "127.0.0.1".to_owned())
    );
    assert_eq!(records[0].open_ports().count(), 1);
}

#[test]
fn units_of_several_jobs_run_side_by_side() {
    let (_listener, port) = listener("127.0.0.1");
    let engine = engine();
    let units: Vec<UnitScan> =
        (1..=20).map(|host| engine.scan(task(&format!("127.0.0.{host}"), ports(&[port]))).unwrap()).collect();
    for unit in units {
        let (records, outcome) = finish(unit);
        assert_eq!(records.len(), 1);
        assert!(outcome.is_ok());
    }
}

#[test]
fn a_cancelled_unit_stops_sending_at_once_and_keeps_what_it_found() {
    let mut task = task("127.0.0.0/24", "40000-40010".parse().unwrap());
    task.pace = Arc::new(RateCap::new(Some(200)));
    let cancel = task.cancel.clone();
    let engine = engine();
    let mut unit = engine.scan(task).unwrap();
    let first = unit.findings.blocking_recv().unwrap();
    assert!(!first.is_empty());
    cancel.cancel();
    let cancelled_at = Instant::now();
    let (_, outcome) = finish(unit);
    assert_eq!(outcome, Err(ScanError::Cancelled));
    println!("cancelled within {:?}", cancelled_at.elapsed());
}

#[test]
fn a_unit_whose_findings_nobody_reads_stops_sending_and_ends_when_they_are_dropped() {
    let engine = engine();
    let mut unit = engine.scan(task("127.0.0.0/20", "40000-40019".parse().unwrap())).unwrap();
    // The queue fills and sending stops: figures stand still well before the end.
    let mut last = u64::MAX;
    loop {
        thread::park_timeout(std::time::Duration::from_millis(250));
        let sent = unit.progress.borrow().tally.probes_sent;
        if sent == last {
            break;
        }
        last = sent;
    }
    assert!(last < 4096 * 20, "{last} probes although nobody reads");
    let first = unit.findings.blocking_recv().unwrap();
    assert!(!first.is_empty());
    drop(unit.findings);
    assert_eq!(unit.outcome.blocking_recv().unwrap(), Err(ScanError::Cancelled));
}

#[test]
fn what_must_not_or_cannot_be_scanned_is_refused_before_a_packet() {
    let engine = engine();
    let open = || ports(&[40_000]);
    let foreign = engine.scan(task("198.51.100.1", open())).map(drop);
    assert!(matches!(foreign, Err(ScanError::Scope(_))));
    let mut beyond = task("127.0.0.1", open());
    beyond.range = 0..2;
    assert!(matches!(engine.scan(beyond).map(drop), Err(ScanError::NoSuchUnit { targets: 1, .. })));
    let mut nowhere = task("127.0.0.1", open());
    nowhere.partition = 1;
    assert!(matches!(engine.scan(nowhere).map(drop), Err(ScanError::NoSuchUnit { targets: 0, .. })));
    let mut nothing = task("127.0.0.1", PortSet::default());
    Arc::make_mut(&mut nothing.spec).discovery.clear();
    assert!(matches!(engine.scan(nothing).map(drop), Err(ScanError::Spec(_))));
    let connect = Engine::start(EngineConfig { choice: EngineChoice::Connect, ..EngineConfig::default() }).unwrap();
    assert_eq!((connect.kind(), connect.note()), (EngineKind::Connect, None));
    let mut raw = task("127.0.0.1", open());
    raw.spec = Arc::new(ScanSpec { engine: EngineChoice::Raw, ..(*raw.spec).clone() });
    assert!(matches!(connect.scan(raw).map(drop), Err(ScanError::Unsupported { .. })));
}

#[test]
fn what_may_not_send_raw_packets_says_so_once_and_scans_all_the_same() {
    let engine = Engine::start(EngineConfig::default()).unwrap();
    assert_eq!(engine.note().is_some(), engine.kind() == EngineKind::Connect);
    let raw = Engine::start(EngineConfig { choice: EngineChoice::Raw, ..EngineConfig::default() });
    match raw {
        Ok(raw) => assert_eq!((raw.kind(), engine.kind()), (EngineKind::Raw, EngineKind::Raw)),
        Err(error) => {
            assert!(matches!(error, EngineError::RawUnavailable { .. }));
            assert_eq!(engine.kind(), EngineKind::Connect);
        }
    }
}

#[test]
fn the_last_handle_ends_the_engine_and_its_units() {
    let engine = engine();
    let mut slow = task("127.0.0.0/24", "40000-40010".parse().unwrap());
    slow.pace = Arc::new(RateCap::new(Some(1)));
    let unit = engine.scan(slow).unwrap();
    drop(engine);
    assert_eq!(finish(unit).1, Err(ScanError::Stopped));
}
