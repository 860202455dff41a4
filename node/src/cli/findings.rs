//! `pentora findings list|explain`: weaknesses of a job's results, or of results in a file, and the reasons for each.

use std::io::BufRead;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use pentora_scanner::finding::{HostRecord, Severity, Weakness};
use pentora_scanner::port::Protocol;
use pentora_scanner::report::read_json_lines;
use pentora_scanner::vuln::matching::CONFIDENCE_COUNTED_MIN;
use serde::Serialize;

use super::api_session::{ApiSession, NodeArgs, cluster_here, id};
use super::context::Context;
use super::feed;
use super::list::{self, FormArgs};
use super::output::clean;
use super::results::incomplete;
use super::scan::last;
use super::shown::ShownArgs;
use super::table::{Column, Tabular};
use crate::client::parse_host_line;
use crate::failure::{ExitCode, Failure};
use crate::feeds::FeedKind;
use crate::feeds::explain::{Asked, EXPLAINED_MAX, Explained, of_record};
use crate::feeds::rematch::Rematch;

/// What can be done with findings.
#[derive(Debug, Subcommand)]
pub(super) enum FindingsCommand {
    /// Print the weaknesses that a scan found, the worst first.
    #[command(before_help = "Examples:\n  pentora findings list                       of the newest job\n  \
                             pentora findings list --job job-abc123 --severity high\n  \
                             pentora findings list --from results.jsonl  held against the feeds of today")]
    List(ListArgs),
    /// Say why a finding is one: what was seen, what was looked up, which range decided, how sure it is.
    #[command(before_help = "Examples:\n  pentora findings explain CVE-2024-6387\n  \
                             pentora findings explain PEN-REDIS-NOAUTH --address 10.0.0.5 --port 6379")]
    Explain(ExplainArgs),
}

/// Whose findings.
#[derive(Debug, Args)]
struct FromArgs {
    /// The job [default: the newest; without a cluster the last scan from this machine].
    #[arg(long, value_parser = id, conflicts_with = "from")]
    job: Option<String>,
    /// A file of results instead, as `-o jsonl` writes them; - for standard input.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
}

/// What is listed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    from: FromArgs,
    /// Leave out what is less severe: info, low, medium, high, critical.
    #[arg(long, default_value = "info")]
    severity: Severity,
    /// List what is only potential as well.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    form: FormArgs,
}

/// Which finding.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Its id, such as CVE-2024-6387.
    #[arg(value_parser = id)]
    finding: String,
    /// The host that is meant.
    #[arg(long)]
    address: Option<IpAddr>,
    /// The port that is meant.
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    from: FromArgs,
    #[command(flatten)]
    form: ShownArgs,
}

/// One finding in a list.
#[derive(Debug, Serialize)]
struct Listed {
    address: IpAddr,
    port: u16,
    protocol: Protocol,
    #[serde(flatten)]
    weakness: Weakness,
}

impl Tabular for Listed {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Severity", |one| one.weakness.severity.to_string()),
            Column::new("Finding", |one| one.weakness.id.clone()),
            Column::new("Where", |one| format!("{} {}/{}", one.address, one.port, one.protocol)),
            Column::new("Sure", |one| format!("{}%", one.weakness.confidence)),
            Column::new("What", |one| one.weakness.title.clone()),
        ]
    }
}

/// Carries the command out.
///
/// # Errors
/// No node answers, a file that holds no results, feeds that cannot be read.
pub(super) async fn run(command: FindingsCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        FindingsCommand::List(args) => print_list(args, context).await,
        FindingsCommand::Explain(args) => explain(args, context).await,
    }
}

/// Where there is neither a cluster nor a file that is named, the last scan from this machine is meant.
async fn or_last(mut args: FromArgs, context: &Context) -> Result<FromArgs, Failure> {
    if args.from.is_none() && args.job.is_none() && cluster_here(&args.node, false, context).await?.is_none() {
        args.from = last::path(context).filter(|path| path.exists());
    }
    Ok(args)
}

