//! Probes as packets, from templates: what changes from probe to probe is written in, and added to a sum taken once.
//!
//! SYNs are what a scan is made of, so theirs is the short way; the others take the same one or are put together whole.

use std::net::IpAddr;

use super::checksum::{fold, sum, sum_address, sum32};
use super::probe::Probe;

/// Bytes of the longest probe: an IPv6 header and a SYN with a segment size.
pub const PACKET_BYTES: usize = 64;
/// Bytes of the headers of IPv4 and IPv6, without options.
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
/// Bytes of a TCP header.
const TCP_BYTES: usize = 20;
/// Protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// Room for the longest probe that any link of IPv4 must carry (RFC 791): nothing smaller is believed.
const MTU_MIN: u32 = 576;

/// All that probes from one source address have in common.
#[derive(Debug, Clone)]
pub struct Template {
    from: IpAddr,
    syn: Tcp,
    ack: Tcp,
    rst: Tcp,
}

/// A segment without ports, numbers, destination and checksums.
#[derive(Debug, Clone)]
struct Tcp {
    bytes: [u8; PACKET_BYTES],
    length: usize,
    ip_sum: u32,
    tcp_sum: u32,
}

/// What is particular to one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Particulars {
    /// What it asks.
    pub probe: Probe,
    /// Destination address, of the same family as the source.
    pub to: IpAddr,
    /// Source port, or identifier.
    pub lane: u16,
    /// What it says to itself.
    pub cookie: u32,
}

