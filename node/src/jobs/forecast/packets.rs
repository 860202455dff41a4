//! How many packets a scan comes to, between nobody answering and a plausible number of open ports everywhere, and what that rests on.
//!
//! What a scan sends depends on what it finds: what stays silent is asked again, an open port is reset or acknowledged, and asked what
//! it is. Past jobs say how many ports are open and how often was asked again; where too little is known of any, that is taken from a
//! lab.

use pentora_raft::State;
use pentora_raft::state::JobStatus;
use pentora_scanner::spec::{EngineChoice, Profile, ScanSpec};

use crate::document::Between;

/// How often what stays silent is asked, where nothing was lost: measured against a network that drops everything.
const TRIES: u64 = 4;
/// Open ports of a host. Ours: a server with everything that it needs; what answers on everything is found out and left.
const OPEN_PORTS: u64 = 16;
/// Packets to an open port beside the first one: the reset of a half-open connection.
const TO_HALF_OPEN: u64 = 1;
/// The same of a whole connection: it is acknowledged and ended.
const TO_CONNECTED: u64 = 4;
/// The same where what it says is read.
const TO_READ: u64 = 7;
/// And for each probe for the service behind it. With all of them, an HTTP server was asked with 52 packets in a lab.
const TO_PROBE: u64 = 7;
/// And for what is weak about it. Ours: a few requests.
const TO_WEAK: u64 = 28;
/// Past jobs that are looked at, the newest.
const JOBS_MAX: usize = 100;
/// How many targets they have at least to say anything. Ours: a network.
const TARGETS_MIN: u64 = 256;

/// What expectations rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Basis {
    /// How often what stays silent is asked.
    tries: u64,
    /// Open ports of a host.
    open_ports: u64,
    /// Packets to each of them beside the first.
    to_open: u64,
    /// Past jobs that say so; none where it is taken from a lab.
    jobs: usize,
}

impl Basis {
    /// For a scan, by what the cluster's jobs came to.
    pub(super) fn of(spec: &ScanSpec, state: &State) -> Self {
        let past = Past::of(state);
        let asked = match (spec.profile, spec.retries) {
            (Profile::OtSafe, _) => Some(1),
            (_, retries) => retries.map(|retries| u64::from(retries) + 1),
        };
        let tries = asked.unwrap_or(past.as_ref().map_or(TRIES, |past| past.tries));
        let open_ports = past.as_ref().map_or(OPEN_PORTS, |past| past.open_ports);
        let open_ports = open_ports.min(u64::from(spec.ports.count()));
        let services = spec.services.map_or(0, |probes| TO_PROBE * u64::from(probes));
        let weak = if spec.weaknesses { TO_WEAK } else { 0 };
        let to_open = match (spec.services, spec.banners, spec.engine) {
            (Some(_), _, _) | (None, true, _) => TO_READ + services + weak,
            (None, false, EngineChoice::Raw) => TO_HALF_OPEN,
            (None, false, _) => TO_CONNECTED,
        };
        Self { tries, open_ports, to_open, jobs: past.map_or(0, |past| past.jobs) }
    }

    /// What so many targets come to.
    pub(super) fn packets(&self, spec: &ScanSpec, targets: u64) -> Between<u64> {
        let (ports, looks) = (u64::from(spec.ports.count()), spec.discovery.len() as u64);
        // With discovery, a target may answer the first look and get its ports alone, and a silent one of the node's own link gets that
        // look alone; without it, each gets every port.
        let least = targets.saturating_mul(if looks > 0 { 1 } else { ports });
        let asked = ports.saturating_add(looks).saturating_mul(self.tries);
        let most = targets.saturating_mul(asked.saturating_add(self.open_ports.saturating_mul(self.to_open)));
        Between { least, most }
    }

    /// The same in words.
    pub(super) fn words(&self) -> Vec<String> {
        let times = if self.tries == 1 { "once".to_owned() } else { format!("up to {} times", self.tries) };
        let from = match self.jobs {
            0 => String::new(),
            1 => ", as the last job found".to_owned(),
            jobs => format!(", as the last {jobs} jobs found"),
        };
        let ports = if self.open_ports == 1 { "open port" } else { "open ports" };
        vec![
            format!("what stays silent is asked {times}"),
            format!(
                "up to {} {ports} of a host{from}, with {} packets to each beside the first",
                self.open_ports, self.to_open
            ),
        ]
    }
}

/// What past jobs came to.
#[derive(Debug, PartialEq, Eq)]
struct Past {
    jobs: usize,
    tries: u64,
    open_ports: u64,
}

