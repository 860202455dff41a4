//! Lists in parts: `?limit=` entries behind `?after=`, a cursor that only the list which gave it understands.
//!
//! A cursor holds the key of the last entry that was given, not its number, so that entries which come and go meanwhile
//! move no other: each entry that stays is given once.

use std::fmt::Write;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::ApiError;
use super::problem::of_query;
use crate::document::Page;

/// Entries of a part where the caller does not say how many.
pub(super) const LIMIT_DEFAULT: usize = 500;
/// Most entries of a part. Ours: a job's document has about a kilobyte, so a part stays far below what a client reads.
pub(super) const LIMIT_MAX: usize = 1_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paging {
    /// How many entries at most.
    pub(super) limit: usize,
    /// Behind which; as it was sent.
    pub(super) after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Sent {
    limit: Option<String>,
    after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let sent = Query::<Sent>::from_request_parts(parts, state).await;
        let Query(Sent { limit, after }) = sent.map_err(|error| ApiError::bad_request(of_query(&error.body_text())))?;
        let limit = match limit.as_deref().map(str::parse) {
            None => LIMIT_DEFAULT,
            Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => limit,
            Some(_) => return Err(ApiError::bad_request(format!("limit must be from 1 to {LIMIT_MAX}"))),
        };
        Ok(Self { limit, after })
    }
}

impl Paging {
    /// The part of `list` that is asked for. Its entries come with their keys, which grow; a document is made of those only
    /// that are given.
    ///
    /// # Errors
    /// 400 where the cursor is none that this list gave.
    pub(super) fn part<E, T>(
        &self,
        list: &str,
        entries: impl IntoIterator<Item = (String, E)>,
        document: impl FnMut(E) -> T,
    ) -> Result<Page<T>, ApiError> {
        let after =
            self.after.as_deref().map(|cursor| key_of(list, cursor).ok_or_else(|| bad_cursor(list))).transpose()?;
        let is_behind = |(key, _): &(String, E)| after.as_ref().is_none_or(|after| key > after);
        let mut entries = entries.into_iter().filter(is_behind);
        let mut last = None;
        let given = entries.by_ref().take(self.limit).map(|(key, entry)| {
            last = Some(key);
            entry
        });
        let items = given.map(document).collect();
        let next = entries.next().and(last).map(|key| cursor(list, &key));
        Ok(Page { items, next })
    }
}

impl Paging {
    /// The number behind which a list is asked for whose keys are [`rising`], so that what lies before need not be gone
    /// through; 0 from the beginning.
    ///
    /// # Errors
    /// 400 where the cursor is none that this list gave.
    pub(super) fn after_number(&self, list: &str) -> Result<u64, ApiError> {
        let Some(cursor) = &self.after else { return Ok(0) };
        let number = key_of(list, cursor).and_then(|key| u64::from_str_radix(&key, 16).ok());
        number.ok_or_else(|| bad_cursor(list))
    }
}

pub(super) fn bad_cursor(list: &str) -> ApiError {
    let detail = format!("after: this is no cursor of the list {list}; begin without one");
    ApiError::new(StatusCode::BAD_REQUEST, "bad_cursor", detail)
}

fn cursor(list: &str, key: &str) -> String {
    BASE64URL_NOPAD.encode(format!("{list}\n{key}").as_bytes())
}

fn key_of(list: &str, cursor: &str) -> Option<String> {
    let text = String::from_utf8(BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()?;
    text.strip_prefix(list)?.strip_prefix('\n').map(str::to_owned)
}

/// A key that grows with a number.
pub(super) fn rising(number: u64) -> String {
    format!("{number:016x}")
}

/// A key that grows while a number falls: for lists with the newest first.
pub(super) fn falling(number: u64) -> String {
    rising(u64::MAX - number)
}

/// A key that grows with bytes.
pub(super) fn rising_bytes(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut key, byte| {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(of: &[u64], limit: usize, after: Option<&str>) -> Result<Page<u64>, ApiError> {
        let entries = of.iter().map(|number| (rising(*number), *number));
        Paging { limit, after: after.map(str::to_owned) }.part("numbers", entries, |number| number)
    }

    #[test]
    fn parts_of_any_size_make_the_list_and_only_the_last_has_no_cursor() {
        let all = [1, 5, 9, 200, 300];
        for limit in 1..=6 {
            let (mut read, mut after, mut parts) = (Vec::new(), None, 0);
            loop {
                let page = part(&all, limit, after.as_deref()).unwrap();
                assert!(page.items.len() <= limit);
                read.extend(page.items);
                parts += 1;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!((read.as_slice(), parts), (&all[..], all.len().div_ceil(limit)));
        }
    }

    #[test]
    fn entries_that_come_and_go_between_parts_move_no_other() {
        let first = part(&[1, 5, 9], 2, None).unwrap();
        let next = first.next.unwrap();
        // The one at which the part ended is gone, one came before it and one behind.
        assert_eq!(part(&[1, 3, 7, 9], 9, Some(&next)).unwrap().items, [7, 9]);
    }

    #[test]
    fn what_this_list_did_not_give_is_no_cursor() {
        let of_another = cursor("letters", "a");
        for bad in ["", "x", "!", "AAAA", of_another.as_str(), &"A".repeat(4_000)] {
            assert!(part(&[1], 1, Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_grow_as_their_lists_do() {
        assert!(rising(9) < rising(10) && falling(10) < falling(9) && rising_bytes(&[9]) < rising_bytes(&[10]));
    }
}
