//! Where the programs under test are: beside the test's own executable, in the target folder of the same build.
//!
//! `PENTORA_BIN_DIR` names the folder of installed programs to run the system tests on.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// What is installed; `PENTORA_BIN_DIR` holds nothing else, the rest are the tests' own programs.
const INSTALLED: [&str; 2] = ["pentora-node", "pentora"];

/// The path of a program of this workspace: `pentora-node`, `pentora`, `lab-farm`, ...
///
/// # Errors
/// Where it has not been built; the message says how to.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    match env::var_os("PENTORA_BIN_DIR") {
        Some(folder) if INSTALLED.contains(&name) => existing(Path::new(&folder).join(name)),
        // Cargo knows no second names: `pentora` is a link that only `make build` and `make install` make.
        _ if name == "pentora" => built("pentora-node"),
        _ => built(name),
    }
}

/// The path of a program as cargo built it, whatever `PENTORA_BIN_DIR` says.
///
/// # Errors
/// As [`binary`].
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("the path of this executable")?;
    let folder = build_folder(&own).with_context(|| format!("{} is in no folder", own.display()))?;
    existing(folder.join(name))
}

fn existing(path: PathBuf) -> anyhow::Result<PathBuf> {
    ensure!(
        path.is_file(),
        "{} is not built: run `make build`, or cargo build --release --workspace --bins",
        path.display()
    );
    Ok(path)
}

/// The folder that cargo puts programs into, seen from an executable of the same build: a program is in it, a test in
/// its `deps`, an example in its `examples`.
fn build_folder(executable: &Path) -> Option<&Path> {
    let folder = executable.parent()?;
    match folder.file_name()?.to_str()? {
        "deps" | "examples" => folder.parent(),
        _ => Some(folder),
    }
}

/// The root of the source tree these tests were built from.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_from_a_test_an_example_and_a_program() {
        for executable in ["target/release/deps/mesh-0123", "target/release/examples/echo", "target/release/lab-farm"] {
            assert_eq!(build_folder(Path::new(executable)), Some(Path::new("target/release")), "{executable}");
        }
    }

    #[test]
    fn a_program_that_is_not_built_is_an_error_saying_how_to_build_it() {
        let error = binary("no-such-program").unwrap_err().to_string();
        assert!(error.contains("make build"), "{error}");
    }

    #[test]
    fn the_repository_holds_the_workspace_manifest() {
        assert!(repository().join("Cargo.toml").is_file());
        assert!(repository().join("tests/Cargo.toml").is_file());
    }
}
