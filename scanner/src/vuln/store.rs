//! Advisories at rest: rows of a key-value store, read by product.
//!
//! The rows are the format; where they are kept is somebody else's choice. Whoever keeps them implements
//! [`RowSource`] and is an [`AdvisoryStore`] by that. [`MemoryStore`] keeps them in memory. A feed is replaced as a
//! whole: all its rows begin with its own byte, and nothing else does.
//!
//! | key | value |
//! |---|---|
//! | feed's byte, `p`, product key, 0, advisory id | version byte, [`Advisory`] narrowed to the product, postcard |
//! | feed's byte, `i`, CVE id | version byte, [`Kev`] or [`Epss`], postcard |

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::advisory::{Advisory, Affected, Epss, Kev, is_cve_id};
use super::feed::FeedKind;

/// Version of the rows, the first byte of each value.
pub const ROW_VERSION: u8 = 1;
/// Most advisories that are read of one product. The Linux kernel has about 10,000.
pub const ADVISORIES_MAX: usize = 50_000;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What went wrong while rows were read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The place where they are kept does not answer.
    #[error("reading the store of advisories: {0}")]
    Read(String),
    /// A row was written by something else or a later version.
    #[error("row of {id} is not one of version {ROW_VERSION}: import its feed again")]
    Row {
        /// The advisory, as far as its key tells.
        id: String,
    },
}

/// Advisories by product.
pub trait AdvisoryStore {
    /// What is said of the product behind `key`, with what is known of its exploitation.
    ///
    /// # Errors
    /// Where rows cannot be read or are not this version's.
    fn by_product(&self, key: &str) -> Result<Vec<Advisory>, StoreError>;
}

/// A place where rows are kept, in the order of their keys.
pub trait RowSource {
    /// The rows whose keys begin with `prefix`, in their order, at most `rows_max`.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn rows(&self, prefix: &[u8], rows_max: usize) -> Result<Vec<Row>, StoreError>;

    /// The value of one row.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

impl<S: RowSource> AdvisoryStore for S {
    fn by_product(&self, key: &str) -> Result<Vec<Advisory>, StoreError> {
        let mut advisories = Vec::new();
        for feed in FeedKind::OF_ADVISORIES {
            for row in self.rows(&product_prefix(feed, key), ADVISORIES_MAX)? {
                let mut advisory: Advisory = decode(&row)?;
                for name in
                    advisory.names().into_iter().filter(|name| is_cve_id(name)).map(str::to_owned).collect::<Vec<_>>()
                {
                    advisory.kev = advisory.kev.or(find::<Kev>(self, FeedKind::Kev, &name)?);
                    advisory.epss = advisory.epss.or(find::<Epss>(self, FeedKind::Epss, &name)?);
                }
                advisories.push(advisory);
            }
        }
        Ok(advisories)
    }
}

fn find<T: DeserializeOwned>(
    source: &(impl RowSource + ?Sized),
    feed: FeedKind,
    cve: &str,
) -> Result<Option<T>, StoreError> {
    let key = cve_key(feed, cve);
    source.value(&key)?.map(|value| decode(&Row { key, value })).transpose()
}

/// The rows of one advisory: one for each product that it speaks of, in the order of their keys. They are made one by
/// one, because each repeats what the advisory says of all.
pub fn rows_of(feed: FeedKind, advisory: &Advisory) -> impl Iterator<Item = Row> {
    let mut products: BTreeMap<&str, Vec<&Affected>> = BTreeMap::new();
    for affected in &advisory.affected {
        products.entry(&affected.key).or_default().push(affected);
    }
    let is_one = products.len() == 1;
    products.into_iter().map(move |(key, affected)| {
        let mut bytes = product_prefix(feed, key);
        bytes.extend_from_slice(advisory.id.as_bytes());
        let value = if is_one { encode(advisory) } else { encode(&advisory.narrowed_to(&affected)) };
        Row { key: bytes, value }
    })
}

/// The row that says something of a CVE id.
#[must_use]
pub(super) fn row_of_cve(feed: FeedKind, cve: &str, what: &impl Serialize) -> Row {
    Row { key: cve_key(feed, cve), value: encode(what) }
}

fn product_prefix(feed: FeedKind, product: &str) -> Vec<u8> {
    let mut key = vec![feed.byte(), b'p'];
    key.extend_from_slice(product.as_bytes());
    key.push(0);
    key
}

fn cve_key(feed: FeedKind, cve: &str) -> Vec<u8> {
    let mut key = vec![feed.byte(), b'i'];
    key.extend_from_slice(cve.as_bytes());
    key
}

fn encode(what: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(what, vec![ROW_VERSION]).expect("these types hold nothing that postcard refuses")
}

fn decode<T: DeserializeOwned>(row: &Row) -> Result<T, StoreError> {
    let body = row.value.split_first().filter(|(version, _)| **version == ROW_VERSION);
    body.and_then(|(_, bytes)| postcard::from_bytes(bytes).ok()).ok_or_else(|| {
        let id = row.key.rsplit(|byte| *byte == 0).next().unwrap_or_default();
        StoreError::Row { id: String::from_utf8_lossy(id).into_owned() }
    })
}

/// Key and value, without room to grow.
type Pair = (Box<[u8]>, Box<[u8]>);

/// Rows in memory, feed by feed.
#[derive(Debug, Default)]
pub struct MemoryStore {
    feeds: BTreeMap<u8, Vec<Pair>>,
}

impl MemoryStore {
    /// Replaces what is known from one feed by `rows`, which come from one whole import of it.
    pub fn install(&mut self, feed: FeedKind, rows: Vec<Row>) {
        let mut rows: Vec<_> =
            rows.into_iter().map(|row| (row.key.into_boxed_slice(), row.value.into_boxed_slice())).collect();
        // A feed that has a record twice means the later one.
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows.reverse();
        rows.dedup_by(|later, earlier| later.0 == earlier.0);
        rows.reverse();
        rows.shrink_to_fit();
        self.feeds.insert(feed.byte(), rows);
    }

