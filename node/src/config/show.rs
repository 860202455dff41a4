//! A configuration as text: the effective values with their origins, and a JSON Schema for editors.

use pentora_raft::command::AccessRole;
use serde_json::{Map, Value, json};

use super::build::Loaded;
use super::issue::Origin;
use super::keys::{KEYS, Key};
use super::kind::Kind;
use super::layers::{Raw, Setting};

/// The effective configuration as YAML, in the order of the key table; with `origins`, each line says where its value
/// came from. Secrets show as `***`.
#[must_use]
pub fn show(loaded: &Loaded, origins: bool) -> String {
    render(loaded, origins, |_, _| true)
}

/// The keys that `wanted` keeps, as YAML.
pub(super) fn render(loaded: &Loaded, origins: bool, wanted: impl Fn(&str, &Origin) -> bool) -> String {
    let mut lines: Vec<(String, Option<&Origin>)> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for key in KEYS {
        let setting = loaded.settings.get(key.path).filter(|setting| wanted(key.path, &setting.origin));
        let Some(setting) = setting else { continue };
        let parts: Vec<&str> = key.path.split('.').collect();
        let Some((leaf, groups)) = parts.split_last() else { continue };
        let common = open.iter().zip(groups).take_while(|(a, b)| a == b).count();
        open.truncate(common);
        for group in groups.iter().skip(common) {
            lines.push((format!("{}{group}:", "  ".repeat(open.len())), None));
            open.push(group);
        }
        let value = written(key, setting);
        lines.push((format!("{}{leaf}: {value}", "  ".repeat(open.len())), Some(&setting.origin)));
    }
    let width = lines.iter().filter(|(_, origin)| origin.is_some()).map(|(text, _)| text.chars().count()).max();
    let width = width.unwrap_or_default().min(60);
    let mut out = String::new();
    for (text, origin) in lines {
        match origin.filter(|_| origins) {
            Some(origin) => out.push_str(&format!("{text:<width$}  # {origin}\n")),
            None => out.push_str(&format!("{text}\n")),
        }
    }
    out
}

/// A value in YAML's flow style, quoted as JSON where needed, which every YAML reader takes.
fn written(key: &Key, setting: &Setting) -> String {
    if key.kind == Kind::Secret {
        return "\"***\"".to_owned();
    }
    let many = matches!(
        key.kind,
        Kind::Labels | Kind::Peers | Kind::Coordinators | Kind::Networks | Kind::Targets | Kind::Keys | Kind::Roles
    );
    match &setting.raw {
        Raw::Text(text) if !many || text == "auto" => scalar(text),
        raw => format!("[{}]", raw.items().map(|item| scalar(item.trim())).collect::<Vec<_>>().join(", ")),
    }
}

/// Plain where YAML cannot misread it; a `$` would be expanded again, so it is doubled.
pub(super) fn scalar(text: &str) -> String {
    let text = text.replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if starts_well && text.chars().all(plain) { text } else { Value::String(text).to_string() }
}

/// JSON Schema (draft 2020-12) of the file, from the key table.
#[must_use]
pub fn schema() -> Value {
    let mut properties = Map::new();
    for key in KEYS {
        let path: Vec<&str> = key.path.split('.').collect();
        insert(&mut properties, &path, leaf_schema(key));
    }
    let mut root = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pentora.yaml"});
    if let (Some(root), Value::Object(group)) = (root.as_object_mut(), group(properties)) {
        root.extend(group);
    }
    root
}

/// Puts `leaf` below `path`, opening groups on the way.
fn insert(properties: &mut Map<String, Value>, path: &[&str], leaf: Value) {
    match path {
        [] => {}
        [name] => {
            properties.insert((*name).to_owned(), leaf);
        }
        [name, rest @ ..] => {
            let opened = properties.entry(*name).or_insert_with(|| group(Map::new()));
            if let Some(inner) = opened.get_mut("properties").and_then(Value::as_object_mut) {
                insert(inner, rest, leaf);
            }
        }
    }
}

