//! The signed orders of which a worker without a mesh has begun work. Each is for one job: bundles of orders are signed by nodes, and
//! one that was taken over could send the same order again under other jobs.
//!
//! They are in a file, which is on disk before the work begins, until their orders have expired for a day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pentora_raft::Digest;
use serde::{Deserialize, Serialize};

use crate::airgap::manifest::Order;
use crate::durable_file::{self, Readers};
use crate::orders::Verified;

const FILE: &str = "orders-begun.json";
/// How long an order is remembered that has expired, for clocks that are set back.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// Orders that are remembered at most. Ours: those of years, at a few hundred bytes each.
const ORDERS_MAX: usize = 65_536;

/// For what an order was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Work {
    job: String,
    spec: String,
    expires_at_ms: u64,
}

/// The orders, by their ids.
#[derive(Debug)]
pub(super) struct Begun {
    path: PathBuf,
    orders: Mutex<BTreeMap<String, Work>>,
}

impl Begun {
    /// Those of a data directory.
    ///
    /// # Errors
    /// A sentence: what is there does not read. Without it an order could be carried out twice.
    pub(super) fn open(data_dir: &Path) -> Result<Self, String> {
        let path = data_dir.join(FILE);
        let failed = |why: String| format!("{}: {why}", path.display());
        let orders = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        Ok(Self { path, orders: Mutex::new(orders) })
    }

    /// Whether work of an order that somebody signed may be begun here for this job.
    ///
    /// # Errors
    /// A sentence: it was begun for another.
    pub(super) fn check(&self, order: &Order, signed: Option<&Verified>) -> Result<(), String> {
        let Some(id) = single(signed).map(|signed| &signed.order.id) else { return Ok(()) };
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.get(id).map_or(Ok(()), |begun| begun.is_of(order))
    }

    /// Notes that work is begun; on disk when this returns.
    ///
    /// # Errors
    /// A sentence: it was begun for another job, or cannot be noted.
    pub(super) fn note(&self, order: &Order, signed: Option<&Verified>, now_ms: u64) -> Result<(), String> {
        let Some(signed) = single(signed) else { return Ok(()) };
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begun) = orders.get(&signed.order.id) {
            return begun.is_of(order);
        }
        let mut next = orders.clone();
        next.retain(|_, begun| begun.expires_at_ms.saturating_add(KEPT_MS) > now_ms);
        if next.len() >= ORDERS_MAX {
            return Err(format!(
                "{} signed orders were begun that have not expired yet, as many as are kept",
                next.len()
            ));
        }
        next.insert(signed.order.id.clone(), Work::of(order, signed.order.expires_at_ms));
        let failed = |why: String| format!("that the order is begun cannot be noted: {}: {why}", self.path.display());
        let bytes = serde_json::to_vec(&next).map_err(|error| failed(error.to_string()))?;
        durable_file::write(&self.path, &bytes, Readers::Owner).map_err(|error| failed(error.to_string()))?;
        *orders = next;
        Ok(())
    }
}

/// What was signed for one job. A schedule's order is for as many as its times.
fn single(signed: Option<&Verified>) -> Option<&Verified> {
    signed.filter(|signed| signed.order.repeats.is_none())
}

impl Work {
    fn of(order: &Order, expires_at_ms: u64) -> Self {
        Self { job: order.job.to_string(), spec: digits(order.spec), expires_at_ms }
    }

    fn is_of(&self, order: &Order) -> Result<(), String> {
        if self.job != order.job.to_string() {
            return Err(format!(
                "its order was carried out for {} already, and a signed order is for one job",
                self.job
            ));
        }
        if self.spec != digits(order.spec) {
            return Err("its order was carried out already, for other work under the same job".to_owned());
        }
        Ok(())
    }
}

fn digits(spec: Digest) -> String {
    spec.to_string()
}

#[cfg(test)]
mod tests {
    use pentora_raft::JobId;
    use pentora_raft::command::Author;
    use pentora_raft::state::{JobLimits, Priority};

    use super::*;
    use crate::document::ScanRequest;
    use crate::orders::{self, Repeats};
    use crate::signing::PersonKey;

    const NOW: u64 = 1_800_000_000_000;

    fn order(job: u64, spec: &[u8]) -> Order {
        Order {
            job: JobId(job),
            title: String::new(),
            author: Author::default(),
            priority: Priority::Normal,
            partitions: Vec::new(),
            limits: JobLimits::default(),
            spec: Digest::of(spec),
            counted: Vec::new(),
        }
    }

    fn signed(repeats: Option<Repeats>) -> Verified {
        let request = ScanRequest { targets: vec!["10.0.0.0/24".into()], services: false, ..ScanRequest::default() };
        orders::verify(&orders::sign(&request, repeats, (NOW, 60_000), &PersonKey::generate()).unwrap()).unwrap()
    }

    #[test]
    fn an_order_is_carried_out_for_one_job_whatever_starts_again_between() {
        let folder = tempfile::tempdir().unwrap();
        let (first, once) = (order(5, b"spec"), signed(None));
        let begun = Begun::open(folder.path()).unwrap();
        begun.check(&first, Some(&once)).unwrap();
        begun.note(&first, Some(&once), NOW).unwrap();
        for begun in [begun, Begun::open(folder.path()).unwrap()] {
            begun.check(&first, Some(&once)).unwrap();
            begun.note(&first, Some(&once), NOW).unwrap();
            for (again, part) in [(order(6, b"spec"), "for job-000005 already"), (order(5, b"other"), "other work")] {
                let why = begun.check(&again, Some(&once)).unwrap_err();
                assert!(why.contains(part), "{why}");
                assert_eq!(begun.note(&again, Some(&once), NOW), Err(why));
            }
            begun.check(&order(6, b"spec"), Some(&signed(None))).unwrap();
            begun.check(&order(6, b"spec"), None).unwrap();
        }
    }

    #[test]
    fn a_schedules_order_is_for_each_of_its_times_and_what_expired_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let begun = Begun::open(folder.path()).unwrap();
        let nightly = signed(Some(Repeats { cron: "0 2 * * *".into(), timezone: "UTC".into() }));
        for job in 1..3 {
            begun.note(&order(job, b"spec"), Some(&nightly), NOW).unwrap();
        }
        let (old, new) = (signed(None), signed(None));
        begun.note(&order(5, b"spec"), Some(&old), NOW).unwrap();
        begun.note(&order(6, b"spec"), Some(&new), NOW + 60_000 + KEPT_MS).unwrap();
        let kept = Begun::open(folder.path()).unwrap();
        assert_eq!(kept.orders.lock().unwrap().keys().collect::<Vec<_>>(), [&new.order.id]);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Begun::open(folder.path()).unwrap_err().contains(FILE), "what does not read lets nothing through");
    }
}