async fn print_list(args: ListArgs, context: &mut Context) -> Result<(), Failure> {
    let args = ListArgs { from: or_last(args.from, context).await?, ..args };
    let (mut listed, mut potential, mut unreadable) = (Vec::new(), 0_u64, Vec::new());
    let mut take = |record: &HostRecord| {
        for port in &record.ports {
            for weakness in port.weaknesses.iter().filter(|weakness| weakness.severity >= args.severity) {
                if !args.all && weakness.confidence < CONFIDENCE_COUNTED_MIN {
                    potential += 1;
                    continue;
                }
                let (address, protocol) = (record.address, port.protocol);
                listed.push(Listed { address, port: port.port, protocol, weakness: weakness.clone() });
            }
        }
    };
    let has_advisories = if args.from.from.is_some() {
        let feeds = feed::local(context)?;
        let kinds = FeedKind::ALL.into_iter().filter(|kind| kind.of_advisories().is_some());
        let has = feeds.as_ref().is_some_and(|feeds| {
            kinds.into_iter().any(|kind| feeds.current(kind).is_ok_and(|current| current.is_some()))
        });
        let mut rematch = Rematch::new(feeds);
        for_each_in_file(&args.from, |mut record| {
            rematch.record(&mut record);
            take(&record);
            Ok(true)
        })?;
        has
    } else {
        let AskedJob { session, job_id } = job_of(&args.from, context).await?;
        let mut lines = session.client.results(&job_id).await.map_err(|error| session.failure(&error))?;
        while let Some(line) = lines.next().await.map_err(|error| session.failure(&error))? {
            take(&parse_host_line(&line).map_err(|error| session.failure(&error))?);
        }
        unreadable = lines.unreadable().to_vec();
        let feeds = session.client.feeds().await.map_err(|error| session.failure(&error))?;
        let of_advisories = |kind: &str| kind.parse().is_ok_and(|kind: FeedKind| kind.of_advisories().is_some());
        feeds.iter().any(|feed| of_advisories(&feed.kind))
    };
    listed.sort_by(|a, b| {
        let by_weakness = b.weakness.severity.cmp(&a.weakness.severity).then_with(|| a.weakness.id.cmp(&b.weakness.id));
        by_weakness.then_with(|| (a.address, a.port).cmp(&(b.address, b.port)))
    });
    context.output.print(&list::text(&listed, args.form.form(&context.output)))?;
    if potential > 0 {
        context.say(format_args!("{potential} more are only potential: --all lists them"));
    }
    if listed.is_empty() && !has_advisories {
        context.say(format_args!(
            "no feed of advisories is imported, so no version was held against any: pentora feed import cve PATH"
        ));
    }
    incomplete(&unreadable)
}

async fn explain(args: ExplainArgs, context: &mut Context) -> Result<(), Failure> {
    let args = ExplainArgs { from: or_last(args.from, context).await?, ..args };
    let asked = Asked { id: args.finding, address: args.address, port: args.port };
    let explained = if args.from.from.is_some() {
        let feeds = feed::local(context)?;
        let mut rematch = Rematch::new(feeds.clone());
        let mut explained = Vec::new();
        for_each_in_file(&args.from, |mut record| {
            rematch.record(&mut record);
            let more = of_record(&asked, &record, feeds.as_ref());
            explained.extend(more.map_err(|error| Failure::new(ExitCode::Failure, error.to_string()))?);
            Ok(explained.len() < EXPLAINED_MAX)
        })?;
        explained
    } else {
        let AskedJob { session, job_id } = job_of(&args.from, context).await?;
        session.client.explain(&job_id, &asked).await.map_err(|error| session.failure(&error))?
    };
    if explained.is_empty() {
        let what = format!("nothing is known of {} on what was scanned", asked.id);
        return Err(Failure::new(ExitCode::Failure, what)
            .because("no scanned service is of a product that it speaks of, or its feed is not imported")
            .next("see `pentora findings list --all` and `pentora feed status`"));
    }
    let text = args.form.text(&explained, || told(&explained));
    context.output.print(&text)
}

/// The reasons as a person reads them.
fn told(explained: &[Explained]) -> String {
    let mut text = String::new();
    for one in explained {
        let verdict = match &one.weakness {
            Some(weakness) if weakness.confidence < CONFIDENCE_COUNTED_MIN => "potential",
            Some(_) => "found",
            None => "not found",
        };
        text.push_str(&format!("{} on {} {}/{}: {verdict}\n", clean(&one.id), one.address, one.port, one.protocol));
        for (number, step) in (1..).zip(&one.steps) {
            text.push_str(&format!("  {number}. {}: {}\n", clean(&step.about), clean(&step.what)));
        }
        if let Some(weakness) = &one.weakness {
            text.push_str(&format!("  remedy: {}\n", clean(&weakness.remedy)));
        }
    }
    text
}

/// The job whose results are meant, and the node that knows it.
struct AskedJob {
    session: ApiSession,
    job_id: String,
}

async fn job_of(args: &FromArgs, context: &Context) -> Result<AskedJob, Failure> {
    let session = ApiSession::open(&args.node, context)?;
    if let Some(job) = &args.job {
        return Ok(AskedJob { session, job_id: job.clone() });
    }
    let jobs = session.client.jobs().await.map_err(|error| session.failure(&error))?;
    match jobs.into_iter().next() {
        Some(job) => Ok(AskedJob { session, job_id: job.job_id }),
        None => Err(Failure::new(ExitCode::Failure, "no job has been submitted yet").next("pentora scan TARGET")),
    }
}

/// Hands every record of a file of results to `each` until that answers `false`.
fn for_each_in_file(args: &FromArgs, mut each: impl FnMut(HostRecord) -> Result<bool, Failure>) -> Result<(), Failure> {
    let Some(path) = &args.from else { return Ok(()) };
    let failed = |error: std::io::Error| {
        Failure::new(ExitCode::Failure, format!("{}: {error}", path.display()))
            .next("give a file that `pentora scan -o jsonl` or `pentora job results -o jsonl` wrote")
    };
    let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::io::BufReader::new(std::fs::File::open(path).map_err(failed)?))
    };
    for record in read_json_lines(input) {
        if !each(record.map_err(failed)?)? {
            break;
        }
    }
    Ok(())
}
