//! `pentora feed import|update|list|status|remove`: the data that services are matched with.
//!
//! Files are read and made into a bundle here, so that a node is never given anything but sorted entries. Where there is
//! a cluster, the bundle goes to it; otherwise it is kept for scans from this machine.

mod mirrors;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::mirrors::Mirrors;
use super::api_session::{ApiSession, NodeArgs, cluster_here};
use super::confirm::{YesArgs, confirm};
use super::context::Context;
use super::list::{self, FormArgs};
use super::output::{counted, grouped};
use super::shown::ShownArgs;
use super::table::{Column, Tabular};
use crate::clock::{rfc3339, wall_ms};
use crate::config::Purpose;
use crate::document::{FeedDocument, duration_words};
use crate::durable_file::{self, Readers};
use crate::failure::{ExitCode, Failure};
use crate::feeds::compile::{self, Compiled};
use crate::feeds::{FeedKind, FeedStore};

/// Exploit scores change daily and the catalogue of exploited weaknesses weekly: older than this, they mislead.
const STALE_AFTER_S: u64 = 14 * 24 * 3600;
/// Most of what could not be looked at in a folder of mirrors that is named.
const UNREAD_SHOWN_MAX: usize = 8;

/// What can be done with feeds.
#[derive(Debug, Subcommand)]
pub(super) enum FeedCommand {
    /// Read files and make them the feed of their kind; the one before it stays until the new one is whole.
    #[command(
        before_help = "Examples:\n  pentora feed import cve cvelistV5.zip\n  pentora feed import osv osv-debian/\n  \
                             pentora feed import kev known_exploited_vulnerabilities.json\n  \
                             pentora feed import recog recog/xml/\n  pentora feed import exposures my-rules/"
    )]
    Import(ImportArgs),
    /// Import what is new in a folder of mirrors: a checkout of cvelistV5, files of the NVD, OSV's archives, CISA's catalogue of
    /// exploited weaknesses, FIRST's scores. Nothing is fetched. What has not changed since it was imported is passed over, and
    /// an interrupted update goes on with the kinds that it had not come to.
    #[command(before_help = "Examples:\n  pentora feed update --from /srv/mirrors")]
    Update(UpdateArgs),
    /// Print the feeds.
    #[command(before_help = "Example:\n  pentora feed list")]
    List(ListArgs),
    /// Say how old each feed is, and which are missing.
    #[command(before_help = "Example:\n  pentora feed status")]
    Status(StatusArgs),
    /// Take a feed away.
    #[command(before_help = "Example:\n  pentora feed remove osv --yes")]
    Remove(RemoveArgs),
}

/// What to import.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// What the files are: cve (CVE records v5), osv, nvd (API 2.0), kev (CISA), epss (FIRST), recog (or fingerprints; XML),
    /// probes (one file of service probes), exposures (TOML, in the format of the program's own rules).
    kind: FeedKind,
    /// Files or folders of them; .zip and .gz are read as they are.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Keep the feed for scans from this machine, even where there is a cluster.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// What to update from.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The folder that the mirrors are in.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Import what has not changed as well.
    #[arg(long)]
    force: bool,
    /// Keep the feeds for scans from this machine, even where there is a cluster.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// How the list is printed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    whose: WhoseArgs,
}

/// How their ages are printed.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    whose: WhoseArgs,
}

/// Whose feeds are shown.
#[derive(Debug, Args)]
pub(super) struct WhoseArgs {
    /// Show what is kept for scans from this machine, even where there is a cluster.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which feed.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// Which kind.
    kind: FeedKind,
    /// The one kept for scans from this machine, even where there is a cluster.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

impl Tabular for FeedDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Feed", |feed| feed.kind.clone()),
            Column::new("Records", |feed| grouped(feed.records)),
            Column::new("Imported (UTC)", |feed| {
                feed.imported_at.get(..16).unwrap_or(&feed.imported_at).replace('T', " ")
            }),
            Column::new("By", |feed| feed.signer.clone()),
            Column::new("State", |feed| if feed.in_use { "in use" } else { "not here yet" }.to_owned()),
            Column::new("Source", |feed| feed.source.clone()),
        ]
    }
}

