//! A replicated table: an ordered map that remembers which rows changed since they were last written to disk.
//!
//! The store writes exactly the changed rows of an applied batch in one atomic write, so the cost of an entry is its
//! own rows, not the state's size. Changes are bookkeeping: two tables with the same rows are equal. `tables!` makes the
//! state from the one list of its tables.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{Key, Owner};
use crate::codec::{self, Kind};
use crate::id::JobId;

/// What may stand in a table.
pub trait Cell: Serialize + DeserializeOwned + Clone {}

impl<T: Serialize + DeserializeOwned + Clone> Cell for T {}

/// A row that changed, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RowChange {
    /// The table's number and the encoded key.
    pub key: Vec<u8>,
    /// The encoded row; `None` where it was removed.
    pub value: Option<Vec<u8>>,
}

/// An ordered map with a change list.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    number: u8,
    rows: BTreeMap<K, V>,
    changed: BTreeSet<K>,
    /// Counts the changes, so that whoever looked before need not compare rows; no part of what the table is.
    revision: u64,
}

impl<K: PartialEq, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl<K: Key, V: Cell> Table<K, V> {
    /// An empty table whose stored keys begin with `number`, which is never given to another table.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self { number, rows: BTreeMap::new(), changed: BTreeSet::new(), revision: 0 }
    }

    /// The row of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// The row of `key`, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key)?;
        self.changed.insert(key.clone());
        self.revision += 1;
        Some(row)
    }

    /// Puts a row in, over one with the same key.
    pub fn insert(&mut self, key: K, value: V) {
        self.changed.insert(key.clone());
        self.revision += 1;
        self.rows.insert(key, value);
    }

    /// Takes a row out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.changed.insert(key.clone());
        self.revision += 1;
        Some(row)
    }

    /// Takes every row of `job` out.
    pub(super) fn remove_of(&mut self, job: JobId) {
        let keys: Vec<K> = self.of_job(job).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.remove(key);
        }
    }

    /// The rows in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The rows whose keys are in `range`.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range)
    }

    /// The rows of `job`.
    pub fn of_job(&self, job: JobId) -> impl Iterator<Item = (&K, &V)> {
        K::of_job(job).into_iter().flat_map(move |keys| self.rows.range(keys))
    }

    /// The owners of the rows that are a job's.
    pub(super) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.rows.keys().filter_map(Key::owner)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Grows with each change.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes the place of `before`, which counts as a change.
    pub(super) fn take_place_of(&mut self, before: &Self) {
        self.revision = self.revision.saturating_add(before.revision).saturating_add(1);
    }

    /// Moves the changed rows, encoded, to `out`.
    pub(super) fn drain_changes(&mut self, out: &mut Vec<RowChange>) {
        for key in std::mem::take(&mut self.changed) {
            let value = self.rows.get(&key).map(|value| codec::encode(Kind::Row, value));
            out.push(RowChange { key: self.stored_key(&key), value });
        }
    }

    /// Calls `row` with every row, encoded.
    pub(super) fn for_each_stored(&self, row: &mut impl FnMut(Vec<u8>, Vec<u8>)) {
        for (key, value) in &self.rows {
            row(self.stored_key(key), codec::encode(Kind::Row, value));
        }
    }

    /// Calls `row` with every row of `job`, encoded.
    pub(super) fn for_each_stored_of(&self, job: JobId, row: &mut impl FnMut(Vec<u8>, Vec<u8>)) {
        for (key, value) in self.of_job(job) {
            row(self.stored_key(key), codec::encode(Kind::Row, value));
        }
    }

    /// Puts a stored row in without marking it as changed. `key` is without the table's number.
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        self.rows.insert(codec::decode_stored(Kind::Row, key)?, codec::decode_stored(Kind::Row, value)?);
        self.revision += 1;
        Ok(())
    }

    /// One row, encoded as the store keeps it.
    pub(crate) fn stored(&self, key: &K) -> Option<(Vec<u8>, Vec<u8>)> {
        let value = self.rows.get(key)?;
        Some((self.stored_key(key), codec::encode(Kind::Row, value)))
    }

    /// Takes a stored row out without marking it as changed. `key` is without the table's number.
    pub(super) fn unload(&mut self, key: &[u8]) -> std::io::Result<()> {
        self.rows.remove(&codec::decode_stored(Kind::Row, key)?);
        self.revision += 1;
        Ok(())
    }

    pub(super) fn stored_key(&self, key: &K) -> Vec<u8> {
        let mut stored = vec![self.number];
        stored.extend(codec::encode(Kind::Row, key));
        stored
    }
}

