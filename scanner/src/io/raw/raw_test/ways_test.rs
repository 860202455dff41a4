//! Which way packets go, and what is learnt on it: rules of routing, zones, hardware addresses.

use super::*;
use crate::finding::{Mac, TcpScan};
use crate::vendors::Vendors;

fn note_of(targets: &str) -> (Option<&'static str>, TcpScan) {
    let engine = engine();
    let unit = engine.scan(task(targets, "2022", EngineChoice::Auto)).unwrap();
    let found = (unit.note, unit.tcp);
    assert!(finish(unit).1.is_ok());
    found
}

#[test]
fn what_rules_of_this_machine_route_goes_by_connections_and_says_so() {
    with_a_cable(|| {
        const RULES: Option<&str> = Some("addresses that rules of this machine route");
        assert_eq!(note_of("10.77.0.0/29"), (None, TcpScan::Syn));
        ip("route add 10.77.0.0/24 via 10.9.0.2 src 10.9.0.1 table 100");
        ip("rule add to 10.77.0.2 lookup 100");
        assert_eq!(note_of("10.77.0.0/29"), (None, TcpScan::Syn), "the rule leads the same way");
        ip("addr add 10.8.0.1/24 dev cable0");
        ip("route add 10.77.0.0/24 via 10.8.0.2 table 101");
        ip("rule add to 10.77.0.4/30 lookup 101");
        assert_eq!(note_of("10.77.0.0/30"), (None, TcpScan::Syn), "no rule is about these");
        let mut slow = task("10.77.0.0/29", "2022", EngineChoice::Raw);
        let alone = engine();
        let unit = alone.scan(slow.clone()).unwrap();
        assert_eq!((unit.note, unit.tcp), (RULES, TcpScan::Syn));
        let (records, outcome) = finish(unit);
        assert_eq!((records.len(), outcome.unwrap().progress.tally.not_probed.to_string().as_str()), (4, "no route 4"));
        slow.spec = Arc::new(ScanSpec { engine: EngineChoice::Auto, ..(*slow.spec).clone() });
        let unit = engine().scan(slow).unwrap();
        assert_eq!((unit.note, unit.tcp), (RULES, TcpScan::Connect));
        ip("route add 10.66.0.0/24 via 10.9.0.2 table 102");
        ip("rule add fwmark 1 lookup 102");
        assert_eq!(note_of("10.77.0.0/30"), (None, TcpScan::Syn), "nothing of ours has that mark");
        ip("rule add to 10.66.0.0/24 lookup 102");
        let unit = engine().scan(task("10.66.0.0/30", "2022", EngineChoice::Auto)).unwrap();
        assert_eq!(unit.note, RULES, "only a rule leads there");
        ip("rule add ipproto icmp lookup 101");
        assert_eq!(note_of("10.77.0.0/30"), (None, TcpScan::Syn), "nothing of that is sent");
        ip("rule add ipproto tcp dport 22 lookup 101");
        assert_eq!(note_of("10.77.0.0/30"), (RULES, TcpScan::Connect), "one port goes another way");
        let (records, outcome) = finish(engine().scan(task("10.77.0.0/30", "2022", EngineChoice::Raw)).unwrap());
        assert_eq!((records.len(), outcome.unwrap().progress.tally.not_probed.total()), (0, 4));
    });
}

#[test]
fn with_raw_packets_alone_what_they_do_not_reach_is_not_probed_and_the_rest_is() {
    with_a_cable(|| {
        let engine = engine();
        ip("route add 10.96.0.0/24 dev lo");
        let unit = engine.scan(task("10.77.0.2,10.77.0.3,10.96.0.5,127.0.0.1", "2022", EngineChoice::Raw)).unwrap();
        assert_eq!(unit.note, Some("addresses behind an interface that is not Ethernet or a tunnel"));
        let (records, outcome) = finish(unit);
        let up: Vec<_> = records.iter().map(|host| host.address.to_string()).collect();
        assert_eq!(up, ["10.77.0.2", "10.77.0.3", "127.0.0.1"]);
        let tally = outcome.unwrap().progress.tally;
        assert_eq!((tally.targets_done, tally.not_probed.to_string().as_str()), (4, "no route 1"));
        let unit = engine.scan(task("10.77.0.2,fe80::9%cable0", "2022", EngineChoice::Raw)).unwrap();
        assert_eq!(unit.note, Some("link-local addresses"));
        let (records, outcome) = finish(unit);
        let not_probed = outcome.unwrap().progress.tally.not_probed.to_string();
        assert_eq!((records.len(), not_probed.as_str()), (1, "no route 1"));
    });
}

