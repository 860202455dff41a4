//! The last entries of a log in memory, as the disk has them.

use std::collections::VecDeque;
use std::ops::Range;

use crate::raft_types::Entry;

/// How many bytes of entries are kept, as the disk has them. Ours: several times what is under way to followers.
const BYTES_MAX: usize = 1 << 20;

/// Entries without a gap, of which the last is the log's.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Tail {
    /// Puts entries with their sizes behind the last one.
    pub(super) fn append(&mut self, entries: impl Iterator<Item = (Entry, usize)>) {
        for (entry, size) in entries {
            let follows = |(last, _): &(Entry, usize)| last.log_id.index.checked_add(1) == Some(entry.log_id.index);
            if !self.entries.back().is_none_or(follows) {
                *self = Self::default();
            }
            self.bytes += size;
            self.entries.push_back((entry, size));
        }
        while self.bytes > BYTES_MAX {
            self.forget_first();
        }
    }

    /// Entries of a range in order; where they would pass `bytes_max` the rest is left out, but never the first. `None` where its
    /// beginning is not here.
    pub(super) fn read(&self, range: &Range<u64>, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.log_id.index;
        let skipped = usize::try_from(range.start.checked_sub(first)?).ok().filter(|at| *at < self.entries.len())?;
        let mut bytes_left = bytes_max;
        let mut read = Vec::new();
        for (entry, size) in self.entries.range(skipped..) {
            if entry.log_id.index >= range.end || (!read.is_empty() && *size > bytes_left) {
                break;
            }
            bytes_left = bytes_left.saturating_sub(*size);
            read.push(entry.clone());
        }
        Some(read)
    }

    /// Forgets the entries up to an index.
    pub(super) fn forget_until(&mut self, index: u64) {
        while self.entries.front().is_some_and(|(entry, _)| entry.log_id.index <= index) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, size)) = self.entries.pop_front() {
            self.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::entry::RaftEntry;

    use crate::raft_types::LogId;

    fn entries(indexes: Range<u64>, size: usize) -> impl Iterator<Item = (Entry, usize)> {
        let entry = |index| Entry::new(LogId::new_term_index(1, index), openraft::EntryPayload::Blank);
        indexes.map(move |index| (entry(index), size))
    }

    fn read(tail: &Tail, range: Range<u64>, bytes_max: usize) -> Option<Vec<u64>> {
        tail.read(&range, bytes_max).map(|entries| entries.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn what_is_here_is_read_as_from_the_disk_and_of_what_is_not_the_disk_is_asked() {
        let mut tail = Tail::default();
        assert_eq!(read(&tail, 0..5, 9), None);
        tail.append(entries(5..10, 3));
        assert_eq!(read(&tail, 4..10, 99), None, "the first of them is not here");
        assert_eq!(read(&tail, 5..8, 99), Some(vec![5, 6, 7]));
        assert_eq!(read(&tail, 8..20, 99), Some(vec![8, 9]));
        assert_eq!(read(&tail, 10..20, 99), None);
        assert_eq!(read(&tail, 5..10, 7), Some(vec![5, 6]));
        assert_eq!(read(&tail, 5..10, 1), Some(vec![5]), "one that is too large goes alone");
        tail.forget_until(7);
        assert_eq!((read(&tail, 7..9, 99), read(&tail, 8..9, 99)), (None, Some(vec![8])));
        tail.append(entries(20..22, 3));
        assert_eq!((read(&tail, 9..22, 99), read(&tail, 20..22, 99)), (None, Some(vec![20, 21])), "no gap within");
    }

    #[test]
    fn it_is_bounded() {
        let mut tail = Tail::default();
        tail.append(entries(0..100, BYTES_MAX / 10));
        assert!(tail.bytes <= BYTES_MAX && tail.entries.len() == 10);
        tail.append(entries(100..101, BYTES_MAX * 2));
        assert_eq!(
            (tail.bytes, read(&tail, 100..101, 9)),
            (0, None),
            "one that is larger than all is read from the disk"
        );
    }
}
