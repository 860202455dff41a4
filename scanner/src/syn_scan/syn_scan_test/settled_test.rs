//! How far a scan is settled while it runs: what one that is cut off goes on from.

use super::*;

/// A slow scan of one port that everybody has open, for five seconds; the port of the `held`-th host is listened to until the end.
fn five_seconds(held: usize) -> (SynScan, u64, Vec<(u64, SocketAddr)>) {
    let spec = ScanSpec { discovery: Vec::new(), banners: true, ..spec("10.77.0.0/24", "80") };
    let (spec, start) = (Arc::new(spec), Duration::from_secs(10));
    let path = Path::new(Start::of(&spec), start);
    let plan = Plan::new(Arc::clone(&spec), 0).unwrap();
    let pace = Arc::new(RateCap::new(Some(40)));
    let mut scan = SynScan::new(plan, 0..256, Arc::default(), pace, Box::new(OneGateway), path);
    let (mut now, mut out, mut grabbed, mut asked) = (start, Vec::new(), Vec::new(), 0);
    while now < start + Duration::from_secs(5) {
        let turn = scan.poll(now, 64, 16, &mut out);
        for send in out.drain(..) {
            match send {
                Transmit::Probe { address, probe, lane, .. } if !lane::is_canary(lane) => {
                    asked += 1;
                    let (state, reason) = (PortState::Open, Reason::SynAck);
                    let (ttl, is_own_word, stack, sent_at) = (60, true, None, None);
                    let reply = Reply { address, probe, lane, sent_at, state, reason, ttl, is_own_word, stack };
                    scan.on_reply(now, &reply);
                }
                Transmit::Resolve { address, .. } => scan.on_neighbour(now, 0, address, MAC),
                Transmit::BannerGrab { index, address, port, .. } => {
                    grabbed.push((index, SocketAddr::new(address, port)));
                    if grabbed.len() != held {
                        scan.on_banner(index, SocketAddr::new(address, port), None);
                    }
                }
                Transmit::Probe { .. } | Transmit::Reset { .. } => {}
            }
        }
        now = match turn {
            Turn::Wait { until } => until.max(now + Duration::from_micros(100)),
            Turn::Sent | Turn::Done => now + Duration::from_micros(200),
        };
    }
    (scan, asked, grabbed)
}

#[test]
fn a_slow_scan_is_settled_up_to_the_first_target_that_is_still_listened_to() {
    let (scan, asked, grabbed) = five_seconds(usize::MAX);
    let settled = scan.settled_until().unwrap();
    assert!(asked < 100, "most wait for their first probe: {asked}");
    assert!(settled >= 20 && settled <= asked, "{settled} settled, {asked} asked");
    assert!(settled >= grabbed.len() as u64, "all that were heard out are settled: {settled}, {}", grabbed.len());

    let (mut scan, _, grabbed) = five_seconds(7);
    let (held, from) = grabbed[6];
    assert_eq!(scan.settled_until(), Some(held), "those behind it wait for it");
    assert!(held < 20, "hosts are listened to in order: {held}");
    scan.on_banner(held, from, None);
    assert!(scan.settled_until().is_some_and(|settled| settled >= 20));
}
