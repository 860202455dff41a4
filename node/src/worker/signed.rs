//! Whose orders this node takes: what its own file says, held against the order that a job's spec carries, whoever leads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pentora_raft::JobId;
use pentora_scanner::spec::ScanSpec;

use crate::jobs::{NotAsked, covers};
use crate::orders::{self, OrderError, Verified};
use crate::policy::own::OwnRules;
use crate::signing::SignerKey;

/// Orders for single jobs that are remembered; of more, those that end first are forgotten. Ours: a node that is given as many
/// signed jobs in a day is served by a few people who do nothing else.
const SEEN_MAX: usize = 4096;

/// Why no work of an order is begun here. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It carries no signature.
    #[error("this node's own file asks for signed orders (worker.require_signed_orders), and nobody signed this one")]
    Unsigned,
    /// It is signed by somebody else.
    #[error("{key} signed the order, which is not among worker.trusted_keys in this node's own file")]
    Untrusted {
        /// Who signed it.
        key: SignerKey,
    },
    /// It does not hold.
    #[error("this node's own file asks for signed orders: {0}")]
    Order(#[from] OrderError),
    /// The job is more than was signed.
    #[error("this node's own file asks for signed orders: {0}")]
    NotAsked(#[from] NotAsked),
    /// It asks for one job, and this is another.
    #[error(
        "this node's own file asks for signed orders, and this one, for a single job, was carried out as {job} before"
    )]
    Again {
        /// The job before.
        job: JobId,
    },
}

/// The order of a spec, where this node's own file asks for one; `None` where it does not. `now_ms` is this machine's own clock:
/// the log's is the leader's.
///
/// # Errors
/// [`NotTaken`].
pub fn order_of(own: &OwnRules, spec: &ScanSpec, now_ms: u64) -> Result<Option<Verified>, NotTaken> {
    let Some(trusted) = own.signers() else { return Ok(None) };
    let signed = orders::carried(spec.order.as_deref()).ok_or(NotTaken::Unsigned)?;
    let verified = orders::verify(&signed)?;
    if !trusted.iter().any(|trusted| trusted.key == verified.signer) {
        return Err(NotTaken::Untrusted { key: verified.signer });
    }
    verified.order.holds_at(now_ms)?;
    covers(&verified.order, spec)?;
    Ok(Some(verified))
}

/// Orders for single jobs of which work was begun here since this process started.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeMap<String, (u64, JobId)>>);

