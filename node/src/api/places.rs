//! The places of connections to the API, and who gives way where all are taken: strangers, of the network that has most of their
//! places, whether they wait or ask; then who belongs and waits.
//!
//! A part of the places is for those who have not said yet who they are. Where those who belong have all others, one more of them takes
//! the place of whoever has more, all tokens that one answers for together: nobody is kept out by tokens that somebody makes, nor by the
//! many connections of each.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::limits::network_of;
use super::whose::Whose;

/// The part of all places, and of those of one address, that those who belong leave to who has not said yet who that is, as long as one
/// of them has more than one. Ours: 64 of 512, which wait 5 s at most.
const DOOR: usize = 8;

/// Who holds a place.
#[derive(Debug)]
struct Holder {
    /// Where it is, as it is counted.
    network: IpAddr,
    given_up: CancellationToken,
    /// Whether a request of it is being carried out.
    is_busy: bool,
    /// By what token it belongs: nobody's where none is asked for, and none for a stranger.
    belongs: Option<Whose>,
}

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    holders: Arc<Mutex<Holders>>,
}

#[derive(Debug)]
struct Holders {
    /// By the order in which they came.
    all: BTreeMap<u64, Holder>,
    came: u64,
    max: usize,
    per_address: usize,
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
        Self { holders: Arc::new(Mutex::new(Holders { all: BTreeMap::new(), came: 0, max, per_address })) }
    }

    /// A place for a connection from `address`; `None` where nobody there gives way.
    pub(super) fn take(&self, address: IpAddr) -> Option<Arc<Place>> {
        let network = network_of(address);
        let mut holders = lock(&self.holders);
        let of_network = holders.of(Some(network)).count();
        if of_network >= holders.per_address {
            holders.make_room(Some(network))?;
        } else if holders.all.len() >= holders.max {
            holders.make_room(None)?;
        }
        holders.came += 1;
        let (number, given_up) = (holders.came, CancellationToken::new());
        let holder = Holder { network, given_up: given_up.clone(), is_busy: false, belongs: None };
        holders.all.insert(number, holder);
        Some(Arc::new(Place { number, given_up, holders: Arc::clone(&self.holders) }))
    }
}

impl Holders {
    /// All, of `network` where one is named.
    fn of(&self, network: Option<IpAddr>) -> impl Iterator<Item = (u64, &Holder)> {
        let all = self.all.iter().map(|(at, holder)| (*at, holder));
        all.filter(move |(_, holder)| network.is_none_or(|from| holder.network == from))
    }

    /// Gives a place up, of `network` where one is named.
    fn make_room(&mut self, network: Option<IpAddr>) -> Option<()> {
        // A stranger who asks gives way like one who waits: what strangers ask may take long. Who comes alone is not pushed out
        // by those who come in numbers.
        let strangers = self.of(network).filter(|(_, holder)| holder.belongs.is_none());
        let stranger = of_the_most(strangers.map(|(at, holder)| (holder.network, at)));
        let idle = || self.of(network).find(|(_, holder)| !holder.is_busy).map(|(at, _)| at);
        let number = stranger.map(|(_, oldest)| oldest).or_else(idle)?;
        self.give_up(number)
    }

    /// Has whoever has most places give one up, where those who belong have more than theirs and this is more than `whose` maker
    /// has: of their tokens the one that has most, and of its places one that waits, or else the oldest.
    fn keep_door(&mut self, whose: &Whose, network: Option<IpAddr>) {
        let places = if network.is_some() { self.per_address } else { self.max };
        let named = || {
            let all = self.of(network).filter_map(|(at, holder)| Some((holder.belongs.as_ref()?, at, holder.is_busy)));
            all.filter(|(whose, ..)| !whose.is_anybody())
        };
        if named().count() <= places - places.div_ceil(DOOR) {
            return;
        }
        let by_maker = || named().map(|(whose, at, _)| (whose.maker.as_str(), at));
        let Some(maker) = of_more(by_maker, &whose.maker).filter(|(has, _)| *has > 1).map(|(_, maker)| maker) else {
            return;
        };
        let its = || named().filter(|(whose, ..)| whose.maker == maker);
        let by_token = || its().map(|(whose, at, _)| (whose.token.as_str(), at));
        let Some((_, token)) = of_more(by_token, &whose.token) else { return };
        let places = its().filter(|(whose, ..)| whose.token == token).map(|(_, at, is_busy)| (is_busy, at));
        if let Some((_, number)) = places.min() {
            self.give_up(number);
        }
    }

    fn give_up(&mut self, number: u64) -> Option<()> {
        self.all.remove(&number)?.given_up.cancel();
        Some(())
    }
}

