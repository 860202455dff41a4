//! Threads that scan give way to those that keep their node in its cluster.
//!
//! A scan takes what processors there are. Heartbeats and elections need little of them, but need it soon: where a dozen
//! threads that scan stand in front of one that answers a leader, a few such hops are longer than an election's time-out. So
//! threads that scan have a lower priority (a higher nice value, which anybody may give their own threads); where a processor is
//! idle that changes nothing (decision 0056).

/// The nice value of threads that scan. Ours: each step is a tenth of the processor, so these weigh a tenth of others.
const NICE: i32 = 10;

/// Has the calling thread give way. Where it has less priority already, it stays as it is.
pub(crate) fn give_way() {
    // Without an id, it is the calling thread on Linux, and not its process.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::trace!(%error, "a thread that scans keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_way_alone() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let of_the_other = std::thread::spawn(move || {
            give_way();
            nice()
        });
        assert_eq!((of_the_other.join().unwrap(), nice()), (before.max(NICE), before));
    }
}
