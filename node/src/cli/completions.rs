//! `pentora completions SHELL`: a script that asks this program for what may follow, so that it completes names of the
//! cluster as well: jobs, nodes, schedules, standing scans, rules of the policy, tokens.
//!
//! The script calls the program with `COMPLETE` in its environment; such a call says words and does nothing else. A node
//! that does not answer at once leaves names out, and nothing is said of it: the terminal belongs to whoever types.

use std::ffi::OsStr;
use std::time::Duration;

use clap::{Arg, Args};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::api_session::{ApiSession, NodeArgs};
use super::context::{Context, Global};
use super::output::{clean, output_failure};
use crate::client::{Client, ClientError};
use crate::failure::{ExitCode, Failure};

/// The variable by which a shell asks.
const ASKED_BY: &str = "COMPLETE";
/// How long a node may take to answer: longer, and the terminal seems stuck.
const WITHIN: Duration = Duration::from_millis(700);
/// Names that are shown; more are no help.
const NAMES_MAX: usize = 200;

/// For which shell.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora completions bash > /etc/bash_completion.d/pentora\n  \
                         pentora completions zsh > /usr/local/share/zsh/site-functions/_pentora")]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script for the program's own name.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn run(args: &CompletionsArgs, program: &str, context: &mut Context) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let shell = shells
        .completer(&args.shell.to_string())
        .ok_or_else(|| Failure::new(ExitCode::Usage, format!("there are no completions for {}", args.shell)))?;
    let mut script = Vec::new();
    let written = shell.write_registration(ASKED_BY, program, program, program, &mut script);
    written.map_err(|error| output_failure(&error))?;
    context.output.print(&String::from_utf8_lossy(&script))
}

/// Answers a shell that asks, and ends the process then; does nothing where none does.
pub(super) fn answer(program: &'static str, tree: impl Fn() -> clap::Command) {
    let tree = || with_names(tree(), "");
    CompleteEnv::with_factory(tree).var(ASKED_BY).bin(program).completer(program).complete();
}

/// The tree with names of the cluster as candidates for what is called so.
fn with_names(command: clap::Command, parent: &str) -> clap::Command {
    let name = command.get_name().to_owned();
    command.mut_subcommands(|below| with_names(below, &name)).mut_args(|arg| match Named::of(&arg, parent, &name) {
        Some(named) => arg.add(ArgValueCompleter::new(move |typed: &OsStr| named.candidates(typed))),
        None => arg,
    })
}

/// What has names in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Job,
    Node,
    Schedule,
    Keep,
    /// What a list of the API has: its place there.
    In(&'static str),
}

impl Named {
    /// Whose name a value is, of a command below another.
    fn of(arg: &Arg, parent: &str, command: &str) -> Option<Self> {
        let called = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
        let by_value = match called {
            Some("JOB") => Some(Self::Job),
            Some("NODE") => Some(Self::Node),
            Some("SCHEDULE") => Some(Self::Schedule),
            Some("KEEP") => Some(Self::Keep),
            _ => None,
        };
        let is_of_one = ["show", "remove", "rotate", "revoke"].contains(&command);
        let list = match (arg.get_id().as_str(), parent) {
            ("site", _) => "sites",
            ("profile", _) if called == Some("NAME") => "profiles",
            ("scopes", _) => "scopes",
            ("token_id", _) if is_of_one => "worker-tokens",
            ("name", "site") if is_of_one => "sites",
            ("name", "scope") if is_of_one => "scopes",
            ("name", "exclude") if is_of_one => "exclusions",
            ("name", "window") if is_of_one => "windows",
            ("name", "profile") if is_of_one => "profiles",
            ("name", "budget") if is_of_one => "budgets",
            ("name", "token") if is_of_one => "tokens",
            _ => return by_value,
        };
        by_value.or(Some(Self::In(list)))
    }

    /// The names that begin with what was typed, each with a word about it.
    async fn names(self, client: &Client) -> Result<Vec<(String, String)>, ClientError> {
        Ok(match self {
            Self::Job => client.jobs().await?.into_iter().map(|job| (job.job_id, job.status)).collect(),
            Self::Node => client.cluster().await?.nodes.into_iter().map(|node| (node.name, node.role)).collect(),
            Self::Schedule => client.schedules().await?.into_iter().map(|it| (it.name, it.title)).collect(),
            Self::Keep => client.keeps().await?.into_iter().map(|it| (it.name, it.title)).collect(),
            Self::In(list) => {
                let named = client.called(list).await?.into_iter();
                // A token that is told by its id has its name beside that.
                named
                    .map(|it| match it.token_id {
                        Some(id) => (id, it.name),
                        None => (it.name, it.reason.unwrap_or_default()),
                    })
                    .collect()
            }
        })
    }

    fn candidates(self, typed: &OsStr) -> Vec<CompletionCandidate> {
        let typed = typed.to_string_lossy();
        let asking = async {
            let context = Context::of_process(Global { quiet: true, ..Global::default() });
            let session = ApiSession::open(&NodeArgs::default(), &context).ok()?;
            tokio::time::timeout(WITHIN, self.names(&session.client)).await.ok()?.ok()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let names = runtime.ok().and_then(|runtime| runtime.block_on(asking)).unwrap_or_default();
        let fitting = names.into_iter().filter(|(name, _)| name.starts_with(&*typed)).take(NAMES_MAX);
        fitting.map(|(name, about)| CompletionCandidate::new(clean(&name)).help(Some(clean(&about).into()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_name_of_the_cluster_has_those_that_there_are_and_nothing_else_has() {
        let (mut left, mut found) = (vec![(String::new(), with_names(super::super::tree(), ""))], Vec::new());
        while let Some((path, command)) = left.pop() {
            for arg in command.get_arguments().filter(|arg| arg.get::<ArgValueCompleter>().is_some()) {
                found.push(format!("{path} {}", arg.get_id()).trim_start().to_owned());
            }
            let below = |below: &clap::Command| (format!("{path} {}", below.get_name()), below.clone());
            left.extend(command.get_subcommands().map(below));
        }
        for rule in ["site", "scope", "exclude", "window", "profile", "budget", "token"] {
            assert!(found.contains(&format!("{rule} show name")), "{rule}: {found:?}");
            assert!(!found.contains(&format!("{rule} add name")), "it is to be a new one: {found:?}");
        }
        for own in [
            "scan site",
            "scan profile",
            "site remove name",
            "token revoke name",
            "token rotate name",
            "coordinator worker-token revoke token_id",
            "nodes set name",
            "keep status name",
            "schedule pause name",
            "token create scopes",
        ] {
            assert!(found.iter().any(|found| found == own), "{own}: {found:?}");
        }
        for other in ["start profile", "scan targets"] {
            assert!(!found.iter().any(|found| found.ends_with(other)), "{other}: {found:?}");
        }
        assert!(found.len() >= 40, "{found:?}");
    }

    #[test]
    fn the_script_asks_the_program_by_its_name() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let output = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let mut context = Context::for_test(Shared(std::sync::Arc::clone(&output)));
            run(&CompletionsArgs { shell }, "pentora", &mut context).unwrap();
            let script = String::from_utf8(output.lock().unwrap().clone()).unwrap();
            assert!(script.contains(ASKED_BY) && script.contains("pentora"), "{script}");
        }
    }

    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
