//! A node's way out of its cluster: whether it was asked to leave, and whether it is out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Whether this node leaves and whether it has. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Departure {
    asked_for: Arc<AtomicBool>,
    removed: CancellationToken,
}

impl Departure {
    /// This node was asked to leave, here.
    pub fn ask(&self) {
        self.asked_for.store(true, Ordering::Relaxed);
    }

    /// It was, and that was refused.
    pub fn stays(&self) {
        self.asked_for.store(false, Ordering::Relaxed);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        self.asked_for.load(Ordering::Relaxed)
    }

    /// This node is out of its cluster.
    pub fn removed(&self) {
        self.removed.cancel();
    }

    /// Whether it is.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.is_cancelled()
    }

    /// Waits until it is. Cancel-safe.
    pub async fn until_removed(&self) {
        self.removed.cancelled().await;
    }
}
