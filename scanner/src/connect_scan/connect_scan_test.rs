//! Scans of fake networks in virtual time: what is found, how long it takes, what is sent where.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use std::net::SocketAddr;

use super::repeat::SILENT_IN_VAIN_MAX;
use super::*;
use crate::finding::{Finding, HostState, Observation, Reason};
use crate::io::fake::{FakeHost, FakeNetwork, FakeRun};
use crate::port::PortSet;
use crate::sample;
use crate::spec::{Profile, ScanSpec, Timing};
use crate::tally::Tally;
use crate::target::Target;
use crate::target::parse_targets;

fn spec(targets: &str, ports: &str) -> ScanSpec {
    sample::spec(targets, ports, 42)
}

fn scan_with(spec: ScanSpec, pace: RateCap, permit: Permit) -> ConnectScan {
    let plan = Plan::new(Arc::new(spec), 0).unwrap();
    let count = plan.target_count();
    ConnectScan::new(plan, 0..count, Arc::new(permit), Arc::new(pace))
}

fn scan(spec: ScanSpec) -> ConnectScan {
    scan_with(spec, RateCap::new(None), Permit::default())
}

/// Ports are open, filtered or closed by chance; `alive` of every ten addresses are there.
fn world(targets: &str, ports: &str, alive: u64, seed: u64) -> FakeNetwork {
    let targets = parse_targets(targets, "test").unwrap();
    let ports: PortSet = ports.parse().unwrap();
    let mut hosts = BTreeMap::new();
    for index in 0..targets.count() {
        let Some(Target::Address(address)) = targets.get(index) else { continue };
        let roll = |what: u64| crate::permute::mix(seed ^ crate::permute::mix(index << 20 ^ what)) % 10;
        if roll(0) < alive {
            let pick = |from: u64, to: u64| {
                ports
                    .iter()
                    .map(|port| port.number)
                    .filter(|port| (from..to).contains(&roll(1 + u64::from(*port))))
                    .collect()
            };
            hosts.insert(address, FakeHost { open: pick(0, 2), filtered: pick(2, 3), ..FakeHost::default() });
        }
    }
    FakeNetwork { seed, hosts, ..FakeNetwork::default() }
}

fn found(run: &FakeRun) -> BTreeSet<(IpAddr, u16)> {
    let open = run.findings.iter().filter_map(|finding| match finding.observation {
        Observation::Port { port, state: PortState::Open, .. } => Some((finding.address, port.number)),
        _ => None,
    });
    open.collect()
}

fn truth(network: &FakeNetwork) -> BTreeSet<(IpAddr, u16)> {
    let hosts = network.hosts.iter();
    hosts.flat_map(|(address, host)| host.open.iter().map(move |port| (*address, *port))).collect()
}

fn recall(network: &FakeNetwork, run: &FakeRun) -> f64 {
    let (truth, found) = (truth(network), found(run));
    assert!(found.is_subset(&truth), "phantoms: {:?}", found.difference(&truth).collect::<Vec<_>>());
    found.len() as f64 / truth.len() as f64
}

/// Everything that is open was found, and nothing else.
fn assert_exact(network: &FakeNetwork, run: &FakeRun) {
    let (truth, found) = (truth(network), found(run));
    let missed: Vec<_> = truth.difference(&found).take(5).collect();
    assert!(missed.is_empty(), "found {} of {}, not {missed:?}", found.len(), truth.len());
    assert_eq!(found.len(), truth.len(), "phantoms");
}

/// Every host that is up has each of its ports settled exactly once.
fn assert_settled_once(run: &FakeRun, ports: u32) {
    let mut settled: BTreeMap<IpAddr, Vec<u16>> = BTreeMap::new();
    for finding in &run.findings {
        let of_host = settled.entry(finding.address).or_default();
        match &finding.observation {
            Observation::Port { port, .. } => of_host.push(port.number),
            Observation::Ports { ports, .. } => of_host.extend(ports.iter().map(|port| port.number)),
            _ => {}
        }
    }
    for (address, mut of_host) in settled {
        let total = of_host.len();
        of_host.sort_unstable();
        of_host.dedup();
        assert_eq!((of_host.len(), total), (ports as usize, ports as usize), "{address}");
    }
}

#[test]
fn a_clean_network_is_scanned_exactly_and_nothing_that_answered_is_asked_twice() {
    let network = world("10.0.0.0/22", "1-20", 5, 3);
    let mut scan = scan(spec("10.0.0.0/22", "1-20"));
    let run = network.run(&mut scan);
    assert!(run.is_done);
    assert_exact(&network, &run);
    assert_settled_once(&run, 20);
    assert_eq!(run.tally.targets_done, 1024);
    assert_eq!(run.tally.hosts_up, network.hosts.len() as u64);
    assert_eq!(run.loss_rate, 0.0);
    let mut asked: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    run.sends.iter().for_each(|(_, to)| *asked.entry(*to).or_default() += 1);
    let mut questions = 0;
    for (to, times) in asked {
        let silent = network.hosts.get(&to.ip()).is_none_or(|host| host.filtered.contains(&to.port()));
        assert!(if silent { times == 2 } else { times >= 1 }, "{to}: {times}");
        questions += if silent { 0 } else { times - 1 };
    }
    assert!(questions as usize * 15 <= run.sends.len(), "{questions} questions to what was known to answer");
}

#[test]
fn loss_is_made_up_for_by_as_many_tries_as_it_takes() {
    for (loss, least, most) in [(0.05, 0.9999, 30), (0.2, 0.999, 60)] {
        let network = FakeNetwork { loss, ..world("10.0.0.0/21", "1-30", 9, 11) };
        let run = network.run(&mut scan(spec("10.0.0.0/21", "1-30")));
        let recall = recall(&network, &run);
        assert!(recall >= least, "{recall} at {loss}");
        assert_settled_once(&run, 30);
        let truth = 1.0 - (1.0 - loss) * (1.0 - loss);
        assert!((run.loss_rate - truth).abs() < 0.02, "estimated {} of {truth}", run.loss_rate);
        assert!(run.elapsed < Duration::from_secs(most), "{:?} at {loss}", run.elapsed);
    }
}

#[test]
fn a_host_that_drops_everything_is_done_within_twenty_seconds() {
    let run = FakeNetwork::default().run(&mut scan(spec("10.0.0.1", "1-65535")));
    assert_eq!((run.sends.len(), run.tally.hosts_up), (2 * 65_535, 0));
    // One that was named may want to see a SYN twice, until enough of its ports were waited for in vain.
    assert_eq!(run.tally.probes_sent, run.sends.len() as u64 + run.repeats);
    assert!((1..5000).contains(&run.repeats), "{}", run.repeats);
    assert!(run.findings.is_empty(), "a host that never answered leaves nothing");
    assert!(run.elapsed < Duration::from_secs(20), "{:?}", run.elapsed);
}

#[test]
fn a_host_that_drops_all_but_its_open_ports_is_exact_within_twenty_seconds() {
    let open: BTreeSet<u16> = (0..200).map(|n| n * 327 + 5).collect();
    let host = FakeHost { open, drops_rest: true, ..FakeHost::default() };
    let network =
        FakeNetwork { hosts: BTreeMap::from([("10.0.0.1".parse().unwrap(), host)]), ..FakeNetwork::default() };
    let run = network.run(&mut scan(spec("10.0.0.1", "1-65535")));
    assert_exact(&network, &run);
    assert_settled_once(&run, 65_535);
    assert!(run.elapsed < Duration::from_secs(20), "{:?}", run.elapsed);
}

