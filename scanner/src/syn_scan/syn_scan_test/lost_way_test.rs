//! Ways that are lost in the middle of a scan, flows that are closed, and filters that want to see a SYN twice.

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A scan of 64 hosts, 16 of which live, slow enough to be met in the middle.
fn slow() -> ScanSpec {
    ScanSpec { rate_pps: Some(300), banners: false, ..spec("10.77.0.0/26", "1-100") }
}

/// Ports that were said to be filtered without an answer.
fn filtered(net: &Net) -> u32 {
    let silent = net.found.iter().filter_map(|finding| match &finding.observation {
        Observation::Ports { ports, reason: Reason::NoResponse, .. } => Some(ports.count()),
        _ => None,
    });
    silent.sum()
}

/// Of the ports of hosts that live, those that are silent.
fn silent() -> u32 {
    let all = (FIRST..FIRST + 64)
        .filter(|address| lives(*address))
        .flat_map(|address| (1..=100).map(move |port| (address, port)));
    u32::try_from(all.filter(|(address, port)| state(*address, *port).is_none()).count()).unwrap()
}

#[test]
fn a_cable_that_is_pulled_ends_what_is_left_as_not_probed_and_nothing_of_it_is_filtered() {
    let down = Some((ms(2000), ms(1_000_000)));
    let mut net = Net { rtt: ms(2), down, ..Net::default() };
    let (scan, open) = net.scan(slow(), Box::new(OneGateway), RateCap::new(Some(300)));
    let tally = scan.results().tally();
    assert_eq!((tally.targets_done, net.hosts_up().len()), (64, 16), "hosts were found in the first seconds");
    assert!(tally.not_probed.to_string().starts_with("interface down "), "{}", tally.not_probed);
    assert!(tally.not_probed.total() >= 16 && open.len() < truth(FIRST, 64, 1..=100).len() / 2);
    assert_eq!(filtered(&net), 0);
    let last = net.sent.last().unwrap().0 - Duration::from_secs(10);
    assert!(last <= ms(2100), "nothing is sent over a link that is down: {last:?}");
    assert!(net.elapsed() < Duration::from_secs(10), "{:?}", net.elapsed());
}

#[test]
fn a_cable_that_comes_back_soon_costs_no_port() {
    let down = Some((ms(2000), ms(4000)));
    let mut net = Net { rtt: ms(2), down, ..Net::default() };
    let (scan, open) = net.scan(slow(), Box::new(OneGateway), RateCap::new(Some(300)));
    assert_eq!(open, truth(FIRST, 64, 1..=100));
    assert!(scan.results().tally().not_probed.is_empty());
    assert_eq!(filtered(&net), silent());
}

/// The same, with the hardware address that the kernel has for the gateway, from before it died.
#[derive(Debug)]
struct KnownGateway;

impl Routes for KnownGateway {
    fn way(&self, address: IpAddr) -> Result<Way, NotProbed> {
        OneGateway.way(address)
    }

    fn mac(&self, _link: u16, hop: IpAddr) -> Option<Mac> {
        (hop == GATEWAY).then_some(MAC)
    }
}

#[test]
fn behind_a_gateway_that_was_dead_from_the_start_nothing_is_taken_for_silent() {
    for (dies_at, not_probed) in [(Some(ms(0)), 64), (None, 0)] {
        let mut net = Net { rtt: ms(2), dies_at, ..Net::default() };
        let (scan, _) = net.scan(slow(), Box::new(KnownGateway), RateCap::new(Some(300)));
        let tally = scan.results().tally();
        assert_eq!((tally.targets_done, tally.not_probed.total()), (64, not_probed), "{}", tally.not_probed);
    }
}

#[test]
fn a_gateway_that_dies_is_asked_for_and_what_is_left_behind_it_is_not_probed() {
    for (rate, dies_at) in [(300, 2000), (2000, 1500), (100, 9000)] {
        let mut net = Net { rtt: ms(2), dies_at: Some(ms(dies_at)), ..Net::default() };
        let spec = ScanSpec { rate_pps: Some(rate), ..slow() };
        let (scan, _) = net.scan(spec, Box::new(OneGateway), RateCap::new(Some(rate)));
        let tally = scan.results().tally();
        assert!(
            tally.hosts_up > 0 && tally.not_probed.to_string().starts_with("gateway silent "),
            "{}",
            tally.not_probed
        );
        assert_eq!((filtered(&net), tally.targets_done), (0, 64), "at {rate}");
        // Eight canaries are up to 2,048 probes, so at a hundred per second that takes its time.
        let most = if rate == 100 { 21_000 } else { 8000 };
        assert!(net.elapsed() < ms(dies_at + most), "{:?} at {rate}", net.elapsed());
    }
}

