//! `pentora version`.

use clap::Args;

use super::context::Context;
use super::shown::ShownArgs;
use crate::failure::Failure;

/// How it is printed.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  pentora version --json")]
pub(super) struct VersionArgs {
    #[command(flatten)]
    form: ShownArgs,
}

/// Prints this program's version.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn run(args: &VersionArgs, context: &mut Context) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let document = serde_json::json!({"name": "pentora", "version": version, "api": "v1"});
    context.output.print(&args.form.text(&document, || format!("pentora {version}\n")))
}
