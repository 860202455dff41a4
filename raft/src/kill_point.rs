//! Named points at which a process ends as if it were killed, so that tests can show that nothing is lost there.
//!
//! `PENTORA_KILL_AT=NAME` ends it when it comes to the point of that name, `NAME:7` the seventh time. The variable is read once;
//! without it a point costs one look at a value that does not change. Whoever sets a process's environment could end it anyway,
//! so the points are in every build, and what is tested is what is shipped (decision 0057).

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the point.
pub const VARIABLE: &str = "PENTORA_KILL_AT";

/// The points of the store and of snapshots that a node comes to by itself. Those of joining, roles, results and stopping are
/// listed where they are tried, in `tests/tests/kill_points.rs`.
pub const OF_THE_STORE: [&str; 12] = [
    "vote-written",
    "log-appended",
    "log-before-sync",
    "log-synced",
    "committed-written",
    "state-before-write",
    "state-written",
    "snapshot-rows",
    "snapshot-written",
    "snapshot-renamed",
    "snapshot-published",
    "log-purged",
];

/// The point at which this process ends.
static CHOSEN: LazyLock<Option<Chosen>> = LazyLock::new(|| std::env::var(VARIABLE).ok().map(|text| Chosen::of(&text)));

#[derive(Debug)]
struct Chosen {
    name: String,
    /// How often it is still passed.
    left: AtomicU64,
}

impl Chosen {
    fn of(text: &str) -> Self {
        let counted = text.split_once(':').and_then(|(name, times)| Some((name, times.parse::<u64>().ok()?)));
        let (name, times) = counted.unwrap_or((text, 1));
        Self { name: name.to_owned(), left: AtomicU64::new(times.max(1)) }
    }

    /// Whether this is the time at which the process ends.
    fn is_now(&self, point: &str) -> bool {
        self.name == point && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Ends the process here, where its environment says so.
pub fn reached(point: &'static str) {
    if CHOSEN.as_ref().is_some_and(|chosen| chosen.is_now(point)) {
        // No destructor runs, no buffer is written, nobody is told: as with SIGKILL.
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_ends_the_process_the_time_that_is_named_and_no_other() {
        let times = |text: &str, points: &[&str]| {
            let chosen = Chosen::of(text);
            points.iter().map(|point| chosen.is_now(point)).collect::<Vec<_>>()
        };
        assert_eq!(times("a", &["b", "a", "a"]), [false, true, false]);
        assert_eq!(times("a:2", &["a", "b", "a", "a"]), [false, false, true, false]);
        assert_eq!(times("a:x", &["a"]), [false], "a name that nothing has");
        reached("log-appended");
    }
}