#[test]
fn a_gateway_that_moves_to_another_machine_is_followed() {
    let mut net = Net { rtt: ms(2), moves_at: Some(ms(3000)), ..Net::default() };
    let (scan, open) = net.scan(slow(), Box::new(OneGateway), RateCap::new(Some(300)));
    assert!(scan.results().tally().not_probed.is_empty());
    assert_eq!(net.macs.len(), 2);
    let recall = recall(&open, &truth(FIRST, 64, 1..=100));
    assert!(recall >= 0.99, "{recall}");
}

#[test]
fn an_address_that_is_named_for_the_gateway_is_only_used_if_the_gateway_answers_with_it() {
    let plan = Plan::new(Arc::new(slow()), 0).unwrap();
    let (now, path) = (Duration::from_secs(10), Path::new(Start::of(plan.spec()), Duration::from_secs(10)));
    let mut scan = SynScan::new(plan, 0..64, Arc::default(), Arc::new(RateCap::new(None)), Box::new(OneGateway), path);
    let mut out = Vec::new();
    scan.poll(now, 64, 0, &mut out);
    assert_eq!(std::mem::take(&mut out), [Transmit::Resolve { address: GATEWAY, link: 0 }]);
    scan.on_neighbour(now, 0, GATEWAY, MAC);
    scan.poll(now, 1, 0, &mut out);
    assert!(matches!(out[..], [Transmit::Probe { mac: MAC, .. }]));
    out.clear();
    scan.on_neighbour(now, 0, GATEWAY, [2, 9, 9, 9, 9, 9]);
    scan.poll(now + ms(10), 64, 0, &mut out);
    assert_eq!(std::mem::take(&mut out), [Transmit::Resolve { address: GATEWAY, link: 0 }], "it is asked itself");
    scan.on_neighbour(now + ms(11), 0, GATEWAY, MAC);
    scan.poll(now + ms(20), 64, 0, &mut out);
    assert!(out.iter().all(|send| matches!(send, Transmit::Probe { mac: MAC, .. })) && !out.is_empty());
}

#[test]
fn a_probe_that_the_kernel_refuses_is_its_targets_and_no_other_is_held_for_it() {
    let plan = Plan::new(Arc::new(spec("10.77.0.0/31", "22")), 0).unwrap();
    let (mut now, path) = (Duration::from_secs(10), Path::new(Start::of(plan.spec()), Duration::from_secs(10)));
    let mut scan = SynScan::new(plan, 0..2, Arc::default(), Arc::new(RateCap::new(None)), Box::new(OneGateway), path);
    scan.on_neighbour(now, 0, GATEWAY, MAC);
    let (mut out, refused): (_, IpAddr) = (Vec::new(), "10.77.0.0".parse().unwrap());
    loop {
        let turn = scan.poll(now, 64, 0, &mut out);
        for send in out.drain(..) {
            match send {
                Transmit::Probe { address, .. } if address == refused => {
                    scan.on_not_sent(now, address, NotProbed::SendRefused);
                }
                Transmit::Resolve { address, .. } => scan.on_neighbour(now, 0, address, MAC),
                _ => {}
            }
        }
        match turn {
            Turn::Done => break,
            Turn::Sent => now += ms(1),
            Turn::Wait { until } => now = until.max(now + ms(1)),
        }
        assert!(now < Duration::from_secs(60), "it ends");
    }
    assert_eq!(scan.results().tally().not_probed.to_string(), "send refused 1");
    assert_eq!(scan.results().tally().targets_done, 2);
}

