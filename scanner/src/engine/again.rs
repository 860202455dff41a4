//! The way back to the engine for what is asked again behind a unit's scan: it holds no engine alive.

use std::sync::{Arc, Weak};

use super::Engine;
use crate::io::connect;
#[cfg(target_os = "linux")]
use crate::io::raw;
use crate::plan::Plan;
use crate::recapture;
use crate::unit::{ScanError, UnitScan, UnitTask};

/// What of an engine asks TCP ports, for as long as there is an engine.
struct Ports {
    connect: Weak<connect::Handle>,
    #[cfg(target_os = "linux")]
    raw: Option<Weak<raw::Lazy>>,
}

impl Engine {
    /// Lets a sample of what the scan leaves silent be asked again. Without threads to do it on, nothing is measured.
    pub(super) fn measured(&self, scan: UnitScan, plan: Plan, task: &UnitTask) -> UnitScan {
        let ports = Ports {
            connect: Arc::downgrade(&self.connect),
            #[cfg(target_os = "linux")]
            raw: self.raw.as_ref().map(Arc::downgrade),
        };
        let ask = move |plan, task| ports.submit(plan, task);
        match self.services.runtime() {
            Ok(runtime) => recapture::attach(scan, plan, task, Arc::new(ask), &runtime),
            Err(error) => {
                tracing::error!(%error, "what stays silent is not asked again");
                scan
            }
        }
    }
}

impl Ports {
    fn submit(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        let connect = self.connect.upgrade().ok_or(ScanError::Stopped)?;
        #[cfg(target_os = "linux")]
        {
            let raw = self.raw.as_ref().map(|raw| raw.upgrade().ok_or(ScanError::Stopped)).transpose()?;
            Engine::submit_to(&connect, raw.as_ref(), plan, task)
        }
        #[cfg(not(target_os = "linux"))]
        connect.submit(plan, task)
    }
}
