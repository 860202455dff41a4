//! Requests: scope, exclusions, the split by networks, and refusals with their reasons.

use pentora_raft::command::{
    NewLease, NewRule, NewToken, NodeInfo, NodeRole, Rule, SiteRule, UnitKey, When, WindowEffect, WindowRule,
};
use pentora_raft::network::memory::Network;
use pentora_raft::state::{FIRST_NODE, Share};
use pentora_raft::store::Storage;
use pentora_raft::{ClusterId, Config, Profile, TokenId};

use super::*;
use crate::document::Resolve;
use crate::results::ChunkStore;

/// A log of one voter, and what a submission needs beside it.
struct Log {
    raft: Raft,
    proposer: Proposer,
    exchange: Exchange,
}

impl Log {
    async fn start() -> Self {
        let (transport, _no_peers) = Network::default().join(FIRST_NODE);
        let config = Config { profile: Profile::Fast, ..Config::default() };
        let raft = Raft::start(FIRST_NODE, config, &Storage::Memory, transport).await.unwrap();
        raft.initialize("first").await.unwrap();
        let proposer = Proposer::new(raft.clone(), None);
        let (cluster, info, admin_token) = (ClusterId::default(), node("first", None), Digest::of(&[]));
        proposer.propose(Command::Begin { cluster, info, admin_token }).await.unwrap();
        let exchange = Exchange::new(raft.clone(), ChunkStore::memory(), None, 1);
        Self { raft, proposer, exchange }
    }

    /// With the nodes given in it as well.
    async fn with(nodes: &[NodeInfo]) -> Self {
        let log = Self::start().await;
        let token = NewToken {
            token: TokenId([1; 8]),
            secret: Digest::of(b"s"),
            name: "t".into(),
            ttl_ms: 60_000,
            uses: 100,
            role: NodeRole::Auto,
            region: None,
            networks: None,
        };
        log.proposer.propose(Command::CreateToken(token)).await.unwrap();
        for info in nodes {
            let join = Command::Join { token: TokenId([1; 8]), secret: Digest::of(b"s"), info: info.clone() };
            log.proposer.propose(join).await.unwrap();
        }
        log
    }
}

fn node(name: &str, networks: Option<&[&str]>) -> NodeInfo {
    NodeInfo {
        name: name.into(),
        peer: name.into(),
        networks: networks.map(|nets| nets.iter().map(|net| net.parse().unwrap()).collect()),
        max_concurrent_scans: 1,
        max_targets_per_scan: 1,
        ..NodeInfo::default()
    }
}

fn request(targets: &str) -> ScanRequest {
    ScanRequest { targets: vec![targets.into()], ports: Some("80".into()), ..ScanRequest::default() }
}

