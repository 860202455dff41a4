//! A finished job's bundle holds, and nothing that was cut, altered, reordered or signed by somebody else does.

use std::path::PathBuf;

use pentora_raft::Response;
use pentora_raft::command::{AuditEntry, Author, Command, Finished, Proposal, Submission, UnitKey, UnitRange};
use pentora_raft::state::{JobLimits, Partition, Priority};
use pentora_scanner::spec::ScanSpec;

use super::*;
use crate::api::Access;
use crate::app::{StopHandle, start_embedded};
use crate::clock::wall_ms;
use crate::document::ScanRequest;
use crate::results::{ChunkWriter, EARLIER_RUN, Heading};
use crate::signing::PersonKey;

struct Scene {
    folder: tempfile::TempDir,
    alice: PersonKey,
    node: Identity,
    job: JobId,
    _stop: StopHandle,
}

fn spec_of(targets: &str, order: Option<String>) -> ScanSpec {
    ScanSpec {
        partitions: vec![targets.parse().unwrap()],
        ports: "22".parse().unwrap(),
        banners: true,
        order,
        reverse_dns: true,
        ..ScanSpec::default()
    }
}

fn signed(key: &PersonKey) -> Option<String> {
    let request = ScanRequest {
        targets: vec!["10.0.0.0/28".into()],
        ports: Some("22".into()),
        services: false,
        ..ScanRequest::default()
    };
    orders::to_carry(&orders::sign(&request, None, (wall_ms() - 1_000, 3_600_000), key).unwrap())
}

