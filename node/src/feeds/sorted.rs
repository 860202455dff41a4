//! The rows of a feed in the order of their keys, in whatever order they come, and in a fraction of their memory.
//!
//! Records name products and rows are kept by product, so that they come in no order. Those of all CVE records are more
//! than an import may hold. So a run of them is sorted at a time and packed as a bundle, to a fifth or less, and
//! all runs are read together at the end, of each one block.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use pentora_scanner::vuln::store::Row;

use super::bundle::{BundleError, BundleWriter, Entries, Heading};

/// Rows that are sorted together, in bytes of memory. All CVE records are some twenty such runs; at their end each takes
/// a block.
const RUN_BYTES: usize = 16 << 20;

/// Why rows were not put in order.
#[derive(Debug, thiserror::Error)]
pub(super) enum SortError {
    /// A row, or their target, is refused.
    #[error(transparent)]
    Write(#[from] std::io::Error),
    /// A run does not read back.
    #[error(transparent)]
    Run(#[from] BundleError),
}

/// Rows on their way into order. Of two with one key, the later one counts.
#[derive(Debug)]
pub(super) struct SortedRows {
    run_bytes: usize,
    rows: Vec<Row>,
    rows_bytes: usize,
    runs: Vec<Vec<u8>>,
}

impl SortedRows {
    pub(super) fn new() -> Self {
        Self::in_runs_of(RUN_BYTES)
    }

    fn in_runs_of(run_bytes: usize) -> Self {
        Self { run_bytes, rows: Vec::new(), rows_bytes: 0, runs: Vec::new() }
    }

    /// Takes one more.
    ///
    /// # Errors
    /// `InvalidInput` for one that is too large for a bundle.
    pub(super) fn push(&mut self, row: Row) -> std::io::Result<()> {
        self.rows_bytes += size_of::<Row>() + row.key.capacity() + row.value.capacity();
        self.rows.push(row);
        if self.rows_bytes >= self.run_bytes { self.close_run() } else { Ok(()) }
    }

    /// Hands them to `each` by ascending key.
    ///
    /// # Errors
    /// [`SortError`], among them what `each` fails with.
    pub(super) fn for_each(
        mut self,
        mut each: impl FnMut(&[u8], &[u8]) -> std::io::Result<()>,
    ) -> Result<(), SortError> {
        self.close_run()?;
        let mut runs = BinaryHeap::new();
        for (number, packed) in (0..).zip(self.runs) {
            runs.extend(Run { number, entries: Entries::of(packed)?, key: Vec::new(), value: Vec::new() }.next()?);
        }
        let mut last: Option<Vec<u8>> = None;
        while let Some(mut first) = runs.peek_mut() {
            if last.as_ref() != Some(&first.key) {
                each(&first.key, &first.value)?;
                last.get_or_insert_default().clone_from(&first.key);
            }
            if !first.advance()? {
                PeekMut::pop(first);
            }
        }
        Ok(())
    }

    fn close_run(&mut self) -> std::io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        // Sorting keeps the order of equals; of those the last stays.
        let mut rows = std::mem::take(&mut self.rows);
        self.rows_bytes = 0;
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows.dedup_by(|later, earlier| {
            let is_same = later.key == earlier.key;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        let heading = Heading { kind: String::new(), source: String::new(), made_at_ms: 0, records: 0 };
        let mut writer = BundleWriter::new(Vec::new(), &heading)?;
        for row in rows {
            writer.entry(&row.key, &row.value)?;
        }
        let mut packed = writer.finish()?;
        packed.shrink_to_fit();
        self.runs.push(packed);
        Ok(())
    }
}

/// One run while all are read, at one of its entries.
#[derive(Debug)]
struct Run {
    number: usize,
    entries: Entries<Vec<u8>>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Run {
    /// The run at its next entry, if there is one.
    fn next(mut self) -> Result<Option<Self>, BundleError> {
        Ok(self.advance()?.then_some(self))
    }

    fn advance(&mut self) -> Result<bool, BundleError> {
        let Some((key, value)) = self.entries.next()? else { return Ok(false) };
        for (kept, read) in [(&mut self.key, key), (&mut self.value, value)] {
            kept.clear();
            kept.extend_from_slice(read);
        }
        Ok(true)
    }
}

/// The heap's greatest is the one with the lowest key, and among equals the one that came last.
impl Ord for Run {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Run {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn row(key: &[u8], value: &[u8]) -> Row {
        Row { key: key.to_vec(), value: value.to_vec() }
    }

    fn read(sorted: SortedRows) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        sorted
            .for_each(|key, value| {
                all.push((key.to_vec(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn what_is_held_of_many_rows_is_a_run_of_them_and_the_others_packed() {
        let mut sorted = SortedRows::in_runs_of(1 << 20);
        let value = b"a title, a score and its words, https://example.test/".repeat(6);
        for number in 0..40_000_u32 {
            sorted.push(row(&number.reverse_bits().to_be_bytes(), &value)).unwrap();
            assert!(sorted.rows_bytes < 1 << 20, "no more than a run is held as it is");
        }
        let packed: usize = sorted.runs.iter().map(Vec::capacity).sum();
        assert!(packed < 2 << 20, "{packed} of {} bytes", 40_000 * value.len());
        let all = read(sorted);
        assert!(all.len() == 40_000 && all.is_sorted(), "all come back, in their order");
    }

    #[test]
    fn a_row_that_no_bundle_takes_is_refused_and_what_the_target_says_is_told() {
        let mut sorted = SortedRows::in_runs_of(1);
        assert!(sorted.push(row(b"a", &vec![0; 5 << 20])).is_err());
        let mut sorted = SortedRows::new();
        sorted.push(row(b"a", b"1")).unwrap();
        let full = sorted.for_each(|_, _| Err(std::io::Error::other("full"))).unwrap_err();
        assert_eq!(full.to_string(), "full");
        assert_eq!(read(SortedRows::new()), []);
    }

    proptest! {
        #[test]
        fn rows_come_back_in_order_and_of_equals_the_last(
            rows in proptest::collection::vec((proptest::collection::vec(0..4_u8, 0..4), any::<u8>()), 0..200),
            run_bytes in 1..4_000_usize,
        ) {
            let mut sorted = SortedRows::in_runs_of(run_bytes);
            rows.iter().for_each(|(key, value)| sorted.push(row(key, &[*value])).unwrap());
            let wanted: BTreeMap<Vec<u8>, Vec<u8>> =
                rows.into_iter().map(|(key, value)| (key, vec![value])).collect();
            prop_assert_eq!(read(sorted), wanted.into_iter().collect::<Vec<_>>());
        }
    }
}
