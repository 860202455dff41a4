//! Places that are waited for, of which each who asks may have a share, so that nobody holds all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::listeners::Full;

/// Places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    all: Arc<Semaphore>,
    most: usize,
    /// The shares of those who hold a place, or wait for one.
    own: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    share: usize,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
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
    /// So many places, of which each may have a share. `share` is at least 1.
    pub(super) fn new(most: usize, share: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), most, own: Arc::default(), share }
    }

    /// A place for `who`. Cancel-safe.
    pub(super) async fn take(&self, who: &str, patience: Patience) -> Result<Share, Full> {
        let own = tokio::time::timeout(patience.own, self.own(who).acquire_owned()).await;
        let own = own.ok().and_then(Result::ok).ok_or(Full::Own(self.share))?;
        let all = tokio::time::timeout(patience.all, Arc::clone(&self.all).acquire_owned()).await;
        let all = all.ok().and_then(Result::ok).ok_or(Full::All(self.most))?;
        Ok(Share { _own: own, _all: all })
    }

    fn own(&self, who: &str) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // Shares of which somebody holds a place or waits for one are known to them as well.
        own.retain(|_, share| Arc::strong_count(share) > 1);
        Arc::clone(own.entry(who.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.share))))
    }

    /// How many places are free, and how many have a share.
    #[cfg(test)]
    pub(super) fn free(&self) -> (usize, usize) {
        (self.all.available_permits(), self.own.lock().unwrap_or_else(PoisonError::into_inner).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Patience = Patience { own: Duration::from_secs(1), all: Duration::from_secs(2) };

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_a_share_waits_for_it_and_the_rest_is_for_others() {
        let shares = Shares::new(5, 3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(shares.take("a", SOON).await.unwrap());
        }
        assert_eq!(shares.take("a", SOON).await.unwrap_err(), Full::Own(3));
        let others = [shares.take("b", SOON).await.unwrap(), shares.take("c", SOON).await.unwrap()];
        assert_eq!(shares.take("d", SOON).await.unwrap_err(), Full::All(5));
        held.pop();
        held.push(shares.take("a", SOON).await.unwrap());
        drop((held, others));
        let _last = shares.take("e", SOON).await.unwrap();
        assert_eq!(shares.free(), (4, 1), "nobody is remembered who holds none");
    }
}
