//! `pentora scan`: on a cluster where there is one, otherwise on a node inside this process.
//!
//! Both ways are the same from the request on: submit, follow, print. They differ in who is asked, and in what Ctrl-C
//! means: an embedded scan ([`local`]) ends with this process, prints what it found and leaves a file from which it can be
//! taken up again; a cluster's goes on without us.

pub(super) mod last;
mod listing;
mod local;
mod request;
mod resume;
mod rule_files;
mod texts;

use std::path::PathBuf;

use clap::Args;
use pentora_scanner::report::Format;

pub(crate) use self::local::LocalScan;
pub(super) use self::request::RequestArgs;
use self::resume::Resume;
use self::rule_files::{Named, RuleFiles};
use super::Next;
use super::api_session::{ApiSession, NodeArgs, cluster_here};
use super::context::Context;
use super::follow::{Ended, follow, verdict};
use super::interrupt::Interrupts;
use super::key::SignArgs;
use super::progress::Progress;
use super::results::{self, FormatArgs, Unfinished};
use super::schedule::{self, WhenArgs};
use super::shown::ShownArgs;
use super::watch::json;
use crate::document::{JobDocument, ProfileOptions, ScanAccepted, ScanRequest};
use crate::failure::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  pentora scan 127.0.0.1 --ports 22,80,8000-8100
  pentora scan 192.168.1.0/24 10.0.0.1-20 --top-ports 100 -o json
  pentora scan 192.168.1.0/24 --top-ports 1000 --learned
  pentora scan --file targets.txt --exclude-file never.txt --rate 1000 -o jsonl
  pentora scan --from nmap.xml --exclude-ports 9100 --list-targets
  pentora scan 10.1.0.0/16 --max-rate 20000 --network-rate 200 --discovery echo,syn443
  pentora scan --resume pentora-20250710-120000.resume
  pentora scan 192.168.1.0/24 --priority high --worker-tag production
  pentora scan prod-network.example.com --require-worker-tag production
  pentora scan 10.0.0.0/8 --distributed --workers 5 --detach
  pentora scan 10.0.0.0/8 --plan
  pentora scan 10.1.0.0/16 --sign --sign-for 8h
  pentora scan 10.0.0.0/8 --priority low --schedule \"0 2 * * *\" --timezone Europe/Berlin
";

/// What to scan, how, where, and how to print it.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ScanArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Scan on the cluster, even where none is configured on this host.
    #[arg(long, conflicts_with = "local", help_heading = "Node")]
    distributed: bool,
    /// Scan from this process, even where a cluster is configured.
    #[arg(long, conflicts_with = "sign", help_heading = "Node")]
    local: bool,
    /// Go on with a scan that was interrupted in this process, from the file that it left; its options are in the file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["RequestArgs", "distributed", "detach", "sign"], help_heading = "Node")]
    resume: Option<PathBuf>,
    /// Print what would be scanned, one target per line or with -o json as a document; send nothing.
    #[arg(long, conflicts_with_all = ["resume", "detach", "sign"], help_heading = "Targets")]
    list_targets: bool,
    /// Print what the scan would become: its parts, who may take each and who not, expected packets and time; send nothing.
    /// Exit 4 where a part has no node.
    #[arg(long, conflicts_with_all = ["resume", "detach", "list_targets", "carry"], help_heading = "Where")]
    plan: bool,
    /// Begin by itself at these times: minute, hour, day of the month, month, day of the week, as in cron; or @hourly, @daily,
    /// @weekly, @monthly. Prints the schedule's name.
    #[arg(long, value_name = "CRON", conflicts_with_all = ["local", "resume", "list_targets", "plan", "detach"], help_heading = "Schedule")]
    schedule: Option<String>,
    /// What the schedule is called [default: a name that the node chooses].
    #[arg(long, value_name = "NAME", requires = "schedule", value_parser = schedule::name, help_heading = "Schedule")]
    schedule_name: Option<String>,
    #[command(flatten)]
    when: WhenArgs,
    #[command(flatten)]
    sign: SignArgs,
    /// Print the job's id and return at once.
    #[arg(long, conflicts_with = "local", help_heading = "Output")]
    detach: bool,
    /// Folder of recog fingerprints (*.xml) to know services by as well; for scans from this process.
    #[arg(long, value_name = "DIR", conflicts_with = "distributed", help_heading = "Services")]
    fingerprints: Option<PathBuf>,
    /// Your own file of service probes, in the syntax of nmap-service-probes; for scans from this process.
    #[arg(long, value_name = "FILE", conflicts_with = "distributed", help_heading = "Services")]
    service_probes: Option<PathBuf>,
    /// Folder of your own rules of exposure (*.toml), beside the program's; for scans from this process.
    #[arg(long, value_name = "DIR", conflicts_with = "distributed", help_heading = "Services")]
    exposures: Option<PathBuf>,
    /// Registry of hardware addresses to name vendors by, such as an oui.txt or nmap-mac-prefixes; for scans from this
    /// process [default: the system's].
    #[arg(long, value_name = "FILE", conflicts_with = "distributed", help_heading = "Services")]
    oui: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    node: NodeArgs,
}

