//! The signed orders of which a worker without a mesh has begun work. Each is for one job, or a schedule's for as many as there were of its
//! times: bundles of orders are signed by nodes, and one that was taken over could send the same order again under other jobs.
//!
//! They are in a file, which is on disk before the work begins, until their orders have expired for a day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::airgap::manifest::Order;
use crate::clock::rfc3339;
use crate::durable_file::{self, Readers};
use crate::orders::{self, Verified};
use crate::schedules::Times;

const FILE: &str = "orders-begun.json";
/// How long an order is remembered that has expired, for clocks that are set back.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// Orders that are remembered at most. Ours: those of years, at a few hundred bytes each.
const ORDERS_MAX: usize = 65_536;

/// Jobs of a schedule's order that are remembered, the last ones. One from before counts as another if it comes again.
const RUNS_MAX: usize = 1024;
/// How far this worker's clock may be behind that of the cluster whose schedule it is.
const BEHIND_MS_MAX: u64 = 10 * 60 * 1000;

/// For what an order was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Work {
    /// The last job.
    #[serde(flatten)]
    run: Run,
    expires_at_ms: u64,
    /// Of a schedule's order, the jobs before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<Run>,
    /// Of a schedule's order, the time that the last job was for: each is for the next one.
    #[serde(default)]
    time_ms: u64,
}

/// A job, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    job: String,
    spec: String,
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
    /// A sentence: it was begun for another, or for as many as it is for.
    pub(super) fn check(&self, order: &Order, signed: Option<&Verified>, now_ms: u64) -> Result<(), String> {
        let Some(signed) = signed else { return Ok(()) };
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        is_for(orders.get(&signed.order.id), order, &signed.order, now_ms).map(drop)
    }

    /// Notes that work is begun; on disk when this returns.
    ///
    /// # Errors
    /// As [`Self::check`], or it cannot be noted.
    pub(super) fn note(&self, order: &Order, signed: Option<&Verified>, now_ms: u64) -> Result<(), String> {
        let Some(signed) = signed else { return Ok(()) };
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = is_for(orders.get(&signed.order.id), order, &signed.order, now_ms)? else { return Ok(()) };
        let mut next = orders.clone();
        next.retain(|_, begun| begun.expires_at_ms.saturating_add(KEPT_MS) > now_ms);
        if next.len() >= ORDERS_MAX {
            return Err(format!(
                "{} signed orders were begun that have not expired yet, as many as are kept",
                next.len()
            ));
        }
        next.insert(signed.order.id.clone(), work);
        let failed = |why: String| format!("that the order is begun cannot be noted: {}: {why}", self.path.display());
        let bytes = serde_json::to_vec(&next).map_err(|error| failed(error.to_string()))?;
        durable_file::write(&self.path, &bytes, Readers::Owner).map_err(|error| failed(error.to_string()))?;
        *orders = next;
        Ok(())
    }
}

/// What is to be noted of a job that is begun by what was signed; nothing where it was begun before.
///
/// # Errors
/// A sentence: it is not for this one.
fn is_for(begun: Option<&Work>, order: &Order, signed: &orders::Order, now_ms: u64) -> Result<Option<Work>, String> {
    let run = Run { job: order.job.to_string(), spec: order.spec.to_string() };
    let known = begun.and_then(|begun| begun.runs().find(|known| known.job == run.job));
    match (known, begun) {
        (Some(known), _) if *known == run => return Ok(None),
        (Some(_), _) => return Err("its order was carried out already, for other work under the same job".to_owned()),
        (None, Some(begun)) if signed.repeats.is_none() => {
            let job = &begun.run.job;
            return Err(format!("its order was carried out for {job} already, and a signed order is for one job"));
        }
        (None, _) => {}
    }
    let before_ms = begun.map_or(signed.issued_at_ms, |begun| begun.time_ms);
    let time_ms = match &signed.repeats {
        None => 0,
        Some(repeats) => {
            let times = Times::parse(&repeats.cron, &repeats.timezone).map_err(|error| error.to_string())?;
            let next = times.next_ms(before_ms).filter(|next| *next <= now_ms.saturating_add(BEHIND_MS_MAX));
            next.ok_or_else(|| {
                let (cron, before) = (&repeats.cron, rfc3339(before_ms));
                format!("its order is a schedule's ({cron}), which has had no time since {before} for which it was not carried out")
            })?
        }
    };
    let mut before: Vec<Run> = begun.into_iter().flat_map(Work::runs).cloned().collect();
    before.truncate(RUNS_MAX);
    Ok(Some(Work { run, expires_at_ms: signed.expires_at_ms, before, time_ms }))
}

