//! Moderation: how often an address may come without a valid token, and how many requests a token may make. Of IPv6 the network of
//! an address is counted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests without a valid token that an address may make within [`WINDOW`]. Ours: enough for a person with the wrong file.
const FAILURES_MAX: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the oldest go first.
const ADDRESSES_MAX: usize = 4_096;

/// Requests that come at once and are taken, where so many a minute are. Ours: ten dashboards that are opened.
const AT_ONCE: f64 = 1_000.0;
/// Where more are taken over some time: those of so many seconds.
const AT_ONCE_SECONDS: f64 = 2.0;
/// All tokens that one answers for make as many requests as so many of them may. Ours: some programs of one person beside each other.
pub(super) const TOKENS_OF_ONE: u32 = 4;
/// Bearers that are remembered, the oldest go first. The log keeps as many tokens.
const TOKENS_MAX: usize = pentora_raft::state::ACCESS_TOKENS_MAX;

/// Requests a minute that an address may make without a token, where none is asked for. Ours: ten probes of supervisors and as many
/// collectors of metrics behind one address, twenty times over.
pub(super) const STRANGERS_A_MINUTE: u32 = 1_200;

/// What is counted of an address. Of IPv6 the /64: nobody has less than that (RFC 6177), so a single address is no bound.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The same of where a request came from in words: its address, and the node that it came through where there was one.
pub(super) fn source_of(from: &str) -> String {
    let (address, through) = from.find(' ').map_or((from, ""), |at| from.split_at(at));
    address.parse().map_or_else(|_no_address| from.to_owned(), |address| format!("{}{through}", network_of(address)))
}

/// Counts requests without a valid token, by address.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_address: Mutex<HashMap<String, (Instant, u32)>>,
}

impl Failures {
    /// Notes one more; the answer is after how many seconds that address may fail again, where there were too many. Whoever
    /// is inside this process has no address, and no bound.
    pub(super) fn note(&self, address: &str) -> Option<u64> {
        self.note_at(&source_of(address), Instant::now())
    }

    /// Whether it came without a valid token lately.
    pub(super) fn has_failed(&self, address: &str) -> bool {
        let all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&source_of(address)).is_some_and(|(since, _)| since.elapsed() < WINDOW)
    }

    fn note_at(&self, address: &str, now: Instant) -> Option<u64> {
        if address.is_empty() {
            return None;
        }
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES_MAX && !all.contains_key(address) {
            all.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        }
        if all.len() >= ADDRESSES_MAX
            && !all.contains_key(address)
            && let Some(oldest) = all.iter().min_by_key(|(_, (since, _))| *since).map(|(address, _)| address.clone())
        {
            all.remove(&oldest);
        }
        let (since, count) = all.entry(address.to_owned()).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(*since));
        (*count > FAILURES_MAX).then(|| left.as_secs().max(1))
    }
}

/// That more requests come than are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooMany {
    /// After how many seconds one is taken again.
    pub(super) seconds: u64,
    /// Whether they are those of all tokens that somebody answers for, and not of one.
    pub(super) is_of_maker: bool,
}

/// A bucket for each token.
#[derive(Debug, Default)]
pub(super) struct Rates {
    by_token: Mutex<HashMap<String, (Instant, f64)>>,
}

impl Rates {
    /// Whether whoever has this name may make one more request now, where so many a minute are taken; at least one is.
    ///
    /// # Errors
    /// After how many seconds they may.
    pub(super) fn take(&self, name: &str, per_minute: u32) -> Result<(), u64> {
        self.take_at(name, per_minute, Instant::now())
    }

