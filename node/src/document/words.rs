//! Words of requests and answers that stay types inside: in JSON, and in a saved request, each is the text that is typed
//! for it.

use std::fmt::Display;
use std::str::FromStr;

use pentora_raft::state::Priority;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A priority in a request: a saved request numbers them from the least urgent on, and the log the other way round.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Priority", rename_all = "lowercase")]
pub(super) enum PriorityWord {
    Low,
    Normal,
    High,
    Critical,
}

/// Writes a choice as its word.
pub(super) fn serialize<T: Display, S: Serializer>(choice: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    choice.as_ref().map(T::to_string).serialize(serializer)
}

/// Reads a choice from its word, as the command line does.
pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let word = Option::<String>::deserialize(deserializer)?;
    word.map(|word| word.parse().map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use pentora_raft::codec::{self, Kind};
    use pentora_scanner::spec::Timing;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Words {
        #[serde(with = "PriorityWord")]
        priority: Priority,
        #[serde(with = "super")]
        timing: Option<Timing>,
    }

    /// The same with the types that requests were saved with first.
    #[derive(Serialize)]
    struct AsText {
        priority: InDocuments,
        timing: Option<&'static str>,
    }

    #[derive(Serialize)]
    #[expect(dead_code, reason = "its variants give the others their numbers")]
    enum InDocuments {
        Low,
        Normal,
        High,
    }

    #[test]
    fn a_saved_request_has_the_bytes_that_it_had_when_words_were_texts() {
        let words = Words { priority: Priority::High, timing: Some(Timing::Polite) };
        let text = AsText { priority: InDocuments::High, timing: Some("polite") };
        let bytes = codec::encode(Kind::Resume, &words);
        assert_eq!(bytes, codec::encode(Kind::Resume, &text));
        assert_eq!(codec::decode::<Words>(Kind::Resume, &bytes).unwrap(), words);
    }
}
