//! Results that are kept, written into numbered bundles, and let go once they have arrived.

#![expect(clippy::single_range_in_vec_init, reason = "ranges of numbers, of which there may be one")]

use super::super::encryption::ClusterKey;
use super::super::manifest::tests::unit;
use super::super::open;
use super::*;

fn said() -> (String, String, String) {
    ("c1".into(), "plant-7".into(), "now".into())
}

/// A worker with so many units of job 5.
pub(crate) fn with_units(directory: &Path, count: u64) -> Kept {
    let kept = Kept::open(&directory.join("results"), 0).unwrap();
    (0..count).for_each(|at| add(&kept, at));
    kept
}

pub(crate) fn add(kept: &Kept, at: u64) {
    let chunk = format!("chunk {at}");
    kept.add(&unit(5, at * 10, at * 10 + 10, chunk.as_bytes()), chunk.as_bytes()).unwrap();
}

fn manifest_of(file: &Path) -> Manifest {
    open(file, None, |_| Ok(())).unwrap().1
}

/// Where the units of a bundle begin.
fn starts(file: &Path) -> Vec<u64> {
    let (reader, manifest) = open(file, None, |_| Ok(())).unwrap();
    reader.contents::<BundleError>(&manifest.contents, |_, _| Ok(())).unwrap();
    let Body::Results(results) = manifest.body else { panic!("no results") };
    results.units.iter().map(|unit| unit.unit.start).collect()
}

/// What a cluster says that has these bundles of the numbering in use.
fn of(kept: &Kept, ranges: &[Range<u64>]) -> Arrived {
    let numbered = BTreeMap::from([(kept.bundles().unwrap().numbering(), ranges.to_vec())]);
    Arrived { worker: Identity::from_secret([3; 32]).peer_id(), bundles: Vec::new(), numbered }
}

#[test]
fn each_unit_is_in_one_bundle_and_bundles_are_numbered_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let (kept, key) = (with_units(directory.path(), 2), Identity::from_secret([3; 32]));
    assert!(kept.has_news().unwrap());
    let first = kept.write(&file("1"), Which::New, &key, None, said()).unwrap();
    assert_eq!(first, Written { first: 1, last: 1, units: 2, jobs: 1, left: 0 });
    assert!(!kept.has_news().unwrap());
    let none = kept.write(&file("none"), Which::New, &key, None, said()).unwrap();
    assert_eq!((none.first, none.last, none.units), (2, 1, 0), "nothing new has no number of its own");
    add(&kept, 2);
    let second = kept.write(&file("2"), Which::New, &key, None, said()).unwrap();
    assert_eq!((second.first, second.last, starts(&file("2"))), (2, 2, vec![20]));
    let all = kept.write(&file("all"), Which::All, &key, None, said()).unwrap();
    assert_eq!((all.first, all.last, starts(&file("all"))), (1, 2, vec![0, 10, 20]));
    add(&kept, 3);
    let all = kept.write(&file("all-and-new"), Which::All, &key, None, said()).unwrap();
    assert_eq!((all.first, all.last, starts(&file("all-and-new"))), (1, 3, vec![0, 10, 20, 30]));
}

#[test]
fn a_bundle_that_is_encrypted_is_read_with_its_key_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, key) = (with_units(directory.path(), 2), Identity::from_secret([3; 32]));
    let (file, clusters) = (directory.path().join("1.age"), ClusterKey::from_secret(&[7; 32]));
    kept.write(&file, Which::New, &key, Some(&clusters.recipient()), said()).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    assert!(!bytes.windows(8).any(|part| part == b"manifest"), "nothing of it is told");
    let (reader, manifest) = open(&file, Some(&clusters), |_| Ok(())).unwrap();
    assert_eq!(reader.signer(), key.peer_id());
    reader.contents::<BundleError>(&manifest.contents, |_, _| Ok(())).unwrap();
    for other in [None, Some(&ClusterKey::from_secret(&[8; 32]))] {
        let error = open(&file, other, |_| Ok(())).map(drop).unwrap_err();
        assert!(error.is_of_bundle() && matches!(error, BundleError::Encryption(_)), "{error}");
    }
}

#[test]
fn a_bundle_that_could_not_be_written_leaves_its_number_free() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, key) = (with_units(directory.path(), 1), Identity::from_secret([3; 32]));
    let taken = directory.path().join("taken");
    std::fs::write(&taken, b"x").unwrap();
    for file in [taken.clone(), directory.path().join("no/such/directory")] {
        kept.write(&file, Which::New, &key, None, said()).unwrap_err();
    }
    let full = Kept { floor_bytes: u64::MAX, ..kept.clone() };
    let error = full.write(&directory.path().join("1"), Which::New, &key, None, said()).unwrap_err();
    assert!(matches!(error, BundleError::Medium(_)), "{error}");
    assert!(full.add(&unit(5, 90, 99, b"x"), b"x").is_err(), "the floor holds on the disk as well");
    assert_eq!(std::fs::read(&taken).unwrap(), b"x");
    let written = kept.write(&directory.path().join("1"), Which::New, &key, None, said()).unwrap();
    assert_eq!((written.first, written.last), (1, 1));
}

