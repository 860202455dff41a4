//! `/windows`: when networks may be scanned, and when they may not.

use pentora_raft::command::{Author, NewRule, Rule, RuleKind, WindowEffect, WindowRule};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Noun, WhenFields, networks, shown};

/// `/windows`: when networks may be scanned, and when they may not.
#[derive(Debug, Clone, Copy)]
pub struct Windows;

/// `POST /api/v1/windows`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowRequest {
    /// What it is called.
    pub name: String,
    /// For which networks it is; all, where empty.
    #[serde(default)]
    pub networks: Vec<String>,
    /// When it holds.
    pub when: WhenFields,
    /// `window` (the default): they may be scanned then, and not at other times. `blackout`: they may not be then.
    #[serde(default)]
    pub effect: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// What a window says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WindowWords {
    /// For which networks; all, where empty.
    pub networks: Vec<String>,
    /// When it holds.
    pub when: WhenFields,
    /// `window` or `blackout`.
    pub effect: String,
}

impl Noun for Windows {
    const KIND: RuleKind = RuleKind::Window;
    const PATH: &'static str = "windows";
    type Request = WindowRequest;
    type Words = WindowWords;

    fn rule(request: WindowRequest, author: Author) -> Result<NewRule, String> {
        let WindowRequest { name, networks: texts, when, effect, reason } = request;
        let effect = match effect.as_deref() {
            None | Some("window") => WindowEffect::Window,
            Some("blackout") => WindowEffect::Blackout,
            Some(other) => {
                return Err(format!("effect: `{}` is not one of {}", shown(other), WindowEffect::NAMES.join(", ")));
            }
        };
        let networks = networks("networks", &texts)?;
        Ok(NewRule { name, rule: Rule::Window(WindowRule { networks, when: when.read()?, effect }), reason, author })
    }

    fn words(rule: &Rule) -> Option<WindowWords> {
        let Rule::Window(window) = rule else { return None };
        Some(WindowWords {
            networks: window.networks.iter().map(ToString::to_string).collect(),
            when: WhenFields::of(&window.when),
            effect: window.effect.name().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_and_told_and_its_slips_are_named() {
        let json = r#"{"name":"nights","networks":["10.1.0.0/16"],"when":{"hours":"22:00-06:00","zone":"UTC"}}"#;
        let rule = Windows::rule(serde_json::from_str(json).unwrap(), Author::default()).unwrap();
        assert_eq!(rule.problem(), None);
        let words = Windows::words(&rule.rule).unwrap();
        assert_eq!((words.effect.as_str(), words.when.words().as_str()), ("window", "daily 22:00-06:00 UTC"));
        for (json, part) in [
            (r#"{"name":"n","when":{}}"#, "either hours"),
            (r#"{"name":"n","when":{"hours":"22:00-06:00","zone":"UTC"},"effect":"x"}"#, "window, blackout"),
            (r#"{"name":"n"}"#, "missing field `when`"),
        ] {
            let read = serde_json::from_str(json).map_err(|error| error.to_string());
            let error = read.and_then(|request| Windows::rule(request, Author::default())).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
