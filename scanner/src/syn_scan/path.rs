//! What the units of a job know together of the path that their probes go: how much it loses, by when, and the rate that it
//! takes. Units that each judged for themselves would take one's slowing down for room for the other, and the other's sending
//! for loss that no slowing down can mend.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::epochs::Epochs;
use super::rate::Rate;

/// A path, shared by its clones.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    epochs: Epochs,
    rate: Rate,
    /// How long answers are waited for, by the last unit that knew a round trip.
    wait: Option<Duration>,
    has_answers: bool,
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
    /// A path of which nothing is known, asked at `start_pps` at first.
    pub(crate) fn new(start_pps: f64, now: Duration) -> Self {
        let state = State { epochs: Epochs::new(now), rate: Rate::new(start_pps), wait: None, has_answers: false };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Whether no other unit shares it.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.state) == 1
    }

    /// Moves on to `now`, judging the epochs of which all is known.
    pub(super) fn tick(&self, now: Duration, round_trip: RoundTrip, has_answers: bool) -> Moment {
        let mut state = self.lock();
        let State { epochs, rate, wait, .. } = &mut *state;
        *wait = round_trip.smoothed.map(|_| round_trip.timeout).or(*wait);
        let running = epochs.current();
        epochs.advance(now, wait.unwrap_or(round_trip.timeout), |number, epoch| rate.judge(number, epoch, running + 1));
        let round_trip = round_trip.smoothed.unwrap_or_default().as_millis() / super::epochs::EPOCH.as_millis();
        let per_answer = u32::try_from(round_trip).unwrap_or(u32::MAX).saturating_add(1);
        state.has_answers |= has_answers;
        let (epoch, has_answers) = (state.epochs.current(), state.has_answers);
        state.rate.begin(epoch, has_answers, per_answer);
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
