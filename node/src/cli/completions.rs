//! `pentora completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use super::context::Context;
use crate::failure::Failure;

/// For which shell.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  pentora completions bash > /etc/bash_completion.d/pentora")]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script for the program's own name.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn run(
    args: &CompletionsArgs,
    program: &str,
    command: &mut clap::Command,
    context: &mut Context,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, program, &mut script);
    context.output.print(&String::from_utf8_lossy(&script))
}
