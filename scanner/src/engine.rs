//! One engine per node: units of any number of jobs stream through it at once.
//!
//! [`Engine::scan`] takes a unit and gives back three channels: findings as they are known, running figures, and the
//! outcome. A unit that only waits for late answers leaves the engine to the others. The engine runs on threads of its
//! own and needs no async runtime; its channels can be read from one or by blocking.
//!
//! There are two kinds ([`EngineKind`]) behind one `UnitTask`, with the same findings; nothing above has to know. A node
//! that may send raw packets scans units with them; units with host names, and those behind interfaces that carry no IP
//! packets of ours, go to the connect engine, which runs beside.
//!
//! UDP ports are asked by an engine of their own, which needs no right beside either kind. A unit with UDP ports is done
//! in two parts (`split`), of which the reader sees one (`io/udp`): TCP ports or a discovery first, and UDP for the hosts
//! that are up; for all of them, beside the first part, when the spec has no discovery or the partition no more than four targets. A sample of what
//! stays silent is asked again (`recapture`), open ports of either kind are asked what they are by a service scan behind
//! (`services`), and last it is asked who the hosts are (`identity`).

mod again;
#[cfg(target_os = "linux")]
mod parts;
mod services;
mod split;

use std::ops::Range;
use std::sync::Arc;

use self::services::Services;
use self::split::Splits;
use crate::detect::RuleSet;
use crate::finding::TcpScan;
use crate::gate::Gate;
use crate::identity::Identities;
use crate::io::connect;
#[cfg(target_os = "linux")]
use crate::io::raw;
#[cfg(target_os = "linux")]
use crate::io::udp;
pub use crate::io::{EngineConfig, EngineError};
use crate::occupancy::Occupancy;
use crate::plan::Plan;
use crate::spec::{EngineChoice, Profile, ScanSpec};
#[cfg(target_os = "linux")]
use crate::target::Target;
use crate::unit::{ScanError, UnitScan, UnitTask};
use crate::vendors::Vendors;

/// Probes to this machine's loopback for which no raw engine is started.
#[cfg(target_os = "linux")]
const BRIEF_PROBES: u64 = 4096;

/// How an engine asks ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Ordinary TCP connections: needs no privilege, asks TCP ports only.
    Connect,
    /// Raw SYNs (Linux, `CAP_NET_RAW`), and ordinary connections for what they do not suit.
    Raw,
}

/// A handle to the node's engine; the engine ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Engine {
    connect: Arc<connect::Handle>,
    #[cfg(target_os = "linux")]
    raw: Option<Arc<raw::Lazy>>,
    #[cfg(target_os = "linux")]
    udp: Arc<udp::Handle>,
    splits: Arc<Splits>,
    note: Option<Arc<str>>,
    services: Arc<Services>,
    identities: Arc<Identities>,
    stand_in: Option<Arc<dyn StandIn>>,
}

/// Does units in place of an engine, without a network: for simulations.
pub trait StandIn: Send + Sync + std::fmt::Debug + 'static {
    /// Begins a unit that may be done, as [`Engine::scan`] does.
    ///
    /// # Errors
    /// Why it does not.
    fn scan(&self, task: UnitTask) -> Result<UnitScan, ScanError>;
}

impl Engine {
    /// The same engine with its units done by `stand_in`.
    #[must_use]
    pub fn with_stand_in(self, stand_in: Arc<dyn StandIn>) -> Self {
        Self { stand_in: Some(stand_in), ..self }
    }

