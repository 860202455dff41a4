//! Records made of findings in any order.

use super::*;
use crate::port::PortSet;

fn finding(address: &str, observation: Observation) -> Finding {
    Finding { target_index: 0, address: address.parse().unwrap(), name: None, observation }
}

fn origin(worker: &str) -> Origin<'_> {
    Origin { started_at_ms: 7, ended_at_ms: 9, worker, tcp: Some(TcpScan::Syn) }
}

#[test]
fn a_port_that_answers_after_all_is_silent_no_longer() {
    let silent = |ports: &str| Observation::Ports {
        ports: Box::new(ports.parse().unwrap()),
        state: PortState::Filtered,
        reason: Reason::NoResponse,
    };
    let open = |port| Observation::Port {
        port: Port::tcp(port),
        state: PortState::Open,
        reason: Reason::SynAck,
        ttl: None,
        stack: None,
    };
    let answered = |port| Observation::Answered { port: Port::tcp(port) };
    let records = fold([open(22), silent("80-179"), answered(80), open(80)]);
    let ports: Vec<u16> = records[0].ports.iter().map(|port| port.port).collect();
    assert_eq!((ports, records[0].not_shown[0].count), (vec![22, 80], 99));
    let records = fold([open(22), silent("80,81"), answered(80), open(80), answered(22)]);
    let states: Vec<(u16, PortState)> = records[0].ports.iter().map(|port| (port.port, port.state)).collect();
    assert_eq!(states, [(22, PortState::Open), (80, PortState::Open), (81, PortState::Filtered)]);
    let records = fold([open(22), silent("80-105"), answered(90), open(90), silent("80")]);
    assert_eq!(records[0].not_shown[0].count, 26);
}

#[test]
fn what_was_learnt_beside_the_ports_is_in_the_record() {
    let mac = crate::finding::Mac([2, 0, 0, 0, 0, 1]);
    let answer =
        |ttl, state| Observation::Port { port: Port::tcp(80), state, reason: Reason::SynAck, ttl, stack: None };
    let records = fold([
        answer(Some(250), PortState::Filtered),
        answer(Some(64), PortState::Open),
        Observation::Hardware { mac, vendor: Some(Arc::from("Example Corp")) },
        Observation::Hardware { mac, vendor: None },
        Observation::ReverseDns { name: Arc::from("a.example") },
    ]);
    let expected = Identity {
        ttl: Some(64),
        mac: Some(mac),
        vendor: Some("Example Corp".to_owned()),
        reverse_dns: Some("a.example".to_owned()),
        zone: None,
    };
    assert_eq!(records[0].identity, expected);
    assert_eq!((records[0].ended_at_ms, records[0].tcp), (9, Some(TcpScan::Syn)));
    assert!(fold([Observation::ReverseDns { name: Arc::from("a.example") }]).is_empty(), "a name is no answer");
}

fn port(number: u16, state: PortState, reason: Reason) -> Observation {
    Observation::Port { port: Port::tcp(number), state, reason, ttl: None, stack: None }
}

fn fold(observations: impl IntoIterator<Item = Observation>) -> Vec<HostRecord> {
    let mut fold = Fold::new();
    for observation in observations {
        fold.add(finding("10.0.0.1", observation));
    }
    fold.finish(origin("wrk_a")).collect()
}

#[test]
fn a_host_that_never_answered_is_no_record() {
    assert!(fold([port(80, PortState::Filtered, Reason::HostUnreach)]).is_empty());
    assert!(
        fold([Observation::Ports {
            ports: Box::new("1-100".parse().unwrap()),
            state: PortState::Filtered,
            reason: Reason::NoResponse
        }])
        .is_empty()
    );
}

#[test]
fn open_ports_are_listed_with_banner_and_usual_service() {
    let records = fold([
        Observation::Banner { port: Port::tcp(22), banner: "SSH-2.0-x".to_owned() },
        port(443, PortState::Open, Reason::SynAck),
        port(22, PortState::Open, Reason::SynAck),
    ]);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].state, records[0].reason), (HostState::Up, Reason::SynAck));
    assert_eq!((records[0].started_at_ms, records[0].worker.as_str()), (7, "wrk_a"));
    assert_eq!(records[0].ports.iter().map(|port| port.port).collect::<Vec<_>>(), [22, 443]);
    assert_eq!(records[0].ports[0].banner.as_deref(), Some("SSH-2.0-x"));
    assert_eq!(records[0].ports[0].service_or_guess().map(|service| service.name.clone()).as_deref(), Some("ssh"));
    assert!(records[0].ports[0].service.is_none(), "a guess takes no memory");
}

