//! What every command has: the environment, where data goes, how much to say, and the configuration.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::output::Output;
use crate::config::{
    API_FILE, ConfigError, ConfigText, FlagValue, Host, Loaded, Purpose, REMEMBERED_FILE, Sources, find_file, load,
};
use crate::failure::{ExitCode, Failure};

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Global {
    /// Say more on standard error (-vv and -vvv for even more).
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "General", display_order = 900)]
    pub(super) verbose: u8,
    /// Print data only: no progress, no hints.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "General", display_order = 901)]
    pub(super) quiet: bool,
    /// Configuration file [default: ~/.config/pentora/pentora.yaml or /etc/pentora/pentora.yaml].
    #[arg(long, global = true, value_name = "FILE", help_heading = "General", display_order = 902)]
    pub(super) config: Option<PathBuf>,
    /// Form of log lines on standard error.
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t, env = "PENTORA_LOG_FORMAT")]
    #[arg(hide_env = true, help_heading = "General", display_order = 903)]
    pub(super) log_format: LogFormat,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// A command's surroundings.
pub(super) struct Context {
    pub(super) global: Global,
    pub(super) env: BTreeMap<String, String>,
    pub(super) host: Host,
    pub(super) output: Output,
    /// Whether a person sees standard error.
    pub(super) stderr_terminal: bool,
}

impl Context {
    /// The surroundings of this process. Variables that are not UTF-8 are none of ours and are left out.
    pub(super) fn of_process(global: Global) -> Self {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
            .collect();
        let host = Host {
            name: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            home: env.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute()),
            is_root: nix::unistd::geteuid().is_root(),
        };
        Self { output: Output::stdout(&env), global, env, host, stderr_terminal: std::io::stderr().is_terminal() }
    }

    /// Reads and checks the configuration for `purpose`, with `flags` on top.
    ///
    /// # Errors
    /// Exit 8 with everything that is wrong.
    pub(super) fn load(&self, purpose: Purpose, flags: Vec<FlagValue>) -> Result<Loaded, Failure> {
        let (env, host) = (self.env.clone(), self.host.clone());
        let file = self.config_text(purpose)?;
        Ok(load(&Sources { remembered: None, noted: None, file, env, flags, host, purpose })?)
    }

    /// The same, with what the node of the data directory remembers below file, environment and flags, or for the command line
    /// what it noted of its API above file and environment. The directory itself is named by these.
    ///
    /// # Errors
    /// As [`Self::load`]; what is remembered and cannot be read is left out for the command line, and is an error for a
    /// node.
    pub(super) fn load_with_memory(&self, purpose: Purpose, flags: Vec<FlagValue>) -> Result<Loaded, Failure> {
        Ok(load(&self.sources_with_memory(purpose, flags)?)?)
    }

    /// What [`Self::load_with_memory`] reads.
    ///
    /// # Errors
    /// As there.
    pub(super) fn sources_with_memory(&self, purpose: Purpose, flags: Vec<FlagValue>) -> Result<Sources, Failure> {
        let (mut remembered, mut noted) = (None, None);
        match self.load(Purpose::Client, flags.clone()) {
            // A command wants to know where the node is, the node how it was started.
            Ok(loaded) if purpose == Purpose::Client && loaded.config.data_dir.join(API_FILE).exists() => {
                noted = memory(&loaded.config.data_dir.join(API_FILE), purpose)?;
            }
            Ok(loaded) => remembered = memory(&loaded.config.data_dir.join(REMEMBERED_FILE), purpose)?,
            // Reading everything for a node tells this and all else that is wrong.
            Err(_) if purpose == Purpose::Node => {}
            Err(failure) => return Err(failure),
        }
        let (file, env, host) = (self.config_text(purpose)?, self.env.clone(), self.host.clone());
        Ok(Sources { remembered, noted, file, env, flags, host, purpose })
    }

    /// The file's text. One that nobody named and that this user may not read is the service's: the command line does
    /// without it.
    pub(super) fn config_text(&self, purpose: Purpose) -> Result<Option<ConfigText>, Failure> {
        let named = self.global.config.is_some() || self.env.get("PENTORA_CONFIG").is_some_and(|path| !path.is_empty());
        let path = find_file(self.global.config.as_deref(), &self.env, &self.host, |path| path.exists());
        match path.map(|path| ConfigText::read(&path)) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) if purpose == Purpose::Client && !named => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// A message for the person at the terminal.
    pub(super) fn say(&self, message: impl std::fmt::Display) {
        if !self.global.quiet {
            // A closed standard error must not stop the work.
            drop(writeln!(std::io::stderr(), "{message}"));
        }
    }

    /// A warning about what is about to be done, which `--quiet` does not keep back.
    pub(super) fn warn(&self, message: impl std::fmt::Display) {
        drop(writeln!(std::io::stderr(), "warning: {message}"));
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let problems = if error.issues.len() == 1 { "1 problem" } else { &format!("{} problems", error.issues.len()) };
        Self::new(ExitCode::Config, format!("the configuration has {problems}; nothing was started"))
            .because(error.to_string())
            .next("correct it, then run `pentora config check`")
    }
}

/// The text of what a node remembers, if it is there.
fn memory(path: &Path, purpose: Purpose) -> Result<Option<ConfigText>, Failure> {
    match ConfigText::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if purpose == Purpose::Node && path.exists() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
impl Context {
    /// Surroundings with an empty environment and output into `writer`.
    pub(super) fn for_test(writer: impl Write + Send + 'static) -> Self {
        Self {
            global: Global { quiet: true, ..Global::default() },
            env: BTreeMap::new(),
            host: Host { name: "box".into(), home: None, is_root: false },
            output: Output::to(writer),
            stderr_terminal: false,
        }
    }
}
