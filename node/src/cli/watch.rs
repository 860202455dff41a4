//! `--watch`: the same view again and again.

use std::time::Duration;

use super::context::Context;
use super::interrupt::Interrupts;
use crate::failure::{ExitCode, Failure};

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Cursor home, screen cleared.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// A view at one moment, and whether it will not change any more.
pub(super) struct View {
    pub(super) text: String,
    pub(super) last: bool,
}

/// Prints what `look` gives: once, or with `watch` each second until it is the last, Ctrl-C, or an error. A terminal is
/// redrawn, other output gets view after view. While no node answers, watching goes on.
///
/// # Errors
/// What `look` fails with, but for passing failures while watching.
pub(super) async fn show(
    context: &mut Context,
    watch: bool,
    mut look: impl AsyncFnMut() -> Result<View, Failure>,
) -> Result<(), Failure> {
    if !watch {
        let view = look().await?;
        return context.output.print(&view.text);
    }
    let mut interrupts = Interrupts::listen()?;
    loop {
        let view = tokio::select! {
            biased;
            () = interrupts.next() => return Ok(()),
            view = look() => view,
        };
        let clear = if context.output.terminal { CLEAR } else { "" };
        match view {
            Ok(view) => {
                context.output.print(&format!("{clear}{}", view.text))?;
                if view.last {
                    return Ok(());
                }
            }
            Err(failure) if failure.exit == ExitCode::Unreachable => {
                context.say(format_args!("{clear}waiting: {failure}"))
            }
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            biased;
            () = interrupts.next() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// One JSON document on a line of its own, so that a watched command gives a stream of lines.
pub(super) fn json(document: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(document).expect("documents have only strings, numbers and lists");
    format!("{text}\n")
}
