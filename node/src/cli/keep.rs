//! `pentora keep TARGET... --fresh 7d --rate PPS`, and `keep status|list|pause|resume|remove`.

use std::time::Duration;

use clap::{Args, Subcommand};
use pentora_scanner::report::Format;

use super::api_session::{ApiSession, NodeArgs};
use super::confirm::{YesArgs, confirm};
use super::context::Context;
use super::list::{ListArgs, list};
use super::output::{clean, counted, grouped};
use super::scan::{RequestArgs, request_of};
use super::schedule::name;
use super::shown::ShownArgs;
use super::status::title_case;
use super::table::{Column, NOTHING, Tabular};
use super::watch::{View, show};
use crate::client::Client;
use crate::config::parse_duration;
use crate::document::{KeepDocument, KeepRequest, duration_words};
use crate::failure::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  pentora keep 10.0.0.0/8 --fresh 7d --ports 22,80,443 --rate 5000
  pentora keep 10.1.0.0/16 --fresh 1d --top-ports 100 --rate 2000 --name office
  pentora keep status
  pentora keep status office --watch
  pentora keep remove office --yes
";

/// What is promised, or what is to be done about a promise.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct KeepArgs {
    #[command(subcommand)]
    command: Option<KeepCommand>,
    #[command(flatten)]
    promise: PromiseArgs,
}

/// Addresses, and within which time each is to be seen.
#[derive(Debug, Clone, Args)]
struct PromiseArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Within which time every address is to be seen, again and again; --rate is what may be spent on it.
    #[arg(long, value_name = "DURATION", required = true, value_parser = parse_duration, help_heading = "Promise")]
    fresh: Option<Duration>,
    /// What it is called [default: a name that the node chooses].
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Promise")]
    name: Option<String>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What can be done with standing scans.
#[derive(Debug, Subcommand)]
enum KeepCommand {
    /// Say how well promises are held: the share that is fresh, the oldest address, the budget that is needed.
    #[command(before_help = "Examples:\n  pentora keep status\n  pentora keep status office --json")]
    Status(StatusArgs),
    /// Print the standing scans.
    #[command(before_help = "Example:\n  pentora keep list --json")]
    List(ListArgs),
    /// Hold a standing scan: no pass begins until `keep resume`; the one that is on goes on.
    #[command(before_help = "Example:\n  pentora keep pause office")]
    Pause(NameArgs),
    /// Let a standing scan go on.
    #[command(before_help = "Example:\n  pentora keep resume office")]
    Resume(NameArgs),
    /// End a standing scan and the pass that is on; what it found stays.
    #[command(before_help = "Example:\n  pentora keep remove office --yes")]
    Remove(RemoveArgs),
}

/// Which standing scans.
#[derive(Debug, Args)]
struct StatusArgs {
    /// Its name [default: all].
    #[arg(value_name = "KEEP", value_parser = name)]
    name: Option<String>,
    #[command(flatten)]
    form: ShownArgs,
    /// Print again each second.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which standing scan.
#[derive(Debug, Args)]
struct NameArgs {
    /// Its name.
    #[arg(value_name = "KEEP", value_parser = name)]
    name: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which standing scan ends.
#[derive(Debug, Args)]
struct RemoveArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    yes: YesArgs,
}

impl Tabular for KeepDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |keep| keep.name.clone()),
            Column::new("Status", |keep| title_case(&keep.status)),
            Column::new("Scans", |keep| keep.title.clone()),
            Column::new("Promise", |keep| duration_words(keep.fresh_seconds)),
            Column::new("Fresh", fresh),
            Column::new("Oldest", |keep| {
                keep.oldest.as_ref().map_or_else(|| NOTHING.to_owned(), |oldest| duration_words(oldest.age_seconds))
            }),
            Column::new("Budget", |keep| format!("{} pps", grouped(keep.rate_pps))),
            Column::new("Needed", |keep| {
                keep.needed_pps.map_or_else(|| NOTHING.to_owned(), |needed| format!("{} pps", grouped(needed)))
            }),
        ]
    }
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(args: KeepArgs, context: &mut Context) -> Result<(), Failure> {
    match args.command {
        None => promise(args.promise, context).await,
        Some(KeepCommand::Status(args)) => status(args, context).await,
        Some(KeepCommand::List(args)) => list(&args, context, Client::keeps).await,
        Some(KeepCommand::Pause(args)) => hold(&args, true, context).await,
        Some(KeepCommand::Resume(args)) => hold(&args, false, context).await,
        Some(KeepCommand::Remove(RemoveArgs { name, yes })) => {
            confirm(yes, &format!("the standing scan {} ends", name.name), context)?;
            let session = ApiSession::open(&name.node, context)?;
            session.client.remove_keep(&name.name).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{} is removed; what it found stays", name.name));
            Ok(())
        }
    }
}

