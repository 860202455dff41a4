//! A file of any bytes as a feed: what packs and unpacks it is somebody else's code, and must end within the limits too.
#![no_main]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pentora_scanner::vuln::feed::{FeedKind, Limits, import};

const LIMITS: Limits = Limits { record_bytes_max: 32 << 10, total_bytes_max: 64 << 10, ratio_max: 50, files_max: 4 };

/// A file without a name; it is opened anew through its descriptor.
static FILE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().expect("a file"));

fuzz_target!(|data: &[u8]| {
    let Some((kind, file)) = data.split_first() else { return };
    let kind = FeedKind::ALL[usize::from(*kind) % FeedKind::ALL.len()];
    FILE.set_len(0).expect("a file");
    FILE.write_all_at(file, 0).expect("a file");
    let path = PathBuf::from(format!("/proc/self/fd/{}", FILE.as_raw_fd()));
    let mut rows = 0;
    let summary = import(&path, kind, &LIMITS, &mut |row| {
        assert_eq!(row.key.first(), Some(&kind.byte()));
        rows += 1;
        Ok(())
    });
    match summary {
        Ok(summary) => assert!(summary.rows == rows && summary.records >= 1 && summary.files <= LIMITS.files_max),
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() < 8 << 10, "{words}");
        }
    }
});