impl ScanArgs {
    /// Refuses what only a scan from this process can use.
    fn check_for_cluster(&self) -> Result<(), Failure> {
        if [&self.fingerprints, &self.service_probes, &self.exposures, &self.oui].into_iter().all(Option::is_none) {
            return Ok(());
        }
        let what = "--fingerprints, --service-probes, --exposures and --oui are for scans from this process";
        Err(Failure::new(ExitCode::Usage, what).next(
            "give the cluster rules with `pentora feed import recog DIR`, `probes FILE` or `exposures DIR`, or add --local",
        ))
    }

    /// The files of rules that flags name.
    fn rule_files(&self) -> Named<'_> {
        Named {
            fingerprints: self.fingerprints.as_deref(),
            service_probes: self.service_probes.as_deref(),
            exposures: self.exposures.as_deref(),
            oui: self.oui.as_deref(),
        }
    }
}

/// Carries the command out on a cluster, or answers that it wants a node in this process.
///
/// # Errors
/// Every exit code but 0 and 3; see [`ExitCode`].
pub(super) async fn run(args: ScanArgs, mut context: Context) -> Result<Next, Failure> {
    if let Some(path) = &args.resume {
        let mut work = Resume::load(path)?;
        work.rules = work.rules.again(args.rule_files())?;
        work.format = args.format.or(&work.format).saved();
        return local::begin(&args, work, context);
    }
    if args.schedule.is_none() && args.when.is_said() {
        return Err(Failure::new(
            ExitCode::Usage,
            "--timezone, --missed and --overlap say how a schedule keeps its times",
        )
        .next("add --schedule \"0 2 * * *\", or leave them out"));
    }
    if let Some(cron) = &args.schedule {
        return to_schedule(&args, cron, &mut context).await.map(|()| Next::Done);
    }
    let texts = args.request.texts()?;
    let wanted = args.request.wanted(&texts)?;
    wanted.warnings.iter().for_each(|warning| context.warn(warning));
    if args.list_targets {
        // What the scan would be refused for is told here as well, where a list looks like a scan that is in order.
        args.request.request(&texts, Format::List)?;
        return listing::print(&wanted, args.format.format(), &mut context).map(|()| Next::Done);
    }
    drop(wanted);
    let request = args.request.request(&texts, args.format.format())?;
    drop(texts);
    let request = args.sign.signed(request, None, &context)?;
    if let Some(session) = cluster(&args, &context).await? {
        args.check_for_cluster()?;
        if args.plan {
            return print_plan(&args.format, &request, &session, &mut context).await.map(|()| Next::Done);
        }
        return on_cluster(&args, &request, &session, &mut context).await.map(|()| Next::Done);
    }
    if args.detach || args.request.carry {
        return Err(Failure::new(ExitCode::Unreachable, "there is no cluster to leave the scan to")
            .because(
                "no --api, PENTORA_API or client.api is set, and no node with a readable admin.token runs on this host",
            )
            .next("name a node with --api, start one with `pentora-node start --init`, or leave --detach out"));
    }
    if request.order.is_some() {
        context
            .warn("this process scans itself, and looks at no signature: --sign is for nodes whose owners ask for it");
    }
    let request = learned_here(request, &context)?;
    let rules = RuleFiles::named(args.rule_files())?;
    local::begin(&args, Resume::begun(request, rules, args.format.saved()), context)
}

