//! Flags over environment over file over what the node remembers over defaults: which text each key gets, and where it
//! came from. For commands beside a node, what that node noted of its API stands above the environment: it listens there.

use std::collections::BTreeMap;

use super::build::Purpose;
use super::expand::expand;
use super::issue::{ConfigIssue, Origin, Position};
use super::keys::{KEYS, Key, env_name, find, is_group};
use super::kind::Kind;
use super::suggest::nearest;
use super::yaml::{Entry, Node, Value};

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// A scalar.
    Text(String),
    /// A list of scalars.
    List(Vec<String>),
}

impl Raw {
    /// The items of a list, or of a scalar with commas.
    pub(super) fn items(&self) -> impl Iterator<Item = &str> {
        let (text, list) = match self {
            Self::Text(text) => (text.as_str(), [].as_slice()),
            Self::List(items) => ("", items.as_slice()),
        };
        text.split(',').filter(|item| !item.trim().is_empty()).chain(list.iter().map(String::as_str))
    }
}

/// A command-line flag that stands for a key.
#[derive(Debug, Clone)]
pub struct FlagValue {
    /// The key's path.
    pub key: &'static str,
    /// The flag as the user typed it, such as `--name`.
    pub flag: &'static str,
    /// Its value.
    pub value: Raw,
}

/// A key's value and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// The winning layer of every key that has a value.
pub(super) type Settings = BTreeMap<&'static str, Setting>;

/// The files that give values, the weaker first.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// What the node wrote down at an earlier start.
    pub(super) remembered: Option<Node>,
    /// The operator's file.
    pub(super) file: Option<Node>,
    /// What the node that runs here noted of its API: all of it, whatever else is said.
    pub(super) noted: Option<Node>,
}

/// Puts the layers over each other. Problems are added to `issues`; a key with a problem keeps the layer below.
pub(super) fn stack(
    roots: &Roots,
    env: &BTreeMap<String, String>,
    flags: &[FlagValue],
    purpose: Purpose,
    issues: &mut Vec<ConfigIssue>,
) -> Settings {
    let mut settings = Settings::new();
    let default = |key: &&'static Key| !key.default.is_empty();
    let by_default = |key: &Key| Setting { raw: Raw::Text(key.default.to_owned()), origin: Origin::Default };
    settings.extend(KEYS.iter().filter(default).map(|key| (key.path, by_default(key))));
    let remembered = (&roots.remembered, Origin::Remembered as fn(Position) -> Origin);
    for (root, origin) in [remembered, (&roots.file, Origin::File)] {
        if let Some(root) = root {
            FileLayer { origin, env, settings: &mut settings, purpose, issues }.group("", root);
        }
    }
    for key in KEYS.iter().filter(|key| purpose.reads(key.path)) {
        if let Some(setting) = from_env(key, env) {
            put(&mut settings, issues, key, setting, &[]);
        }
    }
    if let Some(root) = &roots.noted {
        let of_api = |path: &str| path.starts_with("server.api.");
        settings.retain(|path, _| !of_api(path));
        let keys = KEYS.iter().filter(|key| of_api(key.path)).filter(default);
        settings.extend(keys.map(|key| (key.path, by_default(key))));
        let origin = Origin::Remembered as fn(Position) -> Origin;
        FileLayer { origin, env, settings: &mut settings, purpose, issues }.group("", root);
    }
    for flag in flags {
        if let Some(key) = find(flag.key) {
            let setting = Setting { raw: flag.value.clone(), origin: Origin::Flag(flag.flag.to_owned()) };
            put(&mut settings, issues, key, setting, &[]);
        }
    }
    settings
}

/// The strongest environment variable of a key. One set to nothing counts as not set: containers pass those on.
fn from_env(key: &Key, env: &BTreeMap<String, String>) -> Option<Setting> {
    let mut names = std::iter::once(env_name(key.path)).chain(key.also_env.iter().map(ToString::to_string));
    let set = |name: String| {
        let text = env.get(&name).filter(|text| !text.is_empty())?;
        Some(Setting { raw: Raw::Text(text.clone()), origin: Origin::Environment(name) })
    };
    names.find_map(set)
}

