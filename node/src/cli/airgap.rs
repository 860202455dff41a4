//! Bundles: `pentora coordinator export|import` and `coordinator offline` on the cluster's side of an air gap, and
//! `pentora worker export|import|orders` on the other, where no node has to run.

mod worker;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use pentora_p2p::PeerId;

pub(super) use self::worker::{OrdersArgs, OrdersInArgs, ResultsOutArgs, export_results, import_orders, orders};
use super::api_session::{ApiSession, NodeArgs};
use super::confirm::{YesArgs, confirm};
use super::context::Context;
use super::list::{ListArgs, list};
use super::output::{clean, counted, grouped};
use super::shown::ShownArgs;
use super::table::{Column, Tabular, or_nothing};
use crate::airgap::queue::{Queue, Told};
use crate::airgap::{BundleError, medium};
use crate::client::{Client, ClientError, Pieces};
use crate::document::{ImportDocument, OfflineWorkerDocument};
use crate::failure::{ExitCode, Failure};

/// `pentora coordinator export`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora scan 10.9.0.0/16 --carry --region plant-7\n  \
                         pentora coordinator export --output /mnt/usb/orders.tar.gz")]
pub(super) struct OrdersOutArgs {
    /// The file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Leave the feeds out; a worker keeps those that it has.
    #[arg(long)]
    no_feeds: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// `pentora coordinator import`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  pentora coordinator import --file /mnt/usb/results-2025-07-10.tar.gz --dry-run\n  \
                         pentora coordinator import --file /mnt/usb/results-2025-07-10.tar.gz"
)]
pub(super) struct ResultsInArgs {
    /// The bundle that a worker without a network wrote.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Check everything and say what would come of it; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Let results of the worker with this key in, now and from now on. `pentora worker orders` prints it there.
    #[arg(long, value_name = "KEY")]
    trust: Option<PeerId>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// `pentora coordinator offline ...`.
#[derive(Debug, Subcommand)]
pub(super) enum OfflineCommand {
    /// Print the workers without a network, and which bundles of theirs are missing.
    #[command(before_help = "Example:\n  pentora coordinator offline list")]
    List(ListArgs),
    /// Let no more results of a worker in. What was counted stays.
    #[command(before_help = "Example:\n  pentora coordinator offline remove plant-7 --yes")]
    Remove(RemoveArgs),
}

/// Which worker.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// Its name.
    name: String,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Writes the cluster's orders to a file.
///
/// # Errors
/// No node answers or it refuses, or the medium does.
pub(super) async fn export_orders(args: OrdersOutArgs, context: &Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let pieces = session.client.export(!args.no_feeds).await.map_err(|error| session.failure(&error))?;
    written(pieces, &args.output, &session)?;
    let told = read_orders(&args.output)?;
    context.say(format_args!(
        "{}, {}, {}, index {} of the log; signed by {}\non the worker:\n  pentora worker import --file {}\n  (the first time also --trust {})",
        counted(told.orders.orders.len() as u64, "order"),
        counted(told.orders.rules.len() as u64, "rule"),
        told.orders.feeds.as_ref().map_or_else(|| "feeds left out".into(), |feeds| counted(feeds.len() as u64, "feed")),
        told.orders.revision,
        told.signer,
        args.output.display(),
        told.signer,
    ));
    if told.orders.orders.is_empty() {
        context.say("hint: a scan is carried out that was submitted with `pentora scan TARGET --carry`");
    }
    Ok(())
}

/// Writes what comes in pieces to a new file, whole or not at all.
///
/// # Errors
/// The rest does not come, or the medium refuses.
pub(super) fn written(mut pieces: Pieces, output: &Path, session: &ApiSession) -> Result<(), Failure> {
    let handle = tokio::runtime::Handle::current();
    let written = tokio::task::block_in_place(|| {
        medium::write_new(output, |mut file| {
            while let Some(piece) = handle.block_on(pieces.next())? {
                let at = |source| BundleError::Io { path: output.to_owned(), source };
                file.write_all(&piece).map_err(at)?;
            }
            Ok::<(), NotWritten>(())
        })
    });
    match written {
        Ok(()) => Ok(()),
        Err(NotWritten::Client(error)) => Err(session.failure(&error)),
        Err(NotWritten::Bundle(error)) => Err(failed(output, &error)),
    }
}

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl From<medium::MediumError> for NotWritten {
    fn from(error: medium::MediumError) -> Self {
        Self::Bundle(error.into())
    }
}

/// What a bundle says that was just written: that it reads is seen before it travels.
fn read_orders(path: &Path) -> Result<Told, Failure> {
    Queue::peek(path).map_err(|error| failed(path, &error))
}

/// Takes a bundle of results in.
///
/// # Errors
/// No node answers, or the bundle is refused.
pub(super) async fn import_results(args: ResultsInArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let at = |error: std::io::Error| Failure::new(ExitCode::Failure, format!("{}: {error}", args.file.display()));
    // Opening a pipe would wait for whoever writes into it.
    if !tokio::fs::metadata(&args.file).await.map_err(at)?.is_file() {
        return Err(Failure::new(ExitCode::Usage, format!("{} is no file", args.file.display())));
    }
    let file = tokio::fs::File::open(&args.file).await.map_err(at)?;
    let taken = session.client.import(file, args.dry_run, args.trust).await;
    let taken = taken.map_err(|error| session.failure(&error))?;
    let text = args.form.text(&taken, || told(&taken));
    context.output.print(&text)?;
    for missing in &taken.missing_bundles {
        context.warn(format_args!(
            "{} of {} {} never carried in: carry {}, or have the worker write everything again with `pentora worker \
             export --all`",
            numbered(missing),
            clean(&taken.worker_id),
            if are_several(missing) { "were" } else { "was" },
            if are_several(missing) { "them" } else { "it" },
        ));
    }
    Ok(())
}

/// `bundle 3`, or `bundles 3-4`.
fn numbered(numbers: &str) -> String {
    format!("{} {}", if are_several(numbers) { "bundles" } else { "bundle" }, clean(numbers))
}

/// Whether numbers as [`crate::airgap::incoming::numbers`] writes them are more than one.
fn are_several(numbers: &str) -> bool {
    numbers.contains('-')
}

/// What came of a bundle, a line each.
fn told(taken: &ImportDocument) -> String {
    let would = if taken.dry_run { "would be counted" } else { "counted" };
    let mut text = format!(
        "{}{}{}: {} {would} ({}), {} known before\n",
        clean(&taken.worker_id),
        taken.bundles.as_ref().map_or_else(|| ", nothing new".into(), |bundles| format!(", {}", numbered(bundles))),
        match (taken.let_in, taken.dry_run) {
            (true, false) => ", let in now",
            (true, true) => ", to be let in",
            _ => "",
        },
        counted(taken.units_counted, "unit"),
        counted(taken.targets_counted, "target"),
        grouped(taken.units_known),
    );
    for job in &taken.jobs {
        text.push_str(&format!(
            "  {}: {}, {} up\n",
            clean(&job.job_id),
            counted(job.targets, "target"),
            counted(job.hosts_up, "host")
        ));
    }
    for left in &taken.left_out {
        text.push_str(&format!(
            "  {}: {} left out: {}\n",
            clean(&left.job_id),
            counted(left.units, "unit"),
            clean(&left.reason)
        ));
    }
    text
}

/// Lists and removes workers without a network.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn offline(command: OfflineCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        OfflineCommand::List(args) => list(&args, context, Client::offline_workers).await,
        OfflineCommand::Remove(args) => {
            let session = ApiSession::open(&args.node, context)?;
            confirm(args.yes, &format!("no more results of {} are let in", clean(&args.name)), context)?;
            session.client.remove_offline_worker(&args.name).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("results of {} are not let in any more", args.name));
            Ok(())
        }
    }
}