#[test]
fn results_that_the_disk_lost_hold_up_no_other_and_are_scanned_again() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, key) = (with_units(directory.path(), 3), Identity::from_secret([3; 32]));
    std::fs::write(kept.chunk_path(Digest::of(b"chunk 0")), b"x").unwrap();
    std::fs::remove_file(kept.chunk_path(Digest::of(b"chunk 1"))).unwrap();
    let file = directory.path().join("1");
    let written = kept.write(&file, Which::New, &key, None, said()).unwrap();
    assert_eq!((written.units, starts(&file)), (1, vec![20]));
    assert_eq!(kept.units().unwrap().len(), 1);
    add(&kept, 0);
    let again = kept.write(&directory.path().join("2"), Which::New, &key, None, said()).unwrap();
    assert_eq!((again.first, again.units), (2, 1));
}

#[test]
fn what_has_arrived_is_let_go_and_what_is_missing_can_be_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let (kept, key) = (with_units(directory.path(), 0), Identity::from_secret([3; 32]));
    for at in 0..3 {
        add(&kept, at);
        kept.write(&file(&at.to_string()), Which::New, &key, None, said()).unwrap();
    }
    let open = BTreeSet::from([JobId(5)]);
    kept.arrived(&of(&kept, &[9..12]), &open).unwrap();
    assert_eq!(kept.bundles().unwrap().underway(), 3, "bundles that were never written do not count");
    kept.arrived(&of(&kept, &[1..2, 3..4]), &open).unwrap();
    assert_eq!((kept.bundles().unwrap().count(), kept.bundles().unwrap().underway()), (3, 1));
    assert_eq!(kept.chunk(Digest::of(b"chunk 0")).unwrap(), None);
    assert_eq!(kept.units().unwrap().len(), 3, "what is done stays known");
    let again = kept.write(&file("again"), Which::All, &key, None, said()).unwrap();
    assert_eq!((again.first, again.last, starts(&file("again"))), (2, 3, vec![10]));
    kept.arrived(&of(&kept, &[1..4]), &BTreeSet::new()).unwrap();
    assert_eq!(kept.units().unwrap().len(), 0, "nothing stays of what has ended");
    let none = kept.write(&file("none"), Which::All, &key, None, said()).unwrap();
    assert_eq!((none.first, none.last, none.units), (4, 3, 0));
    add(&kept, 7);
    assert!(kept.has_news().unwrap());
}

#[test]
fn what_arrived_of_a_directory_that_was_lost_lets_nothing_of_the_new_one_go() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let key = Identity::from_secret([3; 32]);
    let write = |kept: &Kept, at: u64, name: &str| {
        add(kept, at);
        kept.write(&file(name), Which::New, &key, None, said()).unwrap();
    };
    let open = BTreeSet::from([JobId(5)]);
    let first = with_units(directory.path(), 0);
    (0..2).for_each(|at| write(&first, at, &format!("first-{at}")));
    let mut arrived = of(&first, &[1..3]);
    arrived.bundles = vec![1..3];
    std::fs::remove_dir_all(directory.path().join("results")).unwrap();
    let second = with_units(directory.path(), 0);
    (2..4).for_each(|at| write(&second, at, &format!("second-{at}")));
    // Two that began within a second may by chance be called the same; that is no matter of this test.
    if second.bundles().unwrap().numbering() != *arrived.numbered.first_key_value().unwrap().0 {
        second.arrived(&arrived, &open).unwrap();
        assert_eq!(second.bundles().unwrap().underway(), 2);
        assert!(second.chunk(Digest::of(b"chunk 2")).unwrap().is_some(), "it has not arrived");
    }
    let Body::Results(results) = manifest_of(&file("second-2")).body else { panic!("no results") };
    assert_eq!((results.numbering, results.first), (second.bundles().unwrap().numbering(), 1));
    second.arrived(&of(&second, &[1..2]), &open).unwrap();
    assert_eq!(second.chunk(Digest::of(b"chunk 2")).unwrap(), None);
    assert!(second.chunk(Digest::of(b"chunk 3")).unwrap().is_some());
}

#[test]
fn numbers_that_an_earlier_release_began_go_on_without_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, key) = (with_units(directory.path(), 1), Identity::from_secret([3; 32]));
    std::fs::write(kept.path.join(BUNDLES), br#"{"ends":[1],"arrived":[]}"#).unwrap();
    add(&kept, 1);
    let file = directory.path().join("2");
    let written = kept.write(&file, Which::New, &key, None, said()).unwrap();
    assert_eq!((written.last, kept.bundles().unwrap().numbering()), (2, 0));
    assert!(!String::from_utf8_lossy(&manifest_of(&file).to_bytes()).contains("numbering"));
    let arrived = Arrived { worker: key.peer_id(), bundles: vec![1..3], numbered: BTreeMap::new() };
    kept.arrived(&arrived, &BTreeSet::from([JobId(5)])).unwrap();
    assert_eq!(kept.bundles().unwrap().underway(), 0);
}