impl Work {
    /// Those that are remembered, the last one first.
    fn runs(&self) -> impl Iterator<Item = &Run> {
        std::iter::once(&self.run).chain(&self.before)
    }
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::Author;
    use pentora_raft::state::{JobLimits, Priority};
    use pentora_raft::{Digest, JobId};

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
        signed_for(repeats, 60_000)
    }

    fn signed_for(repeats: Option<Repeats>, valid_ms: u64) -> Verified {
        let request = ScanRequest { targets: vec!["10.0.0.0/24".into()], services: false, ..ScanRequest::default() };
        orders::verify(&orders::sign(&request, repeats, (NOW, valid_ms), &PersonKey::generate()).unwrap()).unwrap()
    }

    #[test]
    fn an_order_is_carried_out_for_one_job_whatever_starts_again_between() {
        let folder = tempfile::tempdir().unwrap();
        let (first, once) = (order(5, b"spec"), signed(None));
        let begun = Begun::open(folder.path()).unwrap();
        begun.check(&first, Some(&once), NOW).unwrap();
        begun.note(&first, Some(&once), NOW).unwrap();
        for begun in [begun, Begun::open(folder.path()).unwrap()] {
            begun.check(&first, Some(&once), NOW).unwrap();
            begun.note(&first, Some(&once), NOW).unwrap();
            for (again, part) in [(order(6, b"spec"), "for job-000005 already"), (order(5, b"other"), "other work")] {
                let why = begun.check(&again, Some(&once), NOW).unwrap_err();
                assert!(why.contains(part), "{why}");
                assert_eq!(begun.note(&again, Some(&once), NOW), Err(why));
            }
            begun.check(&order(6, b"spec"), Some(&signed(None)), NOW).unwrap();
            begun.check(&order(6, b"spec"), None, NOW).unwrap();
        }
    }

    #[test]
    fn a_schedules_order_is_carried_out_as_often_as_it_had_a_time_and_no_more() {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let folder = tempfile::tempdir().unwrap();
        // 08:00 UTC, and a day has one time.
        let nightly = signed_for(Some(Repeats { cron: "0 2 * * *".into(), timezone: "UTC".into() }), 9 * DAY_MS);
        let begun = Begun::open(folder.path()).unwrap();
        let why = begun.check(&order(1, b"spec"), Some(&nightly), NOW).unwrap_err();
        assert!(why.contains("has had no time since 2027-01-15T08:00:00"), "{why}");
        let later = NOW + 2 * DAY_MS;
        begun.note(&order(1, b"spec"), Some(&nightly), later).unwrap();
        begun.note(&order(2, b"spec2"), Some(&nightly), later).unwrap();
        for begun in [begun, Begun::open(folder.path()).unwrap()] {
            // Both go on, and nothing else goes by it until there is another time.
            begun.check(&order(1, b"spec"), Some(&nightly), later).unwrap();
            begun.check(&order(2, b"spec2"), Some(&nightly), later).unwrap();
            for (again, part) in
                [(order(3, b"spec"), "has had no time since 2027-01-17T02:00:00"), (order(2, b"spec"), "other work")]
            {
                let why = begun.note(&again, Some(&nightly), later).unwrap_err();
                assert!(why.contains(part), "{why}");
            }
        }
        let begun = Begun::open(folder.path()).unwrap();
        begun.note(&order(3, b"spec"), Some(&nightly), later + DAY_MS).unwrap();
        assert!(begun.check(&order(4, b"spec"), Some(&nightly), later + DAY_MS).is_err());
    }

    #[test]
    fn of_a_schedules_many_jobs_the_last_are_remembered_and_each_has_had_its_time() {
        let minutely = signed_for(Some(Repeats { cron: "* * * * *".into(), timezone: "UTC".into() }), u64::MAX / 4);
        let run = |job: u64| Run { job: JobId(job).to_string(), spec: Digest::of(b"s").to_string() };
        let minute_ms = 60_000;
        let (expires_at_ms, before) = (minutely.order.expires_at_ms, (0..RUNS_MAX as u64).rev().map(run).collect());
        let full = Work { run: run(RUNS_MAX as u64), expires_at_ms, before, time_ms: NOW + 5_000 * minute_ms };
        let (next, is_time) = (order(9_999, b"s"), NOW + 5_001 * minute_ms);
        let early = is_for(Some(&full), &next, &minutely.order, NOW + 4_000 * minute_ms);
        assert!(early.unwrap_err().contains("has had no time since"), "a clock that was set back gives none twice");
        let work = is_for(Some(&full), &next, &minutely.order, is_time).unwrap().unwrap();
        assert_eq!((work.time_ms, work.runs().count()), (is_time, RUNS_MAX + 1));
        for (job, is_known) in [(9_999, true), (1, true), (0, false)] {
            let again = is_for(Some(&work), &order(job, b"s"), &minutely.order, is_time + 2 * minute_ms).unwrap();
            assert_eq!(again.is_none(), is_known, "{job}");
        }
    }

    #[test]
    fn what_expired_is_forgotten_and_a_file_of_before_reads() {
        let folder = tempfile::tempdir().unwrap();
        let before = r#"{"00":{"job":"job-000001","spec":"aa","expires_at_ms":9}}"#;
        std::fs::write(folder.path().join(FILE), before).unwrap();
        let begun = Begun::open(folder.path()).unwrap();
        assert_eq!(begun.orders.lock().unwrap()["00"].run.job, "job-000001");
        let (old, new) = (signed(None), signed(None));
        begun.note(&order(5, b"spec"), Some(&old), NOW).unwrap();
        begun.note(&order(6, b"spec"), Some(&new), NOW + 60_000 + KEPT_MS).unwrap();
        let kept = Begun::open(folder.path()).unwrap();
        assert_eq!(kept.orders.lock().unwrap().keys().collect::<Vec<_>>(), [&new.order.id]);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Begun::open(folder.path()).unwrap_err().contains(FILE), "what does not read lets nothing through");
    }
}