#[test]
fn without_a_source_address_nobody_was_probed() {
    with_a_cable(|| {
        let engine = engine();
        ip("addr flush dev cable0");
        ip("route add 10.77.0.0/24 dev cable0");
        for (ports, choice) in [
            ("2022", EngineChoice::Auto),
            ("2022", EngineChoice::Raw),
            ("2022", EngineChoice::Connect),
            ("U:53", EngineChoice::Auto),
        ] {
            let unit = engine.scan(task("10.77.0.2,10.77.0.3", ports, choice)).unwrap();
            assert_eq!(unit.note, None, "{choice} {ports}");
            let (records, outcome) = finish(unit);
            let not_probed = outcome.unwrap().progress.tally.not_probed.to_string();
            assert_eq!((records.len(), not_probed.as_str()), (0, "no route 2"), "{choice} {ports}");
        }
    });
}

#[test]
fn the_broadcast_address_of_a_link_is_no_host_that_was_missed() {
    with_a_cable(|| {
        for (ports, choice) in
            [("2022", EngineChoice::Raw), ("2022", EngineChoice::Connect), ("U:4001", EngineChoice::Raw)]
        {
            let (_, outcome) = finish(engine().scan(task("10.9.0.2,10.9.0.255", ports, choice)).unwrap());
            let outcome = outcome.unwrap();
            let tally = outcome.progress.tally;
            assert_eq!((tally.targets_done, tally.not_probed.to_string().as_str()), (2, ""), "{choice} {ports}");
            let told: Vec<_> = outcome.left_out.addresses.iter().map(ToString::to_string).collect();
            assert_eq!(told, ["10.9.0.255 was not probed: broadcast address of its link"], "{choice} {ports}");
        }
    });
}

#[test]
fn what_a_rule_refuses_has_no_route_also_with_raw_packets_alone() {
    with_a_cable(|| {
        ip("rule add to 10.77.0.4/30 unreachable");
        let (records, outcome) = finish(engine().scan(task("10.77.0.0/29", "2022", EngineChoice::Raw)).unwrap());
        assert_eq!(records.len(), 4);
        assert_eq!(outcome.unwrap().progress.tally.not_probed.to_string(), "no route 4");
    });
}

#[test]
fn what_an_ipsec_policy_covers_goes_by_connections_and_says_so() {
    with_a_cable(|| {
        let policy = "xfrm policy add dir out src 0.0.0.0/0 dst 10.77.0.0/25 tmpl src 10.9.0.1 dst 10.9.0.2 proto esp mode tunnel";
        let added = std::process::Command::new("ip").args(policy.split(' ')).status().unwrap();
        if !added.success() {
            eprintln!("skipped: no IPsec here");
            return;
        }
        assert_eq!(note_of("10.77.0.128/30"), (None, TcpScan::Syn));
        let unit = engine().scan(task("10.77.0.0/30", "2022", EngineChoice::Auto)).unwrap();
        assert_eq!(unit.note, Some("addresses that IPsec policies of this machine cover"));
        ip("xfrm policy flush");
    });
}

#[test]
fn behind_a_silent_gateway_that_a_rule_chooses_or_the_kernel_of_several_nobody_was_probed() {
    let far = || ip("route add local 10.51.0.0/24 dev lo");
    with_a_cable_to(far, || {
        let scanned = |targets: &str, ports: &str| {
            let (records, outcome) = finish(engine().scan(task(targets, ports, EngineChoice::Auto)).unwrap());
            (records.len(), outcome.unwrap().progress.tally.not_probed.to_string())
        };
        ip("route add 10.50.0.0/24 via 10.9.0.99 table 100");
        ip("rule add to 10.50.0.0/24 lookup 100");
        assert_eq!(scanned("10.50.0.0/29", "2022"), (0, "gateway silent 8".to_owned()));
        assert_eq!(scanned("10.50.0.0/29", "U:161"), (0, "gateway silent 8".to_owned()));
        ip("route add 10.51.0.0/24 nexthop via 10.9.0.2 nexthop via 10.9.0.99");
        let (up, not_probed) = scanned("10.51.0.0/27", "2022");
        assert!(up > 0, "{not_probed}");
        assert_eq!(not_probed, format!("gateway silent {}", 32 - up));
    });
}

