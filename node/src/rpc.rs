//! Questions between nodes over the mesh: `calls` asks and answers them, `proposer` puts commands into the log through
//! whoever leads.

pub mod calls;
pub mod proposer;
mod soft_state;

pub use soft_state::SoftState;
