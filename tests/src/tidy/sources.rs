//! How source files look: their first line, length, names, and what must not be in them.

use std::path::Path;

use super::{Problem, Tree};

/// Lines of a file without its tests. Most files should be far below; this is the fence, not the aim.
const LINES_MAX: usize = 500;

/// Files that may be longer, each with the reason why cutting it would make it worse.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["common", "util", "utils", "helper", "helpers", "manager", "misc", "mod"];

/// Folders that exist on one machine only. Written in two parts, so that this file does not hold what it forbids.
const MACHINE_FOLDERS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tmp", "/h/")];

/// Every Rust file opens with `//!`: what it is for.
#[must_use]
pub fn files_open_with_their_purpose(tree: &Tree) -> Vec<Problem> {
    let silent = tree.ending(".rs").filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(path, _)| Problem::of_file(path, "does not open with `//! ` and what the file is for")).collect()
}

/// Without their tests, files stay within 500 lines, but for the named exceptions.
#[must_use]
pub fn files_are_short(tree: &Tree) -> Vec<Problem> {
    long_files(tree, LONG_FILES)
}

fn long_files(tree: &Tree, exceptions: &[(&str, &str)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.ending(".rs").filter(|(path, _)| !is_test_file(path)) {
        let lines = lines_without_tests(text);
        let excepted = exceptions.iter().any(|(name, _)| *name == path);
        match (lines > LINES_MAX, excepted) {
            (true, false) => {
                problems.push(Problem::of_file(path, format!("{lines} lines without tests, of {LINES_MAX}: part it")))
            }
            (false, true) => problems.push(Problem::of_file(path, "is short enough: take it out of LONG_FILES")),
            _ => {}
        }
    }
    for (path, reason) in exceptions {
        if !tree.0.contains_key(*path) {
            problems.push(Problem::of_file(path, "in LONG_FILES and not in the tree"));
        }
        if reason.is_empty() {
            problems.push(Problem::of_file(path, "in LONG_FILES without a reason"));
        }
    }
    problems
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("_test.rs") || path.contains("/tests/") || path.starts_with("tests/tests/")
}

/// The lines before the test module that ends a file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests =
        lines.windows(2).position(|pair| matches!(pair, ["#[cfg(test)]", next] if next.starts_with("mod tests {")));
    tests.unwrap_or(lines.len())
}

/// No `mod.rs`, and no name that could hold anything.
#[must_use]
pub fn files_are_named_after_what_they_hold(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, _) in tree.ending(".rs") {
        let without_ending = Path::new(path).with_extension("");
        let empty = without_ending.iter().filter_map(|part| part.to_str()).find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = empty {
            problems.push(Problem::of_file(path, format!("`{name}` says nothing: name it after what it holds")));
        }
    }
    problems
}

/// No tracked file names a folder of the machine it was written on.
#[must_use]
pub fn no_path_of_one_machine(tree: &Tree) -> Vec<Problem> {
    problem_lines(tree.files(), |line| {
        let folder = MACHINE_FOLDERS.into_iter().find(|folder| names_folder(line, folder))?;
        Some(format!("`{folder}` is a path of one machine"))
    })
}

/// Whether `line` has `folder` at the start of a path: not within a longer one, such as an address on the web.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || "._-/}".contains(before))
    })
}

/// Tests are named by the property they hold, and none is switched off.
#[must_use]
pub fn tests_are_named_as_sentences_and_all_run(tree: &Tree) -> Vec<Problem> {
    problem_lines(tree.ending(".rs"), |line| {
        let line = line.trim_start();
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if name.is_some_and(|name| name.starts_with("test_")) {
            return Some("a test's name is a sentence that states the property".to_owned());
        }
        line.starts_with("#[ignore")
            .then(|| "a test that does not run proves nothing: repair it or remove it".to_owned())
    })
}

/// One call each, or names for others to call, with a decision that says why.
const UNSAFE: &[&str] =
    &["node/src/app/simulation/machine.rs", "node/src/main.rs", "node/src/malloc.rs", "scanner/src/io/reverse_dns.rs"];

