//! A registry of vendors in any of its four forms: refused in one line, or short printable names, the same with every line end.
#![no_main]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_scanner::finding::Mac;
use pentora_scanner::vendors::Vendors;

/// A file without a name; it is opened anew through its descriptor.
static FILE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().expect("a file"));

fuzz_target!(|data: &[u8]| {
    let Some((mac, text)) = data.split_first_chunk::<6>() else { return };
    let mac = Mac(*mac);
    let name = named(text, mac);
    let windows: Vec<u8> =
        text.split(|byte| *byte == b'\n').flat_map(|line| [line, b"\r\n"]).flatten().copied().collect();
    assert_eq!(named(&windows, mac), name);
});

/// Who made the interface, by this registry; `None` also where it is refused.
fn named(text: &[u8], mac: Mac) -> Option<String> {
    FILE.set_len(0).expect("a file");
    FILE.write_all_at(text, 0).expect("a file");
    let path = PathBuf::from(format!("/proc/self/fd/{}", FILE.as_raw_fd()));
    match Vendors::read(&path) {
        Ok(vendors) => {
            let name = vendors.of_mac(mac)?;
            assert!(
                !name.is_empty() && name.chars().count() <= 80 && name.chars().all(|c| !c.is_control()),
                "{name:?}"
            );
            Some(name.to_string())
        }
        Err(error) => {
            assert!(!error.to_string().contains('\n'));
            None
        }
    }
}
