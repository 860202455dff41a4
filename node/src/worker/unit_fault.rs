//! Why a unit ended without its results, and what is said of it to the cluster: that it failed, or that it was declined, because
//! this node's own file does not allow it.

use std::any::Any;
use std::time::Duration;

use pentora_scanner::unit::ScanError;

use super::permits::NotPermitted;

/// Why a unit ended without its results.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnitError {
    /// The engine did not scan it.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// It may not be scanned, or not from here.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// What is to be scanned is not to be had.
    #[error("the job's spec was not to be had within {} s: {why}", within.as_secs())]
    NoSpec {
        /// How long it was tried.
        within: Duration,
        /// Why the last time.
        why: String,
    },
}

impl UnitError {
    /// Whether this node's own file is why: who refuses is not who fails.
    fn is_by_own_file(&self) -> bool {
        matches!(self, Self::NotPermitted(why) if why.is_by_own_file())
    }
}

/// Why a unit is handed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) why: String,
    /// Whether this node's own file does not allow it. Anything else is a try that failed.
    pub(super) is_declined: bool,
}

impl Fault {
    /// A try that failed.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_declined: false }
    }
}

/// Why a unit is to be handed back, or `None` where it was counted or its lease is gone.
pub(super) fn fault_of(scanned: Result<Result<(), UnitError>, Box<dyn Any + Send>>) -> Option<Fault> {
    match scanned {
        Ok(Ok(()) | Err(UnitError::Scan(ScanError::Cancelled))) => None,
        Ok(Err(UnitError::Scan(ScanError::Stopped))) => {
            Some(Fault::failed("the scan engine stopped in the middle of it; this node wants a restart"))
        }
        Ok(Err(error)) => Some(Fault { why: error.to_string(), is_declined: error.is_by_own_file() }),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no word of it");
            Some(Fault::failed(format!("a fault in the program ended it: {said}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::NotTaken;

    #[test]
    fn an_engine_that_stops_a_lost_spec_and_a_panic_each_end_a_unit_with_its_reason() {
        let reason = |scanned| {
            let fault = fault_of(scanned)?;
            assert!(!fault.is_declined, "{fault:?}");
            Some(fault.why)
        };
        let reason = |scanned| reason(scanned).unwrap_or_default();
        assert_eq!(reason(Ok(Ok(()))), "");
        assert_eq!(reason(Ok(Err(ScanError::Cancelled.into()))), "", "its lease is gone");
        assert!(reason(Ok(Err(ScanError::Stopped.into()))).contains("engine stopped"));
        let lost = UnitError::NoSpec { within: Duration::from_secs(60), why: "nobody has it".into() };
        assert_eq!(reason(Ok(Err(lost))), "the job's spec was not to be had within 60 s: nobody has it");
        let panicked = std::panic::catch_unwind(|| panic!("index 7")).map(|()| Ok(()));
        assert_eq!(reason(panicked), "a fault in the program ended it: index 7");
    }

    #[test]
    fn what_this_nodes_own_file_does_not_allow_is_declined_and_what_the_clusters_rules_do_not_is_no_such_thing() {
        let outside = NotPermitted::ByOwnFile { outside: "10.0.0.1".into(), scope: "10.1.0.0/16".into() };
        let declined = [outside, NotPermitted::NotTaken(NotTaken::Unsigned)];
        let failed = [NotPermitted::Lookup("no name server".into())];
        let is_declined = |error: NotPermitted| fault_of(Ok(Err(error.into()))).unwrap().is_declined;
        assert!(declined.into_iter().all(is_declined) && !failed.into_iter().any(is_declined));
    }
}
