//! A unit with UDP ports, handed to the engines that its parts suit.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Engine;
use super::split::{self, First};
use crate::io::udp;
use crate::plan::Plan;
use crate::spec::ScanSpec;
use crate::unit::{ScanError, UnitScan, UnitTask};

impl Engine {
    /// Hands the parts of a unit with UDP ports to the engines that they suit.
    pub(super) fn submit_udp(&self, plan: &Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        if !self.udp.has_room() {
            return Err(ScanError::Busy);
        }
        let split = self.splits.of(&task.spec);
        let part = |spec: &Arc<ScanSpec>, cancel: CancellationToken| {
            let plan = Plan::new(Arc::clone(spec), task.partition).expect("every part has the whole's partitions");
            (plan, UnitTask { spec: Arc::clone(spec), cancel, ..task.clone() })
        };
        let (is_fed, cancel) = (split::is_fed(plan), task.cancel.child_token());
        let first = match &split.first {
            First::Tcp(spec) => {
                let (plan, task) = part(spec, cancel.clone());
                Some((self.submit(plan, task)?, false))
            }
            First::Discovery(spec) => {
                let (plan, task) = part(spec, cancel.clone());
                Some((self.submit(plan, task)?, true))
            }
            First::None => None,
        };
        let note = first.as_ref().and_then(|(scan, _)| scan.note);
        let tcp = first.as_ref().map(|(scan, _)| scan.tcp).unwrap_or_default();
        let first = first.map(|(scan, is_discovery)| udp::First { scan, cancel, is_discovery, is_fed });
        let (plan, task) = part(&split.udp, task.cancel.clone());
        Ok(UnitScan { note, tcp, ..self.udp.submit(plan, task, first, self.services.udp_requests())? })
    }
}
