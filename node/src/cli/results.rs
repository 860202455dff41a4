//! A job's results on standard output, in any format of the scanner's report.

use std::time::Duration;

use clap::Args;
use pentora_scanner::finding::{HostRecord, Severity};
use pentora_scanner::report::{Format, ReportMeta, Screen, Summary};

use super::api_session::ApiSession;
use super::context::Context;
use super::output::output_failure;
use crate::client::{ClientError, ResultLines, parse_host_line};
use crate::document::JobDocument;
use crate::failure::{ExitCode, Failure};

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
    /// Exit with 3 where a weakness of this severity or above was found: info, low, medium, high, critical.
    #[arg(long, value_name = "SEVERITY", help_heading = "Output")]
    fail_on: Option<Severity>,
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

    /// Turns what was printed into the command's end.
    ///
    /// # Errors
    /// Exit 3 where a weakness at or above `--fail-on` was found.
    pub(super) fn verdict(&self, printed: &Summary) -> Result<(), Failure> {
        match self.fail_on {
            Some(threshold) if printed.reaches(threshold) => Err(Failure::quiet(ExitCode::Findings)),
            _ => Ok(()),
        }
    }
}

fn format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: pentora_scanner::report::UnknownFormat| error.to_string())
}

/// Streams the accepted results of `job` to standard output, and after them the hosts of `more`, which are in none of its
/// counters; only one host of the job is in memory at a time. Answers what was printed, counted.
///
/// # Errors
/// The node does not answer or the stream breaks: what was printed is then not all. A closed pipe ends quietly.
pub(super) async fn print(
    session: &ApiSession,
    job: &JobDocument,
    more: &[HostRecord],
    args: &FormatArgs,
    context: &mut Context,
) -> Result<Summary, Failure> {
    let failed = |error: ClientError| session.failure(&error);
    let format = args.format();
    let mut lines = session.client.results(&job.job_id).await.map_err(failed)?;
    if format == Format::JsonLines {
        let mut counted = Summary::default();
        // What nobody asks for is not worth reading each line for.
        let counting = args.fail_on.is_some().then_some(&mut counted);
        pass_through(&mut lines, session, counting, context).await?;
        let written = more.iter().try_for_each(|host| {
            let line = pentora_scanner::report::json_line(host);
            context.output.writer().write_all(line.as_bytes())?;
            context.output.writer().write_all(b"\n")
        });
        let written = written.and_then(|()| context.output.writer().flush());
        more.iter().for_each(|host| counted.count(host));
        return written.map(|()| counted).map_err(|error| output_failure(&error));
    }
    let screen = Screen { ascii: !context.output.unicode, columns: context.output.columns() };
    let mut writer = format.writer(context.output.writer(), screen);
    writer.begin(&meta(job)).map_err(|error| output_failure(&error))?;
    let mut counted = Summary::default();
    while let Some(line) = lines.next().await.map_err(failed)? {
        let host = parse_host_line(&line).map_err(failed)?;
        counted.count(&host);
        writer.host(&host).map_err(|error| output_failure(&error))?;
    }
    let mut summary = summary(job, &counted);
    for host in more {
        writer.host(host).map_err(|error| output_failure(&error))?;
        summary.count(host);
    }
    summary.notes.extend(summary.middlebox_note());
    writer.finish(&summary).map_err(|error| output_failure(&error))?;
    Ok(summary)
}

/// The node's lines as they are, so that fields of a newer node are kept. A line with a byte that a terminal might
/// obey, which no node writes, is written anew from what is understood of it.
async fn pass_through(
    lines: &mut ResultLines,
    session: &ApiSession,
    mut counting: Option<&mut Summary>,
    context: &mut Context,
) -> Result<(), Failure> {
    let failed = |error: ClientError| session.failure(&error);
    while let Some(line) = lines.next().await.map_err(failed)? {
        if let Some(counted) = &mut counting {
            counted.count(&parse_host_line(&line).map_err(failed)?);
        }
        let out = context.output.writer();
        let harmless = line.iter().all(|byte| (b' '..=b'~').contains(byte));
        let written = if harmless {
            out.write_all(&line)
        } else {
            let host = parse_host_line(&line).map_err(failed)?;
            out.write_all(pentora_scanner::report::json_line(&host).as_bytes())
        };
        written.and_then(|()| out.write_all(b"\n")).map_err(|error| output_failure(&error))?;
    }
    context.output.writer().flush().map_err(|error| output_failure(&error))
}

/// The head of a report. The command line is the user's own words, for whoever reads the report; secrets are never in it.
fn meta(job: &JobDocument) -> ReportMeta {
    let started = job.submitted_at.parse().ok().map(jiff::Timestamp::as_millisecond);
    ReportMeta {
        job: Some(job.job_id.clone()),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        started_at_ms: started.and_then(|at| u64::try_from(at).ok()),
        ports: job.ports.as_deref().and_then(|ports| ports.parse().ok()).unwrap_or_default(),
        ..ReportMeta::default()
    }
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
        loss_estimate: job.loss_estimate,
        recall_estimate: job.recall_estimate,
        duration: Duration::try_from_secs_f64(job.elapsed_seconds).unwrap_or_default(),
        not_probed: job.not_probed,
        middleboxes: counted.middleboxes,
        notes: job.reason.iter().chain(&job.notes).cloned().collect(),
    }
}
