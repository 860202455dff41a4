//! A reader's first report: `pentora scan ... -o jsonl | cargo run --release --example report -- html > report.html`.
//!
//! Reads one host per line on standard input and writes them in any format; only one host is in memory at a time. The
//! exit code is 3 where a weakness at or above the severity given was found, potential ones not counted. On an input
//! that is empty it writes a report without hosts.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use pentora_scanner::finding::Severity;
use pentora_scanner::report::{Format, Look, ReportMeta, Summary, read_json_lines};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // usage: report [FORMAT [SEVERITY]], with FORMAT one of Format::NAMES.
    let (format, threshold) = match arguments.as_slice() {
        [] => (Format::Table, None),
        [format] => (format.parse()?, None),
        [format, threshold] => (format.parse()?, Some(threshold.parse::<Severity>()?)),
        _ => return Err(format!("usage: report [{} [SEVERITY]]", Format::NAMES.join("|")).into()),
    };

    let mut writer = format.writer(BufWriter::new(io::stdout().lock()), Look::default());
    writer.begin(&ReportMeta { command: "report of kept results".to_owned(), ..ReportMeta::default() })?;
    let mut summary = Summary::default();
    for host in read_json_lines(io::stdin().lock()) {
        let host = host?;
        summary.count(&host);
        writer.host(&host)?;
    }
    // Lines tell of hosts that answered, not of targets that did not.
    summary.targets_scanned = summary.hosts_up;
    summary.targets_total = summary.hosts_up;
    writer.finish(&summary)?;

    let reached = threshold.is_some_and(|threshold| summary.reaches(threshold));
    Ok(if reached { ExitCode::from(3) } else { ExitCode::SUCCESS })
}
