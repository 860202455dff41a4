//! SYN packets from a template: what changes from probe to probe is written in, and added to a sum taken once.

use super::checksum::{fold, sum, sum32};

/// Bytes of a SYN: an IPv4 header without options and a TCP header with one, the segment size.
pub const SYN_BYTES: usize = 44;
/// Bytes of the IPv4 header.
const IP_BYTES: usize = 20;

/// All that SYNs from one source address have in common.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: [u8; SYN_BYTES],
    ip_sum: u32,
    tcp_sum: u32,
}

/// What is particular to one SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syn {
    /// Destination address.
    pub to: u32,
    /// Destination port.
    pub port: u16,
    /// Source port.
    pub from_port: u16,
    /// Sequence number.
    pub sequence: u32,
}

impl Template {
    /// SYNs from a source address.
    #[must_use]
    pub fn new(from: u32) -> Self {
        let mut bytes = [0; SYN_BYTES];
        // Version and header length; 44 bytes in all; an atomic datagram, which needs no identification (RFC 6864);
        // time to live 64; TCP.
        put(&mut bytes, 0, &[0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        put(&mut bytes, 12, &from.to_be_bytes());
        // Header length of six words, SYN, the window of a Linux client; then a segment size of 1460 (RFC 9293
        // section 3.7.1), without which some firewalls take a SYN for a forged one.
        put(&mut bytes, 32, &[0x60, 0x02, 0xfa, 0xf0, 0, 0, 0, 0, 2, 4, 0x05, 0xb4]);
        let (ip, tcp) = bytes.split_at(IP_BYTES);
        // The pseudo header of RFC 9293 section 3.1: addresses, protocol 6, 24 bytes of TCP.
        let tcp_sum = sum(tcp) + sum32(from) + 6 + 24;
        Self { ip_sum: sum(ip), tcp_sum, bytes }
    }

    /// Writes one SYN.
    pub fn write(&self, syn: &Syn, out: &mut [u8; SYN_BYTES]) {
        let Syn { to, port, from_port, sequence } = *syn;
        *out = self.bytes;
        put(out, 10, &fold(self.ip_sum + sum32(to)).to_be_bytes());
        put(out, 16, &to.to_be_bytes());
        put(out, 20, &from_port.to_be_bytes());
        put(out, 22, &port.to_be_bytes());
        put(out, 24, &sequence.to_be_bytes());
        let tcp_sum = self.tcp_sum + sum32(to) + u32::from(from_port) + u32::from(port) + sum32(sequence);
        put(out, 36, &fold(tcp_sum).to_be_bytes());
    }
}

fn put(bytes: &mut [u8; SYN_BYTES], at: usize, what: &[u8]) {
    bytes.get_mut(at..at + what.len()).expect("every offset here is inside the packet").copy_from_slice(what);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(from: u32, syn: &Syn) -> [u8; SYN_BYTES] {
        let mut bytes = [0; SYN_BYTES];
        Template::new(from).write(syn, &mut bytes);
        bytes
    }

    #[test]
    fn a_known_packet_comes_out_byte_for_byte() {
        // Put together by hand from RFC 791 and RFC 9293; both checksums computed by an independent program.
        let syn = Syn { to: 0x0a4d_0102, port: 443, from_port: 61_000, sequence: 0x1234_5678 };
        let expected = [
            0x45, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x25, 0x31, 0x0a, 0x4c, 0x00, 0x01, 0x0a, 0x4d,
            0x01, 0x02, 0xee, 0x48, 0x01, 0xbb, 0x12, 0x34, 0x56, 0x78, 0x00, 0x00, 0x00, 0x00, 0x60, 0x02, 0xfa, 0xf0,
            0x2e, 0xea, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4,
        ];
        assert_eq!(written(0x0a4c_0001, &syn), expected);
    }

    proptest! {
        #[test]
        fn sums_from_the_template_are_those_of_the_whole_packet(
            from: u32, to: u32, port: u16, from_port: u16, sequence: u32
        ) {
            let bytes = written(from, &Syn { to, port, from_port, sequence });
            let (ip, tcp) = bytes.split_at(IP_BYTES);
            prop_assert_eq!(fold(sum(ip)), 0);
            let pseudo = [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 6, 0, 24]].concat();
            prop_assert_eq!(fold(sum(&pseudo) + sum(tcp)), 0);
        }
    }
}