/// Stores a setting unless its key is refused or its value is of the wrong kind. Of a list each item that is wrong is told, at
/// its own place of `places`, where it has one.
fn put(settings: &mut Settings, issues: &mut Vec<ConfigIssue>, key: &'static Key, setting: Setting, places: &[Origin]) {
    let Err(message) = key.kind.check(&setting.raw) else {
        settings.insert(key.path, setting);
        return;
    };
    let told = issues.len();
    for (at, message) in key.kind.check_items(&setting.raw) {
        let origin = places.get(at).unwrap_or(&setting.origin).clone();
        issues.push(ConfigIssue { origin, key: Some(key.path.to_owned()), message });
    }
    if issues.len() == told {
        issues.push(ConfigIssue { origin: setting.origin, key: Some(key.path.to_owned()), message });
    }
}

/// Walks the file's tree along the key table.
struct FileLayer<'a> {
    origin: fn(Position) -> Origin,
    env: &'a BTreeMap<String, String>,
    settings: &'a mut Settings,
    purpose: Purpose,
    issues: &'a mut Vec<ConfigIssue>,
}

impl FileLayer<'_> {
    /// A mapping of which the keys lie below `prefix`.
    fn group(&mut self, prefix: &str, node: &Node) {
        let entries = match &node.value {
            Value::Null => return,
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => {
                let name = if prefix.is_empty() { "the file" } else { prefix };
                let message = format!("{name} must be a mapping of keys, such as `{}:`", example_below(prefix));
                return self.issue((self.origin)(node.position.clone()), None, message);
            }
        };
        for Entry { name, position, node } in entries {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if !self.purpose.reads(&path) && !is_group(&path) {
                continue;
            }
            if let Some(key) = find(&path) {
                self.leaf(key, (self.origin)(position.clone()), node);
            } else if is_group(&path) {
                self.group(&path, node);
            } else {
                self.unknown(&path, (self.origin)(position.clone()));
            }
        }
    }

    /// The value of a known key.
    fn leaf(&mut self, key: &'static Key, at_key: Origin, node: &Node) {
        let origin = (self.origin)(node.position.clone());
        if self.settings.get(key.path).is_some_and(|setting| setting.origin.rank() == at_key.rank()) {
            return self.issue(at_key, Some(key.path), "is set twice in this file: keep one".to_owned());
        }
        let raw = match &node.value {
            Value::Null => return,
            Value::Scalar(text) => self.expanded(key, node, text).map(Raw::Text),
            Value::List(items) => self.list(key, items).map(Raw::List),
            Value::Map(entries) if key.kind == Kind::Roles => self.pairs(key, entries).map(Raw::List),
            Value::Map(_) => {
                return self.issue(origin, Some(key.path), "takes a value, not a mapping of keys".to_owned());
            }
        };
        let place = |node: &Node| (self.origin)(node.position.clone());
        let places: Vec<Origin> = match &node.value {
            Value::List(items) => items.iter().map(place).collect(),
            Value::Map(entries) => entries.iter().map(|entry| place(&entry.node)).collect(),
            Value::Null | Value::Scalar(_) => Vec::new(),
        };
        if let Some(raw) = raw {
            put(self.settings, self.issues, key, Setting { raw, origin }, &places);
        }
    }

    /// The scalars of a list; `None` when one of them was wrong.
    fn list(&mut self, key: &Key, items: &[Node]) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        let mut good = true;
        for item in items {
            match &item.value {
                Value::Scalar(text) => match self.expanded(key, item, text) {
                    Some(text) => texts.push(text),
                    None => good = false,
                },
                Value::Null | Value::List(_) | Value::Map(_) => {
                    let origin = (self.origin)(item.position.clone());
                    self.issue(origin, Some(key.path), "takes a list of plain values".to_owned());
                    good = false;
                }
            }
        }
        good.then_some(texts)
    }

    /// The entries of a mapping as `NAME=VALUE`; `None` when one of them was wrong.
    fn pairs(&mut self, key: &Key, entries: &[Entry]) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        let mut good = true;
        for Entry { name, node, .. } in entries {
            match &node.value {
                Value::Scalar(text) => match self.expanded(key, node, text) {
                    Some(text) => texts.push(format!("{name}={text}")),
                    None => good = false,
                },
                Value::Null | Value::List(_) | Value::Map(_) => {
                    let origin = (self.origin)(node.position.clone());
                    self.issue(origin, Some(key.path), "takes one role for each value".to_owned());
                    good = false;
                }
            }
        }
        good.then_some(texts)
    }

    fn expanded(&mut self, key: &Key, node: &Node, text: &str) -> Option<String> {
        match expand(text, |name| self.env.get(name).cloned()) {
            Ok(text) => Some(text),
            Err(message) => {
                self.issue((self.origin)(node.position.clone()), Some(key.path), message);
                None
            }
        }
    }

    fn unknown(&mut self, path: &str, origin: Origin) {
        let known = KEYS.iter().map(|key| key.path);
        let hint = match nearest_key(path, known) {
            Some(near) => format!(": did you mean {near}?"),
            None => ": `pentora config schema` lists the keys".to_owned(),
        };
        self.issue(origin, None, format!("unknown key {}{hint}", path.escape_debug()));
    }

    fn issue(&mut self, origin: Origin, key: Option<&str>, message: String) {
        self.issues.push(ConfigIssue { origin, key: key.map(str::to_owned), message });
    }
}

