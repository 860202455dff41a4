//! The one table of ports whose devices print, stop or fail when they are sent what they do not expect.
//!
//! Printers take every byte for work. Controllers of machines and buildings and medical devices speak one protocol, have
//! room for a few connections, and some halt at a byte of another. What may be sent to either is decided in
//! [`crate::gate`]; here is only which ports they are. A number is a habit, not a fact: other servers listen on some of
//! these as well, and are then asked less than they could bear.
//!
//! Sources: IANA's registry of service names and ports where it has the protocol; otherwise the script of nmap's that
//! reads the protocol, or the collection `awesome-industrial-protocols` of Orange Cyberdefense.

use super::{Port, Protocol};

/// What listens on a fragile port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragile {
    /// A printer: line printers (515, RFC 1179) and raw printing (9100 to 9107).
    Printer,
    /// A controller or a medical device.
    Device(&'static Device),
}

/// A protocol of controllers or medical devices, and the ports that it is on.
#[derive(Debug, PartialEq, Eq)]
pub struct Device {
    first: u16,
    last: u16,
    /// What it is on, TCP first.
    protocols: [bool; 2],
    /// Names of the service probes that only read, in this protocol. Without one it is only listened to.
    pub(crate) own: &'static [&'static str],
}

/// What a port is, if it is fragile.
#[must_use]
pub fn class(port: Port) -> Option<Fragile> {
    if matches!(port.number, 515 | 9100..=9107) {
        return Some(Fragile::Printer);
    }
    let behind = DEVICES.partition_point(|device| device.first <= port.number);
    let device = DEVICES.get(..behind)?.last().filter(|device| port.number <= device.last)?;
    let [tcp, udp] = device.protocols;
    let is_there = match port.protocol {
        Protocol::Tcp => tcp,
        Protocol::Udp => udp,
    };
    is_there.then_some(Fragile::Device(device))
}

const TCP: [bool; 2] = [true, false];
const BOTH: [bool; 2] = [true, true];

const fn device(port: u16, protocols: [bool; 2], own: &'static [&'static str]) -> Device {
    devices(port, port, protocols, own)
}

const fn devices(first: u16, last: u16, protocols: [bool; 2], own: &'static [&'static str]) -> Device {
    Device { first, last, protocols, own }
}

/// Ascending by port, without overlaps.
#[rustfmt::skip]
static DEVICES: &[Device] = &[
    device(102, TCP, &["s7-identify"]), // ISO transport over TCP (RFC 1006): Siemens S7, IEC 61850, ICCP. IANA iso-tsap
    device(104, TCP, &[]),              // DICOM, medical images. IANA acr-nema; DICOM PS3.8 section 9.1.1
    device(502, BOTH, &["modbus-identify"]), // Modbus/TCP. IANA mbap
    device(789, TCP, &[]),              // Crimson of Red Lion. awesome-industrial-protocols
    devices(1089, 1091, BOTH, &[]),     // Foundation Fieldbus HSE. IANA ff-annunc, ff-fms, ff-sm
    device(1153, BOTH, &[]),            // ANSI C12.22, meters (RFC 6142). IANA c1222-acse
    device(1911, TCP, &["fox-hello"]),  // Niagara Fox, buildings. nmap's fox-info
    device(1962, TCP, &[]),             // PC Worx of Phoenix Contact. nmap's pcworx-info
    device(2222, BOTH, &[]),            // EtherNet/IP, implicit messages. IANA EtherNet-IP-1
    device(2404, TCP, &["iec104-test"]), // IEC 60870-5-104, power grids. IANA iec-104
    device(2455, BOTH, &[]),            // CODESYS, WAGO controllers. IANA wago-io-system
    device(2575, BOTH, &[]),            // HL7, clinical messages. IANA hl7
    devices(2761, 2762, TCP, &[]),      // DICOM over ISCL and TLS. IANA dicom-iscl, dicom-tls
    device(3671, BOTH, &[]),            // KNXnet/IP, buildings. IANA efcp
    device(4059, BOTH, &[]),            // DLMS/COSEM, meters. IANA dlms-cosem
    device(4840, BOTH, &["opcua-hello"]), // OPC UA. IANA opcua-tcp, opcua-udp
    device(4843, BOTH, &[]),            // OPC UA over TLS. IANA opcua-tls
    device(4911, TCP, &[]),             // Niagara Fox over TLS. awesome-industrial-protocols
    devices(5006, 5007, BOTH, &[]),     // MELSEC of Mitsubishi Electric: where its controllers wait for the vendor's tools
    device(5094, BOTH, &[]),            // HART-IP, process instruments. IANA hart-ip
    device(9600, BOTH, &[]),            // FINS of Omron. nmap's omron-info
    device(11001, BOTH, &[]),           // Metasys of Johnson Controls. IANA metasys
    device(11112, TCP, &[]),            // DICOM. IANA dicom
    devices(18245, 18246, BOTH, &[]),   // SRTP of GE Fanuc. awesome-industrial-protocols
    device(20000, BOTH, &["dnp3-link-status"]), // DNP3, power and water. IANA dnp
    device(20547, BOTH, &[]),           // ProConOS. nmap's proconos-info
    devices(34962, 34964, BOTH, &[]),   // PROFINET. IANA profinet-rt, profinet-rtm, profinet-cm
    device(34980, BOTH, &[]),           // EtherCAT. IANA ethercat
    device(44818, BOTH, &["enip-identity"]), // EtherNet/IP, explicit messages. IANA EtherNet-IP-2
    device(47808, BOTH, &["bacnet-read"]), // BACnet/IP, buildings. IANA bacnet
    device(48898, TCP, &[]),            // ADS of Beckhoff. awesome-industrial-protocols
    devices(55000, 55003, BOTH, &[]),   // FL-net, JIS B 3521. awesome-industrial-protocols
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printers_are_fragile_and_their_neighbours_are_not() {
        for port in [Port::tcp as fn(u16) -> Port, Port::udp] {
            let printers: Vec<u16> =
                (1..=u16::MAX).filter(|number| class(port(*number)) == Some(Fragile::Printer)).collect();
            assert_eq!(printers, [515, 9100, 9101, 9102, 9103, 9104, 9105, 9106, 9107]);
        }
    }

    #[test]
    fn the_table_of_devices_is_in_order_and_found_by_every_port_of_it() {
        assert!(DEVICES.windows(2).all(|pair| pair[0].last < pair[1].first));
        for device in DEVICES {
            assert!(device.first <= device.last && device.protocols != [false, false]);
            for number in device.first..=device.last {
                let [tcp, udp] = device.protocols;
                assert_eq!(class(Port::tcp(number)), tcp.then_some(Fragile::Device(device)));
                assert_eq!(class(Port::udp(number)), udp.then_some(Fragile::Device(device)));
            }
        }
        for number in [1, 22, 80, 101, 103, 443, 503, 1912, 8080, 34961, 34965, 55004, 65535] {
            assert_eq!(class(Port::tcp(number)), None, "{number}");
        }
    }

    #[test]
    fn what_plants_and_hospitals_speak_is_in_it() {
        let known = [
            102, 104, 502, 789, 1911, 1962, 2222, 2404, 2455, 2575, 4840, 4911, 5007, 5094, 9600, 11112, 18245, 20000,
            34962, 34963, 34964, 44818, 47808,
        ];
        for number in known {
            assert!(matches!(class(Port::tcp(number)), Some(Fragile::Device(_))), "{number}");
        }
        assert!(matches!(class(Port::udp(55000)), Some(Fragile::Device(_))));
    }
}
