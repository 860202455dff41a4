//! Ports that print what they are sent, or fall over it.

/// Whether a TCP port belongs to devices that take every byte for work: line printers (515, RFC 1179) and raw printing
/// (9100 to 9107). They are asked by SYN and by nothing else: no connection is made to listen, no payload sent.
#[must_use]
pub fn is_fragile(port: u16) -> bool {
    matches!(port, 515 | 9100..=9107)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printers_are_fragile_and_their_neighbours_are_not() {
        let fragile: Vec<u16> = (0..=u16::MAX).filter(|port| is_fragile(*port)).collect();
        assert_eq!(fragile, [515, 9100, 9101, 9102, 9103, 9104, 9105, 9106, 9107]);
    }
}
