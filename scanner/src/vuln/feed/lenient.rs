//! Records as people write them: nothing where a list may be, numbers where a text may be.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// A list; `null` is an empty one, and `null`s in it are left out.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(element) = list.next_element::<Option<T>>()? {
                all.extend(element);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(List(PhantomData))
}

/// A value; `null` is its default.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text; numbers are taken as they are written, `null` is none.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_string<E: Error>(self, text: String) -> Result<Option<String>, E> {
            Ok(Some(text))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Option<String>, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Option<String>, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<Option<String>, E> {
            // As it is written at the shortest: `1.5`, and `2.0` with its place.
            Ok(Some(format!("{number:?}")))
        }

        fn visit_bool<E: Error>(self, _word: bool) -> Result<Option<String>, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Text)
}

/// Like [`text`], with an empty one for none.
pub(super) fn text_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Odd {
        #[serde(deserialize_with = "super::list")]
        all: Vec<u32>,
        #[serde(deserialize_with = "super::text")]
        text: Option<String>,
        #[serde(deserialize_with = "super::text_or_empty")]
        word: String,
        #[serde(deserialize_with = "super::or_default")]
        is_it: bool,
    }

    #[test]
    fn nothing_is_an_empty_list_and_a_number_is_a_text() {
        let read = |value: serde_json::Value| serde_json::from_value::<Odd>(value);
        assert_eq!(read(json!({"all": null, "text": null, "word": null, "is_it": null})).unwrap(), Odd::default());
        let odd = read(json!({"all": [1, null, 2], "text": 1.5, "word": 7, "is_it": true})).unwrap();
        assert_eq!((odd.all, odd.text.as_deref(), &*odd.word, odd.is_it), (vec![1, 2], Some("1.5"), "7", true));
        assert_eq!(read(json!({"text": 2.0, "word": -3})).unwrap().text.as_deref(), Some("2.0"));
        assert!(read(json!({"all": 5})).is_err() && read(json!({"text": []})).is_err());
    }
}
