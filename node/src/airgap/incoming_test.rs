//! Results that are counted, known, left out and refused, on a node in this process.

#![expect(clippy::single_range_in_vec_init, reason = "ranges of numbers, of which there may be one")]

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;

use pentora_p2p::Identity;
use pentora_raft::ClusterId;
use pentora_raft::command::{SpecRef, Submission, UnitRange};
use pentora_raft::state::{self, JobLimits, Partition, Priority, Remarks};
use pentora_scanner::finding::{HostState, Identity as Who, Reason};

use super::super::archive::ArchiveWriter;
use super::super::encryption::{Recipient, Sink};
use super::super::manifest::{Content, Orders};
use super::super::queue::tests::scan_of;
use super::*;
use crate::api::Access;
use crate::app::{StopHandle, start_embedded};
use crate::results::ChunkWriter;

struct Cluster {
    taker: Taker,
    stop: StopHandle,
    directory: tempfile::TempDir,
}

impl Cluster {
    async fn new() -> Self {
        let (served, stop) = start_embedded("n1".into(), Access::Open, Digest::of(&[])).await.unwrap();
        let taker = Taker {
            raft: served.raft.clone(),
            proposer: served.proposer.clone(),
            exchange: served.exchange.clone(),
            key: Some(ClusterKey::from_secret(&[7; 32])),
        };
        Self { taker, stop, directory: tempfile::tempdir().unwrap() }
    }

