//! How many flows a scan leaves behind in the devices that keep a state for each: routers that translate addresses, firewalls.
//!
//! Such a device keeps an entry for each flow that it has let through, and has room for so many, some thousand in a small
//! office's; when it is full, nobody's new connections get through. How long an entry stays is its own affair: Linux keeps that of
//! a SYN without an answer for 120 s, of a datagram or an ICMP query for 30 s, and forgets a refused connection at once
//! (`nf_conntrack_*_timeout`; others do much the same).
//!
//! Pure: told the time.

use std::time::Duration;

/// How long a SYN without an answer is remembered.
pub(crate) const SYN_KEPT: Duration = Duration::from_secs(120);
/// How long a datagram, or an ICMP query, is.
pub(crate) const QUERY_KEPT: Duration = Duration::from_secs(30);
/// Seconds told apart: those of the longest memory, and a little.
const SECONDS: usize = 128;
/// Flows that a polite scan leaves behind at once: half of the smallest table in common use, so that the rest is left to others.
pub(crate) const POLITE_MAX: u32 = 2048;

/// The flows that are remembered somewhere, by the second in which they are forgotten.
#[derive(Debug)]
pub(crate) struct FlowMemory {
    /// Ring of counts; the running second is [`Self::second`].
    seconds: [u32; SECONDS],
    second: u64,
    total: u32,
}

impl Default for FlowMemory {
    fn default() -> Self {
        Self { seconds: [0; SECONDS], second: 0, total: 0 }
    }
}

impl FlowMemory {
    /// How many there are at `now`.
    pub(crate) fn count(&mut self, now: Duration) -> u32 {
        self.forget(now);
        self.total
    }

    /// One more, kept for at most two minutes.
    pub(crate) fn open(&mut self, now: Duration, kept: Duration) {
        self.forget(now);
        *self.at(now + kept) += 1;
        self.total += 1;
    }

    /// One that was opened at a time and was to be kept so long is forgotten early.
    pub(crate) fn close(&mut self, now: Duration, opened_at: Duration, kept: Duration) {
        self.forget(now);
        if opened_at + kept <= now {
            return;
        }
        let count = self.at(opened_at + kept);
        let is_there = *count > 0;
        *count -= u32::from(is_there);
        self.total -= u32::from(is_there);
    }

    /// When to look again, with no room.
    pub(crate) fn look_again(now: Duration) -> Duration {
        now + Duration::from_millis(100)
    }

    fn forget(&mut self, now: Duration) {
        let now = now.as_secs();
        if now.saturating_sub(self.second) >= SECONDS as u64 {
            *self = Self { second: now, ..Self::default() };
        }
        while self.second < now {
            let at = self.place(self.second);
            self.total -= std::mem::take(self.seconds.get_mut(at).expect("a remainder is below its divisor"));
            self.second += 1;
        }
    }

    fn at(&mut self, time: Duration) -> &mut u32 {
        let at = self.place(time.as_secs().min(self.second + SECONDS as u64 - 1));
        self.seconds.get_mut(at).expect("a remainder is below its divisor")
    }

    #[expect(clippy::unused_self, reason = "a place in this ring")]
    fn place(&self, second: u64) -> usize {
        usize::try_from(second % SECONDS as u64).expect("a remainder is below its divisor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_forgotten_after_their_time_or_when_they_are_closed() {
        let (mut flows, s) = (FlowMemory::default(), Duration::from_secs);
        (0..10).for_each(|_| flows.open(s(1000), SYN_KEPT));
        (0..5).for_each(|_| flows.open(s(1001), QUERY_KEPT));
        assert_eq!(flows.count(s(1030)), 15);
        assert_eq!(flows.count(s(1032)), 10, "queries are forgotten first");
        flows.close(s(1040), s(1000), SYN_KEPT);
        assert_eq!(flows.count(s(1119)), 9);
        assert_eq!(flows.count(s(1121)), 0);
        flows.close(s(1130), s(1000), SYN_KEPT);
        flows.open(s(5000), SYN_KEPT);
        assert_eq!((flows.count(s(5001)), flows.count(s(9999))), (1, 0), "after any pause");
    }
}
