//! `pentora worker export|import|orders`: files of a worker without a network. They ask its directories, and no process.

use std::path::{Path, PathBuf};

use clap::Args;
use pentora_p2p::PeerId;
use serde::Serialize;

use super::super::context::Context;
use super::super::list::{Form, text};
use super::super::output::{clean, counted, grouped};
use super::super::shown::ShownArgs;
use super::super::table::{Column, Tabular};
use super::failed;
use crate::airgap::encryption::Recipient;
use crate::airgap::kept::{Kept, Which};
use crate::airgap::manifest::{Order, Unit};
use crate::airgap::queue::Queue;
use crate::airgap::{BundleError, medium};
use crate::clock::{rfc3339, wall_ms};
use crate::config::{FlagValue, NodeConfig, Purpose, Raw};
use crate::data_dir::key_in;
use crate::failure::{ExitCode, Failure};

/// Where a worker without a network has its things.
#[derive(Debug, Args)]
pub(in super::super) struct WorkerArgs {
    /// Where its identity is, as it was started with.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

/// `pentora worker export`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora worker export --output /mnt/usb/results-2025-07-10.tar.gz\n  \
                         pentora worker export --encrypt --output /mnt/usb/results-2025-07-10.tar.gz.age")]
pub(in super::super) struct ResultsOutArgs {
    /// The file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Write all results that are not known to have arrived, and not the new ones alone: after a bundle was lost.
    #[arg(long)]
    all: bool,
    /// Encrypt it, in the age format, to the cluster's key, which came with its orders; so it always is with sync.encrypt.
    #[arg(long)]
    encrypt: bool,
    /// Encrypt it to this key in place of the cluster's. The cluster reads nothing that is encrypted to another.
    #[arg(long, value_name = "KEY")]
    recipient: Option<Recipient>,
    #[command(flatten)]
    worker: WorkerArgs,
}

/// `pentora worker import`.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  pentora worker import --file /mnt/usb/orders.tar.gz")]
pub(in super::super) struct OrdersInArgs {
    /// The bundle that the cluster wrote.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Take orders of the cluster whose member has this key, now and from now on. `pentora coordinator export` prints it.
    #[arg(long, value_name = "KEY")]
    trust: Option<PeerId>,
    #[command(flatten)]
    worker: WorkerArgs,
}

/// `pentora worker orders`.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  pentora worker orders")]
pub(in super::super) struct OrdersArgs {
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    worker: WorkerArgs,
}

/// A worker's directories, where its configuration says.
struct Place {
    config: NodeConfig,
    queue: Queue,
    kept: Kept,
}

impl Place {
    fn of(args: &WorkerArgs, context: &Context) -> Result<Self, Failure> {
        let flag = args.data_dir.as_ref().map(|directory| FlagValue {
            key: "node.data_dir",
            flag: "--data-dir",
            value: Raw::Text(directory.clone()),
        });
        let config = context.load_with_memory(Purpose::Node, flag.into_iter().collect())?.config;
        if !config.worker.standalone {
            return Err(Failure::new(ExitCode::Config, "this is not the configuration of a standalone worker")
                .because("worker.mode is cluster: its results go over the mesh by themselves")
                .next("name the worker's configuration: --config FILE, or its --data-dir"));
        }
        let in_data_dir =
            |named: &Option<PathBuf>, name: &str| named.clone().unwrap_or_else(|| config.data_dir.join(name));
        let queue = in_data_dir(&config.worker.local_queue, "queue");
        let results = in_data_dir(&config.worker.local_results, "results");
        let queue = Queue::open(&queue).map_err(|error| failed(&queue, &error))?;
        let kept = Kept::open(&results, config.results.free_space_floor.0).map_err(|error| failed(&results, &error))?;
        Ok(Self { config, queue, kept })
    }