#[test]
fn waits_of_many_hosts_overlap() {
    let rtt = Duration::from_millis(50);
    let network = FakeNetwork { rtt, ..world("10.0.0.0/20", "22,80,443", 3, 5) };
    let run = network.run(&mut scan(spec("10.0.0.0/20", "22,80,443")));
    assert_exact(&network, &run);
    assert!(run.elapsed < Duration::from_secs(6), "{:?}", run.elapsed);
}

#[test]
fn until_something_has_answered_few_probes_are_out() {
    let fast = || ScanSpec { timing: Timing::Fast, ..spec("10.0.0.0/20", "22,80,443") };
    let network = FakeNetwork { rtt: Duration::from_millis(80), ..world("10.0.0.0/20", "22,80,443", 3, 5) };
    let run = network.run(&mut scan(fast()));
    let first_answer = run.sends[0].0 + Duration::from_millis(80);
    assert_eq!(run.sends.iter().filter(|(at, _)| *at < first_answer).count(), 64);
    let dark = FakeNetwork::default().run(&mut scan(fast()));
    let later = dark.sends[0].0 + Duration::from_millis(200);
    assert_eq!(
        dark.sends.iter().filter(|(at, _)| *at < later).count(),
        2048,
        "and where nothing answers, not for long"
    );
}

#[test]
fn a_scan_begins_at_a_few_hundred_probes_per_second_and_doubles_with_answers() {
    let network = world("10.0.0.0/20", "22,80,443", 3, 5);
    let run = network.run(&mut scan(spec("10.0.0.0/20", "22,80,443")));
    let sent_within = |run: &FakeRun, millis| {
        let until = run.sends[0].0 + Duration::from_millis(millis);
        run.sends.iter().filter(|(at, _)| *at < until).count()
    };
    assert!((15..=30).contains(&sent_within(&run, 50)), "{}", sent_within(&run, 50));
    assert!(sent_within(&run, 1000) > 3000, "{}", sent_within(&run, 1000));
    let dark = FakeNetwork::default().run(&mut scan(spec("10.0.0.0/20", "22,80,443")));
    assert!((390..=420).contains(&sent_within(&dark, 1000)), "{}", sent_within(&dark, 1000));
    assert!((1120..=1260).contains(&sent_within(&dark, 2000)), "{}", sent_within(&dark, 2000));
}

#[test]
fn hosts_of_a_link_are_begun_as_fast_as_the_kernel_can_look_them_up() {
    let network = world("10.0.0.0/22", "22,80,443", 3, 5);
    let neighbours = Arc::new(Neighbours::new(&["10.0.0.0/23".parse().unwrap()], 100));
    let run = network.run(&mut scan(spec("10.0.0.0/22", "22,80,443")).with_neighbours(neighbours));
    assert_exact(&network, &run);
    let mut begun: BTreeMap<IpAddr, Duration> = BTreeMap::new();
    for (at, to) in &run.sends {
        begun.entry(to.ip()).or_insert(*at);
    }
    let mut on_link: Vec<Duration> =
        begun.iter().filter(|(ip, _)| ip.to_string().as_str() < "10.0.2").map(|(_, at)| *at).collect();
    on_link.sort_unstable();
    assert_eq!(on_link.len(), 512);
    for window in on_link.windows(101) {
        assert!(
            window[100] - window[0] > Duration::from_secs(3),
            "101 neighbours within {:?}",
            window[100] - window[0]
        );
    }
    assert!(run.elapsed < Duration::from_secs(25), "{:?}", run.elapsed);
}

#[test]
fn a_slow_host_among_fast_ones_is_not_missed() {
    let mut network = world("10.0.0.0/22", "1-20", 10, 7);
    let slow = network.hosts.get_mut(&"10.0.2.9".parse::<IpAddr>().unwrap()).unwrap();
    slow.rtt = Some(Duration::from_millis(350));
    (slow.open, slow.filtered) = ((1..=20).collect(), BTreeSet::new());
    let run = network.run(&mut scan(spec("10.0.0.0/22", "1-20")));
    assert_exact(&network, &run);
    assert_eq!(run.loss_rate, 0.0, "slowness is not taken for loss");
}

#[test]
fn a_firewall_that_polices_costs_tries_but_no_ports() {
    let network = FakeNetwork { police_pps: Some(20_000), ..world("10.0.0.0/21", "1-20", 9, 13) };
    let run = network.run(&mut scan(spec("10.0.0.0/21", "1-20")));
    let recall = recall(&network, &run);
    assert!(recall >= 0.9995, "{recall}");
    println!("policed at 20,000/s: {} probes in {:?}", run.sends.len(), run.elapsed);
}

#[test]
fn dark_hosts_cost_discovery_and_hosts_that_are_up_get_every_port_once() {
    let network = world("10.0.0.0/24", "1-100", 2, 17);
    let run = network.run(&mut scan(spec("10.0.0.0/24", "1-100")));
    assert_exact(&network, &run);
    assert_settled_once(&run, 100);
    let mut asked: BTreeMap<IpAddr, u32> = BTreeMap::new();
    run.sends.iter().for_each(|(_, to)| *asked.entry(to.ip()).or_default() += 1);
    for (address, probes) in asked.iter().filter(|(address, _)| !network.hosts.contains_key(address)) {
        assert!(*probes <= 2 * 5, "{address}: {probes}");
    }
    let everything = network.run(&mut scan(ScanSpec { discovery: Vec::new(), ..spec("10.0.0.0/24", "1-100") }));
    assert_exact(&network, &everything);
    assert!(everything.sends.len() > 3 * run.sends.len());
}

#[test]
fn no_host_is_sent_a_burst_while_others_wait() {
    let network = world("10.0.0.0/25", "1-100", 10, 19);
    let run = network.run(&mut scan(ScanSpec { discovery: Vec::new(), ..spec("10.0.0.0/25", "1-100") }));
    for round in run.sends.windows(64) {
        let hosts: BTreeSet<IpAddr> = round.iter().map(|(_, to)| to.ip()).collect();
        assert!(hosts.len() >= 40, "{} hosts in 64 probes", hosts.len());
    }
}

#[test]
fn the_rate_is_kept_and_used() {
    // Of addresses with nobody there the kernel's repeats take slots as well.
    let network = world("10.0.0.0/24", "1-20", 10, 23);
    let mut scan = scan_with(spec("10.0.0.0/24", "1-20"), RateCap::new(Some(1000)), Permit::default());
    let run = network.run(&mut scan);
    assert_exact(&network, &run);
    for (at, (begin, _)) in run.sends.iter().enumerate() {
        let burst = run.sends[at..].iter().take_while(|(time, _)| *time < *begin + Duration::from_millis(100)).count();
        assert!(burst <= 105, "{burst} within 100 ms");
    }
    let half = run.sends[run.sends.len() / 2].0 - run.sends[0].0;
    // What an open port makes the kernel send takes slots as well, its banner's acknowledgement among it.
    let slots = (run.sends.len() + 3 * usize::try_from(run.tally.open_ports).unwrap()) / 2;
    let rate = slots as f64 / half.as_secs_f64();
    assert!(rate >= 900.0, "{rate} beside the repeats");
}

