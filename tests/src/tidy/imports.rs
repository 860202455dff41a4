//! Who imports whom, read from the manifests.

use std::collections::BTreeSet;

use super::{Problem, Tree};

/// The crates, by folder, and the siblings each may import.
const MAY_IMPORT: [(&str, &[&str]); 8] = [
    ("scanner", &[]),
    ("scanner/fuzz", &["pentora-scanner"]),
    ("raft", &[]),
    ("raft/base2histogram", &[]),
    ("p2p", &[]),
    ("node", &["pentora-scanner", "pentora-raft", "pentora-p2p"]),
    ("node/fuzz", &["pentora-node", "pentora-scanner", "pentora-raft", "pentora-p2p"]),
    ("tests", &[]),
];

/// Packages that only some crates may import, by the start of their names: what is behind one door can be replaced.
const STAYS_IN: [(&str, &[&str]); 5] = [
    ("bincode", &["raft"]),
    ("openraft", &["raft"]),
    ("libp2p", &["p2p"]),
    ("rocksdb", &["raft", "node"]),
    ("age", &["node"]),
];

/// Each crate imports only the siblings that the design gives it.
#[must_use]
pub fn crates_import_only_what_they_may(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (folder, path, imports) in manifests(tree, &mut problems) {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(of, _)| *of == folder) else {
            problems.push(Problem::of_file(
                &path,
                "a crate that the design does not know: add it to MAY_IMPORT with its siblings",
            ));
            continue;
        };
        for sibling in imports.iter().filter(|name| name.starts_with("pentora-") && !allowed.contains(&name.as_str())) {
            problems.push(Problem::of_file(&path, format!("{folder} may not import {sibling}")));
        }
    }
    problems
}

/// The consensus, mesh, store and codec packages stay behind the one crate that hides each.
#[must_use]
pub fn packages_stay_in_their_crate(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (folder, path, imports) in manifests(tree, &mut problems) {
        for name in &imports {
            let fence = STAYS_IN.iter().find(|(start, _)| name.starts_with(start));
            if let Some((_, folders)) = fence.filter(|(_, folders)| !folders.contains(&folder.as_str())) {
                problems
                    .push(Problem::of_file(&path, format!("{name} may be imported by {} only", folders.join(" and "))));
            }
        }
    }
    problems
}

/// Every crate's folder, the path of its manifest, and the packages it imports, for whatever target and purpose.
fn manifests(tree: &Tree, problems: &mut Vec<Problem>) -> Vec<(String, String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for (path, text) in tree.ending("/Cargo.toml") {
        match text.parse::<toml::Table>() {
            Ok(manifest) => {
                let folder = path.trim_end_matches("/Cargo.toml").to_owned();
                let mut imports = BTreeSet::new();
                collect(&manifest, &mut imports);
                found.push((folder, path.to_owned(), imports));
            }
            Err(error) => problems.push(Problem::of_file(path, error.to_string())),
        }
    }
    found
}

/// Collects from every table whose name ends in `dependencies`, also those below `[target.'...']`.
fn collect(table: &toml::Table, into: &mut BTreeSet<String>) {
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            for (name, what) in inner {
                // A package may be imported under another name.
                let package = what.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                into.insert(package.to_owned());
            }
        } else if key != "package" && key != "features" {
            collect(inner, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(problems: Vec<Problem>) -> Vec<String> {
        problems.into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn a_crate_that_imports_a_sibling_it_may_not_is_named() {
        let tree = Tree::of(&[
            ("scanner/Cargo.toml", "[dependencies]\npentora-raft.workspace = true\nserde = \"1\""),
            ("raft/Cargo.toml", "[dev-dependencies]\nwire = { package = \"pentora-p2p\", path = \"../p2p\" }"),
            ("p2p/Cargo.toml", "[target.'cfg(unix)'.build-dependencies]\npentora-node.workspace = true"),
            ("node/Cargo.toml", "[dependencies]\npentora-scanner.workspace = true"),
        ]);
        assert_eq!(
            whats(crates_import_only_what_they_may(&tree)),
            [
                "p2p may not import pentora-node",
                "raft may not import pentora-p2p",
                "scanner may not import pentora-raft"
            ]
        );
    }

    #[test]
    fn a_crate_nobody_planned_and_a_broken_manifest_are_problems() {
        let tree = Tree::of(&[("shared/Cargo.toml", "[dependencies]\n"), ("raft/Cargo.toml", "[dependencies")]);
        assert_eq!(crates_import_only_what_they_may(&tree).len(), 2);
    }

    #[test]
    fn a_package_outside_its_crate_is_named_whatever_part_of_it_is_imported() {
        let tree = Tree::of(&[
            ("node/Cargo.toml", "[dependencies]\nlibp2p-stream = \"1\"\nbincode = \"2\"\nrocksdb = \"1\""),
            ("raft/Cargo.toml", "[dependencies]\nopenraft = \"1\"\nbincode = \"2\"\nrocksdb = \"1\""),
        ]);
        assert_eq!(
            whats(packages_stay_in_their_crate(&tree)),
            ["bincode may be imported by raft only", "libp2p-stream may be imported by p2p only"]
        );
    }
}