/// A group allows no key but its own; one without any is the same as none.
fn group(properties: Map<String, Value>) -> Value {
    json!({"type": ["object", "null"], "additionalProperties": false, "properties": properties})
}

/// What one key takes. Every scalar may also be a text with `${VAR}`.
fn leaf_schema(key: &Key) -> Value {
    let list = json!({"type": ["string", "array"], "items": {"type": "string"}});
    let mut schema = match key.kind {
        Kind::Roles => {
            let role = json!({"enum": AccessRole::NAMES});
            json!({"type": ["string", "array", "object"], "items": {"type": "string"}, "additionalProperties": role})
        }
        Kind::Switch => json!({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "[$][{]"}]}),
        Kind::Count(low, high) => {
            json!({"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, {"type": "string"}]})
        }
        Kind::Share => json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"type": "string"}]}),
        Kind::Word(words) => {
            let words: Vec<Value> = words.iter().map(|word| plain(word)).collect();
            json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": "[$][{]"}]})
        }
        Kind::Labels
        | Kind::Peers
        | Kind::Coordinators
        | Kind::Networks
        | Kind::Targets
        | Kind::Windows
        | Kind::Hosts
        | Kind::Keys
        | Kind::Urls => list,
        Kind::Time(..) => json!({"type": "string", "examples": ["30s", "2m", "1h30m"]}),
        Kind::Size(..) => json!({"type": ["string", "integer"], "examples": ["512MiB", "20GiB"]}),
        Kind::Collector
        | Kind::Fingerprint
        | Kind::Label
        | Kind::Path
        | Kind::Socket
        | Kind::Secret
        | Kind::Text
        | Kind::KeysUrl
        | Kind::Anything => {
            json!({"type": ["string", "number"]})
        }
    };
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), json!(key.about));
        if !key.default.is_empty() {
            let is_number = matches!(key.kind, Kind::Word(_) | Kind::Count(..));
            object.insert("default".to_owned(), if is_number { plain(key.default) } else { json!(key.default) });
        }
    }
    schema
}

/// A word as a file without quotes has it: YAML's `5` is a number.
fn plain(word: &str) -> Value {
    word.parse::<u64>().map_or_else(|_no_number| json!(word), |number| json!(number))
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigText, Host, Sources, load};
    use super::*;

    fn sources(text: &str) -> Sources {
        Sources {
            file: Some(ConfigText { name: "p.yaml".into(), text: text.into() }),
            host: Host { name: "box".into(), ..Host::default() },
            ..Sources::default()
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_configuration() {
        let text = "worker:\n  tags: [a, 'b:c']\n  region: eu\nmesh: {advertise: ['[fd00::1]:7400']}\nnode: {data_dir: '/d $$ x'}\n";
        let first = load(&sources(text)).unwrap();
        let shown = show(&first, true);
        let mut again = load(&sources(&shown)).unwrap();
        // What is shown has a name in it, which was the host's.
        again.config.is_named = first.config.is_named;
        assert_eq!(format!("{:?}", first.config), format!("{:?}", again.config), "{shown}");
        assert!(shown.contains("    listen: \"127.0.0.1:8080\""), "{shown}");
        assert!(shown.contains("# p.yaml:3:11") && shown.contains("# default"), "{shown}");
    }

    #[test]
    fn a_secret_is_shown_as_stars() {
        let shown = show(&load(&sources("worker: {token: pnj_hidden}")).unwrap(), true);
        assert!(shown.contains("token: \"***\"") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn the_schema_knows_every_key_and_closes_every_group() {
        let schema = schema();
        for key in KEYS {
            let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
            assert_eq!(schema.pointer(&format!("{pointer}/description")), Some(&json!(key.about)), "{}", key.path);
        }
        assert_eq!(schema["properties"]["server"]["additionalProperties"], false);
        let voters = &schema["properties"]["cluster"]["properties"]["voters"];
        assert_eq!((&voters["anyOf"][0]["enum"], &voters["default"]), (&json!([3, 5, 7]), &json!(3)));
    }
}
