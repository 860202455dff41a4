//! In which form a command prints the one thing that it shows: as text for people, or as data with all fields.
//!
//! A command that shows something takes [`ShownArgs`], one that lists takes [`super::list::FormArgs`]; so `--json` and
//! `-o json|yaml` mean the same everywhere. Reports of scans have formats of their own (`results`).

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::watch::json;

/// What a thing can be shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// Text for people.
    #[value(alias = "table")]
    Text,
    /// One line of JSON, with all fields.
    Json,
    /// A document of YAML, with all fields.
    Yaml,
}

/// In which form something is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct ShownArgs {
    /// Print JSON, with all fields: as -o json.
    #[arg(long, conflicts_with = "shown_form", help_heading = "Output")]
    json: bool,
    /// Form: text, json (one line), yaml [default: text].
    #[arg(
        id = "shown_form",
        short = 'o',
        long = "output",
        value_name = "FORM",
        value_enum,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    shown: Option<Shown>,
}

impl ShownArgs {
    /// The form of a command that knows JSON alone beside text.
    pub(super) fn as_json(is_json: bool) -> Self {
        Self { json: is_json, shown: None }
    }

    /// The document as data, where that was asked for.
    pub(super) fn data(self, document: &impl Serialize) -> Option<String> {
        match self.shown {
            Some(Shown::Json) => Some(json(document)),
            Some(Shown::Yaml) => Some(yaml(document)),
            Some(Shown::Text) => None,
            None => self.json.then(|| json(document)),
        }
    }

    /// The document in the form that was asked for: as `told` tells it, where none was.
    pub(super) fn text(self, document: &impl Serialize, told: impl FnOnce() -> String) -> String {
        self.data(document).unwrap_or_else(told)
    }
}

/// One document of YAML, with the line that parts it from the one before, so that a watched command gives a stream of them.
pub(super) fn yaml(document: &impl Serialize) -> String {
    let text = serde_saphyr::to_string(document).expect("documents have only strings, numbers and lists");
    format!("---\n{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        form: ShownArgs,
    }

    #[derive(Debug, Serialize)]
    struct Entry {
        name: &'static str,
        says: Vec<&'static str>,
        none: Option<u8>,
    }

    fn shown(words: &[&str]) -> Option<String> {
        let line = Line::try_parse_from([&["show"], words].concat()).ok()?;
        let entry = Entry { name: "yes: no", says: vec!["a", "#b"], none: None };
        Some(line.form.text(&entry, || "told\n".to_owned()))
    }

    #[test]
    fn a_thing_is_shown_in_the_form_that_was_asked_for() {
        let data = "{\"name\":\"yes: no\",\"says\":[\"a\",\"#b\"],\"none\":null}\n";
        for (words, expected) in
            [(&[][..], "told\n"), (&["--json"], data), (&["-o", "json"], data), (&["--output", "text"], "told\n")]
        {
            assert_eq!(shown(words).as_deref(), Some(expected), "{words:?}");
        }
        assert_eq!(shown(&["-o", "table"]), shown(&[]));
        assert!(shown(&["-o", "xml"]).is_none() && shown(&["--json", "-o", "yaml"]).is_none());
        let written = shown(&["-o", "yaml"]).unwrap();
        assert!(written.starts_with("---\n") && written.ends_with('\n'), "{written}");
        let read: serde_json::Value = serde_saphyr::from_str(&written).unwrap();
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(data).unwrap());
    }
}
