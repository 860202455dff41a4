//! Who made a network interface, by the first digits of its hardware address: the registry of the IEEE.
//!
//! The registry is not shipped: it is read from a file that the system has, or that a user names. Four forms are read, line
//! by line: nmap's `nmap-mac-prefixes`, the IEEE's `oui.txt` and `oui.csv`, and Wireshark's `manuf`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use crate::finding::{Mac, Printable};

/// Where systems keep one, the most complete first.
pub const SYSTEM_FILES: [&str; 5] = [
    "/var/lib/ieee-data/oui.txt",
    "/usr/share/ieee-data/oui.txt",
    "/usr/share/nmap/nmap-mac-prefixes",
    "/usr/share/wireshark/manuf",
    "/usr/share/arp-scan/ieee-oui.txt",
];
/// Most bytes that are read: the whole registry has some eight million.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most prefixes that are kept: the registry has some 50,000.
const PREFIXES_MAX: usize = 500_000;
/// Most characters of a vendor's name that are kept.
const NAME_CHARS_MAX: usize = 80;
/// Lengths of prefixes in hexadecimal digits, the most particular first (IEEE MA-S, MA-M, MA-L).
const DIGITS: [usize; 3] = [9, 7, 6];

/// Vendors by the prefixes of their hardware addresses.
#[derive(Debug, Default)]
pub struct Vendors {
    /// By the number of digits of the prefix and their value.
    by_prefix: HashMap<(usize, u64), Arc<str>>,
}

/// Why a file is no registry.
#[derive(Debug, thiserror::Error)]
pub enum VendorsError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Nothing in it is a prefix with a name.
    #[error("it names no vendor: give an oui.txt or oui.csv of the IEEE, nmap-mac-prefixes or a manuf of Wireshark")]
    Empty,
}

impl Vendors {
    /// The registry in a file.
    ///
    /// # Errors
    /// [`VendorsError`].
    pub fn read(path: &Path) -> Result<Self, VendorsError> {
        let vendors = Self::of(BufReader::new(File::open(path)?.take(FILE_BYTES_MAX)))?;
        if vendors.by_prefix.is_empty() { Err(VendorsError::Empty) } else { Ok(vendors) }
    }

    /// The registry of this system; without vendors where it has none.
    #[must_use]
    pub fn of_system() -> Self {
        SYSTEM_FILES.iter().find_map(|path| Self::read(Path::new(path)).ok()).unwrap_or_default()
    }

    fn of(mut text: impl BufRead) -> io::Result<Self> {
        let (mut vendors, mut line) = (Self::default(), Vec::new());
        let mut names: HashMap<String, Arc<str>> = HashMap::new();
        while vendors.by_prefix.len() < PREFIXES_MAX {
            line.clear();
            if text.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let line = String::from_utf8_lossy(&line);
            let Some((prefix, name)) = entry(line.trim()) else { continue };
            let name: String = Printable(name.trim()).to_string().chars().take(NAME_CHARS_MAX).collect();
            if !name.is_empty() {
                let name = names.entry(name).or_insert_with_key(|name| Arc::from(name.as_str()));
                vendors.by_prefix.entry(prefix).or_insert_with(|| Arc::clone(name));
            }
        }
        Ok(vendors)
    }

    /// Who made the interface with this address.
    #[must_use]
    pub fn of_mac(&self, mac: Mac) -> Option<Arc<str>> {
        let bits = mac.0.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        DIGITS.iter().find_map(|digits| self.by_prefix.get(&(*digits, bits >> (48 - 4 * digits))).cloned())
    }
}

/// A prefix, by the number of its digits and their value, and the rest of its line, which names its vendor.
fn entry(line: &str) -> Option<((usize, u64), &str)> {
    if line.starts_with('#') {
        return None;
    }
    // The registry's CSV: `MA-L,002272,American Micro-Fuel Device Corp.,address`.
    if let Some(rest) = line.strip_prefix("MA-") {
        let (_, rest) = rest.split_once(',')?;
        let (prefix, name) = rest.split_once(',')?;
        let name = match name.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            None => name.split(',').next()?,
        };
        return Some((prefix_of(prefix)?, name));
    }
    let (prefix, rest) = line.split_once(|c: char| c.is_ascii_whitespace())?;
    let rest = rest.trim_start();
    // The registry's text names each prefix twice, and lines of addresses in between begin with words.
    let name = match rest.strip_prefix("(hex)") {
        Some(name) => name,
        None if rest.starts_with("(base 16)") => return None,
        // Wireshark has a short name before the full one.
        None => rest.split_once('\t').map_or(rest, |(_, full)| full.trim()),
    };
    Some((prefix_of(prefix)?, name))
}

/// `00-00-0C`, `00000C`, `00:00:0C` or `00:1B:C5:00:00:00/36`.
fn prefix_of(text: &str) -> Option<(usize, u64)> {
    let (digits, length) = match text.split_once('/') {
        Some((digits, bits)) => (digits, Some(bits.parse::<usize>().ok()? / 4)),
        None => (text, None),
    };
    let plain: String = digits.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    let length = length.unwrap_or(plain.len());
    let is_known = DIGITS.contains(&length) && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = u64::from_str_radix(plain.get(..length)?, 16).ok()?;
    is_known.then_some((length, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, mac: [u8; 6]) -> Option<String> {
        Vendors::of(text.as_bytes()).unwrap().of_mac(Mac(mac)).map(|name| name.to_string())
    }

    #[test]
    fn every_form_of_the_registry_is_read() {
        let mac = [0, 0, 0x0c, 1, 2, 3];
        for text in [
            "# comment\n00000C Cisco Systems\n",
            "OUI/MA-L  Organization\n\n00-00-0C   (hex)\t\tCisco Systems\r\n00000C     (base 16)\t\tother\n\t\t80 Drive\n",
            "Registry,Assignment,Organization Name,Organization Address\nMA-L,00000C,\"Cisco Systems\",\"a, b\"\n",
            "00:00:0C\tCisco\tCisco Systems\n",
            "00:00:0C:00:00:00/24\tCisco\tCisco Systems\n",
        ] {
            assert_eq!(of(text, mac).as_deref(), Some("Cisco Systems"), "{text}");
        }
        assert_eq!(of("00000C Cisco Systems\n", [0, 0, 0x0d, 1, 2, 3]), None);
    }

    #[test]
    fn the_longest_prefix_leads_and_names_are_harmless() {
        let text = "001BC5 IEEE\n001BC5000 Small\x1b[2J\n001BC51 Middle\n";
        assert_eq!(of(text, [0, 0x1b, 0xc5, 0, 0, 1]).as_deref(), Some("Small\\x1b[2J"));
        assert_eq!(of(text, [0, 0x1b, 0xc5, 0x10, 0, 1]).as_deref(), Some("Middle"));
        assert_eq!(of(text, [0, 0x1b, 0xc5, 0x20, 0, 1]).as_deref(), Some("IEEE"));
    }

    #[test]
    fn a_file_that_names_nobody_is_refused_and_odd_lines_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oui");
        std::fs::write(&path, "10.0.0.1\n00000C\n00-00-0C-/7 x\n0000zz y\n\u{ff}\nMA-L\nMA-L,\n0/99 z\n").unwrap();
        assert!(matches!(Vendors::read(&path), Err(VendorsError::Empty)));
        assert!(matches!(Vendors::read(folder.path()), Err(VendorsError::Unreadable(_))));
    }
}
