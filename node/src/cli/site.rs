//! `pentora site add|list|show|remove`: private ranges that several places use, each for its own hosts.

use clap::Args;

use super::rules::{Help, Lines, RuleCli, WriteArgs, listed};
use super::table::{Column, Tabular};
use crate::document::{RuleDocument, SiteRequest, SiteWords, Sites};
use crate::failure::Failure;

/// A site.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// What it is called, as its nodes say.
    name: String,
    /// Its prefixes or addresses.
    #[arg(value_name = "CIDR", required = true)]
    networks: Vec<String>,
    /// What it is.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    write: WriteArgs,
}

impl Tabular for RuleDocument<SiteWords> {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Site", |site| site.name.clone()),
            Column::new("Networks", |site| listed(&site.words.networks)),
            Column::new("Reason", |site| listed(std::slice::from_ref(&site.reason))),
            Column::new("By", |site| listed(std::slice::from_ref(&site.by))),
        ]
    }
}

impl RuleCli for Sites {
    type Add = AddArgs;

    const ADD: Help = (
        "Name the networks of a site; an address that several sites have is scanned with `--site` alone",
        "Examples:\n  pentora site add berlin 10.77.0.0/16 --reason 'plant 1'\n  \
                             pentora site add madrid 10.77.0.0/16 10.78.0.0/16\n  \
                             pentora nodes set n3 --site berlin\n  \
                             pentora scan 10.77.0.0/24 --site berlin",
    );
    const LIST: Help = ("Print all sites", "Example:\n  pentora site list --json");
    const SHOW: Help = ("Print one site with who wrote it", "Example:\n  pentora site show berlin");
    const REMOVE: Help = ("Take a site away", "Example:\n  pentora site remove berlin");

    fn request(add: AddArgs) -> Result<(WriteArgs, SiteRequest), Failure> {
        let AddArgs { name, networks, reason, write } = add;
        Ok((write, SiteRequest { name, networks, reason }))
    }

    fn lines(words: &SiteWords) -> Lines {
        vec![("Networks", listed(&words.networks))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    #[test]
    fn a_site_is_listed_with_its_networks() {
        let site = RuleDocument {
            name: "berlin".into(),
            words: SiteWords { networks: vec!["10.77.0.0/16".into(), "10.78.0.0/16".into()] },
            reason: String::new(),
            by: "admin".into(),
            from: String::new(),
            at: String::new(),
        };
        let row = ["berlin", "10.77.0.0/16, 10.78.0.0/16", "-", "admin"];
        assert_eq!(cells(&[site]), [["Site", "Networks", "Reason", "By"], row]);
    }
}
