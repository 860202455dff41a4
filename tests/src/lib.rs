//! The harness for system tests: clusters of real processes in labs of network namespaces, and the checks on the source
//! tree itself.
//!
//! Everything here drives Pentora from outside, as a user does: by its command line, its API and its files. No other
//! crate of the workspace is imported, so a change inside one of them can break a system test only by changing what a
//! user sees.

pub mod binaries;
pub mod cluster;
pub mod command_line;
pub mod containers;
pub mod dice;
pub mod http;
pub mod lab;
pub mod linearizable;
pub mod privileges;
pub mod process;
pub mod tidy;
pub mod wait;
