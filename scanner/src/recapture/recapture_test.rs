//! Whole units asked again, over paths in virtual time: how often the truth lies in what is told, and what it costs.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::finding::{NotProbed, Observation, PortState, Reason, TcpScan};
use crate::packet::arp::Mac;
use crate::packet::probe::Probe;
use crate::permute::mix;
use crate::recall::Recall;
use crate::sample;
use crate::scan::Scan;
use crate::spec::ScanSpec;
use crate::syn_scan::{Path, Reply, Routes, Start, SynScan, Transmit, Turn, Way, lane};
use crate::unit::UnitProgress;

/// What a path does to round trips.
#[derive(Debug, Clone, Copy)]
enum Weather {
    Clean,
    /// So many in a thousand are lost, each by itself.
    Lossy(u64),
    /// Of each so many milliseconds, all is lost during so many.
    Bursts(u64, u64),
    /// More than so many per second are dropped.
    Policed(f64),
    /// The same of the second of two networks alone.
    OneNetwork(f64),
    /// One host answers for all and takes so many at once; of what it takes, it loses so many in a thousand.
    Overloaded(f64, u64),
    /// The first host that lives answers so often, and then no more.
    Bans(u64),
}

/// The network, and its time.
#[derive(Debug)]
struct Net {
    weather: Weather,
    seed: u64,
    drawn: u64,
    now: Duration,
    tokens: f64,
    refilled: Duration,
    sent: u64,
    /// Answers of a host that bans.
    answered: u64,
    /// What units know of the path, as those of a job do.
    path: Option<Path>,
}

const FIRST: u32 = 0x0a4d_0000;

/// Of each three addresses one lives; of its ports one in four is open, one in seven silent, the rest closed.
fn state(address: u32, port: u16) -> Option<PortState> {
    let number = mix(u64::from(address) << 16 | u64::from(port));
    match mix(address.into()).is_multiple_of(3) {
        true if number.is_multiple_of(7) => None,
        true if number.is_multiple_of(4) => Some(PortState::Open),
        true => Some(PortState::Closed),
        false => None,
    }
}

#[derive(Debug)]
struct OnLink;

impl Routes for OnLink {
    fn way(&self, _address: IpAddr) -> Result<Way, NotProbed> {
        Ok(Way { link: 0, gateway: None, needs_mac: false, is_routed: false })
    }

    fn mac(&self, _link: u16, _hop: IpAddr) -> Option<Mac> {
        Some([2, 0, 0, 0, 0, 9])
    }
}

impl Net {
    fn carries(&mut self, address: u32) -> bool {
        self.drawn += 1;
        let chance = mix(self.seed ^ mix(self.drawn)) % 1000;
        let limited = |net: &mut Self, rate: f64| {
            let more = rate * (net.now - net.refilled).as_secs_f64();
            (net.tokens, net.refilled) = ((net.tokens + more).min(rate / 50.0), net.now);
            let is_carried = net.tokens >= 1.0;
            net.tokens -= f64::from(u8::from(is_carried));
            is_carried
        };
        match self.weather {
            Weather::Clean => true,
            Weather::Lossy(loss) => chance >= loss,
            Weather::Bursts(every, long) => {
                let at = u64::try_from(self.now.as_millis()).unwrap();
                // Each burst comes at its own time within its period.
                let begin = mix(self.seed ^ (at / every)) % (every - long);
                !(begin..begin + long).contains(&(at % every))
            }
            Weather::Policed(rate) => limited(self, rate),
            Weather::OneNetwork(rate) => address < FIRST + 256 || limited(self, rate),
            Weather::Overloaded(rate, loss) => limited(self, rate) && chance >= loss,
            Weather::Bans(after) => {
                let is_it = (FIRST..).find(|host| mix((*host).into()).is_multiple_of(3)) == Some(address);
                self.answered += u64::from(is_it);
                !is_it || self.answered <= after
            }
        }
    }

