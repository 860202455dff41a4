//! What docs/ARCHITECTURE.md says of files: each path in it exists, and its table of what to add where stays short.

use super::{Problem, Tree};

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";

/// The heading of the table that names, for each kind of thing, the files to touch.
const TABLE: &str = "## Where to add what";

/// Files that one more of anything may take, tests aside: more of them are more places to forget.
const FILES_MAX: usize = 3;

/// Where a path that is not written from the root of the tree begins.
const SOURCES: [&str; 5] = ["node/src/", "scanner/src/", "raft/src/", "p2p/src/", "tests/src/"];

/// Every file and folder that the text names between backticks is there: from the root, or from a crate's `src`.
#[must_use]
pub fn paths_in_the_architecture_exist(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, text) in lines(tree) {
        for path in quoted(text).filter(|text| is_path(tree, text) && !exists(tree, text)) {
            problems.push(problem(line, format!("there is no `{path}`")));
        }
    }
    problems
}

/// Each row of the table names one to three files or folders in its second column, and nothing that is none.
#[must_use]
pub fn what_there_is_more_of_takes_few_files(tree: &Tree) -> Vec<Problem> {
    let section = lines(tree).skip_while(|(_, text)| *text != TABLE).skip(1);
    let rows = section.take_while(|(_, text)| !text.starts_with('#')).filter(|(_, text)| text.starts_with('|'));
    // The first two lines are the head.
    let rows: Vec<(usize, &str)> = rows.skip(2).collect();
    let mut problems = Vec::new();
    if rows.is_empty() {
        problems.push(problem(0, format!("has no table under `{TABLE}`")));
    }
    for (line, row) in rows {
        let files: Vec<&str> = quoted(row.split('|').nth(2).unwrap_or_default()).collect();
        if !(1..=FILES_MAX).contains(&files.len()) {
            problems.push(problem(line, format!("names {} files, not 1 to {FILES_MAX}", files.len())));
        }
        for file in files.into_iter().filter(|file| !exists(tree, file)) {
            problems.push(problem(line, format!("there is no `{file}`")));
        }
    }
    problems
}

/// The document's lines outside of figures, with their numbers.
fn lines(tree: &Tree) -> impl Iterator<Item = (usize, &str)> {
    let text = tree.0.get(ARCHITECTURE).map_or("", String::as_str);
    let mut is_figure = false;
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(move |(_, line)| {
        let is_fence = line.starts_with("```");
        is_figure ^= is_fence;
        !is_figure && !is_fence
    })
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether it is meant as a path: a Rust file, or something below a folder of the tree's root.
fn is_path(tree: &Tree, text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    let is_below_root = || text.split_once('/').is_some_and(|(folder, _)| exists_at(tree, folder));
    is_plain && (text.ends_with(".rs") || is_below_root())
}

fn exists(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    exists_at(tree, path) || SOURCES.iter().any(|source| exists_at(tree, &format!("{source}{path}")))
}

/// Whether there is such a file, or a file in such a folder.
fn exists_at(tree: &Tree, path: &str) -> bool {
    let folder = format!("{path}/");
    tree.0.contains_key(path)
        || tree.0.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
}

fn problem(line: usize, what: String) -> Problem {
    Problem { path: ARCHITECTURE.to_owned(), line, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        let files = ["node/src/cli.rs", "node/src/cli/job.rs", "scanner/exposures/web.toml", "raft/src/state.rs"];
        Tree::of(&files.map(|path| (path, "")).into_iter().chain([(ARCHITECTURE, text)]).collect::<Vec<_>>())
    }

    fn said(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect()
    }

    #[test]
    fn a_path_that_is_gone_is_named_with_its_line() {
        let text = "`cli.rs`, `node/src/cli.rs`, `cli/job.rs`, `scanner/exposures/`, `raft/`, `state` and `10.0.0.0/8`\n\
                    ```\nnode/src/in_a_figure.rs `x.rs`\n```\n`jobs.rs` and `scanner/rules`, `raft/src/state/cli.rs`\n";
        let problems = paths_in_the_architecture_exist(&tree(text));
        assert_eq!(
            said(&problems),
            ["5: there is no `jobs.rs`", "5: there is no `scanner/rules`", "5: there is no `raft/src/state/cli.rs`"]
        );
    }

    #[test]
    fn a_row_with_too_many_files_with_none_or_with_one_that_is_gone_is_named() {
        let text = "# A\n| a | `gone.rs` |\n## Where to add what\n\n| what | files |\n|---|---|\n\
                    | good | a file in `cli/`, then `cli.rs` and `raft/src/state.rs` | with `four`, `words` here |\n\
                    | many | `cli.rs` `cli.rs` `cli.rs` `cli.rs` |\n| none | nothing |\n| gone | `cli/token.rs` |\n\
                    # B\n| b | `gone.rs` |\n";
        let problems = what_there_is_more_of_takes_few_files(&tree(text));
        assert_eq!(
            said(&problems),
            ["8: names 4 files, not 1 to 3", "9: names 0 files, not 1 to 3", "10: there is no `cli/token.rs`"]
        );
    }

    #[test]
    fn a_document_without_the_table_is_refused() {
        for text in ["# A\n", "## Where to add what\n\n| what | files |\n|---|---|\n"] {
            assert_eq!(said(&what_there_is_more_of_takes_few_files(&tree(text))).len(), 1, "{text}");
        }
    }
}
