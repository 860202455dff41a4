//! How a URL names a host: by its name where it was given as one, with the port where the scheme has another.
//!
//! Whoever was asked for by name is asked by that name: servers have several sites behind one address, and the one that
//! was meant is the one that is looked at.

use std::net::{IpAddr, SocketAddr};

/// The name or address of a host, as a URL has it; without a port.
pub(crate) fn host(name: Option<&str>, address: IpAddr) -> String {
    // A name that could break a request is not one; it came from the user's list of targets.
    let name = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
    match (name, address) {
        (Some(name), _) => name.to_owned(),
        (None, IpAddr::V4(address)) => address.to_string(),
        (None, IpAddr::V6(address)) => format!("[{address}]"),
    }
}

/// What a browser sends as `Host` (RFC 9110 section 7.2): the port is left out where the scheme's own is asked.
pub(crate) fn host_header(name: Option<&str>, target: SocketAddr, is_tls: bool) -> String {
    let host = host(name, target.ip());
    match target.port() == if is_tls { 443 } else { 80 } {
        true => host,
        false => format!("{host}:{}", target.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_as_a_browser_does() {
        let header = |name, target: &str, is_tls| host_header(name, target.parse().unwrap(), is_tls);
        assert_eq!(header(Some("a.lab"), "10.0.0.1:80", false), "a.lab");
        assert_eq!(header(Some("a.lab"), "10.0.0.1:80", true), "a.lab:80");
        assert_eq!(header(Some("a.lab"), "10.0.0.1:8443", true), "a.lab:8443");
        assert_eq!(header(None, "10.0.0.1:443", true), "10.0.0.1");
        assert_eq!(header(None, "[::1]:8080", false), "[::1]:8080");
        assert_eq!(header(Some("a\r\nX: b"), "10.0.0.1:80", false), "10.0.0.1");
    }
}
