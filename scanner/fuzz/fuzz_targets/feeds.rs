//! Feeds of advisories as files, plain and packed: refused, or rows that can be read back, and never more unpacked than the
//! limits say.
#![no_main]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use pentora_scanner::vuln::feed::{FeedKind, Limits, import};
use pentora_scanner::vuln::store::{AdvisoryStore, MemoryStore, Row};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const LIMITS: Limits = Limits { record_bytes_max: 32 << 10, total_bytes_max: 64 << 10, ratio_max: 50, files_max: 4 };

/// A file without a name; it is opened anew through its descriptor.
static FILE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().expect("a file"));

fuzz_target!(|data: &[u8]| {
    let Some(([kind, packing, repeats], content)) = data.split_first_chunk::<3>() else { return };
    let kind = FeedKind::ALL[usize::from(*kind) % FeedKind::ALL.len()];
    let content = content.repeat(1 << (repeats % 8));
    let file = match packing % 6 {
        0 => content.clone(),
        1 => gzip(&content),
        2 => zip(&[("a.json", &content), ("b.csv", b"")]),
        3 => zip(&[("a.gz", &gzip(&content))]),
        4 => zip(&[("a.zip", &zip(&[("a.json", &content), ("a.csv", &content)]))]),
        // An archive in an archive in an archive is one too many.
        _ => zip(&[("a.zip", &zip(&[("a.zip", &zip(&[("a.json", &content)]))]))]),
    };
    FILE.set_len(0).expect("a file");
    FILE.write_all_at(&file, 0).expect("a file");
    let path = PathBuf::from(format!("/proc/self/fd/{}", FILE.as_raw_fd()));
    let mut rows: Vec<Row> = Vec::new();
    let summary = import(&path, kind, &LIMITS, &mut |row| {
        rows.push(row);
        Ok(())
    });
    let Ok(summary) = summary else { return };
    assert!(packing % 6 < 5, "archives were followed too deep");
    // What is not asked for in an archive is not read, so only what stands alone must have been within the limits.
    assert!(packing % 6 > 1 || content.len() as u64 <= LIMITS.total_bytes_max, "more was read than is allowed");
    assert_eq!(summary.rows, rows.len() as u64);
    assert!(summary.records >= 1 && (1..=LIMITS.files_max).contains(&summary.files));
    assert!(rows.iter().all(|row| row.key.first() == Some(&kind.byte())));
    let products: Vec<String> = rows
        .iter()
        .filter(|row| row.key.get(1) == Some(&b'p'))
        .map(|row| {
            let key = row.key[2..].split(|byte| *byte == 0).next().expect("a first part");
            String::from_utf8(key.to_vec()).expect("product keys are text")
        })
        .collect();
    let mut store = MemoryStore::default();
    store.install(kind, rows);
    for product in products.iter().take(8) {
        assert!(!store.by_product(product).expect("what was written can be read").is_empty(), "{product:?}");
    }
});

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(content).expect("in memory");
    writer.finish().expect("in memory")
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("in memory");
        writer.write_all(content).expect("in memory");
    }
    writer.finish().expect("in memory").into_inner()
}
