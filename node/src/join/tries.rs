//! How often an address may show tokens that are wrong. Pure: the time is an argument.
//!
//! A token cannot be guessed; this keeps a stranger from having signatures verified without end, and makes one who tries
//! visible in the log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong tokens from one address before it has to wait. Ours: a person mistypes a file name a few times.
const TRIES_MAX: u32 = 5;
/// How long it then waits, counted from the first of them.
const WAIT: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the one whose tries are oldest makes room.
const ADDRESSES_MAX: usize = 1024;

/// The wrong tries of a while.
#[derive(Debug, Default)]
pub(super) struct Tries {
    by_address: BTreeMap<IpAddr, Tried>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    times: u32,
    since: Instant,
}

impl Tries {
    /// How long `address` has to wait before it is listened to, if it has.
    pub(super) fn wait(&self, now: Instant, address: IpAddr) -> Option<Duration> {
        let tried = self.by_address.get(&address).filter(|tried| tried.times >= TRIES_MAX)?;
        (tried.since + WAIT).checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Notes a wrong token from `address`.
    pub(super) fn failed(&mut self, now: Instant, address: IpAddr) {
        self.by_address.retain(|_, tried| now.saturating_duration_since(tried.since) < WAIT);
        if self.by_address.len() >= ADDRESSES_MAX
            && !self.by_address.contains_key(&address)
            && let Some(oldest) =
                self.by_address.iter().min_by_key(|(_, tried)| tried.since).map(|(address, _)| *address)
        {
            self.by_address.remove(&oldest);
        }
        self.by_address.entry(address).or_insert(Tried { times: 0, since: now }).times += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn an_address_waits_after_five_wrong_tokens_and_is_listened_to_again_afterwards() {
        let (mut tries, start) = (Tries::default(), Instant::now());
        for _ in 0..TRIES_MAX {
            assert_eq!(tries.wait(start, address(1)), None);
            tries.failed(start, address(1));
        }
        assert_eq!(tries.wait(start + Duration::from_secs(20), address(1)), Some(Duration::from_secs(40)));
        assert_eq!(tries.wait(start, address(2)), None, "others do not wait with it");
        assert_eq!(tries.wait(start + WAIT, address(1)), None);
        tries.failed(start + WAIT, address(1));
        assert_eq!(tries.wait(start + WAIT, address(1)), None, "the count begins anew");
    }

    #[test]
    fn many_addresses_take_bounded_room() {
        let (mut tries, start) = (Tries::default(), Instant::now());
        for number in 0..5_000 {
            tries.failed(start + Duration::from_micros(number.into()), address(number));
        }
        assert_eq!(tries.by_address.len(), ADDRESSES_MAX);
        assert!(tries.by_address.contains_key(&address(4_999)) && !tries.by_address.contains_key(&address(0)));
    }
}
