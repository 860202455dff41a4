//! Imports a feed of CVE records and matches services against it, with the time and memory that it took.
//!
//! `cargo run --release -p pentora-scanner --example advisories -- [RECORDS [SERVICES]]` makes up its own records (JSON
//! lines in a temporary file); `... -- FILE_OR_DIRECTORY` reads yours.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use pentora_scanner::finding::Service;
use pentora_scanner::vuln::feed::{FeedKind, Limits, import};
use pentora_scanner::vuln::matching::Matcher;
use pentora_scanner::vuln::store::MemoryStore;

const PRODUCTS: usize = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let first = args.next().unwrap_or_else(|| "1000".to_owned());
    let services: usize = args.next().map_or(Ok(10_000), |count| count.parse())?;
    let file = tempfile::NamedTempFile::new()?;
    let path = match first.parse::<usize>() {
        Ok(records) => generate(file.path(), records)?,
        Err(_) => PathBuf::from(&first),
    };

    let begun = Instant::now();
    let mut rows = Vec::new();
    let summary = import(&path, FeedKind::Cve, &Limits::default(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    let mut store = MemoryStore::default();
    store.install(FeedKind::Cve, rows);
    println!(
        "imported {} records, {} rows in {:.2?}; {}",
        summary.records,
        store.row_count(),
        begun.elapsed(),
        memory()
    );

    let mut matcher = Matcher::new(store);
    let begun = Instant::now();
    let (mut affected, mut indeterminate) = (0, 0);
    for n in 0..services {
        let found = matcher.matches(&service(n))?;
        affected += found.affected.len();
        indeterminate += found.indeterminate.len();
    }
    println!(
        "matched {services} services in {:.2?}: {affected} findings, {indeterminate} indeterminate; {}",
        begun.elapsed(),
        memory()
    );
    Ok(())
}

/// A service of one of the made-up products; every one has a version of its own.
fn service(n: usize) -> Service {
    let product = n % PRODUCTS;
    let version = format!("{}.{}.{}", n / PRODUCTS % 10, n / 7 % 40, n);
    let cpe = format!("cpe:2.3:a:vendor{product}:product{product}:{version}:*:*:*:*:*:*:*");
    Service {
        name: "http".into(),
        product: Some(format!("Product{product}")),
        version: Some(version),
        cpes: vec![cpe],
        ..Service::default()
    }
}

/// Records of the size and shape of real ones (about 4 kB), a line each.
fn generate(path: &Path, records: usize) -> std::io::Result<PathBuf> {
    let mut file = BufWriter::new(File::create(path)?);
    let prose = "A flaw in the handling of requests lets a remote party read memory that it should not. ".repeat(24);
    for n in 0..records {
        let product = n % PRODUCTS;
        let mut versions = String::new();
        for part in 0..3 {
            let (major, minor) = ((n / PRODUCTS + part * 3) % 10, n % 37 + 1);
            let comma = if part == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _infallible = write!(
                versions,
                r#"{comma}{{"version":"{major}.0.0","lessThan":"{major}.{minor}.{part}","status":"affected","versionType":"custom"}}"#
            );
        }
        writeln!(
            file,
            r#"{{"dataType":"CVE_RECORD","dataVersion":"5.1","cveMetadata":{{"cveId":"CVE-1999-{}","state":"PUBLISHED","assignerShortName":"made-up","datePublished":"2024-01-02T03:04:05.000Z"}},"containers":{{"cna":{{"title":"A flaw in Product{product}","descriptions":[{{"lang":"en","value":"{prose}"}}],"affected":[{{"vendor":"Vendor{product}","product":"Product{product}","defaultStatus":"unaffected","versions":[{versions}]}}],"metrics":[{{"cvssV3_1":{{"version":"3.1","vectorString":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N","baseScore":7.5,"baseSeverity":"HIGH"}}}}],"references":[{{"url":"https://vendor.example/{n}"}}],"problemTypes":[{{"descriptions":[{{"lang":"en","cweId":"CWE-125","description":"{prose}"}}]}}]}}}}}}"#,
            100_000 + n
        )?;
    }
    file.flush()?;
    Ok(path.to_path_buf())
}

/// The most memory that this process has had, as the kernel counts it.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    format!("peak memory {}", peak.trim())
}