    fn key(&self) -> Result<pentora_p2p::Identity, Failure> {
        key_in(&self.config.data_dir).map_err(|error| Failure::new(ExitCode::Failure, error.to_string()))
    }
}

/// Writes results to a file.
///
/// # Errors
/// The medium is not what it must be, or the disk refuses.
pub(in super::super) fn export_results(args: &ResultsOutArgs, context: &Context) -> Result<(), Failure> {
    let place = Place::of(&args.worker, context)?;
    let refused = |error: &BundleError| failed(&args.output, error);
    if place.config.sync.require_mount {
        medium::require_mount(medium::directory_of(&args.output)).map_err(|error| refused(&error.into()))?;
    }
    let told = place.queue.told().map_err(|error| refused(&error))?;
    let has_orders = told.is_some();
    let cluster = told.map(|told| told.cluster).unwrap_or_default();
    let which = if args.all { Which::All } else { Which::New };
    let said = (cluster, place.config.name.clone(), rfc3339(wall_ms()));
    let key = place.key()?;
    let to = match &args.recipient {
        Some(named) => Some(named.clone()),
        None if args.encrypt || place.config.sync.encrypt => {
            Some(place.queue.recipient().map_err(|error| refused(&error))?)
        }
        None => None,
    };
    let written = place.kept.write(&args.output, which, &key, to.as_ref(), said).map_err(|error| refused(&error))?;
    let bundle = match (written.first, written.last) {
        (first, last) if last < first => "nothing new".to_owned(),
        (first, last) if first == last => format!("bundle {last}"),
        (first, last) => format!("bundles {first}-{last}"),
    };
    let encrypted = to.as_ref().map_or_else(String::new, |to| format!("encrypted to {to}, "));
    let is_clusters = to.is_none() || place.queue.recipient().ok() == to;
    context.say(format_args!(
        "{bundle}: {} of {}; {encrypted}signed by {}\n{}",
        counted(written.units, "unit"),
        counted(written.jobs, "job"),
        key.peer_id(),
        way_on(is_clusters, &args.output, &key.peer_id()),
    ));
    if !has_orders {
        context.say("no orders were taken in yet, so this file is of no cluster, and none takes it");
    }
    if written.left > 0 {
        context.say(format_args!("{} more wait for the next bundle", counted(written.left, "unit")));
    }
    Ok(())
}

/// How results that were written come into the cluster, which reads no key but its own.
fn way_on(is_clusters: bool, file: &Path, signer: &PeerId) -> String {
    let file = file.display();
    if is_clusters {
        return format!(
            "on a node of the cluster:\n  pentora coordinator import --file {file}\n  (the first time also --trust {signer})"
        );
    }
    "the cluster's key is another, so no node reads this file as it is: who has the key decrypts it (age --decrypt), and what \
     comes of that is taken in with `pentora coordinator import`"
        .to_owned()
}

/// Takes orders in.
///
/// # Errors
/// The bundle is refused, with nothing changed; or the disk refuses.
pub(in super::super) fn import_orders(args: &OrdersInArgs, context: &Context) -> Result<(), Failure> {
    let place = Place::of(&args.worker, context)?;
    let floor_bytes = place.config.results.free_space_floor.0;
    let told = place.queue.take_in(&args.file, args.trust, floor_bytes).map_err(|error| failed(&args.file, &error))?;
    context.say(format_args!(
        "{} of cluster {}, index {} of its log: a standalone worker begins with them within a second\n  pentora worker orders",
        counted(told.orders.orders.len() as u64, "order"),
        clean(&told.cluster),
        told.orders.revision,
    ));
    Ok(())
}

/// An order as it is listed.
#[derive(Debug, Serialize)]
struct Listed {
    job_id: String,
    title: String,
    priority: String,
    targets: u64,
    counted: u64,
    kept: u64,
}

impl Tabular for Listed {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Order", |order| order.job_id.clone()),
            Column::new("Priority", |order| order.priority.clone()),
            Column::new("Targets", |order| grouped(order.targets)),
            Column::new("Done here", |order| grouped(order.kept)),
            Column::new("Counted by the cluster", |order| grouped(order.counted)),
            Column::new("Title", |order| order.title.clone()),
        ]
    }
}

/// What a worker without a network is to do, what it has done, and who it is.
#[derive(Debug, Serialize)]
struct Standing {
    name: String,
    key: String,
    cluster: Option<String>,
    orders: Vec<Listed>,
    bundles_written: u64,
    bundles_underway: u64,
}

/// Prints the orders.
///
/// # Errors
/// The directories do not read.
pub(in super::super) fn orders(args: &OrdersArgs, context: &mut Context) -> Result<(), Failure> {
    let place = Place::of(&args.worker, context)?;
    let wrong = |error: BundleError| Failure::new(ExitCode::Failure, error.to_string());
    let told = place.queue.told().map_err(wrong)?;
    let units = place.kept.units().map_err(wrong)?;
    let bundles = place.kept.bundles().map_err(wrong)?;
    let listed = |order: &Order| Listed {
        job_id: order.job.to_string(),
        title: order.title.clone(),
        priority: order.priority.to_string(),
        targets: order.partitions.iter().map(|part| part.target_count).sum(),
        counted: order.counted.iter().map(|range| range.targets()).sum(),
        kept: units.values().filter(|unit| is_of(unit, order)).map(|unit| unit.unit.targets()).sum(),
    };
    let standing = Standing {
        name: place.config.name.clone(),
        key: place.key()?.peer_id().to_string(),
        cluster: told.as_ref().map(|told| told.cluster.clone()),
        orders: told.iter().flat_map(|told| told.orders.orders.iter()).map(listed).collect(),
        bundles_written: bundles.count(),
        bundles_underway: bundles.underway(),
    };
    if let Some(text) = args.form.data(&standing) {
        return context.output.print(&text);
    }
    context.output.print(&text(&standing.orders, Form::of(false, &context.output)))?;
    context.say(format_args!(
        "{}, key {}; {} written, {} of them not known to have arrived",
        clean(&standing.name),
        standing.key,
        counted(standing.bundles_written, "bundle"),
        grouped(standing.bundles_underway)
    ));
    if standing.cluster.is_none() {
        context.say("no orders were taken in yet: pentora worker import --file FILE --trust KEY");
    }
    Ok(())
}

fn is_of(unit: &Unit, order: &Order) -> bool {
    unit.job == order.job && unit.spec == order.spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cluster_cannot_read_is_not_said_to_be_taken_in_as_it_is() {
        let (file, signer) =
            (Path::new("/mnt/usb/r.tar.gz.age"), pentora_p2p::Identity::from_secret([5; 32]).peer_id());
        let own = way_on(true, file, &signer);
        assert!(
            own.contains("pentora coordinator import --file /mnt/usb/r.tar.gz.age\n") && own.contains("--trust 12D3")
        );
        let others = way_on(false, file, &signer);
        assert!(others.contains("no node reads this file as it is") && !others.contains("--file /mnt"), "{others}");
    }
}