    /// A carried job of 10.0.0.0/28 without 10.0.0.15.
    async fn carry(&self) -> (JobId, Digest) {
        let spec = spec_bytes();
        let submission = Submission {
            spec: SpecRef::Inline(spec.clone()),
            partitions: vec![Partition { target_count: 16, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: "t".into(),
            finished: Vec::new(),
        };
        let applied = self.taker.proposer.propose(Command::CarryJob(Box::new(submission))).await.unwrap();
        let Response::Submitted { job, .. } = applied.response else { panic!("{applied:?}") };
        (job, Digest::of(&spec))
    }

    async fn take(&self, file: &str, trust: Option<&Identity>, dry_run: bool) -> Result<ImportDocument, NotTaken> {
        self.taker.take_in(self.directory.path().join(file), trust.map(Identity::peer_id), dry_run).await
    }

    fn write(&self, file: &str, key: &Identity, first: u64, last: u64, units: Vec<(Unit, Bytes)>) {
        let contents: Vec<Content> = units.iter().map(|(unit, _)| unit.chunk).collect();
        let (units, chunks): (Vec<Unit>, Vec<Bytes>) = units.into_iter().unzip();
        let body = Body::Results(Results { name: "plant-7".into(), numbering: 0, first, last, units });
        write_bundle(&self.directory.path().join(file), key, contents, body, &chunks);
    }

    /// Encrypts a bundle that was written, and has it changed then.
    fn encrypt(&self, file: &str, to: &Recipient, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.directory.path().join(file);
        let mut out = Sink::new(Vec::new(), Some(to)).unwrap();
        out.write_all(&std::fs::read(&path).unwrap()).unwrap();
        let mut bytes = out.finish().unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    fn done(&self, job: JobId) -> (u64, JobStatus, usize) {
        self.taker.raft.read(|state| {
            let record = state.job(job).unwrap();
            (record.done, record.status, state.offline_workers().count())
        })
    }
}

fn write_bundle(path: &std::path::Path, key: &Identity, contents: Vec<Content>, body: Body, bytes: &[Bytes]) {
    write_bundle_of(&ClusterId::default().to_string(), path, key, contents, body, bytes);
}

fn write_bundle_of(
    cluster: &str,
    path: &std::path::Path,
    key: &Identity,
    contents: Vec<Content>,
    body: Body,
    bytes: &[Bytes],
) {
    let manifest = Manifest::new(cluster.into(), "now".into(), contents, body);
    let mut out = ArchiveWriter::new(File::create(path).unwrap(), key, &manifest.to_bytes()).unwrap();
    bytes.iter().for_each(|bytes| out.content(Digest::of(bytes), bytes).unwrap());
    out.finish().unwrap().flush().unwrap();
}

fn spec_bytes() -> Vec<u8> {
    let order: ScanSpec = spec::decode(&scan_of("10.0.0.0/28")).unwrap();
    let exclude = pentora_scanner::target::parse_targets("10.0.0.15", "test").unwrap();
    spec::encode(&ScanSpec { exclude, ..order })
}

fn host(address: [u8; 4]) -> HostRecord {
    HostRecord {
        address: Ipv4Addr::from(address).into(),
        name: None,
        state: HostState::Up,
        reason: Reason::SynAck,
        ports: Vec::new(),
        not_shown: Vec::new(),
        started_at_ms: 1,
        worker: "wrk_plant_7".into(),
        is_middlebox: false,
        ended_at_ms: 2,
        tcp: None,
        identity: Who::default(),
        likely_found_permille: None,
        is_target_itself: false,
        redirected: Vec::new(),
        stopped_after_probes: None,
    }
}

/// A unit with these hosts, as an honest worker writes it.
fn unit((job, spec): (JobId, Digest), start: u64, end: u64, hosts: &[[u8; 4]]) -> (Unit, Bytes) {
    let range = UnitRange { partition: 0, start, end };
    let mut chunk = ChunkWriter::new(&Heading { unit: range.of(job), end });
    hosts.iter().for_each(|address| chunk.push(&host(*address)));
    let bytes = chunk.finish();
    let unit = Unit {
        job,
        spec,
        unit: range,
        counts: Counts { hosts_up: hosts.len() as u64, probes_sent: 9, ..Counts::default() },
        remarks: Remarks::default(),
        chunk: Content { digest: Digest::of(&bytes), bytes: bytes.len() as u64 },
    };
    (unit, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_counted_once_in_any_order_and_a_missing_one_is_noticed() {
    let cluster = Cluster::new().await;
    let key = Identity::from_secret([5; 32]);
    let order = cluster.carry().await;
    cluster.write("1", &key, 1, 1, vec![unit(order, 0, 6, &[[10, 0, 0, 1]])]);
    cluster.write("2", &key, 2, 2, vec![unit(order, 6, 10, &[])]);
    cluster.write("3", &key, 3, 3, vec![unit(order, 10, 16, &[[10, 0, 0, 9], [10, 0, 0, 2]])]);
    let dry = cluster.take("3", Some(&key), true).await.unwrap();
    assert_eq!((dry.units_counted, dry.let_in, dry.missing_bundles), (1, true, vec!["1-2".to_owned()]));
    assert_eq!(cluster.done(order.0), (0, JobStatus::Carried, 0), "a dry run changes nothing");
    let third = cluster.take("3", Some(&key), false).await.unwrap();
    assert_eq!((third.units_counted, third.targets_counted, third.missing_bundles.join(",")), (1, 6, "1-2".into()));
    for _ in 0..2 {
        cluster.take("1", None, false).await.unwrap();
    }
    let again = cluster.take("1", None, false).await.unwrap();
    assert_eq!((again.units_counted, again.units_known, again.missing_bundles.join(",")), (0, 1, "2".into()));
    assert_eq!(cluster.done(order.0), (12, JobStatus::Carried, 1));
    let last = cluster.take("2", None, false).await.unwrap();
    assert_eq!((last.units_counted, last.missing_bundles.len()), (1, 0));
    assert_eq!(cluster.done(order.0), (16, JobStatus::Completed, 1));
    let hosts = cluster.taker.raft.read(|state| state.job(order.0).unwrap().counts.hosts_up);
    assert_eq!(hosts, 3);
    cluster.stop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_their_order_does_not_allow_are_refused_whole_with_nothing_changed() {
    let cluster = Cluster::new().await;
    let key = Identity::from_secret([5; 32]);
    let order = cluster.carry().await;
    let good = || unit(order, 0, 4, &[[10, 0, 0, 1]]);
    let counts = |change: fn(&mut Unit)| {
        let (mut unit, bytes) = good();
        change(&mut unit);
        (unit, bytes)
    };
    let other_heading = {
        let (mut claimed, _) = unit(order, 4, 8, &[]);
        let (_, bytes) = unit(order, 4, 9, &[]);
        claimed.chunk = Content { digest: Digest::of(&bytes), bytes: bytes.len() as u64 };
        (claimed, bytes)
    };
    let no_chunk = {
        let bytes = Bytes::from_static(b"no chunk");
        let (mut claimed, _) = good();
        claimed.chunk = Content { digest: Digest::of(&bytes), bytes: bytes.len() as u64 };
        (claimed, bytes)
    };
    for (bad, told) in [
        (unit(order, 4, 8, &[[10, 0, 0, 16]]), "was never to be scanned"),
        (unit(order, 4, 8, &[[10, 0, 0, 15]]), "was excluded"),
        (unit(order, 4, 8, &[[8, 8, 8, 8]]), "is outside the scope"),
        (unit(order, 4, 17, &[]), "is no part of"),
        (counts(|unit| unit.counts.hosts_up = 7), "are in it"),
        (counts(|unit| unit.counts.vulnerabilities = 1), "are in it"),
        (
            counts(|unit| {
                unit.remarks.not_probed.insert(0, 5);
            }),
            "cannot be right",
        ),
        (counts(|unit| unit.remarks.notes = (0..17).map(|note| note.to_string()).collect()), "cannot be right"),
        (other_heading, "holds another unit"),
        (no_chunk, "no chunk that this release knows"),
    ] {
        let units = if bad.0.unit.start == 0 { vec![bad] } else { vec![good(), bad] };
        cluster.write("bad", &key, 1, 1, units);
        let error = cluster.take("bad", Some(&key), false).await.unwrap_err();
        assert!(error.to_string().contains(told), "{told}: {error}");
        assert_eq!(cluster.done(order.0), (0, JobStatus::Carried, 0), "{error}");
    }
    cluster.stop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_order_of_the_same_id_found_is_left_out_and_the_rest_is_counted() {
    let cluster = Cluster::new().await;
    let key = Identity::from_secret([5; 32]);
    let order = cluster.carry().await;
    let other = unit((order.0, Digest::of(b"else")), 4, 8, &[[172, 16, 0, 1]]);
    cluster.write("1", &key, 1, 1, vec![unit(order, 0, 4, &[[10, 0, 0, 1]]), other]);
    let told = cluster.take("1", Some(&key), false).await.unwrap();
    assert_eq!((told.units_counted, told.left_out.len(), told.left_out[0].units), (1, 1, 1));
    assert!(told.left_out[0].reason.contains("another order"), "{:?}", told.left_out);
    assert_eq!(cluster.done(order.0), (4, JobStatus::Carried, 1));
    cluster.stop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_begun_anew_are_other_bundles_and_a_known_worker_is_told_by_its_id() {
    let cluster = Cluster::new().await;
    let key = Identity::from_secret([5; 32]);
    let order = cluster.carry().await;
    let write = |file: &str, (name, numbering): (&str, u64), (first, last), start: u64| {
        let (unit, chunk) = unit(order, start, start + 1, &[]);
        let contents = vec![unit.chunk];
        let results = Results { name: name.into(), numbering, first, last, units: vec![unit] };
        write_bundle(&cluster.directory.path().join(file), &key, contents, Body::Results(results), &[chunk]);
    };
    write("first", ("plant-7", 0), (1, 3), 0);
    write("second-3", ("n1", 70), (3, 3), 1);
    write("second-1", ("", 70), (1, 1), 2);
    cluster.take("first", Some(&key), false).await.unwrap();
    let told = cluster.take("second-3", None, false).await.unwrap();
    assert_eq!((told.worker_id.as_str(), told.missing_bundles.join(",")), ("wrk_plant_7", "1-2".into()));
    let told = cluster.take("second-1", None, false).await.unwrap();
    assert_eq!((told.worker_id.as_str(), told.missing_bundles.join(",")), ("wrk_plant_7", "2".into()));
    let arrived = cluster.taker.raft.read(|state| state.offline_workers().next().unwrap().1.arrived());
    assert_eq!((&arrived[&0][..], &arrived[&70][..]), (&[1..4][..], &[1..2, 3..4][..]));
    cluster.stop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_bundles_of_the_other_direction_are_refused() {
    let cluster = Cluster::new().await;
    let (key, stranger) = (Identity::from_secret([5; 32]), Identity::from_secret([6; 32]));
    let order = cluster.carry().await;
    cluster.write("1", &key, 1, 1, vec![unit(order, 0, 6, &[])]);
    let unknown = cluster.take("1", None, false).await.unwrap_err();
    assert!(matches!(unknown, NotTaken::Bundle(BundleError::UnknownSigner { .. })), "{unknown}");
    let other = cluster.take("1", Some(&stranger), false).await.unwrap_err();
    assert!(matches!(other, NotTaken::Bundle(BundleError::OtherSigner { .. })), "{other}");
    let orders = Orders {
        revision: 1,
        members: Vec::new(),
        orders: Vec::new(),
        rules: Vec::new(),
        feeds: None,
        arrived: Vec::new(),
        recipient: None,
        former: Vec::new(),
    };
    write_bundle(&cluster.directory.path().join("orders"), &key, Vec::new(), Body::Orders(orders), &[]);
    let direction = cluster.take("orders", Some(&key), false).await.unwrap_err();
    assert!(matches!(direction, NotTaken::Bundle(BundleError::Direction(_))), "{direction}");
    assert_eq!(cluster.done(order.0), (0, JobStatus::Carried, 0));
    cluster.take("1", Some(&key), false).await.unwrap();
    cluster.taker.proposer.propose(Command::Cancel { job: order.0, reason: "x".into() }).await.unwrap();
    cluster.write("2", &key, 2, 2, vec![unit(order, 6, 9, &[]), unit((JobId(999), order.1), 0, 1, &[])]);
    let left = cluster.take("2", None, false).await.unwrap();
    assert_eq!((left.units_counted, left.left_out.len()), (0, 2));
    assert_eq!(left.left_out[0].reason, "the job is cancelled");
    cluster.stop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_another_cluster_are_refused_whoever_is_trusted_and_nobody_is_let_in() {
    let cluster = Cluster::new().await;
    let key = Identity::from_secret([5; 32]);
    let order = cluster.carry().await;
    let path = cluster.directory.path().join("foreign");
    let write = |of: &str, units: Vec<(Unit, Bytes)>| {
        let contents = units.iter().map(|(unit, _)| unit.chunk).collect();
        let (units, chunks): (Vec<Unit>, Vec<Bytes>) = units.into_iter().unzip();
        let last = units.len() as u64;
        let results = Results { name: "plant-7".into(), numbering: 0, first: 1, last, units };
        write_bundle_of(of, &path, &key, contents, Body::Results(results), &chunks);
    };
    let refused = async |told: &str| {
        for (trust, dry_run) in [(Some(&key), true), (Some(&key), false)] {
            let error = cluster.take("foreign", trust, dry_run).await.unwrap_err();
            assert!(error.to_string().contains(told), "{told}: {error}");
            assert_eq!(cluster.done(order.0), (0, JobStatus::Carried, 0), "{error}");
        }
    };
    let other = ClusterId([9; 16]).to_string();
    let told = format!("it is of cluster {other}, and this is cluster {}", ClusterId::default());
    write(&other, vec![unit(order, 0, 6, &[])]);
    refused(&told).await;
    // Without a unit of ours, and without any.
    write(&other, vec![unit((JobId(999), order.1), 0, 6, &[])]);
    refused(&told).await;
    write(&other, Vec::new());
    refused(&told).await;
    write("", Vec::new());
    refused("its worker had taken no orders in").await;
    cluster.stop.stop().await;
}

#[test]
fn results_of_a_cluster_that_this_one_was_restored_from_are_its_own() {
    let (own, before) = (ClusterId([1; 16]), ClusterId([2; 16]));
    let here = state::Cluster { id: Some(own), former: vec![before], ..state::Cluster::default() };
    for id in [own, before] {
        check_cluster(&id.to_string(), &here).unwrap();
    }
    assert!(check_cluster(&ClusterId([3; 16]).to_string(), &here).is_err());
}

/// To whom it is encrypted, what becomes of its bytes then, and what is said of that.
type Change<'a> = (&'a Recipient, fn(&mut Vec<u8>), &'static str);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_encrypted_to_the_cluster_is_counted_and_what_is_cut_changed_or_anothers_changes_nothing() {
    let cluster = Cluster::new().await;
    let key = Identity::from_secret([5; 32]);
    let order = cluster.carry().await;
    let own = cluster.taker.key.as_ref().unwrap().recipient();
    let other = ClusterKey::from_secret(&[8; 32]).recipient();
    let changes: [Change<'_>; 5] = [
        (&other, |_| {}, "another key than this cluster's"),
        (&own, |bytes| bytes.truncate(bytes.len() - 1), "cut short"),
        (&own, |bytes| bytes.truncate(100), "cut short"),
        (
            &own,
            |bytes| {
                let at = bytes.len() - 20;
                bytes[at] ^= 1;
            },
            "does not decrypt",
        ),
        (&own, |bytes| bytes.extend(b"more"), "does not decrypt"),
    ];
    for (to, change, told) in changes {
        cluster.write("1", &key, 1, 1, vec![unit(order, 0, 6, &[[10, 0, 0, 1]])]);
        cluster.encrypt("1", to, change);
        for dry_run in [true, false] {
            let error = cluster.take("1", Some(&key), dry_run).await.unwrap_err();
            assert!(error.to_string().contains(told), "{told}: {error}");
            assert_eq!(cluster.done(order.0), (0, JobStatus::Carried, 0), "{error}");
        }
    }
    cluster.write("1", &key, 1, 1, vec![unit(order, 0, 6, &[[10, 0, 0, 1]])]);
    cluster.encrypt("1", &own, |_| {});
    let unknown = cluster.take("1", None, false).await.unwrap_err();
    assert!(
        matches!(unknown, NotTaken::Bundle(BundleError::UnknownSigner { .. })),
        "encrypted is not signed: {unknown}"
    );
    assert_eq!(cluster.take("1", Some(&key), false).await.unwrap().units_counted, 1);
    assert_eq!(cluster.take("1", None, false).await.unwrap().units_known, 1, "twice is as once");
    assert_eq!(cluster.done(order.0), (6, JobStatus::Carried, 1));
    cluster.stop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_units_than_an_entry_of_the_log_takes_are_counted_in_several() {
    let cluster = Cluster::new().await;
    let key = Identity::from_secret([5; 32]);
    let spec = spec::encode(&ScanSpec { ..spec::decode(&scan_of("10.1.0.0/22")).unwrap() });
    let submission = Submission {
        spec: SpecRef::Inline(spec.clone()),
        partitions: vec![Partition { target_count: 1_024, ..Partition::default() }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
        via: 1,
        idempotency_key: None,
        title: "t".into(),
        finished: Vec::new(),
    };
    let applied = cluster.taker.proposer.propose(Command::CarryJob(Box::new(submission))).await.unwrap();
    let Response::Submitted { job, .. } = applied.response else { panic!("{applied:?}") };
    let units = (0..512).map(|at| unit((job, Digest::of(&spec)), at * 2, at * 2 + 2, &[])).collect();
    cluster.write("1", &key, 1, 1, units);
    let taken = cluster.take("1", Some(&key), false).await.unwrap();
    assert_eq!((taken.units_counted, taken.left_out.len()), (512, 0));
    assert_eq!(cluster.done(job), (1_024, JobStatus::Completed, 1));
    cluster.stop.stop().await;
}
