//! What is weak about a service: versions in the ranges of advisories, and exposure that needs no advisory.
//!
//! Everything here but the runner of checks is pure: it takes text, bytes and the time, and returns values.
//! It fetches nothing: feeds of advisories are files that a user brings.

pub mod advisory;
pub mod check;
pub mod cpe;
pub mod exposure;
pub mod feed;
pub mod matching;
pub mod product;
pub mod store;
pub mod version;
