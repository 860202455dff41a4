//! A job's results on standard output, in any format of the scanner's report.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use pentora_scanner::finding::{HostRecord, Severity};
use pentora_scanner::report::{Format, JsonLines, ReportMeta, Screen, Summary, Writer};
use serde::{Deserialize, Serialize};

use super::api_session::ApiSession;
use super::context::Context;
use super::output::{clean, counted, unread_failure};
use super::scan::last::Copying;
use crate::client::{ClientError, ResultLines, parse_host_line};
use crate::document::{JobDocument, Unreadable};
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

    /// What of these a scan that is taken up again keeps.
    pub(super) fn saved(&self) -> SavedFormat {
        let is_chosen = self.output.is_some() || self.json;
        SavedFormat { output: is_chosen.then(|| self.format().name().to_owned()), fail_on: self.fail_on }
    }

    /// These, and where nothing is said, what was kept.
    pub(super) fn or(&self, saved: &SavedFormat) -> Self {
        let kept = saved.output.as_deref().and_then(|name| name.parse().ok());
        let output = if self.json { self.output } else { self.output.or(kept) };
        Self { output, json: self.json, fail_on: self.fail_on.or(saved.fail_on) }
    }

    /// Turns what was printed into the command's end.
    ///
    /// # Errors
    /// Exit 6 where some results could not be read; exit 3 where a weakness at or above `--fail-on` was found.
    pub(super) fn verdict(&self, printed: &Printed) -> Result<(), Failure> {
        incomplete(&printed.unreadable)?;
        match self.fail_on {
            Some(threshold) if printed.counted.reaches(threshold) => Err(Failure::quiet(ExitCode::Findings)),
            _ => Ok(()),
        }
    }
}

/// In which form an interrupted scan's results were to be printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedFormat {
    output: Option<String>,
    fail_on: Option<Severity>,
}

/// What is printed beside a job's accepted results, and is in none of its counters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unfinished<'a> {
    /// Hosts that answered.
    pub(super) hosts: &'a [HostRecord],
    /// Probes that were sent.
    pub(super) probes: u64,
}

/// What was printed.
pub(super) struct Printed {
    counted: Summary,
    unreadable: Vec<Unreadable>,
}

/// Units that are named where results are missing; of more, only the number is.
const UNREADABLE_NAMED_MAX: usize = 10;

/// The end of a command whose results are not all.
///
/// # Errors
/// Exit 6, unless all could be read.
pub(super) fn incomplete(unreadable: &[Unreadable]) -> Result<(), Failure> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let targets = unreadable.iter().fold(0u64, |sum, unit| sum.saturating_add(unit.targets));
    let mut named: Vec<String> = unreadable.iter().take(UNREADABLE_NAMED_MAX).map(|unit| clean(&unit.told())).collect();
    if unreadable.len() > named.len() {
        named.push(format!("and those of {} more units", unreadable.len() - named.len()));
    }
    let what = format!("the results of {} are missing; the rest is printed", counted(targets, "target"));
    Err(Failure::new(ExitCode::JobIncomplete, what).because(named.join("\n")).next(next_of(unreadable)))
}

/// What is to be done about results that cannot be read: those that every holder has lost no start of a holder brings back.
fn next_of(unreadable: &[Unreadable]) -> &'static str {
    if unreadable.iter().all(Unreadable::is_lost) {
        "scan these targets again, or restore a backup that has them: no holder has them any more; `pentora cluster status` counts \
         such chunks"
    } else {
        "start the holders that are down and ask again; `pentora cluster status` shows them"
    }
}

fn format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: pentora_scanner::report::UnknownFormat| error.to_string())
}

/// Streams the accepted results of `job` to standard output, and after them what is `unfinished`; only one host of the job is
/// in memory at a time. Each accepted host's line is added to `copying`. Answers what was printed, counted.
///
/// # Errors
/// The node does not answer or the stream breaks: what was printed is then not all. A closed pipe ends quietly, with exit 1. That units
/// cannot be read is told by [`FormatArgs::verdict`].
pub(super) async fn print(
    session: &ApiSession,
    job: &JobDocument,
    unfinished: Unfinished<'_>,
    args: &FormatArgs,
    copying: Option<&mut Copying>,
    context: &mut Context,
) -> Result<Printed, Failure> {
    let failed = |error: ClientError| session.failure(&error);
    let format = args.format();
    let mut lines = Lines { from: session.client.results(&job.job_id).await.map_err(failed)?, copying };
    if format == Format::JsonLines {
        let mut seen = Summary::default();
        // What nobody asks for is not worth reading each line for.
        let counting = args.fail_on.is_some().then_some(&mut seen);
        pass_through(&mut lines, session, counting, context).await?;
        unfinished.hosts.iter().for_each(|host| seen.count(host));
        let summary = summary(job, &seen, unfinished);
        let mut writer = JsonLines::new(context.output.writer());
        let written = unfinished.hosts.iter().try_for_each(|host| writer.host(host));
        let written = written.and_then(|()| writer.finish(&summary));
        let unreadable = lines.from.unreadable().to_vec();
        return written.map(|()| Printed { counted: seen, unreadable }).map_err(|error| unread_failure(&error));
    }
    let screen = Screen { ascii: !context.output.unicode, columns: context.output.columns() };
    let mut writer = format.writer(context.output.writer(), screen);
    let mut next =
        lines.next().await.map_err(failed)?.map(|line| parse_host_line(&line)).transpose().map_err(failed)?;
    // How ports were asked is known of hosts, and a report begins with it.
    let tcp = next.as_ref().or(unfinished.hosts.first()).and_then(|host| host.tcp);
    writer.begin(&ReportMeta { tcp: tcp.unwrap_or_default(), ..meta(job) }).map_err(|error| unread_failure(&error))?;
    let mut seen = Summary::default();
    while let Some(host) = next {
        seen.count(&host);
        writer.host(&host).map_err(|error| unread_failure(&error))?;
        next = lines.next().await.map_err(failed)?.map(|line| parse_host_line(&line)).transpose().map_err(failed)?;
    }
    for host in unfinished.hosts {
        writer.host(host).map_err(|error| unread_failure(&error))?;
        seen.count(host);
    }
    let mut summary = summary(job, &seen, unfinished);
    summary.notes.extend(summary.middlebox_note());
    summary.notes.extend(lines.from.unreadable().iter().take(UNREADABLE_NAMED_MAX).map(Unreadable::told));
    writer.finish(&summary).map_err(|error| unread_failure(&error))?;
    Ok(Printed { counted: summary, unreadable: lines.from.unreadable().to_vec() })
}

