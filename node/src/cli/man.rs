//! `pentora man`: the manual, made from the tree of commands that parses them, so it says what `--help` says.
//!
//! A page for the program and one for each command, named as git names its own: `pentora-job-status(1)`. They go by the
//! name `pentora`, whichever of its names the program was called by.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::Resettable;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::context::Context;
use super::output::output_failure;
use crate::failure::{ExitCode, Failure};

/// Which page, or where all of them go.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora man | man -l -\n  pentora man job status | man -l -\n  \
                         pentora man --dir ~/.local/share/man/man1")]
pub(super) struct ManArgs {
    /// The command that the page is about [default: the program as a whole].
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    words: Vec<String>,
    /// Write the pages of all commands into this folder instead.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Prints one page, or writes all of them; `program` is the whole tree of commands.
///
/// # Errors
/// Exit 2 for a command that does not exist, 1 where the pages cannot be written.
pub(super) fn run(args: &ManArgs, program: clap::Command, context: &mut Context) -> Result<(), Failure> {
    let program = built(program);
    if let Some(dir) = &args.dir {
        return write_all(&program, dir).map_err(|error| {
            Failure::new(ExitCode::Failure, format!("the manual cannot be written into {}", dir.display()))
                .because(error.to_string())
        });
    }
    let mut command = &program;
    for word in &args.words {
        command = command.find_subcommand(word).ok_or_else(|| {
            Failure::new(ExitCode::Usage, format!("there is no command {:?}", args.words.join(" ")))
                .next("pentora help")
        })?;
    }
    context.output.print(&page(command, &program).map_err(|error| output_failure(&error))?)
}

/// The tree with what clap adds to it: the options that every command takes, and each command's full name. The command
/// `help` has no pages of its own.
fn built(program: clap::Command) -> clap::Command {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    program
}

fn write_all(program: &clap::Command, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut left = vec![program];
    while let Some(command) = left.pop() {
        std::fs::write(dir.join(format!("{}.1", full_name(command))), page(command, program)?)?;
        left.extend(command.get_subcommands());
    }
    Ok(())
}

/// `pentora-job-status`.
fn full_name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// A command's page. The words before and behind its help become sections of their own, as a manual has them.
fn page(command: &clap::Command, program: &clap::Command) -> io::Result<String> {
    let version = program.get_version().unwrap_or_default();
    // Without its version: that is in the page's last line. Without what follows the help: that is added below.
    let plain = command.clone().version(Resettable::Reset).after_help(Resettable::Reset);
    let mut text = Vec::new();
    // The day is blank, not empty: roff would take the next word for it.
    Man::new(plain).date(" ").source(format!("pentora {version}")).manual("Pentora").render(&mut text)?;
    let mut more = Roff::new();
    if let Some(examples) = command.get_before_help() {
        more.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.to_string().lines().skip_while(|line| line.starts_with("Example")) {
            more.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        more.control("fi", []);
    }
    // Of all commands only the program has words behind its help.
    if let Some(codes) = program.get_after_help() {
        more.control("SH", ["EXIT STATUS"]).text([roman(codes.to_string())]);
    }
    if full_name(command) != full_name(program) {
        more.control("SH", ["SEE ALSO"]).text([bold(full_name(program)), roman("(1)")]);
    }
    more.to_writer(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn program() -> clap::Command {
        built(super::super::tree())
    }

    /// The headings of a page, in order.
    fn sections(page: &str) -> Vec<&str> {
        page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|name| name.trim_matches('"')).collect()
    }

    fn page_of(words: &[&str]) -> String {
        let program = program();
        let command =
            words.iter().fold(&program, |command, word| command.find_subcommand(word).expect("a command of the tree"));
        page(command, &program).unwrap()
    }

    #[test]
    fn every_command_has_a_page_and_no_page_is_anothers() {
        let (program, folder) = (program(), tempfile::tempdir().unwrap());
        write_all(&program, folder.path()).unwrap();
        let written: BTreeSet<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        fn count(command: &clap::Command) -> usize {
            1 + command.get_subcommands().map(count).sum::<usize>()
        }
        assert_eq!(written.len(), count(&program), "{written:?}");
        for name in ["pentora.1", "pentora-scan.1", "pentora-coordinator-worker-token-create.1"] {
            assert!(written.contains(name), "{name} is not among {written:?}");
        }
        assert!(!written.iter().any(|name| name.contains("help")), "{written:?}");
    }

    #[test]
    fn a_page_has_the_sections_of_a_manual_and_says_what_the_help_says() {
        let scan = page_of(&["scan"]);
        assert!(
            scan.contains(&format!(".TH pentora-scan 1 \" \" \"pentora {}\"", env!("CARGO_PKG_VERSION"))),
            "{scan}"
        );
        let sections = sections(&scan);
        assert_eq!(sections.first_chunk(), Some(&["NAME", "SYNOPSIS", "DESCRIPTION"]), "{sections:?}");
        assert_eq!(sections.last_chunk(), Some(&["EXAMPLES", "EXIT STATUS", "SEE ALSO"]), "{sections:?}");
        for words in ["\\-\\-network\\-rate", "pentora scan 192.168.1.0/24", "3 findings at or above"] {
            assert!(scan.contains(words), "{words} is not in {scan}");
        }
    }

    #[test]
    fn the_programs_own_page_lists_its_commands_and_names_no_other_page_of_itself() {
        let page = page_of(&[]);
        assert!(page.contains("pentora\\-scan(1)"), "{page}");
        let sections = sections(&page);
        assert!(sections.contains(&"SUBCOMMANDS") && !sections.contains(&"SEE ALSO"), "{sections:?}");
        assert!(!sections.contains(&"EXTRA") && !sections.contains(&"VERSION"), "{sections:?}");
    }
}
