//! The texts of a request's JSON, looked over for our secrets before anything is made of them: targets, tags, names and reasons are
//! read by whoever may look, stand in logs, and names among them are asked of name servers.
//!
//! Every text and every field's name is looked at, wherever it stands and however it is escaped, so that a field that is new needs no
//! look of its own. A signed order is passed over: it has to say what the request says, and signatures are anything.

use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::masked::has_secret;

/// The field whose value is passed over.
const ORDER: &str = "order";

/// In which field a secret stands, in words; nothing is made of what is read.
///
/// # Errors
/// What is no JSON, with line and column.
pub(super) fn field_with_secret(json: &[u8]) -> Result<Option<String>, serde_json::Error> {
    let (mut found, mut reader) = (None, serde_json::Deserializer::from_slice(json));
    match (Look { field: "", found: &mut found }).deserialize(&mut reader) {
        Err(error) if found.is_none() => Err(error),
        _ => Ok(found),
    }
}

/// A look over a value; the field that it stands in, where it does.
struct Look<'a> {
    field: &'a str,
    found: &'a mut Option<String>,
}

impl Look<'_> {
    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        if !has_secret(text) {
            return Ok(());
        }
        *self.found = Some(if self.field.is_empty() { "the request".to_owned() } else { format!("`{}`", self.field) });
        // What stands behind it is of no interest.
        Err(E::custom("a secret"))
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Look { field, found } = self;
        while items.next_element_seed(Look { field, found })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Look { field, found } = self;
        while let Some(name) = fields.next_key::<String>()? {
            Look { field, found }.text(&name)?;
            match name.as_str() {
                ORDER => {
                    fields.next_value::<IgnoredAny>()?;
                }
                name => fields.next_value_seed(Look { field: name, found })?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret() -> String {
        format!("pna_{}", "mfrggzdfmztwq2lk".repeat(3))
    }

    #[test]
    fn a_secret_is_found_in_every_text_and_told_by_its_field() {
        let told = |json: &str| field_with_secret(json.as_bytes()).unwrap();
        for (body, field) in [
            (json!({"target_text": format!("10.0.0.1\n{}", secret())}), "`target_text`"),
            (json!({"targets": ["10.0.0.1", secret()], "rate": 9}), "`targets`"),
            (json!({"scan": {"worker_tags": ["a", secret()]}}), "`worker_tags`"),
            (json!({"labels": {secret(): 1}}), "`labels`"),
            (json!({secret(): 1}), "the request"),
            (json!(secret()), "the request"),
        ] {
            assert_eq!(told(&body.to_string()).as_deref(), Some(field), "{body}");
        }
        let escaped = format!(r#"{{"reason": "\u0070na{}"}}"#, secret().trim_start_matches("pna"));
        assert_eq!(told(&escaped).as_deref(), Some("`reason`"));
    }

    #[test]
    fn what_has_none_is_read_to_its_end_and_what_is_no_json_is_told_with_its_place() {
        let order = json!({"order": secret(), "key": "k", "signature": "s"});
        let all = json!({"order": order, "a": [1, -1, 1.5, null, true, "x", {}], "reason": "as pna_... says"});
        assert_eq!(field_with_secret(all.to_string().as_bytes()).unwrap(), None);
        for json in ["{\"a\": [1,\n }", "", "{\"a\": 1e999}"] {
            assert!(field_with_secret(json.as_bytes()).unwrap_err().to_string().contains("line "), "{json}");
        }
    }
}
