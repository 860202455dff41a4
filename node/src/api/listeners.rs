//! Places for readers of streams, which last: a number of them, and a share of it for each who reads, so that nobody has them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use super::ApiError;

/// Places for readers of streams. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    readers: Arc<Mutex<Readers>>,
    most: usize,
    share: usize,
}

/// Who reads how many streams, and how many all read.
#[derive(Debug, Default)]
struct Readers {
    all: usize,
    by_who: HashMap<String, usize>,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    readers: Arc<Mutex<Readers>>,
    who: String,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Nobody gets one.
    All(usize),
    /// Who asks has the share of one already.
    Own(usize),
}

impl Full {
    /// The answer to who gets no place: 503 where nobody does, 429 where it has its share. `told` makes the sentence of how many
    /// there are, and of ` with this token` where they are that one's.
    pub(super) fn busy(self, told: impl FnOnce(usize, &str) -> String) -> ApiError {
        let (status, detail) = match self {
            Self::All(most) => (StatusCode::SERVICE_UNAVAILABLE, told(most, "")),
            Self::Own(share) => (StatusCode::TOO_MANY_REQUESTS, told(share, " with this token")),
        };
        ApiError::new(status, "busy", detail)
    }
}

fn lock(readers: &Mutex<Readers>) -> MutexGuard<'_, Readers> {
    readers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listeners {
    /// So many places, of which each who reads may have a share. `share` is at least 1.
    pub(super) fn new(most: usize, share: usize) -> Self {
        Self { readers: Arc::default(), most, share }
    }

    /// A place for `who`; where nobody is asked who they are there are no shares, and the name is empty.
    pub(super) fn take(&self, who: &str) -> Result<Listener, Full> {
        let mut readers = lock(&self.readers);
        if readers.all >= self.most {
            return Err(Full::All(self.most));
        }
        let of_who = readers.by_who.get(who).copied().unwrap_or(0);
        if !who.is_empty() && of_who >= self.share {
            return Err(Full::Own(self.share));
        }
        readers.all += 1;
        readers.by_who.insert(who.to_owned(), of_who + 1);
        Ok(Listener { readers: Arc::clone(&self.readers), who: who.to_owned() })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut readers = lock(&self.readers);
        readers.all = readers.all.saturating_sub(1);
        let left = readers.by_who.get(&self.who).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            readers.by_who.remove(&self.who);
        } else {
            readers.by_who.insert(self.who.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_has_a_share_and_the_rest_is_for_others() {
        let listeners = Listeners::new(5, 2);
        let take = |who| listeners.take(who);
        let (first, second) = (take("a").unwrap(), take("a").unwrap());
        assert_eq!(take("a").unwrap_err(), Full::Own(2));
        let others = [take("b").unwrap(), take("b").unwrap(), take("c").unwrap()];
        assert_eq!([take("d").unwrap_err(), take("a").unwrap_err()], [Full::All(5), Full::All(5)]);
        drop(first);
        let again = take("a").unwrap();
        drop((second, others, again));
        let readers = lock(&listeners.readers);
        assert!(readers.by_who.is_empty() && readers.all == 0, "{readers:?}");
    }

    #[test]
    fn where_nobody_is_asked_who_they_are_there_are_no_shares() {
        let listeners = Listeners::new(3, 1);
        let all: Vec<Listener> = (0..3).map(|_| listeners.take("").unwrap()).collect();
        assert_eq!(listeners.take("").unwrap_err(), Full::All(3));
        drop(all);
    }
}
