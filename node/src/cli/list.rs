//! List commands: a node is asked, and what it lists is printed as a table or as JSON, once or each second.
//!
//! A new list command is a file with the columns of its entries ([`Tabular`]) and a call of [`list`], its subcommand in `cli`,
//! and the question in `client`.

use clap::Args;
use serde::Serialize;

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::output::Output;
use super::table::{Tabular, table};
use super::watch::{View, json, show};
use crate::client::{Client, ClientError};
use crate::failure::Failure;

/// How a list is printed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print JSON, with all fields.
    #[arg(long)]
    pub(super) json: bool,
    /// Print again each second.
    #[arg(long)]
    pub(super) watch: bool,
    #[command(flatten)]
    pub(super) node: NodeArgs,
}

/// What a list is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One line of JSON.
    Json,
    /// A table, its boxes in ASCII or not.
    Table {
        /// Whether characters beyond ASCII may draw it.
        unicode: bool,
    },
}

impl Form {
    /// JSON where it was asked for, otherwise a table that `output` can show.
    pub(super) fn of(is_json: bool, output: &Output) -> Self {
        if is_json { Self::Json } else { Self::Table { unicode: output.unicode } }
    }
}

/// A list as text.
pub(super) fn text<T: Tabular + Serialize>(items: &[T], form: Form) -> String {
    match form {
        Form::Json => json(&items),
        Form::Table { unicode } => table(unicode, items),
    }
}

/// Asks a node for a list and prints it.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn list<T: Tabular + Serialize>(
    args: &ListArgs,
    context: &mut Context,
    ask: impl AsyncFn(&Client) -> Result<Vec<T>, ClientError>,
) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let form = Form::of(args.json, &context.output);
    show(context, args.watch, async || {
        let items = ask(&session.client).await.map_err(|error| session.failure(&error))?;
        Ok(View { text: text(&items, form), last: false })
    })
    .await
}
