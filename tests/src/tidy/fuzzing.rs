//! Each fuzz target is built and described: a target that is in no manifest is never compiled, and one without a row is never run.

use std::collections::BTreeSet;

use super::{Problem, Tree};

/// Where the targets are described.
const DOCUMENT: &str = "docs/FUZZING.md";
/// The packages of targets.
const PACKAGES: [&str; 2] = ["scanner/fuzz", "node/fuzz"];

/// Each file of a package's targets is a `[[bin]]` of its manifest and a row of the document, and neither names another.
#[must_use]
pub fn fuzz_targets_are_built_and_described(tree: &Tree) -> Vec<Problem> {
    let text = tree.0.get(DOCUMENT).map_or("", String::as_str);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    // What a run came to is a table of numbers, with the same names.
    let is_figure = |rest: &str| rest.trim_start_matches([' ', '|']).starts_with(|c: char| c.is_ascii_digit());
    let described: BTreeSet<&str> = rows.filter(|(_, rest)| !is_figure(rest)).map(|(name, _)| name).collect();
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    for package in PACKAGES {
        let folder = format!("{package}/fuzz_targets/");
        let of_file = |path: &str| path.strip_prefix(&folder)?.strip_suffix(".rs").map(str::to_owned);
        let files: BTreeSet<String> = tree.files().filter_map(|(path, _)| of_file(path)).collect();
        let manifest = format!("{package}/Cargo.toml");
        let built = built(tree.0.get(&manifest).map_or("", String::as_str));
        for name in files.symmetric_difference(&built) {
            problems
                .push(Problem::of_file(&manifest, format!("{name} is a file of {folder} or a [[bin]], and not both")));
        }
        for name in files.iter().filter(|name| !described.contains(name.as_str())) {
            problems.push(Problem::of_file(DOCUMENT, format!("the target {name} of {package} has no row")));
        }
        known.extend(files);
    }
    for name in described.into_iter().filter(|name| !known.contains(*name)) {
        problems.push(Problem::of_file(DOCUMENT, format!("there is no target {name}")));
    }
    problems
}

/// The programs of a manifest.
fn built(manifest: &str) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    let programs = manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten();
    programs.filter_map(|program| Some(program.get("name")?.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_built_one_that_is_gone_and_one_without_a_row_are_named() {
        let tree = Tree::of(&[
            ("scanner/fuzz/Cargo.toml", "[[bin]]\nname = \"a\"\n[[bin]]\nname = \"gone\""),
            ("scanner/fuzz/fuzz_targets/a.rs", ""),
            ("scanner/fuzz/fuzz_targets/b.rs", ""),
            ("node/fuzz/Cargo.toml", "[[bin]]\nname = \"c\""),
            ("node/fuzz/fuzz_targets/c.rs", ""),
            (DOCUMENT, "| `a` | bytes | a law |\n| `c` | more | a law |\n| `lost` | some | a law |\n| `a` | 60 | 7 |"),
        ]);
        let whats: Vec<String> = fuzz_targets_are_built_and_described(&tree).into_iter().map(|it| it.what).collect();
        assert_eq!(
            whats,
            [
                "b is a file of scanner/fuzz/fuzz_targets/ or a [[bin]], and not both",
                "gone is a file of scanner/fuzz/fuzz_targets/ or a [[bin]], and not both",
                "the target b of scanner/fuzz has no row",
                "there is no target lost",
            ]
        );
    }
}
