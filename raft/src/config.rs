//! How a node's consensus is timed and bounded.

use std::time::Duration;

use crate::clock::WallClock;

/// Timings for a kind of network. Failover takes about `election_max + U(election_min, election_max)`, because a
/// follower waits out the leader's lease before it stands; measured in `docs/BENCHMARKS.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// One site: heartbeat 150 ms, election 500-800 ms.
    #[default]
    Lan,
    /// Several sites, round trips to about 200 ms: 500 ms, 1500-2500 ms.
    Wan,
    /// One rack with fast disks: 50 ms, 150-300 ms.
    Fast,
}

impl Profile {
    /// The word in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::Fast => "fast",
        }
    }

    /// The longest election time-out: what is older is not known to hold now.
    #[must_use]
    pub fn election_max(self) -> Duration {
        Duration::from_millis(self.timings().election_max_ms)
    }

    /// Its times.
    #[must_use]
    pub fn timings(self) -> Timings {
        match self {
            Self::Lan => Timings { heartbeat_ms: 150, election_min_ms: 500, election_max_ms: 800 },
            Self::Wan => Timings { heartbeat_ms: 500, election_min_ms: 1500, election_max_ms: 2500 },
            Self::Fast => Timings { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 },
        }
    }
}

/// The times of a profile, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// From one word of the leader to the next.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a follower stands.
    pub election_min_ms: u64,
    /// The longest, which is also the leader's lease.
    pub election_max_ms: u64,
}

/// What [`crate::Raft::start`] needs to know beside its store and transport.
#[derive(Debug, Clone)]
pub struct Config {
    /// Timings.
    pub profile: Profile,
    /// A snapshot is made after this many entries. Ours: replaying so many takes well under a second.
    pub snapshot_after_entries: u64,
    /// How many entries are kept below a snapshot, so that a follower that was away for a while needs no snapshot and a
    /// purge stays far behind the applied index (openraft#2116, #1706).
    pub entries_kept: u64,
    /// How far a follower may trail, in entries, before it is sent a snapshot instead.
    pub lag_before_snapshot: u64,
    /// How long a proposal may take before its caller hears that there is no quorum. The contract is an answer within
    /// 2 s; the rest is for the way back.
    pub propose_timeout: Duration,
    /// How long sending one snapshot may take.
    pub snapshot_timeout: Duration,
    /// Where wall time is read.
    pub wall: WallClock,
    /// This node grants no vote while its log ends before this index: one that began its log anew has forgotten what it had
    /// acknowledged, and voters that have not heard of that may still count on it. 0 where it never did.
    pub votes_from: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profile: Profile::Lan,
            snapshot_after_entries: 20_000,
            entries_kept: 50_000,
            lag_before_snapshot: 20_000,
            propose_timeout: Duration::from_millis(1_800),
            snapshot_timeout: Duration::from_secs(600),
            wall: WallClock::default(),
            votes_from: 0,
        }
    }
}

impl Config {
    /// The consensus library's configuration.
    pub(crate) fn to_openraft(&self) -> Result<openraft::Config, String> {
        let Timings { heartbeat_ms, election_min_ms, election_max_ms } = self.profile.timings();
        let snapshot_ms = u64::try_from(self.snapshot_timeout.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "pentora".into(),
            heartbeat_interval: heartbeat_ms,
            election_timeout_min: election_min_ms,
            election_timeout_max: election_max_ms,
            install_snapshot_timeout: snapshot_ms,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_after_entries),
            max_in_snapshot_log_to_keep: self.entries_kept,
            replication_lag_threshold: self.lag_before_snapshot,
            purge_batch_size: self.snapshot_after_entries,
            enable_pre_vote: Some(true),
            // A leader commits what a quorum of other disks has before its own has it. Were it to crash then and go on
            // leading in the same term, it would put other entries in the place of committed ones.
            enable_leader_restore: Some(false),
            // A follower whose disk lost the end of its log is sent that again. Otherwise the leader would go on behind what it
            // takes it to have, and never reach it. A node without its log does not start at all (`NodeIdentity::store_begun`),
            // and one that is to begin another is taken out of the group before (decision 0055).
            allow_log_reversion: Some(true),
            // A leader that is heard but hears nobody would otherwise keep its followers from electing another
            // (openraft#2080): without a quorum it falls silent for as long as an election takes.
            quorum_loss_probe_interval: Some(2 * election_max_ms),
            ..openraft::Config::default()
        }
        .validate()
        .map_err(|error| error.to_string())
    }
}
