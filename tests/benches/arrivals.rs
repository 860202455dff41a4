//! What arrives at a host while something runs, counted there: a scanner's own figures are not asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use pentora_tests::lab::Host;

use crate::pause;

/// Between two looks at the counter: a hundredth of the second that rates are taken over.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A best second needs looks a second apart; a short burst is taken as it is.
const SECOND: Duration = Duration::from_secs(1);

/// The counter of arrived packets over time.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    looks: Vec<(Duration, u64)>,
}

/// Runs `work` and counts what arrives at a host until it has ended.
pub(crate) fn during<T>(host: &Host, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Arrivals)> {
    host.watched(count_until, work)
}

fn count_until(is_over: &AtomicBool) -> anyhow::Result<Arrivals> {
    let began = Instant::now();
    let mut looks = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        looks.push((began.elapsed(), received()?));
        pause(LOOK_EVERY);
    }
    looks.push((began.elapsed(), received()?));
    Ok(Arrivals { looks })
}

/// Packets that `eth0` of this thread's namespace has received.
fn received() -> anyhow::Result<u64> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").context("the table of interfaces")?;
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).context("no eth0")?;
    line.split_whitespace().nth(1).and_then(|field| field.parse().ok()).context("a line of the table of interfaces")
}

impl Arrivals {
    /// How many packets arrived.
    pub(crate) fn packets(&self) -> u64 {
        let [first, last] = [self.looks.first(), self.looks.last()].map(|look| look.map_or(0, |(_, packets)| *packets));
        last - first
    }

    /// How long the middle nine tenths of the packets took, in seconds: neither a slow start nor late repeats count.
    fn middle_seconds(&self) -> f64 {
        let first = self.looks.first().map_or(0, |(_, packets)| *packets);
        let at = |twentieths| {
            let wanted = first + self.packets() * twentieths / 20;
            self.looks.iter().find(|(_, packets)| *packets >= wanted).map_or(Duration::ZERO, |(time, _)| *time)
        };
        (at(19).saturating_sub(at(1))).max(LOOK_EVERY).as_secs_f64()
    }

    /// Packets per second while nine tenths of them were sent.
    pub(crate) fn mean_pps(&self) -> f64 {
        self.packets() as f64 * 0.9 / self.middle_seconds()
    }

    /// The most packets of any second, per second.
    pub(crate) fn best_pps(&self) -> f64 {
        let mut best: f64 = 0.0;
        let mut begin = 0;
        for (time, packets) in &self.looks {
            while let Some((from, before)) = self.looks.get(begin).filter(|(from, _)| *from + SECOND <= *time) {
                best = best.max((packets - before) as f64 / (*time - *from).as_secs_f64());
                begin += 1;
            }
        }
        if best > 0.0 { best } else { self.mean_pps() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(per_look: impl Fn(u32) -> u64, count: u32) -> Arrivals {
        let mut packets = 1000;
        let look = |number: u32| {
            packets += per_look(number);
            (LOOK_EVERY * number, packets)
        };
        Arrivals { looks: (0..count).map(look).collect() }
    }

    #[test]
    fn a_steady_stream_has_one_rate_whichever_way_it_is_taken() {
        let steady = arrivals(|_| 50, 301);
        assert_eq!(steady.packets(), 50 * 300);
        assert!((steady.mean_pps() - 5000.0).abs() < 50.0, "{}", steady.mean_pps());
        assert!((steady.best_pps() - 5000.0).abs() < 50.0, "{}", steady.best_pps());
    }

    #[test]
    fn the_best_second_finds_a_burst_that_the_mean_hides() {
        let burst = arrivals(|number| if (200..300).contains(&number) { 100 } else { 10 }, 601);
        assert!((burst.best_pps() - 10_000.0).abs() < 200.0, "{}", burst.best_pps());
        assert!(burst.mean_pps() < 5000.0);
    }
}
