//! A replicated table: an ordered map that remembers which rows changed since they were last written to disk.
//!
//! The store writes exactly the changed rows of an applied batch in one atomic write, so the cost of an entry is its
//! own rows, not the state's size. Changes are bookkeeping: two tables with the same rows are equal.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Kind};

/// What may stand in a table.
pub trait Cell: Serialize + DeserializeOwned + Clone {}

impl<T: Serialize + DeserializeOwned + Clone> Cell for T {}

/// One changed row: its key, and its value or `None` where it was removed.
pub type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// An ordered map with a change list.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    number: u8,
    rows: BTreeMap<K, V>,
    changed: BTreeSet<K>,
}

impl<K: PartialEq, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl<K: Cell + Ord, V: Cell> Table<K, V> {
    /// An empty table whose stored keys begin with `number`, which is never given to another table.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self { number, rows: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// The row of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// The row of `key`, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(row)
    }

    /// Puts a row in, over one with the same key.
    pub fn insert(&mut self, key: K, value: V) {
        self.changed.insert(key.clone());
        self.rows.insert(key, value);
    }

    /// Takes a row out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.changed.insert(key.clone());
        Some(row)
    }

    /// The rows in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The rows whose keys are in `range`.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range)
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

    /// Moves the changed rows, encoded, to `out`.
    pub(super) fn drain_changes(&mut self, out: &mut Vec<RowChange>) {
        for key in std::mem::take(&mut self.changed) {
            let value = self.rows.get(&key).map(|value| codec::encode(Kind::Row, value));
            out.push((self.stored_key(&key), value));
        }
    }

    /// Calls `row` with every row, encoded.
    pub(super) fn for_each_stored(&self, row: &mut impl FnMut(Vec<u8>, Vec<u8>)) {
        for (key, value) in &self.rows {
            row(self.stored_key(key), codec::encode(Kind::Row, value));
        }
    }

    /// Puts a stored row in without marking it as changed. `key` is without the table's number.
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        self.rows.insert(codec::decode_stored(Kind::Row, key)?, codec::decode_stored(Kind::Row, value)?);
        Ok(())
    }

    fn stored_key(&self, key: &K) -> Vec<u8> {
        let mut stored = vec![self.number];
        stored.extend(codec::encode(Kind::Row, key));
        stored
    }
}