/// The nearest key or group of keys: a misspelt group is answered by the group.
fn nearest_key<'a>(path: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let depth = path.matches('.').count();
    let same_depth = known.clone().map(move |key| {
        let end = key.match_indices('.').nth(depth).map_or(key.len(), |(at, _)| at);
        key.get(..end).unwrap_or(key)
    });
    nearest(path, same_depth.clone().chain(known))
}

/// A key below `prefix` to show what was expected.
fn example_below(prefix: &str) -> &'static str {
    KEYS.iter()
        .find_map(|key| {
            let rest = key.path.strip_prefix(prefix)?;
            rest.strip_prefix('.').unwrap_or(rest).split('.').next()
        })
        .unwrap_or("node")
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn run(text: &str, variables: &[(&str, &str)], flags: &[FlagValue]) -> (Settings, Vec<String>) {
        let mut issues = Vec::new();
        let roots = Roots { file: Some(parse("p.yaml", text).unwrap()), ..Roots::default() };
        let settings = stack(&roots, &env(variables), flags, Purpose::Node, &mut issues);
        (settings, issues.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
        let file = "server:\n  api:\n    listen: 127.0.0.1:1\n";
        let variable = [("PENTORA_SERVER_API_LISTEN", "127.0.0.1:2")];
        let flag =
            [FlagValue { key: "server.api.listen", flag: "--api-listen", value: Raw::Text("127.0.0.1:3".to_owned()) }];
        for (text, variables, flags, expected, origin) in [
            ("", &[][..], &[][..], "127.0.0.1:8080", "default"),
            (file, &[], &[], "127.0.0.1:1", "p.yaml:3:13"),
            (file, &variable, &[], "127.0.0.1:2", "environment PENTORA_SERVER_API_LISTEN"),
            (file, &variable, &flag, "127.0.0.1:3", "flag --api-listen"),
        ] {
            let (settings, issues) = run(text, variables, flags);
            let setting = &settings["server.api.listen"];
            assert_eq!(setting.raw, Raw::Text(expected.to_owned()));
            assert_eq!(setting.origin.to_string(), origin);
            assert_eq!(issues, Vec::<String>::new());
        }
    }

    #[test]
    fn a_keys_own_variable_beats_its_older_name_and_an_empty_one_counts_as_not_set() {
        let both = [("WORKER_TOKEN", "old"), ("PENTORA_WORKER_TOKEN", "new")];
        assert_eq!(run("", &both, &[]).0["worker.token"].raw, Raw::Text("new".to_owned()));
        let empty = [("WORKER_TOKEN", "old"), ("PENTORA_WORKER_TOKEN", "")];
        assert_eq!(run("", &empty, &[]).0["worker.token"].raw, Raw::Text("old".to_owned()));
    }

    #[test]
    fn unknown_keys_are_named_with_place_and_nearest_known_key_all_at_once() {
        let text = "serve:\n  mode: coordinator\nserver:\n  api:\n    listn: 127.0.0.1:1\nlisten: 1\nzzz: 1\n";
        let (_, issues) = run(text, &[], &[]);
        assert_eq!(
            issues,
            [
                "p.yaml:1:1: unknown key serve: did you mean server?",
                "p.yaml:5:5: unknown key server.api.listn: did you mean server.api.listen?",
                "p.yaml:6:1: unknown key listen: did you mean mesh.listen?",
                "p.yaml:7:1: unknown key zzz: `pentora config schema` lists the keys",
            ]
        );
    }

    #[test]
    fn shapes_that_do_not_fit_their_key_are_refused_where_they_stand() {
        for (text, expected) in [
            ("server: coordinator\n", "p.yaml:1:9: server must be a mapping of keys, such as `mode:`"),
            ("- a\n", "p.yaml:1:1: the file must be a mapping of keys, such as `node:`"),
            ("mesh:\n  profile: {a: 1}\n", "p.yaml:2:12: mesh.profile: takes a value, not a mapping of keys"),
            ("mesh:\n  profile: [lan]\n", "p.yaml:2:12: mesh.profile: takes one value, not a list"),
            ("worker:\n  tags: [a, [b]]\n", "p.yaml:2:13: worker.tags: takes a list of plain values"),
            ("node: {name: a}\nnode: {name: b}\n", "p.yaml:2:8: node.name: is set twice in this file: keep one"),
            (
                "worker:\n  token: ${NOPE}\n",
                "p.yaml:2:10: worker.token: environment variable NOPE is not set: set it, or write ${NOPE:-default}",
            ),
        ] {
            assert_eq!(run(text, &[], &[]).1, [expected], "{text:?}");
        }
    }

    #[test]
    fn each_item_of_a_list_that_is_wrong_is_told_where_it_stands() {
        let text = "worker:\n  tags: [\"-a\", b, \"c d\"]\n  network_access:\n    - 10.0.0.0/8\n    - 10.0.0.0/40\n    - bogus\n  exclude:\n    - 10.0.0.0/33\n    - 10.0.0.1\n    - \"*\"\n";
        let (settings, issues) = run(text, &[], &[]);
        let places: Vec<&str> = issues.iter().map(|issue| issue.split(": ").next().unwrap()).collect();
        assert_eq!(
            places,
            ["p.yaml:2:10", "p.yaml:2:19", "p.yaml:5:7", "p.yaml:6:7", "p.yaml:8:7", "p.yaml:10:7"],
            "{issues:?}"
        );
        assert!(issues[3].contains("worker.network_access: `bogus`"), "{issues:?}");
        assert!(!settings.contains_key("worker.exclude"));
        let (_, issues) = run("", &[("PENTORA_WORKER_TAGS", "-a,b,-c")], &[]);
        assert_eq!(issues.len(), 2, "{issues:?}");
        assert!(issues[1].contains("PENTORA_WORKER_TAGS: worker.tags: `-c`"), "{issues:?}");
    }

    #[test]
    fn variables_expand_in_scalars_and_in_lists_of_the_file_only() {
        let text = "worker:\n  token: ${WORKER_TOKEN}\n  tags:\n    - ${ZONE:-lab}\n    - x\n";
        let (settings, issues) = run(text, &[("WORKER_TOKEN", "pnj_1"), ("PENTORA_WORKER_REGION", "$X")], &[]);
        assert_eq!(settings["worker.tags"].raw, Raw::List(vec!["lab".to_owned(), "x".to_owned()]));
        assert_eq!(
            issues,
            [
                "environment PENTORA_WORKER_REGION: worker.region: `$X` is not a label: 1 to 63 letters, digits or ._:/@+=-"
            ]
        );
    }

    #[test]
    fn a_key_without_a_value_is_as_if_it_were_not_there() {
        let (settings, issues) = run("worker:\n  region:\nserver:\n", &[], &[]);
        assert!(!settings.contains_key("worker.region") && issues.is_empty());
    }
}
