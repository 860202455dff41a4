//! Who is on an IPv6 link: an echo request to all nodes (`ff02::1`), and whoever answers it.
//!
//! Routers do not pass the request on (hop limit 1), and the answers come from the hosts themselves. It reaches everybody on the
//! link, so the gate has to let it through for all of them ([`crate::gate::Gate::denies_link`]). Some systems answer no request that
//! went to a group (RFC 4443 section 4.2 lets them); those are found only if the kernel knows them as neighbours.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};

use super::clock;
use super::raw::netlink;
use super::reach::UNICAST;
use crate::gate::{Denial, Gate, Stage};
use crate::target::{Attached, LinkRange, of_socket};

/// `ff02::1`, all nodes of a link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Echo request and echo reply (RFC 4443 section 4).
const REQUEST: u8 = 128;
const REPLY: u8 = 129;
/// Type, code, checksum, identifier, sequence number: what stands before the token that answers repeat.
const HEADER_BYTES: usize = 8;
/// How often it is asked, and how long for each: hosts hold an answer to a group back for up to half a second, and all of them
/// answer at once, so that some are lost.
const ROUNDS: u8 = 3;
const ROUND: Duration = Duration::from_millis(700);
/// Most hosts of one link: more than any link carries.
const HOSTS_MAX: usize = 65_536;
/// The main table of routes (linux/rtnetlink.h).
const MAIN: u32 = 254;

/// Who was found on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkHosts {
    /// Their addresses in the range, ascending; never one of this machine's own.
    pub hosts: Vec<IpAddr>,
    /// Why nobody was asked, so that they are those that the kernel knew already; `None` where all were.
    pub denied: Option<Denial>,
}

/// Why the hosts of a link are not known. Nothing was heard.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The interface does not carry packets.
    #[error("its interface is down, or has no cable")]
    Down,
    /// Answers go to an address of ours in their own network, and there is none.
    #[error("this machine has no address in it to ask from")]
    NoAddress,
    /// The kernel refused.
    #[error("the request to all nodes was not sent: {0}")]
    Unsent(#[from] io::Error),
}

/// The IPv6 networks on this machine's links, but link-local ones; none where they cannot be read.
#[must_use]
pub fn attached_links() -> Vec<Attached> {
    let routes = netlink::routes().unwrap_or_default();
    let on_link = routes.iter().filter(|route| route.table == MAIN && route.kind == UNICAST && route.gateway.is_none());
    let attached = on_link.filter_map(|route| match route.to {
        IpNet::V6(network) if !network.network().is_unicast_link_local() && !network.network().is_multicast() => {
            Some(Attached { network, interface: route.interface })
        }
        _ => None,
    });
    attached.collect()
}

/// Looks for the hosts of a link, as far as `gate` lets through what reaches all of them. Blocks for about two seconds.
///
/// # Errors
/// The link is down, or nothing could be sent.
pub fn find_link_hosts(link: &LinkRange, attached: &[Attached], gate: &Gate) -> Result<LinkHosts, LinkError> {
    let denied = gate.denies_link(&link.targets(), &link.reached(attached));
    let carries = |entry: &netlink::LinkEntry| entry.interface == link.interface && entry.carries();
    if !netlink::links()?.iter().any(carries) {
        return Err(LinkError::Down);
    }
    let mut hosts: BTreeSet<IpAddr> = BTreeSet::new();
    if denied.is_none() {
        ask(link, &mut hosts)?;
    }
    // A host that answers no group may have been spoken with.
    let known = netlink::neighbours()?.into_iter().filter(|entry| entry.interface == link.interface);
    hosts.extend(known.filter_map(|entry| link.with(entry.address)));
    hosts.retain(|address| gate.permits(*address, None, Stage::Name));
    Ok(LinkHosts { hosts: hosts.into_iter().take(HOSTS_MAX).collect(), denied })
}

