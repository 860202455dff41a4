//! `pentora audit list|export|verify`: what was asked of the API, by whom, and what came of it.

mod verify;

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use self::verify::{Verified, verify};
use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::list::{ListArgs, list};
use super::output::{clean, grouped};
use super::received;
use super::rules::listed;
use super::shown::ShownArgs;
use super::table::{Column, NOTHING, Tabular};
use crate::client::Client;
use crate::document::AuditDocument;
use crate::failure::{ExitCode, Failure};

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Print the entries that the cluster keeps, oldest first.
    #[command(before_help = "Examples:\n  pentora audit list\n  pentora audit list --json")]
    List(ListArgs),
    /// Write the entries to a file that can be verified without a node, signed by the node that is asked.
    #[command(before_help = "Example:\n  pentora audit export audit-2026-11.jsonl")]
    Export(ExportArgs),
    /// Say whether an export is whole and unchanged; asks no node.
    #[command(before_help = "Examples:\n  pentora audit verify audit-2026-11.jsonl\n  \
                             pentora audit verify audit-2026-12.jsonl --after audit-2026-11.jsonl")]
    Verify(VerifyArgs),
}

/// Where the entries go.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The file, which must not be there yet. It appears under its name once it is whole.
    file: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which export.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The file.
    file: PathBuf,
    /// An earlier export that it must go on from, with nothing between them lost.
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// The key of the node that must have signed it: `key` of that node in `pentora cluster status --json` [default: whoever signed it is printed, and not looked at].
    #[arg(long, value_name = "KEY")]
    signer: Option<String>,
    #[command(flatten)]
    form: ShownArgs,
}

impl Tabular for AuditDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("No.", |entry| entry.number.to_string()),
            Column::new("At", |entry| entry.at.clone()),
            Column::new("Who", |entry| listed(std::slice::from_ref(&entry.who))),
            Column::new("From", |entry| listed(std::slice::from_ref(&entry.from))),
            Column::new("Action", |entry| entry.action.clone()),
            Column::new("On", |entry| listed(std::slice::from_ref(&entry.object))),
            Column::new("Outcome", outcome),
        ]
    }
}

fn outcome(entry: &AuditDocument) -> String {
    let status = entry.status.map_or_else(|| NOTHING.to_owned(), |status| status.to_string());
    let times = if entry.times > 1 { format!(", {} times", entry.times) } else { String::new() };
    match (entry.outcome.as_str(), entry.asked) {
        // A login is noted once.
        ("answered", Some(0)) => format!("{status}{times}"),
        ("answered", Some(asked)) => format!("{status} (asked in {asked})"),
        ("refused", _) => format!("refused, {status}{times}"),
        (word, _) => format!("{word}{times}"),
    }
}

/// Carries the command out.
///
/// # Errors
/// No node answers, the disk refuses, or an export is not what it says.
pub(super) async fn run(command: AuditCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        AuditCommand::List(args) => list(&args, context, Client::audit).await,
        AuditCommand::Export(args) => export(args, context).await,
        AuditCommand::Verify(args) => {
            let verified = verified(&args.file)?;
            if let Some(after) = &args.after {
                verified.goes_on_from(&self::verified(after)?).map_err(|why| broken(&args.file, &why))?;
            }
            if let Some(signer) = args.signer.filter(|signer| *signer != verified.signer) {
                let why = format!("it is signed by {}, not by {signer}", verified.signer);
                return Err(broken(&args.file, &why));
            }
            context.output.print(&args.form.text(&document(&verified), || told(&verified)))
        }
    }
}

/// What it is called where its name is taken.
const EXPORT: &str = "export";

async fn export(args: ExportArgs, context: &mut Context) -> Result<(), Failure> {
    received::is_new(&args.file, EXPORT)?;
    let session = ApiSession::open(&args.node, context)?;
    let pieces = session.client.audit_export().await.map_err(|error| session.failure(&error))?;
    let verified = received::keep(&session, pieces, (&args.file, EXPORT), verified).await?;
    context.say(told(&verified).trim_end());
    Ok(())
}

fn verified(path: &std::path::Path) -> Result<Verified, Failure> {
    let file =
        File::open(path).map_err(|error| Failure::new(ExitCode::Failure, format!("{}: {error}", path.display())))?;
    verify(BufReader::new(file)).map_err(|why| broken(path, &why.to_string()))
}

fn broken(path: &std::path::Path, why: &str) -> Failure {
    Failure::new(ExitCode::Failure, format!("{} cannot be trusted", path.display())).because(clean(why))
}

fn told(verified: &Verified) -> String {
    let Verified { cluster, gone, last, signer, .. } = verified;
    let numbers = format!("({} to {})", grouped(gone.saturating_add(1)), grouped(*last));
    let entries = match last.saturating_sub(*gone) {
        0 => "no entries".to_owned(),
        1 => format!("1 entry {numbers}"),
        entries => format!("{} entries {numbers}", grouped(entries)),
    };
    format!("audit log of cluster {cluster}: {entries}, whole and unchanged since {} signed it\n", clean(signer))
}

fn document(verified: &Verified) -> serde_json::Value {
    let Verified { cluster, gone, last, digest, signer, .. } = verified;
    json!({
        "cluster": cluster.to_string(), "first": gone.saturating_add(1), "last": last, "digest": hex::encode(digest.0), "signer": signer,
    })
}