    /// Scans a unit to its end.
    fn scan(&mut self, plan: Plan, task: UnitTask) -> (Vec<Finding>, UnitProgress, Duration) {
        let begun = self.now;
        let path = self.path.get_or_insert_with(|| Path::new(Start::of(plan.spec()), begun)).clone();
        let (range, permit, pace) = (task.range, task.permit, task.pace);
        let mut scan = SynScan::new(plan, range, permit, pace, Box::new(OnLink), path);
        let mut wire: VecDeque<(Duration, Reply)> = VecDeque::new();
        let (mut out, mut found) = (Vec::new(), Vec::new());
        loop {
            while wire.front().is_some_and(|(due, _)| *due <= self.now) {
                wire.pop_front().iter().for_each(|(_, reply)| scan.on_reply(self.now, reply));
            }
            let turn = scan.poll(self.now, 64, 16, &mut out);
            for send in out.drain(..) {
                let Transmit::Probe { address, probe, lane, .. } = send else { continue };
                self.sent += 1;
                let IpAddr::V4(bits) = address else { panic!("no IPv6 was asked") };
                let answer = match probe {
                    Probe::Syn(port) => state(bits.to_bits(), port),
                    _ => (1..17).find_map(|port| state(bits.to_bits(), port)).map(|_| PortState::Unfiltered),
                };
                if let Some(state) = answer.filter(|_| self.carries(bits.to_bits())) {
                    let reason = if state == PortState::Open { Reason::SynAck } else { Reason::Reset };
                    let sent_at = Duration::from_millis(u64::try_from(self.now.as_millis()).unwrap());
                    let sent_at = lane::is_stamped(probe, lane).then_some(sent_at);
                    let reply =
                        Reply { address, probe, lane, sent_at, state, reason, ttl: 60, is_own_word: true, stack: None };
                    wire.push_back((self.now + Duration::from_millis(2), reply));
                }
            }
            found.extend(scan.results_mut().take_findings());
            let next = wire.front().map_or(Duration::MAX, |(due, _)| *due);
            match turn {
                Turn::Done => break,
                Turn::Sent => self.now += Duration::from_micros(500),
                Turn::Wait { until } => self.now = until.min(next).max(self.now + Duration::from_micros(50)),
            }
        }
        let (tally, estimates) = (scan.results().tally(), scan.estimates());
        (found, UnitProgress { tally, estimates, ..UnitProgress::default() }, self.now - begun)
    }

    fn unit(&mut self, plan: Plan, task: UnitTask) -> UnitScan {
        let (found, progress, duration) = self.scan(plan, task);
        let (findings, findings_out) = mpsc::channel(1);
        let (outcome, outcome_out) = oneshot::channel();
        findings.try_send(found).unwrap();
        let ended = UnitOutcome {
            progress,
            duration,
            sending: duration,
            targets_per_second: 1.0,
            left_out: crate::tally::LeftOut::default(),
            recapture: None,
        };
        outcome.send(Ok(ended)).unwrap();
        let (_, progress) = watch::channel(progress);
        UnitScan { findings: findings_out, progress, note: None, tcp: TcpScan::Syn, outcome: outcome_out }
    }
}

/// What came of a unit that was asked again.
struct Told {
    recall: Option<Recall>,
    outcome: UnitOutcome,
    /// The share of the open ports that were found, and that was found before anything was asked again.
    truth: f64,
    before: f64,
    /// Probes of the scan, and those of asking again.
    probes: [u64; 2],
}

async fn run(weather: Weather, seed: u64, spec: ScanSpec) -> Told {
    let mut net = Net {
        weather,
        seed: mix(seed),
        drawn: 0,
        now: Duration::from_secs(10 + mix(seed) % 7),
        tokens: 0.0,
        refilled: Duration::ZERO,
        sent: 0,
        answered: 0,
        path: None,
    };
    let task = sample::task(ScanSpec { seed, ..spec });
    let plan = Plan::new(Arc::clone(&task.spec), 0).unwrap();
    let (count, ports) = (u32::try_from(plan.target_count()).unwrap(), task.spec.ports.clone());
    let scan = net.unit(plan.clone(), task.clone());
    let sent = net.sent;
    let net = Arc::new(Mutex::new(net));
    let asked = Arc::clone(&net);
    let begun = Instant::now();
    let ask: Ask = Arc::new(move |plan, task| {
        let mut net = asked.lock().unwrap();
        // What the stage has waited for has passed for the network as well.
        net.now = net.now.max(Duration::from_secs(20) + begun.elapsed());
        Ok(net.unit(plan, task))
    });
    let mut staged = attach(scan, plan, &task, ask, &Handle::current());
    let (mut open, mut early) = (BTreeSet::new(), 0);
    let mut batches = 0;
    while let Some(batch) = staged.findings.recv().await {
        for finding in batch {
            if let Observation::Port { port, state: PortState::Open, .. } = finding.observation {
                let IpAddr::V4(address) = finding.address else { panic!("no IPv6 was asked") };
                assert_eq!(state(address.to_bits(), port.number), Some(PortState::Open), "a phantom");
                assert!(open.insert((address, port.number)), "{address}:{} twice", port.number);
                early += u64::from(batches == 0);
            }
        }
        batches += 1;
    }
    let outcome = staged.outcome.await.unwrap().unwrap();
    let all =
        |address: u32| ports.iter().filter(move |port| state(address, port.number) == Some(PortState::Open)).count();
    let truth = (FIRST..FIRST + count).map(all).sum::<usize>() as f64;
    let again = net.lock().unwrap().sent - sent;
    Told {
        recall: outcome.recapture.and_then(|recapture| recapture.recall()),
        truth: open.len() as f64 / truth,
        before: early as f64 / truth,
        probes: [sent, again],
        outcome,
    }
}

