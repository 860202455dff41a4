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
//! in two parts (`split`), of which the reader sees one (`merge`): TCP ports or a discovery first, and UDP for the hosts
//! that are up; for all of them when the spec has no discovery or the partition no more than four targets. Open ports of
//! either kind are asked what they are by a stage behind (`services`).

pub(crate) mod merge;
#[cfg(target_os = "linux")]
mod parts;
mod services;
mod split;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::services::Services;
use self::split::Splits;
use crate::detect::RuleSet;
use crate::finding::Finding;
use crate::io::connect;
#[cfg(target_os = "linux")]
use crate::io::raw;
#[cfg(target_os = "linux")]
use crate::io::udp;
use crate::pace::RateCap;
use crate::plan::Plan;
use crate::scope::{Scope, ScopeError};
use crate::spec::{EngineChoice, Profile, ScanSpec, SpecError};
#[cfg(target_os = "linux")]
use crate::target::Target;

/// Batches of findings a reader may be behind before the unit stops sending: a few megabytes.
pub const FINDINGS_QUEUE: usize = 64;
/// Units one thread of an engine holds at once; a node that keeps its engine busy needs a handful.
pub const UNITS_MAX: usize = 256;
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

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Which kind to start.
    pub choice: EngineChoice,
    /// Most sockets open at once; `None` for what the file-descriptor limit leaves after a reserve.
    pub sockets_max: Option<usize>,
    /// Threads that scan; `None` for one per core, four at most. A unit is done by one of them.
    pub threads: Option<usize>,
    /// Longest wait for the addresses of a host name.
    pub resolve_timeout: Duration,
}

impl Default for EngineConfig {
    /// The best kind that this machine allows, as many sockets as it allows, five seconds for a name.
    fn default() -> Self {
        Self { choice: EngineChoice::Auto, sockets_max: None, threads: None, resolve_timeout: Duration::from_secs(5) }
    }
}

/// Why no engine was started.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A raw engine was asked for and there is none.
    #[error("no raw engine on this node ({why}): use engine auto or connect")]
    RawUnavailable {
        /// What it lacks.
        why: String,
    },
    /// The kernel refused what an engine needs.
    #[error("the engine cannot start: {what}: {source}")]
    System {
        /// What was asked of the kernel.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
}

/// A unit of work: which part of which spec, and under which limits.
#[derive(Debug, Clone)]
pub struct UnitTask {
    /// The job's spec.
    pub spec: Arc<ScanSpec>,
    /// Which of its partitions.
    pub partition: u32,
    /// Which indexes of the partition.
    pub range: Range<u64>,
    /// Where packets may go; checked for the whole partition at once and before each send.
    pub scope: Arc<Scope>,
    /// The budget that this unit shares with others of its job on this node, changed live by its owner. The spec's
    /// own `rate_pps` holds beside it.
    pub pace: Arc<RateCap>,
    /// Ends the unit: sending stops within 100 ms.
    pub cancel: CancellationToken,
}

/// A unit in work.
#[derive(Debug)]
pub struct UnitScan {
    /// Findings as they are known, in batches; closed before the outcome is told. The unit stops sending while
    /// nobody reads, and ends as cancelled when the receiver is dropped.
    pub findings: mpsc::Receiver<Vec<Finding>>,
    /// Running figures, at most ten times a second.
    pub progress: watch::Receiver<UnitProgress>,
    /// How it ended.
    pub outcome: oneshot::Receiver<Result<UnitOutcome, ScanError>>,
}

/// Running figures of a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitProgress {
    /// Targets that are settled.
    pub targets_done: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports found.
    pub open_ports: u64,
    /// Probes sent, retransmissions included.
    pub probes_sent: u64,
    /// Answers of hosts.
    pub replies: u64,
    /// Probes that were sent again.
    pub retransmitted: u64,
    /// Share of round trips that are lost, as far as answers have shown.
    pub loss_estimate: f64,
    /// The part of it that a slower scan would lose as well, 0 to 1; where that was not found out, all of it.
    pub chance_loss: f64,
    /// How likely an open port of the targets settled so far was found, from the loss that each was asked under and how
    /// often it was asked; 1 while nothing is settled.
    pub recall_estimate: f64,
    /// Every target of the unit below this index is settled, and its findings are in the channel: whoever has read this
    /// and then everything that the channel holds has all of them.
    pub settled_until: u64,
}

impl Default for UnitProgress {
    /// Nothing done, so nothing missed.
    fn default() -> Self {
        Self {
            targets_done: 0,
            hosts_up: 0,
            open_ports: 0,
            probes_sent: 0,
            replies: 0,
            retransmitted: 0,
            loss_estimate: 0.0,
            chance_loss: 0.0,
            recall_estimate: 1.0,
            settled_until: 0,
        }
    }
}

/// Final figures of a unit that was done to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitOutcome {
    /// The running figures at the end; `targets_done` is the whole range.
    pub progress: UnitProgress,
    /// From the first look at the unit to its last answer or time-out.
    pub duration: Duration,
    /// How much of `duration` went into sending, the rest being the wait for late answers.
    pub sending: Duration,
    /// Targets per second of sending: what a next unit of this job can be sized by, since its sending overlaps this
    /// one's waiting.
    pub targets_per_second: f64,
    /// Targets that the last check before sending refused.
    pub refused: u64,
    /// Host names without a usable address, with the reason; the first hundred.
    pub unresolved: Vec<(Arc<str>, String)>,
    /// How many host names that were.
    pub unresolved_count: u64,
}

