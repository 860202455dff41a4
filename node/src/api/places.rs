//! The places of connections to the API, and who gives way where all are taken: strangers, of the network that has most of their
//! places, whether they wait or ask; then whoever has more than a share by one token; then who belongs and waits.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::limits::network_of;

/// The part of all places that one token keeps whoever else comes. Ours: three others have as much, and strangers go before.
const SHARE_OF_ONE: usize = 4;

/// Who holds a place.
#[derive(Debug)]
struct Holder {
    /// Where it is, as it is counted.
    network: IpAddr,
    given_up: CancellationToken,
    /// Whether a request of it is being carried out.
    is_busy: bool,
    /// By what token it belongs: no name where none is asked for, and none of both for a stranger.
    belongs: Option<String>,
}

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    holders: Arc<Mutex<Holders>>,
    max: usize,
    per_address: usize,
}

#[derive(Debug, Default)]
struct Holders {
    /// By the order in which they came.
    all: BTreeMap<u64, Holder>,
    came: u64,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    given_up: CancellationToken,
    holders: Arc<Mutex<Holders>>,
}

fn lock(holders: &Mutex<Holders>) -> MutexGuard<'_, Holders> {
    holders.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    pub(super) fn new(max: usize, per_address: usize) -> Self {
        Self { holders: Arc::default(), max, per_address }
    }

    /// A place for a connection from `address`; `None` where nobody there gives way.
    pub(super) fn take(&self, address: IpAddr) -> Option<Arc<Place>> {
        let network = network_of(address);
        let share = self.max.div_ceil(SHARE_OF_ONE);
        let mut holders = lock(&self.holders);
        let of_network = holders.all.values().filter(|holder| holder.network == network).count();
        if of_network >= self.per_address {
            holders.give_up(Some(network), share)?;
        } else if holders.all.len() >= self.max {
            holders.give_up(None, share)?;
        }
        holders.came += 1;
        let (number, given_up) = (holders.came, CancellationToken::new());
        let holder = Holder { network, given_up: given_up.clone(), is_busy: false, belongs: None };
        holders.all.insert(number, holder);
        Some(Arc::new(Place { number, given_up, holders: Arc::clone(&self.holders) }))
    }
}

impl Holders {
    /// Gives a place up, of `network` where one is named.
    fn give_up(&mut self, network: Option<IpAddr>, share: usize) -> Option<()> {
        let in_question = || self.all.iter().filter(|(_, holder)| network.is_none_or(|from| holder.network == from));
        // A stranger who asks gives way like one who waits: what strangers ask may take long. Who comes alone is not pushed out
        // by those who come in numbers.
        let stranger = of_the_most(
            in_question().filter(|(_, holder)| holder.belongs.is_none()).map(|(at, holder)| (holder.network, *at)),
        );
        let named = |with_busy: bool| {
            in_question().filter_map(move |(at, holder)| {
                let who = holder.belongs.as_deref().filter(|who| !who.is_empty())?;
                (with_busy || !holder.is_busy).then_some((who, *at))
            })
        };
        let beyond_share = || {
            let (_, oldest) = of_the_most(named(true)).filter(|(count, _)| *count > share)?;
            let (who, _) = named(true).find(|(_, at)| *at == oldest)?;
            let waits = named(false).find(|(name, _)| *name == who).map(|(_, at)| at);
            Some(waits.unwrap_or(oldest))
        };
        let idle = || in_question().find(|(_, holder)| !holder.is_busy).map(|(at, _)| *at);
        let number = stranger.map(|(_, oldest)| oldest).or_else(beyond_share).or_else(idle)?;
        let gone = self.all.remove(&number)?;
        gone.given_up.cancel();
        Some(())
    }
}

/// How many whoever has most of these has, and the oldest of theirs; of several who have as many, of whom the oldest is.
fn of_the_most<K: Ord>(of: impl Iterator<Item = (K, u64)>) -> Option<(usize, u64)> {
    let mut counted = BTreeMap::<K, (usize, Reverse<u64>)>::new();
    for (key, at) in of {
        let (count, oldest) = counted.entry(key).or_insert((0, Reverse(at)));
        *count += 1;
        *oldest = (*oldest).max(Reverse(at));
    }
    counted.into_values().max().map(|(count, Reverse(oldest))| (count, oldest))
}

