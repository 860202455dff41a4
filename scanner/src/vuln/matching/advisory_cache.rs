//! What has been looked up, kept between services: a job has many services of few products.

use std::collections::HashMap;
use std::sync::Arc;

use super::known::{Group, Known};
use crate::vuln::store::{AdvisoryStore, StoreError};

/// How many advisories are kept decoded; all of a usual job's products fit.
const ADVISORIES_MAX: usize = 100_000;
/// How many advisories the groups may count together: two sets of keys may share many, at 40 bytes each.
const GROUPED_MAX: usize = 2 * ADVISORIES_MAX;

/// Advisories by key, and groups of them by the keys of a subject.
#[derive(Debug)]
pub(super) struct AdvisoryCache<S> {
    store: S,
    advisories: HashMap<String, Arc<[Arc<Known>]>>,
    advisory_count: usize,
    groups: HashMap<Vec<String>, Arc<Group>>,
    grouped_count: usize,
}

impl<S: AdvisoryStore> AdvisoryCache<S> {
    pub(super) fn new(store: S) -> Self {
        Self { store, advisories: HashMap::new(), advisory_count: 0, groups: HashMap::new(), grouped_count: 0 }
    }

    /// All advisories of `keys`, in the order of the keys.
    pub(super) fn group(&mut self, keys: &[String]) -> Result<Arc<Group>, StoreError> {
        if let Some(group) = self.groups.get(keys) {
            return Ok(Arc::clone(group));
        }
        let mut advisories = Vec::new();
        for key in keys {
            advisories.extend(self.advisories_of(key)?.iter().map(Arc::clone));
        }
        let group = Arc::new(Group::new(advisories));
        if self.grouped_count + group.len() > GROUPED_MAX || self.groups.len() >= ADVISORIES_MAX {
            self.groups.clear();
            self.grouped_count = 0;
        }
        self.grouped_count += group.len();
        self.groups.insert(keys.to_vec(), Arc::clone(&group));
        Ok(group)
    }

    fn advisories_of(&mut self, key: &str) -> Result<Arc<[Arc<Known>]>, StoreError> {
        if let Some(found) = self.advisories.get(key) {
            return Ok(Arc::clone(found));
        }
        let found = self.store.by_product(key)?;
        let found: Arc<[Arc<Known>]> = found.into_iter().map(|advisory| Arc::new(Known::new(advisory, key))).collect();
        if self.advisory_count + found.len() > ADVISORIES_MAX || self.advisories.len() >= ADVISORIES_MAX {
            self.advisories.clear();
            self.advisory_count = 0;
            // They would keep what is to be freed.
            self.groups.clear();
            self.grouped_count = 0;
        }
        self.advisory_count += found.len();
        self.advisories.insert(key.to_owned(), Arc::clone(&found));
        Ok(found)
    }
}