/// Why a unit was not done to its end. Findings up to then were delivered and are true.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScanError {
    /// The spec contradicts itself; nothing was sent.
    #[error("the scan cannot be carried out: {0}")]
    Spec(#[from] SpecError),
    /// The unit is no part of the spec; nothing was sent.
    #[error("unit {start}..{end} is not in partition {partition} of {targets} targets")]
    NoSuchUnit {
        /// The partition asked for.
        partition: u32,
        /// First index of the unit.
        start: u64,
        /// Index after its last.
        end: u64,
        /// How many indexes there are, 0 when there is no such partition.
        targets: u64,
    },
    /// The unit's partition reaches outside the scope; nothing was sent.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// This node's engine cannot do what the spec asks; another node's may. Nothing was sent.
    #[error("this node's engine cannot scan {what}")]
    Unsupported {
        /// What it cannot do.
        what: &'static str,
    },
    /// The spec asks for raw packets and this unit cannot be scanned with them. Nothing was sent.
    #[error("raw packets do not reach {what}: use engine auto")]
    NotRaw {
        /// What the unit has that cannot be scanned raw.
        what: &'static str,
    },
    /// The engine has as many units as it takes; try again when one is done. Nothing was sent.
    #[error("the engine is busy with {UNITS_MAX} units per thread")]
    Busy,
    /// It was cancelled, or nobody reads its findings any more.
    #[error("the unit was cancelled")]
    Cancelled,
    /// This machine had no socket or local port left for half a minute.
    #[error("no local resources for connections: {why}")]
    Starved {
        /// What the kernel said last.
        why: String,
    },
    /// The engine has ended.
    #[error("the engine has stopped")]
    Stopped,
}

impl ScanError {
    /// Whether the same unit may succeed on this node later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Starved { .. })
    }
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
}

impl Engine {
    /// Starts an engine on threads of its own. Raises this process's soft file-descriptor limit to its hard one.
    ///
    /// [`EngineChoice::Auto`] has a raw engine where this process may, which starts with its first unit; where it may not,
    /// [`Self::note`] says why. [`EngineChoice::Raw`] starts it now.
    ///
    /// # Errors
    /// A kind that is not available, or a kernel that refuses epoll or a thread.
    #[cfg(target_os = "linux")]
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let (raw, note) = match config.choice {
            EngineChoice::Connect => (None, None),
            EngineChoice::Raw => match raw::Lazy::started() {
                Ok(raw) => (Some(Arc::new(raw)), None),
                Err(error) => return Err(EngineError::RawUnavailable { why: error.to_string() }),
            },
            EngineChoice::Auto => match raw::Lazy::new() {
                Ok(raw) => (Some(Arc::new(raw)), None),
                Err(error) => {
                    let note = format!("scanning with connections, which is slower than raw packets: {error}");
                    (None, Some(Arc::from(note)))
                }
            },
        };
        let connect = connect::start(&config)?;
        let udp = Arc::new(udp::start(&config, connect.neighbours())?);
        Ok(Self { connect: Arc::new(connect), raw, udp, splits: Arc::default(), note, services: Arc::default() })
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
        Ok(Self {
            connect: Arc::new(connect::start(&config)?),
            splits: Arc::default(),
            note: None,
            services: Arc::default(),
        })
    }

    /// Makes these rules the ones by which services are known, for units that begin from now on.
    pub fn set_rules(&self, rules: RuleSet) {
        self.services.set_rules(rules);
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
        let is_asked = task.spec.services.is_some() && task.spec.profile != Profile::OtSafe;
        let asked = is_asked.then(|| task.clone());
        let scan = self.submit_parts(plan, task)?;
        Ok(match asked {
            Some(task) => self.services.attach(scan, &task),
            None => scan,
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
        task.scope.check(plan.target_set())?;
        Ok(plan)
    }

    /// Hands a unit to the kind of engine that suits it.
    #[cfg(target_os = "linux")]
    fn submit(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        let choice = task.spec.engine;
        let Some(raw) = self.raw.as_ref().filter(|raw| match choice {
            EngineChoice::Connect => false,
            EngineChoice::Raw => true,
            EngineChoice::Auto => raw.is_running() || !is_brief(&plan),
        }) else {
            return self.connect.submit(plan, task);
        };
        let raw = match raw.handle() {
            Ok(raw) => raw,
            Err(_) if choice == EngineChoice::Raw => {
                return Err(ScanError::Unsupported { what: "with raw packets" });
            }
            Err(_) => return self.connect.submit(plan, task),
        };
        match raw.submit(plan, task) {
            Ok(scan) => scan,
            Err(raw::NotRaw { why, .. }) if choice == EngineChoice::Raw => Err(ScanError::NotRaw { what: why }),
            Err(raw::NotRaw { why, unit }) => {
                tracing::debug!(why, "a unit is scanned with connections");
                let (plan, task) = *unit;
                self.connect.submit(plan, task)
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
