//! Random parts of commands, for `draw_test.rs`: what needs no state to mean something.
//!
//! Most values are small and few, so that they meet each other; now and then comes any that the type can hold.

use proptest::prelude::*;

use super::sample_test::{finished, new_token, node_info};
use crate::command::{
    AccessRole, Arrangement, AuditEntry, Author, BudgetRule, ExclusionRule, Finished, Hours, NewAccessToken, NewRule,
    NewToken, NodeInfo, NodePolicy, NodeRole, Outcome, PolicyChange, ProfileRule, Rule, ScopeEffect, ScopeRule,
    SiteRule, SpecRef, StoredChunk, Submission, TokenGrant, UnitRange, Voting, When, WindowEffect, WindowRule,
};
use crate::id::{Digest, NodeId, TokenId};
use crate::state::{
    Backoff, Counts, FailureAction, FeedRecord, JobLimits, KeepSpec, Measures, MissedPolicy, Needs, Occurrence,
    OverlapPolicy, Partition, PassReason, Preference, Priority, Remarks, ScheduleSpec, Settings, Share,
};

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
    let tags = || prop::collection::vec(text("(residency:)?[a-z]{1,5}"), 0..3);
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

pub(super) fn any_networks() -> impl Strategy<Value = Option<Vec<ipnet::IpNet>>> {
    let four = (any::<[u8; 4]>(), 0u8..=32).prop_map(|(ip, length)| ipnet::IpNet::new(ip.into(), length).unwrap());
    let six = (any::<[u8; 16]>(), 0u8..=128).prop_map(|(ip, length)| ipnet::IpNet::new(ip.into(), length).unwrap());
    prop::option::of(prop::collection::vec(prop_oneof![four, six], 0..3))
}

