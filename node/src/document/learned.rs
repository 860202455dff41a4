//! A request whose most common ports are those that were found open before: they are named in it, by number.

use pentora_scanner::port::{DEFAULT_TOP_PORTS, LearnedPorts, PortSet};

use super::ScanRequest;

impl ScanRequest {
    /// The request with the ports that `learned` puts first, as many as it asks for, and a note of what they were learned
    /// from: the results of so many scans. Where nothing was learned, its ports are the general ones, and the note says so.
    #[must_use]
    pub fn with_learned(self, learned: &LearnedPorts, scans: usize) -> (Self, String) {
        let request = Self { learned: false, ..self };
        if learned.is_empty() {
            return (
                request,
                "there are no results to learn from: the most common ports are those of the general order".into(),
            );
        }
        let udp = request.top_udp_ports;
        let tcp = request.top_ports.or(udp.is_none().then_some(DEFAULT_TOP_PORTS));
        let of_tcp = tcp.map(|count| learned.top_ports(count)).unwrap_or_default();
        let of_udp = udp.map(|count| learned.top_udp_ports(count)).unwrap_or_default();
        let ports: PortSet = of_tcp.iter().chain(of_udp.iter()).collect();
        let counted = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let note = format!(
            "learned from {}: {} that {} had open come first",
            counted(scans, "scan", "scans"),
            counted(learned.ports(), "port", "ports"),
            counted(learned.hosts(), "address", "addresses"),
        );
        (Self { ports: Some(ports.to_string()), top_ports: None, top_udp_ports: None, ..request }, note)
    }
}

#[cfg(test)]
mod tests {
    use pentora_scanner::port::Port;

    use super::*;

    fn named(request: ScanRequest) -> (String, String) {
        let mut learned = LearnedPorts::default();
        learned.add("10.0.0.1".parse().unwrap(), [Port::tcp(4711), Port::udp(4712)]);
        let (request, note) = ScanRequest { learned: true, ..request }.with_learned(&learned, 1);
        assert!(!request.learned && request.top_ports.is_none() && request.top_udp_ports.is_none());
        (request.ports.unwrap(), note)
    }

    #[test]
    fn learned_ports_stand_in_the_request_by_number() {
        let (ports, note) = named(ScanRequest { top_ports: Some(2), ..ScanRequest::default() });
        assert_eq!(ports, "80,4711");
        assert_eq!(note, "learned from 1 scan: 2 ports that 1 address had open come first");
        let both = ScanRequest { top_ports: Some(1), top_udp_ports: Some(1), ..ScanRequest::default() };
        let both: PortSet = named(both).0.parse().unwrap();
        assert_eq!(both, PortSet::from_iter([Port::tcp(4711), Port::udp(4712)]));
        let udp: PortSet = named(ScanRequest { top_udp_ports: Some(1), ..ScanRequest::default() }).0.parse().unwrap();
        assert_eq!(udp, PortSet::from_iter([Port::udp(4712)]));
        let silent: PortSet = named(ScanRequest::default()).0.parse().unwrap();
        assert_eq!((silent.count(), silent.contains(Port::tcp(4711))), (DEFAULT_TOP_PORTS, true));
    }

    #[test]
    fn without_results_the_order_is_the_general_one_and_that_is_said() {
        let asked = ScanRequest { top_ports: Some(9), learned: true, ..ScanRequest::default() };
        let (request, note) = asked.with_learned(&LearnedPorts::default(), 0);
        assert_eq!((request.top_ports, request.ports, request.learned), (Some(9), None, false));
        assert!(note.contains("no results to learn from"));
    }
}
