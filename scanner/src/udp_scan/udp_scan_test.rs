//! UDP scans of fake networks in virtual time: loss, silence, hosts that limit what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::finding::{Finding, HostState, NotProbed, Observation, PortState, Reason};
use crate::port::PortSet;
use crate::sample;
use crate::spec::{Profile, ScanSpec, Timing};
use crate::tally::{LeftOut, Tally};
use crate::target::{Target, parse_targets};

/// A host of the fake network; ports that are in no set are closed.
#[derive(Debug, Clone, Default)]
struct FakeHost {
    open: BTreeSet<u16>,
    silent: BTreeSet<u16>,
    forbidden: BTreeSet<u16>,
    /// How many port-unreachables it holds ready, and the time that brings another.
    limit: Option<(f64, Duration)>,
}

/// A network in virtual time.
#[derive(Debug, Clone, Default)]
struct World {
    hosts: BTreeMap<IpAddr, FakeHost>,
    loss: f64,
    seed: u64,
    /// How late this machine may be, each time that it waits.
    late: Duration,
    /// The steps in which a host counts its time.
    tick: Duration,
    /// Whether the hosts have one limit together, as the addresses of one machine.
    is_shared: bool,
}

/// What happened.
#[derive(Debug)]
struct Run {
    findings: Vec<Finding>,
    sends: Vec<(Duration, SocketAddr, usize)>,
    tally: Tally,
    left_out: LeftOut,
    took: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Words,
    Closed,
    Forbidden,
}

impl World {
    fn run(&self, scan: &mut UdpScan) -> Run {
        let begun = Duration::from_secs(1);
        let mut run = Run {
            findings: Vec::new(),
            sends: Vec::new(),
            tally: Tally::default(),
            left_out: LeftOut::default(),
            took: begun,
        };
        let (mut now, mut drawn) = (begun, 0_u64);
        let mut events: BinaryHeap<Reverse<(Duration, u8, SocketAddr, Answer)>> = BinaryHeap::new();
        let mut buckets: BTreeMap<IpAddr, (f64, Duration)> = BTreeMap::new();
        let mut turns_without_time = 0;
        loop {
            while let Some(Reverse((_, lane, to, answer))) =
                events.peek().filter(|Reverse((at, ..))| *at <= now).copied()
            {
                events.pop();
                hear(scan, now, lane, to, answer);
            }
            let step = scan.poll(now, true);
            run.findings.append(&mut scan.results_mut().take_findings());
            turns_without_time += 1;
            assert!(turns_without_time < 100_000, "the scan spins at {now:?}");
            match step {
                Step::Send { to, lane, bytes } => {
                    run.sends.push((now, to, bytes.len()));
                    now += Duration::from_micros(10);
                    turns_without_time = 0;
                    let is_lost = (self.chance(&mut drawn) < self.loss) | (self.chance(&mut drawn) < self.loss);
                    let Some(host) = self.hosts.get(&to.ip()) else { continue };
                    let answer = match to.port() {
                        port if host.open.contains(&port) => Some(Answer::Words),
                        port if host.silent.contains(&port) => None,
                        port if host.forbidden.contains(&port) => Some(Answer::Forbidden),
                        _ => {
                            let whose = if self.is_shared { IpAddr::from([0; 4]) } else { to.ip() };
                            takes_token(host, &mut buckets, whose, self.ticked(now)).then_some(Answer::Closed)
                        }
                    };
                    if let Some(answer) = answer.filter(|_| !is_lost) {
                        events.push(Reverse((now + Duration::from_millis(2), lane, to, answer)));
                    }
                }
                Step::Wait { until } => {
                    let event = events.peek().map(|Reverse((at, ..))| *at);
                    let next = event.map_or(until, |event| event.min(until));
                    if next > now {
                        now = next + self.late.mul_f64(self.chance(&mut drawn).powi(4));
                        turns_without_time = 0;
                    }
                }
                Step::Resolve { host, name } => {
                    let found = parse_targets(&name.replace(".example", ""), "name").ok();
                    let found = found.and_then(|set| set.ranges().next()).map(|_| "10.0.0.1".parse().unwrap());
                    scan.on_resolved(now, host, found.map(|address| vec![address]).ok_or("no".to_owned()));
                }
                Step::Done => break,
            }
        }
        run.took = now - begun;
        run.tally = scan.results().tally();
        run.left_out = scan.results().left_out().clone();
        run
    }