/// Prints a report without a host, which says in every format that it is partial: that of a scan which ended before it began, and why.
///
/// # Errors
/// [`unread_failure`].
pub(super) fn print_nothing(targets: u64, why: &str, args: &FormatArgs, context: &mut Context) -> Result<(), Failure> {
    let screen = Screen { ascii: !context.output.unicode, columns: context.output.columns() };
    let mut writer = args.format().writer(context.output.writer(), screen);
    let summary = Summary { targets_total: targets, notes: vec![why.to_owned()], ..Summary::default() };
    let begun = writer.begin(&ReportMeta { command: command_line(), ..ReportMeta::default() });
    begun.and_then(|()| writer.finish(&summary)).map_err(|error| unread_failure(&error))
}

/// A job's results as they are read, and what is copied of them meanwhile.
struct Lines<'a> {
    from: ResultLines,
    copying: Option<&'a mut Copying>,
}

impl Lines<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let line = self.from.next().await?;
        if let (Some(line), Some(copying)) = (&line, &mut self.copying) {
            copying.add(line);
        }
        Ok(line)
    }
}

/// The node's lines as they are, so that fields of a newer node are kept. A line with a byte that a terminal might
/// obey, which no node writes, is written anew from what is understood of it.
async fn pass_through(
    lines: &mut Lines<'_>,
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
        written.and_then(|()| out.write_all(b"\n")).map_err(|error| unread_failure(&error))?;
    }
    context.output.writer().flush().map_err(|error| unread_failure(&error))
}

/// The user's own words, for whoever reads the report; secrets are never in them.
fn command_line() -> String {
    std::env::args().collect::<Vec<_>>().join(" ")
}

/// The head of a report.
fn meta(job: &JobDocument) -> ReportMeta {
    let started = job.submitted_at.parse().ok().map(jiff::Timestamp::as_millisecond);
    ReportMeta {
        job: Some(job.job_id.clone()),
        command: command_line(),
        started_at_ms: started.and_then(|at| u64::try_from(at).ok()),
        ports: job.ports.as_deref().and_then(|ports| ports.parse().ok()).unwrap_or_default(),
        ..ReportMeta::default()
    }
}

/// The figures of a report, from the job's accepted counters and what is unfinished; those by severity are `counted` from
/// all hosts.
fn summary(job: &JobDocument, counted: &Summary, unfinished: Unfinished<'_>) -> Summary {
    let mut more = Summary::default();
    unfinished.hosts.iter().for_each(|host| more.count(host));
    Summary {
        targets_scanned: job.targets_scanned,
        targets_total: job.targets_total,
        hosts_up: job.results.hosts_up + more.hosts_up,
        open_ports: job.results.open_ports + more.open_ports,
        services_detected: job.results.services_detected + more.services_detected,
        vulnerabilities: job.results.vulnerabilities + more.vulnerabilities,
        weaknesses: counted.weaknesses,
        potential: counted.potential,
        probes_sent: job.probes_sent.saturating_add(unfinished.probes),
        loss_estimate: job.loss_estimate,
        recall_estimate: job.recall_estimate,
        recall_measured: job.recall_measured,
        duration: Duration::try_from_secs_f64(job.elapsed_seconds).unwrap_or_default(),
        not_probed: job.not_probed,
        middleboxes: counted.middleboxes,
        notes: job.reason.iter().chain(&job.notes).cloned().collect(),
        ..Summary::default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::document::Tried;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_no_holder_has_any_more_is_not_to_be_had_by_starting_holders() {
        let unit = |gone: [bool; 2]| Unreadable {
            unit: "0:0-9".into(),
            targets: 9,
            digest: "ab".into(),
            why: None,
            tried: gone.map(|is_gone| Tried { node: "n1".into(), why: "why".into(), is_gone }).into(),
        };
        let gone = unit([true, true]);
        let down = unit([true, false]);
        let next = |unreadable: &[Unreadable]| format!("{:?}", incomplete(unreadable).unwrap_err());
        assert!(next(std::slice::from_ref(&gone)).contains("scan these targets again"));
        assert!(next(&[gone, down]).contains("start the holders that are down"));
    }

    #[test]
    fn a_scan_that_ended_before_it_began_says_so_in_every_format() {
        for format in Format::ALL {
            let told = Shared::default();
            let mut context = Context::for_test(told.clone());
            let args = FormatArgs { output: Some(format), ..FormatArgs::default() };
            print_nothing(7, "it was interrupted", &args, &mut context).unwrap();
            let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
            assert!(told.contains("it was interrupted"), "{format:?}: {told}");
            let partial = ["0 of 7 targets were scanned", "\"partial\":true", "7 of 7 targets were not scanned"];
            assert!(partial.iter().any(|partial| told.contains(partial)), "{format:?}: {told}");
        }
    }
}