/// The request with learned ports named, where it wants such: learned from the last scan from this machine.
fn learned_here(request: ScanRequest, context: &Context) -> Result<ScanRequest, Failure> {
    if !request.learned {
        return Ok(request);
    }
    let learned = last::learned(context).map_err(|why| {
        Failure::new(ExitCode::Failure, "the results of the last scan cannot be read")
            .because(why)
            .next("leave --learned out")
    })?;
    // What a profile says of ports stands where the flags are silent, as it would on the node.
    let is_silent = request.top_ports.is_none() && request.top_udp_ports.is_none();
    let options = request
        .profile
        .as_deref()
        .filter(|_| is_silent)
        .and_then(|name| ProfileOptions::built_in(&name.to_ascii_lowercase()));
    let options = options.unwrap_or_default();
    if options.ports.is_some() {
        return Err(Failure::new(
            ExitCode::Usage,
            "--learned goes with the most common ports, and the profile names its own",
        ));
    }
    let request = ScanRequest {
        top_ports: request.top_ports.or(options.top_ports),
        top_udp_ports: request.top_udp_ports.or(options.top_udp_ports),
        ..request
    };
    let (request, note) = request.with_learned(&learned, 1);
    context.say(format_args!("{note}"));
    Ok(request)
}

/// What flags ask for, with everything checked that can be checked here. `format` is what results will be printed in.
///
/// # Errors
/// Exit 2 with the position of the first slip.
pub(super) fn request_of(args: &RequestArgs, format: Format, context: &Context) -> Result<ScanRequest, Failure> {
    let texts = args.texts()?;
    args.wanted(&texts)?.warnings.iter().for_each(|warning| context.warn(warning));
    args.request(&texts, format)
}

/// Leaves the scan to the cluster, to begin by itself at times.
async fn to_schedule(args: &ScanArgs, cron: &str, context: &mut Context) -> Result<(), Failure> {
    args.check_for_cluster()?;
    let scan = request_of(&args.request, args.format.format(), context)?;
    let session = cluster(args, context).await?.ok_or_else(schedule::no_cluster)?;
    let (name, when) = (args.schedule_name.clone(), args.when.clone());
    let wanted = schedule::Wanted {
        name,
        cron: cron.to_owned(),
        when,
        scan,
        sign: args.sign.clone(),
        form: ShownArgs::as_json(args.format.json),
    };
    schedule::add(&session, wanted, context).await
}

/// The cluster to use, if there is one: named, or a node on this host whose token we may read.
async fn cluster(args: &ScanArgs, context: &Context) -> Result<Option<ApiSession>, Failure> {
    if args.local {
        return Ok(None);
    }
    cluster_here(&args.node, args.distributed, context).await
}

async fn on_cluster(
    args: &ScanArgs,
    request: &ScanRequest,
    session: &ApiSession,
    context: &mut Context,
) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let accepted = tokio::select! {
        biased;
        () = interrupts.next() => return Err(interrupted_submission()),
        accepted = session.client.scan(request) => accepted.map_err(|error| refused(session.failure(&error), request))?,
    };
    let job_id = &accepted.job_id;
    warn_of(&accepted, context);
    if args.request.carry {
        context.say(format_args!(
            "{job_id}: {}; write the orders to a medium with\n  pentora coordinator export --output FILE.tar.gz",
            size(&accepted)
        ));
    }
    if args.detach || args.request.carry {
        return context.output.print(&if args.format.json { json(&accepted) } else { format!("{job_id}\n") });
    }
    context.say(format_args!("{job_id}: {}", size(&accepted)));
    let progress = Progress::new(context);
    let ended = follow(session, job_id, &progress, &mut interrupts).await;
    progress.finish();
    match ended? {
        Ended::Job(job) => finish(&args.format, session, &job, Unfinished::default(), None, context).await,
        Ended::Interrupted => {
            context.say(format_args!(
                "detached: {job_id} goes on\n  follow it with `pentora job watch {job_id}`\n  \
                 see what it has found with `pentora job results {job_id}`\n  \
                 stop it with `pentora job cancel {job_id}`"
            ));
            Ok(())
        }
    }
}

