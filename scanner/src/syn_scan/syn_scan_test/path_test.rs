//! How fast a scan goes: over paths that lose, police or are long, and under budgets.

use super::*;

#[test]
fn loss_is_measured_and_made_good() {
    for (loss, least) in [(98, 0.9999), (360, 0.999)] {
        let mut net = Net { loss, rtt: Duration::from_millis(3), ..Net::default() };
        let (scan, open) = net.scan(spec("10.77.0.0/20", "1-20"), Box::new(OneGateway), RateCap::new(None));
        let recall = recall(&open, &truth(FIRST, 4096, 1..=20));
        assert!(recall >= least, "{recall} at {loss} in a thousand");
        assert!((scan.estimates().loss - loss as f64 / 1000.0).abs() < 0.03, "{}", scan.estimates().loss);
        assert!(
            (scan.estimates().recall - recall).abs() <= 0.002,
            "{} estimated, {recall} true",
            scan.estimates().recall
        );
    }
}

#[test]
fn a_policed_path_is_filled_and_nothing_is_missed() {
    let mut net = Net { police: 20_000, rtt: Duration::from_millis(2), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.0/18", "1-20"), Box::new(OneGateway), RateCap::new(None));
    let recall = recall(&open, &truth(FIRST, 16_384, 1..=20));
    assert!(recall >= 0.9995, "{recall}");
    let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
    let needed = f64::from(4096 * 20 + 12_288 * 5) / 20_000.0;
    let sent = scan.results().tally().probes_sent;
    assert!(seconds < 2.2 * needed, "{seconds} s, {needed} at the full rate, {sent} probes");
}

#[test]
fn units_side_by_side_find_together_what_a_policed_path_takes() {
    let mut net = Net { police: 20_000, rtt: Duration::from_millis(2), ..Net::default() };
    let routes: Vec<Box<dyn Routes>> = vec![Box::new(OneGateway), Box::new(OneGateway), Box::new(OneGateway)];
    let (scans, open) = net.scan_in_units(spec("10.77.0.0/18", "1-20"), routes, RateCap::new(None));
    let recall = recall(&open, &truth(FIRST, 16_380, 1..=20));
    assert!(recall >= 0.9995, "{recall}");
    let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
    let needed = f64::from(4096 * 20 + 12_288 * 5) / 20_000.0;
    // Two seconds are for the start, in which the path proves how many flows it takes.
    assert!(seconds < 2.2 * needed + 2.0, "{seconds} s, {needed} at the full rate");
    let sent: u64 = scans.iter().map(|scan| scan.results().tally().probes_sent).sum();
    assert!(sent as f64 <= 2.5 * seconds * 20_000.0, "{sent} probes in {seconds} s");
}

#[test]
fn a_far_network_is_waited_for_all_at_once() {
    let mut net = Net { rtt: Duration::from_millis(50), ..Net::default() };
    let (_, open) = net.scan(spec("10.77.0.0/20", "1-3"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 4096, 1..=3));
    // Most of it goes by until the path has proved that it takes the flows of all hosts at once.
    assert!(net.now - Duration::from_secs(10) < Duration::from_secs(6), "{:?}", net.now);
}

#[test]
fn a_budget_holds_to_the_end() {
    let mut net = Net { rtt: Duration::from_millis(2), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.0/24", "1-10"), Box::new(OneGateway), RateCap::new(Some(1000)));
    assert_eq!(open, truth(FIRST, 256, 1..=10));
    let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
    let most = 1000.0 * seconds * 1.05 + 5.0;
    let connections = truth(FIRST, 256, 1..=10).len() as f64;
    assert!(
        scan.results().tally().probes_sent as f64 + connections <= most,
        "{:?} in {seconds} s",
        scan.results().tally()
    );
}

/// Most packets in any 100 ms.
fn busiest(times: &[Duration]) -> usize {
    let mut from = 0;
    let counts = times.iter().enumerate().map(|(at, time)| {
        while *time - times[from] >= Duration::from_millis(100) {
            from += 1;
        }
        at - from + 1
    });
    counts.max().unwrap_or(0)
}

#[test]
fn a_network_gets_no_more_than_its_share_and_holds_nobody_up() {
    let mut net = Net { rtt: Duration::from_millis(2), ..Net::default() };
    let spec = ScanSpec { network_rate_pps: Some(200), ..spec("10.77.0.0/22,10.78.0.0/24", "1-10") };
    let (_, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open.len(), truth(FIRST, 1024, 1..=10).len() + truth(FIRST + 65_536, 256, 1..=10).len());
    let mut by_network: BTreeMap<u32, Vec<Duration>> = BTreeMap::new();
    net.sent.iter().for_each(|(time, network)| by_network.entry(*network).or_default().push(*time));
    assert_eq!(by_network.len(), 5);
    let most = by_network.values().map(Vec::len).max().unwrap() as f64;
    let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
    assert!(seconds < most / 200.0 * 1.2 + 4.0, "{seconds} s for {most} packets at most: they waited for each other");
    assert!(by_network.values().all(|times| busiest(times) <= 21));
}

#[test]
fn a_host_gets_no_more_than_its_share() {
    let mut net = Net { rtt: Duration::from_millis(2), ..Net::default() };
    let spec = ScanSpec { host_rate_pps: Some(100), banners: false, ..spec("10.77.0.0", "1-300") };
    let (_, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 1, 1..=300));
    let times: Vec<Duration> = net.sent.iter().map(|(time, _)| *time).collect();
    assert!(busiest(&times) <= 11, "{}", busiest(&times));
    let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
    assert!(seconds < times.len() as f64 / 100.0 * 1.1 + 2.0, "{seconds} s for {} packets", times.len());
}

#[test]
fn a_given_rate_is_begun_with_and_a_ceiling_is_not() {
    let first_second = |net: &Net| {
        let begun = net.sent.first().unwrap().0;
        net.sent.iter().filter(|(time, _)| *time < begun + Duration::from_secs(1)).count()
    };
    // Nobody answers, so nothing raises the rate.
    let dark = || Net { rtt: Duration::from_secs(9), ..Net::default() };
    let mut net = dark();
    let rated = ScanSpec { rate_pps: Some(80_000), ..spec("10.77.0.0/17", "1-10") };
    net.scan(rated, Box::new(OneGateway), RateCap::new(None));
    assert!((76_000..=84_000).contains(&first_second(&net)), "{}", first_second(&net));
    let mut net = dark();
    let capped = ScanSpec { max_rate_pps: Some(80_000), ..spec("10.77.0.0/17", "1-10") };
    net.scan(capped, Box::new(OneGateway), RateCap::new(None));
    assert!(first_second(&net) <= 51_000, "{}", first_second(&net));
}

#[test]
fn a_policed_host_of_few_ports_beside_fast_ones_lacks_none() {
    for seed in 0..8 {
        let (limit, limit_burst) = (Some((FIRST + 4, 20.0)), Some(5.0));
        let mut net = Net { rtt: Duration::from_millis(1), limit, limit_burst, ..Net::default() };
        let spec = ScanSpec { seed, ..spec("10.77.0.0/24", "1-20") };
        let (_, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
        assert!(recall(&open, &truth(FIRST, 256, 1..=20)) >= 1.0, "with seed {seed}");
    }
}

#[test]
fn a_host_behind_a_limit_of_its_own_is_found_whole_beside_fast_ones() {
    for (targets, count, ports, limit) in [
        ("10.77.0.0,10.77.0.4", 8, 20_000, 5000.0),
        ("10.77.0.0/27", 32, 1000, 5000.0),
        ("10.77.0.0/27", 32, 1000, 1000.0),
        ("10.77.0.0/24", 256, 1000, 500.0),
    ] {
        let mut net = Net { rtt: Duration::from_millis(1), limit: Some((FIRST + 4, limit)), ..Net::default() };
        let spec = spec(targets, &format!("1-{ports}"));
        let (scan, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
        let truth = truth(FIRST, count, 1..=ports);
        let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
        let sent = net.probes[&(FIRST + 4)];
        let recall = recall(&open, &truth);
        assert!(
            recall >= 1.0,
            "{targets} {ports} at {limit}: {recall} in {seconds} s with {sent} probes, {} told",
            scan.estimates().recall
        );
        // The limit alone takes `ports / limit` seconds.
        let fair = f64::from(ports) / limit;
        assert!(seconds <= 6.0 * fair + 5.0, "{targets} {ports} at {limit}: {seconds} s for {fair}");
    }
}
