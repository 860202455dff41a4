//! What it takes to reach a member of the cluster: told to a node that joins, and kept by it until its log knows more.

use pentora_raft::state::NodeRecord;
use serde::{Deserialize, Serialize};

/// A member, and where it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddress {
    /// Its peer id.
    pub peer: String,
    /// Its addresses, as it tells them.
    pub addresses: Vec<String>,
}

impl MemberAddress {
    /// That of a node in the log.
    #[must_use]
    pub fn of(record: &NodeRecord) -> Self {
        Self { peer: record.info.peer.clone(), addresses: record.info.addresses.clone() }
    }
}

#[cfg(test)]
mod tests {
    use pentora_raft::codec::{Kind, encode};

    use super::*;

    #[test]
    fn its_bytes_are_those_of_the_pair_that_earlier_releases_kept() {
        let (peer, addresses) = ("peer".to_owned(), vec!["10.0.0.1:7400".to_owned(), "n1:7400".to_owned()]);
        let pair = encode(Kind::Identity, &(peer.clone(), addresses.clone()));
        assert_eq!(encode(Kind::Identity, &MemberAddress { peer, addresses }), pair);
    }
}