fn shapes(prepared: &Prepared) -> Vec<(u64, Vec<String>)> {
    let shape = |part: &Partition| (part.target_count, part.needs.networks.iter().map(ToString::to_string).collect());
    prepared.partitions.iter().map(shape).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_every_node_reaches_are_one_partition_without_networks() {
    let log = Log::start().await;
    let prepared = prepare(request("10.0.0.0/8"), Author::default(), &log.raft).unwrap();
    assert_eq!(shapes(&prepared), [(1 << 24, vec![])]);
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_split_by_the_networks_that_nodes_are_limited_to_and_counted_once() {
    let log = Log::with(&[node("eu", Some(&["10.1.0.0/16"])), node("dmz", Some(&["10.1.2.0/24"]))]).await;
    let prepared = prepare(request("10.1.0.0/16, 10.2.0.0/24"), Author::default(), &log.raft).unwrap();
    let whole = |count, net: &str| (count, vec![net.to_owned()]);
    assert_eq!(
        shapes(&prepared),
        [whole(256, "10.1.2.0/24"), whole(65_536 - 256, "10.1.0.0/16"), whole(256, "10.2.0.0/24")]
    );
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_zones_are_a_partition_of_their_own_so_that_addresses_are_scanned_as_if_alone() {
    let log = Log::start().await;
    let prepared =
        prepare(request("10.0.0.0/24, a.example, fe80::1%lo, b.example"), Author::default(), &log.raft).unwrap();
    assert_eq!(shapes(&prepared), [(256, vec![]), (3, vec![])]);
    assert_eq!(prepared.spec.partitions[0].to_string(), "10.0.0.0/24");
    assert_eq!(prepared.spec.partitions[1].to_string(), "fe80::1%lo,a.example,b.example");
    assert!(prepared.spec.reverse_dns && !prepared.spec.first_address);
    let first = ScanRequest { resolve: Some(Resolve::First), reverse_dns: Some(false), ..request("a.example") };
    let spec = prepare(first, Author::default(), &log.raft).unwrap().spec;
    assert!(spec.first_address && !spec.reverse_dns);
    log.raft.shutdown().await;
    let mesh = Log::with(&[node("eu", None), node("us", None)]).await;
    let refused = prepare(request("fe80::1%lo"), Author::default(), &mesh.raft).unwrap_err();
    assert!(refused.to_string().contains("--local"), "{refused}");
    mesh.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_a_large_network_is_stated_and_the_same_for_the_same_seed() {
    let log = Log::start().await;
    let sampled = ScanRequest { sample: Some(100), seed: Some(7), ..request("fd00::/64, fd01::/120, 10.0.0.0/24") };
    let prepared = prepare(sampled.clone(), Author::default(), &log.raft).unwrap();
    assert_eq!(prepared.spec.target_count(), 100 + 100 + 256);
    assert_eq!(
        prepared.spec.notes,
        ["a sample: 100 addresses of fd00::/64 and of 1 more network scanned, the others not"]
    );
    assert_eq!(prepare(sampled, Author::default(), &log.raft).unwrap().spec_digest(), prepared.spec_digest());
    let refused = prepare(request("fd00::/64"), Author::default(), &log.raft).unwrap_err();
    assert!(refused.to_string().contains("--sample"), "{refused}");
    let endless = ScanRequest { exclude: vec!["2001:db8::/32".into()], ..request("10.0.0.1") };
    assert_eq!(shapes(&prepare(endless, Author::default(), &log.raft).unwrap()), [(1, vec![])]);
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_syns_lift_nothing_of_what_is_fragile() {
    let log = Log::start().await;
    let fragile = |profile| ScanRequest { allow_fragile: true, profile, ..request("10.0.0.1") };
    let lifted =
        |profile| prepare(fragile(profile), Author::default(), &log.raft).map(|ready| ready.spec.allow_fragile);
    assert!(lifted(None).unwrap());
    assert!(matches!(lifted(Some("ot-safe".into())), Ok(false) | Err(RefusedRequest::NoEligibleNode { .. })));
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_that_the_same_nodes_reach_are_one_partition_and_what_nobody_reaches_may_wait() {
    let log = Log::with(&[node("eu", Some(&["10.1.0.0/24", "10.3.0.0/24"])), node("us", Some(&["10.2.0.0/24"]))]).await;
    log.proposer.propose(Command::SetNetworks { node: 1, networks: Some(Vec::new()) }).await.unwrap();
    let targets = "10.1.0.0/25, 10.2.0.0/25, 10.3.0.0/25, 10.9.0.0/25";
    let RefusedRequest::NoEligibleNode { part, reasons } =
        prepare(request(targets), Author::default(), &log.raft).unwrap_err()
    else {
        panic!("another refusal")
    };
    assert_eq!(part, "10.9.0.0/25");
    assert!(reasons.iter().all(|(_, why)| why == "it does not reach 10.9.0.0/25"), "{reasons:?}");
    let waiting = ScanRequest { wait_for_worker: true, ..request(targets) };
    let prepared = prepare(waiting, Author::default(), &log.raft).unwrap();
    let part = |count, nets: &[&str]| (count, nets.iter().map(|net| (*net).to_owned()).collect::<Vec<_>>());
    let mut shapes = shapes(&prepared);
    shapes.sort();
    let mut expected =
        vec![part(256, &["10.1.0.0/24", "10.3.0.0/24"]), part(128, &["10.2.0.0/24"]), part(128, &["10.9.0.0/25"])];
    expected.sort();
    assert_eq!(shapes, expected);
    let settings = pentora_raft::state::Settings::default();
    let plan = log.raft.read(|state| forecast(&prepared, state, &settings, 0));
    assert!(!plan.accepted && plan.seconds.is_none());
    let eligible: Vec<usize> = plan.partitions.iter().map(|part| part.eligible.len()).collect();
    assert_eq!(eligible.iter().sum::<usize>(), 2, "{plan:?}");
    assert!(plan.partitions.iter().all(|part| part.eligible.len() + part.refused.len() == 3), "{plan:?}");
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reaches_yet_waits_in_parts_that_different_nodes_may_reach() {
    let log = Log::with(&[node("n1", Some(&["10.88.0.0/16", "10.20.0.0/16"]))]).await;
    log.proposer.propose(Command::SetNetworks { node: 1, networks: Some(Vec::new()) }).await.unwrap();
    let waiting = |targets: &str| {
        prepare(ScanRequest { wait_for_worker: true, ..request(targets) }, Author::default(), &log.raft).unwrap()
    };
    let apart = waiting("10.50.0.0/28, 10.60.0.0/28");
    assert_eq!(shapes(&apart), [(16, vec!["10.50.0.0/28".to_owned()]), (16, vec!["10.60.0.0/28".to_owned()])]);
    for targets in ["10.0.0.0/8".to_owned(), (0..10).map(|at| format!("10.50.{at}.0/29 ")).collect()] {
        let prepared = waiting(&targets);
        let all: u64 = prepared.partitions.iter().map(|part| part.target_count).sum();
        assert_eq!(all, if targets.len() < 12 { 1 << 24 } else { 80 }, "each address is in one part");
        let wide: ipnet::IpNet = "10.0.0.0/8".parse().unwrap();
        let needs = prepared.partitions.iter().flat_map(|part| &part.needs.networks);
        assert!(needs.into_iter().all(|net| wide.contains(net)), "{:?}", shapes(&prepared));
    }
    let RefusedRequest::NoEligibleNode { reasons, .. } =
        prepare(request("10.0.0.0/8"), Author::default(), &log.raft).unwrap_err()
    else {
        panic!("another refusal")
    };
    assert!(reasons.iter().any(|(_, why)| why == "it does not reach 10.0.0.0/8"), "{reasons:?}");
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_accepts_what_waits_for_room_in_the_queue() {
    let log = Log::start().await;
    let propose = |command| log.proposer.propose(command);
    propose(Command::WorkerBack { node: FIRST_NODE }).await.unwrap();
    let submission = Submission::plain(SpecRef::Inline(Vec::new()), 10, FIRST_NODE);
    let submitted = propose(Command::SubmitJob(Box::new(submission))).await.unwrap().response;
    let Response::Submitted { job, .. } = submitted else { panic!("{submitted:?}") };
    let unit = UnitKey { job, partition: 0, start: 0 };
    let grant = NewLease { unit, end: 10, node: FIRST_NODE, share: Share::default() };
    propose(Command::Grant { grants: vec![grant] }).await.unwrap();
    let prepared = prepare(request("10.0.0.1"), Author::default(), &log.raft).unwrap();
    let plan = log.raft.read(|state| forecast(&prepared, state, &pentora_raft::state::Settings::default(), 0));
    let part = &plan.partitions[0];
    assert!(plan.accepted && part.eligible.is_empty() && part.seconds.is_some(), "{plan:?}");
    assert_eq!(part.refused[0].reason, "it has no room: it holds 1 of 1 leases");
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fewer_packets_are_forecast_than_a_scan_may_do_with() {
    let log = Log::start().await;
    let settings = pentora_raft::state::Settings::default();
    // Who answers the first look is asked for its ports alone, and a silent target of the node's own link gets that look alone.
    for (discovery, least) in [(true, 8), (false, 16)] {
        let asked =
            ScanRequest { ports: Some("80,81".into()), discovery, wait_for_worker: true, ..request("10.0.0.0/29") };
        let prepared = prepare(asked, Author::default(), &log.raft).unwrap();
        let plan = log.raft.read(|state| forecast(&prepared, state, &settings, 0));
        let looks = if discovery { 6 } else { 0 };
        assert_eq!(plan.packets.least, least, "{plan:?}");
        assert!(plan.packets.most >= 8 * (looks + 2) * 4 && plan.rests_on.len() == 2, "{plan:?}");
    }
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusions_are_taken_out_before_counting_and_may_leave_nothing() {
    let log = Log::start().await;
    let excluding = |exclude: &str| ScanRequest { exclude: vec![exclude.into()], ..request("10.0.0.0/24") };
    let prepared = prepare(excluding("10.0.0.128/25"), Author::default(), &log.raft).unwrap();
    assert_eq!(shapes(&prepared), [(128, vec![])]);
    let refused = prepare(excluding("10.0.0.0/16"), Author::default(), &log.raft).unwrap_err();
    assert!(!refused.to_string().is_empty() && !matches!(refused, RefusedRequest::Unavailable(_)), "{refused:?}");
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_outside_the_scope_refuses_the_whole_request_and_is_named() {
    let log = Log::start().await;
    let refused = prepare(request("10.0.0.0/24, 192.0.2.5"), Author::default(), &log.raft).unwrap_err();
    assert!(matches!(refused, RefusedRequest::Scope(_)) && refused.to_string().contains("192.0.2.5"), "{refused}");
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_that_no_node_meets_are_refused_with_the_reason_of_each() {
    let eu = NodeInfo { region: Some("eu".into()), ..node("eu", None) };
    let log = Log::with(&[eu]).await;
    let wanted =
        ScanRequest { region: Some("eu".into()), require_worker_tags: vec!["dmz".into()], ..request("10.0.0.1") };
    let RefusedRequest::NoEligibleNode { reasons, part } = prepare(wanted, Author::default(), &log.raft).unwrap_err()
    else {
        panic!("another refusal")
    };
    assert_eq!(part, "10.0.0.1");
    assert_eq!(
        reasons,
        [
            ("first".to_owned(), "it is in region (none), not eu".to_owned()),
            ("eu".to_owned(), "it has no tag `dmz`".to_owned())
        ]
    );
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_does_not_reach_is_named_as_it_was_asked_for() {
    let eu = NodeInfo { tags: vec!["dmz".into()], ..node("eu", Some(&["10.1.0.6/32"])) };
    let log = Log::with(&[eu, node("us", Some(&["10.1.0.0/16"]))]).await;
    let wanted = ScanRequest { require_worker_tags: vec!["dmz".into()], ..request("10.1.0.6-7") };
    let RefusedRequest::NoEligibleNode { reasons, part } = prepare(wanted, Author::default(), &log.raft).unwrap_err()
    else {
        panic!("another refusal")
    };
    assert_eq!(part, "10.1.0.7");
    assert!(reasons.contains(&("eu".to_owned(), "it does not reach 10.1.0.7".to_owned())), "{reasons:?}");
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_title_is_cut_between_characters_and_a_file_has_one_too() {
    let long = ScanRequest { targets: vec!["é".repeat(200)], ..ScanRequest::default() };
    assert_eq!(title(&long).chars().count(), TITLE_CHARS_MAX + 3);
    assert_eq!(title(&ScanRequest::default()), "targets from a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_reads_back_and_one_too_large_for_the_log_is_kept_as_a_chunk() {
    let log = Log::start().await;
    // Scattered addresses, so that ranges do not merge.
    let lines: String =
        (0..40_000u32).map(|n| format!("127.{}.{}.{}\n", n >> 15, (n >> 7) & 255, (n & 127) * 2)).collect();
    let large = ScanRequest {
        target_text: Some(lines),
        ports: Some("9".into()),
        rate: Some(1),
        discovery: false,
        ..ScanRequest::default()
    };
    let prepared = prepare(large, Author::default(), &log.raft).unwrap();
    let spec = prepared.spec.clone();
    let accepted = submit(prepared, None, &log.proposer, &log.exchange, 1, 1).await.unwrap();
    log.proposer.propose(Command::Cancel { job: accepted.job, reason: "seen".into() }).await.unwrap();
    assert_eq!(accepted.targets, 40_000);
    let kept = log.raft.read(|state| state.spec(accepted.job).cloned()).unwrap();
    let SpecRef::Chunk { digest, holders } = kept else { panic!("{} bytes in the log", spec::encode(&spec).len()) };
    assert_eq!(holders, [1]);
    let bytes = log.exchange.fetch(digest, &holders).await.unwrap();
    assert_eq!(spec::decode(&bytes).unwrap(), spec);
    log.raft.shutdown().await;
}

/// A rule about this machine's own addresses, which `localhost` has.
fn about_loopback(name: &str, rule: impl FnOnce(Vec<ipnet::IpNet>) -> Rule) -> Command {
    let networks = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).to_vec();
    let (rule, author) = (rule(networks), Author::default());
    Command::SetRule(Box::new(NewRule { name: name.into(), rule, reason: String::new(), author }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_at_several_sites_where_its_address_is() {
    let log = Log::start().await;
    for site in ["berlin", "madrid"] {
        let rule = about_loopback(site, |networks| Rule::Site(SiteRule { networks }));
        log.proposer.propose(rule).await.unwrap();
    }
    let refused = prepare_for_any(request("localhost"), Author::default(), &log.raft).unwrap_err();
    let RefusedRequest::Ambiguous { sites, .. } = &refused else { panic!("{refused}") };
    assert_eq!(sites.as_slice(), ["berlin", "madrid"]);
    let carried = ScanRequest { carry: true, ..request("localhost") };
    let refused = prepare_for_any(carried, Author::default(), &log.raft).unwrap_err();
    assert!(matches!(refused, RefusedRequest::Ambiguous { .. }), "{refused}");
    let named = ScanRequest { site: Some("madrid".into()), ..request("localhost") };
    prepare_for_any(named, Author::default(), &log.raft).unwrap();
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_scanned_at_the_site_that_has_its_address() {
    let log = Log::start().await;
    log.proposer.propose(about_loopback("berlin", |networks| Rule::Site(SiteRule { networks }))).await.unwrap();
    let prepared = prepare_for_any(request("localhost"), Author::default(), &log.raft).unwrap();
    let tags: Vec<_> = prepared.partitions.iter().map(|part| part.needs.required_tags.clone()).collect();
    assert_eq!(tags, [[crate::coordinator::placement::of_site("berlin")]]);
    log.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_closed_by_the_rule_about_its_address_and_waits_where_it_may() {
    let log = Log::start().await;
    let when = When::Once { from_ms: 0, until_ms: u64::MAX };
    let rule = |networks| Rule::Window(WindowRule { networks, when, effect: WindowEffect::Blackout });
    log.proposer.propose(about_loopback("freeze", rule)).await.unwrap();
    let refused = prepare_for_any(request("localhost"), Author::default(), &log.raft).unwrap_err();
    assert!(matches!(&refused, RefusedRequest::Closed(closed) if closed.rule == "freeze"), "{refused}");
    let waits = ScanRequest { wait_for_window: true, ..request("localhost") };
    prepare_for_any(waits, Author::default(), &log.raft).unwrap();
    log.raft.shutdown().await;
}