/// The lint against `unsafe` is lifted only where packets are sent and received through rings in memory, and in the files of
/// `UNSAFE`.
#[must_use]
pub fn unsafe_stays_in_the_packet_rings(tree: &Tree) -> Vec<Problem> {
    let elsewhere =
        tree.ending(".rs").filter(|(path, _)| !path.starts_with("scanner/src/io/raw") && !UNSAFE.contains(path));
    problem_lines(elsewhere, |line| {
        let line = line.trim_start();
        let lifted = ["#[allow(unsafe_code", "#![allow(unsafe_code", "#[expect(unsafe_code", "#![expect(unsafe_code"];
        lifted
            .iter()
            .any(|lint| line.starts_with(lint))
            .then(|| "unsafe code belongs into scanner/src/io/raw".to_owned())
    })
}

fn problem_lines<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
    look: impl Fn(&str) -> Option<String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            if let Some(what) = look(line) {
                problems.push(Problem { path: path.to_owned(), line: number + 1, what });
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(problems: Vec<Problem>) -> Vec<String> {
        problems.into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn a_file_without_its_purpose_on_top_is_named() {
        let tree =
            Tree::of(&[("a.rs", "//! What it is for.\n"), ("b.rs", "use std::fmt;\n"), ("c.rs", ""), ("d.md", "x")]);
        assert_eq!(paths(files_open_with_their_purpose(&tree)), ["b.rs", "c.rs"]);
    }

    #[test]
    fn a_long_file_is_named_and_its_tests_do_not_count() {
        let code = "let x = 1;\n".repeat(LINES_MAX);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
        let long = format!("{code}// one more\n");
        let tree = Tree::of(&[
            ("node/src/fits.rs", &tests),
            ("node/src/long.rs", &long),
            ("node/src/long_test.rs", &long),
            ("tests/tests/long.rs", &long),
        ]);
        assert_eq!(paths(files_are_short(&tree)), ["node/src/long.rs"]);
    }

    #[test]
    fn an_exception_needs_a_reason_a_file_and_a_need() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("long.rs", &long), ("bare.rs", &long), ("short.rs", "x\n")]);
        let exceptions = [("long.rs", "one table"), ("bare.rs", ""), ("short.rs", "was long"), ("gone.rs", "was here")];
        assert_eq!(paths(long_files(&tree, &exceptions)), ["short.rs", "bare.rs", "gone.rs"]);
    }

    #[test]
    fn an_empty_name_is_named_also_as_a_folder() {
        let tree = Tree::of(&[
            ("node/src/mod.rs", ""),
            ("node/src/utils/text.rs", ""),
            ("node/src/manager.rs", ""),
            ("node/src/commonality.rs", ""),
        ]);
        assert_eq!(
            paths(files_are_named_after_what_they_hold(&tree)),
            ["node/src/manager.rs", "node/src/mod.rs", "node/src/utils/text.rs"]
        );
    }

    #[test]
    fn a_path_of_one_machine_is_named_with_its_line() {
        let [home, shared, _] = MACHINE_FOLDERS;
        let text = format!("fine\nsee {shared}notes\n`{home}x`\nhttps://example.org{shared}x\na net{shared}x\n");
        let problems = no_path_of_one_machine(&Tree::of(&[("README.md", &text)]));
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_test_without_a_sentence_and_a_test_switched_off_are_named() {
        let text = format!(
            "{}fn it_holds() {{}}\n    fn {}x() {{}}\n    async fn {}y() {{}}\n    #[{}]\n",
            "", "test_", "test_", "ignore"
        );
        let problems = tests_are_named_as_sentences_and_all_run(&Tree::of(&[("a.rs", &text)]));
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn unsafe_code_outside_the_packet_rings_is_named() {
        let text = "    #[expect(unsafe_code, reason = \"fast\")]\n";
        let tree = Tree::of(&[("scanner/src/io/raw/ring.rs", text), ("node/src/app.rs", text)]);
        assert_eq!(paths(unsafe_stays_in_the_packet_rings(&tree)), ["node/src/app.rs"]);
    }
}
