//! The raw engine against a machine in a network namespace of its own, at the other end of a cable.
//!
//! Each test makes two namespaces by unsharing two threads, and they end with them. Where that is not allowed the tests
//! say so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::{Engine, EngineConfig, EngineKind, UnitOutcome};
use crate::finding::{HostRecord, PortState, Reason};
use crate::pace::RateCap;
use crate::report::Fold;
use crate::scope::Scope;
use crate::spec::{EngineChoice, ScanSpec};

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip {arguments}");
}

/// The other machine: answers for 10.77.0.0/24 and as 10.9.0.2, with a greeting on 2022 and silence on 2080.
fn other_machine(thread: &SyncSender<Option<i32>>, cable: &Receiver<()>, ready: &SyncSender<()>, end: &Receiver<()>) {
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        return thread.send(None).unwrap();
    }
    thread.send(Some(nix::unistd::gettid().as_raw())).unwrap();
    if cable.recv().is_err() {
        return;
    }
    ip("link set lo up");
    ip("addr add 10.9.0.2/24 dev cable1");
    ip("link set cable1 up");
    ip("route add local 10.77.0.0/24 dev lo");
    let greeting = TcpListener::bind("0.0.0.0:2022").unwrap();
    let _silent = TcpListener::bind("0.0.0.0:2080").unwrap();
    thread::spawn(move || {
        for connection in greeting.incoming() {
            let _ = connection.and_then(|mut socket| socket.write_all(b"220 here\r\n"));
        }
    });
    ready.send(()).unwrap();
    let _ = end.recv();
}

/// Runs a test on the one machine while the other is there.
fn with_a_cable(test: impl FnOnce() + Send) {
    let ((thread_in, thread_out), (cable_in, cable_out)) = (sync_channel(1), sync_channel(1));
    let ((ready_in, ready_out), (end_in, end_out)) = (sync_channel(1), sync_channel(1));
    thread::scope(|scope| {
        scope.spawn(move || other_machine(&thread_in, &cable_out, &ready_in, &end_out));
        let tester = scope.spawn(move || {
            let Some(other) = thread_out.recv().unwrap() else {
                eprintln!("skipped: this user may not make network namespaces");
                return;
            };
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            ip(&format!("link add cable0 type veth peer name cable1 netns {other}"));
            cable_in.send(()).unwrap();
            ip("addr add 10.9.0.1/24 dev cable0");
            ip("link set cable0 up");
            ip("route add 10.77.0.0/24 via 10.9.0.2");
            ready_out.recv().unwrap();
            test();
            drop(end_in);
        });
        if let Err(panic) = tester.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn engine() -> Engine {
    let engine = Engine::start(EngineConfig { choice: EngineChoice::Raw, ..EngineConfig::default() }).unwrap();
    assert_eq!(engine.kind(), EngineKind::Raw);
    engine
}

fn task(targets: &str, ports: &str, choice: EngineChoice) -> UnitTask {
    let partitions = vec![targets.parse().unwrap()];
    let spec = ScanSpec { partitions, ports: ports.parse().unwrap(), seed: 5, engine: choice, ..ScanSpec::default() };
    UnitTask {
        range: 0..spec.target_count(),
        spec: Arc::new(spec),
        partition: 0,
        scope: Arc::new(Scope::default()),
        pace: Arc::new(RateCap::new(None)),
        cancel: CancellationToken::new(),
    }
}

fn finish(mut unit: UnitScan) -> (Vec<HostRecord>, Result<UnitOutcome, ScanError>) {
    let mut fold = Fold::new();
    while let Some(batch) = unit.findings.blocking_recv() {
        batch.into_iter().for_each(|finding| fold.add(finding));
    }
    (fold.finish(0, "wrk_test").collect(), unit.outcome.blocking_recv().unwrap())
}

#[test]
fn open_and_closed_ports_behind_a_gateway_are_told_apart_and_greetings_heard() {
    with_a_cable(|| {
        let (records, outcome) =
            finish(engine().scan(task("10.77.0.0/27", "2022,2080,2081", EngineChoice::Raw)).unwrap());
        assert_eq!(records.len(), 32);
        for host in &records {
            let ports: BTreeMap<u16, _> = host.ports.iter().map(|port| (port.port, port)).collect();
            let known = |port: u16| (ports[&port].state, ports[&port].reason);
            assert_eq!(known(2022), (PortState::Open, Reason::SynAck));
            assert_eq!(ports[&2022].banner.as_deref(), Some("220 here"));
            assert_eq!(known(2080), (PortState::Open, Reason::SynAck));
            assert_eq!(ports[&2080].banner, None);
            assert_eq!(known(2081), (PortState::Closed, Reason::Reset));
        }
        let progress = outcome.unwrap().progress;
        assert_eq!((progress.targets_done, progress.hosts_up, progress.open_ports), (32, 32, 64));
        assert!(progress.loss_estimate < 1e-9);
    });
}

#[test]
fn on_the_link_a_host_is_up_when_it_answers_arp() {
    with_a_cable(|| {
        let (records, outcome) =
            finish(engine().scan(task("10.9.0.2-10.9.0.20", "2022,2081-2090", EngineChoice::Raw)).unwrap());
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].address, records[0].open_ports().count()), ("10.9.0.2".parse::<IpAddr>().unwrap(), 1));
        assert_eq!(outcome.unwrap().progress.targets_done, 19);
    });
}

#[test]
fn this_machines_own_addresses_go_to_the_connect_engine_or_are_refused() {
    with_a_cable(|| {
        let engine = engine();
        let refused = engine.scan(task("10.9.0.0/29", "2022", EngineChoice::Raw)).map(drop);
        assert!(matches!(refused, Err(ScanError::NotRaw { .. })));
        let (records, _) = finish(engine.scan(task("10.9.0.0/29", "2022", EngineChoice::Auto)).unwrap());
        let up: BTreeSet<String> = records.iter().map(|host| host.address.to_string()).collect();
        assert_eq!(up, BTreeSet::from(["10.9.0.1".to_owned(), "10.9.0.2".to_owned()]));
    });
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
            assert_eq!(outcome.unwrap().progress.open_ports, if port == 2080 { 64 } else { 0 });
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
        let mut task = task("10.77.0.0/24", "3000-3049", EngineChoice::Raw);
        task.pace = Arc::new(RateCap::new(Some(1000)));
        let cancel = task.cancel.clone();
        let unit = engine.scan(task).unwrap();
        let pause = |millis| thread::park_timeout(Duration::from_millis(millis));
        pause(500);
        let (begun, before) = (Instant::now(), packets_sent());
        pause(2000);
        let rate = (packets_sent() - before) as f64 / begun.elapsed().as_secs_f64();
        assert!((900.0..=1060.0).contains(&rate), "{rate} packets per second");
        cancel.cancel();
        pause(100);
        let silent = packets_sent();
        pause(300);
        // The kernel may renew what it knows of its neighbour.
        assert!(packets_sent() - silent <= 2);
        assert_eq!(finish(unit).1.map(drop), Err(ScanError::Cancelled));
    });
}
