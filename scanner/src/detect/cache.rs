//! Answers that were looked at already: in a network of equal machines nearly every answer has been seen before.
//!
//! Keys are 128 bits of a hash under a secret of this process, so that no server can make its answer pass for another's.
//! Two generations bound it: when the young one is full it becomes the old one, whose entries come back when asked for.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::matcher::{Answer, Match};

/// Entries of one generation: with a kilobyte for each of them, both stay below 8 MiB.
const GENERATION: usize = 4096;

/// What was made of an answer; `None` when no rule knew it.
pub(super) type Verdict = Option<Arc<Match>>;

/// A bounded map from answers to what was made of them.
#[derive(Debug, Default)]
pub(super) struct Cache {
    secrets: (RandomState, RandomState),
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u128, Verdict>,
    old: HashMap<u128, Verdict>,
}

impl Cache {
    /// What was made of an answer, now or earlier. Two callers with one new answer may both look at it.
    pub(super) fn get(&self, answer: &Answer<'_>, is_port_key: bool, judge: impl FnOnce() -> Verdict) -> Verdict {
        let key = self.key(answer, is_port_key);
        if let Some(verdict) = self.with(|generations| generations.find(key)) {
            return verdict;
        }
        let verdict = judge();
        self.with(|generations| generations.insert(key, verdict.clone()));
        verdict
    }

    fn key(&self, answer: &Answer<'_>, is_port_key: bool) -> u128 {
        let port = is_port_key.then_some(answer.port);
        let parts = (answer.protocol, port, answer.is_tls, answer.probe, answer.bytes);
        u128::from(self.secrets.0.hash_one(parts)) << 64 | u128::from(self.secrets.1.hash_one(parts))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Generations) -> T) -> T {
        // A poisoned lock leaves a map that may lack an entry, which is looked at again.
        f(&mut self.generations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn find(&mut self, key: u128) -> Option<Verdict> {
        if let Some(verdict) = self.young.get(&key) {
            return Some(verdict.clone());
        }
        let verdict = self.old.remove(&key)?;
        self.insert(key, verdict.clone());
        Some(verdict)
    }

    fn insert(&mut self, key: u128, verdict: Verdict) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, verdict);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::port::Protocol;

    fn answer(bytes: &[u8], port: u16) -> Answer<'_> {
        Answer { protocol: Protocol::Tcp, port, is_tls: false, probe: None, bytes }
    }

    #[test]
    fn equal_answers_are_looked_at_once_on_whatever_port() {
        let (cache, judged) = (Cache::default(), Cell::new(0));
        let judge = || {
            judged.set(judged.get() + 1);
            None
        };
        for port in 1..100 {
            cache.get(&answer(b"hello", port), false, judge);
        }
        assert_eq!(judged.get(), 1);
        cache.get(&answer(b"hello", 1), true, judge);
        cache.get(&answer(b"hello", 2), true, judge);
        assert_eq!(judged.get(), 3, "rules that look at the port are asked for each port");
    }

    #[test]
    fn it_stays_bounded_and_keeps_what_is_in_use() {
        let cache = Cache::default();
        let mut judged = 0;
        for n in 0..5 * GENERATION {
            cache.get(&answer(b"in use", 1), false, || {
                judged += 1;
                None
            });
            cache.get(&answer(&n.to_be_bytes(), 1), false, || None);
        }
        assert_eq!(judged, 1);
        let held = cache.with(|generations| generations.young.len() + generations.old.len());
        assert!(held <= 2 * GENERATION, "{held}");
    }
}