async fn promise(args: PromiseArgs, context: &mut Context) -> Result<(), Failure> {
    let Some(fresh) = args.fresh else {
        return Err(Failure::new(ExitCode::Usage, "a standing scan needs --fresh").next("such as --fresh 7d"));
    };
    let scan = request_of(&args.request, Format::Json, context)?;
    if scan.rate.is_none() {
        return Err(Failure::new(ExitCode::Usage, "a standing scan needs a budget in packets per second")
            .next("add --rate 5000"));
    }
    let session = ApiSession::open(&args.node, context)?;
    let request = KeepRequest { name: args.name, fresh_seconds: fresh.as_secs(), scan };
    let keep = session.client.add_keep(&request).await.map_err(|error| session.failure(&error))?;
    if let Some(text) = args.form.data(&keep) {
        return context.output.print(&text);
    }
    context.output.print(&format!("{}\n", clean(&keep.name)))?;
    context.say(format_args!(
        "{} in {}, each to be seen every {}; `pentora keep status {}` says how well that is held",
        if keep.targets == 1 { "1 address".to_owned() } else { format!("{} addresses", grouped(keep.targets)) },
        counted(keep.slices, "slice"),
        duration_words(keep.fresh_seconds),
        clean(&keep.name),
    ));
    Ok(())
}

async fn status(args: StatusArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    show(context, args.watch, async || {
        let keeps = match &args.name {
            Some(name) => session.client.keep(name).await.map(|keep| vec![keep]),
            None => session.client.keeps().await,
        };
        let keeps = keeps.map_err(|error| session.failure(&error))?;
        let told = || match keeps.as_slice() {
            [] => "no standing scan; `pentora keep 10.0.0.0/8 --fresh 7d --rate 5000` makes one\n".to_owned(),
            keeps => keeps.iter().map(status_text).collect::<Vec<_>>().join("\n"),
        };
        let text = match keeps.as_slice() {
            [keep] if args.name.is_some() => args.form.text(keep, told),
            keeps => args.form.text(&keeps, told),
        };
        Ok(View { text, last: false })
    })
    .await
}

async fn hold(args: &NameArgs, paused: bool, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let held = session.client.hold_keep(&args.name, paused).await.map_err(|error| session.failure(&error))?;
    context.say(format_args!("{}: {}", clean(&held.name), clean(&held.status)));
    Ok(())
}

fn status_text(keep: &KeepDocument) -> String {
    let mut text = format!(
        "{}: {} every {} within {}/s\nStatus: {}\nFresh: {} of {} addresses ({})\n",
        clean(&keep.name),
        clean(&keep.title),
        duration_words(keep.fresh_seconds),
        counted(keep.rate_pps, "packet"),
        title_case(&keep.status),
        grouped(keep.targets_fresh),
        grouped(keep.targets.saturating_sub(keep.targets_excluded)),
        fresh(keep),
    );
    if keep.targets_excluded > 0 {
        text.push_str(&format!(
            "Excluded: {} of {} addresses, which are not counted\n",
            grouped(keep.targets_excluded),
            grouped(keep.targets),
        ));
    }
    if keep.targets_never_seen > 0 {
        text.push_str(&format!("Never seen: {}\n", grouped(keep.targets_never_seen)));
    }
    if let Some(oldest) = &keep.oldest {
        let age = duration_words(oldest.age_seconds);
        text.push_str(&format!("Oldest: {}, seen {age} ago\n", clean(&oldest.addresses)));
    }
    text.push_str(&match (keep.can_be_held, keep.needed_pps, keep.pass_seconds) {
        (Some(true), Some(needed), Some(pass)) => {
            format!(
                "Budget: enough; a pass takes {}, the promise needs {}/s\n",
                seconds(pass),
                counted(needed, "packet")
            )
        }
        (Some(false), Some(needed), Some(pass)) => format!(
            "Budget: too small; a pass takes {}, the promise needs {}/s\n",
            seconds(pass),
            counted(needed, "packet")
        ),
        _ => "Budget: not measured yet\n".to_owned(),
    });
    text.push_str(&format!(
        "Answers: {} up, {}, in {} of {}; {} changed lately\n",
        counted(keep.hosts_up, "host"),
        counted(keep.open_ports, "open port"),
        grouped(keep.slices_answering),
        counted(keep.slices, "slice"),
        grouped(keep.slices_changed),
    ));
    if let Some(job) = &keep.job_id {
        text.push_str(&format!("Pass: {}\n", clean(job)));
    }
    if let Some(why) = &keep.held {
        text.push_str(&format!("Held: {}\n", clean(why)));
    }
    if let Some(reason) = &keep.reason {
        text.push_str(&format!("Refused: {}\n", clean(reason)));
    }
    text
}

