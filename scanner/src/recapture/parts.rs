//! The parts of a unit that are heard differently: one prefix behind a firewall that polices, one far site.
//!
//! Over a whole unit the answers that are known to come hide it: those who are heard well are most of them, and what a policed prefix
//! has lost is lost again when it is asked again. So neighbouring networks are put together into parts, each with so many who are
//! known to answer that they tell how well it is heard. Parts in which clearly fewer of them come than elsewhere are judged by
//! themselves ([`crate::recall`]). Networks in which nobody was found count with the one before them.
//!
//! Pure.

use std::net::IpAddr;

use crate::network::Network;
use crate::recall::{Kind, Sample, is_heard_worse};

/// Known hosts of a part: enough that half of their answers lost is no chance.
const HOSTS_MIN: usize = 16;
/// Parts at most: more than there are far sites in a unit, and few enough to ask somebody in each of them.
pub(super) const PARTS_MAX: usize = 32;
/// Known answers that are asked for in each part at least, where there are several.
const CONTROLS_MIN: usize = 6;

/// Samples of every kind of silence.
pub(super) type Samples = [Sample; Kind::ALL.len()];

/// Where each part begins, ascending; the first begins with everything.
#[derive(Debug, Default)]
pub(super) struct Parts {
    begins: Vec<IpAddr>,
    /// Ports that are known to answer, by part, each with the place of the next to be asked.
    controls: Vec<(Vec<(IpAddr, u16)>, usize)>,
}

impl Parts {
    /// Parts by who is known to answer, in a random order.
    pub(super) fn new(controls: Vec<(IpAddr, u16)>) -> Self {
        let mut hosts: Vec<IpAddr> = controls.iter().map(|(address, _)| *address).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let hosts_min = HOSTS_MIN.max(hosts.len().div_ceil(PARTS_MAX));
        let mut begins: Vec<IpAddr> = Vec::new();
        let mut count = hosts_min;
        let is_same = |a: &IpAddr, b: &IpAddr| Network::of(*a) == Network::of(*b);
        let networks: Vec<&[IpAddr]> = hosts.chunk_by(is_same).collect();
        for (at, network) in networks.iter().enumerate() {
            let left: usize = networks.iter().skip(at).map(|network| network.len()).sum();
            if let Some(first) = network.first().filter(|_| count >= hosts_min && (left >= hosts_min || at == 0)) {
                begins.push(*first);
                count = 0;
            }
            count += network.len();
        }
        let mut parts = Self { begins, controls: Vec::new() };
        let mut by_part = vec![(Vec::new(), 0); parts.count()];
        for (address, port) in controls {
            let of = by_part.get_mut(parts.of(address));
            of.into_iter().for_each(|(ports, _)| ports.push((address, port)));
        }
        parts.controls = by_part;
        parts
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.begins.len().max(1)
    }

    /// The part of an address.
    pub(super) fn of(&self, address: IpAddr) -> usize {
        self.begins.partition_point(|begin| *begin <= address).saturating_sub(1)
    }

    /// Ports that are known to answer, about `wanted`, as many in each part; others are given the next time.
    pub(super) fn take_controls(&mut self, wanted: usize) -> Vec<(IpAddr, u16)> {
        let of_each = match self.count() {
            1 => wanted,
            count => (wanted / count).max(CONTROLS_MIN),
        };
        let mut taken = Vec::new();
        for (ports, next) in &mut self.controls {
            let turn = of_each.min(ports.len());
            taken.extend((*next..*next + turn).filter_map(|at| ports.get(at % ports.len().max(1))));
            *next += turn;
        }
        taken
    }
}

