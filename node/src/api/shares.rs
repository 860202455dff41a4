//! Places that are waited for, of which each who asks may have a share, so that nobody holds all of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::listeners::{Full, Listener, Listeners};
use super::whose::Whose;

/// Places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    places: Listeners,
    /// Told whenever one is free again.
    freed: Arc<Notify>,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    place: Option<Listener>,
    freed: Arc<Notify>,
}

/// How long a place is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For one of the share.
    pub(super) own: Duration,
    /// Then for one of all.
    pub(super) all: Duration,
}

impl Shares {
    /// So many places, of which each token may have a share. `share` is at least 1.
    pub(super) fn new(most: usize, share: usize) -> Self {
        Self { places: Listeners::new(most, share), freed: Arc::default() }
    }

    /// A place, once there is one. Cancel-safe.
    pub(super) async fn take(&self, whose: &Whose, patience: Patience) -> Result<Share, Full> {
        let began = Instant::now();
        loop {
            // Before it is looked: what is given back in between is told.
            let freed = self.freed.notified();
            let full = match self.places.take(whose) {
                Ok(place) => return Ok(Share { place: Some(place), freed: Arc::clone(&self.freed) }),
                Err(full) => full,
            };
            let within = match full {
                Full::Own(_) | Full::Maker(_) => patience.own,
                Full::All(_) => patience.own + patience.all,
            };
            tokio::time::timeout_at(began + within, freed).await.map_err(|_elapsed| full)?;
        }
    }

    /// How many places are free, and how many tokens have one.
    #[cfg(test)]
    pub(super) fn free(&self) -> (usize, usize) {
        self.places.free()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        drop(self.place.take());
        self.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Patience = Patience { own: Duration::from_secs(1), all: Duration::from_secs(2) };

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_a_share_waits_for_it_and_the_rest_is_for_others() {
        let shares = Shares::new(6, 3);
        let take = async |who: &str| shares.take(&Whose::alone(who), SOON).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(take("a").await.unwrap());
        }
        let began = Instant::now();
        assert_eq!((take("a").await.unwrap_err(), began.elapsed().as_secs()), (Full::Own(3), 1));
        let others = [take("b").await.unwrap(), take("c").await.unwrap(), take("d").await.unwrap()];
        let began = Instant::now();
        assert_eq!((take("e").await.unwrap_err(), began.elapsed().as_secs()), (Full::All(6), 3));
        held.pop();
        held.push(take("e").await.unwrap());
        drop((held, others));
        let _last = take("e").await.unwrap();
        assert_eq!(shares.free(), (5, 1), "nobody is remembered who holds none");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_has_the_place_as_soon_as_one_is_free() {
        let shares = Shares::new(1, 1);
        let held = shares.take(&Whose::alone("a"), SOON).await.unwrap();
        let began = Instant::now();
        let free = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(held);
        };
        let ((), waited) =
            tokio::join!(free, async { shares.take(&Whose::alone("b"), SOON).await.map(|_place| began.elapsed()) });
        assert!(waited.is_ok_and(|waited| waited < SOON.own), "{waited:?}");
    }
}
