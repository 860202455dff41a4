//! `/scopes`: which addresses may be scanned, and by whom.

use pentora_raft::command::{Author, NewRule, Rule, RuleKind, ScopeEffect, ScopeRule};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Noun, name_of, networks, shown};

/// `/scopes`: which addresses may be scanned, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Scopes;

/// `POST /api/v1/scopes`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeRequest {
    /// What it is called; absent makes a name of the first network.
    #[serde(default)]
    pub name: Option<String>,
    /// Prefixes and addresses.
    pub networks: Vec<String>,
    /// For which tokens it holds, by name; empty for all.
    #[serde(default)]
    pub tokens: Vec<String>,
    /// `allow` (the default): they may be scanned beside what may be without it. `only`: nothing else may be.
    #[serde(default)]
    pub effect: Option<String>,
    /// Why.
    pub reason: String,
}

/// What a scope says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScopeWords {
    /// Prefixes.
    pub networks: Vec<String>,
    /// Tokens for which it holds; empty for all.
    pub tokens: Vec<String>,
    /// `allow` or `only`.
    pub effect: String,
}

impl Noun for Scopes {
    const KIND: RuleKind = RuleKind::Scope;
    const PATH: &'static str = "scopes";
    type Request = ScopeRequest;
    type Words = ScopeWords;

    fn rule(request: ScopeRequest, author: Author) -> Result<NewRule, String> {
        let ScopeRequest { name, networks: texts, tokens, effect, reason } = request;
        let effect = match effect.as_deref() {
            None | Some("allow") => ScopeEffect::Allow,
            Some("only") => ScopeEffect::Only,
            Some(other) => {
                return Err(format!("effect: `{}` is not one of {}", shown(other), ScopeEffect::NAMES.join(", ")));
            }
        };
        let name = name_of(name, texts.first());
        let networks = networks("networks", &texts)?;
        Ok(NewRule { name, rule: Rule::Scope(ScopeRule { networks, tokens, effect }), reason, author })
    }

    fn words(rule: &Rule) -> Option<ScopeWords> {
        let Rule::Scope(scope) = rule else { return None };
        Some(ScopeWords {
            networks: scope.networks.iter().map(ToString::to_string).collect(),
            tokens: scope.tokens.clone(),
            effect: scope.effect.name().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleDocument;
    use super::*;

    fn scope(json: &str) -> Result<NewRule, String> {
        Scopes::rule(serde_json::from_str(json).map_err(|error| error.to_string())?, Author::default())
    }

    #[test]
    fn a_scope_is_read_named_and_told_as_it_was_written() {
        let rule = scope(r#"{"networks":["2001:db8::/32","203.0.113.7"],"reason":"contract"}"#).unwrap();
        assert_eq!((rule.name.as_str(), rule.problem()), ("2001-db8---32", None));
        let words = Scopes::words(&rule.rule).unwrap();
        assert_eq!(
            (words.networks.as_slice(), words.effect.as_str()),
            (&["2001:db8::/32".into(), "203.0.113.7/32".into()][..], "allow")
        );
        let document = RuleDocument {
            name: "a".into(),
            words,
            reason: "r".into(),
            by: "admin".into(),
            from: "f".into(),
            at: "t".into(),
        };
        let json = serde_json::to_string(&document).unwrap();
        assert!(json.contains(r#""name":"a","networks":["2001"#), "{json}");
        assert_eq!(serde_json::from_str::<RuleDocument<ScopeWords>>(&json).unwrap(), document);
    }

    #[test]
    fn what_is_wrong_with_a_scope_names_its_field() {
        for (json, part) in [
            (
                r#"{"networks":["203.0.113.7/24"],"reason":"r"}"#,
                "networks: 203.0.113.7/24 is an address in 203.0.113.0/24",
            ),
            (r#"{"networks":["lab"],"reason":"r"}"#, "`lab` is no prefix"),
            (r#"{"networks":["10.0.0.0/8"],"reason":"r","effect":"deny"}"#, "effect: `deny` is not one of allow, only"),
            (r#"{"networks":["10.0.0.0/8"]}"#, "missing field `reason`"),
            (r#"{"network":["10.0.0.0/8"],"reason":"r"}"#, "unknown field `network`"),
        ] {
            let error = scope(json).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
