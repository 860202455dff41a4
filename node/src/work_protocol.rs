//! What the two ends of a work session say to each other, and over what: the worker's is `worker`, the leader's
//! `coordinator`.
//!
//! A session is two bounded queues of frames, over a mesh stream where the leader is another node, and within the process
//! where it is this one.

use futures::{SinkExt, StreamExt};
use pentora_p2p::{FrameError, FrameStream};
use pentora_raft::JobId;
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::{LeaseRef, UnitKey};
use pentora_raft::state::{Counts, Lease};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Frames that wait in one direction of a session; a beat every second or two and a few grants.
pub const LINK_FRAMES_MAX: usize = 64;

/// Probes per second that an engine is taken to be good for before a job was measured. The first unit is sized by it: one
/// that turns out too small costs its wait for late answers, and one too large keeps others waiting.
pub const CONNECT_PPS: f64 = 5_000.0;
/// The same for raw packets; each unit finds its rate anew, which takes a second or two of it.
pub const RAW_PPS: f64 = 100_000.0;

/// What a worker tells the leader. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerFrame {
    /// It is there, and works on these leases.
    Beat {
        /// Each lease with how far it is.
        leases: Vec<(LeaseRef, Figures)>,
        /// Targets per second of its latest units, by job.
        rates: Vec<(JobId, f64)>,
        /// Probes per second that its engine is good for, before a job was measured.
        engine_pps: f64,
    },
    /// What it says of itself, behind a beat; answered by [`LeaderFrame::Noted`].
    About(About),
}

/// What a worker says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its process, among all that ran as this node.
    pub instance: u128,
    /// How many milliseconds its clock is ahead of the leader's, once it knows.
    pub skew_ms: Option<i64>,
    /// Why it takes no work, if it takes none.
    pub rests: Option<String>,
}

/// How far a unit is that is out, by figures that no accepted part of it counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SentFigures", into = "SentFigures")]
pub struct Figures {
    /// Targets done.
    pub targets: u64,
    /// What was found and sent meanwhile. Only what people look at travels: see `SentFigures`.
    pub counts: Counts,
}

impl Figures {
    /// Adds what another unit has done.
    pub fn add(&mut self, other: &Self) {
        self.targets = self.targets.saturating_add(other.targets);
        self.counts.add(&other.counts);
    }
}

/// Figures as they travel.
#[derive(Serialize, Deserialize)]
struct SentFigures {
    targets: u64,
    hosts_up: u64,
    open_ports: u64,
    probes_sent: u64,
    lost_millionths: u64,
}

impl From<Figures> for SentFigures {
    fn from(Figures { targets, counts }: Figures) -> Self {
        let Counts { hosts_up, open_ports, probes_sent, lost_millionths, .. } = counts;
        Self { targets, hosts_up, open_ports, probes_sent, lost_millionths }
    }
}

impl From<SentFigures> for Figures {
    fn from(sent: SentFigures) -> Self {
        let SentFigures { targets, hosts_up, open_ports, probes_sent, lost_millionths } = sent;
        Self { targets, counts: Counts { hosts_up, open_ports, probes_sent, lost_millionths, ..Counts::default() } }
    }
}

/// What the leader tells a worker. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LeaderFrame {
    /// The session stands.
    Welcome {
        /// How often to beat, in milliseconds.
        heartbeat_ms: u64,
        /// How long a lease holds without word from a leader, in milliseconds.
        lease_term_ms: u64,
    },
    /// A beat was heard.
    Heard,
    /// These units are yours; again after a reconnection, which changes nothing for those already running.
    Grant(Vec<(UnitKey, Lease)>),
    /// These are yours no longer.
    Revoke(Vec<LeaseRef>),
    /// What you said of yourself was noted.
    Noted {
        /// The leader's wall clock, in Unix milliseconds.
        wall_ms: u64,
        /// Why the leader has you take no work, if it does.
        rest: Option<String>,
    },
    /// Count what is settled of these, hand the rest back, and end them: their job is to stop.
    EndEarly(Vec<LeaseRef>),
}

/// One side of a session: frames out, frames in. The session ends when either side drops it.
#[derive(Debug)]
pub struct Link<Out, In> {
    /// To the other side.
    pub out: mpsc::Sender<Out>,
    /// From the other side.
    pub from: mpsc::Receiver<In>,
}

/// A session's link over a mesh stream, for either end. Reading never waits for writing.
pub fn over<Out, In>(stream: FrameStream, tasks: &TaskTracker) -> Link<Out, In>
where
    Out: Serialize + Send + 'static,
    In: DeserializeOwned + Send + 'static,
{
    let (mut sink, mut source) = stream.split();
    let (out, mut to_send) = mpsc::channel::<Out>(LINK_FRAMES_MAX);
    let (received, from) = mpsc::channel::<In>(LINK_FRAMES_MAX);
    tasks.spawn(async move {
        while let Some(frame) = to_send.recv().await {
            let frame = codec::encode(Kind::WorkFrame, &frame).into();
            if sink.send(frame).await.is_err() {
                return;
            }
        }
        // The other side learns of the end either way; closing only tells it sooner.
        drop(sink.close().await);
    });
    tasks.spawn(async move {
        while let Some(frame) = source.next().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error @ FrameError::Refused { .. }) => {
                    tracing::warn!(%error, "work session refused");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "work session ended");
                    return;
                }
            };
            let frame = match codec::decode(Kind::WorkFrame, &frame) {
                Ok(frame) => frame,
                Err(error) => {
                    tracing::warn!(%error, "work session ended: a frame does not decode");
                    return;
                }
            };
            if received.send(frame).await.is_err() {
                return;
            }
        }
    });
    Link { out, from }
}

/// The two ends of a session within one process.
#[must_use]
pub fn pair() -> (Link<WorkerFrame, LeaderFrame>, Link<LeaderFrame, WorkerFrame>) {
    let (to_leader, from_worker) = mpsc::channel(LINK_FRAMES_MAX);
    let (to_worker, from_leader) = mpsc::channel(LINK_FRAMES_MAX);
    (Link { out: to_leader, from: from_leader }, Link { out: to_worker, from: from_worker })
}
