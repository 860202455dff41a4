//! Questions between nodes over the mesh: `calls` asks and answers them, `proposer` puts commands into the log through
//! whoever leads, `batch` many completions at once, `no_majority` says why nobody leads.

pub mod batch;
pub mod calls;
pub mod no_majority;
pub mod proposer;
mod soft_state;

pub use soft_state::{LogFigures, SoftState};
