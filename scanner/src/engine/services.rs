//! The part of an engine that asks open ports what they are: the detector in force, and the threads it runs on.
//!
//! Both are made when a scan first asks for services, so that a scan for ports alone pays for neither. A detector with
//! other rules takes the place of the one before for units that begin after it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::detect::{Detector, Pacing, RuleSet, service_scan};
use crate::gate::Gate;
use crate::io::give_way::give_way;
use crate::io::limits;
use crate::occupancy::Occupancy;
use crate::scan::limits::Limits;
use crate::udp_scan::payload::Catalogue;
use crate::unit::{UnitScan, UnitTask};

/// Threads for detection: parsing answers is little work, and the scan itself needs the other cores.
const THREADS: usize = 2;

/// What detection needs, shared by the clones of an engine.
#[derive(Debug, Default)]
pub(super) struct Services {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    runtime: Option<Runtime>,
    detector: Option<Arc<Detector>>,
    /// What the rules in force have UDP ports be asked beside the table.
    udp_requests: Arc<Catalogue>,
    /// What all detectors, and the scans beside them, count their connections to each host and port in.
    occupancy: Arc<Occupancy>,
    /// Of the jobs that have units in work.
    pacings: Vec<Weak<Pacing>>,
}

/// What a unit's open ports are asked with.
struct Ready {
    detector: Arc<Detector>,
    runtime: Handle,
}

impl Services {
    /// Nothing yet; connections to each host and port are to count in `occupancy`.
    pub(super) fn within(occupancy: Arc<Occupancy>) -> Self {
        Self { state: Mutex::new(State { occupancy, ..State::default() }) }
    }

    /// Makes these rules the ones in force for units that begin from now on.
    pub(super) fn set_rules(&self, rules: RuleSet) {
        let mut state = self.lock();
        state.udp_requests = Arc::new(rules.udp_requests());
        state.detector = Some(Arc::new(detector(rules, &state.occupancy)));
    }

    /// What the rules in force have UDP ports be asked.
    #[cfg(target_os = "linux")]
    pub(super) fn udp_requests(&self) -> Arc<Catalogue> {
        Arc::clone(&self.lock().udp_requests)
    }

    /// Lets the open ports that a unit finds be asked what they are. Without threads to do it on, the unit is scanned for
    /// its ports alone.
    pub(super) fn attach(&self, scan: UnitScan, task: &UnitTask) -> UnitScan {
        match self.ready() {
            Ok(Ready { detector, runtime }) => {
                let gate = Gate::new(Arc::clone(&task.spec), Arc::clone(&task.permit));
                let limits = (gate, self.pacing(task));
                service_scan::attach(scan, &task.spec, detector, limits, &runtime, task.cancel.clone())
            }
            Err(error) => {
                tracing::error!(%error, "services are not looked for");
                scan
            }
        }
    }

    /// How connections begin for a unit: as for the others of its job that are in work here.
    fn pacing(&self, task: &UnitTask) -> Arc<Pacing> {
        let (network_pps, host_pps) = (task.spec.network_rate_pps, task.spec.host_rate_pps);
        let pacings = &mut self.lock().pacings;
        pacings.retain(|pacing| pacing.strong_count() > 0);
        let is_same = |pacing: &Arc<Pacing>| pacing.is_of(&task.pace, network_pps, host_pps);
        if let Some(pacing) = pacings.iter().filter_map(Weak::upgrade).find(is_same) {
            return pacing;
        }
        let pacing = Pacing::new(Arc::clone(&task.pace), network_pps, host_pps);
        let pacing = Arc::new(pacing.at_most(Limits::of(&task.spec).rate_max_pps));
        pacings.push(Arc::downgrade(&pacing));
        pacing
    }

    fn ready(&self) -> std::io::Result<Ready> {
        let mut state = self.lock();
        let State { detector: known, occupancy, .. } = &mut *state;
        let detector = known.get_or_insert_with(|| Arc::new(detector(RuleSet::builtin(), occupancy))).clone();
        let runtime = state.runtime()?;
        Ok(Ready { detector, runtime })
    }

    /// The threads that detection runs on, for what else is asked about hosts.
    pub(super) fn runtime(&self) -> std::io::Result<Handle> {
        self.lock().runtime()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Whoever panicked has changed nothing by halves: each assignment here stands alone.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn runtime(&mut self) -> std::io::Result<Handle> {
        if self.runtime.is_none() {
            let mut threads = Builder::new_multi_thread();
            threads.worker_threads(THREADS).thread_name("pentora-detect").on_thread_start(give_way);
            let made = threads.enable_all().build();
            self.runtime = Some(made?);
        }
        Ok(self.runtime.as_ref().expect("it was made above").handle().clone())
    }
}

/// A detector of these rules.
fn detector(rules: RuleSet, occupancy: &Arc<Occupancy>) -> Detector {
    let exposures = rules.own_exposures();
    Detector::new(Arc::new(rules), limits::detection_sockets()).with_exposures(exposures).within(occupancy)
}

impl Drop for Services {
    /// An engine may be dropped on a thread of another runtime, which must not wait for this one.
    fn drop(&mut self) {
        if let Some(runtime) = self.lock().runtime.take() {
            runtime.shutdown_background();
        }
    }
}
