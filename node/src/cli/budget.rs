//! `pentora budget add|list|show|remove`: how many packets per second networks may get.

use clap::Args;

use super::rules::{Help, Lines, RuleCli, WriteArgs, listed};
use super::table::{Column, Tabular};
use crate::document::{BudgetRequest, BudgetWords, Budgets, RuleDocument};
use crate::failure::Failure;

/// A budget.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Prefixes or addresses, which share it.
    #[arg(value_name = "CIDR", required = true)]
    networks: Vec<String>,
    /// Packets per second into all of them together.
    #[arg(long, value_name = "PPS", value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// What it is called [default: made of the first prefix].
    #[arg(long)]
    name: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    write: WriteArgs,
}

impl Tabular for RuleDocument<BudgetWords> {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |budget| budget.name.clone()),
            Column::new("Networks", |budget| listed(&budget.words.networks)),
            Column::new("Packets/s", |budget| budget.words.rate.to_string()),
            Column::new("Reason", |budget| listed(std::slice::from_ref(&budget.reason))),
            Column::new("By", |budget| listed(std::slice::from_ref(&budget.by))),
        ]
    }
}

impl RuleCli for Budgets {
    type Add = AddArgs;

    const ADD: Help = (
        "Bound the packets per second into networks, over all jobs and nodes together",
        "Examples:\n  pentora budget add 10.1.0.0/16 --rate 2000 --name plant --reason 'thin line'\n  \
                             pentora budget add 10.2.0.0/16 10.3.0.0/16 --rate 10000 --name branch",
    );
    const LIST: Help = ("Print all budgets", "Example:\n  pentora budget list --json");
    const SHOW: Help = ("Print one budget with who wrote it", "Example:\n  pentora budget show plant");
    const REMOVE: Help = ("Take a budget away", "Example:\n  pentora budget remove plant");

    fn request(add: AddArgs) -> Result<(WriteArgs, BudgetRequest), Failure> {
        let AddArgs { networks, rate, name, reason, write } = add;
        Ok((write, BudgetRequest { name, networks, rate, reason }))
    }

    fn lines(words: &BudgetWords) -> Lines {
        vec![("Networks", listed(&words.networks)), ("Packets/s", words.rate.to_string())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    #[test]
    fn a_budget_is_listed_with_its_rate() {
        let budget = RuleDocument {
            name: "plant".into(),
            words: BudgetWords { networks: vec!["10.1.0.0/16".into()], rate: 2_000 },
            reason: String::new(),
            by: "admin".into(),
            from: String::new(),
            at: String::new(),
        };
        let heads = ["Name", "Networks", "Packets/s", "Reason", "By"];
        assert_eq!(cells(&[budget]), [heads, ["plant", "10.1.0.0/16", "2000", "-", "admin"]]);
    }
}