    /// A number from 0 up to less than 1.
    fn chance(&self, drawn: &mut u64) -> f64 {
        *drawn += 1;
        (crate::permute::mix(self.seed ^ crate::permute::mix(*drawn)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time by a host's own clock.
    fn ticked(&self, now: Duration) -> Duration {
        let over = now.as_nanos().checked_rem(self.tick.as_nanos()).unwrap_or_default();
        now - Duration::from_nanos(u64::try_from(over).unwrap_or_default())
    }
}

fn hear(scan: &mut UdpScan, now: Duration, lane: u8, to: SocketAddr, answer: Answer) {
    let heard = match answer {
        Answer::Words => Heard::Datagram { from: to, bytes: b"hello\r\n" },
        Answer::Closed => Heard::Error { to, by: Some(to.ip()), state: PortState::Closed, reason: Reason::PortUnreach },
        Answer::Forbidden => Heard::Error { to, by: None, state: PortState::Filtered, reason: Reason::AdminProhibited },
    };
    scan.on_heard(now, lane, heard);
}

/// Linux's way: a bucket that fills with time.
fn takes_token(
    host: &FakeHost,
    buckets: &mut BTreeMap<IpAddr, (f64, Duration)>,
    address: IpAddr,
    now: Duration,
) -> bool {
    let Some((holds, every)) = host.limit else { return true };
    let (tokens, filled) = buckets.entry(address).or_insert((holds, now));
    *tokens = (*tokens + (now - *filled).as_secs_f64() / every.as_secs_f64()).min(holds);
    *filled = now;
    let has_one = *tokens >= 1.0;
    *tokens -= if has_one { 1.0 } else { 0.0 };
    has_one
}

fn spec(targets: &str, ports: &str) -> ScanSpec {
    sample::spec(targets, ports, 42)
}

fn scan(spec: ScanSpec, is_fed: bool) -> UdpScan {
    let plan = Plan::new(Arc::new(spec), 0).unwrap();
    let range = 0..plan.target_count();
    UdpScan::new(plan, range, Arc::default(), Arc::default(), is_fed, 99)
}

fn set(ports: &str) -> BTreeSet<u16> {
    ports.parse::<PortSet>().unwrap().iter().map(|port| port.number).collect()
}

/// The state and reason of each port that was told, by host.
fn states(run: &Run) -> BTreeMap<(IpAddr, u16), (PortState, Reason)> {
    let mut states = BTreeMap::new();
    for finding in &run.findings {
        let (ports, state, reason) = match &finding.observation {
            Observation::Port { port, state, reason, .. } => (vec![*port], *state, *reason),
            Observation::Ports { ports, state, reason } => (ports.iter().collect(), *state, *reason),
            _ => continue,
        };
        for port in ports {
            let told = states.insert((finding.address, port.number), (state, reason));
            assert_eq!(told, None, "{port} is told twice");
        }
    }
    states
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_answer_becomes_its_state_and_reason() {
    let host = FakeHost { open: set("53,9999"), silent: set("161,162"), forbidden: set("123"), ..FakeHost::default() };
    let world = World { hosts: BTreeMap::from([(address("10.0.0.1"), host)]), ..World::default() };
    let run = world.run(&mut scan(spec("10.0.0.1", "U:53,123,161,162,500,9999"), false));
    let states = states(&run);
    let of = |port| states[&(address("10.0.0.1"), port)];
    assert_eq!(of(53), (PortState::Open, Reason::UdpResponse));
    assert_eq!(of(500), (PortState::Closed, Reason::PortUnreach));
    assert_eq!(of(123), (PortState::Filtered, Reason::AdminProhibited));
    assert_eq!(of(161), (PortState::OpenFiltered, Reason::NoResponse));
    assert_eq!(states.len(), 6);
    let banners = run.findings.iter().filter(|finding| matches!(finding.observation, Observation::Banner { .. }));
    assert_eq!(banners.count(), 2);
    assert_eq!((run.tally.targets_done, run.tally.hosts_up, run.tally.open_ports), (1, 1, 2));
    assert!(run.took < Duration::from_secs(6), "{:?}", run.took);
}

#[test]
fn a_host_that_says_one_closed_port_per_second_is_waited_for_and_all_its_ports_are_told() {
    let every = Duration::from_secs(1);
    let host =
        FakeHost { open: set("53,200"), silent: set("300-309"), limit: Some((6.0, every)), ..FakeHost::default() };
    let world = World { hosts: BTreeMap::from([(address("10.0.0.1"), host)]), ..World::default() };
    let run = world.run(&mut scan(spec("10.0.0.1", "U:1-1000"), false));
    let states = states(&run);
    let count = |state| states.values().filter(|(known, _)| *known == state).count();
    assert_eq!((count(PortState::Open), count(PortState::OpenFiltered), count(PortState::Closed)), (2, 10, 986));
    assert!(run.took < Duration::from_secs(1100), "{:?}", run.took);
    assert!(run.sends.len() < 2300, "{} datagrams", run.sends.len());
    println!("1000 ports at one per second: {} datagrams in {:?}", run.sends.len(), run.took);
}

#[test]
fn a_host_with_a_limit_is_told_the_same_every_time_however_late_this_machine_is() {
    let ports: Vec<String> = PortSet::udp_by_popularity().take(100).map(|port| port.number.to_string()).collect();
    let ports = format!("U:{}", ports.join(","));
    for (every, late) in [(1000, 40), (1000, 200), (500, 40), (100, 20)] {
        let limit = Some((6.0, Duration::from_millis(every)));
        let host = FakeHost { open: set("53,161"), silent: set("123,137"), limit, ..FakeHost::default() };
        let hosts = BTreeMap::from([(address("10.0.0.1"), host)]);
        let (late, tick) = (Duration::from_millis(late), Duration::from_millis(10));
        for seed in 0..22 {
            let world = World { hosts: hosts.clone(), seed, late, tick, ..World::default() };
            let run = world.run(&mut scan(ScanSpec { seed, ..spec("10.0.0.1", &ports) }, false));
            let states = states(&run);
            let of = |wanted| states.iter().filter(move |(_, (state, _))| *state == wanted).map(|((_, port), _)| *port);
            let silent: Vec<u16> = of(PortState::OpenFiltered).collect();
            assert_eq!(silent, [123, 137], "one per {every} ms, {late:?} late, seed {seed}");
            assert_eq!(of(PortState::Open).collect::<Vec<_>>(), [53, 161]);
            assert!(run.took < Duration::from_millis(4 * 100 * every + 15_000), "{:?}", run.took);
        }
    }
}

#[test]
fn hosts_that_answer_slowly_wait_side_by_side() {
    let host = FakeHost { limit: Some((6.0, Duration::from_secs(1))), open: set("50"), ..FakeHost::default() };
    let hosts = (0..=255).map(|low| (address(&format!("10.0.0.{low}")), host.clone())).collect();
    let run = World { hosts, ..World::default() }.run(&mut scan(spec("10.0.0.0/24", "U:1-60"), false));
    assert!(states(&run).values().all(|(state, _)| matches!(state, PortState::Open | PortState::Closed)));
    assert_eq!(states(&run).len(), 256 * 60);
    assert!(run.took < Duration::from_secs(75), "{:?}", run.took);
}

#[test]
fn the_wait_for_a_slow_host_has_a_bound_and_the_rest_is_told_as_silent() {
    let host = FakeHost { limit: Some((6.0, Duration::from_secs(1))), ..FakeHost::default() };
    let world = World { hosts: BTreeMap::from([(address("10.0.0.1"), host)]), ..World::default() };
    let spec = ScanSpec { timing: Timing::Fast, ..spec("10.0.0.1", "U:1-1000") };
    let run = world.run(&mut scan(spec, false));
    let closed = states(&run).values().filter(|(state, _)| *state == PortState::Closed).count();
    assert!((110..140).contains(&closed), "{closed}");
    // Nothing is sent to 515, nor to 789: a controller's, for which there is no question of its own.
    assert_eq!(states(&run).len(), 998);
    assert!(run.took < Duration::from_secs(140), "{:?}", run.took);
}

#[test]
fn a_filter_in_front_of_a_slow_host_is_not_waited_for_port_by_port() {
    // Two closed ports do not empty its bucket: that the others are silent has another reason.
    let limit = Some((6.0, Duration::from_secs(1)));
    let host = FakeHost { silent: set("3-200"), limit, ..FakeHost::default() };
    let world = World { hosts: BTreeMap::from([(address("10.0.0.1"), host)]), ..World::default() };
    let run = world.run(&mut scan(spec("10.0.0.1", "U:1-200"), false));
    assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
    assert_eq!(states(&run).len(), 200);
}

#[test]
fn lost_datagrams_are_sent_again_as_often_as_loss_asks() {
    for loss in [0.05, 0.2] {
        let host = |n: u16| FakeHost { open: (n % 7..100).step_by(7).collect(), ..FakeHost::default() };
        let hosts = (0..64).map(|low| (address(&format!("10.0.0.{low}")), host(low))).collect();
        let world = World { hosts, loss, seed: 3, ..World::default() };
        let run = world.run(&mut scan(ScanSpec { discovery: Vec::new(), ..spec("10.0.0.0/26", "U:10-99") }, false));
        let states = states(&run);
        let missed = states.values().filter(|(state, _)| *state == PortState::OpenFiltered).count();
        assert!(missed as f64 <= 0.003 * 64.0 * 90.0, "{missed} missed at {loss}");
        assert_eq!(states.len(), 64 * 90);
        println!("loss {loss}: {missed} of 5760 missed, {} datagrams in {:?}", run.sends.len(), run.took);
    }
}

#[test]
fn without_loss_silence_is_asked_twice_and_answers_once() {
    let host = FakeHost { open: set("1000"), silent: set("1001-1010"), ..FakeHost::default() };
    let world = World { hosts: BTreeMap::from([(address("10.0.0.1"), host)]), ..World::default() };
    let run = world.run(&mut scan(spec("10.0.0.1", "U:1000-1010"), false));
    assert_eq!(run.sends.len(), 1 + 2 * 10);
}

#[test]
fn what_is_silent_altogether_leaves_no_finding_unless_it_was_found_up() {
    let world = World::default();
    let run = world.run(&mut scan(ScanSpec { discovery: Vec::new(), ..spec("10.0.0.0/24", "U:53,123") }, false));
    assert_eq!((run.findings.len(), run.tally.targets_done), (0, 256));
    let mut fed = scan(spec("10.0.0.0/24", "U:53,123"), true);
    fed.feed(7, fed_address(&fed, 7), None);
    fed.feed(7, fed_address(&fed, 7), None);
    fed.end_feeding();
    let run = world.run(&mut fed);
    assert_eq!(states(&run).len(), 2);
    assert_eq!(run.tally.targets_done, 1);
    assert!(run.findings.iter().all(|finding| !matches!(finding.observation, Observation::Host { .. })));
}

#[test]
fn what_another_part_finds_up_is_told_with_its_silent_ports_and_what_it_does_not_leaves_no_finding() {
    for (told_at, told) in [(0, 1), (4000, 1), (20_000, 0)] {
        let mut scan = scan(spec("10.0.0.1,10.0.0.2", "U:53,123"), false).beside_another();
        let (mut now, mut findings) = (Duration::ZERO, Vec::new());
        let (told_at, over_at) = (Duration::from_millis(told_at), Duration::from_secs(10));
        loop {
            if now >= told_at && told_at < over_at {
                scan.feed(1, address("10.0.0.2"), None);
            }
            if now >= over_at {
                scan.end_feeding();
            }
            let step = scan.poll(now, true);
            findings.append(&mut scan.results_mut().take_findings());
            match step {
                Step::Send { .. } => now += Duration::from_micros(10),
                Step::Wait { until } => now = until.min(now + Duration::from_millis(500)),
                Step::Done => break,
                Step::Resolve { .. } => unreachable!("addresses"),
            }
        }
        assert!(now >= over_at, "who is silent is not settled before the other part is over");
        assert_eq!(scan.results().tally().targets_done, 2);
        assert_eq!(findings.len(), told, "{findings:?}");
        for finding in findings {
            let silent = Observation::Ports {
                ports: Box::new("U:53,123".parse().unwrap()),
                state: PortState::OpenFiltered,
                reason: Reason::NoResponse,
            };
            assert_eq!((finding.address, finding.observation), (address("10.0.0.2"), silent));
        }
    }
}

#[test]
fn hosts_behind_one_limit_are_all_found_every_time() {
    let host = FakeHost {
        open: set("69"),
        silent: set("123"),
        limit: Some((6.0, Duration::from_secs(1))),
        ..FakeHost::default()
    };
    let hosts: BTreeMap<IpAddr, FakeHost> =
        (2..=9).map(|low| (address(&format!("10.0.0.{low}")), host.clone())).collect();
    for seed in 0..12 {
        let world =
            World { hosts: hosts.clone(), seed, is_shared: true, late: Duration::from_millis(40), ..World::default() };
        for ports in ["U:53,161", "U:53,123,161,500"] {
            let spec = ScanSpec { seed, discovery: Vec::new(), ..spec("10.0.0.2-10.0.0.9", ports) };
            let mut scan = scan(spec, false);
            let run = world.run(&mut scan);
            let states = states(&run);
            for address in hosts.keys() {
                for port in set(ports) {
                    let known = states.get(&(*address, port)).map(|(state, _)| *state);
                    // Hosts that have answered are asked side by side, so one may seem silent for another.
                    let is_right = match known {
                        Some(PortState::OpenFiltered) => true,
                        known => known == Some(PortState::Closed) && port != 123,
                    };
                    assert!(is_right, "{address} {port} {known:?}, seed {seed} of {ports}");
                }
            }
            assert_eq!(run.tally.hosts_up, 8);
            assert!(run.took < Duration::from_secs(150), "{:?}", run.took);
        }
    }
}

#[test]
fn hosts_that_others_limits_are_likely_to_hide_lower_the_recall() {
    let host = FakeHost { limit: Some((6.0, Duration::from_secs(1))), ..FakeHost::default() };
    let hosts = (0..=255).map(|low| (address(&format!("10.0.0.{low}")), host.clone())).collect();
    let world = World { hosts, is_shared: true, ..World::default() };
    let mut scan = scan(ScanSpec { discovery: Vec::new(), ..spec("10.0.0.0/24", "U:53,161") }, false);
    let run = world.run(&mut scan);
    let (up, recall) = (run.tally.hosts_up as f64, scan.estimates().recall);
    assert!(up > 40.0 && (recall - up / 256.0).abs() < 0.1, "{up} of 256 found, recall {recall}");
}

fn fed_address(scan: &UdpScan, index: u64) -> IpAddr {
    let Some(crate::target::Target::Address(address)) = scan.plan.target(index) else { panic!() };
    address
}

#[test]
fn printers_get_nothing_and_devices_their_own_protocol_or_nothing() {
    let world = World { hosts: BTreeMap::from([(address("10.0.0.1"), FakeHost::default())]), ..World::default() };
    let run = world.run(&mut scan(spec("10.0.0.1", "U:515,9100-9107,9108,53"), false));
    let asked: BTreeSet<u16> = run.sends.iter().map(|(_, to, _)| to.port()).collect();
    assert_eq!(asked, set("53,9108"));
    assert_eq!(states(&run).len(), 2, "what was not asked is not told");
    let asked = |spec: ScanSpec| {
        let run = world.run(&mut scan(spec, false));
        run.sends.iter().map(|(_, to, bytes)| (to.port(), *bytes > 0)).collect::<BTreeSet<_>>()
    };
    let devices = || spec("10.0.0.1", "U:53,9600,20000,34964,47808");
    assert_eq!(asked(devices()), [(53, true), (20_000, true), (47_808, true)].into());
    let lifted = asked(ScanSpec { allow_fragile: true, ..devices() });
    assert!(lifted.contains(&(9600, false)) && lifted.contains(&(34_964, false)), "the user has lifted it");
    assert!(asked(ScanSpec { profile: Profile::OtSafe, ..devices() }).is_empty(), "single SYNs and nothing else");
}

#[test]
fn answers_count_only_from_whom_and_where_they_were_asked() {
    let mut scan = scan(spec("10.0.0.1", "U:53,69"), false);
    let (mut now, mut asked) = (Duration::from_secs(1), Vec::new());
    // Two datagrams to port 53 and one to 69.
    while asked.len() < 3 {
        match scan.poll(now, true) {
            Step::Send { to, bytes, .. } => asked.push((to, bytes)),
            Step::Wait { until } => now = until,
            step => panic!("{step:?}"),
        }
    }
    let datagram = |scan: &mut UdpScan, from: &str, bytes: &[u8]| {
        scan.on_heard(now, 0, Heard::Datagram { from: from.parse().unwrap(), bytes })
    };
    assert!(!datagram(&mut scan, "10.0.0.2:53", b"hello"), "another host");
    assert!(!datagram(&mut scan, "10.0.0.1:54", b"hello"), "another port");
    let mut question = asked.iter().find(|(to, _)| to.port() == 53).unwrap().1.clone();
    question[2] |= 0x80;
    question[0] ^= 1;
    assert!(!datagram(&mut scan, "10.0.0.1:53", &question), "another id");
    question[0] ^= 1;
    assert!(datagram(&mut scan, "10.0.0.1:53", &question));
    assert!(!datagram(&mut scan, "10.0.0.1:53", &question), "told once");
    let from_firewall = Heard::Error {
        to: "10.0.0.1:69".parse().unwrap(),
        by: Some(address("10.0.0.254")),
        state: PortState::Closed,
        reason: Reason::PortUnreach,
    };
    scan.on_heard(now, 0, from_firewall);
    let run = World::default().run(&mut scan);
    assert_eq!(states(&run)[&(address("10.0.0.1"), 69)], (PortState::Filtered, Reason::PortUnreach));
}

#[test]
fn a_users_request_is_sent_where_it_may_be_and_answered_in_any_words() {
    let mut catalogue = Catalogue::default();
    catalogue.add(&Arc::from(&b"OWN"[..]), [53, 502, 9100, 47808, 9999]);
    let catalogue = Arc::new(catalogue);
    let sent = |spec: ScanSpec| {
        let mut scan = scan(ScanSpec { discovery: Vec::new(), retries: Some(0), ..spec }, false)
            .with_catalogue(Arc::clone(&catalogue));
        let (mut now, mut asked) = (Duration::from_secs(1), BTreeMap::<u16, Vec<bool>>::new());
        loop {
            match scan.poll(now, true) {
                Step::Send { to, bytes, lane } => {
                    asked.entry(to.port()).or_default().push(bytes == b"OWN");
                    // In no protocol of the table's, as the user's own is.
                    let words = b"\0\0\x84\0\0\x01\0\0\0\0\0\0\0\0\0\0\0";
                    let is_open = scan.on_heard(now, lane, Heard::Datagram { from: to, bytes: words });
                    assert!(is_open || asked[&to.port()].len() > 1, "{to}");
                }
                Step::Wait { until } => now = until.max(now + Duration::from_millis(1)),
                Step::Done => return asked,
                step @ Step::Resolve { .. } => panic!("{step:?}"),
            }
        }
    };
    let asked = sent(spec("10.0.0.1", "U:53,502,9100,47808,9999"));
    let own = |asked: &BTreeMap<u16, Vec<bool>>| {
        asked.iter().map(|(port, sent)| (*port, sent.iter().filter(|is_own| **is_own).count())).collect::<Vec<_>>()
    };
    assert_eq!(own(&asked), [(53, 1), (9999, 1), (47808, 0)], "never to what is fragile, nor without leave");
    assert_eq!((asked[&53].len(), asked[&9999].len()), (3, 1), "beside the table's, and in place of nothing");
    let ot_safe = ScanSpec { profile: Profile::OtSafe, ..spec("10.0.0.1", "U:53,9999") };
    assert!(own(&sent(ot_safe)).iter().all(|(_, count)| *count == 0));
}

#[test]
fn an_excluded_or_foreign_address_gets_no_datagram() {
    let mut careless = spec("10.0.0.0/29", "U:53,54");
    careless.exclude = "10.0.0.3".parse().unwrap();
    let run = World::default().run(&mut scan(ScanSpec { discovery: Vec::new(), ..careless }, false));
    assert!(run.sends.iter().all(|(_, to, _)| to.ip() != address("10.0.0.3")));
    assert_eq!((run.left_out.refused, run.tally.targets_done), (1, 8));
}

#[test]
fn the_rates_of_job_host_and_network_are_kept_and_used() {
    let host = FakeHost { silent: set("1-200"), ..FakeHost::default() };
    let hosts = (0..=255).map(|low| (address(&format!("10.0.0.{low}")), host.clone())).collect();
    let world = World { hosts, ..World::default() };
    let limited = ScanSpec {
        discovery: Vec::new(),
        retries: Some(0),
        rate_pps: Some(2000),
        network_rate_pps: Some(1000),
        host_rate_pps: Some(20),
        ..spec("10.0.0.0/23", "U:1-40")
    };
    let run = world.run(&mut scan(limited, false));
    let most = |is_counted: &dyn Fn(IpAddr) -> bool| {
        let times: Vec<Duration> =
            run.sends.iter().filter(|(_, to, _)| is_counted(to.ip())).map(|(at, ..)| *at).collect();
        let within = |from: usize| {
            let end = times[from] + Duration::from_millis(100);
            times[from..].iter().take_while(|at| **at < end).count()
        };
        (0..times.len()).map(within).max().unwrap()
    };
    assert!(most(&|_| true) <= 210);
    assert!(most(&|to| to < address("10.0.1.0")) <= 105);
    assert!(most(&|to| to == address("10.0.0.9")) <= 3);
    // 512 hosts of 40 ports, of several datagrams for some: at 2000 per second.
    let ideal = run.sends.len() as f64 / 2000.0;
    assert!(run.took.as_secs_f64() < 1.35 * ideal + 3.0, "{:?} for {ideal} s", run.took);
}

#[test]
fn a_name_is_asked_at_the_address_that_it_has() {
    let host = FakeHost { open: set("1000"), ..FakeHost::default() };
    let world = World { hosts: BTreeMap::from([(address("10.0.0.1"), host)]), ..World::default() };
    // The name leads to an address that is a target itself: one after the other.
    let run = world.run(&mut scan(spec("a.example,10.0.0.1", "U:1000"), false));
    let up: Vec<_> = run
        .findings
        .iter()
        .filter(|finding| matches!(finding.observation, Observation::Host { state: HostState::Up, .. }))
        .map(|finding| finding.name.clone())
        .collect();
    assert!(run.left_out.unresolved_count == 1 || up.len() == 2, "{up:?}");
    assert_eq!(run.tally.targets_done, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_network_is_scanned_to_its_end_with_each_port_told_once(
        seed: u64, loss in 0.0..0.3, limit in 0_u64..3, timing in 0_usize..3, ports in 1_u16..60
    ) {
        let pick = |host: u64, port: u16| crate::permute::mix(seed ^ host << 16 ^ u64::from(port)) % 10;
        let of = |host: u64, kind: std::ops::Range<u64>| {
            (1000..1000 + ports).filter(|port| kind.contains(&pick(host, *port))).collect::<BTreeSet<u16>>()
        };
        let hosts = (0..12).map(|host| {
            let fake = FakeHost {
                open: of(host, 0..2),
                silent: of(host, 2..4),
                forbidden: of(host, 4..5),
                limit: (limit > 0).then(|| (6.0, Duration::from_millis(500 * limit))),
            };
            (address(&format!("10.0.0.{host}")), fake)
        });
        let world = World { hosts: hosts.collect(), loss, seed, ..World::default() };
        let timing = [Timing::Polite, Timing::Normal, Timing::Fast][timing];
        let spec = ScanSpec { timing, discovery: Vec::new(), ..spec("10.0.0.0/28", &format!("U:1000-{}", 999 + ports)) };
        let run = world.run(&mut scan(spec, false));
        prop_assert_eq!(run.tally.targets_done, 16);
        prop_assert_eq!(run.tally.probes_sent, run.sends.len() as u64);
        for ((address, port), (state, _)) in states(&run) {
            let host = &world.hosts[&address];
            prop_assert_eq!(state == PortState::Open, host.open.contains(&port) && state == PortState::Open);
            prop_assert!(state != PortState::Closed || !(host.open.contains(&port) || host.silent.contains(&port)));
        }
    }
}

/// Runs a scan of silent hosts to its end, `at` each of its steps of a tenth of a second; returns how often each host was asked.
fn asked(scan: &mut UdpScan, mut at: impl FnMut(&mut UdpScan, Duration, Option<SocketAddr>)) -> BTreeMap<IpAddr, u32> {
    let (mut now, mut asked) = (Duration::from_secs(1), BTreeMap::new());
    loop {
        at(scan, now, None);
        match scan.poll(now, true) {
            Step::Send { to, .. } => {
                *asked.entry(to.ip()).or_default() += 1;
                at(scan, now, Some(to));
            }
            Step::Done => return asked,
            Step::Wait { until } => {
                now = until.min(now + Duration::from_millis(100)).max(now + Duration::from_millis(1));
            }
            Step::Resolve { .. } => panic!("there are no names"),
        }
    }
}

/// The tally of two silent hosts, of which one has no place in the kernel's table of neighbours until `free_at`.
fn crowded(free_at: Duration) -> Tally {
    let mut scan = scan(spec("10.0.0.4/31", "U:53,161"), false);
    let lost = address("10.0.0.4");
    asked(&mut scan, |scan, now, _| scan.crowd(|address| address == lost && now < free_at));
    scan.results().tally()
}

#[test]
fn who_had_no_place_among_the_neighbours_until_the_end_was_not_probed() {
    let tally = crowded(Duration::MAX);
    assert_eq!((tally.targets_done, tally.not_probed.to_string().as_str()), (2, "table of neighbours full 1"));
    let tally = crowded(Duration::from_millis(1200));
    assert_eq!((tally.targets_done, tally.not_probed.total()), (2, 0), "it was sent to in the end");
}

#[test]
fn a_host_that_the_kernel_refuses_to_send_to_is_asked_nothing_more_and_was_not_probed() {
    let mut scan = scan(spec("10.0.0.4/31", "U:10000-10019"), false);
    let refused = address("10.0.0.4");
    let asked = asked(&mut scan, |scan, _, sent| {
        if let Some(to) = sent.filter(|to| to.ip() == refused) {
            scan.on_not_sent(to, NotProbed::SendRefused);
        }
    });
    assert_eq!(asked[&refused], 1, "and not once for each port");
    assert!(asked[&address("10.0.0.5")] >= 20, "{asked:?}");
    let tally = scan.results().tally();
    assert_eq!((tally.targets_done, tally.not_probed.to_string().as_str()), (2, "send refused 1"));
    assert_eq!(tally.probes_sent, u64::from(asked[&address("10.0.0.5")]), "what was not sent is not counted");
}

#[test]
fn hosts_behind_a_way_that_is_lost_are_not_probed_unless_they_have_answered_since() {
    let mut scan = scan(spec("10.0.0.0/29", "U:10000-10099"), false);
    let asked = asked(&mut scan, |scan, now, sent| match sent {
        Some(to) if to.ip() == address("10.0.0.1") => hear(scan, now, 0, to, Answer::Words),
        // The way is lost after the first datagrams: to all but one.
        None if now >= Duration::from_millis(1300) => {
            scan.lose(Duration::from_secs(1), |to| (to != address("10.0.0.7")).then_some(NotProbed::GatewaySilent));
        }
        _ => {}
    });
    let tally = scan.results().tally();
    assert_eq!((tally.targets_done, tally.hosts_up, tally.open_ports), (8, 1, 100));
    assert_eq!(tally.not_probed.to_string(), "gateway silent 6");
    assert!(asked[&address("10.0.0.7")] >= 100 && asked[&address("10.0.0.6")] < 100, "{asked:?}");
}

#[test]
fn a_slow_scan_is_settled_host_by_host() {
    let spec = ScanSpec { rate_pps: Some(40), discovery: Vec::new(), ..spec("10.0.0.0/24", "U:10000") };
    let plan = Plan::new(Arc::new(spec), 0).unwrap();
    for is_fed in [false, true] {
        let pace = Arc::new(RateCap::new(Some(40)));
        let mut scan = UdpScan::new(plan.clone(), 0..256, Arc::default(), pace, is_fed, 99);
        for index in 0..256 {
            let Some(Target::Address(address)) = plan.target(index) else { panic!("an address") };
            scan.feed(index, address, None);
        }
        let (mut now, mut sent) = (Duration::from_secs(1), 0);
        while now < Duration::from_secs(6) {
            match scan.poll(now, true) {
                Step::Send { to, .. } => {
                    sent += 1;
                    // One is silent.
                    if sent != 30 {
                        hear(&mut scan, now, 0, to, Answer::Words);
                    }
                }
                Step::Wait { until } => now = until.max(now + Duration::from_millis(1)),
                other => panic!("{other:?}"),
            }
        }
        assert!((30..256).contains(&sent), "{sent} were sent");
        assert_eq!(scan.settled_until(), Some(29), "up to the one that is silent: {is_fed}");
    }
}