    /// How many rows it holds.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.feeds.values().map(Vec::len).sum()
    }

    fn from(&self, key: &[u8]) -> &[Pair] {
        let rows = key.first().and_then(|feed| self.feeds.get(feed)).map_or(&[][..], Vec::as_slice);
        rows.get(rows.partition_point(|row| *row.0 < *key)..).unwrap_or_default()
    }
}

impl RowSource for MemoryStore {
    fn rows(&self, prefix: &[u8], rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.from(prefix).iter().take_while(|row| row.0.starts_with(prefix)).take(rows_max);
        Ok(rows.map(|(key, value)| Row { key: key.to_vec(), value: value.to_vec() }).collect())
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.from(key).first().filter(|row| *row.0 == *key).map(|row| row.1.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vuln::advisory::Source;
    use crate::vuln::version::{Range, Scheme};

    fn advisory(id: &str, keys: &[&str]) -> Advisory {
        let affected = |key: &&str| Affected {
            key: (*key).to_owned(),
            affected: vec![Range::all(Scheme::Dotted).before("2.0")],
            ..Affected::default()
        };
        Advisory {
            id: id.to_owned(),
            aliases: Vec::new(),
            source: Source::Cve,
            provider: "test".to_owned(),
            published: None,
            title: None,
            severity: None,
            cvss: None,
            references: Vec::new(),
            affected: keys.iter().map(affected).collect(),
            kev: None,
            epss: None,
        }
    }

    fn rows(advisories: &[Advisory]) -> Vec<Row> {
        advisories.iter().flat_map(|advisory| rows_of(FeedKind::Cve, advisory)).collect()
    }

    #[test]
    fn a_product_finds_its_advisories_and_no_neighbours() {
        let mut store = MemoryStore::default();
        store.install(
            FeedKind::Cve,
            rows(&[advisory("CVE-1999-900001", &["v:p", "v:pq"]), advisory("CVE-1999-900002", &["v:pq"])]),
        );
        let found = store.by_product("v:p").unwrap();
        assert_eq!(found, [advisory("CVE-1999-900001", &["v:p"])]);
        assert_eq!(store.by_product("v:pq").unwrap().len(), 2);
        assert!(store.by_product("v:").unwrap().is_empty() && store.by_product("w:p").unwrap().is_empty());
    }

    #[test]
    fn a_feed_is_replaced_as_a_whole_and_its_later_record_counts() {
        let mut store = MemoryStore::default();
        store.install(FeedKind::Cve, rows(&[advisory("CVE-1999-900001", &["v:p"])]));
        let mut later = advisory("CVE-1999-900003", &["v:p"]);
        later.title = Some("later".to_owned());
        store.install(FeedKind::Cve, rows(&[advisory("CVE-1999-900003", &["v:p"]), later.clone()]));
        assert_eq!(store.by_product("v:p").unwrap(), [later]);
    }

    #[test]
    fn what_is_known_of_exploitation_is_joined_when_an_advisory_is_looked_up() {
        let mut store = MemoryStore::default();
        store.install(FeedKind::Cve, rows(&[advisory("CVE-1999-900001", &["v:p"])]));
        let kev = Kev { added: "2024-01-02".to_owned(), due: None, is_ransomware: true };
        store.install(FeedKind::Kev, vec![row_of_cve(FeedKind::Kev, "CVE-1999-900001", &kev)]);
        assert_eq!(store.by_product("v:p").unwrap()[0].kev, Some(kev));
    }

    #[test]
    fn a_row_of_another_version_is_an_error_that_names_it() {
        let mut store = MemoryStore::default();
        let mut rows = rows(&[advisory("CVE-1999-900001", &["v:p"])]);
        rows[0].value[0] = 9;
        store.install(FeedKind::Cve, rows);
        assert!(store.by_product("v:p").unwrap_err().to_string().contains("CVE-1999-900001"));
    }
}
