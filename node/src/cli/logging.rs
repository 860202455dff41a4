//! Log lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::context::{Context, LogFormat};

/// Starts logging: a node tells state changes, a command only what is wrong. `-v` adds our own detail, `-vvv`
/// everybody's. `PENTORA_LOG` (`target=level,...`) replaces all of it.
pub(super) fn init(context: &Context, is_node: bool) {
    let wanted = context.env.get("PENTORA_LOG").filter(|filter| !filter.is_empty());
    let filter = match wanted.map(EnvFilter::try_new) {
        Some(Ok(filter)) => filter,
        Some(Err(error)) => {
            context.say(format_args!("warning: PENTORA_LOG is not understood: {error}"));
            EnvFilter::new(directives(is_node, context.global.verbose, context.global.quiet))
        }
        None => EnvFilter::new(directives(is_node, context.global.verbose, context.global.quiet)),
    };
    let colours = std::io::stderr().is_terminal() && context.env.get("NO_COLOR").is_none_or(String::is_empty);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // Whoever reads them may be gone, and the disk below full: said on standard error, that would end the task that logs.
    let lines = lines.log_internal_errors(false);
    // A second subscriber in one process (tests) is refused, and the first goes on.
    let outcome = match context.global.log_format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    drop(outcome);
}

/// The filter for a level of `-v`.
fn directives(is_node: bool, verbose: u8, quiet: bool) -> &'static str {
    match (is_node, verbose, quiet) {
        (_, _, true) => "error",
        (false, 0, _) => "error,pentora=warn",
        (true, 0, _) | (false, 1, _) => "warn,pentora=info,openraft=error",
        (true, 1, _) | (false, 2, _) => "warn,pentora=debug",
        (true, 2, _) => "info,pentora=trace",
        _ => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter_the_subscriber_takes() {
        for is_node in [false, true] {
            for verbose in 0..5 {
                assert!(EnvFilter::try_new(directives(is_node, verbose, false)).is_ok());
            }
        }
    }
}