/// Asks all nodes of a link, and adds those of the range that answer.
fn ask(link: &LinkRange, hosts: &mut BTreeSet<IpAddr>) -> Result<(), LinkError> {
    let socket = open(link)?;
    let to: SocketAddr = SocketAddrV6::new(ALL_NODES, 0, 0, link.interface).into();
    let mut token = [0; 8];
    getrandom::fill(&mut token).map_err(|error| io::Error::other(error.to_string()))?;
    for round in 0..ROUNDS {
        socket.send_to(&request(round, token), to)?;
        let until = clock::now() + ROUND;
        hear(&socket, until, |from, bytes| {
            if repeats(bytes, token) && hosts.len() < HOSTS_MAX {
                hosts.extend(link.with(of_socket(from)));
            }
        })?;
    }
    Ok(())
}

/// Hands on what arrives before a time.
fn hear(socket: &UdpSocket, until: Duration, mut heard: impl FnMut(SocketAddr, &[u8])) -> io::Result<()> {
    let mut buffer = [0; 256];
    loop {
        let left = until.saturating_sub(clock::now());
        if left.is_zero() {
            return Ok(());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => heard(from, buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A socket for echoes on a link: raw where this process may, or the kernel's own for pings.
fn open(link: &LinkRange) -> Result<UdpSocket, LinkError> {
    let of_kind = |kind| Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6));
    let socket = of_kind(Type::RAW).or_else(|_refused| of_kind(Type::DGRAM))?;
    socket.set_multicast_if_v6(link.interface)?;
    socket.set_multicast_hops_v6(1)?;
    socket.set_multicast_loop_v6(false)?;
    if let Some(own) = source(link)? {
        socket.bind(&SocketAddr::new(own, 0).into())?;
    }
    Ok(socket.into())
}

/// The address to ask from, so that those answer who have one in the same network; the kernel's choice is link-local.
fn source(link: &LinkRange) -> Result<Option<IpAddr>, LinkError> {
    let IpAddr::V6(last) = link.range.last else { return Ok(None) };
    if last.is_unicast_link_local() {
        return Ok(None);
    }
    // Nothing is sent by this: it shows which address the kernel would send from.
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    socket.connect((last, 9)).map_err(|_no_way| LinkError::NoAddress)?;
    link.with(socket.local_addr()?.ip()).map(Some).ok_or(LinkError::NoAddress)
}

/// An echo request; the kernel fills its checksum in, and of a socket for pings its identifier.
fn request(round: u8, token: [u8; 8]) -> [u8; HEADER_BYTES + 8] {
    let [a, b, c, d, e, f, g, h] = token;
    [REQUEST, 0, 0, 0, a, b, 0, round, a, b, c, d, e, f, g, h]
}

/// Whether this is an answer to a request with the token.
fn repeats(bytes: &[u8], token: [u8; 8]) -> bool {
    bytes.first() == Some(&REPLY) && bytes.get(HEADER_BYTES..HEADER_BYTES + token.len()) == Some(&token)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::io::cable::{self, ip};
    use crate::scope::{Permit, Permitted, Scope};
    use crate::spec::{Profile, ScanSpec};
    use crate::target::TargetSet;

    #[test]
    fn an_answer_repeats_the_token_of_its_request() {
        let token = [1, 2, 3, 4, 5, 6, 7, 8];
        let mut answer = request(2, token);
        assert_eq!((answer[0], answer[7], repeats(&answer, token)), (REQUEST, 2, false), "no answer");
        answer[0] = REPLY;
        assert!(repeats(&answer, token) && !repeats(&answer, [9; 8]));
        assert!(!repeats(&answer[..HEADER_BYTES + 7], token) && !repeats(&[], token));
    }

    fn gate(exclude: &str, profile: Profile) -> Gate {
        let permitted = Permitted { scope: Scope::default(), exclude: TargetSet::default() };
        let mut excluded = TargetSet::builder();
        excluded.add_exclusions(exclude, "test").unwrap();
        let spec = ScanSpec { exclude: excluded.build_uncounted().unwrap(), profile, ..ScanSpec::default() };
        Gate::new(Arc::new(spec), Arc::new(Permit::new(permitted)))
    }

    fn found(text: &str, gate: &Gate) -> Result<(Vec<String>, Option<Denial>), LinkError> {
        let mut builder = TargetSet::builder();
        builder.add_text(text, "test").unwrap();
        let [link] = builder.take_links(attached_links).try_into().unwrap();
        let LinkHosts { hosts, denied } = find_link_hosts(&link, &attached_links(), gate)?;
        Ok((hosts.iter().map(|host| crate::target::Zoned(*host).to_string()).collect(), denied))
    }

    /// How many echo requests the other machine has received, by its kernel's own count.
    fn echoes(seen: &str) -> u64 {
        let line = seen.lines().find(|line| line.starts_with("Icmp6InEchos "));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap()
    }

    #[test]
    fn the_hosts_of_a_link_are_those_that_answer_a_request_to_all_nodes() {
        let far = || {
            ip("link set cable1 addrgenmode none");
            ip("addr add fe80::77/64 dev cable1 nodad");
            ip("addr add fe80::78/64 dev cable1 nodad");
            ip("addr add fd99::2/64 dev cable1 nodad");
        };
        let near = || {
            ip("addr add fe80::1/64 dev cable0 nodad");
            ip("addr add fd99::1/64 dev cable0 nodad");
        };
        cable::with_a_cable(far, near, || {
            let whole = gate("", Profile::Default);
            let (hosts, denied) = found("fe80::/64%cable0", &whole).unwrap();
            assert!(hosts.iter().any(|host| host.starts_with("fe80::7")), "{hosts:?}");
            assert!(hosts.iter().all(|host| host.ends_with("%cable0") && host != "fe80::1%cable0"), "{hosts:?}");
            assert_eq!(denied, None);
            assert_eq!(found("fd99::/64", &whole).unwrap(), (vec!["fd99::2".to_owned()], None));
            for excluded in ["fe80::77%cable0", "fe80::77", "fd99::5", "fd99::/16"] {
                let (hosts, denied) = found("fd99::/64", &gate(excluded, Profile::Default)).unwrap();
                assert_eq!(denied, Some(Denial::Excluded), "{excluded}");
                let known: &[&str] = if excluded == "fd99::/16" { &[] } else { &["fd99::2"] };
                assert_eq!(hosts, known, "what the kernel knows by now, and not {excluded}");
            }
            assert_eq!(found("fd99::/64", &gate("", Profile::OtSafe)).unwrap().1, Some(Denial::OtSafe));
            assert_eq!(found("fd99::/64", &gate("10.0.0.0/8,fd98::/16", Profile::Default)).unwrap().1, None);
            ip("link set cable0 down");
            assert!(matches!(found("fe80::/64%cable0", &whole), Err(LinkError::Down)));
        });
    }

    #[test]
    fn nothing_is_sent_to_a_link_on_which_somebody_is_excluded() {
        let (asked_in, asked) = std::sync::mpsc::sync_channel::<()>(1);
        let (count_in, count) = std::sync::mpsc::sync_channel::<u64>(1);
        let far = move || {
            ip("addr add fd99::2/64 dev cable1 nodad");
            // The count is that of this thread's machine.
            std::thread::spawn(move || {
                for () in asked {
                    let seen = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
                    let _ = count_in.send(echoes(&seen));
                }
            })
        };
        cable::with_a_cable(
            far,
            || ip("addr add fd99::1/64 dev cable0 nodad"),
            move || {
                let seen = || {
                    asked_in.send(()).unwrap();
                    count.recv().unwrap()
                };
                found("fd99::/64", &gate("fd99::9", Profile::Default)).unwrap();
                found("fd99::/64", &gate("", Profile::OtSafe)).unwrap();
                assert_eq!(seen(), 0);
                found("fd99::/64", &gate("", Profile::Default)).unwrap();
                assert_eq!(seen(), u64::from(ROUNDS), "the count counts");
            },
        );
    }
}
