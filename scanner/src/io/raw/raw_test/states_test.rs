//! The same firewall asked by all engines, a cable that is pulled while they ask, and a queue that is full.

use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

use super::*;

/// What the other machine's firewall does with ports 3001 to 3008: it refuses in six ways, drops, and answers only the first; and it
/// lets a flow to 2022 in only once its SYN has come twice.
const RULES: &str = "table ip f {
  set seen { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; }
  set once { type ipv4_addr; flags dynamic,timeout; timeout 60s; }
  chain in {
    type filter hook input priority 0; policy accept;
    tcp dport 3001 reject with icmp type port-unreachable
    tcp dport 3002 reject with icmp type admin-prohibited
    tcp dport 3003 reject with icmp type host-prohibited
    tcp dport 3004 reject with icmp type net-unreachable
    tcp dport 3005 reject with icmp type host-unreachable
    tcp dport 3006 drop
    tcp dport 3007 reject with icmp type prot-unreachable
    tcp dport 3008 ip saddr @once drop
    tcp dport 3008 add @once { ip saddr } reject with tcp reset
    tcp dport 2022 ip saddr . tcp sport @seen accept
    tcp dport 2022 add @seen { ip saddr . tcp sport } drop
  }
}";

/// Gives this machine a firewall; false where there is no program for it.
fn nft(rules: &str) -> bool {
    let child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return false };
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

#[test]
fn a_firewalls_answers_are_told_alike_by_both_engines() {
    for choice in [EngineChoice::Raw, EngineChoice::Connect] {
        let (has_rules_in, has_rules) = sync_channel(1);
        let far = move || {
            std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0").unwrap();
            has_rules_in.send(nft(RULES)).unwrap();
        };
        with_a_cable_to(far, move || {
            if !has_rules.recv().unwrap() {
                eprintln!("skipped: no nft here");
                return;
            }
            let mut task = task("10.77.0.1", "2022,2080,2081,3001-3008", choice);
            task.spec = Arc::new(ScanSpec { discovery: Vec::new(), ..(*task.spec).clone() });
            let (records, _) = finish(engine().scan(task).unwrap());
            let refused = if choice == EngineChoice::Raw { Reason::Reset } else { Reason::ConnRefused };
            let expected = [
                (2022, PortState::Open, Reason::SynAck),
                (2080, PortState::Open, Reason::SynAck),
                (2081, PortState::Closed, refused),
                (3001, PortState::Filtered, Reason::PortUnreach),
                (3002, PortState::Filtered, Reason::AdminProhibited),
                (3003, PortState::Filtered, Reason::AdminProhibited),
                (3004, PortState::Filtered, Reason::NetUnreach),
                (3005, PortState::Filtered, Reason::HostUnreach),
                (3006, PortState::Filtered, Reason::NoResponse),
                (3007, PortState::Filtered, Reason::ProtoUnreach),
                (3008, PortState::Closed, refused),
            ];
            let known: Vec<_> = records[0].ports.iter().map(|port| (port.port, port.state, port.reason)).collect();
            assert_eq!(known, expected, "{choice}");
        });
    }
}

#[test]
fn a_refusal_that_comes_within_the_call_is_read_at_the_only_try() {
    let (has_rules_in, has_rules) = sync_channel(1);
    let far = move || {
        std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0").unwrap();
        has_rules_in.send(nft(RULES)).unwrap();
    };
    with_a_cable_to(far, move || {
        if !has_rules.recv().unwrap() {
            eprintln!("skipped: no nft here");
            return;
        }
        let mut task = task("10.77.0.1", "3001-3005,3007", EngineChoice::Connect);
        task.spec = Arc::new(ScanSpec { discovery: Vec::new(), retries: Some(0), ..(*task.spec).clone() });
        let (records, _) = finish(engine().scan(task).unwrap());
        let known: Vec<_> = records[0].ports.iter().map(|port| (port.port, port.state, port.reason)).collect();
        let refused = [
            (3001, Reason::PortUnreach),
            (3002, Reason::AdminProhibited),
            (3003, Reason::AdminProhibited),
            (3004, Reason::NetUnreach),
            (3005, Reason::HostUnreach),
            (3007, Reason::ProtoUnreach),
        ];
        assert_eq!(known, refused.map(|(port, reason)| (port, PortState::Filtered, reason)), "the host says so itself");
    });
}

#[test]
fn what_a_filter_of_this_machine_refuses_is_no_answer_and_was_not_probed() {
    const OWN: &str = "table ip f {
      chain out {
        type filter hook output priority 0; policy accept;
        tcp dport 3009 reject with icmp type admin-prohibited
      }
    }";
    with_a_cable(|| {
        if !nft(OWN) {
            eprintln!("skipped: no nft here");
            return;
        }
        let scanned = |ports: &str| {
            let (records, outcome) = finish(engine().scan(task("10.77.0.0/31", ports, EngineChoice::Connect)).unwrap());
            (records, outcome.unwrap().progress.tally)
        };
        let (records, tally) = scanned("3009");
        assert_eq!((records.len(), tally.probes_sent), (0, 0));
        assert_eq!(tally.not_probed.to_string(), "send refused 2");
        let (records, tally) = scanned("2080,3009");
        let known: Vec<_> = records[0].ports.iter().map(|port| (port.port, port.state, port.reason)).collect();
        let refused = (3009, PortState::Filtered, Reason::AdminProhibited);
        assert_eq!(known, [(2080, PortState::Open, Reason::SynAck), refused]);
        assert!(tally.not_probed.is_empty(), "{}", tally.not_probed);
    });
}

