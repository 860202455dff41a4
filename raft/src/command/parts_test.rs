//! Random parts of commands, for `draw_test.rs`: what needs no state to mean something.
//!
//! Most values are small and few, so that they meet each other; now and then comes any that the type can hold.

use proptest::prelude::*;

use super::sample_test::{finished, new_token, node_info};
use crate::command::{Finished, NewToken, NodeInfo, NodeRole, SpecRef, StoredChunk, Submission, UnitRange};
use crate::id::{Digest, NodeId, TokenId};
use crate::state::{Counts, FeedRecord, JobLimits, Needs, Partition, Priority, Remarks, Share};

/// Text of a pattern, which is read once and not for every text.
pub(super) fn text(pattern: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(pattern).unwrap()
}

pub(super) fn any_share() -> impl Strategy<Value = Share> {
    let pps = || prop::option::of(prop_oneof![40 => 0u64..5, 1 => any::<u64>()]);
    (pps(), pps()).prop_map(|(rate_pps, network_pps)| Share { rate_pps, network_pps })
}

/// Few hosts, which the laws add up for themselves.
pub(super) fn any_counts() -> impl Strategy<Value = Counts> {
    let found = (0u64..5, any::<u64>(), any::<u64>(), any::<u64>());
    (found, any::<[u64; 3]>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(
            (hosts_up, open_ports, services_detected, vulnerabilities),
            [probes_sent, retransmitted, replies],
            lost_millionths,
            recall_weight,
            missed_millionths,
        )| Counts {
            hosts_up,
            open_ports,
            services_detected,
            vulnerabilities,
            probes_sent,
            retransmitted,
            replies,
            lost_millionths,
            recall_weight,
            missed_millionths,
        },
    )
}

pub(super) fn any_submission() -> impl Strategy<Value = Submission> {
    let count = prop_oneof![40 => 1u64..13, 1 => any::<u64>()];
    let parts = prop::collection::vec((count, any_needs()), 1..3).prop_map(|parts| {
        parts.into_iter().map(|(target_count, needs)| Partition { target_count, needs }).collect::<Vec<_>>()
    });
    let spec = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(SpecRef::Inline),
        (any_digest(), any_holders()).prop_map(|(digest, holders)| SpecRef::Chunk { digest, holders }),
    ];
    let key = prop::option::of(prop_oneof![20 => 0u64..4, 1 => any::<u64>()]);
    let priority = prop::sample::select(Priority::ALL.to_vec());
    (spec, parts, priority, any_limits(), key, text(".{0,20}"), any_before(), any::<NodeId>()).prop_map(
        |(spec, partitions, priority, limits, key, title, before, via)| Submission {
            spec,
            finished: before.of(&partitions),
            partitions,
            priority,
            limits,
            via,
            idempotency_key: key.map(|key| Digest::of(&key.to_le_bytes())),
            title,
        },
    )
}

/// What an earlier run has finished of a job.
#[derive(Debug, Clone)]
enum Before {
    Units(Vec<Finished>),
    Everything,
}

impl Before {
    fn of(self, partitions: &[Partition]) -> Vec<Finished> {
        let whole = |(partition, part): (u32, &Partition)| {
            // Of a partition that is small enough to be counted target by target.
            let unit = UnitRange { partition, start: 0, end: part.target_count.min(12) };
            Finished { unit, ..finished(0, 0) }
        };
        match self {
            Self::Units(units) => units,
            Self::Everything => (0u32..).zip(partitions).map(whole).collect(),
        }
    }
}

fn any_before() -> impl Strategy<Value = Before> {
    prop_oneof![
        14 => Just(Before::Units(Vec::new())),
        2 => prop::collection::vec(any_finished(), 1..3).prop_map(Before::Units),
        1 => Just(Before::Everything),
    ]
}

/// May overlap another, or not be in the job.
fn any_finished() -> impl Strategy<Value = Finished> {
    let unit = (0u32..2, 0u64..12, 0u64..6);
    let unit = unit.prop_map(|(partition, start, length)| UnitRange { partition, start, end: start + length });
    (unit, prop::bool::weighted(0.1)).prop_map(|(unit, no_holders)| {
        let before = finished(unit.start, unit.end);
        let holders = if no_holders { Vec::new() } else { vec![1] };
        Finished { unit, stored: StoredChunk { holders, ..before.stored }, ..before }
    })
}

fn any_limits() -> impl Strategy<Value = JobLimits> {
    let pps = || prop_oneof![40 => 1u64..7, 1 => any::<u64>()];
    let workers = prop::option::of(prop_oneof![20 => 1u32..4, 1 => any::<u32>()]);
    (
        prop::option::of(pps()),
        prop::option::weighted(0.15, pps()),
        workers,
        prop_oneof![20 => 0u32..4, 1 => any::<u32>()],
    )
        .prop_map(|(budget_pps, network_pps, max_workers, max_attempts)| JobLimits {
            budget_pps,
            network_pps,
            max_workers,
            max_attempts,
        })
}