impl Place {
    /// Waits until another connection needs the place more. Cancel-safe.
    pub(super) fn given_up(&self) -> WaitForCancellationFuture<'_> {
        self.given_up.cancelled()
    }

    /// A request has come.
    pub(super) fn asks(&self) {
        if let Some(holder) = lock(&self.holders).all.get_mut(&self.number) {
            holder.is_busy = true;
        }
    }

    /// It is answered.
    pub(super) fn answered(&self) {
        if let Some(holder) = lock(&self.holders).all.get_mut(&self.number) {
            holder.is_busy = false;
        }
    }

    /// Whoever holds it has shown a valid token of this name, or needs none.
    pub(super) fn belongs(&self, who: &str) {
        if let Some(holder) = lock(&self.holders).all.get_mut(&self.number)
            && holder.belongs.as_deref() != Some(who)
        {
            holder.belongs = Some(who.to_owned());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.holders).all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn strangers_give_way_first_the_oldest_of_them_and_those_who_belong_and_work_never() {
        let places = Places::new(4, 4);
        let [belongs, waits, asks, belongs_and_waits] = [1, 2, 3, 4].map(|last| places.take(address(last)).unwrap());
        belongs.asks();
        belongs.belongs("a");
        belongs.answered();
        belongs.asks();
        belongs_and_waits.asks();
        belongs_and_waits.belongs("b");
        belongs_and_waits.answered();
        asks.asks();
        let mut given_up = Vec::new();
        let mut more = Vec::new();
        for last in 5..9 {
            let place = places.take(address(last));
            if let Some(place) = &place {
                place.asks();
                place.belongs(&format!("c{last}"));
                place.answered();
                place.asks();
            }
            more.push(place);
            given_up.push([&belongs, &waits, &asks, &belongs_and_waits].map(|place| place.given_up.is_cancelled()));
        }
        assert_eq!(
            given_up,
            [
                [false, true, false, false],
                [false, true, true, false],
                [false, true, true, true],
                [false, true, true, true],
            ]
        );
        assert!(more[3].is_none(), "all belong and work");
        drop(belongs);
        assert!(places.take(address(9)).is_some());
    }

    #[test]
    fn strangers_who_come_in_numbers_and_ask_push_out_each_other_and_nobody_who_comes_alone() {
        let places = Places::new(16, 8);
        let many: Vec<_> = (0..15).map(|number| places.take(address(1 + number % 2)).unwrap()).collect();
        many.iter().for_each(|place| place.asks());
        let newcomer = places.take(address(3)).unwrap();
        // As many again from two others, as fast as they like.
        let more: Vec<_> = (0..200).map(|number| places.take(address(4 + number % 2)).unwrap()).collect();
        assert!(many[0].given_up.is_cancelled() && more[0].given_up.is_cancelled());
        assert!(!newcomer.given_up.is_cancelled());
        let of = |last: u8| lock(&places.holders).all.values().filter(|at| at.network == address(last)).count();
        assert!([1, 2, 4, 5].map(of).into_iter().all(|count| (3..=5).contains(&count)), "none of them has most");
    }

    #[test]
    fn whoever_holds_more_than_a_share_by_one_token_gives_way_busy_or_not_and_others_do_not() {
        let places = Places::new(16, 16);
        let by = |who: &str, last| {
            let place = places.take(address(last))?;
            place.asks();
            place.belongs(who);
            Some(place)
        };
        let all: Vec<_> = (0..15).map(|_| by("viewer", 1).unwrap()).collect();
        let admin = by("admin", 2).unwrap();
        all[7].answered();
        admin.answered();
        // Whoever has more than a quarter goes first: one who waits, then the oldest.
        let other = by("other", 3).unwrap();
        assert!(all[7].given_up.is_cancelled() && !all[0].given_up.is_cancelled());
        let another = by("other", 3).unwrap();
        assert!(all[0].given_up.is_cancelled() && !admin.given_up.is_cancelled());
        let more: Vec<_> = (0..20).map(|number| by(&format!("t{number}"), 4)).collect();
        let left = all.iter().filter(|place| !place.given_up.is_cancelled()).count();
        assert_eq!(left, 4, "a share stays");
        assert!(admin.given_up.is_cancelled() && more[19].is_none(), "then who waits, and then nobody");
        assert!(![&other, &another].iter().any(|place| place.given_up.is_cancelled()));
        // Where nobody is asked who they are there are no shares.
        let open = Places::new(4, 4);
        let nobody: Vec<_> = (0..4).filter_map(|_| open.take(address(1))).collect();
        nobody.iter().for_each(|place| {
            place.asks();
            place.belongs("");
        });
        assert!(nobody.len() == 4 && open.take(address(1)).is_none());
    }

    #[test]
    fn a_network_of_ipv6_has_as_many_places_as_an_address() {
        let places = Places::new(100, 2);
        let of = |last: u16| places.take(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])).unwrap();
        let (first, second, third) = (of(1), of(2), of(3));
        assert!(first.given_up.is_cancelled() && !second.given_up.is_cancelled() && !third.given_up.is_cancelled());
    }

    #[test]
    fn an_address_that_has_as_many_as_it_may_gives_its_own_up() {
        let places = Places::new(100, 2);
        let [first, second] = [1, 1].map(|last| places.take(address(last)).unwrap());
        let other = places.take(address(2)).unwrap();
        let third = places.take(address(1)).unwrap();
        assert!(first.given_up.is_cancelled() && !second.given_up.is_cancelled() && !other.given_up.is_cancelled());
        drop((first, third));
        assert_eq!(lock(&places.holders).all.len(), 2);
    }
}
