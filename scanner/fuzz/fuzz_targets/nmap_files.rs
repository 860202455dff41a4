//! Files of nmap's: refused in one line, or hosts and ports in proportion to their bytes, however these arrive.
#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use pentora_scanner::nmap::read_nmap;

/// Gives a byte at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let in_host = [b"<nmaprun><host><status state='up'/>", data, b"</host></nmaprun>"].concat();
    check(&in_host);
    check(&[b"Host: 10.0.0.1 ()\tPorts: ", data, b"\n"].concat());
});

fn check(data: &[u8]) {
    let whole = read_nmap(data, "fuzz").map_err(|error| error.to_string());
    let slow = read_nmap(Trickle(data), "fuzz").map_err(|error| error.to_string());
    assert_eq!(whole, slow);
    match whole {
        // An address and a port take a few bytes each.
        Ok(hosts) => {
            assert!(hosts.targets.count() <= data.len() as u64 / 8 && hosts.ports.count() as usize <= data.len() / 8);
            assert_eq!(hosts.targets.name_count(), 0);
        }
        Err(words) => assert!(!words.is_empty() && !words.contains('\n'), "{words:?}"),
    }
}