impl Tabular for OfflineWorkerDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Worker ID", |worker| worker.worker_id.clone()),
            Column::new("Since", |worker| worker.since.clone()),
            Column::new("Last import", |worker| or_nothing(worker.last_import.as_ref())),
            Column::new("Bundles", |worker| worker.last_bundle.to_string()),
            Column::new("Missing", |worker| {
                if worker.missing_bundles.is_empty() { "none".into() } else { worker.missing_bundles.join(", ") }
            }),
            Column::new("Key", |worker| worker.key.clone()),
        ]
    }
}

/// What an error means for a command, with the way on.
fn failed(file: &Path, error: &BundleError) -> Failure {
    let exit = match error {
        BundleError::Medium(medium::MediumError::Io { .. }) => ExitCode::Failure,
        BundleError::Medium(_) => ExitCode::Refused,
        _ if error.is_of_bundle() => ExitCode::Refused,
        _ => ExitCode::Failure,
    };
    let failure = match error {
        BundleError::NoRecipient | BundleError::NoOrders => {
            let failure = Failure::new(ExitCode::Refused, "no results were written").because(error.to_string());
            return failure.next(match error {
                BundleError::NoOrders => {
                    "take orders in that `pentora coordinator export` wrote, or name a key with --recipient"
                }
                _ => "write new orders with `pentora coordinator export` and take them in, or name a key with --recipient",
            });
        }
        BundleError::Medium(_) | BundleError::Io { .. } => Failure::new(exit, error.to_string()),
        _ => Failure::new(exit, format!("{} is refused, and nothing was changed", file.display()))
            .because(error.to_string()),
    };
    match error {
        BundleError::UnknownSigner { signer } => failure.next(format!(
            "hold the key against the one that the other side printed; if it is the same, add --trust {signer}"
        )),
        BundleError::Medium(medium::MediumError::NotMounted { .. }) => failure.next("mount the medium, and try again"),
        BundleError::Medium(medium::MediumError::Exists { .. }) => failure.next("name another file"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;
    use crate::document::{ImportedJob, LeftOut};

    #[test]
    fn what_came_of_a_bundle_is_told_with_what_was_left_out_and_why() {
        let taken = ImportDocument {
            worker_id: "wrk_plant_7".into(),
            bundles: Some("2-3".into()),
            let_in: true,
            units_counted: 2,
            targets_counted: 1_256,
            units_known: 1,
            jobs: vec![ImportedJob { job_id: "job-00002a".into(), targets: 1_256, hosts_up: 1 }],
            left_out: vec![LeftOut { job_id: "job-000001".into(), units: 1, reason: "the job is cancelled".into() }],
            ..ImportDocument::default()
        };
        let expected = "wrk_plant_7, bundles 2-3, let in now: 2 units counted (1,256 targets), 1 known before\n  \
                        job-00002a: 1,256 targets, 1 host up\n  job-000001: 1 unit left out: the job is cancelled\n";
        assert_eq!(told(&taken), expected);
        let dry = ImportDocument { dry_run: true, bundles: None, ..ImportDocument::default() };
        assert!(told(&dry).contains("nothing new: 0 units would be counted"), "{}", told(&dry));
        assert_eq!((numbered("3").as_str(), numbered("3-4").as_str()), ("bundle 3", "bundles 3-4"));
    }

    #[test]
    fn a_worker_without_a_network_is_listed_with_the_bundles_that_are_missing() {
        let worker = OfflineWorkerDocument {
            worker_id: "wrk_plant_7".into(),
            name: "plant-7".into(),
            key: "12D3".into(),
            since: "2025-07-10T12:00:00Z".into(),
            last_import: None,
            last_bundle: 4,
            missing_bundles: vec!["2-3".into()],
        };
        let heads = ["Worker ID", "Since", "Last import", "Bundles", "Missing", "Key"];
        assert_eq!(cells(&[worker]), [heads, ["wrk_plant_7", "2025-07-10T12:00:00Z", "-", "4", "2-3", "12D3"]]);
    }
}
