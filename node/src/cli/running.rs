//! The nodes that run on this machine, by what their processes were started with: for a health check beside one, in its container
//! say, that is told nothing of it.
//!
//! What a node was told by flags and by a file of its own is in its command line, which everybody may read. Where its API is
//! it has noted in its data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::context::Context;
use crate::config::{API_FILE, ConfigText, FlagValue, Purpose, Raw, Sources, find_file, load};

/// What a node's command line says of where it is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    config: Option<PathBuf>,
    data_dir: Option<PathBuf>,
}

/// The data directories of the nodes among `processes` (`/proc`) whose note of their API can be read.
pub(super) fn data_dirs(processes: &Path, context: &Context) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(processes).into_iter().flatten().flatten();
    entries.filter_map(|entry| data_dir(&entry.path(), context)).collect()
}

fn data_dir(process: &Path, context: &Context) -> Option<PathBuf> {
    let strings = |name: &str| Some(String::from_utf8_lossy(&std::fs::read(process.join(name)).ok()?).into_owned());
    let line = strings("cmdline")?;
    let told = told(&line.split_terminator('\0').collect::<Vec<_>>())?;
    // Both are a secret of a process that leaves no dumps, but for root. In a container they are ours as well.
    let folder = std::fs::read_link(process.join("cwd")).or_else(|_secret| std::env::current_dir()).ok()?;
    let env: BTreeMap<String, String> = match strings("environ") {
        Some(text) => text
            .split_terminator('\0')
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        None => context.env.clone(),
    };
    let named = told.config.map(|path| folder.join(path));
    let file = find_file(named.as_deref(), &env, &context.host, |path| path.exists());
    let flag = |path: PathBuf| FlagValue {
        key: "node.data_dir",
        flag: "--data-dir",
        value: Raw::Text(path.display().to_string()),
    };
    let sources = Sources {
        file: file.and_then(|path| ConfigText::read(&path).ok()),
        env,
        flags: told.data_dir.map(flag).into_iter().collect(),
        host: context.host.clone(),
        purpose: Purpose::Client,
        ..Sources::default()
    };
    let data_dir = folder.join(load(&sources).ok()?.config.data_dir);
    data_dir.join(API_FILE).exists().then_some(data_dir)
}

/// What the words of a process say, where it is a node's.
fn told(words: &[&str]) -> Option<Told> {
    let (program, words) = words.split_first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    if !matches!(name, "pentora" | "pentora-node")
        || !words.iter().any(|word| matches!(*word, "start" | "join" | "restore"))
    {
        return None;
    }
    let value = |flag: &str| {
        let behind = words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1)).copied();
        let inside = || words.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('='));
        behind.or_else(inside).map(PathBuf::from)
    };
    Some(Told { config: value("--config"), data_dir: value("--data-dir") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_says_whether_it_is_a_nodes_and_where_that_is() {
        let of = |line: &str| told(&line.split(' ').collect::<Vec<_>>());
        for other in ["", "pentora", "pentora health", "pentora scan 10.0.0.1", "sleep start", "vi pentora-node start"]
        {
            assert_eq!(of(other), None, "{other}");
        }
        let told = |config: Option<&str>, data_dir: Option<&str>| {
            Some(Told { config: config.map(PathBuf::from), data_dir: data_dir.map(PathBuf::from) })
        };
        assert_eq!(of("/usr/bin/pentora worker start"), told(None, None));
        assert_eq!(of("pentora worker start --config w.yaml"), told(Some("w.yaml"), None));
        assert_eq!(of("pentora-node --config=/c start --data-dir /d --init"), told(Some("/c"), Some("/d")));
        assert_eq!(of("/opt/pentora-node join --data-dir=d --peer n1"), told(None, Some("d")));
    }

    #[test]
    fn a_node_is_found_by_its_flags_by_its_file_and_by_its_environment_once_it_has_noted_its_api() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let process = |number: &str, line: &str, env: &str| {
            let process = folder.path().join("proc").join(number);
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("cmdline"), line.replace(' ', "\0") + "\0").unwrap();
            std::fs::write(process.join("environ"), format!("{env}\0")).unwrap();
        };
        std::fs::write(
            at("w.yaml"),
            format!("node: {{data_dir: {}}}\nworker: {{token: '${{GONE}}'}}\n", at("by-file")),
        )
        .unwrap();
        process("1", &format!("pentora worker start --config {}", at("w.yaml")), "A=b");
        process("2", &format!("pentora-node start --data-dir {}", at("by-flag")), "PENTORA_DATA_DIR=/nowhere");
        process("3", "pentora server start", &format!("PENTORA_DATA_DIR={}", at("by-env")));
        process("4", &format!("pentora-node start --data-dir {}", at("silent")), "");
        process("5", &format!("pentora health --data-dir {}", at("by-none")), "");
        for name in ["by-file", "by-flag", "by-env", "silent", "by-none"] {
            std::fs::create_dir(at(name)).unwrap();
            if name != "silent" {
                std::fs::write(Path::new(&at(name)).join(API_FILE), "").unwrap();
            }
        }
        let found = data_dirs(&folder.path().join("proc"), &Context::for_test(std::io::sink()));
        assert_eq!(found, BTreeSet::from(["by-file", "by-flag", "by-env"].map(|name| PathBuf::from(at(name)))));
    }
}
