//! Which ports a request asks of every target, by its scan and by its discovery, and which it must not.

use pentora_scanner::port::{Port, PortSet};
use pentora_scanner::spec::{DiscoveryProbe, ScanSpec, parse_discovery};

use super::RefusedRequest;
use crate::document::ScanRequest;

/// Where a node that may only connect looks for the hosts of a scan without TCP ports, unless discovery names ports.
const FALLBACK_PORTS: [u16; 2] = [443, 80];

/// The ports of the scan and the probes of its discovery, none of them at an excluded port, and the excluded ones.
pub(super) fn ports_and_discovery(
    request: &ScanRequest,
) -> Result<(PortSet, Vec<DiscoveryProbe>, PortSet), RefusedRequest> {
    let (ports, discovery) = (ports_of(request)?, discovery_of(request)?);
    let Some(excluded) = &request.exclude_ports else { return Ok((ports, discovery, PortSet::default())) };
    let excluded = excluded.parse::<PortSet>().map_err(RefusedRequest::ExcludedPorts)?;
    let left = ports.exclude(&excluded);
    if left.is_empty() {
        return Err(RefusedRequest::Field("exclude_ports leaves no port to ask"));
    }
    let kept: Vec<_> = discovery.iter().copied().filter(|probe| !asks(*probe, &excluded)).collect();
    if kept.is_empty() && !discovery.is_empty() {
        return Err(RefusedRequest::Field("exclude_ports leaves no discovery probe: name others, or turn it off"));
    }
    let falls_back = left.tcp_count() == 0 && !kept.iter().any(|probe| port_of(*probe).is_some());
    if falls_back && FALLBACK_PORTS.iter().any(|port| excluded.contains(Port::tcp(*port))) {
        return Ok((left, Vec::new(), excluded));
    }
    Ok((left, kept, excluded))
}

fn asks(probe: DiscoveryProbe, ports: &PortSet) -> bool {
    port_of(probe).is_some_and(|port| ports.contains(port))
}

fn port_of(probe: DiscoveryProbe) -> Option<Port> {
    match probe {
        DiscoveryProbe::Syn(port) | DiscoveryProbe::Ack(port) => Some(Port::tcp(port)),
        DiscoveryProbe::Link | DiscoveryProbe::Echo | DiscoveryProbe::Timestamp => None,
    }
}

fn ports_of(request: &ScanRequest) -> Result<PortSet, RefusedRequest> {
    if request.learned && request.ports.is_some() {
        return Err(RefusedRequest::Field("learned goes with top_ports, not with ports"));
    }
    let tcp = match (&request.ports, request.top_ports) {
        (Some(_), Some(_)) => Err(RefusedRequest::Field("ports and top_ports exclude each other")),
        (Some(ports), None) => Ok(ports.parse::<PortSet>()?),
        (None, Some(0)) => Err(RefusedRequest::Field("top_ports must be at least 1")),
        (None, Some(count)) => Ok(PortSet::top_ports(count)),
        // Who asks for UDP ports alone has said what is to be asked.
        (None, None) if request.top_udp_ports.is_some() => Ok(PortSet::default()),
        (None, None) => Ok(ScanSpec::default().ports),
    }?;
    match request.top_udp_ports {
        None => Ok(tcp),
        Some(0) => Err(RefusedRequest::Field("top_udp_ports must be at least 1")),
        Some(count) => Ok(tcp.iter().chain(PortSet::top_udp_ports(count).iter()).collect()),
    }
}

fn discovery_of(request: &ScanRequest) -> Result<Vec<DiscoveryProbe>, RefusedRequest> {
    match (request.discovery, &request.discovery_probes) {
        (false, Some(_)) => Err(RefusedRequest::Field("discovery is turned off and has probes")),
        (false, None) => Ok(Vec::new()),
        (true, Some(probes)) => Ok(parse_discovery(probes)?),
        (true, None) => Ok(ScanSpec::default().discovery),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(ports: &str, excluded: &str, probes: Option<&str>) -> Result<(String, String), String> {
        let request = ScanRequest {
            ports: Some(ports.into()),
            exclude_ports: Some(excluded.into()),
            discovery_probes: probes.map(str::to_owned),
            ..ScanRequest::default()
        };
        let (ports, discovery, _) = ports_and_discovery(&request).map_err(|error| error.to_string())?;
        let words: Vec<String> = discovery.iter().map(ToString::to_string).collect();
        Ok((ports.to_string(), words.join(",")))
    }

    #[test]
    fn an_excluded_port_is_asked_by_nothing_not_even_by_discovery() {
        let (ports, discovery) = asked("1-100,U:53", "80,U:1-52", None).unwrap();
        assert_eq!((ports.as_str(), discovery.as_str()), ("T:1-79,81-100,U:53", "arp,echo,syn443,timestamp"));
        let (ports, discovery) = asked("22,80", "T:443,U:22", Some("syn22,ack443")).unwrap();
        assert_eq!((ports.as_str(), discovery.as_str()), ("22,80", "syn22"));
        assert_eq!(asked("9100-9110", "jetdirect,9101-9107", None).unwrap().0, "9108-9110");
    }

    #[test]
    fn a_scan_without_tcp_ports_does_not_look_at_an_excluded_one_by_default() {
        assert_eq!(asked("U:53", "80,443", None).unwrap(), ("U:53".to_owned(), String::new()), "every target is asked");
        assert_eq!(asked("U:53", "80", None).unwrap().1, "arp,echo,syn443,timestamp");
        assert_eq!(asked("U:53", "80,443", Some("echo,syn22")).unwrap().1, "echo,syn22");
    }

    #[test]
    fn exclusions_that_leave_nothing_or_are_none_are_refused() {
        assert_eq!(asked("22", "1-100", None).unwrap_err(), "exclude_ports leaves no port to ask");
        assert!(asked("22", "443", Some("syn443")).unwrap_err().contains("no discovery probe"));
        assert!(asked("22", "80,x:1", None).unwrap_err().starts_with("exclude_ports:4: "));
        assert!(asked("22", "", None).unwrap_err().starts_with("exclude_ports:1: "));
    }
}