impl Scene {
    /// A job of two units that alice ordered, and its bundle.
    async fn new() -> Self {
        let (served, stop) = start_embedded("n1".into(), Access::Open, Digest::of(&[])).await.unwrap();
        let author = Author { who: "ci".into(), from: "10.0.0.9".into() };
        let entry = |action: &str, outcome| AuditEntry {
            author: author.clone(),
            action: action.into(),
            object: String::new(),
            outcome,
            times: 1,
        };
        let note = |batch, entries| served.proposer.propose(Command::NoteAudit { batch, entries });
        note(1, vec![entry("GET /api/v1/tokens", Outcome::Refused { status: 403 })]).await.unwrap();
        note(2, vec![entry("POST /api/v1/scans", Outcome::Asked)]).await.unwrap();
        // A plan of the same token meanwhile, by which nothing comes to be.
        note(5, vec![entry("POST /api/v1/scans", Outcome::Asked)]).await.unwrap();
        let alice = PersonKey::generate();
        let mut finished = Vec::new();
        for (start, end) in [(0, 10), (10, 16)] {
            let unit = UnitKey { job: EARLIER_RUN, partition: 0, start };
            let stored = served.exchange.make_durable(ChunkWriter::new(&Heading { unit, end }).finish()).await;
            let unit = UnitRange { partition: 0, start, end };
            finished.push(Finished { unit, stored, counts: Counts { probes_sent: 9, ..Counts::default() } });
        }
        let submission = Submission {
            spec: SpecRef::Inline(spec::encode(&spec_of("10.0.0.0/28", signed(&alice)))),
            partitions: vec![Partition { target_count: 16, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: "10.0.0.0/28".into(),
            finished,
        };
        let command = Command::SubmitAs { submission: Box::new(submission), author: author.clone() };
        let submitted = served.proposer.propose(command).await.unwrap().response;
        let Response::Submitted { job, .. } = submitted else { panic!("{submitted:?}") };
        note(6, vec![entry("POST /api/v1/scans", Outcome::Answered { asked: 3, status: 200 })]).await.unwrap();
        note(3, vec![entry("POST /api/v1/scans", Outcome::Answered { asked: 2, status: 202 })]).await.unwrap();
        note(4, vec![entry(&format!("POST /api/v1/jobs/{job}/pause"), Outcome::Asked)]).await.unwrap();
        let scene = Self { folder: tempfile::tempdir().unwrap(), alice, node: Identity::generate(), job, _stop: stop };
        let cluster = (ClusterId([7; 16]), wall_ms());
        let (raft, exchange) = (&served.raft, &served.exchange);
        write(raft, exchange, &scene.node, cluster, job, &scene.file("good")).await.unwrap();
        let unknown = write(raft, exchange, &scene.node, cluster, JobId(999), &scene.file("none")).await;
        assert!(matches!(unknown, Err(NoRecord::Unknown(JobId(999)))));
        scene
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wanted(&self) -> Wanted {
        Wanted { job: Some(self.job), signers: vec![self.alice.public()], any_node: true, ..Wanted::default() }
    }

    fn contents(&self) -> (Manifest, Vec<Vec<u8>>) {
        let (reader, manifest) = open(&self.file("good"), None, |_| Ok(())).unwrap();
        let mut all = Vec::new();
        let taken = reader.contents(&manifest.contents, |_, bytes| {
            all.push(bytes);
            Ok::<(), BundleError>(())
        });
        taken.unwrap();
        (manifest, all)
    }

    /// What is said of a bundle that a node of a cluster that was taken over makes of this one, and signs.
    fn forged(&self, forge: impl FnOnce(&mut JobRecord, &mut Vec<Vec<u8>>)) -> String {
        let (manifest, mut contents) = self.contents();
        let Body::Job(mut record) = manifest.body else { panic!("another body") };
        forge(&mut record, &mut contents);
        let listed = contents.iter().map(|bytes| Content { digest: Digest::of(bytes), bytes: bytes.len() as u64 });
        let manifest = Manifest::new(manifest.cluster, manifest.made_at, listed.collect(), Body::Job(record));
        let path = self.file("forged");
        let out = File::create(&path).unwrap();
        let mut out = ArchiveWriter::new(out, &Identity::generate(), &manifest.to_bytes()).unwrap();
        contents.iter().for_each(|bytes| out.content(Digest::of(bytes), bytes).unwrap());
        out.finish().unwrap().flush().unwrap();
        verify(&path, &self.wanted()).unwrap_err().to_string()
    }
}

/// What is in a compressed file; `None` where it does not read.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut flate2::bufread::GzDecoder::new(bytes), &mut all).ok().map(|_read| all)
}

/// Puts another spec in.
fn respec(record: &mut JobRecord, contents: &mut [Vec<u8>], spec: &ScanSpec) {
    contents[0] = spec::encode(spec);
    record.spec = Digest::of(&contents[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_is_verified_from_its_file_alone() {
    let scene = Scene::new().await;
    assert_eq!(super::super::signer_of(&scene.file("good")).unwrap(), scene.node.peer_id());
    let node = Some(scene.node.peer_id());
    let job = verify(&scene.file("good"), &Wanted { node, any_node: false, ..scene.wanted() }).unwrap();
    assert_eq!((job.signed_by, job.asked_by.as_str()), (Some(scene.alice.public().to_string()), "ci"));
    assert_eq!((job.chunks, job.targets, job.audit_entries, job.status.as_str()), (2, 16, 3, "completed"));
    let bob = PersonKey::generate().public();
    for (wanted, part) in [
        (Wanted { signers: vec![bob], ..scene.wanted() }, "not by whom you named"),
        (Wanted { node: Some(Identity::generate().peer_id()), ..scene.wanted() }, "it is signed by"),
        (Wanted { any_node: false, ..scene.wanted() }, "that key is not trusted here"),
        (Wanted { job: Some(JobId(999)), ..scene.wanted() }, "it holds job-"),
    ] {
        let error = verify(&scene.file("good"), &wanted).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_job_is_shown_with_the_request_that_made_it_and_with_no_plan_nor_another_request() {
    let mut state = State::default();
    let mut note = |index: u64, at_ms, who: &str, action: &str, outcome| {
        let author = Author { who: who.into(), from: "10.0.0.9".into() };
        let entries = vec![AuditEntry { author, action: action.into(), object: String::new(), outcome, times: 1 }];
        state.apply(index, &Proposal { at_ms, command: Command::NoteAudit { batch: index, entries } });
    };
    let answered = |asked, status| Outcome::Answered { asked, status };
    let (scans, schedules) = (SCAN.0, SCHEDULE.0);
    note(1, 1_000, "ci", scans, Outcome::Asked);
    note(2, 1_100, "ci", scans, answered(1, 202));
    note(3, 2_000, "ci", scans, Outcome::Asked);
    note(4, 2_500, "bob", scans, Outcome::Asked);
    note(5, 3_000, "ci", scans, Outcome::Asked);
    note(6, 3_600, "ci", scans, answered(5, 200));
    note(7, 3_700, "ci", scans, answered(3, 202));
    note(8, 10_000, "ci", schedules, Outcome::Asked);
    note(9, 10_500, "ci", schedules, answered(8, 201));
    note(10, 20_000, "ci", schedules, Outcome::Asked);
    note(11, 20_500, "ci", schedules, answered(10, 201));
    note(12, 21_000, "ci", schedules, Outcome::Asked);
    note(13, 21_500, "ci", schedules, answered(12, 409));
    note(14, 22_000, "ci", scans, Outcome::Asked);
    let asked_for = |who: &str, ask, made_at_ms, about| {
        let mut asking = Asking::new(who, ask, made_at_ms, about);
        state.audit(0).for_each(|(number, record)| asking.see((number, record, record.digest)));
        asking.found().map(|entries| entries.iter().map(|(number, ..)| *number).collect::<Vec<_>>())
    };
    let scan = asked_for("ci", SCAN, 3_500, true);
    assert_eq!(scan, Some(vec![3, 7]), "5 was a plan, and 1 had been answered");
    assert_eq!(asked_for("ci", SCHEDULE, 10_200, true), Some(vec![8, 9]));
    assert_eq!(asked_for("ci", SCHEDULE, 30_000, false), Some(vec![10, 11]), "what it made last, for want of better");
    assert_eq!(asked_for("ci", SCHEDULE, 30_000, true), None);
    let late = asked_for("ci", SCAN, 22_100 + ASKED_WITHIN_MS, true);
    assert_eq!(late, None, "one without an answer is not for ever");
    assert_eq!(asked_for("eve", SCAN, 3_500, true), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_cut_or_changed_anywhere_does_not_hold() {
    let scene = Scene::new().await;
    let good = std::fs::read(scene.file("good")).unwrap();
    let path = scene.file("bad");
    let refused = |bytes: &[u8], what: &dyn std::fmt::Display| {
        std::fs::write(&path, bytes).unwrap();
        assert!(verify(&path, &scene.wanted()).is_err(), "{what}");
    };
    for length in (0..good.len()).step_by(31) {
        refused(&good[..length], &length);
    }
    // What stands before is of gzip: a time and a system, which nobody reads.
    for place in (10..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        // Bits that fill a byte of the compression up are nobody's.
        if unpacked(&bytes) != unpacked(&good) {
            refused(&bytes, &place);
        }
    }
    refused(&[&good[..], b"more"].concat(), &"more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_signs_what_it_made_up_is_found_out_by_what_it_cannot_sign() {
    let scene = Scene::new().await;
    let (mallory, alice) = (PersonKey::generate(), &scene.alice);
    let unsigned = scene.forged(|record, contents| respec(record, contents, &spec_of("10.0.0.0/28", None)));
    assert!(unsigned.contains("nobody signed"), "{unsigned}");
    let anothers = spec_of("10.0.0.0/28", signed(&mallory));
    let anothers = scene.forged(|record, contents| respec(record, contents, &anothers));
    assert!(anothers.contains("not by whom you named"), "{anothers}");
    let other_targets = spec_of("10.0.1.0/28", signed(alice));
    let beyond = scene.forged(|record, contents| respec(record, contents, &other_targets));
    assert!(beyond.contains("does not ask for 10.0.1.0/28"), "{beyond}");
    let late = scene.forged(|record, _| record.submitted_at_ms += 7_200_000);
    assert!(late.contains("expired at"), "{late}");
    let reordered = scene.forged(|record, contents| {
        record.units.reverse();
        contents[1..].reverse();
    });
    assert!(reordered.contains("out of order"), "{reordered}");
    let swapped = scene.forged(|record, contents| {
        let [first, second] = record.units.as_mut_slice() else { panic!("two units") };
        std::mem::swap(&mut first.chunk, &mut second.chunk);
        contents[1..].reverse();
    });
    assert!(swapped.contains("of another unit"), "{swapped}");
    let less = scene.forged(|record, contents| {
        record.units.pop();
        contents.pop();
    });
    assert!(less.contains("do not count"), "{less}");
    let renamed = scene.forged(|record, _| record.audit[0].entry.who = "root".into());
    assert!(renamed.contains("audit log was changed"), "{renamed}");
    let silent = scene.forged(|record, _| record.audit.clear());
    assert!(silent.contains("no entry by which"), "{silent}");
    let shuffled = scene.forged(|record, _| record.audit.swap(0, 1));
    assert!(shuffled.contains("out of order"), "{shuffled}");
    let emptied = scene.forged(|record, contents| {
        record.units.clear();
        contents.truncate(1);
        record.done = 0;
    });
    assert!(emptied.contains("0 of its 16 targets"), "{emptied}");
    let failed = scene.forged(|record, _| record.status = "failed".into());
    assert!(failed.contains("said to have failed"), "{failed}");
    let odd = scene.forged(|record, _| record.status = "approved".into());
    assert!(odd.contains("not ended as a job does"), "{odd}");
    let retitled = scene.forged(|record, _| record.title = "10.99.0.0/16".into());
    assert!(retitled.contains("it is called 10.99.0.0/16"), "{retitled}");
    let run = scene.forged(|record, _| record.title = "10.0.0.0/28 [nightly]".into());
    assert!(run.contains("it is called 10.0.0.0/28 [nightly]"), "the order is for no schedule: {run}");
    let more_hosts = scene.forged(|record, _| {
        record.units[0].counts.hosts_up = 5;
        record.counts.hosts_up = 5;
    });
    assert!(more_hosts.contains("fewer hosts"), "{more_hosts}");
}
