//! The places of connections to the API, and who gives way where all are taken.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Who holds a place.
#[derive(Debug)]
struct Holder {
    address: IpAddr,
    given_up: CancellationToken,
    /// Whether a request of it is being carried out.
    is_busy: bool,
    /// Whether it has shown a valid token, or needs none.
    belongs: bool,
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
        let mut holders = lock(&self.holders);
        let of_address = holders.all.values().filter(|holder| holder.address == address).count();
        if of_address >= self.per_address {
            holders.give_up(Some(address))?;
        } else if holders.all.len() >= self.max {
            holders.give_up(None)?;
        }
        holders.came += 1;
        let (number, given_up) = (holders.came, CancellationToken::new());
        let holder = Holder { address, given_up: given_up.clone(), is_busy: false, belongs: false };
        holders.all.insert(number, holder);
        Some(Arc::new(Place { number, given_up, holders: Arc::clone(&self.holders) }))
    }
}

impl Holders {
    /// Gives a place up, of `address` where one is named: that of the oldest stranger who waits, then of the oldest stranger,
    /// then of the oldest who waits.
    fn give_up(&mut self, address: Option<IpAddr>) -> Option<()> {
        let in_question = || self.all.iter().filter(|(_, holder)| address.is_none_or(|from| holder.address == from));
        let stranger_idle = in_question().find(|(_, holder)| !holder.belongs && !holder.is_busy);
        let stranger = || in_question().find(|(_, holder)| !holder.belongs);
        let idle = || in_question().find(|(_, holder)| !holder.is_busy);
        let number = stranger_idle.or_else(stranger).or_else(idle).map(|(number, _)| *number)?;
        let gone = self.all.remove(&number)?;
        gone.given_up.cancel();
        Some(())
    }
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

    /// Whoever holds it has shown a valid token, or needs none.
    pub(super) fn belongs(&self) {
        if let Some(holder) = lock(&self.holders).all.get_mut(&self.number) {
            holder.belongs = true;
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
    fn strangers_who_wait_give_way_first_the_oldest_of_them_and_those_who_belong_and_work_never() {
        let places = Places::new(4, 4);
        let [belongs, waits, asks, belongs_and_waits] = [1, 2, 3, 4].map(|last| places.take(address(last)).unwrap());
        belongs.asks();
        belongs.belongs();
        belongs.answered();
        belongs.asks();
        belongs_and_waits.asks();
        belongs_and_waits.belongs();
        belongs_and_waits.answered();
        asks.asks();
        let mut given_up = Vec::new();
        let mut more = Vec::new();
        for last in 5..9 {
            let place = places.take(address(last));
            if let Some(place) = &place {
                place.asks();
                place.belongs();
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
