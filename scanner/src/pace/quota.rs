//! Rates that hold for one host and for one destination network, beside that of the whole job.
//!
//! Each place has a [`Pacer`] of its own, kept only while it matters: a place that has been quiet for longer than its
//! interval is as if it had never been, so memory is that of the places asked within the last interval. Whoever is
//! refused is told a moment that is nobody else's, so that those who wait for one network do not all come back at once.
//!
//! What is sent is charged to the job's [`RateCap`] as well, on which the detection beside draws: it gets what is left.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use super::{Pacer, RateCap, SLACK};
use crate::network::Network;
use crate::spec::ScanSpec;

/// Quiet places are forgotten when there are twice as many as were left the last time, and at least so many.
const FORGET_MIN: usize = 4096;

/// The rates of a spec for hosts and networks.
#[derive(Debug)]
pub(crate) struct Quotas {
    host: Option<Places<IpAddr>>,
    network: Option<Places<Network>>,
}

/// Places that share a rate each.
#[derive(Debug)]
struct Places<K> {
    pps: u64,
    places: HashMap<K, Place>,
    forget_at: usize,
}

#[derive(Debug, Clone, Default)]
struct Place {
    pacer: Pacer,
    /// The moments up to this one are promised to those who wait.
    promised: Duration,
    /// When a slot was taken last.
    used: Duration,
}

impl Quotas {
    pub(crate) fn of(spec: &ScanSpec) -> Self {
        Self { host: spec.host_rate_pps.map(Places::new), network: spec.network_rate_pps.map(Places::new) }
    }

    /// Whether a probe may go to an address now.
    ///
    /// # Errors
    /// When to ask again.
    pub(crate) fn check(&mut self, now: Duration, address: IpAddr) -> Result<Pass, Duration> {
        let host = self.host.as_mut().map(|host| host.look(now, address)).transpose()?;
        let network = self.network.as_mut().map(|network| network.look(now, Network::of(address))).transpose()?;
        Ok(Pass { address, host, network })
    }

    /// A probe goes at `now` in any case: those that follow wait for it.
    pub(crate) fn charge(&mut self, now: Duration, address: IpAddr) {
        self.host.iter_mut().for_each(|hosts| hosts.charge(now, address));
        self.network.iter_mut().for_each(|networks| networks.charge(now, Network::of(address)));
    }

    /// A probe goes at `now`: what [`Self::check`] allowed is used, and charged to `pace`.
    pub(crate) fn take(&mut self, now: Duration, pass: Pass, pace: &RateCap) {
        let network_pps = self.network.as_ref().map(|places| places.pps);
        let host_pps = self.host.as_ref().map(|places| places.pps);
        pace.charge_to(now, pass.address, network_pps, host_pps);
        if let (Some(places), Some(place)) = (&mut self.host, pass.host) {
            places.places.insert(pass.address, place);
        }
        if let (Some(places), Some(place)) = (&mut self.network, pass.network) {
            places.places.insert(Network::of(pass.address), place);
        }
    }
}

/// Leave to send one probe now.
#[derive(Debug)]
pub(crate) struct Pass {
    address: IpAddr,
    host: Option<Place>,
    network: Option<Place>,
}

impl<K: Eq + Hash + Copy> Places<K> {
    fn new(pps: u64) -> Self {
        Self { pps: pps.max(1), places: HashMap::new(), forget_at: FORGET_MIN }
    }

    fn interval(&self) -> Duration {
        Duration::from_nanos((1_000_000_000 / self.pps).max(1))
    }

    fn charge(&mut self, now: Duration, at: K) {
        let place = self.places.entry(at).or_default();
        place.pacer.charge(now, self.pps);
        place.used = now;
    }

