//! Errors of the API as `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI naming the kind of problem (RFC 9457 section 3.1.1).
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// The kind of problem in a few words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What went wrong this time, with the values in it.
    #[serde(default)]
    pub detail: String,
    /// Stable word for programs: `scope_denied`, `quorum_lost`, `no_eligible_node`, ...
    #[serde(default)]
    pub code: String,
    /// Further members, such as the reason per node (RFC 9457 section 3.2).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Problem {
    /// A problem of kind `code`, which is also the last part of its type URI.
    #[must_use]
    pub fn new(status: u16, code: &str, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:pentora:problem:{code}"),
            title: title.into(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            extra: Map::new(),
        }
    }
}

/// RFC 9457 section 4.2.1: an absent `type` means this.
fn about_blank() -> String {
    "about:blank".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_members_stay_beside_the_standard_ones() {
        let mut problem = Problem::new(403, "scope_denied", "outside the scope", "8.8.8.8 is outside the scope");
        problem.extra.insert("range".into(), "8.8.8.8".into());
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["range"], "8.8.8.8");
        assert_eq!(json["type"], "urn:pentora:problem:scope_denied");
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }

    #[test]
    fn an_empty_object_is_a_problem_without_details() {
        let problem: Problem = serde_json::from_str("{}").unwrap();
        assert_eq!((problem.kind.as_str(), problem.status), ("about:blank", 0));
    }
}
