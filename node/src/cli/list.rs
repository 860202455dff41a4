//! List commands: a node is asked, and what it lists is printed as a table, as JSON, YAML or CSV, once or
//! each second.
//!
//! A new list command is a file with the columns of its entries ([`Tabular`]) and a call of [`list`], its subcommand in `cli`,
//! and the question in `client`.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::output::Output;
use super::shown::yaml;
use super::table::{Tabular, csv, table};
use super::watch::{View, json, show};
use crate::client::{Client, ClientError};
use crate::failure::Failure;

/// What a list can be printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Printed {
    /// A boxed table.
    Table,
    /// One line of JSON, with all fields.
    Json,
    /// A line of JSON per entry, with all fields.
    Jsonl,
    /// A document of YAML, with all fields.
    Yaml,
    /// The columns of the table as comma-separated values.
    Csv,
}

/// In which form a list is printed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct FormArgs {
    /// Print JSON, with all fields: as -o json.
    #[arg(long, conflicts_with = "list_form")]
    json: bool,
    /// Form of the list: table, json (one line), jsonl (a line per entry), yaml, csv [default: table].
    #[arg(
        id = "list_form",
        short = 'o',
        long = "output",
        value_name = "FORM",
        value_enum,
        hide_possible_values = true
    )]
    printed: Option<Printed>,
}

impl FormArgs {
    /// The form that was asked for, and a table where none was.
    pub(super) fn form(self, output: &Output) -> Form {
        match self.printed {
            Some(Printed::Jsonl) => Form::Jsonl,
            Some(Printed::Yaml) => Form::Yaml,
            Some(Printed::Csv) => Form::Csv,
            Some(Printed::Json) => Form::of(true, output),
            Some(Printed::Table) => Form::of(false, output),
            None => Form::of(self.json, output),
        }
    }
}

/// How a list is printed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    form: FormArgs,
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
    /// A line of JSON per entry.
    Jsonl,
    /// A document of YAML.
    Yaml,
    /// Comma-separated values.
    Csv,
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
        Form::Jsonl => items.iter().map(json).collect(),
        Form::Yaml => yaml(&items),
        Form::Csv => csv(items),
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
    let form = args.form.form(&context.output);
    show(context, args.watch, async || {
        let items = ask(&session.client).await.map_err(|error| session.failure(&error))?;
        Ok(View { text: text(&items, form), last: false })
    })
    .await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::table::Column;
    use super::*;

    #[derive(Debug, Serialize)]
    struct Entry {
        name: &'static str,
        says: &'static str,
    }

    impl Tabular for Entry {
        fn columns() -> Vec<Column<Self>> {
            vec![Column::new("Name", |entry| entry.name.into()), Column::new("It says", |entry| entry.says.into())]
        }
    }

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        form: FormArgs,
    }

    fn form(words: &[&str]) -> Option<Form> {
        let line = Line::try_parse_from([&["list"], words].concat()).ok()?;
        Some(line.form.form(&super::super::context::Context::for_test(std::io::sink()).output))
    }

    #[test]
    fn a_list_is_printed_in_the_form_that_was_asked_for() {
        let entries = [Entry { name: "a", says: "-" }, Entry { name: "b", says: "one, \"two\"" }];
        let printed = |words: &[&str]| text(&entries, form(words).unwrap());
        let lines = "{\"name\":\"a\",\"says\":\"-\"}\n{\"name\":\"b\",\"says\":\"one, \\\"two\\\"\"}\n";
        assert_eq!(printed(&["-o", "jsonl"]), lines);
        assert_eq!(printed(&["--output", "csv"]), "Name,It says\na,\nb,\"one, \"\"two\"\"\"\n");
        assert_eq!(printed(&["-o", "json"]), printed(&["--json"]));
        assert!(printed(&["-o", "json"]).starts_with("[{") && printed(&["-o", "table"]) == printed(&[]));
        let read: serde_json::Value = serde_saphyr::from_str(&printed(&["-o", "yaml"])).unwrap();
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(&printed(&["--json"])).unwrap());
        assert!(form(&["-o", "xml"]).is_none() && form(&["--json", "-o", "csv"]).is_none());
    }
}