#[test]
fn a_link_local_address_is_scanned_on_the_link_of_its_zone() {
    let far = || ip("addr add fe80::77/64 dev cable1 nodad");
    with_a_cable_to(far, || {
        ip("addr add fe80::1/64 dev cable0 nodad");
        ip("link add other0 type veth peer name other1");
        ip("link set other0 up");
        ip("link set other1 up");
        let engine = engine();
        let unit = engine.scan(task("fe80::77%cable0", "2022,2023", EngineChoice::Auto)).unwrap();
        assert_eq!((unit.note, unit.tcp), (Some("link-local addresses"), TcpScan::Connect));
        let (records, outcome) = finish(unit);
        assert!(outcome.unwrap().progress.tally.not_probed.is_empty());
        assert_eq!((records.len(), records[0].written_address().as_str()), (1, "fe80::77%cable0"));
        assert_eq!(records[0].address, "fe80::77".parse::<IpAddr>().unwrap());
        let states: Vec<_> = records[0].ports.iter().map(|port| (port.port, port.state)).collect();
        assert_eq!(states, [(2022, PortState::Open), (2023, PortState::Closed)]);
        assert_eq!(records[0].ports[0].banner.as_deref(), Some("220 here"));
        assert!(records[0].identity.mac.is_some(), "the kernel has asked for it");
        let mut elsewhere = task("fe80::77%other0", "2022", EngineChoice::Auto);
        elsewhere.spec = Arc::new(ScanSpec { discovery: Vec::new(), retries: Some(0), ..(*elsewhere.spec).clone() });
        assert!(finish(engine.scan(elsewhere).unwrap()).0.is_empty(), "another link");
    });
}

#[test]
fn a_neighbour_is_known_by_its_hardware_address_whichever_engine_asks() {
    let far = || ip("link set cable1 address 00:00:0c:aa:bb:cc");
    with_a_cable_to(far, || {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("oui"), "00000C Cisco Systems\n").unwrap();
        let engine = engine();
        engine.set_vendors(Vendors::read(&folder.path().join("oui")).unwrap());
        for (choice, ttl) in [(EngineChoice::Raw, Some(64)), (EngineChoice::Connect, None)] {
            let (records, _) = finish(engine.scan(task("10.9.0.2,10.77.0.3", "2022", choice)).unwrap());
            let of = |address: &str| {
                let record = records.iter().find(|host| host.address == address.parse::<IpAddr>().unwrap()).unwrap();
                record.identity.clone()
            };
            let near = of("10.9.0.2");
            assert_eq!(
                (near.mac, near.vendor.as_deref()),
                (Some(Mac([0, 0, 0x0c, 0xaa, 0xbb, 0xcc])), Some("Cisco Systems"))
            );
            assert_eq!((near.ttl, of("10.77.0.3").mac), (ttl, None), "{choice}");
        }
    });
}

#[test]
fn a_gateway_that_answers_no_arp_is_gone_through_where_its_address_is_fixed() {
    let far = || {
        ip("link set cable1 address 02:00:00:00:09:02");
        std::fs::write("/proc/sys/net/ipv4/conf/cable1/arp_ignore", "8").unwrap();
    };
    with_a_cable_to(far, || {
        let open = |choice| {
            let (records, outcome) = finish(engine().scan(task("10.9.0.2,10.77.0.3", "2022", choice)).unwrap());
            let open =
                records.iter().filter(|host| host.ports.iter().any(|port| port.state == PortState::Open)).count();
            (open, outcome.unwrap().progress.tally.not_probed.total())
        };
        // The host answers no question for its address: it is down, and what lies behind it was not probed.
        assert_eq!(open(EngineChoice::Raw), (0, 1));
        ip("neigh replace 10.9.0.2 lladdr 02:00:00:00:09:02 dev cable0 nud permanent");
        assert_eq!(open(EngineChoice::Raw), (2, 0));
        assert_eq!(open(EngineChoice::Connect), (2, 0));
    });
}

#[test]
fn a_link_that_has_just_come_up_is_waited_for_by_every_engine() {
    with_a_cable(|| {
        for choice in [EngineChoice::Raw, EngineChoice::Connect] {
            ip("link set cable0 down");
            ip("link set cable0 up");
            ip("route replace 10.77.0.0/24 via 10.9.0.2");
            let (records, outcome) = finish(engine().scan(task("10.77.0.3", "2022", choice)).unwrap());
            let not_probed = outcome.unwrap().progress.tally.not_probed;
            assert_eq!((records.len(), not_probed.total()), (1, 0), "{choice}: {not_probed}");
        }
    });
}
