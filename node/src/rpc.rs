//! Questions between nodes over the mesh: `calls` asks and answers them, `proposer` puts commands into the log through
//! whoever leads.

pub mod calls;
pub mod proposer;