/// A share that is not all is never shown as all.
fn fresh(keep: &KeepDocument) -> String {
    format!("{}%", (keep.fresh_share * 1_000.0).floor() / 10.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a pass, never negative")]
fn seconds(seconds: f64) -> String {
    duration_words(seconds.ceil().max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;
    use crate::document::KeepOldest;

    fn keep() -> KeepDocument {
        KeepDocument {
            name: "office".into(),
            status: "active".into(),
            title: "10.0.0.0/8".into(),
            fresh_seconds: 7 * 86_400,
            rate_pps: 5_000,
            targets: 16_777_216,
            targets_excluded: 0,
            targets_fresh: 16_777_215,
            targets_never_seen: 0,
            fresh_share: 16_777_215.0 / 16_777_216.0,
            oldest: Some(KeepOldest { addresses: "10.3.0.0/16".into(), seen_at: String::new(), age_seconds: 7_265 }),
            pass_seconds: Some(302_400.0),
            needed_pps: Some(2_500),
            can_be_held: Some(true),
            slices: 256,
            slices_answering: 3,
            slices_changed: 1,
            hosts_up: 1,
            open_ports: 2,
            job_id: Some("job-000009".into()),
            held: None,
            latest_jobs: Vec::new(),
            reason: None,
            created_at: String::new(),
        }
    }

    #[test]
    fn a_status_tells_the_share_the_oldest_and_the_budget() {
        let expected = "\
office: 10.0.0.0/8 every 7d 0h within 5,000 packets/s
Status: Active
Fresh: 16,777,215 of 16,777,216 addresses (99.9%)
Oldest: 10.3.0.0/16, seen 2h 1m ago
Budget: enough; a pass takes 3d 12h, the promise needs 2,500 packets/s
Answers: 1 host up, 2 open ports, in 3 of 256 slices; 1 changed lately
Pass: job-000009
";
        assert_eq!(status_text(&keep()), expected);
        let short = KeepDocument {
            targets_never_seen: 5,
            oldest: None,
            can_be_held: Some(false),
            job_id: None,
            status: "refused".into(),
            reason: Some("outside the scope".into()),
            ..keep()
        };
        let text = status_text(&short);
        assert!(text.contains("Never seen: 5\nBudget: too small; a pass takes 3d 12h"), "{text}");
        assert!(text.ends_with("Refused: outside the scope\n"), "{text}");
        let held = KeepDocument { status: "held".into(), held: Some("blackout `freeze`".into()), ..keep() };
        assert!(status_text(&held).ends_with("Pass: job-000009\nHeld: blackout `freeze`\n"));
        let excluded =
            KeepDocument { targets: 256, targets_excluded: 6, targets_fresh: 200, fresh_share: 0.8, ..keep() };
        let told = "Fresh: 200 of 250 addresses (80%)\nExcluded: 6 of 256 addresses, which are not counted\n";
        assert!(status_text(&excluded).contains(told), "{}", status_text(&excluded));
        let new = KeepDocument { can_be_held: None, needed_pps: None, pass_seconds: None, ..keep() };
        assert!(status_text(&new).contains("Budget: not measured yet"));
    }

    #[test]
    fn a_list_has_a_line_per_promise() {
        let heads = ["Name", "Status", "Scans", "Promise", "Fresh", "Oldest", "Budget", "Needed"];
        let row = ["office", "Active", "10.0.0.0/8", "7d 0h", "99.9%", "2h 1m", "5,000 pps", "2,500 pps"];
        assert_eq!(cells(&[keep()]), [heads, row]);
    }
}
