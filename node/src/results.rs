//! Results outside the log: chunks named by their digest, kept by their holders, folded into reports where asked.

mod chunk;
mod exchange;
pub mod report;
mod store;

pub use chunk::{ChunkError, ChunkReader, ChunkWriter, EARLIER_RUN, Heading};
pub use exchange::Exchange;
pub use store::{ChunkStore, StoreError};