/// Carries the command out.
///
/// # Errors
/// Files that are no feed, a node that does not answer or refuses, a store that cannot be written.
pub(super) async fn run(command: FeedCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        FeedCommand::Import(args) => {
            let session = session(&args.node, args.local, context).await?;
            import(args.kind, args.paths, session.as_ref(), context).await
        }
        FeedCommand::Update(args) => update(args, context).await,
        FeedCommand::List(args) => {
            let feeds = feeds(&args.whose, context).await?;
            context.output.print(&list::text(&feeds, args.form.form(&context.output)))
        }
        FeedCommand::Status(args) => {
            let feeds = feeds(&args.whose, context).await?;
            let text = args.form.text(&feeds, || status(&feeds, wall_ms() / 1000));
            context.output.print(&text)
        }
        FeedCommand::Remove(args) => {
            confirm(args.yes, &format!("nothing is matched with the feed {} any more", args.kind), context)?;
            match session(&args.node, args.local, context).await? {
                Some(session) => {
                    session.client.remove_feed(args.kind).await.map_err(|error| session.failure(&error))?;
                }
                None => store(context)?.remove(args.kind).map_err(failed)?,
            }
            context.say(format_args!("feed {} is removed", args.kind));
            Ok(())
        }
    }
}

async fn import(
    kind: FeedKind,
    paths: Vec<PathBuf>,
    session: Option<&ApiSession>,
    context: &mut Context,
) -> Result<(), Failure> {
    if let Some(session) = session {
        // Compiling takes a while, and is in vain where the cluster cannot decide.
        session.client.ready().await.map_err(|error| session.failure(&error))?;
    }
    let compiled = tokio::task::spawn_blocking(move || compile::compile(kind, &paths, wall_ms())).await;
    let Compiled { bundle, records, left_out, notes } = compiled.map_err(failed)?.map_err(failed)?;
    let bytes = bundle.len() as u64;
    match session {
        Some(session) => session.client.put_feed(kind, bundle).await.map_err(|error| session.failure(&error))?,
        None => {
            let store = store(context)?;
            let replaced = tokio::task::spawn_blocking(move || store.replace(kind, &bundle)).await;
            replaced.map_err(failed)?.map_err(failed)?;
        }
    }
    for note in notes {
        context.say(format_args!("note: {}", super::output::clean(&note)));
    }
    let out = if left_out > 0 { format!(", {} left out", grouped(left_out)) } else { String::new() };
    context.say(format_args!(
        "feed {kind}: {} in use{out} ({} KiB)",
        counted(records, "record"),
        grouped(bytes / 1024)
    ));
    Ok(())
}

/// What was imported from mirrors, by kind and by whom it was for: the stamp of the files.
type Stamps = std::collections::BTreeMap<String, String>;

async fn update(args: UpdateArgs, context: &mut Context) -> Result<(), Failure> {
    let session = session(&args.node, args.local, context).await?;
    let Mirrors { feeds: found, unread } =
        mirrors::find(&args.from).map_err(|error| failed(format!("{}: {error}", args.from.display())))?;
    for what in unread.iter().take(UNREAD_SHOWN_MAX) {
        context.say(format_args!("note: {} (passed over)", super::output::clean(what)));
    }
    if let Some(more) = unread.len().checked_sub(UNREAD_SHOWN_MAX).filter(|more| *more > 0) {
        context.say(format_args!("note: {more} more could not be looked at"));
    }
    if found.is_empty() {
        let what = format!("{}: there is no mirror of a feed in it", args.from.display());
        return Err(Failure::new(ExitCode::Failure, what).next("see `pentora feed update --help` for what is known"));
    }
    let listing = WhoseArgs { local: args.local, node: args.node };
    let there: Vec<String> = feeds(&listing, context).await?.into_iter().map(|feed| feed.digest).collect();
    let path = folder(context)?.with_extension("mirrors.json");
    let mut stamps: Stamps =
        std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let (whole, mut refused) = (found.len(), Vec::new());
    for (number, (kind, paths)) in (1..).zip(found) {
        let stamp = mirrors::stamp(&paths).map_err(failed)?;
        // What was taken away, or replaced by hand, is imported again.
        let is_known = stamps.get(kind.as_str()).and_then(|known| known.strip_prefix(&stamp)?.strip_prefix(' '));
        if is_known.is_some_and(|digest| there.iter().any(|known| known == digest)) && !args.force {
            context.say(format_args!("feed {kind}: unchanged ({number} of {whole})"));
            continue;
        }
        context.say(format_args!("feed {kind}: reading {} ({number} of {whole})", counted_paths(&paths)));
        if let Err(failure) = import(kind, paths, session.as_ref(), context).await {
            // A file that is no feed says nothing of the others; a cluster that does not answer does.
            if failure.exit != ExitCode::Failure {
                return Err(failure);
            }
            context.warn(format_args!("feed {kind}: not imported: {}", super::output::clean(&failure.what)));
            refused.push(kind.to_string());
            continue;
        }
        let now = feeds(&listing, context).await?;
        if let Some(feed) = now.iter().find(|feed| feed.kind == kind.as_str()) {
            stamps.insert(kind.to_string(), format!("{stamp} {}", feed.digest));
        }
        // After each kind: who interrupts the next has this one.
        let text = serde_json::to_vec_pretty(&stamps).map_err(failed)?;
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        durable_file::write(&path, &text, Readers::Everybody).map_err(failed)?;
    }
    match refused.as_slice() {
        [] => Ok(()),
        kinds => Err(failed(format!("not imported: {}", kinds.join(", ")))
            .because("their files cannot be read; what was in use of them still is, and the other kinds are done")),
    }
}

