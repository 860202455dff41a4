//! The service scan held against a scan whose ends are in the test's hand.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::detect::Plain;
use crate::finding::{Reason, TcpScan};
use crate::pace::RateCap;
use crate::spec::Profile;
use crate::tally::{Estimates, LeftOut, Tally};
use crate::unit::UnitProgress;

/// The scan's side of it.
struct Scan {
    findings: mpsc::Sender<Vec<Finding>>,
    progress: watch::Sender<UnitProgress>,
    outcome: oneshot::Sender<Result<UnitOutcome, ScanError>>,
    cancel: CancellationToken,
}

fn attached(spec: &ScanSpec) -> (Scan, UnitScan) {
    attached_at(spec, None)
}

fn attached_at(spec: &ScanSpec, rate_pps: Option<u64>) -> (Scan, UnitScan) {
    let (findings, findings_out) = mpsc::channel(1);
    let (progress, progress_out) = watch::channel(UnitProgress::default());
    let (outcome, outcome_out) = oneshot::channel();
    let cancel = CancellationToken::new();
    let scan = UnitScan {
        findings: findings_out,
        progress: progress_out,
        note: None,
        tcp: TcpScan::Connect,
        outcome: outcome_out,
    };
    let detector = Arc::new(Detector::new(Arc::new(Plain), 16));
    let pacing = Arc::new(Pacing::new(Arc::new(RateCap::new(rate_pps)), None, None));
    let gate = Gate::new(Arc::new(spec.clone()), Arc::default());
    let staged = attach(scan, spec, detector, (gate, pacing), &Handle::current(), cancel.clone());
    (Scan { findings, progress, outcome, cancel }, staged)
}

fn spec() -> ScanSpec {
    ScanSpec { services: Some(7), ..ScanSpec::default() }
}

fn open(address: IpAddr, port: u16, index: u64) -> Finding {
    let observation = Observation::Port {
        port: Port::tcp(port),
        state: PortState::Open,
        reason: Reason::SynAck,
        ttl: Some(64),
        stack: None,
    };
    Finding { target_index: index, address, name: None, observation }
}

fn outcome() -> UnitOutcome {
    UnitOutcome {
        progress: UnitProgress::default(),
        duration: Duration::from_secs(1),
        sending: Duration::from_secs(1),
        targets_per_second: 1.0,
        left_out: LeftOut::default(),
        recapture: None,
    }
}

/// A server that greets and holds on to its connections.
async fn greeting(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Handle::current().spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(words).await;
            held.push(stream);
        }
    });
    address
}

/// A web server, which speaks once it is asked.
async fn web() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Handle::current().spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            Handle::current().spawn(async move {
                let mut asked = [0; 1024];
                if stream.read(&mut asked).await.is_ok_and(|count| count > 0) && asked.starts_with(b"GET ") {
                    let page = "HTTP/1.0 200 OK\r\nServer: nginx/1.18.0\r\nContent-Length: 2\r\n\r\nok";
                    let _ = stream.write_all(page.as_bytes()).await;
                }
            });
        }
    });
    address
}

async fn all(scan: &mut UnitScan) -> Vec<Finding> {
    let mut findings = Vec::new();
    while let Some(batch) = scan.findings.recv().await {
        findings.extend(batch);
    }
    findings
}

#[tokio::test]
async fn an_open_port_is_followed_by_what_it_is() {
    let server = greeting(b"SSH-2.0-dropbear_2022.83\r\n").await;
    let (scan, mut staged) = attached(&spec());
    let found = open(server.ip(), server.port(), 7);
    scan.findings.send(vec![found.clone()]).await.unwrap();
    scan.progress
        .send_replace(UnitProgress { tally: Tally { targets_done: 9, ..Tally::default() }, ..UnitProgress::default() });
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    let findings = all(&mut staged).await;
    assert_eq!((findings.len(), &findings[0]), (3, &found));
    assert!(findings.iter().all(|finding| finding.target_index == 7 && finding.address == server.ip()));
    assert!(matches!(&findings[1].observation, Observation::Banner { banner, .. } if banner.starts_with("SSH-2.0")));
    let Observation::Service { port, service } = &findings[2].observation else { panic!("{:?}", findings[2]) };
    assert_eq!((port.number, service.product.as_deref()), (server.port(), Some("dropbear")));
    assert!(service.facts.contains(&("os-hint".to_owned(), "Unix-like".to_owned())), "from the time to live");
    assert_eq!(staged.progress.borrow().tally.targets_done, 9);
    assert!(staged.outcome.await.unwrap().unwrap().duration >= Duration::from_secs(1));
}