/// Sound ones, and now and then one that is not.
pub(super) fn any_settings() -> impl Strategy<Value = Settings> {
    let backoff = prop::sample::select(vec![Backoff::None, Backoff::Fixed, Backoff::Exponential]);
    let failure = prop_oneof![
        2 => Just(FailureAction::Reassign),
        1 => Just(FailureAction::Wait),
        2 => Just(FailureAction::Fail),
    ];
    let preference =
        prop::sample::select(vec![Preference::RoundRobin, Preference::LeastLoaded, Preference::TagAffinity]);
    let beats = prop_oneof![9 => 50u64..10_000, 1 => any::<u64>()];
    (beats, backoff, failure, preference, 1u32..9, 20u32..200, 1u32..=1_000).prop_map(
        |(heartbeat_ms, backoff, failure, preference, max_attempts, queue_depth, max_load_thousandths)| Settings {
            heartbeat_ms,
            grace_ms: heartbeat_ms.saturating_mul(3),
            attempt_ms: heartbeat_ms.saturating_mul(9),
            max_attempts,
            backoff,
            failure,
            preference,
            queue_depth,
            max_load_thousandths,
        },
    )
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

pub(super) fn any_policy() -> impl Strategy<Value = NodePolicy> {
    let words = || prop::option::of(text("[a-z]{1,3}"));
    let tags = prop::option::of(prop::collection::vec(text("[a-z]{1,3}"), 0..3));
    (any_role(), any_voting(), words(), words(), any_networks(), tags, any::<bool>(), any::<bool>()).prop_map(
        |(role, voting, region, site, networks, tags, ephemeral, keeps_results)| NodePolicy {
            role,
            voting,
            region,
            site,
            networks,
            tags,
            ephemeral,
            keeps_results,
        },
    )
}

fn any_voting() -> impl Strategy<Value = Voting> {
    prop_oneof![Just(Voting::AsNeeded), Just(Voting::Preferred), Just(Voting::Never)]
}

pub(super) fn any_change() -> impl Strategy<Value = PolicyChange> {
    let words = || prop::option::of(text("[a-z]{0,3}"));
    let tags = prop::option::of(prop::collection::vec(text("[a-z]{1,3}"), 0..3));
    let flags = (prop::option::of(any::<bool>()), prop::option::of(any::<bool>()));
    let roles = (prop::option::of(any_role()), prop::option::of(any_voting()));
    (roles, words(), words(), any_networks(), tags, flags).prop_map(
        |((role, voting), region, site, networks, tags, (ephemeral, keeps_results))| PolicyChange {
            role,
            voting,
            region,
            site,
            networks,
            tags,
            ephemeral,
            keeps_results,
        },
    )
}

/// As [`any_token`], with a name that a node may have, most often.
pub(super) fn any_grant_of_token() -> impl Strategy<Value = TokenGrant> {
    let name = prop_oneof![9 => Just("n".to_owned()), 1 => text(".{0,8}")];
    (any_token(), name, any_policy()).prop_map(|(new, name, policy)| TokenGrant {
        token: new.token,
        key: new.secret,
        name,
        ttl_ms: new.ttl_ms,
        uses: new.uses,
        policy,
        by: "ci".into(),
    })
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

pub(crate) fn any_measures() -> impl Strategy<Value = Measures> {
    prop::collection::btree_map(0u8..80, any::<u64>(), 0..5).prop_map(|sums| Measures { sums })
}

pub(crate) fn any_remarks() -> impl Strategy<Value = Remarks> {
    let not_probed = prop::collection::btree_map(0u8..4, 0u64..6, 0..3);
    (not_probed, prop::collection::btree_set(text("[a-c]{1,3}"), 0..3))
        .prop_map(|(not_probed, notes)| Remarks { not_probed, notes })
}

/// Few names, and one that is none.
pub(super) fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![9 => text("[ab]"), 1 => text(".{0,4}")]
}

pub(super) fn any_schedule() -> impl Strategy<Value = ScheduleSpec> {
    let missed = prop::sample::select(vec![MissedPolicy::Skip, MissedPolicy::RunOnce]);
    let overlap = prop::sample::select(vec![OverlapPolicy::Skip, OverlapPolicy::Queue, OverlapPolicy::Allow]);
    let request = prop::collection::vec(any::<u8>(), 0..9);
    (text("[0*]{0,2}"), text("[UE]{1,3}"), missed, overlap, request, text(".{0,20}")).prop_map(
        |(cron, timezone, missed, overlap, request, title)| ScheduleSpec {
            cron,
            timezone,
            missed,
            overlap,
            request,
            title,
        },
    )
}

/// Its instant counts from the last one that is over.
pub(super) fn any_occurrence() -> impl Strategy<Value = Occurrence> {
    let at_ms = prop_oneof![20 => 0u64..60, 1 => any::<u64>()];
    (at_ms, any::<u32>()).prop_map(|(at_ms, passed_over)| Occurrence { at_ms, passed_over })
}

pub(super) fn any_pass_reason() -> impl Strategy<Value = PassReason> {
    prop_oneof![
        Just(PassReason::Overlapped),
        Just(PassReason::Missed),
        text(".{0,20}").prop_map(|reason| PassReason::Refused { reason }),
    ]
}

pub(super) fn any_author() -> impl Strategy<Value = Author> {
    (any_access_name(), text(".{0,8}")).prop_map(|(who, from)| Author { who, from })
}

/// A schedule, a standing scan or a carried job, of which nothing is finished.
pub(super) fn any_arrangement() -> impl Strategy<Value = Arrangement> {
    prop_oneof![
        (any_name(), any_schedule()).prop_map(|(name, spec)| Arrangement::Schedule { name, spec }),
        (any_name(), any_keep()).prop_map(|(name, spec)| Arrangement::Keep { name, spec }),
        any_submission().prop_map(|submission| Arrangement::Carried(Submission { finished: Vec::new(), ..submission })),
    ]
}

/// The name of one of a few access tokens, the first one's among them.
pub(super) fn any_access_name() -> impl Strategy<Value = String> {
    prop_oneof![9 => prop::sample::select(vec!["admin", "ci", "eve"]).prop_map(str::to_owned), 1 => text(".{0,8}")]
}

/// An access token, which now and then is malformed.
pub(super) fn any_access_token() -> impl Strategy<Value = NewAccessToken> {
    let role = prop::sample::select(AccessRole::ALL.to_vec());
    let ttl_ms = prop::option::of(0u64..10_000);
    let scopes = prop::collection::vec(prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned), 0..3);
    (any_access_name(), any_digest(), role, ttl_ms, any_networks(), scopes, any_author()).prop_map(
        |(name, key, role, ttl_ms, networks, scopes, author)| NewAccessToken {
            name,
            key,
            role,
            ttl_ms,
            networks,
            scopes,
            author,
        },
    )
}

