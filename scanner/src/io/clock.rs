//! The engine's clock: time since this process first asked, never running backwards.
//!
//! Units that share a rate cap may be driven by different threads; they all count from the same moment.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static BEGINNING: OnceLock<Instant> = OnceLock::new();

/// Now.
pub(crate) fn now() -> Duration {
    BEGINNING.get_or_init(Instant::now).elapsed()
}
