//! Clusters of a few nodes in one process, over the memory transport with cuts, through the public interface alone.
//!
//! The modules are marked as tests, so that the lints see them as such.

#[cfg(test)]
mod clock;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod throughput;