fn spec(retries: Option<u8>, discovery: bool) -> ScanSpec {
    let spec = sample::spec("10.77.0.0/23", "1-16", 3);
    let discovery = if discovery { spec.discovery.clone() } else { Vec::new() };
    ScanSpec { retries, discovery, banners: false, ..spec }
}

#[tokio::test(start_paused = true)]
async fn the_truth_lies_in_what_is_told_in_at_least_95_of_100_runs_over_every_path() {
    for (weather, retries, discovery) in [
        (Weather::Clean, None, true),
        (Weather::Lossy(100), Some(0), false),
        (Weather::Bursts(400, 150), Some(1), true),
        (Weather::Policed(10_000.0), Some(1), false),
        (Weather::Overloaded(8_000.0, 50), Some(0), false),
    ] {
        let mut inside = 0;
        for seed in 0..100 {
            let told = run(weather, seed, spec(retries, discovery)).await;
            let recall = told.recall.unwrap();
            inside += u32::from(recall.low - 1e-9 <= told.truth && told.truth <= recall.high + 1e-9);
        }
        assert!(inside >= 95, "{inside} of 100 over {weather:?}, {retries:?} retries, discovery {discovery}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_host_hides_that_stops_answering_belongs_to_what_is_told() {
    let living = |host: &u32| mix((*host).into()).is_multiple_of(3);
    let host = (FIRST..).find(living).unwrap();
    for (targets, most) in
        [(format!("10.77.0.0-{}", std::net::Ipv4Addr::from_bits(host)), 0.7), ("10.77.0.0/28".to_owned(), 1.0)]
    {
        let mut inside = 0;
        for seed in 0..40 {
            let spec = ScanSpec { discovery: Vec::new(), banners: false, ..sample::spec(&targets, "1-1200", 3) };
            let told = run(Weather::Bans(400), seed, spec).await;
            let recall = told.recall.unwrap();
            let estimate = told.outcome.progress.estimates.recall;
            assert!(recall.high < 1.0 && recall.point < 1.0 && told.truth < 0.95, "{recall:?}, {}", told.truth);
            assert!((recall.low..=recall.high).contains(&estimate) && estimate < most, "{estimate} in {recall:?}");
            inside += u32::from(recall.low - 1e-9 <= told.truth && told.truth <= recall.high + 1e-9);
        }
        assert!(inside >= 37, "{inside} of 40 over {targets}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_truth_lies_in_what_is_told_where_one_network_of_two_is_policed() {
    for (rate, retries, discovery) in
        [(2_000.0, Some(0), false), (300.0, Some(0), false), (2_000.0, Some(1), true), (100.0, Some(0), true)]
    {
        let (mut inside, mut before, mut width) = (0, 0.0, 0.0);
        for seed in 0..100 {
            let told = run(Weather::OneNetwork(rate), seed, spec(retries, discovery)).await;
            let recall = told.recall.unwrap();
            before += told.before / 100.0;
            width += (recall.high - recall.low) / 100.0;
            inside += u32::from(recall.low - 1e-9 <= told.truth && told.truth <= recall.high + 1e-9);
        }
        println!(
            "{rate} per second, {retries:?} retries, discovery {discovery}: {inside}, {before} before, {width} wide"
        );
        assert!(inside >= 95, "{inside} of 100 at {rate}, {retries:?} retries, discovery {discovery}: {before} before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_scan_pays_next_to_nothing_and_is_told_by_its_model_within_what_was_measured() {
    for discovery in [false, true] {
        let told = run(Weather::Clean, 5, spec(None, discovery)).await;
        let [probes, again] = told.probes;
        assert!(again > 0 && again * 20 <= probes, "{again} of {probes}");
        let (recall, model) = (told.recall.unwrap(), told.outcome.progress.estimates.recall);
        assert!(recall.low <= model && model <= recall.high && recall.high >= 1.0 - 1e-9, "{recall:?} {model}");
        assert_eq!(told.outcome.progress.tally.probes_sent, probes + again);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_burst_took_turns_up_and_is_found() {
    let told = run(Weather::Policed(10_000.0), 1, spec(Some(0), false)).await;
    let recall = told.recall.unwrap();
    assert!(told.before < 0.9 && told.truth > 0.99, "{} before, {} now", told.before, told.truth);
    assert!(recall.low <= told.truth && told.truth <= recall.high, "{recall:?} {}", told.truth);
    let [probes, again] = told.probes;
    assert!(again <= probes, "{again} of {probes}");
    assert!(told.outcome.recapture.unwrap().turned_up() > 100);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_again_where_it_must_not_be_or_tells_nothing() {
    let ask: Ask = Arc::new(|_, _| panic!("nothing is to be asked"));
    let silent = |spec: ScanSpec, range: Range<u64>| {
        let task = UnitTask { range, ..sample::task(spec) };
        let plan = Plan::new(Arc::clone(&task.spec), 0).unwrap();
        askable(&plan, &task)
    };
    let all = 0..4;
    let fragile = |ports| sample::spec("10.77.0.0/30", ports, 3);
    assert_eq!(silent(fragile("502,9100"), all.clone()), None);
    assert_eq!(silent(fragile("80,502"), all.clone()).unwrap(), "80".parse().unwrap());
    assert_eq!(silent(fragile("80,U:53"), all.clone()), None);
    assert_eq!(silent(sample::spec("127.0.0.0/30", "80", 3), all.clone()), None);
    assert_eq!(silent(sample::spec("a.example,10.0.0.1", "80", 3), 0..2), None);
    let quiet = ScanSpec { profile: Profile::OtSafe, ..fragile("80") };
    assert_eq!(silent(quiet, all.clone()), None);
    let excluded = ScanSpec { exclude_ports: "80".parse().unwrap(), ..fragile("80,81") };
    assert_eq!(silent(excluded, all).unwrap(), "81".parse().unwrap());
    // Too few probes to draw from.
    let mut net = Net {
        weather: Weather::Clean,
        seed: 1,
        drawn: 0,
        now: Duration::from_secs(10),
        tokens: 0.0,
        refilled: Duration::ZERO,
        sent: 0,
        answered: 0,
        path: None,
    };
    let task = sample::task(sample::spec("10.77.0.0/30", "1-3", 3));
    let plan = Plan::new(Arc::clone(&task.spec), 0).unwrap();
    let scan = net.unit(plan.clone(), task.clone());
    let mut staged = attach(scan, plan, &task, ask, &Handle::current());
    while staged.findings.recv().await.is_some() {}
    assert_eq!(staged.outcome.await.unwrap().unwrap().recapture, None);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_has_no_room_leaves_the_unit_as_it_was() {
    let mut net = Net {
        weather: Weather::Clean,
        seed: 1,
        drawn: 0,
        now: Duration::from_secs(10),
        tokens: 0.0,
        refilled: Duration::ZERO,
        sent: 0,
        answered: 0,
        path: None,
    };
    let task = sample::task(spec(None, true));
    let plan = Plan::new(Arc::clone(&task.spec), 0).unwrap();
    let scan = net.unit(plan.clone(), task.clone());
    let sent = net.sent;
    let mut staged = attach(scan, plan, &task, Arc::new(|_, _| Err(ScanError::Busy)), &Handle::current());
    while staged.findings.recv().await.is_some() {}
    let outcome = staged.outcome.await.unwrap().unwrap();
    assert_eq!((outcome.recapture, outcome.progress.tally.probes_sent), (None, sent));
}

#[tokio::test(start_paused = true)]
async fn a_first_round_that_is_not_over_in_time_leaves_the_ends_as_wide_as_what_stayed_silent() {
    let mut net = Net {
        weather: Weather::Clean,
        seed: 1,
        drawn: 0,
        now: Duration::from_secs(10),
        tokens: 0.0,
        refilled: Duration::ZERO,
        sent: 0,
        answered: 0,
        path: None,
    };
    let task = sample::task(spec(None, true));
    let plan = Plan::new(Arc::clone(&task.spec), 0).unwrap();
    let scan = net.unit(plan.clone(), task.clone());
    let ask: Ask = Arc::new(|_, task: UnitTask| {
        let (findings, findings_out) = mpsc::channel(1);
        let (outcome, outcome_out) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            task.cancel.cancelled().await;
            drop(findings);
            outcome.send(Err(ScanError::Cancelled))
        });
        let (_, progress) = watch::channel(UnitProgress::default());
        Ok(UnitScan { findings: findings_out, progress, note: None, tcp: TcpScan::Syn, outcome: outcome_out })
    });
    let mut staged = attach(scan, plan, &task, ask, &Handle::current());
    while staged.findings.recv().await.is_some() {}
    let outcome = staged.outcome.await.unwrap().unwrap();
    let recapture = outcome.recapture.unwrap();
    let recall = recapture.recall().unwrap();
    assert!(recapture.asked() == 0 && recapture.silent() > 0 && recall.low < 0.7, "{recall:?}");
    let told = outcome.progress.estimates.recall;
    assert!((told - f64::midpoint(recall.low, recall.high)).abs() < 1e-9, "{told} of {recall:?}");
}

/// A scan of two ports of 64 addresses, all open, in a network of servers or behind something that answers on everything; what was told
/// to answer on everything, the open ports that are counted, and how many addresses each test was for.
async fn of_alike_hosts(answers_everything: bool) -> (usize, u64, Vec<u64>) {
    let task = sample::task(sample::spec("10.77.0.0/26", "22,80", 3));
    let plan = Plan::new(Arc::clone(&task.spec), 0).unwrap();
    let unit = |found: Vec<Finding>, open_ports: u64| {
        let (findings, findings_out) = mpsc::channel(1);
        let (outcome, outcome_out) = oneshot::channel();
        let tally = crate::tally::Tally { open_ports, probes_sent: 128, ..Default::default() };
        let progress = UnitProgress { tally, ..UnitProgress::default() };
        findings.try_send(found).unwrap();
        let left_out = crate::tally::LeftOut::default();
        let (duration, sending) = (Duration::from_secs(1), Duration::from_secs(1));
        let ended = UnitOutcome { progress, duration, sending, targets_per_second: 1.0, left_out, recapture: None };
        outcome.send(Ok(ended)).unwrap();
        let (_, progress) = watch::channel(progress);
        UnitScan { findings: findings_out, progress, note: None, tcp: TcpScan::Syn, outcome: outcome_out }
    };
    let of = |plan: &Plan, index: u64, observation| {
        let Some(Target::Address(address)) = plan.target(index) else { panic!("no address") };
        Finding { target_index: index, address, name: None, observation }
    };
    let open = |number| {
        let (port, state, reason) = (crate::port::Port::tcp(number), PortState::Open, Reason::SynAck);
        Observation::Port { port, state, reason, ttl: None, stack: None }
    };
    let found = (0..64).flat_map(|index| [22, 80].map(|number| of(&plan, index, open(number)))).collect();
    let tests = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&tests);
    let ask: Ask = Arc::new(move |plan: Plan, task: UnitTask| {
        noted.lock().unwrap().push(plan.target_count());
        let asked = |index| (0..).map_while(|step| plan.port_position(index, step)).collect::<Vec<_>>();
        for index in task.range.clone() {
            assert!(asked(index).len() >= 3, "ports that cannot all be open");
            let numbers = asked(index).into_iter().map(|at| plan.port(at).unwrap().number);
            assert!(numbers.into_iter().all(|number| number >= 20_000));
        }
        let verdict = |index| match answers_everything {
            true => vec![of(&plan, index, open(30_000)), of(&plan, index, Observation::Middlebox)],
            false => vec![of(&plan, index, Observation::Cleared)],
        };
        Ok(unit(task.range.clone().flat_map(verdict).collect(), 0))
    });
    let mut staged = attach(unit(found, 128), plan.clone(), &task, ask, &Handle::current());
    let mut told = BTreeSet::new();
    while let Some(batch) = staged.findings.recv().await {
        for finding in batch {
            assert_eq!(plan.index_of(finding.address), Some(finding.target_index));
            match finding.observation {
                Observation::Middlebox => assert!(told.insert(finding.address), "twice"),
                Observation::Port { port, .. } => assert!(port.number < 100, "a port of the test is no finding"),
                _ => {}
            }
        }
    }
    let outcome = staged.outcome.await.unwrap().unwrap();
    let tests = tests.lock().unwrap().clone();
    (told.len(), outcome.progress.tally.open_ports, tests)
}

#[tokio::test(start_paused = true)]
async fn a_network_that_answers_on_both_of_two_ports_is_told_by_ports_that_cannot_all_be_open() {
    assert_eq!(of_alike_hosts(true).await, (64, 0, vec![2, 62]));
    assert_eq!(of_alike_hosts(false).await, (0, 128, vec![2]), "servers that are alike lose nothing");
}
