//! The bytes of votes, log ids, entries and memberships, at rest and on the wire.
//!
//! These are our own shapes: the consensus library's serde layout is not promised between its pre-releases.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::entry::RaftEntry;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind};
use crate::command::Proposal;
use crate::raft_types::{Entry, LeaderId, LogId, Member, SnapshotMeta, StoredMembership, Vote};

type Membership = openraft::Membership<u64, Member>;

/// Term and index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    term: u64,
    index: u64,
}

/// Term, candidate, and whether a quorum granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    term: u64,
    node: u64,
    committed: bool,
}

/// The voter sets (two while joint) and all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    configs: Vec<BTreeSet<u64>>,
    members: BTreeMap<u64, Member>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum PayloadRecord {
    Blank,
    /// Boxed, because most records are as small as the others; the bytes are the same.
    Normal(Box<Proposal>),
    Membership(MembershipRecord),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    id: LogIdRecord,
    payload: PayloadRecord,
}

/// What a snapshot holds up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetaRecord {
    pub(crate) last: Option<LogIdRecord>,
    membership_at: Option<LogIdRecord>,
    membership: MembershipRecord,
}

impl From<&LogId> for LogIdRecord {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        LogId::new_term_index(record.term, record.index)
    }
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        Vote { leader_id: LeaderId { term: record.term, voted_for: record.node }, committed: record.committed }
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        }
    }
}

impl MembershipRecord {
    fn into_membership(self) -> io::Result<Membership> {
        if self.configs.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(self.configs, self.members)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    }
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            openraft::EntryPayload::Blank => PayloadRecord::Blank,
            openraft::EntryPayload::Normal(proposal) => PayloadRecord::Normal(Box::new(proposal.clone())),
            openraft::EntryPayload::Membership(membership) => PayloadRecord::Membership(membership.into()),
        };
        Self { id: LogIdRecord::from(&entry.log_id), payload }
    }
}

impl EntryRecord {
    pub(crate) fn into_entry(self) -> io::Result<Entry> {
        let payload = match self.payload {
            PayloadRecord::Blank => openraft::EntryPayload::Blank,
            PayloadRecord::Normal(proposal) => openraft::EntryPayload::Normal(*proposal),
            PayloadRecord::Membership(membership) => openraft::EntryPayload::Membership(membership.into_membership()?),
        };
        Ok(Entry::new(self.id.into(), payload))
    }
}

impl From<&SnapshotMeta> for MetaRecord {
    fn from(meta: &SnapshotMeta) -> Self {
        Self::new(meta.last_log_id.as_ref(), &meta.last_membership)
    }
}

impl MetaRecord {
    pub(crate) fn new(last: Option<&LogId>, membership: &StoredMembership) -> Self {
        Self {
            last: last.map(LogIdRecord::from),
            membership_at: membership.log_id().as_ref().map(LogIdRecord::from),
            membership: membership.membership().into(),
        }
    }

    pub(crate) fn membership(&self) -> io::Result<StoredMembership> {
        Ok(StoredMembership::new(self.membership_at.map(LogId::from), self.membership.clone().into_membership()?))
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.last.map(LogId::from)
    }

    pub(crate) fn to_meta(&self) -> io::Result<SnapshotMeta> {
        Ok(SnapshotMeta { last_log_id: self.last(), last_membership: self.membership()? })
    }
}

pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    codec::encode(Kind::Entry, &EntryRecord::from(entry))
}

pub(crate) fn decode_entry(bytes: &[u8]) -> io::Result<Entry> {
    codec::decode_stored::<EntryRecord>(Kind::Entry, bytes)?.into_entry()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::draw_test::one_of_each;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_reads_back_from_its_record(commands in one_of_each(), at_ms: u64, term: u64, index: u64) {
            for command in commands {
                let id = LogId::new_term_index(term, index);
                let entry = Entry::new(id, openraft::EntryPayload::Normal(Proposal { at_ms, command }));
                let read = decode_entry(&encode_entry(&entry)).unwrap();
                prop_assert_eq!(format!("{read:?}"), format!("{entry:?}"));
            }
        }
    }

    #[test]
    fn a_joint_membership_reads_back_from_its_record() {
        let members = BTreeMap::from([(1, Member { peer: "a".into() }), (2, Member { peer: "b".into() })]);
        let membership = Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], members).unwrap();
        let read = MembershipRecord::from(&membership).into_membership().unwrap();
        assert_eq!(read, membership);
    }
}
