//! `pentora-node recover`: a stopped node becomes the only voter, after a person has seen what it keeps.

use std::path::{Path, PathBuf};

use clap::Args;

use super::confirm::{YesArgs, confirm};
use super::context::Context;
use crate::config::{FlagValue, Purpose, Raw};
use crate::failure::Failure;

const EXAMPLE: &str = "\
Examples:
  pentora-node recover --data-dir /var/lib/pentora  on the one node whose log is the longest, after a majority was lost for good
  pentora-node start --data-dir /var/lib/pentora
";

/// `pentora-node recover`.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLE)]
pub(super) struct RecoverArgs {
    /// Where the stopped node keeps everything.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    #[command(flatten)]
    yes: YesArgs,
}

/// A recovery that was asked for.
pub(crate) struct Recovery {
    data_dir: PathBuf,
    yes: YesArgs,
    context: Context,
}

/// Which data directory is meant.
///
/// # Errors
/// Exit 8 for a wrong configuration.
pub(super) fn run(args: RecoverArgs, context: Context) -> Result<Recovery, Failure> {
    let flag = |value| FlagValue { key: "node.data_dir", flag: "--data-dir", value: Raw::Text(value) };
    let loaded = context.load(Purpose::Client, args.data_dir.map(flag).into_iter().collect())?;
    Ok(Recovery { data_dir: loaded.config.data_dir, yes: args.yes, context })
}

impl Recovery {
    /// The node's data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Prints what would be kept, and goes on where a person agrees.
    ///
    /// # Errors
    /// Nobody agrees; exit 2 where nobody is there to.
    pub(crate) fn agree(&mut self, told: &str) -> Result<(), Failure> {
        self.context.output.print(told)?;
        confirm(self.yes, "the majority is lost for good, and this node goes on alone with that", &self.context)
    }

    /// Says what to do next.
    pub(crate) fn done(&self) {
        let dir = self.data_dir.display();
        self.context.say(format_args!(
            "this node is the only voter: start it with `pentora-node start --data-dir {dir}`\n  \
             every other node joins anew: an empty data directory and a token of its own, \
             `pentora coordinator worker-token create --name NAME`\n  \
             never start one of the others with its old data directory, and never recover a second one: that makes two clusters of \
             one name (`pentora cluster status` warns where they meet)"
        ));
    }
}