#[test]
fn the_rates_of_hosts_and_networks_are_kept_and_used() {
    let network = world("10.0.0.0/23", "1-20", 5, 23);
    let spec = ScanSpec {
        discovery: Vec::new(),
        host_rate_pps: Some(20),
        network_rate_pps: Some(500),
        ..spec("10.0.0.0/23", "1-20")
    };
    let run = network.run(&mut scan(spec));
    assert_exact(&network, &run);
    let most = |is_counted: &dyn Fn(IpAddr) -> bool| {
        let times: Vec<Duration> = run.sends.iter().filter(|(_, to)| is_counted(to.ip())).map(|(at, _)| *at).collect();
        let within =
            |from: usize| times[from..].iter().take_while(|at| **at < times[from] + Duration::from_millis(100)).count();
        (0..times.len()).map(within).max().unwrap()
    };
    let second: IpAddr = "10.0.1.0".parse().unwrap();
    assert!(most(&|to| to < second) <= 53, "{}", most(&|to| to < second));
    assert!(most(&|to| to == second) <= 3);
    // Both networks at their rate side by side.
    let ideal = run.sends.len() as f64 / 1000.0;
    assert!(run.elapsed.as_secs_f64() < 1.3 * ideal + 3.0, "{:?} for {ideal} s", run.elapsed);
}

#[test]
fn a_rate_that_was_given_is_there_from_the_first_moment() {
    let network = FakeNetwork { rtt: Duration::from_millis(200), ..world("10.0.0.0/22", "1-20", 5, 23) };
    let spec = ScanSpec { rate_pps: Some(4000), discovery: Vec::new(), ..spec("10.0.0.0/22", "1-20") };
    let run = network.run(&mut scan(spec));
    let begun = run.sends[0].0;
    let early = run.sends.iter().filter(|(at, _)| *at < begun + Duration::from_millis(500)).count();
    assert!((1900..=2050).contains(&early), "{early} in the first half second");
}

#[test]
fn an_excluded_or_foreign_address_gets_no_packet_even_through_a_name() {
    let mut network = world("10.0.0.0/28", "1-5", 10, 29);
    network.names = BTreeMap::from([
        ("excluded.example".to_owned(), vec!["10.0.0.3".parse().unwrap()]),
        ("foreign.example".to_owned(), vec!["8.8.8.8".parse().unwrap()]),
        ("second.example".to_owned(), vec!["8.8.8.8".parse().unwrap(), "10.0.0.4".parse().unwrap()]),
    ]);
    let names = "excluded.example,foreign.example,second.example,nowhere.example,10.0.0.0/29";
    let mut spec = spec(names, "1-5");
    spec.exclude = "10.0.0.3".parse().unwrap();
    // As a careless caller would leave it: the exclusion is not subtracted from the partition.
    let run = network.run(&mut scan(spec));
    assert!(run.is_done);
    let asked: BTreeSet<IpAddr> = run.sends.iter().map(|(_, to)| to.ip()).collect();
    assert!(!asked.contains(&"10.0.0.3".parse().unwrap()) && !asked.contains(&"8.8.8.8".parse().unwrap()));
    assert_eq!(asked.len(), 7);
    assert_eq!((run.tally.targets_done, run.left_out.unresolved_count), (12, 3));
    assert_eq!(run.left_out.refused, 3, "the excluded address and the two names that lead out");
    let named: BTreeSet<_> = run.findings.iter().filter_map(|finding| finding.name.clone()).collect();
    assert_eq!(named, BTreeSet::from([Arc::from("second.example")]));
}

#[test]
fn a_name_with_several_addresses_is_one_target_and_a_host_at_each() {
    let mut network = world("10.0.0.0/28", "1-5", 10, 29);
    let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.200", "8.8.8.8"].map(|address| address.parse().unwrap());
    network.names = BTreeMap::from([("several.example".to_owned(), addresses.to_vec())]);
    let all = network.run(&mut scan(spec("several.example", "1-5")));
    let asked: BTreeSet<IpAddr> = all.sends.iter().map(|(_, to)| to.ip()).collect();
    assert!(all.is_done && asked == addresses[..3].iter().copied().collect());
    assert_eq!((all.tally.targets_done, all.tally.not_probed.total()), (1, 0));
    assert!(all.findings.iter().all(|finding| finding.target_index == 0 && finding.name.is_some()));
    let left: Vec<_> = all.left_out.addresses.iter().map(|left| left.address.to_string()).collect();
    assert_eq!(left, ["8.8.8.8"]);
    let first = ScanSpec { first_address: true, ..spec("several.example", "1-5") };
    let asked: BTreeSet<IpAddr> = network.run(&mut scan(first)).sends.iter().map(|(_, to)| to.ip()).collect();
    assert_eq!(asked, addresses[..1].iter().copied().collect());
}

#[test]
fn a_machine_without_sockets_is_waited_for_and_then_said_so() {
    let network = FakeNetwork { sockets_max: 40, ..world("10.0.0.0/25", "1-20", 5, 31) };
    let run = network.run(&mut scan(spec("10.0.0.0/25", "1-20")));
    assert!(run.is_done);
    assert_exact(&network, &run);
    assert_eq!(
        run.tally.probes_sent,
        run.sends.len() as u64 + run.repeats,
        "probes that were not sent are not counted"
    );
    let starved = FakeNetwork { sockets_max: 0, ..network }.run(&mut scan(spec("10.0.0.0/25", "1-20")));
    assert!(!starved.is_done && starved.sends.is_empty());
}

#[test]
fn no_more_sockets_are_used_than_there_are() {
    let network = FakeNetwork { sockets_told: 100, ..world("10.0.0.0/24", "1-20", 5, 37) };
    let run = network.run(&mut scan(spec("10.0.0.0/24", "1-20")));
    assert_exact(&network, &run);
    assert_eq!(run.in_flight_max, 100);
}

#[test]
fn where_only_single_syns_may_be_sent_no_connection_is_made() {
    let network = world("10.0.0.0/29", "1-10", 5, 41);
    let spec = ScanSpec { profile: Profile::OtSafe, timing: Timing::Fast, ..spec("10.0.0.0/29", "1-10") };
    let run = network.run(&mut scan(spec));
    assert!(run.is_done && run.sends.is_empty());
    assert_eq!(run.left_out.refused, 8);
}

/// Ports that answered open, and the hosts told to answer on everything and to be cleared of it.
fn judged(run: &FakeRun) -> (usize, Vec<IpAddr>, Vec<IpAddr>) {
    let of = |wanted: Observation| {
        let told = run.findings.iter().filter(move |finding| finding.observation == wanted);
        told.map(|finding| finding.address).collect::<Vec<_>>()
    };
    (found(run).len(), of(Observation::Middlebox), of(Observation::Cleared))
}

#[test]
fn a_host_that_answers_on_everything_is_left_alone_after_a_few_ports() {
    let tarpit: IpAddr = "10.0.0.3".parse().unwrap();
    let everything = FakeHost { open: (1..=u16::MAX).collect(), ..FakeHost::default() };
    for (ports, loss) in [("1-1000", 0.0), ("-", 0.0), ("1-1000", 0.3)] {
        let hosts = BTreeMap::from([(tarpit, everything.clone())]);
        let network = FakeNetwork { loss, hosts, ..FakeNetwork::default() };
        let run = network.run(&mut scan(spec("10.0.0.0/29", ports)));
        let (open, middleboxes, cleared) = judged(&run);
        assert_eq!((middleboxes, cleared.len()), (vec![tarpit], 0), "{ports}");
        assert!(loss > 0.0 || open < 800, "{open} ports of {ports} were asked");
        assert_eq!(run.tally.open_ports, 0, "they mean nothing");
        assert!(run.findings.iter().all(|finding| !matches!(finding.observation, Observation::Ports { .. })));
    }
}

