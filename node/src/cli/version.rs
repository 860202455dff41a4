//! `pentora version`.

use clap::Args;

use super::context::Context;
use super::watch::json;
use crate::failure::Failure;

/// How it is printed.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  pentora version --json")]
pub(super) struct VersionArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints this program's version.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn run(args: &VersionArgs, context: &mut Context) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let text = if args.json {
        json(&serde_json::json!({"name": "pentora", "version": version, "api": "v1"}))
    } else {
        format!("pentora {version}\n")
    };
    context.output.print(&text)
}