    /// Starts an engine on threads of its own. Raises this process's soft file-descriptor limit to its hard one.
    ///
    /// [`EngineChoice::Auto`] has a raw engine where this process may, which starts with its first unit; where it may not,
    /// [`Self::note`] says why. [`EngineChoice::Raw`] starts it now.
    ///
    /// # Errors
    /// A kind that is not available, or a kernel that refuses epoll or a thread.
    #[cfg(target_os = "linux")]
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let occupancy = Arc::<Occupancy>::default();
        let (raw, note) = match config.choice {
            EngineChoice::Connect => (None, None),
            EngineChoice::Raw => match raw::Lazy::started(Arc::clone(&occupancy)) {
                Ok(raw) => (Some(Arc::new(raw)), None),
                Err(error) => return Err(EngineError::RawUnavailable { why: error.to_string() }),
            },
            EngineChoice::Auto => match raw::Lazy::new(Arc::clone(&occupancy)) {
                Ok(raw) => (Some(Arc::new(raw)), None),
                Err(error) => {
                    let note = format!("scanning with connections, which is slower than raw packets: {error}");
                    (None, Some(Arc::from(note)))
                }
            },
        };
        let connect = connect::start(&config, Arc::clone(&occupancy))?;
        let udp = Arc::new(udp::start(&config, connect.neighbours())?);
        Ok(Self {
            connect: Arc::new(connect),
            raw,
            udp,
            splits: Arc::default(),
            note,
            services: Arc::new(Services::within(occupancy)),
            identities: Arc::default(),
            stand_in: None,
        })
    }

    /// Starts an engine on threads of its own. Raises this process's soft file-descriptor limit to its hard one.
    ///
    /// # Errors
    /// A kind that is not available, or a kernel that refuses epoll or a thread.
    #[cfg(not(target_os = "linux"))]
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        if config.choice == EngineChoice::Raw {
            return Err(EngineError::RawUnavailable { why: "it needs Linux".to_owned() });
        }
        let occupancy = Arc::<Occupancy>::default();
        Ok(Self {
            connect: Arc::new(connect::start(&config, Arc::clone(&occupancy))?),
            splits: Arc::default(),
            note: None,
            services: Arc::new(Services::within(occupancy)),
            identities: Arc::default(),
            stand_in: None,
        })
    }

    /// Makes these rules the ones by which services are known, for units that begin from now on.
    pub fn set_rules(&self, rules: RuleSet) {
        self.services.set_rules(rules);
    }

    /// Makes this registry of vendors the one in force, in place of the system's.
    pub fn set_vendors(&self, vendors: Vendors) {
        self.identities.set_vendors(vendors);
    }

    /// Which kind was started.
    #[must_use]
    pub fn kind(&self) -> EngineKind {
        if self.has_raw() { EngineKind::Raw } else { EngineKind::Connect }
    }

    /// Why [`EngineChoice::Auto`] did not start the faster kind, in a line for the user; `None` where it did.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Whether this engine can do a spec at all.
    ///
    /// # Errors
    /// [`ScanError::Unsupported`] with what it cannot do.
    pub fn supports(&self, spec: &ScanSpec) -> Result<(), ScanError> {
        if cfg!(not(target_os = "linux")) && spec.ports.udp_count() > 0 {
            return Err(ScanError::Unsupported { what: "UDP ports" });
        }
        match spec.engine {
            _ if spec.profile == Profile::OtSafe && !self.has_raw() => {
                Err(ScanError::Unsupported { what: "under profile ot-safe, for which it needs raw packets" })
            }
            EngineChoice::Raw if !self.has_raw() => Err(ScanError::Unsupported { what: "with raw packets" }),
            EngineChoice::Raw | EngineChoice::Auto | EngineChoice::Connect => Ok(()),
        }
    }

    #[cfg(target_os = "linux")]
    fn has_raw(&self) -> bool {
        self.raw.is_some()
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "the same function as on Linux")]
    fn has_raw(&self) -> bool {
        false
    }

    /// Begins a unit and returns at once.
    ///
    /// # Errors
    /// A unit that this engine must not, cannot or can not now do; nothing was sent for it.
    pub fn scan(&self, task: UnitTask) -> Result<UnitScan, ScanError> {
        let plan = self.plan_of(&task)?;
        if let Some(stand_in) = &self.stand_in {
            return stand_in.scan(task);
        }
        let gate = Gate::new(Arc::clone(&task.spec), Arc::clone(&task.permit));
        let known = task.clone();
        let scan = self.submit_parts(plan.clone(), task)?;
        let scan = self.measured(scan, plan, &known);
        let scan = if gate.asks_services() { self.services.attach(scan, &known) } else { scan };
        Ok(match self.services.runtime() {
            Ok(runtime) => self.identities.attach(scan, &known, &runtime),
            Err(error) => {
                tracing::error!(%error, "names and vendors of hosts are not looked for");
                scan
            }
        })
    }

    fn submit_parts(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        #[cfg(target_os = "linux")]
        if task.spec.ports.udp_count() > 0 {
            return self.submit_udp(&plan, task);
        }
        self.submit(plan, task)
    }

    /// The plan of a unit that may be done.
    fn plan_of(&self, task: &UnitTask) -> Result<Plan, ScanError> {
        task.spec.validate()?;
        self.supports(&task.spec)?;
        let (partition, Range { start, end }) = (task.partition, task.range.clone());
        let plan = Plan::new(Arc::clone(&task.spec), partition);
        let targets = plan.as_ref().map_or(0, Plan::target_count);
        let Some(plan) = plan.filter(|_| start < end && end <= targets) else {
            return Err(ScanError::NoSuchUnit { partition, start, end, targets });
        };
        task.permit.check(plan.target_set())?;
        Ok(plan)
    }

    /// Hands a unit to the kind of engine that suits it.
    #[cfg(target_os = "linux")]
    fn submit(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        Self::submit_to(&self.connect, self.raw.as_ref(), plan, task)
    }

    #[cfg(target_os = "linux")]
    fn submit_to(
        connect: &connect::Handle,
        raw: Option<&Arc<raw::Lazy>>,
        plan: Plan,
        task: UnitTask,
    ) -> Result<UnitScan, ScanError> {
        let is_raw_wanted = task.spec.engine == EngineChoice::Raw || task.spec.profile == Profile::OtSafe;
        let choice = if is_raw_wanted { EngineChoice::Raw } else { task.spec.engine };
        let Some(raw) = raw.filter(|raw| match choice {
            EngineChoice::Connect => false,
            EngineChoice::Raw => true,
            EngineChoice::Auto => raw.is_running() || !is_brief(&plan),
        }) else {
            return connect.submit(plan, task);
        };
        let raw = match raw.handle() {
            Ok(raw) => raw,
            Err(_) if choice == EngineChoice::Raw => {
                return Err(ScanError::Unsupported { what: "with raw packets" });
            }
            Err(_) => return connect.submit(plan, task),
        };
        match raw.submit(plan, task, choice == EngineChoice::Raw) {
            Ok(scan) => scan.map(|scan| UnitScan { tcp: TcpScan::Syn, ..scan }),
            Err(raw::NotRaw { why, .. }) if choice == EngineChoice::Raw => Err(ScanError::NotRaw { what: why }),
            Err(raw::NotRaw { why, unit }) => {
                tracing::debug!(why, "a unit is scanned with connections");
                let (plan, task) = *unit;
                let scan = connect.submit(plan, task)?;
                Ok(UnitScan { note: Some(why), ..scan })
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn submit(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        self.connect.submit(plan, task)
    }
}

/// Whether a unit is a few ports of this machine's loopback: nothing is lost there and the kernel answers at once, so
/// connections tell the same before the raw engine would have started.
#[cfg(target_os = "linux")]
fn is_brief(plan: &Plan) -> bool {
    plan.target_count().saturating_mul(plan.port_count().into()) <= BRIEF_PROBES
        && (0..plan.target_count()).all(|index| match plan.target(index) {
            Some(Target::Address(address)) => address.is_loopback(),
            _ => false,
        })
}

#[cfg(test)]
#[path = "engine/engine_test.rs"]
mod tests;
