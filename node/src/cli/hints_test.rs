//! Every command that the program's own texts and the documents name is one of the tree, with options that it takes.

use std::fs;
use std::path::{Path, PathBuf};

use super::tree;

/// What looks like a command and is none: first words of formats, and prose.
const NO_COMMANDS: [&str; 10] = [
    "pentora order v1",
    "pentora interrupted scan",
    "pentora feed 1",
    "pentora bundle 1",
    "pentora join token key",
    "pentora join proof",
    "pentora process",
    "pentora is",
    "pentora node ",
    "pentora mesh port",
];

/// The commands in a text, each from the program's name to the end of what belongs to it.
pub(super) fn commands_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for program in ["pentora ", "pentora-node "] {
        for (at, _) in text.match_indices(program) {
            let before = text[..at].chars().next_back();
            // The namespace of another program's command, which may hold one of ours further on.
            let is_value = text[..at].ends_with("-n ") || text[..at].ends_with("--namespace ");
            if is_value || before.is_some_and(|c| c.is_alphanumeric() || "-_./\"".contains(c)) {
                continue;
            }
            let command = &text[at..];
            let ends = ["`", "\n", "\\n", " | ", " > ", "  ", ")", "; ", "\"", " #", " && ", " &"];
            let end = ends.iter().filter_map(|end| command.find(end)).min().unwrap_or(command.len());
            let command = command[..end].trim_end();
            let is_command = command.split(' ').nth(1).is_some_and(|word| {
                !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            });
            if is_command && !NO_COMMANDS.iter().any(|prose| format!("{command} ").starts_with(prose)) {
                found.push(command.to_owned());
            }
        }
    }
    found
}

/// The command that a line of examples is, if it is one.
pub(super) fn command_of(line: &str) -> Option<String> {
    commands_in(line).into_iter().next()
}

/// Follows a command through the tree: its words are commands, its options are taken by the last of them. Values are not
/// looked at, for they are placeholders.
///
/// # Errors
/// What is not there.
pub(super) fn understood(command: &str) -> Result<(), String> {
    let mut root = tree();
    root.build();
    let mut at = &root;
    let mut is_value = false;
    for word in command.split_whitespace().skip(1) {
        let word = word.trim_end_matches([',', '.', ':', ';', ')']);
        if let Some(option) = word.strip_prefix("--") {
            let option = option.split('=').next().unwrap_or_default();
            let is_there = option.is_empty() || at.get_arguments().any(|arg| arg.get_long() == Some(option));
            if !is_there {
                return Err(format!("`{}` takes no --{option}", at.get_name()));
            }
            is_value = true;
        } else if word.starts_with('-') {
            is_value = true;
        } else if let Some(below) = at.find_subcommand(word).filter(|_| !is_value) {
            at = below;
        } else if at.has_subcommands() && !is_value && at.get_positionals().next().is_none() && is_word(word) {
            return Err(format!("`{}` has no `{word}`", at.get_name()));
        } else {
            is_value = true;
        }
    }
    Ok(())
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit())
}

fn files(below: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|is| is == ending) && !path.to_string_lossy().ends_with("_test.rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_command_that_a_text_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = vec![root.join("README.md")];
    for crate_of in ["node/src", "scanner/src", "raft/src", "p2p/src"] {
        files(&root.join(crate_of), "rs", &mut paths);
    }
    files(&root.join("docs"), "md", &mut paths);
    let (mut wrong, mut followed) = (Vec::new(), 0);
    for path in paths.iter().filter(|path| !path.ends_with("CHANGELOG.md")) {
        let text = fs::read_to_string(path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        // A string that goes on in the next line.
        let mut joined = String::new();
        for line in text.split_inclusive('\n') {
            match line.strip_suffix("\\\n") {
                Some(begun) => joined.push_str(begun),
                None => joined.push_str(line),
            }
            if joined.ends_with(' ') {
                joined.truncate(joined.trim_end().len() + 1);
            }
        }
        for command in commands_in(&joined) {
            followed += 1;
            if let Err(why) = understood(&command) {
                wrong.push(format!("{}: `{command}`: {why}", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(followed > 300, "{followed} were found");
    assert!(wrong.is_empty(), "of {followed}:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_not_there_is_noticed() {
    for bad in ["pentora scna x", "pentora job stauts j", "pentora scan x --prots 1", "pentora cluster top"] {
        assert!(understood(bad).is_err(), "{bad}");
    }
    for good in ["pentora scan 10.0.0.1 -p 22 --rate 5", "pentora help", "pentora keep 10.0.0.0/8 --fresh 7d"] {
        assert_eq!(understood(good), Ok(()), "{good}");
    }
    let text = "error: no\n  next: `pentora job list` or (pentora scope add CIDR --reason TEXT), then pentora-node start --init";
    let expected = ["pentora job list", "pentora scope add CIDR --reason TEXT", "pentora-node start --init"];
    assert_eq!(commands_in(text), expected);
}