fn any_needs() -> impl Strategy<Value = Needs> {
    let tags = || prop::collection::vec(text("[a-z]{1,5}"), 0..3);
    let word = || prop::option::of(text("[a-z]{1,5}"));
    (any_networks(), word(), tags(), tags(), word()).prop_map(
        |(networks, region, required_tags, preferred_tags, engine)| Needs {
            networks: networks.unwrap_or_default(),
            region,
            required_tags,
            preferred_tags,
            engine,
        },
    )
}

fn any_networks() -> impl Strategy<Value = Option<Vec<ipnet::IpNet>>> {
    let four = (any::<[u8; 4]>(), 0u8..=32).prop_map(|(ip, length)| ipnet::IpNet::new(ip.into(), length).unwrap());
    let six = (any::<[u8; 16]>(), 0u8..=128).prop_map(|(ip, length)| ipnet::IpNet::new(ip.into(), length).unwrap());
    prop::option::of(prop::collection::vec(prop_oneof![four, six], 0..3))
}

fn any_role() -> impl Strategy<Value = NodeRole> {
    prop_oneof![Just(NodeRole::Auto), Just(NodeRole::Scanner)]
}

/// Of one of a few nodes, the last of which is another peer whose name makes the worker id of the first.
pub(super) fn any_info() -> impl Strategy<Value = NodeInfo> {
    let words = || prop::collection::vec(text(".{0,8}"), 0..3);
    let place = (prop::option::of(text(".{0,8}")), words(), any_networks(), words());
    (0u8..6, words(), text(".{0,8}"), place, any::<u32>(), any::<u64>(), any_role()).prop_map(
        |(name, addresses, version, (region, tags, networks, engines), scans, targets, role)| NodeInfo {
            addresses,
            version,
            region,
            tags,
            networks,
            max_concurrent_scans: scans,
            max_targets_per_scan: targets,
            role,
            engines,
            ..node_info(&if name < 5 { format!("n{name}") } else { "N0".into() })
        },
    )
}

pub(super) fn any_token_id() -> impl Strategy<Value = TokenId> {
    prop_oneof![30 => (0u8..3).prop_map(|token| TokenId([token; 8])), 1 => any::<[u8; 8]>().prop_map(TokenId)]
}

pub(super) fn any_token() -> impl Strategy<Value = NewToken> {
    let uses = prop_oneof![10 => Just(2u32), 1 => any::<u32>(), 1 => Just(0)];
    let ttl_ms = prop_oneof![10 => Just(5_000u64), 1 => any::<u64>()];
    let region = prop::option::of(text("[a-z]{1,5}"));
    (any_token_id(), text(".{0,8}"), ttl_ms, uses, any_role(), region, any_networks()).prop_map(
        |(token, name, ttl_ms, uses, role, region, networks)| NewToken {
            token,
            name,
            ttl_ms,
            uses,
            role,
            region,
            networks,
            ..new_token(0)
        },
    )
}

pub(super) fn any_join() -> impl Strategy<Value = (TokenId, Digest, NodeInfo)> {
    let secret = prop_oneof![9 => Just(Digest::of(b"secret")), 1 => any::<[u8; 32]>().prop_map(Digest)];
    (any_token_id(), secret, any_info())
}

pub(super) fn any_holders() -> impl Strategy<Value = Vec<NodeId>> {
    prop::collection::vec(prop_oneof![20 => 1u64..9, 1 => any::<u64>()], 0..4)
}

/// One of a few, so that it names something now and then.
pub(super) fn any_digest() -> impl Strategy<Value = Digest> {
    (0u8..3).prop_map(|number| Digest::of(&[number]))
}

/// Two kinds, and two names that are none.
pub(super) fn any_feed_kind() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just("cve"), 5 => Just("kev"), 1 => Just(""), 1 => Just("a name that is longer than any kind's")]
}

pub(super) fn any_feed() -> impl Strategy<Value = FeedRecord> {
    let signature = prop::collection::vec(any::<u8>(), 0..64);
    (any_digest(), any::<u64>(), any::<u64>(), text(".{0,20}"), any_holders(), signature, any::<u64>()).prop_map(
        |(digest, bytes, records, source, holders, signature, imported_at_ms)| FeedRecord {
            digest,
            bytes,
            records,
            source,
            holders,
            signer: "peer".into(),
            signature,
            imported_at_ms,
        },
    )
}

pub(crate) fn any_remarks() -> impl Strategy<Value = Remarks> {
    let not_probed = prop::collection::btree_map(0u8..4, 0u64..6, 0..3);
    (not_probed, prop::collection::btree_set(text("[a-c]{1,3}"), 0..3))
        .prop_map(|(not_probed, notes)| Remarks { not_probed, notes })
}