#[test]
fn a_cable_that_is_pulled_in_the_middle_leaves_ports_unknown_and_none_filtered() {
    for choice in [EngineChoice::Raw, EngineChoice::Connect] {
        let (pull, pulled) = sync_channel::<()>(1);
        let far = move || {
            thread::spawn(move || {
                if pulled.recv().is_ok() {
                    ip("link set cable1 down");
                }
            });
        };
        with_a_cable_to(far, move || {
            let mut task = task("10.77.0.0/28", "2022,3001-3200", choice);
            task.spec = Arc::new(ScanSpec { rate_pps: Some(300), banners: false, ..(*task.spec).clone() });
            // It ends with the engine.
            let engine = engine();
            let unit = engine.scan(task).unwrap();
            thread::park_timeout(Duration::from_millis(3000));
            pull.send(()).unwrap();
            let (records, outcome) = finish(unit);
            let tally = outcome.unwrap().progress.tally;
            assert!(!records.is_empty() && tally.targets_done == 16, "{choice}: {tally:?}");
            assert!(tally.not_probed.to_string().starts_with("interface down "), "{choice}: {}", tally.not_probed);
            let listed = records.iter().flat_map(|host| &host.ports).filter(|port| port.state == PortState::Filtered);
            let counted =
                records.iter().flat_map(|host| &host.not_shown).filter(|group| group.state == PortState::Filtered);
            assert_eq!((listed.count(), counted.count()), (0, 0), "{choice}");
        });
    }
}

/// A scan of 16 hosts with 201 ports, asked a single time each, that is met in the middle by `meddle`; what it did not probe, and
/// how many ports it found in each state.
fn met_in_the_middle(choice: EngineChoice, ports: &str, meddle: impl FnOnce()) -> (String, BTreeMap<PortState, usize>) {
    let mut task = task("10.77.0.0/28", ports, choice);
    let once = ScanSpec {
        rate_pps: Some(500),
        retries: Some(0),
        discovery: Vec::new(),
        banners: false,
        ..(*task.spec).clone()
    };
    task.spec = Arc::new(once);
    // It ends with the engine.
    let engine = engine();
    let unit = engine.scan(task).unwrap();
    thread::park_timeout(Duration::from_millis(2000));
    meddle();
    let (records, outcome) = finish(unit);
    (outcome.unwrap().progress.tally.not_probed.to_string(), states(&records))
}

/// How many ports have each state.
fn states(records: &[HostRecord]) -> BTreeMap<PortState, usize> {
    let listed = records.iter().flat_map(|host| &host.ports).map(|port| (port.state, 1));
    let counted = records.iter().flat_map(|host| &host.not_shown).map(|group| (group.state, group.count as usize));
    let mut states = BTreeMap::new();
    listed.chain(counted).for_each(|(state, count)| *states.entry(state).or_default() += count);
    states
}

#[test]
fn a_link_that_is_lost_for_a_moment_costs_a_scan_by_connections_or_datagrams_no_port() {
    let tcp = BTreeMap::from([(PortState::Open, 16), (PortState::Closed, 16 * 200)]);
    let udp = BTreeMap::from([(PortState::Closed, 16 * 200)]);
    for (choice, ports, expected) in
        [(EngineChoice::Connect, "2022,3001-3200", tcp), (EngineChoice::Connect, "U:3001-3200", udp)]
    {
        for is_here in [false, true] {
            let (pull, pulled) = sync_channel::<()>(1);
            let far = move || {
                std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0").unwrap();
                let _ = std::fs::write("/proc/sys/net/ipv4/icmp_msgs_per_sec", "1000000");
                thread::spawn(move || {
                    if pulled.recv().is_ok() {
                        ip("link set cable1 down");
                        thread::park_timeout(Duration::from_millis(1500));
                        ip("link set cable1 up");
                    }
                });
            };
            let expected = expected.clone();
            with_a_cable_to(far, move || {
                let meddle = || {
                    if !is_here {
                        return pull.send(()).unwrap();
                    }
                    // The kernel forgets the route with the interface, and refuses what is sent meanwhile.
                    ip("link set cable0 down");
                    thread::park_timeout(Duration::from_millis(1500));
                    ip("link set cable0 up");
                    ip("route add 10.77.0.0/24 via 10.9.0.2");
                };
                let (not_probed, mut states) = met_in_the_middle(choice, ports, meddle);
                // A machine that is busy with others notices late, and has given up a few by then: far from those of one and a half seconds.
                let late: usize =
                    [PortState::Filtered, PortState::OpenFiltered].iter().filter_map(|it| states.remove(it)).sum();
                let missing =
                    |(state, count): (&PortState, &usize)| count - states.get(state).copied().unwrap_or(0).min(*count);
                let is_few = expected.iter().map(missing).sum::<usize>() <= late && late * 20 <= 16 * 200;
                assert!(not_probed.is_empty() && is_few, "{ports}, {is_here}: {not_probed} {states:?} and {late} late");
            });
        }
    }
}

