//! How many sockets this process may hold open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Most sockets used whatever the limit: beyond this, more of them only add kernel memory.
const SOCKETS_MAX: u64 = 65_536;
/// Descriptors left to the rest of the process: logs, stores, peers, clients.
const RESERVE: u64 = 512;
/// Of the sockets, this part is for asking open ports what they are, and never more than so many.
const DETECTION_PART: usize = 4;
const DETECTION_MAX: usize = 4096;
/// With a small limit, at least this part of it is used.
const SHARE_MIN: u64 = 2;

/// How many sockets probes may hold open.
pub(crate) fn probe_sockets() -> usize {
    let sockets = sockets();
    (sockets - of_detection(sockets)).max(1)
}

/// How many sockets may be open to ask open ports what they are.
pub(crate) fn detection_sockets() -> usize {
    of_detection(sockets())
}

fn of_detection(sockets: usize) -> usize {
    (sockets / DETECTION_PART).clamp(1, DETECTION_MAX)
}

/// Raises the soft limit of file descriptors to the hard one and says how many sockets that leaves for scanning.
fn sockets() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        // Unreadable limits have not been seen; 256 sockets fit the smallest default in use.
        return 256;
    };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    share(if raised { hard } else { soft })
}

fn share(limit: u64) -> usize {
    let sockets = limit.saturating_sub(RESERVE).max(limit / SHARE_MIN).clamp(1, SOCKETS_MAX);
    usize::try_from(sockets).expect("clamped to 65,536")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_left_and_something_always_used() {
        assert_eq!(share(20_000), 19_488);
        assert_eq!(share(1024), 512);
        assert_eq!(share(256), 128);
        assert_eq!(share(0), 1);
        assert_eq!(share(u64::MAX), 65_536);
    }

    #[test]
    fn probes_and_detection_together_stay_within_the_limit() {
        assert!(probe_sockets() + detection_sockets() <= sockets() + 1);
        assert_eq!((of_detection(512), of_detection(65_536), of_detection(1)), (128, 4096, 1));
    }

    #[test]
    fn the_soft_limit_is_raised() {
        assert!(sockets() >= 1);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
