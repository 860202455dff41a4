//! `/budgets`: how many packets per second networks may get.

use pentora_raft::command::{Author, BudgetRule, NewRule, Rule, RuleKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Noun, name_of, networks};

/// `/budgets`: how many packets per second networks may get.
#[derive(Debug, Clone, Copy)]
pub struct Budgets;

/// `POST /api/v1/budgets`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetRequest {
    /// What it is called; absent makes a name of the first network.
    #[serde(default)]
    pub name: Option<String>,
    /// The networks, which share it.
    pub networks: Vec<String>,
    /// Packets per second into all of them together.
    pub rate: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// What a budget says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetWords {
    /// The networks, which share it.
    pub networks: Vec<String>,
    /// Packets per second into all of them together.
    pub rate: u64,
}

impl Noun for Budgets {
    const KIND: RuleKind = RuleKind::Budget;
    const PATH: &'static str = "budgets";
    type Request = BudgetRequest;
    type Words = BudgetWords;

    fn rule(request: BudgetRequest, author: Author) -> Result<NewRule, String> {
        let BudgetRequest { name, networks: texts, rate: rate_pps, reason } = request;
        let name = name_of(name, texts.first());
        let networks = networks("networks", &texts)?;
        Ok(NewRule { name, rule: Rule::Budget(BudgetRule { networks, rate_pps }), reason, author })
    }

    fn words(rule: &Rule) -> Option<BudgetWords> {
        let Rule::Budget(budget) = rule else { return None };
        Some(BudgetWords { networks: budget.networks.iter().map(ToString::to_string).collect(), rate: budget.rate_pps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_read_and_told_and_one_of_nothing_is_refused() {
        let budget = |rate| {
            let networks = vec!["10.1.0.0/16".to_owned()];
            Budgets::rule(BudgetRequest { networks, rate, ..BudgetRequest::default() }, Author::default()).unwrap()
        };
        let rule = budget(500);
        assert_eq!((rule.name.as_str(), rule.problem()), ("10.1.0.0-16", None));
        assert_eq!(Budgets::words(&rule.rule).unwrap().rate, 500);
        assert!(budget(0).problem().unwrap().contains("would never end"));
    }
}
