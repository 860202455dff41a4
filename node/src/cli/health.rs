//! `pentora health`: one question to a node, for supervisors that run a command where others send a request.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::api_session::{ApiSession, NodeArgs, find, find_in, node_here};
use super::context::Context;
use super::running::data_dirs;
use crate::config::API_FILE;
use crate::failure::{ExitCode, Failure};

/// Where the system says what runs.
const PROCESSES: &str = "/proc";

/// How long an answer is waited for. Below the time that container runtimes and Kubernetes give a check by themselves in
/// the files of `deploy/`.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What is asked.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  pentora health                 the process works: for a container's health check\n  \
                         pentora health --ready         it knows a leader and takes requests"
)]
pub(super) struct HealthArgs {
    /// Ask whether the node knows a leader and takes requests, in place of whether its process works.
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Asks, without a token.
///
/// # Errors
/// Exit 5 where nobody answers in time; the node's own word where it says that it is not well; exit 2 where nobody said which of
/// several is meant.
pub(super) async fn run(args: &HealthArgs, context: &mut Context) -> Result<(), Failure> {
    let data_dir = elsewhere(&args.node, Path::new(PROCESSES), context)?;
    let session = ApiSession::at(find_in(&args.node, data_dir.as_deref(), context)?)?;
    match tokio::time::timeout(ANSWER_WITHIN, session.client.health(args.ready)).await {
        Ok(answer) => answer.map_err(|error| session.failure(&error))?,
        Err(_elapsed) => {
            let what = format!("the node does not say within {} s that it is well", ANSWER_WITHIN.as_secs());
            return Err(Failure::new(ExitCode::Unreachable, what));
        }
    }
    context.output.print(if args.ready { "ready\n" } else { "ok\n" })
}

/// The data directory of the node that runs here, where neither an address nor a note in the configured one says which is meant.
fn elsewhere(args: &NodeArgs, processes: &Path, context: &Context) -> Result<Option<PathBuf>, Failure> {
    let (location, (configured, _)) = (find(args, context)?, node_here(args, context)?);
    if location.chosen || configured.join(API_FILE).exists() {
        return Ok(None);
    }
    let mut found = data_dirs(processes, context).into_iter();
    match (found.next(), found.len()) {
        (one, 0) => Ok(one),
        (_, more) => {
            let failure =
                Failure::new(ExitCode::Usage, format!("{} nodes run here, and none of them is meant", more + 1));
            Err(failure.next("name one: PENTORA_DATA_DIR, or --api"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_node_that_runs_here_is_asked_unless_an_address_or_a_note_says_which_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let started = |number: usize, data_dir: &Path| {
            let process = folder.path().join(format!("proc/{number}"));
            std::fs::create_dir_all(&process).unwrap();
            std::fs::create_dir_all(data_dir).unwrap();
            std::fs::write(data_dir.join(API_FILE), "server: {api: {listen: '127.0.0.1:9'}}\n").unwrap();
            let line = format!("pentora-node\0start\0--data-dir\0{}\0", data_dir.display());
            std::fs::write(process.join("cmdline"), line).unwrap();
        };
        let processes = folder.path().join("proc");
        let mut context = Context::for_test(std::io::sink());
        context.env.insert("PENTORA_DATA_DIR".into(), folder.path().join("configured").display().to_string());
        let meant = |args: &NodeArgs, context: &Context| elsewhere(args, &processes, context);
        assert_eq!(meant(&NodeArgs::default(), &context).unwrap(), None);
        let own = folder.path().join("own");
        started(1, &own);
        assert_eq!(meant(&NodeArgs::default(), &context).unwrap(), Some(own.clone()));
        let asked = find_in(&NodeArgs::default(), Some(&own), &context).unwrap();
        assert_eq!(asked.endpoints, ["http://127.0.0.1:9"]);
        let named = NodeArgs { api: Some("http://n1:8080".into()), ..NodeArgs::default() };
        assert_eq!(meant(&named, &context).unwrap(), None);
        started(2, &folder.path().join("another"));
        let failure = meant(&NodeArgs::default(), &context).unwrap_err();
        assert!(failure.exit == ExitCode::Usage && failure.what.starts_with("2 nodes run here"), "{failure}");
        started(3, &folder.path().join("configured"));
        assert_eq!(meant(&NodeArgs::default(), &context).unwrap(), None, "its own note is what it is asked by");
    }
}