/// Makes the state from the list of its tables: each with the number that its stored keys begin with, its name, and what
/// its keys and rows are. A number is never given to another table.
macro_rules! tables {
    (
        $(#[$attribute:meta])*
        $state:ident:
        $($(#[doc = $about:literal])* $(#[cfg($only:meta)])? $number:literal $table:ident: $key:ty => $row:ty;)+
    ) => {
        $(#[$attribute])*
        pub struct $state {
            $($(#[doc = $about])* $(#[cfg($only)])? pub(crate) $table: Table<$key, $row>,)+
        }

        impl Default for $state {
            fn default() -> Self {
                Self { $($(#[cfg($only)])? $table: Table::new($number),)+ }
            }
        }

        impl $state {
            /// The numbers of the tables.
            #[cfg(test)]
            pub(crate) const TABLES: &[u8] = &[$($(#[cfg($only)])? $number),+];

            /// Moves the rows that changed since the last call out, encoded for the store.
            #[must_use]
            pub fn drain_changes(&mut self) -> Vec<RowChange> {
                let mut changes = Vec::new();
                $($(#[cfg($only)])? self.$table.drain_changes(&mut changes);)+
                changes
            }

            /// Calls `row` with every row, encoded as the store keeps it.
            pub fn for_each_row(&self, mut row: impl FnMut(Vec<u8>, Vec<u8>)) {
                $($(#[cfg($only)])? self.$table.for_each_stored(&mut row);)+
            }

            /// Grows with each change of the tables with these numbers.
            pub(crate) fn revision_of(&self, numbers: &[u8]) -> u64 {
                let mut revision = 0u64;
                $($(#[cfg($only)])? if numbers.contains(&$number) {
                    revision = revision.saturating_add(self.$table.revision());
                })+
                revision
            }

            /// Takes the place of `before`: whoever looked at that sees every table as changed.
            pub(crate) fn take_place_of(&mut self, before: &Self) {
                $($(#[cfg($only)])? self.$table.take_place_of(&before.$table);)+
            }

            /// Calls `row` with every row of the tables with these numbers, encoded as the store keeps it.
            pub(crate) fn for_each_row_of(&self, numbers: &[u8], mut row: impl FnMut(Vec<u8>, Vec<u8>)) {
                $($(#[cfg($only)])? if numbers.contains(&$number) {
                    self.$table.for_each_stored(&mut row);
                })+
            }

            /// Calls `row` with every row of `job` in the tables with these numbers, encoded as the store keeps it.
            pub(crate) fn for_each_row_of_job(
                &self,
                numbers: &[u8],
                job: JobId,
                mut row: impl FnMut(Vec<u8>, Vec<u8>),
            ) {
                $($(#[cfg($only)])? if numbers.contains(&$number) {
                    self.$table.for_each_stored_of(job, &mut row);
                })+
            }

            /// Puts one stored row back.
            ///
            /// # Errors
            /// `InvalidData` where the row belongs to no table of this release or does not decode.
            pub fn load_row(&mut self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
                let invalid = |what| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
                let (&number, key) = key.split_first().ok_or_else(|| invalid("a row without a table".to_owned()))?;
                match number {
                    $($(#[cfg($only)])? $number => self.$table.load(key, value),)+
                    other => Err(invalid(format!("table {other} is unknown to this release"))),
                }
            }

            /// Takes one stored row out, by its key.
            ///
            /// # Errors
            /// As [`Self::load_row`].
            pub fn unload_row(&mut self, key: &[u8]) -> std::io::Result<()> {
                let invalid = |what| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
                let (&number, key) = key.split_first().ok_or_else(|| invalid("a row without a table".to_owned()))?;
                match number {
                    $($(#[cfg($only)])? $number => self.$table.unload(key),)+
                    other => Err(invalid(format!("table {other} is unknown to this release"))),
                }
            }

            /// Calls `owned` with the table and the owner of every row that is a job's.
            pub(crate) fn for_each_owner(&self, mut owned: impl FnMut(&'static str, Owner)) {
                $($(#[cfg($only)])? self.$table.owners().for_each(|owner| owned(stringify!($table), owner));)+
            }

            /// Takes every row of `job` out of every table.
            fn forget_job(&mut self, job: JobId) {
                $($(#[cfg($only)])? self.$table.remove_of(job);)+
            }
        }
    };
}

pub(super) use tables;
