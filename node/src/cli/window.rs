//! `pentora window add|list|show|remove`: when networks may be scanned, and when they may not.

use clap::Args;

use super::rules::{Help, Lines, RuleCli, WhenArgs, WriteArgs, listed};
use super::table::{Column, Tabular};
use crate::document::{RuleDocument, WindowRequest, WindowWords, Windows};
use crate::failure::Failure;

/// A window.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// What it is called.
    name: String,
    /// Prefixes or addresses that it is for [default: all].
    #[arg(value_name = "CIDR")]
    networks: Vec<String>,
    /// They may not be scanned then, whatever windows say.
    #[arg(long)]
    blackout: bool,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    when: WhenArgs,
    #[command(flatten)]
    write: WriteArgs,
}

impl Tabular for RuleDocument<WindowWords> {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |window| window.name.clone()),
            Column::new("Effect", |window| window.words.effect.clone()),
            Column::new("Networks", |window| networks(&window.words)),
            Column::new("When", |window| window.words.when.words()),
            Column::new("Reason", |window| listed(std::slice::from_ref(&window.reason))),
            Column::new("By", |window| listed(std::slice::from_ref(&window.by))),
        ]
    }
}

fn networks(words: &WindowWords) -> String {
    if words.networks.is_empty() { "all".to_owned() } else { words.networks.join(", ") }
}

impl RuleCli for Windows {
    type Add = AddArgs;

    const ADD: Help = (
        "Say when networks may be scanned; with --blackout, when they may not",
        "Examples:\n  pentora window add nights 10.1.0.0/16 --hours 22:00-06:00 --days mon-fri --zone Europe/Berlin\n  \
                             pentora window add freeze --blackout --from 2026-12-20T00:00 --until 2027-01-05T00:00 --zone Europe/Berlin\n  \
                             pentora scan 10.1.0.0/16 --wait-for-window --detach",
    );
    const LIST: Help = (
        "Print all windows and blackouts; what none names may be scanned at any time",
        "Example:\n  pentora window list --json",
    );
    const SHOW: Help = ("Print one window with who wrote it", "Example:\n  pentora window show nights");
    const REMOVE: Help = (
        "Take a window away; jobs that waited for it go on where no other holds them",
        "Example:\n  pentora window remove nights",
    );

    fn request(add: AddArgs) -> Result<(WriteArgs, WindowRequest), Failure> {
        let AddArgs { name, networks, blackout, reason, when, write } = add;
        let effect = blackout.then(|| "blackout".to_owned());
        let when = when.fields().unwrap_or_default();
        Ok((write, WindowRequest { name, networks, when, effect, reason }))
    }

    fn lines(words: &WindowWords) -> Lines {
        vec![("Effect", words.effect.clone()), ("Networks", networks(words)), ("When", words.when.words())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;
    use crate::document::WhenFields;

    #[test]
    fn a_window_is_listed_with_its_hours() {
        let when = WhenFields { hours: Some("22:00-06:00".into()), zone: Some("UTC".into()), ..WhenFields::default() };
        let window = RuleDocument {
            name: "nights".into(),
            words: WindowWords { networks: Vec::new(), when, effect: "blackout".into() },
            reason: String::new(),
            by: "admin".into(),
            from: String::new(),
            at: String::new(),
        };
        let heads = ["Name", "Effect", "Networks", "When", "Reason", "By"];
        assert_eq!(cells(&[window]), [heads, ["nights", "blackout", "all", "22:00-06:00 UTC", "-", "admin"]]);
    }
}