/// The ranges that were told to be redirected, as they were told last.
fn redirected(run: &FakeRun) -> Vec<(u16, u16)> {
    let told = run.findings.iter().filter_map(|finding| match finding.observation {
        Observation::Redirected { first, last, .. } => Some((first, last)),
        _ => None,
    });
    let told: Vec<(u16, u16)> = told.collect();
    let is_whole = |(first, last): &&(u16, u16)| {
        !told.iter().any(|other| other != &(*first, *last) && other.0 <= *first && other.1 >= *last)
    };
    let whole: BTreeSet<(u16, u16)> = told.iter().filter(is_whole).copied().collect();
    whole.into_iter().collect()
}

#[test]
fn a_host_of_which_a_range_of_ports_answers_is_left_alone_as_well() {
    let host: IpAddr = "10.0.0.3".parse().unwrap();
    for range in [1..=1024, 1..=10_000] {
        let hosts = BTreeMap::from([(host, FakeHost { open: range.collect(), ..FakeHost::default() })]);
        let network = FakeNetwork { hosts, ..FakeNetwork::default() };
        let run = network.run(&mut scan(spec("10.0.0.3", "1-1024")));
        let (open, middleboxes, _) = judged(&run);
        let told = redirected(&run);
        assert_eq!((middleboxes.len(), run.tally.open_ports, told.len()), (0, 0, 1), "{told:?}");
        assert!(told[0].0 == 1 && told[0].1 >= 1023, "{told:?}");
        assert!(open < 800, "{open} ports were asked");
        assert!(run.findings.iter().all(|finding| !matches!(finding.observation, Observation::Ports { .. })));
    }
}

#[test]
fn a_host_with_many_real_listeners_is_cleared_behind_whatever_filter() {
    let host: IpAddr = "10.0.0.3".parse().unwrap();
    for (ports, drops_rest) in [("20000-21499", false), ("20000-21499", true), ("-", false), ("-", true)] {
        let listening = FakeHost { open: (20_000..21_500).collect(), drops_rest, ..FakeHost::default() };
        let hosts = BTreeMap::from([(host, listening)]);
        let network = FakeNetwork { hosts, ..FakeNetwork::default() };
        let run = network.run(&mut scan(ScanSpec { retries: Some(1), ..spec("10.0.0.3", ports) }));
        let (open, middleboxes, cleared) = judged(&run);
        assert_eq!((open, middleboxes.len(), run.tally.open_ports), (1500, 0, 1500), "{ports}");
        assert!(cleared.len() <= 1);
    }
}

#[test]
fn dozens_of_real_listeners_below_1024_are_a_machines_own_and_a_range_that_answers_is_not() {
    let host: IpAddr = "10.0.0.3".parse().unwrap();
    let scattered: BTreeSet<u16> = (1..1024).step_by(7).collect();
    for (open, ports) in [(scattered, "1-1023"), ((301..451).collect(), "1-1023"), ((301..451).collect(), "301-450")] {
        let listening = FakeHost { open: open.clone(), drops_rest: true, ..FakeHost::default() };
        let network = FakeNetwork { hosts: BTreeMap::from([(host, listening)]), ..FakeNetwork::default() };
        let run = network.run(&mut scan(ScanSpec { retries: Some(1), ..spec("10.0.0.3", ports) }));
        let (found, middleboxes, cleared) = judged(&run);
        assert_eq!((found, middleboxes.len(), cleared.len()), (open.len(), 0, 1), "{ports}");
    }
    for (ports, others) in [("1-300", false), ("1-300", true), ("301-700,2000-2999", true)] {
        let open: BTreeSet<u16> = (1..1024).collect();
        let boxed = FakeHost { open, drops_rest: !others, ..FakeHost::default() };
        let network = FakeNetwork { hosts: BTreeMap::from([(host, boxed)]), ..FakeNetwork::default() };
        let run = network.run(&mut scan(spec("10.0.0.3", ports)));
        assert_eq!((judged(&run).1.len(), run.tally.open_ports), (0, 0), "{ports}");
        assert_eq!(redirected(&run).len(), 1, "{ports}");
    }
}

#[test]
fn what_is_open_outside_of_a_redirected_range_is_a_hosts_own() {
    let host: IpAddr = "10.0.0.3".parse().unwrap();
    let own = [22, 443, 3306, 8080, 8081, 30_000];
    for (range, ports) in [
        (1..=1023, "1-1023,8080"),
        (1..=1023, "-"),
        (1..=300, "1-10000"),
        (1024..=65_535, "1-2048"),
        (1024..=65_535, "-"),
        (1100..=65_535, "1-1500"),
        (5000..=20_000, "-"),
    ] {
        for drops_rest in [false, true] {
            let open: BTreeSet<u16> = range.clone().chain(own).collect();
            let redirects = FakeHost { open, drops_rest, ..FakeHost::default() };
            let network = FakeNetwork { hosts: BTreeMap::from([(host, redirects)]), ..FakeNetwork::default() };
            let run = network.run(&mut scan(ScanSpec { retries: Some(1), ..spec("10.0.0.3", ports) }));
            let asked: PortSet = ports.parse().unwrap();
            let is_own = |port: &&u16| !range.contains(port) && asked.contains(Port::tcp(**port));
            let expected = own.iter().filter(is_own).count() as u64;
            let told = redirected(&run);
            let of = format!("{range:?} of {ports}, {drops_rest}: {told:?}");
            assert_eq!((run.tally.open_ports, judged(&run).1.len(), told.len()), (expected, 0, 1), "{of}");
            let is_outside = |port: &&u16| !(told[0].0..=told[0].1).contains(port);
            assert_eq!(own.iter().filter(is_own).filter(is_outside).count() as u64, expected, "{of}");
            let asked = run.sends.iter().map(|(_, to)| to.port()).filter(|port| range.contains(port));
            let asked: BTreeSet<u16> = asked.collect();
            assert!(asked.len() < 2600, "{} ports were asked: {of}", asked.len());
        }
    }
}

#[test]
fn a_stretch_of_thousands_above_1024_is_no_machines_and_hundreds_are() {
    let host: IpAddr = "10.0.0.3".parse().unwrap();
    let judged_of = |open: BTreeSet<u16>, drops_rest: bool, ports: &str| {
        let hosts = BTreeMap::from([(host, FakeHost { open, drops_rest, ..FakeHost::default() })]);
        let network = FakeNetwork { hosts, ..FakeNetwork::default() };
        let run = network.run(&mut scan(ScanSpec { retries: Some(1), ..spec("10.0.0.3", ports) }));
        (judged(&run), run.tally.open_ports, redirected(&run))
    };
    let own = [22, 80, 1433, 50_000];
    for (range, ports) in [
        (2000..=9999, "1-12000"),
        (2000..=9999, "22,80,1433,2000-6000,7000-7100"),
        (30_000..=39_999, "20000-45000"),
        (61_000..=65_535, "60000-65535"),
        (2000..=9999, "3000-3200"),
    ] {
        for drops_rest in [false, true] {
            let open = range.clone().chain(own).collect();
            let ((_, middleboxes, _), counted, told) = judged_of(open, drops_rest, ports);
            let asked: PortSet = ports.parse().unwrap();
            let expected = own.iter().filter(|port| asked.contains(Port::tcp(**port)) && !range.contains(port)).count();
            let found = (middleboxes.len(), counted, told.len());
            assert_eq!(found, (0, expected as u64, 1), "{range:?} of {ports}, {drops_rest}: {told:?}");
        }
    }
    let in_row = |first: u16, count: u16| (first..first + count).collect::<Vec<_>>();
    let scattered: Vec<u16> = (2000..28_000).step_by(51).collect();
    for (open, ports) in [
        (in_row(30_000, 97), "1-40000"),
        (in_row(30_000, 512), "30000-30511"),
        (in_row(30_000, 512), "30100-30300"),
        (in_row(64_000, 1500), "60000-65535"),
        (scattered, "1-30000"),
    ] {
        for drops_rest in [false, true] {
            let open: BTreeSet<u16> = open.iter().copied().chain(own).collect();
            let asked: PortSet = ports.parse().unwrap();
            let expected = open.iter().filter(|port| asked.contains(Port::tcp(**port))).count();
            let ((found, middleboxes, _), counted, told) = judged_of(open, drops_rest, ports);
            assert_eq!((found, middleboxes.len(), counted), (expected, 0, expected as u64), "{ports}, {drops_rest}");
            assert!(told.is_empty(), "{ports}: {told:?}");
        }
    }
}