/// The samples that are judged by themselves: one for all parts, or one for those that are heard as well as most and one for those that
/// are heard worse. How much of each part is silent is known from the sample, which was drawn from all alike.
pub(super) fn judged_apart(all: &Samples, parts: &[Samples]) -> Vec<Samples> {
    let heard = |samples: &Samples| {
        samples.iter().fold([0, 0], |sum: [u64; 2], sample| {
            let [asked, came] = sample.controls;
            [sum[0] + asked, sum[1] + came]
        })
    };
    let whole = parts.iter().map(heard).fold([0, 0], |sum: [u64; 2], part| [sum[0] + part[0], sum[1] + part[1]]);
    let is_worse = |part: &&Samples| {
        let [asked, came] = heard(part);
        is_heard_worse([asked, came], [whole[0].saturating_sub(asked), whole[1].saturating_sub(came)])
    };
    let (worse, better): (Vec<&Samples>, Vec<&Samples>) = parts.iter().partition(is_worse);
    if worse.is_empty() || better.is_empty() {
        return vec![*all];
    }
    let mut worse = summed(&worse);
    let mut better = summed(&better);
    for ((all, worse), better) in all.iter().zip(&mut worse).zip(&mut better) {
        // What was asked in neither is as silent as what was, give or take what chance gives.
        let asked = all.asked.max(1) as f64;
        let of = |part: &Sample| {
            let spread = 2.0 * (part.asked as f64).sqrt() + 1.0;
            let most = ((part.asked as f64 + spread) / asked).min(1.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
            let silent = (all.silent as f64 * most).ceil() as u64;
            silent.clamp(part.asked, all.silent.max(part.asked))
        };
        worse.silent = of(worse);
        better.silent = of(better);
    }
    vec![better, worse]
}

/// Samples added up.
fn summed(parts: &[&Samples]) -> Samples {
    let mut sum = Samples::default();
    for part in parts {
        for (sum, sample) in sum.iter_mut().zip(part.iter()) {
            sum.asked += sample.asked;
            sum.answered += sample.answered;
            sum.open += sample.open;
            sum.controls = [sum.controls[0] + sample.controls[0], sum.controls[1] + sample.controls[1]];
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(third: u8, hosts: u8) -> Vec<(IpAddr, u16)> {
        (1..=hosts).map(|last| (IpAddr::from([10, 0, third, last]), 80)).collect()
    }

    #[test]
    fn networks_are_put_together_until_enough_are_known_in_each_part() {
        let controls: Vec<_> = (0..10).flat_map(|third| known(third, 10)).chain(known(200, 3)).collect();
        let mut parts = Parts::new(controls);
        assert_eq!(parts.count(), 5, "{parts:?}");
        let of = |text: &str| parts.of(text.parse().unwrap());
        assert_eq!((of("10.0.0.9"), of("10.0.1.200"), of("10.0.2.1"), of("9.0.0.1")), (0, 0, 1, 0));
        assert_eq!((of("10.0.9.77"), of("10.0.199.1"), of("10.0.200.1")), (4, 4, 4), "few at the end make no part");
        assert!(
            (0..parts.count()).all(|part| parts
                .take_controls(8)
                .iter()
                .filter(|(of, _)| parts.of(*of) == part)
                .count()
                == 6)
        );
        let large: Vec<_> = (0..200).flat_map(|third| known(third, 200)).collect();
        assert!((PARTS_MAX / 2..=PARTS_MAX).contains(&Parts::new(large).count()));
        let mut none = Parts::new(Vec::new());
        assert_eq!((none.count(), none.of("10.0.0.1".parse().unwrap()), none.take_controls(9).len()), (1, 0, 0));
    }

    #[test]
    fn a_part_that_is_heard_clearly_worse_is_judged_by_itself() {
        let part = |asked, answered, controls| {
            let sample = Sample { asked, answered, open: 2 * answered, controls, ..Sample::default() };
            [Sample::default(), sample, Sample::default()]
        };
        let all = |parts: &[Samples]| {
            let mut all = summed(&parts.iter().collect::<Vec<_>>());
            all[1].silent = 10_000;
            all
        };
        let alike = [part(100, 0, [20, 20]), part(100, 1, [20, 19]), part(100, 0, [3, 1])];
        assert_eq!(judged_apart(&all(&alike), &alike), vec![all(&alike)], "three say too little");
        let policed = [part(100, 0, [20, 20]), part(100, 5, [20, 4]), part(200, 0, [20, 20])];
        let [better, worse] = judged_apart(&all(&policed), &policed)[..] else { panic!("one part") };
        assert_eq!((worse[1].answered, worse[1].controls, better[1].controls), (5, [20, 4], [40, 40]));
        assert!((2500..=3100).contains(&worse[1].silent) && (7500..=8500).contains(&better[1].silent));
        let deaf = [part(100, 0, [20, 2]), part(100, 5, [20, 1])];
        assert_eq!(judged_apart(&all(&deaf), &deaf).len(), 1, "all are heard as badly");
    }
}
