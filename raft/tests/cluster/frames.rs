//! What goes over the transport stays within a frame, and what would not is refused before it is in the log.

use std::sync::atomic::Ordering;

use pentora_raft::command::ENTRY_BYTES_MAX;
use pentora_raft::network::FRAME_BYTES_MAX;
use pentora_raft::state::{Needs, Partition};
use pentora_raft::{Command, Refusal, Response};

use crate::harness::{Cluster, Kept, job, job_id, lan, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_specs_reach_a_follower_that_was_cut_off_in_frames_that_pass() {
    for kept in [Kept::InMemory, Kept::OnDisk] {
        let cluster = Cluster::formed(3, 3, lan(), kept).await;
        cluster.all_alike(&[1, 2, 3]).await;
        cluster.network.isolate(3);
        let mut jobs = Vec::new();
        for number in 0..30 {
            jobs.push(job_id(&cluster.raft(1).propose(job(number, 60 << 10)).await.unwrap().response));
        }
        cluster.network.heal();
        cluster.all_alike(&[1, 2, 3]).await;
        let state = cluster.state(3);
        assert!(jobs.iter().all(|job| state.spec(*job).is_some()));
        let largest = cluster.traffic.largest_frame.load(Ordering::Relaxed);
        assert!((60 << 10..=FRAME_BYTES_MAX).contains(&largest), "the largest frame had {largest} bytes");
    }
}

/// A submission whose partitions need so many networks each.
fn with_networks(networks: usize) -> Command {
    let Command::SubmitJob(mut submission) = job(1, 64 << 10) else { panic!("a submission") };
    let needs = Needs { networks: vec!["10.0.0.0/8".parse().unwrap(); networks], ..Needs::default() };
    submission.partitions = vec![Partition { target_count: 1, needs }; 256];
    Command::SubmitJob(submission)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_larger_than_an_entry_may_be_is_refused_and_the_largest_that_may_passes() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.raft(1).propose(write(1)).await.unwrap();
    let before = cluster.raft(1).status().last_index;
    let refused = cluster.raft(1).propose(with_networks(200)).await.unwrap();
    let Response::Refused(Refusal::Malformed { what }) = &refused.response else { panic!("{refused:?}") };
    assert!(what.contains(&ENTRY_BYTES_MAX.to_string()), "{what}");
    assert_eq!(cluster.raft(1).status().last_index, before, "nothing of it is in the log");
    let largest = (1..200)
        .rev()
        .map(with_networks)
        .find(|command| pentora_raft::codec::encoded_len(command) < ENTRY_BYTES_MAX - 16)
        .unwrap();
    job_id(&cluster.raft(1).propose(largest).await.unwrap().response);
    cluster.all_alike(&[1, 2, 3]).await;
    let frame = cluster.traffic.largest_frame.load(Ordering::Relaxed);
    println!("the largest command goes in a frame of {frame} bytes, {FRAME_BYTES_MAX} may pass");
    assert!(frame > ENTRY_BYTES_MAX * 9 / 10);
}