#[test]
fn an_address_is_asked_once_for_all_its_names_and_each_is_told_what_was_found() {
    let names = ["a.example", "b.example", "c.example", "d.example", "e.example"];
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    for (drops_rest, banners, tries) in [(false, true, 1), (true, false, 3)] {
        let open = if drops_rest { BTreeSet::new() } else { [80, 502, 4840].into() };
        let device = FakeHost { open, drops_rest, ..FakeHost::default() };
        let network = FakeNetwork {
            hosts: BTreeMap::from([(address, device)]),
            names: names.iter().map(|name| ((*name).to_owned(), vec![address])).collect(),
            ..FakeNetwork::default()
        };
        let targets = format!("10.0.0.1,{}", names.join(","));
        let spec = ScanSpec { banners, discovery: Vec::new(), ..spec(&targets, "80,81,502,503,4840") };
        let run = network.run(&mut scan(spec));
        assert!(run.is_done);
        for (port, most) in [(80, 2), (81, 2), (502, 1), (503, 2), (4840, 1)] {
            let at = SocketAddr::new(address, port);
            assert!(run.at_ports_max[&at] <= most, "{} at once to {port}", run.at_ports_max[&at]);
            assert!(run.sends.iter().filter(|(_, to)| *to == at).count() <= tries, "{port}");
        }
        let (hosts, open) = if drops_rest { (0, 0) } else { (1, 3) };
        assert_eq!((run.tally.targets_done, run.tally.hosts_up, run.tally.open_ports), (6, hosts, open));
        let of = |name: Option<&str>| {
            let told = run.findings.iter().filter(|finding| finding.name.as_deref() == name);
            told.map(|finding| format!("{:?}", finding.observation)).collect::<BTreeSet<_>>()
        };
        let expected = of(None);
        assert_eq!(expected.len(), if drops_rest { 0 } else { 6 });
        assert!(names.iter().all(|name| of(Some(name)) == expected));
    }
}

#[test]
fn a_thousand_names_of_one_silent_address_take_no_longer_than_one() {
    let silent: IpAddr = "10.0.0.1".parse().unwrap();
    let other: IpAddr = "10.0.0.2".parse().unwrap();
    let names: Vec<String> = (0..1000).map(|number| format!("n{number}.example")).collect();
    let addresses = |at: usize| if at.is_multiple_of(2) { vec![silent] } else { vec![silent, other] };
    let network = FakeNetwork {
        hosts: BTreeMap::from([(other, FakeHost { open: [22].into(), ..FakeHost::default() })]),
        names: names.iter().enumerate().map(|(at, name)| (name.clone(), addresses(at))).collect(),
        ..FakeNetwork::default()
    };
    // Also where so few hosts are asked at once that most names are looked up when all is known.
    for ports in ["22,81,82,83", "1-65535"] {
        let mut scan = scan(ScanSpec { retries: Some(1), ..spec(&names.join(","), ports) });
        let run = network.run(&mut scan);
        let most = 2 * 2 * scan.plan.port_count() as usize;
        assert!(run.is_done && run.sends.len() <= most, "{} probes", run.sends.len());
        assert!(run.elapsed < Duration::from_secs(20), "{:?}", run.elapsed);
        assert_eq!((run.tally.targets_done, run.tally.hosts_up, run.tally.open_ports), (1000, 1, 1));
        let open = |finding: &&Finding| {
            let is_open = matches!(finding.observation, Observation::Port { state: PortState::Open, .. });
            is_open && finding.address == other
        };
        assert_eq!(run.findings.iter().filter(open).count(), 500, "each of those that have it is told");
        assert_eq!(scan.settled_until(), Some(1000));
    }
}

#[test]
fn a_port_that_others_are_connected_to_is_asked_when_they_are_gone() {
    let occupancy = Arc::new(crate::occupancy::Occupancy::default());
    let port: SocketAddr = "10.0.0.1:502".parse().unwrap();
    let others = occupancy.at_port(port, false).unwrap();
    let spec = ScanSpec { discovery: Vec::new(), ..spec("10.0.0.1", "502") };
    let mut scan = scan(spec).within(Arc::clone(&occupancy));
    let mut now = Duration::from_secs(1);
    for _ in 0..100 {
        let Step::Wait { until } = scan.poll(now, 10) else { panic!("a connection counts whoever has it") };
        assert!(until > now);
        now = until;
    }
    drop(others);
    assert!(matches!(scan.poll(now, 10), Step::Send { to, .. } if to == port));
    assert!(occupancy.at_port(port, true).is_none(), "and then it counts itself");
}

#[test]
fn a_fixed_number_of_retries_is_kept_whatever_the_loss() {
    let network = FakeNetwork { loss: 0.2, ..world("10.0.0.0/24", "1-20", 5, 43) };
    let spec = ScanSpec { retries: Some(0), discovery: Vec::new(), ..spec("10.0.0.0/24", "1-20") };
    let run = network.run(&mut scan(spec));
    assert_eq!((run.sends.len(), run.tally.retransmitted), (256 * 20, 0));
}

#[test]
fn a_probe_that_met_itself_is_sent_again_without_being_counted_as_lost() {
    let mut scan = scan(ScanSpec { timing: Timing::Fast, ..spec("10.0.0.1", "80") });
    let now = Duration::from_secs(1);
    let Step::Send { probe, .. } = scan.poll(now, 9) else { panic!() };
    scan.on_misfire(probe);
    let Step::Send { probe: again, .. } = scan.poll(now, 9) else { panic!() };
    assert_ne!(probe, again);
    let refused = Answer::own(PortState::Closed, Reason::ConnRefused);
    assert_eq!(scan.on_answer(now, probe, refused), None, "the first one is gone");
    assert_eq!(scan.results_mut().take_findings(), []);
    scan.on_answer(now + Duration::from_millis(1), again, refused);
    assert_eq!(scan.poll(now, 9), Step::Done);
    assert_eq!(scan.estimates().loss, 0.0);
}

