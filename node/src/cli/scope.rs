//! `pentora scope add|list|show|remove`: which addresses may be scanned, and by whom.

use clap::Args;

use super::rules::{Help, Lines, RuleCli, WriteArgs, listed};
use super::table::{Column, Tabular};
use crate::document::{RuleDocument, ScopeRequest, ScopeWords, Scopes};
use crate::failure::Failure;

/// A scope.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Prefixes or addresses.
    #[arg(value_name = "CIDR", required = true)]
    networks: Vec<String>,
    /// Why they may be scanned; kept with the scope.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// What it is called [default: made of the first prefix].
    #[arg(long)]
    name: Option<String>,
    /// Only for requests with this token, by its name; can be given several times [default: all].
    #[arg(long = "token", value_name = "NAME", value_delimiter = ',')]
    tokens: Vec<String>,
    /// Nothing but these networks may be scanned, as far as they are allowed at all.
    #[arg(long)]
    only: bool,
    #[command(flatten)]
    write: WriteArgs,
}

impl Tabular for RuleDocument<ScopeWords> {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |scope| scope.name.clone()),
            Column::new("Networks", |scope| listed(&scope.words.networks)),
            Column::new("Effect", |scope| scope.words.effect.clone()),
            Column::new("Tokens", |scope| tokens(&scope.words)),
            Column::new("Reason", |scope| scope.reason.clone()),
            Column::new("By", |scope| listed(std::slice::from_ref(&scope.by))),
            Column::new("At", |scope| scope.at.clone()),
        ]
    }
}

fn tokens(words: &ScopeWords) -> String {
    if words.tokens.is_empty() { "all".to_owned() } else { words.tokens.join(", ") }
}

impl RuleCli for Scopes {
    type Add = AddArgs;

    const ADD: Help = (
        "Allow networks beyond private space, with the reason; or with --only let tokens scan nothing else",
        "Examples:\n  pentora scope add 203.0.113.0/24 --reason 'contract 4711, until December'\n  \
                             pentora scope add 2001:db8::/32 100.64.0.0/10 --name carrier --token ops --reason 'own range'\n  \
                             pentora scope add 10.1.0.0/16 --only --token ci --reason 'the test network alone'",
    );
    const LIST: Help = (
        "Print all scopes; without any, loopback, private and link-local networks may be scanned",
        "Example:\n  pentora scope list --json",
    );
    const SHOW: Help = ("Print one scope with who wrote it", "Example:\n  pentora scope show carrier");
    const REMOVE: Help =
        ("Take a scope away; jobs that need it are held at once", "Example:\n  pentora scope remove carrier");

    fn request(add: AddArgs) -> Result<(WriteArgs, ScopeRequest), Failure> {
        let AddArgs { networks, reason, name, tokens, only, write } = add;
        let effect = only.then(|| "only".to_owned());
        Ok((write, ScopeRequest { name, networks, tokens, effect, reason }))
    }

    fn tokens(request: &ScopeRequest) -> &[String] {
        &request.tokens
    }

    fn lines(words: &ScopeWords) -> Lines {
        vec![("Networks", listed(&words.networks)), ("Effect", words.effect.clone()), ("Tokens", tokens(words))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    #[test]
    fn a_scope_is_listed_with_whom_it_is_for_and_why() {
        let scope = RuleDocument {
            name: "carrier".into(),
            words: ScopeWords { networks: vec!["100.64.0.0/10".into()], tokens: Vec::new(), effect: "allow".into() },
            reason: "own range".into(),
            by: "admin".into(),
            from: String::new(),
            at: "2025-07-10T12:00:00Z".into(),
        };
        let heads = ["Name", "Networks", "Effect", "Tokens", "Reason", "By", "At"];
        let row = ["carrier", "100.64.0.0/10", "allow", "all", "own range", "admin", "2025-07-10T12:00:00Z"];
        assert_eq!(cells(&[scope]), [heads, row]);
    }
}