impl Seen {
    /// Whether work of an order is begun for a job already.
    fn knows(&self, order: &str, job: JobId) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(order).is_some_and(|(_, begun)| *begun == job)
    }

    /// The order for one job that a spec carries, where no work of it is begun for this job here: whether the log has it for a job
    /// before this one is still to be asked, which outlasts this process.
    pub(super) fn first_of(&self, own: &OwnRules, spec: &ScanSpec, job: JobId) -> Option<String> {
        own.signers()?;
        let order = orders::id_of(&orders::carried(spec.order.as_deref())?)?;
        (!order.repeats && !self.knows(&order.id, job)).then_some(order.id)
    }

    /// Notes that work of an order is begun for a job.
    ///
    /// # Errors
    /// [`NotTaken::Again`], where it was for another.
    pub(super) fn note(&self, verified: &Verified, job: JobId) -> Result<(), NotTaken> {
        let order = &verified.order;
        if order.repeats.is_some() {
            return Ok(());
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(&order.id) {
            Some((_, earlier)) if *earlier == job => return Ok(()),
            Some((_, earlier)) => return Err(NotTaken::Again { job: *earlier }),
            None => {}
        }
        if seen.len() >= SEEN_MAX
            && let Some(first) = seen.iter().min_by_key(|(_, (ends, _))| *ends).map(|(id, _)| id.clone())
        {
            seen.remove(&first);
        }
        seen.insert(order.id.clone(), (order.expires_at_ms, job));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::ScanRequest;
    use crate::orders::Repeats;
    use crate::signing::{PersonKey, TrustedKey};

    const NOW: u64 = 1_800_000_000_000;

    fn trusting(key: &PersonKey) -> OwnRules {
        let key = TrustedKey { key: key.public(), name: None };
        OwnRules::default().signed_by(vec![key])
    }

    fn signed(key: &PersonKey, repeats: Option<Repeats>) -> Option<String> {
        let request = ScanRequest { targets: vec!["10.0.0.0/24".into()], services: false, ..ScanRequest::default() };
        orders::to_carry(&orders::sign(&request, repeats, (NOW, 60_000), key).unwrap())
    }

    fn spec(order: Option<String>) -> ScanSpec {
        let partitions = vec!["10.0.0.0/24".parse().unwrap()];
        ScanSpec { partitions, order, reverse_dns: true, ..ScanSpec::default() }
    }

    #[test]
    fn a_node_that_asks_for_signatures_takes_what_its_signers_signed_while_it_holds_and_nothing_else() {
        let (alice, mallory) = (PersonKey::generate(), PersonKey::generate());
        let own = trusting(&alice);
        let at = |spec: &ScanSpec, now_ms| order_of(&own, spec, now_ms);
        let good = spec(signed(&alice, None));
        assert_eq!(at(&good, NOW).unwrap().unwrap().signer, alice.public());
        assert_eq!(order_of(&OwnRules::default(), &spec(None), NOW), Ok(None), "others take all");
        assert_eq!(at(&spec(None), NOW), Err(NotTaken::Unsigned));
        assert_eq!(at(&spec(Some("{}".into())), NOW), Err(NotTaken::Unsigned));
        let anothers = at(&spec(signed(&mallory, None)), NOW);
        assert_eq!(anothers, Err(NotTaken::Untrusted { key: mallory.public() }));
        assert!(matches!(at(&good, NOW + 60_000), Err(NotTaken::Order(OrderError::Expired { .. }))));
        let wider = ScanSpec { partitions: vec!["10.0.0.0/23".parse().unwrap()], ..good.clone() };
        assert!(matches!(at(&wider, NOW), Err(NotTaken::NotAsked(NotAsked::Target { .. }))));
        let altered = good.order.clone().unwrap().replace("10.0.0.0/24", "10.0.0.0/23");
        let altered = at(&ScanSpec { order: Some(altered), ..wider }, NOW);
        assert!(matches!(altered, Err(NotTaken::Order(OrderError::NotSigned { .. }))), "{altered:?}");
    }

    #[test]
    fn the_log_is_asked_for_a_job_before_where_an_order_is_new_here() {
        let (alice, seen) = (PersonKey::generate(), Seen::default());
        let own = trusting(&alice);
        let once = spec(signed(&alice, None));
        let verified = order_of(&own, &once, NOW).unwrap().unwrap();
        assert_eq!(seen.first_of(&own, &once, JobId(3)), Some(verified.order.id.clone()));
        assert_eq!(seen.first_of(&OwnRules::default(), &once, JobId(3)), None, "who takes all asks nothing");
        seen.note(&verified, JobId(3)).unwrap();
        assert_eq!(seen.first_of(&own, &once, JobId(3)), None);
        assert_eq!(seen.first_of(&own, &once, JobId(4)), Some(verified.order.id));
        let nightly = spec(signed(&alice, Some(Repeats { cron: "@daily".into(), timezone: "UTC".into() })));
        assert_eq!([seen.first_of(&own, &nightly, JobId(5)), seen.first_of(&own, &spec(None), JobId(5))], [None, None]);
    }

    #[test]
    fn an_order_for_a_single_job_is_not_carried_out_twice_and_one_that_repeats_is() {
        let (alice, seen) = (PersonKey::generate(), Seen::default());
        let of = |repeats| order_of(&trusting(&alice), &spec(signed(&alice, repeats)), NOW).unwrap().unwrap();
        let once = of(None);
        assert_eq!([seen.note(&once, JobId(3)), seen.note(&once, JobId(3))], [Ok(()), Ok(())]);
        assert_eq!(seen.note(&once, JobId(4)), Err(NotTaken::Again { job: JobId(3) }));
        let nightly = of(Some(Repeats { cron: "@daily".into(), timezone: "UTC".into() }));
        assert_eq!([seen.note(&nightly, JobId(5)), seen.note(&nightly, JobId(6))], [Ok(()), Ok(())]);
        for job in 0..=SEEN_MAX as u64 {
            seen.note(&of(None), JobId(job)).unwrap();
        }
        assert_eq!(seen.0.lock().unwrap().len(), SEEN_MAX);
    }
}
