//! Meshes that talk to each other, over loopback TCP on free ports and in memory.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test fails it by a panic, as the test itself does"
)]

mod lifecycle;
mod membership;
mod memory;
mod nodes;
mod streams;