    fn take_at(&self, name: &str, per_minute: u32, now: Instant) -> Result<(), u64> {
        let bound = f64::from(per_minute.max(1));
        let rate = bound / WINDOW.as_secs_f64();
        let at_once = bound.min(AT_ONCE.max(rate * AT_ONCE_SECONDS));
        let mut all = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= TOKENS_MAX && !all.contains_key(name) {
            // Those that were revoked; a bucket that is new again is full.
            all.retain(|_, (last, _)| now.duration_since(*last) < WINDOW);
        }
        // A provider of identities lets in as many people as it likes.
        if all.len() >= TOKENS_MAX
            && !all.contains_key(name)
            && let Some(oldest) = all.iter().min_by_key(|(_, (last, _))| *last).map(|(name, _)| name.clone())
        {
            all.remove(&oldest);
        }
        let (last, left) = all.entry(name.to_owned()).or_insert((now, at_once));
        *left = (*left + now.duration_since(*last).as_secs_f64() * rate).min(at_once);
        *last = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        let wait = Duration::try_from_secs_f64(((1.0 - *left) / rate).ceil());
        Err(wait.map_or(u64::MAX, |wait| wait.as_secs().max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_is_told_to_wait_and_others_are_not() {
        let (failures, now) = (Failures::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.note_at("192.0.2.1", now), None);
        }
        assert_eq!(failures.note_at("192.0.2.1", now), Some(60));
        assert_eq!(failures.note_at("192.0.2.1", now + Duration::from_secs(40)), Some(20));
        assert_eq!(failures.note_at("192.0.2.2", now), None);
        assert_eq!(failures.note_at("192.0.2.1", now + WINDOW), None, "a minute later");
    }

    #[test]
    fn whoever_has_a_network_of_ipv6_is_counted_as_one_whatever_address_is_used() {
        let failures = Failures::default();
        assert!(!failures.has_failed("2001:db8::1"));
        for last in 0..FAILURES_MAX {
            assert_eq!(failures.note(&format!("2001:db8::{last:x}:1 through n2")), None);
        }
        assert!(failures.note("2001:db8::ffff:ffff through n2").is_some());
        assert_eq!(failures.note("2001:db8:0:1::1 through n2"), None, "another network");
        assert_eq!(failures.note("2001:db8::1"), None, "not through that node");
        assert!(failures.has_failed("2001:db8::2") && !failures.has_failed("192.0.2.1"));
        for (from, source) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("", ""),
            ("a medium", "a medium"),
        ] {
            assert_eq!(source_of(from), source);
        }
    }

    #[test]
    fn many_addresses_take_no_more_memory_and_the_newest_are_remembered() {
        let (failures, now) = (Failures::default(), Instant::now());
        for number in 0..20_000u64 {
            failures.note_at(&format!("a{number}"), now + Duration::from_micros(number));
        }
        assert!(failures.by_address.lock().unwrap().len() <= ADDRESSES_MAX);
        assert!(failures.by_address.lock().unwrap().contains_key("a19999"));
    }

    #[test]
    fn many_people_of_a_provider_take_no_more_memory() {
        let (rates, now) = (Rates::default(), Instant::now());
        for number in 0..5_000u64 {
            assert_eq!(rates.take_at(&format!("oidc:i#{number}"), 30_000, now + Duration::from_micros(number)), Ok(()));
        }
        assert_eq!(rates.by_token.lock().unwrap().len(), TOKENS_MAX);
    }

    #[test]
    fn a_token_may_make_a_burst_and_then_its_rate() {
        let (rates, now) = (Rates::default(), Instant::now());
        let at_once = (0..5_000).filter(|_| rates.take_at("ci", 30_000, now).is_ok()).count();
        assert_eq!(at_once, 1_000);
        assert_eq!(rates.take_at("other", 30_000, now), Ok(()));
        let second = (0..5_000).filter(|_| rates.take_at("ci", 30_000, now + Duration::from_secs(1)).is_ok()).count();
        assert_eq!(second, 500);
        let at_once = (0..9_000).filter(|_| rates.take_at("all", TOKENS_OF_ONE * 30_000, now).is_ok()).count();
        assert_eq!(at_once, 4_000);
    }

    #[test]
    fn a_token_with_a_rate_of_its_own_is_told_how_long_to_wait() {
        let (rates, now) = (Rates::default(), Instant::now());
        let at_once = (0..100).filter(|_| rates.take_at("slow", 6, now).is_ok()).count();
        assert_eq!(at_once, 6);
        assert_eq!(rates.take_at("slow", 6, now), Err(10));
        assert_eq!(rates.take_at("slow", 6, now + Duration::from_secs(4)), Err(6));
        assert_eq!(rates.take_at("slow", 6, now + Duration::from_secs(10)), Ok(()));
        assert_eq!(rates.take_at("slow", 30_000, now + Duration::from_secs(11)), Ok(()), "the bound was taken away");
    }
}
