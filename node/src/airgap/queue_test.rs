//! Orders that are taken in, and those that are refused with nothing changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use pentora_p2p::Identity;
use pentora_raft::JobId;
use pentora_raft::command::{Author, UnitRange};
use pentora_raft::state::{JobLimits, Partition, Priority};
use pentora_scanner::target::parse_targets;

use super::super::archive::ArchiveWriter;
use super::super::encryption::{ClusterKey, Sink};
use super::super::manifest::{Arrived, Feed};
use super::*;

pub(crate) fn scan_of(targets: &str) -> Vec<u8> {
    let targets = parse_targets(targets, "test").unwrap();
    let ports = "80".parse().unwrap();
    spec::encode(&ScanSpec { partitions: vec![targets], ports, ..ScanSpec::default() })
}

pub(crate) fn order(job: u64, spec: &[u8], target_count: u64) -> Order {
    Order {
        job: JobId(job),
        title: "a scan".into(),
        author: Author::default(),
        priority: Priority::Normal,
        partitions: vec![Partition { target_count, ..Partition::default() }],
        limits: JobLimits { max_attempts: 3, ..JobLimits::default() },
        spec: Digest::of(spec),
        counted: vec![UnitRange { partition: 0, start: 0, end: 1 }],
    }
}

/// A bundle of orders of these jobs, each of 4 targets.
fn bundle(directory: &Path, key: &Identity, revision: u64, jobs: &[u64], feed: Option<&[u8]>) -> PathBuf {
    let spec = scan_of("10.0.0.0/30");
    let orders = jobs.iter().map(|job| order(*job, &spec, 4)).collect::<Vec<_>>();
    bundle_of(directory, key, revision, orders, feed, &spec)
}

fn bundle_of(
    directory: &Path,
    key: &Identity,
    revision: u64,
    orders: Vec<Order>,
    feed: Option<&[u8]>,
    spec: &[u8],
) -> PathBuf {
    bundle_to(directory, key, (revision, None), orders, feed, spec)
}

fn bundle_to(
    directory: &Path,
    key: &Identity,
    (revision, recipient): (u64, Option<String>),
    orders: Vec<Order>,
    feed: Option<&[u8]>,
    spec: &[u8],
) -> PathBuf {
    let contents: Vec<&[u8]> = (!orders.is_empty()).then_some(spec).into_iter().chain(feed).collect();
    let listed = contents.iter().map(|bytes| Content { digest: Digest::of(bytes), bytes: bytes.len() as u64 });
    let orders = Orders {
        revision,
        members: vec![key.peer_id()],
        orders,
        rules: Vec::new(),
        feeds: Some(feed.into_iter().map(|feed| Feed { kind: "cve".into(), digest: Digest::of(feed) }).collect()),
        arrived: vec![Arrived {
            worker: key.peer_id(),
            bundles: std::iter::once(1..3).collect(),
            numbered: BTreeMap::new(),
        }],
        recipient,
        former: Vec::new(),
    };
    let path = directory.join(format!("orders-{revision}.tar.gz"));
    write_orders(&path, key, ("c1", orders), listed.collect(), &contents);
    path
}

fn write_orders(
    path: &Path,
    key: &Identity,
    (cluster, orders): (&str, Orders),
    listed: Vec<Content>,
    contents: &[&[u8]],
) {
    let manifest = Manifest::new(cluster.into(), "now".into(), listed, Body::Orders(orders));
    let mut out = ArchiveWriter::new(File::create(path).unwrap(), key, &manifest.to_bytes()).unwrap();
    contents.iter().for_each(|bytes| out.content(Digest::of(bytes), bytes).unwrap());
    out.finish().unwrap().flush().unwrap();
}

/// A bundle of a cluster without an order, which began as others.
fn empty_of(directory: &Path, key: &Identity, (cluster, former): (&str, &[&str]), revision: u64) -> PathBuf {
    let orders = Orders {
        revision,
        members: vec![key.peer_id()],
        orders: Vec::new(),
        rules: Vec::new(),
        feeds: None,
        arrived: Vec::new(),
        recipient: None,
        former: former.iter().map(|former| (*former).to_owned()).collect(),
    };
    let path = directory.join(format!("{cluster}-{revision}.tar.gz"));
    write_orders(&path, key, (cluster, orders), Vec::new(), &[]);
    path
}

/// Every file of a directory with its bytes.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![(path.clone(), std::fs::read(&path).unwrap())] }
        })
        .collect();
    files.sort();
    files
}

#[test]
fn orders_are_taken_in_whole_and_the_newest_are_all_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(&directory.path().join("queue")).unwrap();
    let key = Identity::from_secret([1; 32]);
    assert_eq!(queue.told().unwrap(), None);
    let first = bundle(directory.path(), &key, 10, &[5, 6], Some(b"feed"));
    let told = queue.take_in(&first, Some(key.peer_id()), 0).unwrap();
    assert_eq!(queue.told().unwrap().as_ref(), Some(&told));
    assert_eq!(queue.spec(&told.orders.orders[0]).unwrap().target_count(), 4);
    assert_eq!(queue.content(Digest::of(b"feed")).unwrap(), Bytes::from_static(b"feed"));
    let again = queue.take_in(&first, None, 0).unwrap();
    assert_eq!(again, told, "twice is as once");
    let second = queue.take_in(&bundle(directory.path(), &key, 11, &[6], None), None, 0).unwrap();
    assert_eq!(second.orders.orders.iter().map(|order| order.job.0).collect::<Vec<_>>(), [6]);
    assert!(queue.content(Digest::of(b"feed")).is_err(), "what nothing names is gone");
}

