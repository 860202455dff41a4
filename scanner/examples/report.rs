//! A reader's first report: `pentora scan ... -o jsonl | cargo run --release --example report -- html > report.html`.
//!
//! Reads one host per line on standard input and writes them in any format; only one host is in memory at a time. With a
//! severity behind the format, the exit code is 3 where a weakness that bad or worse was found, potential ones not
//! counted. Without arguments it shows a host of its own as a table.

use std::io::{self, BufRead, BufWriter};
use std::process::ExitCode;

use pentora_scanner::finding::Severity;
use pentora_scanner::report::{Format, ReportMeta, Screen, Summary, read_json_lines};

const SAMPLE: &str = concat!(
    r#"{"address":"192.0.2.7","name":"cache.example","state":"up","reason":"syn-ack","ports":["#,
    r#"{"port":6379,"protocol":"tcp","state":"open","reason":"syn-ack","service":"#,
    r#"{"name":"redis","method":"probed","confidence":95,"product":"Redis","version":"7.0.4"},"weaknesses":["#,
    r#"{"id":"PEN-REDIS-NOAUTH","title":"Redis lets anyone in","severity":"critical","confidence":99,"#,
    r#""method":"exposure","evidence":"+PONG","remedy":"Set a password.","references":[]}]}],"#,
    r#""not_shown":[{"state":"closed","reason":"reset","count":999}],"#,
    r#""started_at":"2026-11-26T07:00:00Z","worker":"wrk_example"}"#
);

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let input: Box<dyn BufRead> =
        if arguments.is_empty() { Box::new(SAMPLE.as_bytes()) } else { Box::new(io::stdin().lock()) };
    // usage: report [FORMAT [SEVERITY]], with FORMAT one of Format::NAMES.
    let (format, threshold) = match arguments.as_slice() {
        [] => (Format::Table, None),
        [format] => (format.parse()?, None),
        [format, threshold] => (format.parse()?, Some(threshold.parse::<Severity>()?)),
        _ => return Err(format!("usage: report [{} [SEVERITY]]", Format::NAMES.join("|")).into()),
    };

    let mut writer = format.writer(BufWriter::new(io::stdout().lock()), Screen::default());
    writer.begin(&ReportMeta { command: "report of kept results".to_owned(), ..ReportMeta::default() })?;
    let mut summary = Summary::default();
    for host in read_json_lines(input) {
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