/// How many of these whoever has most has, and who that is, unless `own` has as many: whoever comes makes room for itself then.
fn of_more<'a, I>(of: impl Fn() -> I, own: &'a str) -> Option<(usize, &'a str)>
where
    I: Iterator<Item = (&'a str, u64)>,
{
    let (most, oldest) = of_the_most(of())?;
    let has = of().filter(|(name, _)| *name == own).count();
    if has >= most { Some((most, own)) } else { of().find(|(_, at)| *at == oldest).map(|(name, _)| (most, name)) }
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
    pub(super) fn belongs(&self, whose: &Whose) {
        let mut holders = lock(&self.holders);
        let Some(holder) = holders.all.get_mut(&self.number).filter(|holder| holder.belongs.as_ref() != Some(whose))
        else {
            return;
        };
        holder.belongs = Some(whose.clone());
        let network = holder.network;
        if !whose.is_anybody() {
            holders.keep_door(whose, Some(network));
            holders.keep_door(whose, None);
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
        belongs.belongs(&Whose::alone("a"));
        belongs.answered();
        belongs.asks();
        belongs_and_waits.asks();
        belongs_and_waits.belongs(&Whose::alone("b"));
        belongs_and_waits.answered();
        asks.asks();
        let mut given_up = Vec::new();
        let mut more = Vec::new();
        for last in 5..9 {
            let place = places.take(address(last));
            if let Some(place) = &place {
                place.asks();
                place.belongs(&Whose::alone(format!("c{last}")));
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

    /// What shut everybody out: the share of one token, four times.
    #[test]
    fn a_few_tokens_of_one_leave_a_place_to_whoever_else_comes_and_take_none_of_theirs() {
        let places = Places::new(16, 16);
        let by = |who: String, last| {
            let place = places.take(address(last)).unwrap();
            place.asks();
            place.belongs(&Whose::alone(who));
            place
        };
        let insider =
            |count: u8| (0..count).map(|number| by(format!("i{}", number % 4), number % 2)).collect::<Vec<_>>();
        let held = |of: &[Arc<Place>]| of.iter().filter(|place| !place.given_up.is_cancelled()).count();
        let first = insider(200);
        assert_eq!(held(&first), 14, "two are for those who come");
        let waits = first.iter().rev().find(|place| !place.given_up.is_cancelled()).unwrap();
        waits.answered();
        let others: Vec<_> = (0..6).map(|number| by(format!("o{number}"), 10 + number)).collect();
        assert!(held(&others) == 6 && held(&first) == 8 && waits.given_up.is_cancelled());
        let again = insider(200);
        assert_eq!((held(&others), held(&first) + held(&again)), (6, 8));
        // By one address the same.
        let places = Places::new(100, 8);
        let one = |who: &str| {
            let place = places.take(address(1)).unwrap();
            place.asks();
            place.belongs(&Whose::alone(who));
            place
        };
        let many: Vec<_> = (0..20).map(|number| one(if number % 2 == 0 { "a" } else { "b" })).collect();
        let other = one("c");
        assert!(held(&many) == 6 && !other.given_up.is_cancelled());
        // Where nobody is asked who they are nobody has more than another.
        let open = Places::new(4, 4);
        let nobody: Vec<_> = (0..4).filter_map(|_| open.take(address(1))).collect();
        nobody.iter().for_each(|place| {
            place.asks();
            place.belongs(&Whose::default());
        });
        assert!(nobody.len() == 4 && open.take(address(1)).is_none());
    }

    /// What shut everybody out all the same: tokens that one made, as many as there are places.
    #[test]
    fn the_tokens_that_one_made_give_way_together_and_of_them_the_one_that_has_most() {
        let places = Places::new(16, 16);
        let by = |token: String, maker: &str, last| {
            let place = places.take(address(last)).unwrap();
            place.asks();
            place.belongs(&Whose { token, maker: maker.to_owned() });
            place
        };
        let held = |of: &[Arc<Place>]| of.iter().filter(|place| !place.given_up.is_cancelled()).count();
        let eve: Vec<_> = (0..14).map(|number| by(format!("e{number}"), "eve", number % 3)).collect();
        assert_eq!(held(&eve), 14);
        let others: Vec<_> =
            (0..4).map(|number| by(format!("o{number}"), &format!("o{number}"), 10 + number)).collect();
        let again: Vec<_> = (0..200).map(|number| by(format!("f{number}"), "eve", number % 3)).collect();
        assert_eq!((held(&others), held(&eve) + held(&again)), (4, 10));
        // One who has several tokens keeps a place with each.
        let twice = [by("o0".to_owned(), "o0", 10), by("o0b".to_owned(), "o0", 10), by("o0".to_owned(), "o0", 10)];
        let more: Vec<_> = (0..4).map(|number| by(format!("p{number}"), &format!("p{number}"), 20)).collect();
        assert!(held(&more) == 4 && held(&others[1..]) == 3 && !twice[1].given_up.is_cancelled());
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
