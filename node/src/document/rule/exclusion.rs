//! `/exclusions`: which addresses are left out of every job.

use pentora_raft::command::{Author, ExclusionRule, NewRule, Rule, RuleKind, When};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Noun, WhenFields, name_of};
use crate::policy;

/// `/exclusions`: which addresses are left out of every job.
#[derive(Debug, Clone, Copy)]
pub struct Exclusions;

/// `POST /api/v1/exclusions`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExclusionRequest {
    /// What it is called; absent makes a name of the first target.
    #[serde(default)]
    pub name: Option<String>,
    /// Addresses, prefixes, ranges and host names.
    pub targets: Vec<String>,
    /// When they are left out; always, where absent.
    #[serde(default)]
    pub when: Option<WhenFields>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// What an exclusion says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExclusionWords {
    /// As they were written.
    pub targets: Vec<String>,
    /// When they are left out; always, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<WhenFields>,
}

impl Noun for Exclusions {
    const KIND: RuleKind = RuleKind::Exclusion;
    const PATH: &'static str = "exclusions";
    type Request = ExclusionRequest;
    type Words = ExclusionWords;

    fn rule(request: ExclusionRequest, author: Author) -> Result<NewRule, String> {
        let ExclusionRequest { name, targets, when, reason } = request;
        let name = name_of(name, targets.first());
        policy::exclusion_targets(&targets).map_err(|error| error.to_string())?;
        let when: Option<When> = when.as_ref().map(WhenFields::read).transpose()?;
        Ok(NewRule { name, rule: Rule::Exclusion(ExclusionRule { targets, when }), reason, author })
    }

    fn words(rule: &Rule) -> Option<ExclusionWords> {
        let Rule::Exclusion(exclusion) = rule else { return None };
        let when = exclusion.when.as_ref().map(WhenFields::of);
        Some(ExclusionWords { targets: exclusion.targets.clone(), when })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusion_is_read_and_told_and_what_is_no_target_is_named() {
        let json = r#"{"targets":["plc1.plant","10.9.0.0/16"],"when":{"hours":"06:00-22:00","zone":"UTC"}}"#;
        let rule = Exclusions::rule(serde_json::from_str(json).unwrap(), Author::default()).unwrap();
        assert_eq!((rule.name.as_str(), rule.problem()), ("plc1.plant", None));
        let words = Exclusions::words(&rule.rule).unwrap();
        assert_eq!(words.targets, ["plc1.plant", "10.9.0.0/16"]);
        assert_eq!(words.when.unwrap().words(), "daily 06:00-22:00 UTC");
        let slip = ExclusionRequest { targets: vec!["10.0.0.0/99".into()], ..ExclusionRequest::default() };
        let error = Exclusions::rule(slip, Author::default()).unwrap_err();
        assert!(error.contains("10.0.0.0/99"), "{error}");
    }
}
