//! Readers that are private to this crate, for the fuzz targets, which are crates of their own.
//!
//! Compiled only with `--cfg fuzzing`, which cargo-fuzz sets: nobody else sees more of the crate than it shows.

pub use crate::detect::each_dissected;
pub use crate::io::raw::read_netlink;