#[test]
fn results_are_encrypted_to_the_key_that_the_orders_name_and_to_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(&directory.path().join("queue")).unwrap();
    let key = Identity::from_secret([1; 32]);
    let early = queue.recipient().unwrap_err();
    assert!(early.to_string().starts_with("no orders were taken in yet") && !early.is_of_bundle(), "{early}");
    let clusters = ClusterKey::from_secret(&[7; 32]).recipient();
    let spec = scan_of("10.0.0.0/30");
    let named = |revision: u64, recipient: Option<&str>| {
        let orders = vec![order(5, &spec, 4)];
        let file = bundle_to(directory.path(), &key, (revision, recipient.map(str::to_owned)), orders, None, &spec);
        queue.take_in(&file, Some(key.peer_id()), 0).unwrap();
        queue.recipient().map_err(|error| error.to_string())
    };
    let none = "the orders that were taken in last do not name the cluster's key, to which results are encrypted";
    assert_eq!(named(1, Some(&clusters.to_string())), Ok(clusters));
    assert_eq!(named(2, None), Err(none.to_owned()), "orders of an earlier release");
    assert_eq!(named(3, Some("age1pq1xyz")), Err(none.to_owned()), "those of a later one are carried out all the same");
}

#[test]
fn orders_of_another_cluster_are_refused_whoever_is_trusted_unless_it_was_restored_from_ours() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("queue");
    let queue = Queue::open(&place).unwrap();
    let (key, other) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let told = queue.take_in(&bundle(directory.path(), &key, 10, &[5], None), Some(key.peer_id()), 0).unwrap();
    let before = files(&place);
    let same_signer = empty_of(directory.path(), &key, ("c2", &[]), 11);
    let foreign = empty_of(directory.path(), &other, ("c3", &["c2"]), 11);
    for (file, trust) in [(&same_signer, None), (&same_signer, Some(&key)), (&foreign, Some(&other))] {
        let error = queue.take_in(file, trust.map(Identity::peer_id), 0).unwrap_err();
        let is_told = error.to_string().ends_with("and this worker works for cluster c1");
        assert!(is_told && error.is_of_bundle() && files(&place) == before, "{error}");
    }
    assert_eq!(queue.told().unwrap(), Some(told));
    // Its backup was made before the orders that are here.
    let restored = empty_of(directory.path(), &other, ("c4", &["c0", "c1"]), 9);
    assert!(matches!(queue.take_in(&restored, None, 0), Err(BundleError::UnknownSigner { .. })));
    assert_eq!(queue.take_in(&restored, Some(other.peer_id()), 0).unwrap().cluster, "c4");
    let older = empty_of(directory.path(), &other, ("c4", &["c0", "c1"]), 8);
    let error = queue.take_in(&older, None, 0).unwrap_err();
    assert!(matches!(error, BundleError::Older { revision: 8, here: 9 }), "{error}");
    let gone = empty_of(directory.path(), &key, ("c1", &[]), 20);
    let error = queue.take_in(&gone, Some(key.peer_id()), 0).unwrap_err();
    assert!(error.to_string().ends_with("and this worker works for cluster c4"), "{error}");
}

#[test]
fn what_is_refused_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("queue");
    let queue = Queue::open(&place).unwrap();
    let (key, stranger) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let old = bundle(directory.path(), &key, 9, &[5], None);
    queue.take_in(&bundle(directory.path(), &key, 10, &[5], None), Some(key.peer_id()), 0).unwrap();
    let before = files(&place);
    let refused = |file: &Path, trust: Option<&Identity>, told: &str| {
        let error = queue.take_in(file, trust.map(Identity::peer_id), 0).unwrap_err();
        assert!(error.is_of_bundle() && error.to_string().contains(told), "{error}");
        assert_eq!(files(&place), before, "{error}");
    };
    refused(&old, None, "is older than what is here");
    refused(&old, Some(&key), "is older than what is here");
    let strange = bundle(directory.path(), &stranger, 12, &[5], None);
    refused(&strange, None, "that key is not trusted here");
    refused(&strange, Some(&key), "not by");
    let spec = scan_of("10.0.0.0/30");
    refused(&bundle_of(directory.path(), &key, 13, vec![order(5, &spec, 5)], None, &spec), None, "not as many");
    refused(&bundle_of(directory.path(), &key, 14, vec![order(5, b"x", 4)], None, b"x"), None, "cannot be carried out");
    let good = bundle(directory.path(), &key, 15, &[5, 6], Some(&[7; 5_000]));
    let mut bytes = std::fs::read(&good).unwrap();
    bytes.truncate(bytes.len() - 9);
    std::fs::write(&good, bytes).unwrap();
    refused(&good, None, "cut short");
    let sealed = directory.path().join("encrypted");
    let mut out =
        Sink::new(File::create(&sealed).unwrap(), Some(&ClusterKey::from_secret(&[7; 32]).recipient())).unwrap();
    out.write_all(&std::fs::read(&strange).unwrap()).unwrap();
    out.finish().unwrap();
    refused(&sealed, None, "it is encrypted, and there is no key here");
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&pipe, None, "it is no file");
    refused(directory.path(), None, "it is no file");
    let full = queue.take_in(&strange, Some(stranger.peer_id()), u64::MAX).unwrap_err();
    assert!(matches!(full, BundleError::Medium(_)), "{full}");
    assert_eq!(files(&place), before);
}