/// The names of open ports' services at a rate, and whether pages were read.
async fn named(servers: &[SocketAddr], rate_pps: Option<u64>) -> Vec<(u16, String, Option<String>, bool)> {
    let (scan, mut staged) = attached_at(&spec(), rate_pps);
    let found = servers.iter().map(|server| open(server.ip(), server.port(), 0)).collect();
    scan.findings.send(found).await.unwrap();
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    let mut named = Vec::new();
    for finding in all(&mut staged).await {
        if let Observation::Service { port, service } = finding.observation {
            named.push((port.number, service.name.clone(), service.version.clone(), service.http.is_some()));
        }
    }
    named.sort();
    named
}

#[tokio::test]
async fn at_a_low_rate_ports_are_named_as_at_any_and_only_later() {
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.extend([greeting(b"SSH-2.0-dropbear_2022.83\r\n").await, web().await]);
    }
    let fast = named(&servers, None).await;
    assert_eq!((fast.len(), fast.iter().filter(|(_, _, _, has_page)| *has_page).count()), (8, 4), "{fast:?}");
    let begun = Instant::now();
    let slow = named(&servers, Some(3)).await;
    assert!(begun.elapsed() > DEFAULT_BUDGET, "all of them together take longer than one may: {:?}", begun.elapsed());
    assert_eq!(slow, fast);
}

#[tokio::test]
async fn a_spec_that_wants_no_payload_leaves_the_scan_as_it_is() {
    let server = greeting(b"SSH-2.0-x\r\n").await;
    for spec in [ScanSpec { services: None, ..spec() }, ScanSpec { profile: Profile::OtSafe, ..spec() }] {
        let (scan, mut staged) = attached(&spec);
        scan.findings.send(vec![open(server.ip(), server.port(), 0)]).await.unwrap();
        drop(scan.findings);
        assert_eq!(all(&mut staged).await.len(), 1);
    }
}

#[tokio::test]
async fn once_the_scan_is_over_it_is_told_of_how_many_ports_are_still_asked() {
    let (silent, server) = (greeting(b"").await, greeting(b"SSH-2.0-x\r\n").await);
    let (scan, mut staged) = attached(&spec());
    let found = vec![open(silent.ip(), silent.port(), 0), open(server.ip(), server.port(), 0)];
    scan.findings.send(found).await.unwrap();
    assert_eq!(staged.findings.recv().await.unwrap().len(), 2);
    scan.progress.send_modify(|progress| progress.tally.targets_done = 9);
    staged.progress.wait_for(|told| told.tally.targets_done == 9).await.unwrap();
    assert_eq!(staged.progress.borrow().still_asked, None, "it goes on");
    drop(scan.findings);
    let within = Duration::from_secs(30);
    let told = staged.progress.wait_for(|told| told.still_asked == Some(1));
    tokio::time::timeout(within, told).await.expect("one of the two says nothing").unwrap();
    scan.cancel.cancel();
}

#[tokio::test]
async fn cancelling_ends_it_while_a_port_is_silent() {
    let server = greeting(b"").await;
    let (scan, mut staged) = attached(&spec());
    scan.findings.send(vec![open(server.ip(), server.port(), 0)]).await.unwrap();
    assert_eq!(staged.findings.recv().await.unwrap().len(), 1);
    scan.cancel.cancel();
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), staged.outcome).await.expect("it does not wait");
    assert_eq!(ended.unwrap(), Err(ScanError::Cancelled), "not all that was asked for was done");
}