impl Template {
    /// Probes from a source address, over a path that takes packets of `mtu` bytes.
    #[must_use]
    pub fn new(from: IpAddr, mtu: u32) -> Self {
        // Without options.
        let headers = if from.is_ipv4() { 40 } else { 60 };
        let segment = u16::try_from(mtu.clamp(MTU_MIN, 65_535)).unwrap_or(u16::MAX) - headers;
        let [high, low] = segment.to_be_bytes();
        // SYN, the window of a Linux client; then a segment size (RFC 9293 section 3.7.1), without which some firewalls
        // take a SYN for a forged one.
        let syn = Tcp::new(from, &[0x60, 0x02, 0xfa, 0xf0, 0, 0, 0, 0, 2, 4, high, low]);
        let bare = |flags| Tcp::new(from, &[0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        Self { from, syn, ack: bare(0x10), rst: bare(0x04) }
    }

    /// Writes one probe and returns its length: 0 for a destination of the other family, and for a timestamp over IPv6,
    /// which are no probes.
    pub fn write(&self, probe: &Particulars, out: &mut [u8; PACKET_BYTES]) -> usize {
        if probe.to.is_ipv4() != self.from.is_ipv4() {
            return 0;
        }
        match probe.probe {
            Probe::Syn(port) => self.syn.write(port, probe, out),
            Probe::Ack(port) => {
                let length = self.ack.write(port, probe, out);
                acknowledge(length, probe.cookie, out);
                length
            }
            Probe::Echo => self.write_icmp(if self.from.is_ipv4() { 8 } else { 128 }, 4, probe, out),
            Probe::Timestamp if self.from.is_ipv4() => self.write_icmp(13, 12, probe, out),
            Probe::Timestamp => 0,
        }
    }

    /// Writes the reset that ends the flow which a SYN or an ACK has opened, and returns its length: 0 for any other probe, which
    /// opens none that could be ended.
    pub fn write_reset(&self, probe: &Particulars, out: &mut [u8; PACKET_BYTES]) -> usize {
        let (port, cookie) = match probe.probe {
            // A SYN counts as one byte (RFC 9293 section 3.4).
            Probe::Syn(port) => (port, probe.cookie.wrapping_add(1)),
            Probe::Ack(port) => (port, probe.cookie),
            Probe::Echo | Probe::Timestamp => return 0,
        };
        if probe.to.is_ipv4() != self.from.is_ipv4() {
            return 0;
        }
        self.rst.write(port, &Particulars { cookie, ..*probe }, out)
    }

    /// An ICMP query: identifier, sequence number, and the cookie as the first of `data` bytes.
    fn write_icmp(&self, kind: u8, data: usize, probe: &Particulars, out: &mut [u8; PACKET_BYTES]) -> usize {
        let is_v4 = self.from.is_ipv4();
        let (header, length) = (header_bytes(self.from), 8 + data);
        *out = ip_header(self.from, if is_v4 { ICMP } else { ICMPV6 }, length);
        put_destination(probe.to, out);
        let cookie = probe.cookie.to_be_bytes();
        put(out, header, &[kind]);
        put(out, header + 4, &probe.lane.to_be_bytes());
        // The lower half of the cookie is the sequence number: it differs from one moment to the next.
        put(out, header + 6, cookie.get(2..).unwrap_or_default());
        put(out, header + 8, &cookie);
        let message = sum(out.get(header..header + length).unwrap_or_default());
        let pseudo = sum_address(self.from) + sum_address(probe.to) + u32::from(ICMPV6) + sum_length(length);
        put(out, header + 2, &fold(message + if is_v4 { 0 } else { pseudo }).to_be_bytes());
        if is_v4 {
            let checksum = fold(sum(out.get(..IPV4_BYTES).unwrap_or_default()));
            put(out, 10, &checksum.to_be_bytes());
        }
        header + length
    }
}

impl Tcp {
    /// A segment from a source address; `rest` is its header from the data offset on.
    fn new(from: IpAddr, rest: &[u8]) -> Self {
        let (header, length) = (header_bytes(from), 12 + rest.len());
        let mut bytes = ip_header(from, TCP, length);
        put(&mut bytes, header + 12, rest);
        let (ip, tcp) = bytes.split_at(header);
        // The pseudo header of RFC 9293 section 3.1: addresses, protocol and length.
        let tcp_sum = sum(tcp) + sum_address(from) + u32::from(TCP) + sum_length(length);
        Self { length: header + length, ip_sum: sum(ip), tcp_sum, bytes }
    }

    fn write(&self, port: u16, probe: &Particulars, out: &mut [u8; PACKET_BYTES]) -> usize {
        let Particulars { to, lane, cookie, .. } = *probe;
        *out = self.bytes;
        put_destination(to, out);
        let to_sum = sum_address(to);
        let at = if to.is_ipv4() {
            put(out, 10, &fold(self.ip_sum + to_sum).to_be_bytes());
            IPV4_BYTES
        } else {
            IPV6_BYTES
        };
        put(out, at, &lane.to_be_bytes());
        put(out, at + 2, &port.to_be_bytes());
        put(out, at + 4, &cookie.to_be_bytes());
        let tcp_sum = self.tcp_sum + to_sum + u32::from(lane) + u32::from(port) + sum32(cookie);
        put(out, at + 16, &fold(tcp_sum).to_be_bytes());
        self.length
    }
}

/// Writes the acknowledged number into an ACK of this length: a reset takes its own number from it.
fn acknowledge(length: usize, cookie: u32, out: &mut [u8; PACKET_BYTES]) {
    let at = length - TCP_BYTES;
    put(out, at + 8, &cookie.to_be_bytes());
    let old = out.get(at + 16..at + 18).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
    // RFC 1624: what was zero before is now the cookie.
    put(out, at + 16, &fold(u32::from(!old) + sum32(cookie)).to_be_bytes());
}

fn header_bytes(from: IpAddr) -> usize {
    if from.is_ipv4() { IPV4_BYTES } else { IPV6_BYTES }
}

/// A header without destination and checksum, for so many bytes after it: an atomic datagram, which needs no
/// identification (RFC 6864); time to live 64.
fn ip_header(from: IpAddr, protocol: u8, length: usize) -> [u8; PACKET_BYTES] {
    let mut bytes = [0; PACKET_BYTES];
    let all = u8::try_from(length).expect("a probe is short");
    match from {
        IpAddr::V4(from) => {
            let total = u8::try_from(IPV4_BYTES + length).expect("a probe is short");
            put(&mut bytes, 0, &[0x45, 0, 0, total, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            put(&mut bytes, 12, &from.octets());
        }
        IpAddr::V6(from) => {
            put(&mut bytes, 0, &[0x60, 0, 0, 0, 0, all, protocol, 64]);
            put(&mut bytes, 8, &from.octets());
        }
    }
    bytes
}

fn put_destination(to: IpAddr, out: &mut [u8; PACKET_BYTES]) {
    match to {
        IpAddr::V4(to) => put(out, 16, &to.octets()),
        IpAddr::V6(to) => put(out, 24, &to.octets()),
    }
}

/// A length below 65,536 as it counts in a pseudo header.
fn sum_length(length: usize) -> u32 {
    u32::try_from(length).expect("a probe is short")
}

fn put(bytes: &mut [u8; PACKET_BYTES], at: usize, what: &[u8]) {
    bytes.get_mut(at..at + what.len()).expect("every offset here is inside the packet").copy_from_slice(what);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(from: IpAddr, mtu: u32, particulars: &Particulars) -> Vec<u8> {
        let mut bytes = [0xaa; PACKET_BYTES];
        let length = Template::new(from, mtu).write(particulars, &mut bytes);
        bytes[..length].to_vec()
    }

    #[test]
    fn a_known_packet_comes_out_byte_for_byte() {
        // Put together by hand from RFC 791 and RFC 9293; both checksums computed by an independent program.
        let to = "10.77.1.2".parse().unwrap();
        let syn = Particulars { probe: Probe::Syn(443), to, lane: 61_000, cookie: 0x1234_5678 };
        let expected = [
            0x45, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x25, 0x31, 0x0a, 0x4c, 0x00, 0x01, 0x0a, 0x4d,
            0x01, 0x02, 0xee, 0x48, 0x01, 0xbb, 0x12, 0x34, 0x56, 0x78, 0x00, 0x00, 0x00, 0x00, 0x60, 0x02, 0xfa, 0xf0,
            0x2e, 0xea, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4,
        ];
        assert_eq!(written("10.76.0.1".parse().unwrap(), 1500, &syn), expected);
    }

    #[test]
    fn the_segment_size_follows_the_path_and_no_probe_crosses_families() {
        let (v4, v6) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        let syn = |to| Particulars { probe: Probe::Syn(80), to, lane: 1, cookie: 2 };
        assert_eq!(written(v4, 1400, &syn(v4))[42..], 1360_u16.to_be_bytes());
        assert_eq!(written(v6, 1280, &syn(v6))[62..], 1220_u16.to_be_bytes());
        assert!(written(v4, 1500, &syn(v6)).is_empty() && written(v6, 1500, &syn(v4)).is_empty());
        assert!(written(v6, 1500, &Particulars { probe: Probe::Timestamp, ..syn(v6) }).is_empty());
    }

    #[test]
    fn a_reset_follows_its_syn_in_the_same_flow() {
        let (from, to) = ("10.76.0.1".parse().unwrap(), "10.77.1.2".parse().unwrap());
        let syn = Particulars { probe: Probe::Syn(443), to, lane: 61_000, cookie: u32::MAX };
        let (mut bytes, template) = ([0xaa; PACKET_BYTES], Template::new(from, 1500));
        let length = template.write_reset(&syn, &mut bytes);
        let (opened, reset) = (written(from, 1500, &syn), &bytes[..length]);
        assert_eq!((reset[12..24].to_vec(), reset[33]), (opened[12..24].to_vec(), 0x04), "addresses, ports, a reset");
        assert_eq!(reset[24..28], [0; 4], "the number after the SYN's");
        let pseudo = sum_address(from) + sum_address(to) + u32::from(TCP) + sum_length(length - 20);
        assert_eq!((fold(pseudo + sum(&reset[20..])), fold(sum(&reset[..20]))), (0, 0));
        assert_eq!(template.write_reset(&Particulars { probe: Probe::Ack(443), ..syn }, &mut bytes), 40);
        assert_eq!(bytes[24..28], [0xff; 4]);
        assert_eq!(template.write_reset(&Particulars { probe: Probe::Echo, ..syn }, &mut bytes), 0);
    }

    proptest! {
        #[test]
        fn every_checksum_is_that_of_the_whole_packet(
            pair in prop_oneof![
                any::<[std::net::Ipv4Addr; 2]>().prop_map(|pair| pair.map(IpAddr::from)),
                any::<[std::net::Ipv6Addr; 2]>().prop_map(|pair| pair.map(IpAddr::from)),
            ],
            port: u16, lane: u16, cookie: u32, mtu: u32, which in 0..4_usize
        ) {
            let [from, to] = pair;
            let probe = [Probe::Syn(port), Probe::Ack(port), Probe::Echo, Probe::Timestamp][which];
            let bytes = written(from, mtu, &Particulars { probe, to, lane, cookie });
            prop_assume!(!bytes.is_empty());
            let (ip, rest) = bytes.split_at(header_bytes(from));
            let pseudo = |protocol| sum_address(from) + sum_address(to) + u32::from(protocol) + sum_length(rest.len());
            let pseudo = match (which, from.is_ipv4()) {
                (0 | 1, _) => pseudo(TCP),
                (_, true) => 0,
                (_, false) => pseudo(ICMPV6),
            };
            prop_assert_eq!(fold(pseudo + sum(rest)), 0);
            if from.is_ipv4() {
                prop_assert_eq!(fold(sum(ip)), 0);
                prop_assert_eq!(usize::from(ip[3]), bytes.len());
            } else {
                prop_assert_eq!(usize::from(ip[5]), rest.len());
            }
        }
    }
}
