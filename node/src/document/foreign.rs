//! How types of other crates look in the API's description: they travel as their own words and figures.

use pentora_raft::state::Priority;
use serde_json::Value;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// A priority.
pub(super) fn priority() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Priority::NAMES.iter().copied())).build()
}

/// A choice of the scanner that may be left open.
fn choice(words: &[&str]) -> Object {
    let words = words.iter().copied().map(Value::from).chain([Value::Null]);
    ObjectBuilder::new().schema_type(SchemaType::Array(vec![Type::String, Type::Null])).enum_values(Some(words)).build()
}

/// The timing of a scan.
pub(super) fn timing() -> Object {
    choice(&["polite", "normal", "fast"])
}

/// The engine of a scan.
pub(super) fn engine() -> Object {
    choice(&["auto", "connect", "raw"])
}

/// Targets that were not probed, by reason.
pub(super) fn not_probed() -> Object {
    let targets = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    ObjectBuilder::new().additional_properties(Some(targets)).build()
}

/// What was measured of how much was found.
pub(super) fn recall() -> Object {
    let number = || ObjectBuilder::new().schema_type(Type::Number);
    let count = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    ObjectBuilder::new()
        .property("low", number())
        .property("high", number())
        .property("silent", count())
        .property("asked_again", count())
        .property("turned_up", count())
        .build()
}

#[cfg(test)]
mod tests {
    use pentora_scanner::spec::{EngineChoice, Timing};

    use super::*;

    #[test]
    fn the_words_of_a_choice_are_those_that_are_read_and_no_others_are_left_out() {
        let words = |object: Object| {
            let json = serde_json::to_value(object).unwrap();
            let words: Vec<Value> = json["enum"].as_array().unwrap().clone();
            words.into_iter().filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let refused = "x".parse::<Timing>().unwrap_err().to_string();
        for word in words(timing()) {
            assert!(word.parse::<Timing>().is_ok() && refused.contains(&word), "{word}: {refused}");
        }
        let refused = "x".parse::<EngineChoice>().unwrap_err().to_string();
        for word in words(engine()) {
            assert!(word.parse::<EngineChoice>().is_ok() && refused.contains(&word), "{word}: {refused}");
        }
        assert_eq!(words(priority()).len(), Priority::NAMES.len());
    }
}