/// Something that was asked, or came of it.
pub(super) fn any_audit_entry() -> impl Strategy<Value = AuditEntry> {
    let outcome = prop_oneof![
        Just(Outcome::Asked),
        (any::<u64>(), any::<u16>()).prop_map(|(asked, status)| Outcome::Answered { asked, status }),
        any::<u16>().prop_map(|status| Outcome::Refused { status }),
    ];
    (any_author(), text(".{0,20}"), text(".{0,20}"), outcome, any::<u32>())
        .prop_map(|(author, action, object, outcome, times)| AuditEntry { author, action, object, outcome, times })
}

/// A rule of one of a few names, which now and then is malformed.
pub(super) fn any_rule() -> impl Strategy<Value = NewRule> {
    let name = prop_oneof![9 => prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned), 1 => text(".{0,8}")];
    let effect = prop::sample::select(vec![ScopeEffect::Allow, ScopeEffect::Only]);
    let tokens = prop::collection::vec(prop::sample::select(vec!["ci", "admin"]).prop_map(str::to_owned), 0..3);
    let scope = (any_networks(), tokens, effect).prop_map(|(networks, tokens, effect)| {
        Rule::Scope(ScopeRule { networks: networks.unwrap_or_default(), tokens, effect })
    });
    let targets = prop::collection::vec(text("[a-z0-9./]{0,8}"), 0..3);
    let exclusion = (targets, prop::option::of(any_when()))
        .prop_map(|(targets, when)| Rule::Exclusion(ExclusionRule { targets, when }));
    let profile = text(".{0,8}").prop_map(|options| Rule::Profile(ProfileRule { options }));
    let window = (any_networks(), any_when()).prop_map(|(networks, when)| {
        Rule::Window(WindowRule { networks: networks.unwrap_or_default(), when, effect: WindowEffect::Blackout })
    });
    let budget = (any_networks(), 0u64..9)
        .prop_map(|(networks, rate_pps)| Rule::Budget(BudgetRule { networks: networks.unwrap_or_default(), rate_pps }));
    let site = any_networks().prop_map(|networks| Rule::Site(SiteRule { networks: networks.unwrap_or_default() }));
    let rule = prop_oneof![scope, exclusion, profile, window, budget, site];
    (name, rule, text(".{0,20}"), any_author()).prop_map(|(name, rule, reason, author)| NewRule {
        name,
        rule,
        reason,
        author,
    })
}

fn any_when() -> impl Strategy<Value = When> {
    let weekly = (any::<u8>(), 0u16..1_500, 0u16..1_500).prop_map(|(days, from_minute, until_minute)| {
        When::Weekly(Hours { zone: "Europe/Berlin".into(), days, from_minute, until_minute })
    });
    let once = (any::<u64>(), any::<u64>()).prop_map(|(from_ms, until_ms)| When::Once { from_ms, until_ms });
    prop_oneof![weekly, once]
}

pub(super) fn any_keep() -> impl Strategy<Value = KeepSpec> {
    let fresh_ms = prop_oneof![9 => 60_000u64..60_002, 1 => any::<u64>()];
    let slices = prop::collection::vec(prop_oneof![20 => 1u64..30, 1 => any::<u64>()], 1..4);
    let request = prop::collection::vec(any::<u8>(), 0..9);
    (request, text(".{0,20}"), fresh_ms, 0u64..9, slices).prop_map(|(request, title, fresh_ms, rate_pps, slices)| {
        KeepSpec { request, title, fresh_ms, rate_pps, slices }
    })
}