/// A refusal in the words of the command line, where it is of the request.
fn refused(failure: Failure, request: &ScanRequest) -> Failure {
    match failure.exit {
        ExitCode::Usage => Failure { what: flags_for(&failure.what, request), ..failure },
        _ => failure,
    }
}

/// A text in which fields of a request stand by their flags, as far as these were used.
fn flags_for(text: &str, request: &ScanRequest) -> String {
    let fields = [
        ("exclude_ports", "--exclude-ports", request.exclude_ports.is_some()),
        ("top_udp_ports", "--top-udp-ports", request.top_udp_ports.is_some()),
        ("top_ports", "--top-ports", request.top_ports.is_some()),
    ];
    let used = fields.into_iter().filter(|(.., is_used)| *is_used);
    used.fold(text.to_owned(), |text, (field, flag, _)| text.replace(field, flag))
}

/// Says what has to be known of a scan before it begins.
fn warn_of(accepted: &ScanAccepted, context: &Context) {
    accepted.notes.iter().for_each(|note| context.warn(super::output::clean(note)));
}

/// Prints what a scan would become.
///
/// # Errors
/// Exit 4 where it would be refused.
async fn print_plan(
    format: &FormatArgs,
    request: &ScanRequest,
    session: &ApiSession,
    context: &mut Context,
) -> Result<(), Failure> {
    let plan = session.client.plan(request).await.map_err(|error| refused(session.failure(&error), request))?;
    let is_json = format.json || format.format() == Format::Json;
    context.output.print(&if is_json { json(&plan) } else { super::plan::plan(&plan) })?;
    if plan.accepted {
        return Ok(());
    }
    Err(Failure::new(ExitCode::Refused, "a part of it has no node that may take it")
        .next("drop a requirement, add a node, or let it wait for one with --wait-for-worker"))
}

/// Prints the results of an ended job, with what it does not count, keeps a copy where one was begun, and turns the job's status into the
/// command's.
async fn finish(
    format: &FormatArgs,
    session: &ApiSession,
    job: &JobDocument,
    unfinished: Unfinished<'_>,
    mut copying: Option<last::Copying>,
    context: &mut Context,
) -> Result<(), Failure> {
    let printed = results::print(session, job, unfinished, format, copying.as_mut(), context).await;
    let is_cut = printed.as_ref().is_err_and(Failure::is_quiet);
    match copying {
        Some(copying) if printed.is_ok() => copying.keep().await,
        // Whoever read the output has seen enough of it, as `head` does: the rest is worth keeping all the same.
        Some(_) => last::keep(session, &job.job_id, context).await,
        None => {}
    }
    // What the job came to is so whether or not its results were read to their end.
    if is_cut {
        verdict(job)?;
    }
    let printed = printed?;
    verdict(job)?;
    format.verdict(&printed)
}

fn interrupted_submission() -> Failure {
    Failure::new(ExitCode::Cancelled, "interrupted while submitting: the job may have been accepted")
        .next("`pentora job list` shows it, `pentora job cancel ID` stops it")
}

/// `512 targets in 2 partitions`.
fn size(accepted: &ScanAccepted) -> String {
    let targets = super::output::counted(accepted.targets, "target");
    match accepted.partitions {
        0 | 1 => targets,
        partitions => format!("{targets} in {partitions} partitions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_flags_that_were_used_and_the_fields_of_a_profile() {
        let told = "exclude_ports leaves no port to ask";
        let own = ScanRequest { exclude_ports: Some("22".into()), ..ScanRequest::default() };
        let failure = |exit| Failure::new(exit, told);
        assert_eq!(refused(failure(ExitCode::Usage), &own).what, "--exclude-ports leaves no port to ask");
        assert_eq!(refused(failure(ExitCode::Usage), &ScanRequest::default()).what, told, "a profile's");
        assert_eq!(refused(failure(ExitCode::Refused), &own).what, told);
    }
}
