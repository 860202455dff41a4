//! In place of `all_nodes` where the kernel's tables are not read: no link is known, so none is ever asked.

use std::io;
use std::net::IpAddr;

use crate::gate::{Denial, Gate};
use crate::target::{Attached, LinkRange};

/// Who was found on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkHosts {
    /// Their addresses in the range, ascending.
    pub hosts: Vec<IpAddr>,
    /// Why nobody was asked.
    pub denied: Option<Denial>,
}

/// Why the hosts of a link are not known.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// This system is not asked.
    #[error("{0}")]
    Unsent(#[from] io::Error),
}

/// None.
#[must_use]
pub fn attached_links() -> Vec<Attached> {
    Vec::new()
}

/// Looks for nobody.
///
/// # Errors
/// Always.
pub fn find_link_hosts(_: &LinkRange, _: &[Attached], _: &Gate) -> Result<LinkHosts, LinkError> {
    Err(io::Error::other("looking for the hosts of a link needs Linux").into())
}
