//! Checks on the source tree itself: who imports whom, of crates and within each, how files look, and what documents say of
//! them.
//!
//! Each check is a function from a [`Tree`] to the [`Problem`]s in it, so its own tests show on made-up trees that it
//! bites. `tests/tests/tidy.rs` runs them all on this repository. What the compiler, clippy or cargo-deny can see is
//! left to them.

mod code;
mod documents;
mod fuzzing;
mod imports;
mod rooms;
mod sources;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

pub use self::documents::{paths_in_the_architecture_exist, what_there_is_more_of_takes_few_files};
pub use self::fuzzing::fuzz_targets_are_built_and_described;
pub use self::imports::{crates_import_only_what_they_may, packages_stay_in_their_crate};
pub use self::rooms::rooms_import_only_rooms_below;
pub use self::sources::{
    files_are_named_after_what_they_hold, files_are_short, files_open_with_their_purpose, no_path_of_one_machine,
    tests_are_named_as_sentences_and_all_run, unsafe_stays_in_the_packet_rings,
};

/// The text files of a source tree, by their path from its root.
#[derive(Debug, Default)]
pub struct Tree(BTreeMap<String, String>);

/// Something that should not be as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, from the root of the tree.
    pub path: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl Problem {
    fn of_file(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 0, what: what.into() }
    }
}

impl Tree {
    /// Reads the tree under `root`: what git tracks and what it would add, or, outside a git checkout, every file but
    /// those in `target` and hidden folders. Files that are not text are left out.
    ///
    /// # Errors
    /// Where a folder cannot be read.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let paths = match tracked(root) {
            Some(paths) => paths,
            None => walked(root)?,
        };
        // A file that is tracked and deleted, or not text, has nothing to check.
        let read = |path: String| fs::read_to_string(root.join(&path)).ok().map(|text| (path, text));
        let tree = Self(paths.into_iter().filter_map(read).collect());
        ensure!(tree.0.contains_key("Cargo.toml"), "{} is not the root of the workspace", root.display());
        Ok(tree)
    }

    /// The files with this ending, with their text.
    fn ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| path.ends_with(ending))
    }

    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }
}

fn tracked(root: &Path) -> Option<Vec<String>> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()?;
    let paths = String::from_utf8(listed.stdout).ok().filter(|_| listed.status.success())?;
    Some(paths.split_terminator('\0').map(str::to_owned).collect())
}

fn walked(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut folders = vec![root.to_path_buf()];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                let hidden = name.to_string_lossy().starts_with('.') && name != ".ci" && name != ".config";
                if !hidden && name != "target" {
                    folders.push(entry.path());
                }
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                paths.push(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binaries::repository;

    #[test]
    fn git_and_the_walk_both_see_this_file() {
        let own = "tests/src/tidy.rs".to_owned();
        assert!(walked(&repository()).unwrap().contains(&own));
        if let Some(tracked) = tracked(&repository()) {
            assert!(tracked.contains(&own));
        }
    }

    #[test]
    fn a_folder_that_is_not_the_workspace_is_refused() {
        Tree::read(&repository().join("tests/src")).unwrap_err();
    }
}
