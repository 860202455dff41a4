//! Asking before something that cannot be taken back.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::context::Context;
use crate::failure::{ExitCode, Failure};

/// The answer given beforehand.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct YesArgs {
    /// Do not ask; needed where nobody can be asked.
    #[arg(long)]
    pub(super) yes: bool,
}

/// Asks the person at the terminal; `what` says what would be done.
///
/// # Errors
/// Exit 2 where nobody can be asked and `--yes` is missing, 7 where the answer is no.
pub(super) fn confirm(args: YesArgs, what: &str, context: &Context) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !context.stderr_terminal || !stdin.is_terminal() {
        return Err(Failure::new(ExitCode::Usage, format!("{what}: this needs a yes, and nobody can be asked here"))
            .next("add --yes"));
    }
    let mut errors = std::io::stderr();
    // A closed standard error shows no question, and then no answer is a yes.
    drop(write!(errors, "{what}. Go on? [y/N] ").and_then(|()| errors.flush()));
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(ExitCode::Cancelled, "nothing was done"))
}

/// The same for what commands did unasked before: where nobody can be asked, it is done.
///
/// # Errors
/// Exit 7 where the answer is no.
pub(super) fn confirm_where_asked(args: YesArgs, what: &str, context: &Context) -> Result<(), Failure> {
    let can_ask = context.stderr_terminal && std::io::stdin().is_terminal();
    if can_ask { confirm(args, what, context) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_can_be_asked_a_yes_is_needed_beforehand() {
        let context = Context::for_test(std::io::sink());
        let refused = confirm(YesArgs { yes: false }, "n2 is removed", &context).unwrap_err();
        assert_eq!(refused.exit, ExitCode::Usage);
        assert!(refused.to_string().contains("--yes") && refused.to_string().contains("n2 is removed"));
        assert!(confirm(YesArgs { yes: true }, "n2 is removed", &context).is_ok());
        assert!(confirm_where_asked(YesArgs { yes: false }, "job-1 is cancelled", &context).is_ok());
    }
}
