//! Where packets may go: the networks that someone authorised.
//!
//! A scope is checked when a job is admitted, when a lease is granted, and by the engine before each send
//! ([`Scope::contains`] is a binary search). Nothing else in this crate decides whether an address may be scanned.

mod permit;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use self::permit::NotPermitted;
pub use self::permit::{Permit, Permitted};
use crate::target::address_set::{AddressSet, range4, range6};
use crate::target::{AddressRange, TargetSet};

/// Networks allowed when nobody has said anything: the machine itself and private space. Each belongs to whoever
/// runs the network it is used on, which cannot be said of any other address.
const DEFAULT_NETS: [&str; 8] = [
    "127.0.0.0/8",    // loopback, RFC 1122 section 3.2.1.3
    "10.0.0.0/8",     // private use, RFC 1918
    "172.16.0.0/12",  // private use, RFC 1918
    "192.168.0.0/16", // private use, RFC 1918
    "169.254.0.0/16", // link-local, RFC 3927
    "::1/128",        // loopback, RFC 4291
    "fc00::/7",       // unique local, RFC 4193
    "fe80::/10",      // link-local, RFC 4291
];

/// The addresses that may be scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<IpNet>", into = "Vec<IpNet>")]
pub struct Scope {
    nets: Vec<IpNet>,
    addresses: AddressSet,
}

impl Scope {
    /// A scope of exactly these networks; of no address when there is none.
    #[must_use]
    pub fn new(nets: &[IpNet]) -> Self {
        let nets = IpNet::aggregate(&nets.to_vec());
        Self { addresses: AddressSet::from_nets(&nets), nets }
    }

    /// The networks, aggregated.
    #[must_use]
    pub fn nets(&self) -> &[IpNet] {
        &self.nets
    }

    /// Whether packets may be sent to an address. An IPv4-mapped IPv6 address is the IPv4 address in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(address)
    }

    /// Checks that every address of a set is inside. Names are checked when they are resolved.
    ///
    /// # Errors
    /// The first range outside, and how to allow it.
    pub fn check(&self, targets: &TargetSet) -> Result<(), ScopeError> {
        let addresses = targets.addresses();
        let v4 = addresses.v4.first_outside(&self.addresses.v4).map(range4);
        let outside = v4.or_else(|| addresses.v6.first_outside(&self.addresses.v6).map(range6));
        outside.map_or(Ok(()), |outside| Err(ScopeError { outside, scope: self.to_string() }))
    }

    /// The addresses that both scopes allow: how a node's own file narrows the cluster's scope.
    #[must_use]
    pub fn narrow(&self, other: &Self) -> Self {
        let nets = self.nets.iter().flat_map(|net| other.nets.iter().filter_map(|other| overlap(*net, *other)));
        Self::new(&nets.collect::<Vec<_>>())
    }
}

/// Two networks are either apart or one inside the other.
fn overlap(a: IpNet, b: IpNet) -> Option<IpNet> {
    if a.contains(&b) { Some(b) } else { b.contains(&a).then_some(a) }
}

impl Default for Scope {
    /// Loopback, RFC 1918, link-local and unique local addresses.
    fn default() -> Self {
        let nets = DEFAULT_NETS.map(|net| net.parse().expect("the default networks are written correctly"));
        Self::new(&nets)
    }
}

impl From<Vec<IpNet>> for Scope {
    fn from(nets: Vec<IpNet>) -> Self {
        Self::new(&nets)
    }
}

impl From<Scope> for Vec<IpNet> {
    fn from(scope: Scope) -> Self {
        scope.nets
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for net in &self.nets {
            write!(f, "{separator}{net}")?;
            separator = ", ";
        }
        if self.nets.is_empty() { f.write_str("no network") } else { Ok(()) }
    }
}

/// Targets reach outside the scope; nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{outside} is outside the authorised scope ({scope})")]
pub struct ScopeError {
    /// The first range that is not allowed.
    pub outside: AddressRange,
    /// The scope, printed.
    pub scope: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> TargetSet {
        text.parse().unwrap()
    }

    fn nets(text: &str) -> Vec<IpNet> {
        text.split(',').map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn the_default_scope_is_private_space_and_nothing_else() {
        let scope = Scope::default();
        for inside in ["127.0.0.1", "10.255.255.255", "172.31.0.1", "192.168.7.7", "169.254.1.1", "::1", "fd00::1"] {
            assert!(scope.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["8.8.8.8", "172.32.0.1", "192.169.0.0", "0.0.0.0", "224.0.0.1", "2001:db8::1", "::", "::ffff:8.8.8.8"]
        {
            assert!(!scope.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(scope.contains("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_error_names_the_first_range_outside_and_the_way_in() {
        let error = Scope::default().check(&targets("10.0.0.0/8,11.0.0.0/24,12.0.0.1,name.example")).unwrap_err();
        assert_eq!(error.outside.to_string(), "11.0.0.0/24");
        assert!(error.to_string().contains("11.0.0.0/24 is outside the authorised scope (10.0.0.0/8, "), "{error}");
        let error = Scope::default().check(&targets("172.31.255.0-172.32.0.3")).unwrap_err();
        assert_eq!(error.outside.to_string(), "172.32.0.0/30", "only what is outside is named");
        assert!(Scope::default().check(&targets("10.0.0.0/8,::1,name.example")).is_ok());
    }

    #[test]
    fn narrowing_never_allows_more() {
        let narrowed = Scope::default().narrow(&Scope::new(&nets("10.1.0.0/16,8.0.0.0/8,fd00::/8")));
        assert_eq!(narrowed.to_string(), "10.1.0.0/16, fd00::/8");
        assert_eq!(Scope::new(&[]).narrow(&Scope::default()).to_string(), "no network");
    }

    #[test]
    fn an_ipv6_network_around_the_mapped_block_allows_ipv4_only_where_it_says_so() {
        assert!(!Scope::new(&nets("::1/128")).contains("127.0.0.1".parse().unwrap()));
        assert!(Scope::new(&nets("::ffff:10.0.0.0/104")).contains("10.0.0.1".parse().unwrap()));
    }
}
