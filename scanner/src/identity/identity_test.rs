//! The stage held against a scan whose ends are in the test's hand, and name servers that it makes up.

use std::thread;

use super::*;
use crate::finding::{Mac, Reason, TcpScan};
use crate::io::reverse_dns::{Lookup, NoAnswer};
use crate::sample;
use crate::spec::ScanSpec;
use crate::tally::LeftOut;
use crate::unit::UnitProgress;

/// The scan's side of it.
struct Scan {
    findings: mpsc::Sender<Vec<Finding>>,
    progress: watch::Sender<UnitProgress>,
    outcome: oneshot::Sender<Result<UnitOutcome, ScanError>>,
    cancel: CancellationToken,
}

fn attached(targets: &str, lookup: Lookup) -> (Scan, UnitScan) {
    let (findings, findings_out) = mpsc::channel(4);
    let (progress, progress_out) = watch::channel(UnitProgress::default());
    let (outcome, outcome_out) = oneshot::channel();
    let scan = UnitScan {
        findings: findings_out,
        progress: progress_out,
        note: None,
        tcp: TcpScan::Syn,
        outcome: outcome_out,
    };
    let task = sample::task(ScanSpec { reverse_dns: true, ..sample::spec(targets, "80", 1) });
    let vendors = Mutex::new(Some(Arc::new(Vendors::default())));
    let identities = Arc::new(Identities { dns: ReverseDns::with_lookup(lookup), vendors });
    let staged = identities.attach(scan, &task, &Handle::current());
    (Scan { findings, progress, outcome, cancel: task.cancel }, staged)
}

fn up(index: u64, address: &str) -> Finding {
    let observation = Observation::Host { state: HostState::Up, reason: Reason::SynAck };
    Finding { target_index: index, address: address.parse().unwrap(), name: None, observation }
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

async fn all(staged: &mut UnitScan) -> Vec<Finding> {
    let mut all = Vec::new();
    while let Some(batch) = staged.findings.recv().await {
        all.extend(batch);
    }
    all
}

#[tokio::test]
async fn every_host_that_is_up_is_asked_about_and_what_it_is_called_follows() {
    let (scan, mut staged) =
        attached("10.9.0.0/29", |address| Ok((address == IpAddr::from([10, 9, 0, 2])).then(|| "b.example".to_owned())));
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let hardware = Finding { observation: Observation::Hardware { mac, vendor: None }, ..up(1, "10.9.0.2") };
    scan.findings.send(vec![up(0, "10.9.0.1"), up(1, "10.9.0.2"), hardware.clone()]).await.unwrap();
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    let found = all(&mut staged).await;
    assert_eq!(found[..3], [up(0, "10.9.0.1"), up(1, "10.9.0.2"), hardware]);
    let name = Observation::ReverseDns { name: Arc::from("b.example") };
    assert_eq!(found[3..], [Finding { observation: name, ..up(1, "10.9.0.2") }]);
    assert!(staged.outcome.await.unwrap().is_ok() && staged.tcp == TcpScan::Syn);
}

#[tokio::test(start_paused = true)]
async fn name_servers_that_do_not_answer_cost_a_unit_seconds_and_none_of_its_findings() {
    let (scan, mut staged) = attached("10.9.0.0/24", |_| {
        thread::park_timeout(Duration::from_secs(30));
        Err(NoAnswer)
    });
    let hosts: Vec<Finding> = (0..200).map(|index| up(index, &format!("10.9.0.{index}"))).collect();
    scan.findings.send(hosts.clone()).await.unwrap();
    let settled = UnitProgress { settled_until: 256, ..UnitProgress::default() };
    scan.progress.send(settled).unwrap();
    assert_eq!(staged.findings.recv().await, Some(hosts));
    let begun = Instant::now();
    drop(scan.findings);
    scan.outcome.send(Ok(outcome())).unwrap();
    staged.progress.wait_for(|told| told.still_asked == Some(0)).await.expect("no budget is kept for name servers");
    assert!(all(&mut staged).await.is_empty());
    assert!(staged.outcome.await.unwrap().is_ok());
    assert!(begun.elapsed() <= QUIET_MAX + Duration::from_millis(100), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_target_is_settled_when_its_question_is_answered() {
    let (scan, mut staged) = attached("10.9.0.0/24", |_| {
        thread::park_timeout(Duration::from_millis(200));
        Ok(Some("a.example".to_owned()))
    });
    scan.findings.send(vec![up(7, "10.9.0.7")]).await.unwrap();
    scan.progress.send(UnitProgress { settled_until: 20, ..UnitProgress::default() }).unwrap();
    assert_eq!(staged.findings.recv().await.unwrap().len(), 1);
    let mut until = Vec::new();
    while until.last() != Some(&20) {
        staged.progress.changed().await.unwrap();
        until.push(staged.progress.borrow().settled_until);
        if until.last() == Some(&20) {
            assert!(matches!(staged.findings.try_recv().unwrap()[0].observation, Observation::ReverseDns { .. }));
        }
    }
    assert!(until.iter().all(|settled| [0, 7, 20].contains(settled)), "{until:?}");
    drop(scan);
}

#[tokio::test]
async fn a_cancelled_unit_does_not_wait_for_names() {
    let (scan, mut staged) = attached("10.9.0.0/24", |_| {
        thread::park_timeout(Duration::from_secs(30));
        Err(NoAnswer)
    });
    scan.findings.send(vec![up(1, "10.9.0.1")]).await.unwrap();
    assert!(staged.findings.recv().await.is_some());
    scan.cancel.cancel();
    drop(scan.findings);
    scan.outcome.send(Err(ScanError::Cancelled)).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(staged.outcome.await.unwrap(), Err(ScanError::Cancelled));
    assert!(begun.elapsed() < QUIET_MAX, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_unit_of_loopback_alone_is_given_back_as_it_came() {
    let (scan, staged) = attached("127.0.0.0/24,::1", |_| Ok(Some("a.example".to_owned())));
    drop(staged);
    assert!(scan.findings.is_closed(), "no stage holds the other end");
}