impl Past {
    /// By the newest that ended by themselves; each is taken as a whole, and the one of them that came to most is what may come.
    fn of(state: &State) -> Option<Self> {
        let ended = |status| matches!(status, JobStatus::Completed | JobStatus::Partial);
        let newest = state.jobs().rev().filter(|(_, job)| ended(job.status) && job.done > 0).take(JOBS_MAX);
        let (mut past, mut targets) = (Self { jobs: 0, tries: 1, open_ports: 1 }, 0u64);
        for (_, job) in newest {
            let counts = &job.counts;
            let first = counts.probes_sent.saturating_sub(counts.retransmitted).max(1);
            past.jobs += 1;
            past.tries = past.tries.max(counts.probes_sent.div_ceil(first));
            past.open_ports = past.open_ports.max(counts.open_ports.div_ceil(counts.hosts_up.max(1)));
            targets = targets.saturating_add(job.done);
        }
        (targets >= TARGETS_MIN).then_some(past)
    }
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::{Command, Completion, LeaseRef, NewLease, NodeInfo, Proposal, SpecRef};
    use pentora_raft::command::{StoredChunk, Submission, UnitKey};
    use pentora_raft::state::{Counts, FIRST_NODE, Share};
    use pentora_raft::{ClusterId, Digest, JobId};
    use pentora_scanner::port::PortSet;

    use super::*;

    fn spec(ports: &str) -> ScanSpec {
        let ports: PortSet = ports.parse().unwrap();
        ScanSpec { ports, discovery: Vec::new(), services: Some(7), ..ScanSpec::default() }
    }

    #[test]
    fn what_came_to_targets_of_a_lab_is_within_what_was_expected_of_them() {
        // Networks that were scanned in a lab, with the packets that came to them: hosts, ports, how, and how many.
        let bare = |engine| ScanSpec { banners: false, services: None, engine, ..spec("22,80,443") };
        let discovering = ScanSpec { discovery: ScanSpec::default().discovery, ..spec("22,80,443") };
        for (targets, spec, came) in [
            (64, spec("22,80,443"), 10_007),
            (16, spec("1-20"), 1_293),
            (16, discovering, 2_523),
            (64, ScanSpec { services: None, ..spec("1-10") }, 690),
            (64, bare(EngineChoice::Raw), 384),
            (64, bare(EngineChoice::Connect), 576),
            (64, ScanSpec { services: None, ..spec("1-44") }, 14_176),
        ] {
            let expected = Basis::of(&spec, &State::default()).packets(&spec, targets);
            assert!(expected.least <= came && came <= expected.most, "{came} of {expected:?}, {targets} targets");
            assert!(expected.most <= came * 16, "{expected:?} says nothing of {came}");
        }
    }

    #[test]
    fn what_past_jobs_found_is_expected_again_and_retries_that_were_asked_for_hold() {
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |command| {
            index += 1;
            state.apply(index, &Proposal { at_ms: index, command });
            index
        };
        let info = NodeInfo { name: "a".into(), peer: "a".into(), max_concurrent_scans: 1, ..NodeInfo::default() };
        apply(Command::Begin { cluster: ClusterId::default(), info, admin_token: Digest::of(&[]) });
        apply(Command::WorkerBack { node: FIRST_NODE });
        let submission = Submission::plain(SpecRef::Inline(Vec::new()), 256, FIRST_NODE);
        let job = JobId(apply(Command::SubmitJob(Box::new(submission))));
        let unit = UnitKey { job, partition: 0, start: 0 };
        let grant = NewLease { unit, end: 256, node: FIRST_NODE, share: Share::default() };
        let epoch = apply(Command::Grant { grants: vec![grant] });
        let counts = Counts { hosts_up: 10, open_ports: 21, probes_sent: 100, retransmitted: 60, ..Counts::default() };
        let completion = Completion {
            lease: LeaseRef { unit, epoch },
            start: 0,
            end: 256,
            goes_on: false,
            node: FIRST_NODE,
            stored: StoredChunk { digest: Digest::of(b"x"), bytes: 1, holders: vec![FIRST_NODE] },
            counts,
        };
        apply(Command::Complete { completions: vec![completion] });
        let basis = Basis::of(&spec("1-100"), &state);
        assert_eq!((basis.tries, basis.open_ports, basis.jobs), (3, 3, 1));
        assert!(
            basis.words().iter().any(|line| line.starts_with("up to 3 open ports of a host, as the last job found"))
        );
        let once = Basis::of(&ScanSpec { retries: Some(0), ..spec("1-2") }, &state);
        assert_eq!((once.tries, once.open_ports), (1, 2));
        assert_eq!(once.words().first().unwrap(), "what stays silent is asked once");
    }
}