#[test]
fn a_port_behind_a_filter_that_wants_the_same_syn_twice_is_found() {
    let wary: BTreeSet<u16> = (1..=100).filter(|port| port % 3 == 0).collect();
    let mut net = Net { rtt: ms(2), wary, ..Net::default() };
    let (_, open) = net.scan(spec("10.77.0.0/24", "1-100"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 256, 1..=100));
}

#[test]
fn what_stays_silent_behind_a_router_is_closed_and_what_answers_is_not() {
    let mut net = Net { rtt: ms(2), ..Net::default() };
    net.scan(spec("10.77.0.0/26", "1-50"), Box::new(OneGateway), RateCap::new(None));
    let of =
        |address: u32, port: u16| net.resets.get(&(address, format!("{:?}", Probe::Syn(port)))).copied().unwrap_or(0);
    let live: Vec<u32> = (FIRST..FIRST + 64).filter(|address| lives(*address)).collect();
    let ports = || live.iter().flat_map(|address| (1..=50).map(move |port| (*address, port)));
    let answered: u32 = ports().filter(|(address, port)| state(*address, *port).is_some()).map(|(a, p)| of(a, p)).sum();
    assert_eq!(answered, 0);
    let silent: Vec<u32> =
        ports().filter(|(address, port)| state(*address, *port).is_none()).map(|(a, p)| of(a, p)).collect();
    let closed = silent.iter().filter(|resets| **resets >= 1).count();
    assert!(closed * 10 >= silent.len() * 9 && silent.iter().all(|resets| *resets <= 2), "{silent:?}");
    let mut near = Net { rtt: ms(2), ..Net::default() };
    near.scan(spec("10.77.0.0/26", "1-50"), Box::new(OnLink), RateCap::new(None));
    assert!(near.resets.is_empty(), "on the link nobody remembers flows");
}

/// A gateway, or hosts on the link, whose hardware address somebody has fixed by hand.
#[derive(Debug)]
struct Fixed {
    is_gateway: bool,
}

impl Routes for Fixed {
    fn way(&self, address: IpAddr) -> Result<Way, NotProbed> {
        if self.is_gateway { OneGateway.way(address) } else { OnLink.way(address) }
    }

    fn mac(&self, _link: u16, _hop: IpAddr) -> Option<Mac> {
        Some(MAC)
    }

    fn is_fixed(&self, _link: u16, _hop: IpAddr) -> bool {
        true
    }
}

#[test]
fn a_gateway_or_host_whose_address_is_fixed_need_not_answer_for_it() {
    for is_gateway in [true, false] {
        let mut net = Net { rtt: ms(2), is_arp_silent: true, ..Net::default() };
        let (scan, open) = net.scan(slow(), Box::new(Fixed { is_gateway }), RateCap::new(Some(300)));
        let tally = scan.results().tally();
        assert!(tally.not_probed.is_empty(), "{} with a gateway: {is_gateway}", tally.not_probed);
        assert_eq!(open, truth(FIRST, 64, 1..=100), "with a gateway: {is_gateway}");
    }
    // Nobody lives behind this one, which is no reason to ask it.
    let mut dark = Net { rtt: ms(2), is_arp_silent: true, dies_at: Some(ms(0)), ..Net::default() };
    let (scan, _) = dark.scan(slow(), Box::new(Fixed { is_gateway: true }), RateCap::new(Some(300)));
    assert_eq!((scan.results().tally().targets_done, scan.results().tally().not_probed.total()), (64, 0));
}

#[test]
fn a_link_that_is_new_is_waited_for_and_one_without_a_cable_not_for_long() {
    for (up_at, not_probed) in [(900, 0), (1_000_000, 64)] {
        let mut net = Net { rtt: ms(2), down: Some((ms(0), ms(up_at))), is_new: true, ..Net::default() };
        let (scan, open) = net.scan(slow(), Box::new(OneGateway), RateCap::new(Some(300)));
        let tally = scan.results().tally();
        assert_eq!((tally.targets_done, tally.not_probed.total()), (64, not_probed), "{}", tally.not_probed);
        if not_probed == 0 {
            assert_eq!(open, truth(FIRST, 64, 1..=100));
        } else {
            assert_eq!(tally.not_probed.to_string(), "interface down 64");
            assert!(net.sent.is_empty() && net.elapsed() < ms(2500), "{:?}", net.elapsed());
        }
    }
}