#[test]
fn what_a_full_queue_does_not_take_at_once_is_sent_when_it_has_room_however_often_ports_are_asked() {
    const SLOW: &str = "qdisc add dev cable0 root tbf rate 400kbit burst 1600 limit 1600";
    let far = || std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0").unwrap();
    with_a_cable_to(far, || {
        let is_slow = Command::new("tc").args(SLOW.split(' ')).status().is_ok_and(|done| done.success());
        if !is_slow {
            eprintln!("skipped: no tc here");
            return;
        }
        // What waits for the neighbour's address meets the queue unseen.
        std::net::UdpSocket::bind("10.9.0.1:0").and_then(|socket| socket.send_to(b"?", "10.9.0.2:9")).unwrap();
        thread::park_timeout(Duration::from_millis(200));
        for (ports, expected) in [
            ("2022,3001-3100", BTreeMap::from([(PortState::Open, 8), (PortState::Closed, 8 * 100)])),
            ("U:3001-3020", BTreeMap::from([(PortState::Closed, 8 * 20)])),
        ] {
            let mut task = task("10.77.0.0/29", ports, EngineChoice::Raw);
            let once = ScanSpec { rate_pps: Some(50_000), retries: Some(0), ..(*task.spec).clone() };
            task.spec = Arc::new(ScanSpec { discovery: Vec::new(), banners: false, ..once });
            let (records, outcome) = finish(engine().scan(task).unwrap());
            let not_probed = outcome.unwrap().progress.tally.not_probed;
            assert_eq!((not_probed.to_string().as_str(), states(&records)), ("", expected), "{ports}");
        }
    });
}

#[test]
fn a_queue_that_takes_nothing_for_a_moment_costs_a_scan_by_datagrams_no_port() {
    let far = || {
        std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0").unwrap();
        let _ = std::fs::write("/proc/sys/net/ipv4/icmp_msgs_per_sec", "1000000");
    };
    with_a_cable_to(far, || {
        let tc = |words: &str| Command::new("tc").args(words.split(' ')).status().is_ok_and(|done| done.success());
        let meddle = || {
            if !tc("qdisc add dev cable0 root tbf rate 8bit burst 1600 limit 1600") {
                return eprintln!("skipped: no tc here");
            }
            thread::park_timeout(Duration::from_millis(1500));
            assert!(tc("qdisc del dev cable0 root"));
        };
        let (not_probed, mut states) = met_in_the_middle(EngineChoice::Connect, "U:3001-3200", meddle);
        // What was in the queue when that was taken away is lost with it.
        let lost = states.remove(&PortState::OpenFiltered).unwrap_or_default();
        let closed = states.remove(&PortState::Closed).unwrap_or_default();
        assert!(not_probed.is_empty() && states.is_empty() && closed + lost == 16 * 200, "{not_probed} {states:?}");
        assert!(lost <= 64, "{lost}");
    });
}

#[test]
fn a_range_that_a_real_kernel_redirects_is_left_out_by_both_engines_and_the_rest_is_the_hosts() {
    for choice in [EngineChoice::Raw, EngineChoice::Connect] {
        for (range, ports, own) in
            [("1-1023", "1-1023,2022,2080", vec![2022, 2080]), ("1024-65535", "1-2048", vec![22])]
        {
            let rules = format!(
                "table ip n {{
                  chain pre {{ type nat hook prerouting priority -100; tcp dport {range} redirect to :2081; }}
                  chain in {{ type nat hook input priority 100; }}
                }}"
            );
            let (has_rules_in, has_rules) = sync_channel(1);
            let far = move || {
                for port in [22, 2081] {
                    let listener = TcpListener::bind(("::", port)).unwrap();
                    thread::spawn(move || listener.incoming().for_each(drop));
                }
                has_rules_in.send(nft(&rules)).unwrap();
            };
            with_a_cable_to(far, move || {
                if !has_rules.recv().unwrap() {
                    eprintln!("skipped: no nft here");
                    return;
                }
                let mut task = task("10.77.0.1", ports, choice);
                task.spec = Arc::new(ScanSpec { banners: false, ..(*task.spec).clone() });
                let (records, outcome) = finish(engine().scan(task).unwrap());
                let open: Vec<u16> = records[0].open_ports().map(|port| port.port).collect();
                let of = format!("{range} of {ports} by {choice}: {:?}", records[0].redirected);
                assert_eq!((open.len() as u64, &open), (outcome.unwrap().progress.tally.open_ports, &own), "{of}");
                assert!(records[0].redirected.len() == 1 && !records[0].is_middlebox, "{of}");
            });
        }
    }
}
