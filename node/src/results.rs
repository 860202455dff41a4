//! Results outside the log: chunks named by their digest, kept by their holders, folded into reports where asked.

pub mod choose;
mod chunk;
mod exchange;
pub mod report;
mod store;

pub use chunk::{ChunkError, ChunkReader, ChunkWriter, EARLIER_RUN, Heading};
pub use exchange::{COPIES, Exchange, Lacks, NotFetched, NotKept, is_gone};
pub use store::{ChunkStore, Kept, StoreError, Usage};
