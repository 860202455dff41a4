//! What stands in a journal: one record behind the other, some of which may be damaged.

use bytes::Bytes;
use pentora_raft::Digest;

use super::journal::SMALL_BYTES_MAX;
use super::small::TOGETHER_MAX;

/// A record's length and its chunk's name.
const HEAD: usize = 4 + 32;
/// So many bytes are held against a name at most while the next whole record is looked for: ten times the longest journal. What was
/// scanned may have been made to look like many heads.
const HELD_AGAINST_MAX: usize = 320 << 20;
/// The most bytes that are written at once, and so that a crash leaves torn at the end.
pub(super) const TORN_BYTES_MAX: usize = TOGETHER_MAX * (HEAD + SMALL_BYTES_MAX);

/// The whole records of a journal, in order. One that is damaged is passed over: by its length where that leads to a whole one, or to
/// the end, and otherwise to the next place at which one begins. What is behind the last one came to nothing, as far as it was looked through.
#[derive(Debug)]
pub(super) struct Records {
    bytes: Bytes,
    /// The bytes between whole records.
    pub(super) passed_over: usize,
    /// The bytes behind the last whole one, once there are no more.
    pub(super) left_over: usize,
    /// Whether those were not looked through to their end: there may be whole ones among them.
    pub(super) has_given_up: bool,
    left_to_hold: usize,
}

impl Records {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, passed_over: 0, left_over: 0, has_given_up: false, left_to_hold: HELD_AGAINST_MAX }
    }

    /// How many bytes the record takes that begins so far on, by its own word, where all of them are there.
    fn length(&self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
        // An empty one is never written: zeros, in which a crash leaves what was not written yet, are no heads.
        ((1..=SMALL_BYTES_MAX).contains(&length) && rest.len() >= HEAD + length).then_some(HEAD + length)
    }

    /// The record there, if it is whole, and its length.
    fn whole(&self, at: usize) -> Option<((Digest, Bytes), usize)> {
        let length = self.length(at)?;
        let name = Digest(*self.bytes.get(at + 4..)?.first_chunk()?);
        let bytes = self.bytes.slice(at + HEAD..at + length);
        (Digest::of(&bytes) == name).then_some(((name, bytes), length))
    }

    /// The next whole record behind one that is not, with where it begins.
    fn behind_damage(&mut self) -> Option<((Digest, Bytes), usize, usize)> {
        if let Some(by_length) = self.length(0)
            && let Some((record, length)) = self.whole(by_length)
        {
            return Some((record, by_length, length));
        }
        for at in 1..self.bytes.len() {
            let Some(length) = self.length(at) else { continue };
            let Some(left) = self.left_to_hold.checked_sub(length) else {
                self.has_given_up = true;
                return None;
            };
            self.left_to_hold = left;
            if let Some((record, length)) = self.whole(at) {
                return Some((record, at, length));
            }
        }
        None
    }
}

impl Iterator for Records {
    type Item = (Digest, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.whole(0).map(|(record, length)| (record, 0, length)).or_else(|| self.behind_damage());
        let Some((record, at, length)) = found else {
            self.left_over += std::mem::take(&mut self.bytes).len();
            return None;
        };
        self.passed_over += at;
        drop(self.bytes.split_to(at + length));
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        [&length[..], &Digest::of(text.as_bytes()).0, text.as_bytes()].concat()
    }

    /// What is read of a journal of `five` with something in its place, and how many bytes are passed over.
    fn read(change: impl FnOnce(&mut Vec<u8>)) -> (Vec<String>, usize) {
        let mut journal: Vec<u8> = ["one", "two", "three", "four", "five"].into_iter().flat_map(record).collect();
        change(&mut journal);
        let mut records = Records::new(journal.into());
        let texts = records.by_ref().map(|(_, bytes)| String::from_utf8(bytes.to_vec()).unwrap()).collect();
        (texts, records.passed_over)
    }

    #[test]
    fn a_damaged_record_takes_nothing_along_that_stands_behind_it() {
        let (second, long) = (HEAD + 3, HEAD + 3);
        let rest = ["one", "three", "four", "five"].map(str::to_owned).to_vec();
        assert_eq!(read(|_| {}).0.len(), 5);
        assert_eq!(read(|all| all[second + HEAD] ^= 1), (rest.clone(), long), "its bytes");
        assert_eq!(read(|all| all[second + 4] ^= 1), (rest.clone(), long), "its name");
        assert_eq!(read(|all| all[second] ^= 1), (rest.clone(), long), "its length");
        assert_eq!(read(|all| all[second + 3] = 255), (rest.clone(), long), "a length of more than there is");
        assert_eq!(read(|all| drop(all.drain(second + 5..second + 9))), (rest, long - 4), "some of it is gone");
        let (texts, passed_over) = read(|all| all[second..3 * HEAD].fill(0));
        assert_eq!(texts, ["one", "four", "five"]);
        assert_eq!(passed_over, 2 * HEAD + 8);
    }

    #[test]
    fn what_is_not_whole_at_the_end_came_to_nothing() {
        let four = ["one", "two", "three", "four"].map(str::to_owned).to_vec();
        assert_eq!(read(|all| all.truncate(all.len() - 1)), (four.clone(), 0));
        assert_eq!(read(|all| *all.last_mut().unwrap() = 0), (four, 0), "its place is there and it is not");
        assert_eq!(Records::new(Bytes::new()).count(), 0);
    }

    /// How many whole records are found, how many bytes are left over, and whether it was given up.
    fn left(bytes: Vec<u8>) -> (usize, usize, bool) {
        let mut records = Records::new(bytes.into());
        let found = records.by_ref().count();
        assert!(records.next().is_none(), "it stays at its end");
        (found, records.left_over, records.has_given_up)
    }

    #[test]
    fn what_is_left_over_is_counted_and_told_apart_from_what_was_not_looked_through() {
        let half = |text: &str| record(text)[..HEAD].to_vec();
        assert_eq!(left(record("one")), (1, 0, false));
        assert_eq!(left([record("one"), half("two")].concat()), (1, HEAD, false), "a torn end");
        assert_eq!(left(vec![0; 8 << 20]), (0, 8 << 20, false));
        // Every place looks like the head of a long one.
        let heads = [0, 0, 1, 0].repeat(2 << 20);
        assert_eq!(left(heads.clone()), (0, 8 << 20, true));
        let behind = record("two");
        assert_eq!(left([record("one"), heads, behind.clone()].concat()), (1, (8 << 20) + behind.len(), true));
    }
}
