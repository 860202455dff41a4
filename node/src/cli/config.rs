//! `pentora config check|show|schema`. Binds and dials nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::context::Context;
use crate::config::{Purpose, schema, show};
use crate::failure::Failure;

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check file and environment; exit 8 with every problem and its place.
    #[command(before_help = "Example:\n  pentora config check /etc/pentora/pentora.yaml")]
    Check(FileArgs),
    /// Print the effective configuration as YAML, secrets hidden.
    #[command(before_help = "Example:\n  pentora config show --origin")]
    Show(ShowArgs),
    /// Print the file's JSON Schema, for editors.
    #[command(before_help = "Example:\n  pentora config schema > pentora.schema.json")]
    Schema,
}

/// Which file.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The file [default: as --config].
    file: Option<PathBuf>,
}

/// How it is printed.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Say where each value came from.
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    file: FileArgs,
}

/// Carries the command out.
///
/// # Errors
/// Exit 8 with everything that is wrong.
pub(super) fn run(command: ConfigCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(args) => {
            context.global.config = args.file.or(context.global.config.take());
            let text = context.config_text(Purpose::Node)?;
            let name =
                text.as_ref().map_or_else(|| "no file, environment and defaults".to_owned(), |text| text.name.clone());
            let loaded = context.load(Purpose::Node, Vec::new())?;
            for warning in &loaded.warnings {
                context.say(format_args!("warning: {warning}"));
            }
            context.output.print(&format!("{name}: ok\n"))
        }
        ConfigCommand::Show(args) => {
            context.global.config = args.file.file.or(context.global.config.take());
            let loaded = context.load_with_memory(Purpose::Node, Vec::new())?;
            context.output.print(&show(&loaded, args.origin))
        }
        ConfigCommand::Schema => {
            let text = serde_json::to_string_pretty(&schema()).expect("a schema has only strings, numbers and lists");
            context.output.print(&format!("{text}\n"))
        }
    }
}
