//! Places that are had at once or not, such as those of readers of streams, which last: a number of them, and a share of it for each token.
//! Whoever holds as many as are free gets no more, with whatever tokens: a few who want all of them leave some to whoever else comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use super::ApiError;
use super::whose::Whose;

/// Places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    readers: Arc<Mutex<Readers>>,
    most: usize,
    share: usize,
}

/// Who has how many, and how many all have.
#[derive(Debug, Default)]
struct Readers {
    all: usize,
    by_token: HashMap<String, usize>,
    by_maker: HashMap<String, usize>,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    readers: Arc<Mutex<Readers>>,
    whose: Whose,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Nobody gets one.
    All(usize),
    /// The token that was shown has its share already.
    Own(usize),
    /// Its maker has so many, and what is left is for others.
    Maker(usize),
}

impl Full {
    /// The answer to who gets no place: 503 where nobody does, 429 where others would. `told` makes the sentence of how many
    /// there are, and of ` with this token` where they are that one's.
    pub(super) fn busy(self, told: impl FnOnce(usize, &str) -> String) -> ApiError {
        let (status, detail) = match self {
            Self::All(most) => (StatusCode::SERVICE_UNAVAILABLE, told(most, "")),
            Self::Own(share) => (StatusCode::TOO_MANY_REQUESTS, told(share, " with this token")),
            Self::Maker(has) => {
                (StatusCode::TOO_MANY_REQUESTS, told(has, " with this token and others of whoever answers for it"))
            }
        };
        ApiError::new(status, "busy", detail)
    }
}

fn lock(readers: &Mutex<Readers>) -> MutexGuard<'_, Readers> {
    readers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listeners {
    /// So many places, of which each token may have a share. `share` is at least 1.
    pub(super) fn new(most: usize, share: usize) -> Self {
        Self { readers: Arc::default(), most, share }
    }

    /// A place; where nobody is asked who they are there are no shares.
    pub(super) fn take(&self, whose: &Whose) -> Result<Listener, Full> {
        let mut readers = lock(&self.readers);
        let free = self.most.saturating_sub(readers.all);
        if free == 0 {
            return Err(Full::All(self.most));
        }
        let of_token = readers.by_token.get(&whose.token).copied().unwrap_or(0);
        let of_maker = readers.by_maker.get(&whose.maker).copied().unwrap_or(0);
        if !whose.is_anybody() {
            if of_token >= self.share {
                return Err(Full::Own(self.share));
            }
            if of_maker >= free {
                return Err(Full::Maker(of_maker));
            }
        }
        readers.all += 1;
        readers.by_token.insert(whose.token.clone(), of_token + 1);
        readers.by_maker.insert(whose.maker.clone(), of_maker + 1);
        Ok(Listener { readers: Arc::clone(&self.readers), whose: whose.clone() })
    }

    /// How many places are free, and how many tokens have one.
    #[cfg(test)]
    pub(super) fn free(&self) -> (usize, usize) {
        let readers = lock(&self.readers);
        (self.most - readers.all, readers.by_token.len())
    }
}

/// One less, and nothing where none is left.
fn take_off(counted: &mut HashMap<String, usize>, name: &str) {
    let left = counted.get(name).map_or(0, |count| count.saturating_sub(1));
    if left == 0 {
        counted.remove(name);
    } else {
        counted.insert(name.to_owned(), left);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut readers = lock(&self.readers);
        readers.all = readers.all.saturating_sub(1);
        take_off(&mut readers.by_token, &self.whose.token);
        take_off(&mut readers.by_maker, &self.whose.maker);
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn whoever_reads_has_a_share_and_the_rest_is_for_others() {
        let listeners = Listeners::new(8, 2);
        let take = |who: &str| listeners.take(&Whose::alone(who));
        let (first, second) = (take("a").unwrap(), take("a").unwrap());
        assert_eq!(take("a").unwrap_err(), Full::Own(2));
        let others = [take("b").unwrap(), take("b").unwrap(), take("c").unwrap()];
        assert_eq!(take("b").unwrap_err(), Full::Own(2));
        let more = ["d", "e", "f"].map(|who| take(who).unwrap());
        assert_eq!([take("g").unwrap_err(), take("a").unwrap_err()], [Full::All(8), Full::All(8)]);
        drop((first, more));
        let again = take("a").unwrap();
        drop((second, others, again));
        let readers = lock(&listeners.readers);
        assert!(readers.by_token.is_empty() && readers.by_maker.is_empty() && readers.all == 0, "{readers:?}");
    }

    /// What kept everybody else from reading: four tokens, each with its share.
    #[test]
    fn a_few_tokens_leave_places_to_others_and_those_that_one_made_half_of_all() {
        let of = |token: &str, maker: &str| Whose { token: token.into(), maker: maker.into() };
        for (maker, left) in [(Some("eve"), 32), (None, 12)] {
            let listeners = Listeners::new(64, 16);
            let mut held = Vec::new();
            for number in 0..200 {
                let token = format!("e{}", number % 4);
                held.extend(listeners.take(&of(&token, maker.unwrap_or(&token))));
            }
            assert_eq!(64 - held.len(), left, "{maker:?}");
            let more = listeners.take(&of("e0", maker.unwrap_or("e0"))).unwrap_err();
            assert!(matches!(more, Full::Maker(_) | Full::Own(16)), "{more:?}");
            let busy =
                |full: Full| full.busy(|count, whose| format!("{count} are read{whose}")).into_response().status();
            assert_eq!(busy(more), StatusCode::TOO_MANY_REQUESTS);
            assert!(listeners.take(&of("ops", "ops")).is_ok(), "{maker:?}");
        }
    }

    #[test]
    fn where_nobody_is_asked_who_they_are_there_are_no_shares() {
        let listeners = Listeners::new(3, 1);
        let all: Vec<Listener> = (0..3).map(|_| listeners.take(&Whose::default()).unwrap()).collect();
        assert_eq!(listeners.take(&Whose::default()).unwrap_err(), Full::All(3));
        drop(all);
    }
}