#[test]
fn few_ports_of_a_state_are_listed_and_many_are_counted() {
    let few = fold((1..=25).map(|number| port(number, PortState::Closed, Reason::ConnRefused)));
    assert_eq!((few[0].ports.len(), few[0].not_shown.len()), (25, 0));
    let many = fold((1..=40).map(|number| port(number, PortState::Closed, Reason::ConnRefused)));
    assert_eq!(many[0].ports.len(), 0);
    assert_eq!(many[0].not_shown, [NotShown { state: PortState::Closed, reason: Reason::ConnRefused, count: 40 }]);
}

#[test]
fn one_state_is_listed_or_counted_as_a_whole_and_apart_from_others() {
    let silent = Observation::Ports {
        ports: Box::new("1000-1100".parse::<PortSet>().unwrap()),
        state: PortState::Filtered,
        reason: Reason::NoResponse,
    };
    let records = fold([
        port(1, PortState::Filtered, Reason::AdminProhibited),
        port(2, PortState::Closed, Reason::ConnRefused),
        silent,
        port(3, PortState::Filtered, Reason::AdminProhibited),
    ]);
    assert_eq!(records[0].ports.iter().map(|port| port.port).collect::<Vec<_>>(), [2]);
    let counts: Vec<_> = records[0].not_shown.iter().map(|group| (group.reason, group.count)).collect();
    assert_eq!(counts, [(Reason::NoResponse, 101), (Reason::AdminProhibited, 2)]);
}

#[test]
fn open_ports_of_a_host_that_answers_on_everything_are_counted_and_nothing_is_made_of_them() {
    let udp = Observation::Port {
        port: Port::udp(53),
        state: PortState::Open,
        reason: Reason::UdpResponse,
        ttl: None,
        stack: None,
    };
    let service = Arc::new(Service { name: "http".to_owned(), ..Service::default() });
    let mut told: Vec<_> = (1..=2000).map(|number| port(number, PortState::Open, Reason::SynAck)).collect();
    told.push(Observation::Service { port: Port::tcp(80), service });
    told.extend([udp, Observation::Middlebox, port(113, PortState::Closed, Reason::Reset)]);
    let records = fold(told);
    assert!(records[0].is_middlebox);
    let listed: Vec<_> = records[0].ports.iter().map(|port| (port.port, port.protocol)).collect();
    assert_eq!(listed, [(113, Protocol::Tcp), (53, Protocol::Udp)]);
    let open = NotShown { state: PortState::Open, reason: Reason::SynAck, count: 1999 };
    assert!(records[0].not_shown.contains(&open), "{:?}", records[0].not_shown);
}

#[test]
fn open_ports_of_a_redirected_range_are_counted_and_those_outside_are_listed() {
    let mut told: Vec<_> = (1..=500).map(|number| port(number, PortState::Open, Reason::SynAck)).collect();
    told.push(port(8080, PortState::Open, Reason::SynAck));
    told.push(port(700, PortState::Closed, Reason::Reset));
    for (first, last) in [(2, 400), (800, 900), (1, 500), (501, 510)] {
        told.push(Observation::Redirected { first, last, open: 1 });
    }
    told.push(Observation::Stopped { probes: 44 });
    let records = fold(told);
    let listed: Vec<_> = records[0].ports.iter().map(|port| port.port).collect();
    assert_eq!((listed, &records[0].redirected[..]), (vec![700, 8080], &[(1, 510), (800, 900)][..]));
    assert_eq!(records[0].open_ports().count(), 1);
    let open = NotShown { state: PortState::Open, reason: Reason::SynAck, count: 500 };
    assert_eq!((&records[0].not_shown[..], records[0].stopped_after_probes), (&[open][..], Some(44)));
}

#[test]
fn records_come_by_address_and_keep_names_apart() {
    let mut fold = Fold::new();
    for (address, name) in [("10.0.0.9", None), ("10.0.0.1", Some("b")), ("10.0.0.1", Some("a"))] {
        let observation = Observation::Host { state: HostState::Up, reason: Reason::ConnRefused };
        fold.add(Finding { name: name.map(Arc::from), ..finding(address, observation) });
    }
    assert_eq!(fold.hosts_up(), 3);
    let rows: Vec<_> = fold.finish(origin("w")).map(|host| (host.address.to_string(), host.name)).collect();
    let row = |address: &str, name: Option<&str>| (address.to_owned(), name.map(str::to_owned));
    assert_eq!(rows, [row("10.0.0.1", Some("a")), row("10.0.0.1", Some("b")), row("10.0.0.9", None)]);
}
