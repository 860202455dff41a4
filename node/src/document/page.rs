//! Lists: jobs, events, workers, tokens.

use serde::{Deserialize, Serialize};

/// A list, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Opaque cursor for `?after=` where more follows; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A whole list.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_cursor() {
        assert_eq!(serde_json::to_string(&Page::whole(vec![1, 2])).unwrap(), r#"{"items":[1,2]}"#);
        let page: Page<u8> = serde_json::from_str(r#"{"items":[1],"next":"abc"}"#).unwrap();
        assert_eq!(page.next.as_deref(), Some("abc"));
    }
}