fn counted_paths(paths: &[PathBuf]) -> String {
    match paths {
        [one] => one.display().to_string(),
        several => format!("{} files and folders", several.len()),
    }
}

async fn feeds(args: &WhoseArgs, context: &Context) -> Result<Vec<FeedDocument>, Failure> {
    if let Some(session) = session(&args.node, args.local, context).await? {
        return session.client.feeds().await.map_err(|error| session.failure(&error));
    }
    let Some(store) = local(context)? else { return Ok(Vec::new()) };
    let mut feeds = Vec::new();
    for kind in FeedKind::ALL {
        feeds.extend(store.current(kind).map_err(failed)?.map(|current| FeedDocument {
            kind: kind.to_string(),
            source: current.heading.source,
            records: current.heading.records,
            bytes: 0,
            digest: current.digest.to_string(),
            imported_at: rfc3339(current.heading.made_at_ms),
            signer: "this machine".to_owned(),
            in_use: true,
        }));
    }
    Ok(feeds)
}

/// One line per kind: what there is, how old it is, what is missing.
fn status(feeds: &[FeedDocument], now_s: u64) -> String {
    let mut text = String::new();
    for kind in FeedKind::ALL {
        let line = match feeds.iter().find(|feed| feed.kind == kind.as_str()) {
            None => format!("{kind:<9} none: pentora feed import {kind} PATH\n"),
            Some(feed) => {
                let at: Option<jiff::Timestamp> = feed.imported_at.parse().ok();
                let age = at.and_then(|at| now_s.checked_sub(u64::try_from(at.as_second()).ok()?)).unwrap_or(0);
                let use_of = if feed.in_use { "in use" } else { "not on this node yet" };
                let is_stale = age > STALE_AFTER_S && matches!(kind, FeedKind::Kev | FeedKind::Epss);
                let stale = if is_stale { "; old: import a newer one" } else { "" };
                let age = duration_words(age);
                format!("{kind:<9} {}, {use_of}, imported {age} ago{stale}\n", counted(feed.records, "record"))
            }
        };
        text.push_str(&line);
    }
    text
}

async fn session(node: &NodeArgs, is_local: bool, context: &Context) -> Result<Option<ApiSession>, Failure> {
    if is_local { Ok(None) } else { cluster_here(node, false, context).await }
}

/// Where feeds for scans from this machine are kept.
fn folder(context: &Context) -> Result<PathBuf, Failure> {
    Ok(context.load(Purpose::Client, Vec::new())?.config.data_dir.join("feeds"))
}

/// The feeds for scans from this machine, if there are any.
pub(super) fn local(context: &Context) -> Result<Option<FeedStore>, Failure> {
    FeedStore::open_to_read(&folder(context)?).map_err(failed)
}

fn store(context: &Context) -> Result<FeedStore, Failure> {
    FeedStore::open(&folder(context)?).map_err(|error| {
        failed(error).next("where a node of this machine has them open, name it: --api, or PENTORA_API")
    })
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(ExitCode::Failure, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    #[test]
    fn a_feed_is_listed_with_its_age_to_the_minute_and_whether_it_is_here() {
        let feed = FeedDocument {
            kind: "kev".into(),
            source: "CISA 2025.07.10".into(),
            records: 1_234,
            bytes: 9,
            digest: "d".into(),
            imported_at: "2025-07-10T12:34:56Z".into(),
            signer: "n1".into(),
            in_use: true,
        };
        let elsewhere = FeedDocument { imported_at: "unknown".into(), in_use: false, ..feed.clone() };
        let heads = ["Feed", "Records", "Imported (UTC)", "By", "State", "Source"];
        let row = |at, state| ["kev", "1,234", at, "n1", state, "CISA 2025.07.10"];
        let expected = [heads, row("2025-07-10 12:34", "in use"), row("unknown", "not here yet")];
        assert_eq!(cells(&[feed, elsewhere]), expected);
    }
}
