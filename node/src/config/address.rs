//! Addresses of other nodes as an operator writes them.

use std::net::IpAddr;

/// The mesh's port where none is written (ours).
pub const DEFAULT_MESH_PORT: u16 = 7400;

/// Reads `host`, `host:port`, `[v6]:port`, or the `http(s)://host...` of the original description, and gives
/// `host:port` of that node's mesh listener. An API address has another port than the mesh, so its port is dropped and
/// the mesh's default taken.
///
/// # Errors
/// A sentence fragment saying what is wrong with the host or the port.
pub fn peer_address(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = split_port(authority)?.host;
        return Ok(join(&checked_host(host)?, DEFAULT_MESH_PORT));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("`{scheme}://` is not an address of a node: write host:port, or https://host"));
    }
    let HostPort { host, port } = split_port(text)?;
    Ok(join(&checked_host(host)?, port.unwrap_or(DEFAULT_MESH_PORT)))
}

/// The same where the address may be an API's: one with a scheme stays as it is, `scheme://host[:port]`, because what is
/// asked there is asked at that port.
///
/// # Errors
/// As [`peer_address`].
pub(super) fn coordinator_address(text: &str) -> Result<String, String> {
    let mesh = peer_address(text)?;
    let text = text.trim();
    for scheme in ["https://", "http://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return Ok(format!("{scheme}{}", rest.split(['/', '?', '#']).next().unwrap_or_default()));
        }
    }
    Ok(mesh)
}

/// A host as written, and its port where there is one.
struct HostPort<'a> {
    host: &'a str,
    port: Option<u16>,
}

/// Parts `host:port`; an IPv6 address needs brackets only where a port follows.
fn split_port(text: &str) -> Result<HostPort<'_>, String> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(HostPort { host: text, port: None });
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, tail)) => (host, tail.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(format!("`{digits}` is not a port: 1 to 65535")),
        },
    };
    Ok(HostPort { host, port })
}

/// An address that names a machine, or a DNS name (RFC 1123 section 2.1: letters, digits, hyphens, up to 253 long).
fn checked_host(host: &str) -> Result<String, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        if address.is_unspecified() {
            return Err(format!("`{host}` names no machine: write the address under which the node is reached"));
        }
        return Ok(address.to_string());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let looks_numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if host.is_empty() || host.len() > 253 || looks_numeric || !host.split('.').all(label) {
        return Err(format!("`{host}` is neither an address nor a host name"));
    }
    Ok(host.to_owned())
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_node_gives_its_mesh_address() {
        for (text, expected) in [
            ("10.88.0.1:7400", "10.88.0.1:7400"),
            ("10.88.0.1", "10.88.0.1:7400"),
            ("n1.example.com:9000", "n1.example.com:9000"),
            ("[fd00::1]:7401", "[fd00::1]:7401"),
            ("fd00::1", "[fd00::1]:7400"),
            ("[fd00::1]", "[fd00::1]:7400"),
            ("https://pentora-coordinator.example.com", "pentora-coordinator.example.com:7400"),
            ("https://pentora-coordinator:8080", "pentora-coordinator:7400"),
            ("http://10.0.0.1:8080/api/v1", "10.0.0.1:7400"),
        ] {
            assert_eq!(peer_address(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_node_is_refused() {
        for text in [
            "",
            ":7400",
            "0.0.0.0:7400",
            "a b",
            "host:0",
            "host:70000",
            "host:x",
            "10.0.0.300",
            "-x",
            "redis://h",
            "h:1:2",
        ] {
            assert!(peer_address(text).is_err(), "{text}");
        }
    }
}