#[tokio::test]
async fn a_reader_that_is_gone_ends_the_scan() {
    let (scan, staged) = attached(&spec());
    drop(staged.findings);
    let address = IpAddr::from([127, 0, 0, 1]);
    let ended = async {
        // A port that nobody listens on costs nothing here; the sender notices that it is not read.
        while scan.findings.send(vec![open(address, 1, 0)]).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the scan is told");
}

#[tokio::test]
async fn a_slow_reader_holds_up_the_scan() {
    let (scan, mut staged) = attached(&spec());
    let address = IpAddr::from([127, 0, 0, 1]);
    let mut closed = open(address, 1, 0);
    closed.observation = Observation::Middlebox;
    let mut sent = 0;
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_millis(300), scan.findings.send(vec![closed.clone()])).await
    {
        sent += 1;
        assert!(sent < 10 * FINDINGS_QUEUE, "nothing holds it up");
    }
    assert!(sent >= FINDINGS_QUEUE);
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    assert_eq!(all(&mut staged).await.len(), sent, "and nothing is lost");
}

#[tokio::test]
async fn ports_of_a_unit_wait_while_its_scan_loses_and_are_all_asked_when_it_has_ended() {
    let server = greeting(b"SSH-2.0-dropbear_2022.83\r\n").await;
    let (scan, mut staged) = attached(&spec());
    let estimates = Estimates { loss: 2.0 * LOSING, ..Estimates::default() };
    scan.progress.send_replace(UnitProgress { estimates, ..UnitProgress::default() });
    assert_eq!((asked_max(2.0 * LOSING), asked_max(LOSING / 2.0)), (ASKED_MAX_LOSING, usize::MAX));
    let ports = 3 * ASKED_MAX_LOSING as u64;
    scan.findings.send((0..ports).map(|index| open(server.ip(), server.port(), index)).collect()).await.unwrap();
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    let findings = all(&mut staged).await;
    let services = findings.iter().filter_map(|finding| match &finding.observation {
        Observation::Service { service, .. } => Some(Arc::clone(service)),
        _ => None,
    });
    let services: Vec<_> = services.collect();
    assert_eq!(services.len() as u64, ports);
    assert!(services.iter().all(|service| Arc::ptr_eq(service, &services[0])), "what is interner is held once");
}

#[tokio::test]
async fn names_of_one_address_are_told_what_its_port_said_to_one_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (server, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    Handle::current().spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(b"SSH-2.0-dropbear_2022.83\r\n").await;
            held.push(stream);
        }
    });
    let (scan, mut staged) = attached(&spec());
    let named =
        |index: u64| Finding { name: Some(format!("n{index}").into()), ..open(server.ip(), server.port(), index) };
    scan.findings.send((0..100).map(named).collect()).await.unwrap();
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    let findings = all(&mut staged).await;
    let told = findings.iter().filter(|finding| matches!(finding.observation, Observation::Service { .. }));
    let told: HashSet<_> = told.map(|finding| (finding.target_index, finding.name.clone())).collect();
    assert_eq!(told.len(), 100);
    let once = asked.load(Ordering::Relaxed);
    assert!(once < 10, "{once} connections");
}

#[test]
fn what_was_told_of_before_is_shared_and_no_more_than_so_much_is_remembered() {
    let mut interner = Interner::default();
    let told = |interner: &mut Interner, name: &str| {
        let service = Arc::new(Service { name: name.to_owned(), ..Service::default() });
        let observation = Observation::Service { port: Port::tcp(1), service };
        let finding = Finding { target_index: 0, address: [10, 0, 0, 1].into(), name: None, observation };
        match interner.share(finding).observation {
            Observation::Service { service, .. } => service,
            other => panic!("{other:?}"),
        }
    };
    let (first, again, other) = (told(&mut interner, "a"), told(&mut interner, "a"), told(&mut interner, "b"));
    assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
    for number in 0..2 * INTERNED_MAX {
        told(&mut interner, &number.to_string());
        assert!(interner.services.len() <= INTERNED_MAX);
    }
}
