//! What the units of a job know together of the path that their probes go: how much it loses, by when, and the rate that it
//! takes. Units that each judged for themselves would take one's slowing down for room for the other, and the other's sending
//! for loss that no slowing down can mend.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::epochs::Epochs;
use super::flows::{Flows, Watch};
use super::rate::Rate;
use crate::plan::Plan;
use crate::spec::{Profile, ScanSpec, Timing};

/// What a scan begins with that nobody asked to be careful.
const FAST_PPS: f64 = 200_000.0;

/// A path, shared by its clones.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    epochs: Epochs,
    rate: Rate,
    flows: Flows,
    /// How long answers are waited for, by the last unit that knew a round trip.
    wait: Option<Duration>,
    has_answers: bool,
}

/// How a path is entered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Start {
    /// Probes per second at first.
    pub(crate) pps: f64,
    /// Whether the flows that the scan leaves open in routers are watched.
    pub(crate) watch: Watch,
}

impl Start {
    /// As a spec wants it.
    pub(crate) fn of(spec: &ScanSpec) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let given = spec.rate_pps.map(|pps| pps as f64);
        let (pps, watch) = match (given, spec.timing) {
            // The budget holds it exactly; a schedule of its own beside it would only lose slots where the two differ.
            (Some(pps), Timing::Polite) => (2.0 * pps, Watch::Always),
            (Some(pps), _) => (2.0 * pps, Watch::Nothing),
            (None, Timing::Polite) => (100.0, Watch::Always),
            (None, Timing::Normal) => (400.0, Watch::Growing),
            (None, Timing::Fast) => (FAST_PPS, Watch::Nothing),
        };
        // Nothing but single SYNs, and few of them.
        let watch = if spec.profile == Profile::OtSafe { Watch::Nothing } else { watch };
        Self { pps, watch }
    }
}

impl Start {
    /// As a plan wants it: behind this machine's own addresses is no network that could be too full.
    pub(crate) fn of_plan(plan: &Plan) -> Self {
        let start = Self::of(plan.spec());
        if plan.is_own_machine() { Self { pps: start.pps.max(FAST_PPS), watch: Watch::Nothing } } else { start }
    }
}

impl State {
    fn moment(&self) -> Moment {
        Moment { epoch: self.epochs.current(), pps: self.rate.pps() }
    }
}

/// What a unit knows of round trips.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTrip {
    /// Smoothed; `None` while nothing has answered.
    pub(super) smoothed: Option<Duration>,
    /// How long answers are waited for.
    pub(super) timeout: Duration,
}

/// The path at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The epoch that is running.
    pub(super) epoch: u32,
    /// Probes per second.
    pub(super) pps: f64,
}

impl Path {
    /// A path of which nothing is known.
    pub(crate) fn new(start: Start, now: Duration) -> Self {
        let (rate, flows) = (Rate::new(start.pps), Flows::new(start.watch));
        let state = State { epochs: Epochs::new(now), rate, flows, wait: None, has_answers: false };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Whether no other unit shares it.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.state) == 1
    }

    /// Moves on to `now`, judging the epochs of which all is known; so many answers have come since this was last called.
    pub(super) fn tick(&self, now: Duration, round_trip: RoundTrip, answers: u64) -> Moment {
        let mut state = self.lock();
        let State { epochs, rate, flows, wait, .. } = &mut *state;
        *wait = round_trip.smoothed.map(|_| round_trip.timeout).or(*wait);
        let running = epochs.current();
        epochs.advance(now, wait.unwrap_or(round_trip.timeout), |number, epoch| {
            rate.judge(number, epoch, running + 1);
            flows.judge(now, number, running + 1, epoch, rate.usual());
        });
        let round_trip = round_trip.smoothed.unwrap_or_default().as_millis() / super::epochs::EPOCH.as_millis();
        let per_answer = u32::try_from(round_trip).unwrap_or(u32::MAX).saturating_add(1);
        state.has_answers |= answers > 0;
        let epoch = state.epochs.current();
        state.rate.begin(epoch, answers, per_answer);
        if !state.has_answers {
            state.flows.dark(now);
        }
        state.moment()
    }

    /// The moment as it was when any unit looked last.
    pub(super) fn moment(&self) -> Moment {
        self.lock().moment()
    }

    /// Takes up to `wanted` slots of the rate.
    pub(super) fn admit(&self, now: Duration, wanted: u32) -> Result<u32, Duration> {
        self.lock().rate.admit(now, wanted)
    }

    /// So many probes were sent, and so many canaries among them.
    pub(super) fn sent(&self, probes: u32, canaries: u32) {
        self.lock().epochs.sent(probes, canaries);
    }

    /// A canary that was sent at a time has answered.
    pub(super) fn answered(&self, sent_at: Duration) {
        self.lock().epochs.answered(sent_at);
    }

    /// A canary was sent in a flow that is kept going, or its twin in a new one.
    pub(super) fn sent_of_pair(&self, is_kept: bool) {
        self.lock().epochs.sent_of_pair(is_kept);
    }

    /// One that was sent at a time has answered.
    pub(super) fn answered_of_pair(&self, is_kept: bool, sent_at: Duration) {
        self.lock().epochs.answered_of_pair(is_kept, sent_at);
    }

    /// How many more flows may be opened through routers; `u32::MAX` for any number.
    pub(super) fn flow_room(&self, now: Duration) -> u32 {
        self.lock().flows.room(now)
    }

    /// A flow that can be closed is opened through a router.
    pub(super) fn open_flow(&self, now: Duration) {
        self.lock().flows.open(now);
    }

    /// A query goes through a router, which remembers it for a while.
    pub(super) fn open_query(&self, now: Duration) {
        self.lock().flows.open_query(now);
    }

    /// A flow was closed.
    pub(super) fn close_flow(&self) {
        self.lock().flows.close();
    }

    /// A host behind a router has answered with this time to live.
    pub(super) fn note_distance(&self, ttl: u8) {
        self.lock().flows.note_distance(ttl);
    }

    /// Canaries whose fate is known.
    pub(super) fn known(&self) -> u32 {
        self.lock().epochs.known()
    }

    /// Share of round trips lost, over all that is known.
    pub(super) fn loss(&self) -> f64 {
        self.lock().epochs.loss()
    }

    /// Share of round trips lost, as it was measured: 0 before there was anything to measure.
    pub(super) fn measured_loss(&self) -> f64 {
        self.lock().epochs.measured_loss()
    }

    /// Share of round trips lost at any rate.
    pub(super) fn chance_loss(&self) -> f64 {
        self.lock().rate.usual()
    }

    /// Share of round trips lost among what was sent in these epochs, the last one included.
    pub(super) fn loss_between(&self, from: u32, to: u32) -> f64 {
        self.lock().epochs.loss_between(from, to)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked between two additions has left figures that are as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
