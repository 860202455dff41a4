//! The program: `cli` understands the command line and `app` starts what nodes it needs.
//!
//! Only this file knows both. It owns the runtime, and turns how a command ended into the process's exit code.

use std::io::Write;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::app::{Asked, Ended};
use crate::cli::{Invocation, Next};
use crate::failure::{ExitCode, Failure};
use crate::masked::masked;
use crate::{app, dumps, malloc, privilege};

/// Time for tasks to end after a command is done; what is durable is so before its answer.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a node that ended before it was up: it has begun nothing, and a name that no server resolves may take longer than
/// whoever wants it to end waits.
const AT_ONCE: Duration = Duration::ZERO;

/// Runs the program as `program` (`pentora` or `pentora-node`) with the process's arguments.
#[must_use]
pub fn main(program: &'static str) -> std::process::ExitCode {
    malloc::limit_arenas();
    privilege::take_raw_packets();
    // After the capabilities, a change of which would let debuggers in again.
    dumps::forbid();
    let invocation = match Invocation::parse(program) {
        Ok(invocation) => invocation,
        Err(exit) => return exit,
    };
    if !invocation.runs_node() {
        malloc::leave_what_is_freed();
    }
    match block_on(run(invocation)) {
        Ok(_) => ExitCode::Ok.into(),
        Err(failure) => {
            if !failure.is_quiet() {
                // With standard error gone there is nobody left to tell.
                drop(writeln!(std::io::stderr(), "error: {}", masked(&failure.to_string())));
            }
            failure.exit.into()
        }
    }
}

async fn run(invocation: Invocation) -> Result<Ended, Failure> {
    let mut asked = if invocation.runs_node() { Some(Asked::receive()?) } else { None };
    let Some(next) = read(invocation, asked.as_mut()).await? else { return Ok(Ended::Early) };
    match next {
        Next::Done => {}
        Next::RunNode(plan) => {
            keep_files_private();
            let asked = asked.map_or_else(Asked::receive, Ok)?;
            return app::run(*plan, asked).await;
        }
        Next::Recover(mut recovery) => {
            keep_files_private();
            let stopped = app::Stopped::open(recovery.data_dir())?;
            recovery.agree(&stopped.told())?;
            stopped.stand_alone()?;
            recovery.done();
        }
        Next::ScanHere { options, scan } => {
            let node = app::embedded(options).await?;
            let scanned = scan.run(&node).await;
            node.stop().await;
            scanned?;
        }
    }
    Ok(Ended::InOrder)
}

/// The one place where commands are carried out from: whatever awaits that future by its type has all commands compiled into it, half a
/// megabyte each time (docs/decisions/0073-a-smaller-program.md).
#[inline(never)]
fn carried_out(invocation: Invocation) -> LocalBoxFuture<'static, Result<Next, Failure>> {
    invocation.run().boxed_local()
}

/// Carries out what needs no node, and has a node's own command line read beside the signals: a token comes by standard input, and files
/// from slow disks, for which nobody waits who is `asked` to end. Nothing where it is.
async fn read(invocation: Invocation, asked: Option<&mut Asked>) -> Result<Option<Next>, Failure> {
    let Some(asked) = asked else { return carried_out(invocation).await.map(Some) };
    let runtime = tokio::runtime::Handle::current();
    let reading = tokio::task::spawn_blocking(move || runtime.block_on(carried_out(invocation)));
    let broke = |error: tokio::task::JoinError| {
        Failure::new(ExitCode::Failure, "the command line could not be read").because(error.to_string())
    };
    asked.unless(reading).await.map(|read| read.map_err(broke).and_then(|read| read)).transpose()
}

/// Has what this process makes from here on, the store's files among it, be for its user alone.
fn keep_files_private() {
    use nix::sys::stat::{Mode, umask};
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// Runs one future on a runtime of its own, and does not wait for tasks that hang.
fn block_on(future: impl Future<Output = Result<Ended, Failure>>) -> Result<Ended, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitCode::Failure, format!("the runtime cannot be started: {error}")))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(if matches!(result, Ok(Ended::Early)) { AT_ONCE } else { SHUTDOWN_TIMEOUT });
    result
}
