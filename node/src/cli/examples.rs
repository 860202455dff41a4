//! Every page of help opens with examples. A command has its own; one that only groups others shows the first of each of these.

/// Examples that a group shows.
const SHOWN_MAX: usize = 8;

/// The tree with examples on every page.
pub(super) fn with_examples(command: clap::Command) -> clap::Command {
    let command = command.mut_subcommands(with_examples);
    if command.get_before_help().is_some() {
        return command;
    }
    let examples: Vec<String> = command.get_subcommands().filter_map(first).take(SHOWN_MAX).collect();
    if examples.is_empty() { command } else { command.before_help(format!("Examples:\n{}", examples.join("\n"))) }
}

/// The first example of a command, indented as it stands there.
fn first(command: &clap::Command) -> Option<String> {
    let text = command.get_before_help()?.to_string();
    text.lines().find(|line| line.starts_with("  ")).map(str::to_owned)
}
