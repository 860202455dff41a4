//! A job's results on standard output, in any format of the scanner's report.

use std::time::Duration;

use clap::Args;
use pentora_scanner::report::{Format, Look, Summary};

use super::context::Context;
use super::failure::Failure;
use super::output::output_failure;
use super::session::Session;
use crate::client::{ResultLines, parse_host_line};
use crate::document::JobDocument;

/// In which form results are printed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FormatArgs {
    /// Form of the results: table, json (one document), jsonl (a host per line), list (ADDRESS PORT PROTOCOL), csv,
    /// xml (nmap's), html (one page), sarif, vex (OpenVEX).
    #[arg(short, long, value_name = "FORMAT", help_heading = "Output", value_parser = format)]
    output: Option<Format>,
    /// The same as -o json.
    #[arg(long, conflicts_with = "output", help_heading = "Output")]
    pub(super) json: bool,
}

impl FormatArgs {
    /// The chosen format.
    pub(super) fn format(&self) -> Format {
        match self.output {
            Some(format) => format,
            None if self.json => Format::Json,
            None => Format::Table,
        }
    }
}

fn format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: pentora_scanner::report::UnknownFormat| error.to_string())
}

/// Streams the accepted results of `job` to standard output; only one host is in memory at a time.
///
/// # Errors
/// The node does not answer or the stream breaks: what was printed is then not all. A closed pipe ends quietly.
pub(super) async fn print(
    session: &Session,
    job: &JobDocument,
    format: Format,
    context: &mut Context,
) -> Result<(), Failure> {
    let mut lines = session.client.results(&job.job_id).await.map_err(|error| session.failure(&error))?;
    if format == Format::JsonLines {
        return pass_through(session, &mut lines, context).await;
    }
    let look = Look { ascii: !context.output.unicode, ..Look::default() };
    let mut writer = format.writer(context.output.writer(), look);
    let mut counted = Summary::default();
    while let Some(line) = lines.next().await.map_err(|error| session.failure(&error))? {
        let host = parse_host_line(&line).map_err(|error| session.failure(&error))?;
        counted.count(&host);
        writer.host(&host).map_err(|error| output_failure(&error))?;
    }
    writer.finish(&summary(job, &counted)).map_err(|error| output_failure(&error))
}

/// The node's lines as they are, so that fields of a newer node are kept. A line with a byte that a terminal might
/// obey, which no node writes, is written anew from what is understood of it.
async fn pass_through(session: &Session, lines: &mut ResultLines, context: &mut Context) -> Result<(), Failure> {
    while let Some(line) = lines.next().await.map_err(|error| session.failure(&error))? {
        let out = context.output.writer();
        let harmless = line.iter().all(|byte| (b' '..=b'~').contains(byte));
        let written = if harmless {
            out.write_all(&line)
        } else {
            let host = parse_host_line(&line).map_err(|error| session.failure(&error))?;
            out.write_all(pentora_scanner::report::json_line(&host).as_bytes())
        };
        written.and_then(|()| out.write_all(b"\n")).map_err(|error| output_failure(&error))?;
    }
    context.output.writer().flush().map_err(|error| output_failure(&error))
}

/// The figures of a report, from the job's accepted counters; those by severity are `counted` from its hosts.
fn summary(job: &JobDocument, counted: &Summary) -> Summary {
    Summary {
        targets_scanned: job.targets_scanned,
        targets_total: job.targets_total,
        hosts_up: job.results.hosts_up,
        open_ports: job.results.open_ports,
        services_detected: job.results.services_detected,
        vulnerabilities: job.results.vulnerabilities,
        weaknesses: counted.weaknesses,
        potential: counted.potential,
        probes_sent: job.probes_sent,
        duration: Duration::try_from_secs_f64(job.elapsed_seconds).unwrap_or_default(),
        notes: job.reason.iter().cloned().collect(),
    }
}