    /// What the place becomes when a slot is taken, or when to ask again.
    fn look(&mut self, now: Duration, at: K) -> Result<Place, Duration> {
        if self.places.len() >= self.forget_at {
            // A slot may be taken late by the pacer's slack, so the place matters for that much longer.
            let quiet = self.interval() + SLACK;
            self.places.retain(|_, place| place.promised.max(place.used) + quiet > now);
            self.forget_at = FORGET_MIN.max(2 * self.places.len());
        }
        let mut place = self.places.get(&at).cloned().unwrap_or_default();
        match place.pacer.admit(now, self.pps, 1) {
            Ok(_) => Ok(Place { used: now, ..place }),
            Err(next) => {
                let moment = next.max(place.promised);
                place.promised = moment + self.interval();
                self.places.insert(at, place);
                Err(moment)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn quotas(host: Option<u64>, network: Option<u64>) -> Quotas {
        Quotas::of(&ScanSpec { host_rate_pps: host, network_rate_pps: network, ..ScanSpec::default() })
    }

    fn admit(quotas: &mut Quotas, now: Duration, address: IpAddr) -> Result<(), Duration> {
        quotas.check(now, address).map(|pass| quotas.take(now, pass, &RateCap::default()))
    }

    fn address(low: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + low).into()
    }

    /// Lets askers wait as they are told for `seconds`; returns when each probe went to whom.
    fn run(quotas: &mut Quotas, hosts: u32, seconds: u64) -> Vec<(Duration, IpAddr)> {
        let start = Duration::from_secs(1);
        let mut waiting: std::collections::BTreeSet<(Duration, u32)> = (0..hosts).map(|host| (start, host)).collect();
        let mut sent = Vec::new();
        while let Some((now, host)) = waiting.pop_first().filter(|(now, _)| *now < start + Duration::from_secs(seconds))
        {
            match admit(quotas, now, address(host)) {
                Ok(()) => {
                    sent.push((now, address(host)));
                    waiting.insert((now + Duration::from_micros(1), host));
                }
                Err(until) => {
                    assert!(until > now);
                    waiting.insert((until, host));
                }
            }
        }
        sent
    }

    fn most_in_100_ms(sent: &[(Duration, IpAddr)], is_counted: impl Fn(IpAddr) -> bool) -> usize {
        let times: Vec<Duration> = sent.iter().filter(|(_, to)| is_counted(*to)).map(|(at, _)| *at).collect();
        let end = |from: usize| times[from] + Duration::from_millis(100);
        let count = |from: usize| times[from..].iter().take_while(|at| **at < end(from)).count();
        (0..times.len()).map(count).max().unwrap_or(0)
    }

    #[test]
    fn each_network_and_each_host_has_its_rate_and_uses_it() {
        let mut quotas = quotas(Some(50), Some(1000));
        // Two networks of 256 hosts.
        let sent = run(&mut quotas, 512, 3);
        assert!(most_in_100_ms(&sent, |to| Network::of(to) == Network::of(address(0))) <= 105);
        assert!(most_in_100_ms(&sent, |to| to == address(7)) <= 5);
        let per_network = sent.iter().filter(|(_, to)| Network::of(*to) == Network::of(address(0))).count();
        assert!((2850..=3010).contains(&per_network), "{per_network} in 3 s");
    }

    #[test]
    fn who_draws_on_the_same_budget_gets_what_is_left() {
        let (mut quotas, pace) = (quotas(None, Some(100)), RateCap::default());
        let (mut now, mut sent, mut beside) = (Duration::from_secs(1), 0, 0);
        while now < Duration::from_secs(5) {
            // For two seconds the network is filled, and then left alone.
            if now < Duration::from_secs(3)
                && let Ok(pass) = quotas.check(now, address(1))
            {
                quotas.take(now, pass, &pace);
                sent += 1;
            }
            beside += i32::from(pace.admit_to(now, address(2), Some(100), None).is_ok());
            now += Duration::from_micros(500);
        }
        assert!((190..=210).contains(&sent), "{sent}");
        assert!((190..=220).contains(&beside), "{beside} beside {sent}");
    }

    #[test]
    fn a_full_network_blocks_no_other() {
        let mut quotas = quotas(None, Some(1));
        let now = Duration::from_secs(1);
        assert_eq!(admit(&mut quotas, now, address(1)), Ok(()));
        assert_eq!(admit(&mut quotas, now, address(2)), Err(now + Duration::from_secs(1)));
        assert_eq!(admit(&mut quotas, now, address(3)), Err(now + Duration::from_secs(2)), "a moment of its own");
        assert_eq!(admit(&mut quotas, now, address(256)), Ok(()));
    }

    #[test]
    fn quiet_places_cost_no_memory() {
        let mut quotas = quotas(Some(100), None);
        for step in 0..1_000_000_u32 {
            admit(&mut quotas, Duration::from_micros(1_000_000 + 100 * u64::from(step)), address(step)).unwrap();
        }
        assert!(quotas.host.unwrap().places.len() <= 2 * FORGET_MIN);
    }

    #[test]
    fn without_rates_nothing_is_kept() {
        let mut quotas = quotas(None, None);
        assert_eq!(admit(&mut quotas, Duration::ZERO, address(1)), Ok(()));
    }
}
