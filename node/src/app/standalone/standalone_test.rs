//! What a worker without a mesh makes of orders and remarks; that it scans them is shown with real processes.

use pentora_raft::Digest;
use pentora_raft::command::{Author, UnitRange};
use pentora_raft::state::{Counts, JobLimits, Partition, Priority, Remarks};

use super::work::{part_of, since};
use super::*;
use crate::airgap::manifest::Content;

fn order(counted: &[(u64, u64)]) -> Order {
    let range = |(start, end): &(u64, u64)| UnitRange { partition: 0, start: *start, end: *end };
    Order {
        job: JobId(5),
        title: String::new(),
        author: Author::default(),
        priority: Priority::Normal,
        partitions: vec![Partition { target_count: 40, ..Partition::default() }],
        limits: JobLimits::default(),
        spec: Digest::of(b"spec"),
        counted: counted.iter().map(range).collect(),
    }
}

fn unit(job: u64, spec: &[u8], start: u64, end: u64) -> Unit {
    Unit {
        job: JobId(job),
        spec: Digest::of(spec),
        unit: UnitRange { partition: 0, start, end },
        counts: Counts::default(),
        remarks: Remarks::default(),
        chunk: Content { digest: Digest::of(b"x"), bytes: 1 },
    }
}

#[test]
fn what_is_counted_and_what_is_kept_is_done_and_nothing_else() {
    let units =
        [unit(5, b"spec", 10, 20), unit(6, b"spec", 20, 30), unit(5, b"other", 30, 35), unit(5, b"spec", 38, 90)];
    let done = done_of(&order(&[(0, 5), (4, 12)]), units.iter());
    assert_eq!(done[0].iter().collect::<Vec<_>>(), [0..20, 38..40]);
    let odd = order(&[(50, 60), (7, 3)]);
    assert_eq!(done_of(&odd, [].iter())[0].total(), 0, "ranges that no partition has do no harm");
}

#[test]
fn remarks_are_parted_among_units_and_none_has_more_than_its_targets() {
    let now = Remarks { not_probed: [(0, 9), (2, 4)].into(), notes: ["a".into(), "b".into()].into() };
    let before = Remarks { not_probed: [(0, 2)].into(), notes: ["a".into()].into() };
    let mut fresh = since(&now, &before);
    assert_eq!(fresh, Remarks { not_probed: [(0, 7), (2, 4)].into(), notes: ["b".into()].into() });
    let parts: Vec<Remarks> = (0..3).map(|_| part_of(&mut fresh, 5)).collect();
    assert_eq!(parts.iter().map(Remarks::not_probed_total).collect::<Vec<_>>(), [5, 5, 1]);
    assert_eq!(parts.iter().map(|part| part.notes.len()).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn a_worker_s_name_is_a_part_of_a_file_s() {
    assert_eq!(file_name("plant-7"), "plant-7");
    assert_eq!(file_name("a/b:c@d"), "a_b_c_d");
}