#[test]
fn what_the_way_says_is_told_with_the_host_or_not_at_all() {
    let unreachable = Answer::on_the_way(Reason::HostUnreach);
    let refused = Answer::own(PortState::Closed, Reason::ConnRefused);
    let findings_of = |answers: [Answer; 3]| {
        let mut scan = scan(ScanSpec { timing: Timing::Fast, ..spec("10.0.0.1", "1-3") });
        let now = Duration::from_secs(1);
        for answer in answers {
            let Step::Send { probe, .. } = scan.poll(now, 9) else { panic!() };
            scan.on_answer(now, probe, answer);
        }
        assert_eq!(scan.poll(now, 9), Step::Done);
        scan.results_mut().take_findings()
    };
    assert_eq!(findings_of([unreachable; 3]), []);
    let findings = findings_of([unreachable, refused, unreachable]);
    assert!(matches!(findings[0].observation, Observation::Host { state: HostState::Up, reason: Reason::ConnRefused }));
    let Observation::Ports { ports, state: PortState::Filtered, reason: Reason::HostUnreach } =
        &findings[2].observation
    else {
        panic!("{findings:?}")
    };
    assert_eq!(ports.count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_network_is_scanned_to_its_end_with_each_port_settled_once(
        seed: u64, alive in 0_u64..=10, loss in 0.0..0.3, rtt in 0_u64..300, jitter in 0_u64..100,
        sockets in 1_usize..3000, is_discovered: bool, ports in 1_u16..40, timing in 0_usize..3
    ) {
        let ports = format!("1-{ports}");
        let network = FakeNetwork {
            loss,
            rtt: Duration::from_millis(rtt),
            jitter: Duration::from_millis(jitter),
            sockets_told: sockets,
            ..world("10.0.0.0/26", &ports, alive, seed)
        };
        let timing = [Timing::Polite, Timing::Normal, Timing::Fast][timing];
        let discovery = if is_discovered { ScanSpec::default().discovery } else { Vec::new() };
        let spec = ScanSpec { discovery, timing, seed, ..spec("10.0.0.0/26", &ports) };
        let count = spec.ports.count();
        let run = network.run(&mut scan(spec));
        prop_assert!(run.is_done);
        prop_assert_eq!(run.tally.targets_done, 64);
        prop_assert_eq!(run.tally.probes_sent, run.sends.len() as u64 + run.repeats);
        prop_assert!(found(&run).is_subset(&truth(&network)));
        prop_assert!(run.in_flight_max <= sockets);
        assert_settled_once(&run, count);
    }
}

#[test]
fn a_host_behind_a_limit_of_its_own_is_found_whole_beside_fast_ones() {
    for (fast, limit, ports) in [(1_u8, 5000, 20_000_u16), (7, 5000, 2000), (7, 1000, 2000)] {
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let open: BTreeSet<u16> = (1000..1500).collect();
        let limited = FakeHost { open: open.clone(), limit_pps: Some(limit), ..FakeHost::default() };
        let mut hosts: BTreeMap<_, _> = (2..2 + fast).map(|last| (address(last), FakeHost::default())).collect();
        hosts.insert(address(1), limited);
        let network = FakeNetwork { hosts, ..FakeNetwork::default() };
        let mut scan = scan(spec(&format!("10.0.0.1-10.0.0.{}", 1 + fast), &format!("1-{ports}")));
        let run = network.run(&mut scan);
        let found = found(&run).into_iter().filter(|(host, _)| *host == address(1)).count();
        assert_eq!(found, 500, "beside {fast} at {limit}: {:?} in {:?}", run.tally, run.elapsed);
        let fair = f64::from(ports) / limit as f64;
        assert!(run.elapsed.as_secs_f64() <= 6.0 * fair + 8.0, "{:?} beside {fast} at {limit}", run.elapsed);
    }
}

#[test]
fn a_port_that_wants_to_be_asked_twice_in_one_flow_is_found_and_its_repeats_are_counted() {
    let address = IpAddr::from([10, 0, 0, 1]);
    let host = FakeHost {
        open: BTreeSet::from([22, 80]),
        wary: BTreeSet::from([80]),
        filtered: BTreeSet::from([443]),
        ..FakeHost::default()
    };
    let network = FakeNetwork { hosts: BTreeMap::from([(address, host)]), ..FakeNetwork::default() };
    let mut scan = scan(spec("10.0.0.1", "22,80,443,8080"));
    let run = network.run(&mut scan);
    assert_eq!(found(&run), BTreeSet::from([(address, 22), (address, 80)]));
    assert!(run.loss_rate < 1e-9, "that is no loss: {}", run.loss_rate);
    // Two ports once, two silent ones twice, and each of these once more by the kernel.
    assert_eq!((run.sends.len(), run.tally.probes_sent, run.tally.retransmitted), (6, 8, 4));
    let mut fast = scan_with(
        ScanSpec { timing: Timing::Fast, ..spec("10.0.0.1", "22,80") },
        RateCap::new(None),
        Permit::default(),
    );
    assert_eq!(found(&network.run(&mut fast)).len(), 1, "whoever is in a hurry does not wait for it");
}

#[test]
fn hosts_behind_a_filter_that_wants_each_syn_twice_are_found_among_any_number() {
    let wary = |ports: &[u16]| {
        let open: BTreeSet<u16> = ports.iter().copied().collect();
        FakeHost { open: open.clone(), wary: open, drops_rest: true, ..FakeHost::default() }
    };
    // Also one of whose ports only a discovery asks, and ones that come when thousands were waited for in vain.
    for (targets, asked) in
        [("10.0.0.1-6", "22,23,80,8080"), ("10.0.0.0/24", "21,22,80"), ("10.0.0.0/18", "22,80,443,8080")]
    {
        let set = parse_targets(targets, "test").unwrap();
        let addresses = (0..set.count()).filter_map(|index| match set.get(index) {
            Some(Target::Address(address)) if index % 37 == 3 => Some(address),
            _ => None,
        });
        let ports = if asked.contains("21") { vec![22] } else { vec![22, 80, 8080] };
        let network =
            FakeNetwork { hosts: addresses.map(|address| (address, wary(&ports))).collect(), ..FakeNetwork::default() };
        let asked = ports.iter().map(u16::to_string).chain([asked.to_owned()]).collect::<Vec<_>>().join(",");
        let run = network.run(&mut scan(spec(targets, &asked)));
        assert_exact(&network, &run);
    }
    let dark = FakeNetwork::default().run(&mut scan(spec("10.0.0.0/18", "22,80,443,8080")));
    // Thousands may be out when so many were in vain.
    let most = u64::from(SILENT_IN_VAIN_MAX) + (1 << 14) + (1 << 14);
    assert!(dark.repeats <= most, "{} repeats", dark.repeats);
    let few = FakeNetwork { sockets_told: 400, ..FakeNetwork::default() };
    let run = few.run(&mut scan(spec("10.0.0.0/22", "22,80,443,8080")));
    assert!(run.is_done && run.in_flight_max <= 400);
    assert!(run.elapsed < 3 * dark.elapsed, "{:?} and {:?}", run.elapsed, dark.elapsed);
}

#[test]
fn a_host_all_of_whose_ports_want_to_be_asked_twice_in_one_flow_is_found() {
    let address = IpAddr::from([10, 0, 0, 1]);
    let both = BTreeSet::from([22, 80]);
    let host = FakeHost { open: both.clone(), wary: both, ..FakeHost::default() };
    let network = FakeNetwork { hosts: BTreeMap::from([(address, host)]), ..FakeNetwork::default() };
    let mut scan = scan(spec("10.0.0.1,10.0.0.2", "22,80"));
    let run = network.run(&mut scan);
    assert_eq!(found(&run), BTreeSet::from([(address, 22), (address, 80)]));
    assert_eq!(scan.round_trip(), Duration::ZERO, "what came late says nothing of the way");
    assert!(run.elapsed < Duration::from_secs(8), "{:?}", run.elapsed);
}

#[test]
fn a_host_to_which_this_machine_lets_nothing_out_was_not_probed() {
    for (heard, told) in [(false, "send refused 1"), (true, "")] {
        let mut scan = scan(ScanSpec { discovery: Vec::new(), ..spec("10.0.0.1", "22,80") });
        for port in 0..2 {
            let now = Duration::from_secs(1 + port);
            let Step::Send { probe, .. } = scan.poll(now, 10) else { panic!("nothing is sent") };
            if heard && port == 1 {
                scan.on_answer(now, probe, Answer::own(PortState::Closed, Reason::ConnRefused));
            } else {
                scan.on_refused_here(probe, Reason::AdminProhibited);
            }
        }
        assert_eq!(scan.poll(Duration::from_secs(3), 10), Step::Done);
        let tally = scan.results().tally();
        assert_eq!((tally.not_probed.to_string().as_str(), tally.probes_sent), (told, u64::from(heard)));
    }
}

#[test]
fn what_something_on_the_way_refuses_is_no_host_and_what_a_host_refuses_itself_is_one() {
    for (is_own_word, up) in [(false, 0), (true, 1)] {
        let mut scan = scan(ScanSpec { discovery: Vec::new(), ..spec("10.0.0.1", "22") });
        let now = Duration::from_secs(1);
        let Step::Send { probe, .. } = scan.poll(now, 10) else { panic!("nothing is sent") };
        let answer = Answer { state: PortState::Filtered, reason: Reason::PortUnreach, is_own_word };
        assert_eq!(scan.on_answer(now, probe, answer), None);
        assert_eq!(scan.poll(now, 10), Step::Done);
        assert_eq!((scan.results().tally().hosts_up, scan.results().tally().open_ports), (up, 0));
    }
}

#[test]
fn a_host_behind_a_limit_is_found_whole_also_when_nobody_else_is_scanned() {
    let address = IpAddr::from([10, 0, 0, 1]);
    for (limit, ports) in [(5000, 20_000_u16), (1000, 20_000), (1000, 2000)] {
        let first = ports - 700;
        let open: BTreeSet<u16> = (first..first + 500).collect();
        let limited = FakeHost { open: open.clone(), limit_pps: Some(limit), ..FakeHost::default() };
        let network = FakeNetwork { hosts: BTreeMap::from([(address, limited)]), ..FakeNetwork::default() };
        let mut scan = scan(spec("10.0.0.1", &format!("1-{ports}")));
        let run = network.run(&mut scan);
        let found = found(&run).len();
        let (told, truth) = (scan.estimates().recall, found as f64 / 500.0);
        assert!(found >= 498, "{found} at {limit}: {:?} in {:?}, told {told}", run.tally, run.elapsed);
        assert!(told <= truth + 0.005, "told {told}, found {found}");
        let fair = f64::from(ports) / limit as f64;
        assert!(run.elapsed.as_secs_f64() <= 4.0 * fair + 10.0, "{:?} at {limit}", run.elapsed);
    }
}

/// Scans two silent hosts in a dark network, of which one has no place in the kernel's table from the first look on, until `free_at`.
fn crowded(free_at: Duration) -> Tally {
    let mut scan = scan(spec("10.0.0.4/31", "22,80"));
    let (mut now, lost) = (Duration::from_secs(1), IpAddr::from([10, 0, 0, 4]));
    loop {
        scan.crowd(|address| address == lost && now < free_at);
        match scan.poll(now, 100) {
            Step::Done => return scan.results().tally(),
            Step::Wait { until } => {
                now = until.min(now + Duration::from_millis(100)).max(now + Duration::from_millis(1))
            }
            _ => {}
        }
    }
}

#[test]
fn who_had_no_place_among_the_neighbours_until_the_end_was_not_probed() {
    let tally = crowded(Duration::MAX);
    assert_eq!((tally.targets_done, tally.not_probed.to_string().as_str()), (2, "table of neighbours full 1"));
    let tally = crowded(Duration::from_millis(1500));
    assert_eq!((tally.targets_done, tally.not_probed.total()), (2, 0), "it was sent to in the end");
}

/// Scans 256 addresses of which 64 live with half of their 200 ports filtered, behind a router with room for so many flows. Returns the
/// share of the open ports that was found, what was told of it, the run, and how many are open.
fn through_a_table(table: Option<usize>) -> (f64, f64, FakeRun) {
    let mut network = FakeNetwork { table, ..FakeNetwork::default() };
    for last in 0..64 {
        let open = BTreeSet::from([22, 25, 80]);
        let host = FakeHost { open, filtered: (101..=200).collect(), ..FakeHost::default() };
        network.hosts.insert(IpAddr::from([10, 0, 0, last]), host);
    }
    let mut scan = scan(spec("10.0.0.0/24", "1-200"));
    let run = network.run(&mut scan);
    assert!(run.is_done);
    (recall(&network, &run), scan.estimates().recall, run)
}

#[test]
fn behind_a_router_whose_table_is_full_everything_is_found_later_or_told_as_missing() {
    let (found, told, run) = through_a_table(Some(4096));
    println!("{found} found, {told} told, {:?}, full for {:?}, {} probes", run.elapsed, run.full, run.sends.len());
    assert!(found >= 0.999, "{found} found, {told} told");
    assert!(told <= found + 0.005 && told > 0.9, "{found} found, {told} told");
    assert!(run.full < Duration::from_secs(125), "full once, until the first flows are forgotten: {:?}", run.full);
    assert!(run.elapsed < Duration::from_secs(1500), "{:?}", run.elapsed);
    for table in [1500, 10_000] {
        let (found, told, run) = through_a_table(Some(table));
        assert!(told <= found + 0.005 && found >= 0.999, "{found} found, {told} told at {table}: {:?}", run.elapsed);
    }
}

#[test]
fn a_path_with_room_for_every_flow_is_not_slowed_by_being_watched() {
    let (found, _, run) = through_a_table(None);
    println!("{:?}, {} probes", run.elapsed, run.sends.len());
    assert!((found - 1.0).abs() < 1e-9 && run.elapsed < Duration::from_secs(12), "{:?}", run.elapsed);
}

#[test]
fn a_unit_does_not_rest_for_ever_in_a_doubt_whose_owner_is_gone() {
    let pace = Arc::new(RateCap::new(None));
    // Nobody answers, so this unit has nobody to ask.
    let plan = Plan::new(Arc::new(spec("10.0.0.0/28", "1-3")), 0).unwrap();
    let mut scan = ConnectScan::new(plan, 0..16, Arc::default(), Arc::clone(&pace));
    let (mut now, mut is_doubted) = (Duration::from_secs(1), false);
    loop {
        match scan.poll(now, 1000) {
            Step::Wait { until } => now = until.max(now + Duration::from_millis(1)),
            Step::Done => break,
            _ => {}
        }
        assert!(now < Duration::from_secs(60), "it rests, with {} probes out", scan.in_flight());
        if !is_doubted && scan.is_cooling_down() && scan.in_flight() > 0 {
            // All that it has to send is out when another unit of the job loses eight questions, and is cancelled.
            is_doubted = true;
            let at = |turn: u32| Duration::from_millis(900) + Duration::from_millis(3) * turn;
            (0..8).for_each(|turn| pace.room().asked(at(turn), 2000));
            (0..8).for_each(|turn| pace.room().answered(now, at(turn), false, 0.0, 2000));
        }
    }
    assert!(is_doubted && scan.results().tally().targets_done == 16);
}

#[test]
fn where_sockets_are_few_one_is_left_to_ask_what_the_silence_of_the_others_means() {
    for (told, there) in [(6, usize::MAX), (1, usize::MAX), (20_000, 6), (12, 6)] {
        let mut network = FakeNetwork { sockets_told: told, sockets_max: there, ..FakeNetwork::default() };
        for last in 0..8 {
            let host = FakeHost { filtered: (101..=300).collect(), ..FakeHost::default() };
            network.hosts.insert(IpAddr::from([10, 0, 0, last]), host);
        }
        let mut scan = scan(spec("10.0.0.0/28", "1-300"));
        let run = network.run(&mut scan);
        assert!(run.is_done && run.in_flight_max <= told, "{told} sockets of {there}: {:?}", run.elapsed);
        let told = scan.estimates().recall;
        assert!(told > 0.999, "{told} told");
        assert_eq!(run.tally.probes_sent, run.sends.len() as u64 + run.repeats);
    }
}

/// What was told of a host that stopped answering: after how many probes, the share that is here, and the ports said to be silent.
fn stopped(run: &FakeRun, host: IpAddr) -> (Option<u32>, Option<u16>, usize) {
    let (mut probes, mut share, mut silent) = (None, None, 0);
    for finding in run.findings.iter().filter(|finding| finding.address == host) {
        match &finding.observation {
            Observation::Stopped { probes: told } => assert_eq!(probes.replace(*told), None, "told once"),
            Observation::LikelyFound { permille } => share = Some(*permille),
            Observation::Ports { ports, .. } => silent += ports.count() as usize,
            _ => {}
        }
    }
    (probes, share, silent)
}

#[test]
fn a_host_that_stops_answering_in_the_middle_is_told_and_nothing_of_its_rest_is_filtered() {
    let [host, other]: [IpAddr; 2] = ["10.0.0.3", "10.0.0.4"].map(|address| address.parse().unwrap());
    for (retries, is_alone) in [(None, true), (None, false), (Some(2), false)] {
        let open: BTreeSet<u16> = (1..=1000).step_by(9).collect();
        let filtered: BTreeSet<u16> = (2..=1000).step_by(7).filter(|port| !open.contains(port)).collect();
        let real = FakeHost { open, filtered: filtered.clone(), ..FakeHost::default() };
        let bans = FakeHost { bans_after: Some(300), ..real.clone() };
        let mut hosts = BTreeMap::from([(host, bans), (other, real)]);
        if is_alone {
            hosts.remove(&other);
        }
        let network = FakeNetwork { hosts, ..FakeNetwork::default() };
        let targets = if is_alone { "10.0.0.3" } else { "10.0.0.3,10.0.0.4" };
        let mut scan = scan(ScanSpec { retries, rate_pps: Some(2000), ..spec(targets, "1-1000") });
        let run = network.run(&mut scan);
        let (probes, share, silent) = stopped(&run, host);
        let answers = run.findings.iter().filter(|finding| finding.address == host);
        let answers = answers.filter(|finding| matches!(finding.observation, Observation::Port { .. })).count();
        assert!(probes.is_some_and(|probes| (290..=320).contains(&probes)), "{probes:?}, {retries:?}");
        assert!(share.is_some_and(|share| (200..=400).contains(&share)), "{share:?}, {retries:?}");
        assert!((200..=300).contains(&answers) && silent <= 300 - answers + 5, "{silent} silent, {answers} heard");
        let asked = run.sends.iter().filter(|(_, to)| to.ip() == host).count();
        assert!(asked < 700, "{asked} probes were sent to one that does not listen");
        assert!(scan.estimates().recall < 0.75, "{}", scan.estimates().recall);
        if !is_alone {
            assert_eq!(stopped(&run, other), (None, None, filtered.len()));
        }
    }
}

#[test]
fn a_host_most_of_which_is_silent_has_not_stopped_answering() {
    let host: IpAddr = "10.0.0.3".parse().unwrap();
    for (limit_pps, loss, open) in [(None, 0.0, 2), (None, 0.2, 2), (Some(50), 0.0, 2), (Some(300), 0.0, 200)] {
        let open: BTreeSet<u16> = (1..=1000).step_by(1000 / open).collect();
        let filter = FakeHost { open: open.clone(), drops_rest: true, limit_pps, ..FakeHost::default() };
        let network = FakeNetwork { loss, hosts: BTreeMap::from([(host, filter)]), ..FakeNetwork::default() };
        let run = network.run(&mut scan(spec("10.0.0.3", "1-1000")));
        let (probes, _, silent) = stopped(&run, host);
        assert_eq!((probes, found(&run).len() + silent), (None, 1000), "{limit_pps:?} at {loss}");
        // Of two ports one may be lost to chance, or to the limit, at the first and only try.
        let is_few = open.len() < 10 && (loss > 0.0 || limit_pps.is_some());
        assert!(is_few || found(&run).len() * 100 >= open.len() * 99, "{} of {}", found(&run).len(), open.len());
    }
}

#[test]
fn what_is_out_when_a_link_is_lost_is_asked_anew_once_it_is_back() {
    let network = world("10.0.0.0/28", "1-20", 10, 3);
    let once =
        ScanSpec { retries: Some(0), rate_pps: Some(2000), discovery: Vec::new(), ..spec("10.0.0.0/28", "1-20") };
    let mut scan = scan(once);
    let (mut now, mut out) = (Duration::from_millis(10), Vec::new());
    // Nobody hears of what is sent first.
    while out.len() < 320 {
        match scan.poll(now, 1000) {
            Step::Send { probe, to } => out.push((probe, to)),
            Step::Wait { until } => now = until,
            other => panic!("{other:?}"),
        }
        assert!(now < Duration::from_millis(900), "{} are out", out.len());
    }
    scan.ask_anew(now);
    let mut closed = BTreeSet::new();
    while let Step::Close { probe } = scan.poll(now, 0) {
        closed.insert(probe);
    }
    assert_eq!(closed, out.iter().map(|(probe, _)| *probe).collect());
    let run = network.run(&mut scan);
    assert_exact(&network, &run);
    assert_settled_once(&run, 20);
}

#[test]
fn a_slow_scan_is_settled_host_by_host_and_not_only_once_all_have_had_their_turn() {
    let spec = ScanSpec { rate_pps: Some(40), discovery: Vec::new(), ..spec("10.0.0.0/24", "80") };
    let mut scan = scan_with(spec, RateCap::new(Some(40)), Permit::default());
    let (start, mut sent) = (Duration::from_millis(10), 0);
    let mut now = start;
    while now < start + Duration::from_secs(5) {
        match scan.poll(now, 1000) {
            Step::Send { probe, .. } => {
                sent += 1;
                let state = if sent % 2 == 0 { PortState::Open } else { PortState::Closed };
                // What is listened to is heard out at once, but for the tenth host's.
                if let Some(listen) = scan.on_answer(now, probe, Answer::own(state, Reason::SynAck))
                    && sent != 10
                {
                    scan.on_banner(&listen, None);
                }
            }
            Step::Wait { until } => now = until.max(now + Duration::from_micros(100)),
            other => panic!("{other:?}"),
        }
    }
    assert!((20..256).contains(&sent), "{sent} were sent");
    assert_eq!(scan.settled_until(), Some(9), "the tenth is listened to");
    let done = scan.results().tally().targets_done;
    assert_eq!(done, sent - 1, "all others are done");
}
