//! `pentora feed import --local cve FILE` of 300,000 made-up records in the form of CVE v5: what the first import of a year's
//! feed costs, from start to exit, the bundle and its signature included.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use pentora_tests::command_line::pentora;

use crate::figures::{Sample, summary};

const RECORDS: u32 = 300_000;
const PRODUCTS: u32 = 2_000;
const RUNS: usize = 3;

pub(crate) fn measure() -> anyhow::Result<()> {
    let lab = crate::lab(1)?;
    let home = tempfile::tempdir()?;
    let file = home.path().join("cve.jsonl");
    write_records(&file)?;
    let path = file.display().to_string();
    let mut times = Sample::default();
    for _ in 0..RUNS {
        // Each into a data directory of its own: what is there already would not be imported again.
        let data = tempfile::tempdir()?;
        let began = Instant::now();
        pentora(lab.host(1), data.path(), &[], &["feed", "import", "--local", "cve", &path])?.ok()?;
        times.add_ms(began.elapsed());
    }
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("{RECORDS} records, {} MB of JSON lines.\n", std::fs::metadata(&file)?.len() / 1_000_000);
    summary("wall", "ms", &times, "20,000 ms");
    println!("\nLargest resident size: {:.1} MB (goal: 250 MB).", f64::from(u32::try_from(kilobytes)?) / 1e3);
    Ok(())
}

fn write_records(path: &Path) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut line = String::new();
    for n in 0..RECORDS {
        line.clear();
        let (product, minor) = (n % PRODUCTS, n % 90);
        write!(
            line,
            r#"{{"dataType":"CVE_RECORD","dataVersion":"5.1","cveMetadata":{{"cveId":"CVE-{}-{}","state":"PUBLISHED","dateUpdated":"2026-01-01T00:00:00Z"}},"containers":{{"cna":{{"title":"Made-up record {n}","descriptions":[{{"lang":"en","value":"Product {product} before 2.{minor} lets a remote peer read what it should not."}}],"affected":[{{"vendor":"vendor{product}","product":"product{product}","defaultStatus":"unaffected","versions":[{{"version":"1.0.0","lessThan":"2.{minor}.0","status":"affected","versionType":"semver"}}]}}],"metrics":[{{"cvssV3_1":{{"version":"3.1","vectorString":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N","baseScore":7.5,"baseSeverity":"HIGH"}}}}],"references":[{{"url":"https://example.test/{n}"}}]}}}}}}"#,
            2000 + n / 20_000,
            1_000 + n % 20_000,
        )?;
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}
