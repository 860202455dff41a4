//! Whether the routers on a path still have room for new flows, for an engine that cannot close those that it leaves open.
//!
//! A connection that stays unanswered leaves an entry in each device on the way that remembers flows ([`super::flows`]), and nothing
//! that an ordinary socket can send takes it back. When such a device is full it drops whatever is new, and a scan that goes on takes
//! that for silence: half of the open ports behind a small office's router were missed so, and the scan called itself complete.
//! So a scan asks every now and then, in new flows, what is known to answer. Where that gets lost it stops for a moment and asks
//! again. It answers: the loss was the rate's, or one host's, and others judge that. It does not: something is full. What was asked since
//! the last answer is asked again later, fewer flows are left open from then on, and nothing but that question is sent until it is
//! answered. How many flows a path has proved to take is its window, as with raw packets (`syn_scan/flows.rs`).
//!
//! Pure: told the time. Shared by the units of a job.

use std::collections::VecDeque;
use std::time::Duration;

/// Flows that any path takes: a quarter of the smallest table in common use.
const START: f64 = 1024.0;
/// With fewer than this nothing is asked: it is not us who fill anything.
const ACTIVE_MIN: u32 = 512;
/// Up to here the window is doubled: half of that table.
const SURE: f64 = 2048.0;
/// How it grows beyond, per step.
const STEP: f64 = 1.5;
/// How it grows per second while there is nobody to ask.
const STEP_DARK: f64 = 2.0;
const DARK_EVERY: Duration = Duration::from_secs(1);
/// Beyond this there is no limit: tables of that size are those of carriers.
const MOST: f64 = 65_536.0;
/// How much of what was too many is used later: the rest is left to others.
const ROOM_LEFT: f64 = 0.75;
/// It is never smaller.
const LEAST: f64 = 256.0;
/// Questions that are judged together.
const JUDGED: usize = 16;
/// So many lost in a row are enough to doubt.
const LOST_IN_A_ROW: usize = 8;
/// Questions for a step of the window, and the share that may be lost beyond what is usual.
const STEP_MIN: u32 = 8;
const STEP_LOST: f64 = 0.2;
/// Questions that are remembered while they are out: more are never, at the least time between two.
const OUT_MAX: usize = 1024;
/// One question for so many probes, and the least time between two.
const PROBES_PER_QUESTION: u32 = 16;
const GAP: Duration = Duration::from_millis(2);
/// The time between two while the window is what holds the scan up.
const GAP_HELD: Duration = Duration::from_millis(25);
/// A doubt begins with so much rest: what a rate has lost is over by then, what a table holds is not.
const REST: Duration = Duration::from_secs(1);
/// Questions of a test, and those of them that must come.
const TEST: u32 = 6;
const TEST_CAME: u32 = 2;
/// How long their answers may take.
const TEST_WAIT: Duration = Duration::from_secs(5);
/// From one test to the next while something is full.
const TEST_EVERY: Duration = Duration::from_millis(2500);
/// On a path that loses more than this, all of a test must be lost, and what passes again within this time was not full.
const LOSSY: f64 = 0.15;
const CHANCE_MAX: Duration = Duration::from_secs(5);
/// After a doubt for nothing there is none for so long, and twice as long after the next.
const CALM: Duration = Duration::from_secs(5);
const CALM_MAX: Duration = Duration::from_secs(80);
/// Longest time for which something is taken for full without any answer: longer than a SYN's entry is kept. Then whoever
/// answered is gone, or others keep it full, and what is silent stays unproved.
const FULL_MAX: Duration = Duration::from_secs(150);
/// After that no doubt is believed for so long: whoever stopped to answer says nothing of the routers.
const GONE_CALM: Duration = Duration::from_secs(600);
/// From one question to the next while nobody who had answered does any more.
const GAP_UNPROVED: Duration = Duration::from_secs(1);
/// Whoever has asked nothing for so long has nobody to ask.
const QUIET: Duration = Duration::from_secs(2);

/// Whoever has not looked for so long was held up by something else.
const AWAY: Duration = Duration::from_millis(1500);

/// What the silence of a flow means that was opened at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It was let through, as far as anybody knows.
    Told,
    /// Nothing that was asked since has had its time yet.
    Unknown,
    /// It was not let through: it is as if it had not been sent.
    Void,
    /// Nobody who had answered does any more.
    Unproved,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Open,
    /// New flows get lost; asked again from this time on.
    Doubted {
        from: Duration,
    },
    /// Something is full; asked again from a time on. What the window was before, should it turn out not to be.
    Full {
        since: Duration,
        from: Duration,
        before: (f64, Option<f64>),
    },
}

/// The questions of the running test.
#[derive(Debug, Clone, Copy, Default)]
struct Test {
    begun: Option<Duration>,
    sent: u32,
    came: u32,
    lost: u32,
}

/// The room of a job's paths.
#[derive(Debug)]
pub(crate) struct FlowRoom {
    window: f64,
    most: Option<f64>,
    state: State,
    test: Test,
    /// Questions that are out: when they were sent, and how many flows were open then.
    out: VecDeque<(Duration, u32)>,
    /// The last ones that had their time: when they were sent, whether an answer came, and how many flows were open.
    recent: VecDeque<(Duration, bool, u32)>,
    /// How many flows were open when the first question got lost.
    open_at_loss: u32,
    /// The loss of the path at any rate, as it was then.
    usual: f64,
    /// Questions that came and were lost since the window has changed.
    step: (u32, u32),
    changed_at: Option<Duration>,
    /// The latest question that has had its time, by when it was sent, and when that was known.
    judged_until: Duration,
    judged_at: Duration,
    /// Flows that were opened from the first time to the second were not let through.
    void: Option<(Duration, Duration)>,
    calm_until: Duration,
    calm: Duration,
    is_unproved: bool,
    asked_at: Duration,
    since_question: u32,
    looked_at: Duration,
    /// The latest flow whose silence waits for a question.
    wanted: Duration,
}

impl Default for FlowRoom {
    fn default() -> Self {
        Self {
            window: START,
            most: None,
            state: State::Open,
            test: Test::default(),
            out: VecDeque::new(),
            recent: VecDeque::new(),
            open_at_loss: 0,
            usual: 0.0,
            step: (0, 0),
            changed_at: None,
            judged_until: Duration::ZERO,
            judged_at: Duration::ZERO,
            void: None,
            calm_until: Duration::ZERO,
            calm: CALM,
            is_unproved: false,
            asked_at: Duration::ZERO,
            since_question: 0,
            looked_at: Duration::ZERO,
            wanted: Duration::ZERO,
        }
    }
}

impl FlowRoom {
    /// Whether one more flow may be opened beside the `open` ones.
    pub(crate) fn admits(&mut self, now: Duration, open: u32) -> bool {
        self.go_on(now);
        let changed_at = *self.changed_at.get_or_insert(now);
        let is_dark = now >= self.judged_at + QUIET && self.is_used(open);
        if self.state == State::Open && is_dark && self.is_watched() && now >= changed_at + DARK_EVERY {
            self.widen(now, STEP_DARK);
        }
        self.state == State::Open && (!self.is_watched() || f64::from(open) < self.window)
    }

    /// A probe is sent in a new flow.
    pub(crate) fn opened(&mut self) {
        self.since_question = self.since_question.saturating_add(1);
    }

    /// Lets the clock decide what it alone does: for whoever neither asks nor sends at the moment, so that no doubt outlives those
    /// who had it.
    pub(crate) fn look(&mut self, now: Duration) {
        self.go_on(now);
    }

    /// Whether something that is known to answer should be asked now.
    pub(crate) fn wants_question(&mut self, now: Duration, open: u32) -> bool {
        self.go_on(now);
        let is_regular = match self.state {
            State::Open if !self.is_watched() || (open < ACTIVE_MIN && !self.is_unproved) => return false,
            State::Open => {
                let is_held = f64::from(open) >= self.window && self.most.is_none();
                let is_wanted = is_held || self.wanted > self.asked_at || self.is_unanswered(now);
                self.since_question >= PROBES_PER_QUESTION
                    || (is_wanted && now >= self.asked_at + GAP_HELD)
                    || (self.is_unproved && now >= self.asked_at + GAP_UNPROVED)
            }
            State::Doubted { from } | State::Full { from, .. } => now >= from && self.test.sent < TEST,
        };
        is_regular && now >= self.asked_at + GAP
    }

    /// A question is sent.
    pub(crate) fn asked(&mut self, now: Duration, open: u32) {
        if self.out.len() >= OUT_MAX {
            self.out.pop_front();
        }
        self.out.push_back((now, open));
        (self.asked_at, self.since_question) = (now, 0);
        if self.state != State::Open {
            self.test.begun.get_or_insert(now);
            self.test.sent += 1;
        }
    }

    /// A question that was asked at a time was never sent, or nobody listens for its answer any more: it is as if it had not been asked.
    pub(crate) fn withdraw(&mut self, sent_at: Duration) {
        let Some(at) = self.out.iter().position(|(of, _)| *of == sent_at) else { return };
        self.out.remove(at);
        if self.test.begun.is_some_and(|begun| sent_at >= begun) {
            self.test.sent = self.test.sent.saturating_sub(1);
        }
    }

    /// A question that was sent at a time has been answered, or not in time; `usual` is the loss of the path at any rate.
    pub(crate) fn answered(&mut self, now: Duration, sent_at: Duration, came: bool, usual: f64, open: u32) {
        (self.judged_until, self.judged_at) = (self.judged_until.max(sent_at), now);
        self.is_unproved &= !came;
        let at = self.out.iter().position(|(of, _)| *of == sent_at);
        let open_then = at.and_then(|at| self.out.remove(at)).map_or(open, |(_, open)| open);
        if self.state != State::Open {
            if self.test.begun.is_some_and(|begun| sent_at >= begun) {
                self.test.came += u32::from(came);
                self.test.lost += u32::from(!came);
                self.end_test(now);
            }
            return;
        }
        if self.recent.len() >= JUDGED {
            self.recent.pop_front();
        }
        self.recent.push_back((sent_at, came, open_then));
        let (kept, lost) = &mut self.step;
        *if came { kept } else { lost } += 1;
        if self.is_doubtful(now, usual) {
            let lost = self.recent.iter().filter(|(_, came, _)| !came).map(|(sent_at, _, open)| (*sent_at, *open));
            let (first, open_then) = lost.min().unwrap_or((sent_at, open_then));
            (self.void, self.open_at_loss, self.usual) = (Some((first, Duration::MAX)), open_then, usual);
            self.state = State::Doubted { from: now + REST };
            self.test = Test::default();
            return;
        }
        let (kept, lost) = self.step;
        let asked = kept + lost;
        if asked >= STEP_MIN && f64::from(lost) <= f64::from(asked) * (usual + STEP_LOST) {
            if self.is_used(open) {
                self.widen(now, if self.window < SURE { 2.0 } else { STEP });
            }
            self.step = (0, 0);
        } else if asked >= 8 * STEP_MIN {
            self.step = (0, 0);
        }
    }

    /// What the silence of a flow means that was opened at a time; `asks` if there is somebody to be asked.
    pub(crate) fn silence(&mut self, now: Duration, opened_at: Duration, open: u32, asks: bool) -> Silence {
        if self.void.is_some_and(|(from, to)| (from..=to).contains(&opened_at)) {
            let is_undecided = matches!(self.state, State::Doubted { .. });
            return if is_undecided { Silence::Unknown } else { Silence::Void };
        }
        if self.is_unproved {
            return Silence::Unproved;
        }
        let is_active = self.is_watched() && open >= ACTIVE_MIN;
        let is_quiet = !asks && now >= self.judged_at + QUIET;
        if !is_active || opened_at <= self.judged_until || is_quiet {
            return Silence::Told;
        }
        if now >= opened_at + FULL_MAX {
            // In all that time nobody was able to ask.
            return Silence::Unproved;
        }
        self.wanted = self.wanted.max(opened_at);
        Silence::Unknown
    }

    /// Whether the path was found to have room for few flows.
    pub(crate) fn is_scarce(&self) -> bool {
        self.most.is_some()
    }

    /// A way was lost: whoever was asked may have been behind it.
    pub(crate) fn forget(&mut self) {
        *self = Self { window: self.window, most: self.most, calm: self.calm, ..Self::default() };
    }

    /// Whether a silence waits for a question that was asked and never judged, and none that is out can tell.
    fn is_unanswered(&self, now: Duration) -> bool {
        let is_out = |(at, _): &(Duration, u32)| *at >= self.wanted && now < *at + TEST_WAIT;
        self.wanted > self.judged_until && !self.out.iter().any(is_out)
    }

    /// Whether so many flows are open that more say something.
    fn is_used(&self, open: u32) -> bool {
        f64::from(open) >= 0.75 * self.window
    }

    fn is_watched(&self) -> bool {
        self.window < MOST
    }

    fn is_doubtful(&self, now: Duration, usual: f64) -> bool {
        let lost = self.recent.iter().filter(|(_, came, _)| !came).count();
        let asked = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        let most = f64::from(asked) * (usual + 0.5 * (1.0 - usual));
        let is_row = self.recent.iter().rev().take_while(|(_, came, _)| !came).count() >= LOST_IN_A_ROW;
        let is_share = self.recent.len() >= JUDGED && f64::from(u32::try_from(lost).unwrap_or(u32::MAX)) > most;
        self.is_watched() && now >= self.calm_until && (is_row || is_share)
    }

    /// What the clock alone decides.
    fn go_on(&mut self, now: Duration) {
        // While nobody has looked, nobody could ask either.
        let was_away = now >= self.looked_at + AWAY;
        self.looked_at = now;
        if let (State::Doubted { from } | State::Full { from, .. }, true) = (&mut self.state, was_away) {
            *from = (*from).max(now);
            self.test = Test::default();
        }
        match self.state {
            State::Open => {}
            // Nobody is left to ask, or to hear of it.
            State::Doubted { from } | State::Full { from, .. } if now >= from + 2 * TEST_WAIT => {
                if self.test.came + self.test.lost > 0 { self.judge_test(now) } else { self.dismiss(now) }
            }
            State::Full { since, before, .. } if now >= since + FULL_MAX => {
                // Nobody has said that anything was full.
                (self.window, self.most) = before;
                self.calm_until = now + GONE_CALM;
                self.reopen(now);
                self.is_unproved = true;
            }
            State::Doubted { .. } | State::Full { .. } => self.end_test(now),
        }
    }

    /// Ends the test that is running if all its answers are in, or had their time.
    fn end_test(&mut self, now: Duration) {
        let Test { begun, sent, came, lost } = self.test;
        let Some(begun) = begun else { return };
        let told = came + lost;
        if sent >= TEST && told >= sent {
            self.judge_test(now);
        } else if now >= begun + TEST_WAIT {
            // Of questions that nobody waits for any more nothing is known.
            self.test.sent = told;
            if told > 0 { self.judge_test(now) } else { self.test = Test::default() }
        }
    }

    fn judge_test(&mut self, now: Duration) {
        let Test { sent, came, .. } = std::mem::take(&mut self.test);
        let is_lossy = self.usual > LOSSY;
        let needed = if is_lossy { 1 } else { TEST_CAME };
        let has_passed = came >= needed.min(sent).max(1);
        match self.state {
            State::Doubted { .. } if has_passed => self.dismiss(now),
            // On a path that loses much it was chance: a table hardly forgets anything so soon.
            State::Full { since, before, .. } if has_passed && is_lossy && now < since + CHANCE_MAX => {
                (self.window, self.most) = before;
                self.dismiss(now);
            }
            State::Full { .. } if has_passed => self.reopen(now),
            State::Doubted { .. } => {
                let before = (self.window, self.most);
                // What was opened since then found no room.
                let most = (self.window.min(f64::from(self.open_at_loss)) * ROOM_LEFT).max(LEAST);
                (self.most, self.window) = (Some(most), most);
                self.state = State::Full { since: now, from: now + TEST_EVERY, before };
            }
            State::Full { since, before, .. } => {
                self.state = State::Full { since, from: now + TEST_EVERY, before };
            }
            State::Open => {}
        }
    }

    /// The doubt was for nothing: what was asked meanwhile counts, and for a while there is no other.
    fn dismiss(&mut self, now: Duration) {
        self.calm_until = now + self.calm;
        self.calm = (2 * self.calm).min(CALM_MAX);
        self.void = None;
        self.reopen(now);
    }

    fn reopen(&mut self, now: Duration) {
        self.state = State::Open;
        if let Some((_, to)) = &mut self.void {
            *to = (*to).min(now);
        }
        self.recent.clear();
        (self.step, self.test, self.changed_at) = ((0, 0), Test::default(), Some(now));
        self.judged_until = self.judged_until.max(now);
        self.judged_at = now;
    }

    fn widen(&mut self, now: Duration, step: f64) {
        self.window = (self.window * step).min(self.most.unwrap_or(MOST));
        (self.step, self.changed_at) = ((0, 0), Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START_AT: Duration = Duration::from_secs(100);

    /// Opens as many flows as are admitted, 50 per millisecond at most, behind a table with room for so many, and asks when it is
    /// wanted. Returns how many are open, and how long nothing new got through.
    fn drive(room: &mut FlowRoom, millis: u32, table: u32, is_lossy: impl Fn(Duration) -> bool) -> (u32, u32) {
        let (mut open, mut refused) = (0, 0);
        for at in 0..millis {
            let now = START_AT + MS * at;
            for _ in 0..50 {
                if room.admits(now, open) {
                    open += u32::from(open < table);
                    room.opened();
                }
            }
            refused += u32::from(open >= table);
            if room.wants_question(now, open) {
                room.asked(now, open);
                room.answered(now, now, open < table && !is_lossy(now), 0.0, open);
            }
        }
        (open, refused)
    }

    #[test]
    fn a_path_without_a_table_is_soon_not_watched_any_more() {
        let mut room = FlowRoom::default();
        let (open, _) = drive(&mut room, 5000, u32::MAX, |_| false);
        assert!(!room.is_watched() && open > 100_000, "{open} {}", room.window);
        let mut dark = FlowRoom::default();
        let admitted = |second: u64, dark: &mut FlowRoom| dark.admits(Duration::from_secs(100 + second), 60_000);
        assert!(!admitted(0, &mut dark));
        assert!((1..8).any(|second| admitted(second, &mut dark)), "where nobody can be asked it opens by the clock");
    }

    #[test]
    fn a_full_table_is_noticed_and_nothing_is_sent_until_it_has_room() {
        let mut room = FlowRoom::default();
        let (open, _) = drive(&mut room, 5000, 4096, |_| false);
        assert_eq!(open, 4096);
        assert!(matches!(room.state, State::Full { .. }) && room.is_scarce(), "{room:?}");
        assert_eq!(room.silence(START_AT + 5000 * MS, START_AT + 4900 * MS, open, true), Silence::Void);
        assert_eq!(room.silence(START_AT + 5000 * MS, START_AT, open, true), Silence::Told, "that was let through");
        // Its entries are forgotten: it is asked again, and goes on with less.
        let later = START_AT + Duration::from_secs(125);
        assert!(!room.admits(later, 0));
        for turn in 0..TEST {
            let now = later + 3 * MS * turn;
            assert!(room.wants_question(now, 0), "{turn}");
            room.asked(now, open);
            room.answered(now, now, true, 0.0, 0);
        }
        let now = later + 20 * MS;
        assert!(room.admits(now, 3000) && !room.admits(now, 3100), "three quarters of what was too many");
    }

    #[test]
    fn what_a_rate_loses_is_no_full_table() {
        let mut room = FlowRoom::default();
        // Half a second of loss, which is over when the scan rests.
        let lost = START_AT + 50 * MS..START_AT + 550 * MS;
        drive(&mut room, 4000, u32::MAX, |now| lost.contains(&now));
        assert!(!room.is_scarce() && room.state == State::Open, "{room:?}");
        assert_eq!(
            room.silence(START_AT + 4000 * MS, START_AT + 120 * MS, 9000, true),
            Silence::Told,
            "it counts as ever"
        );
    }

    #[test]
    fn where_nobody_answers_any_more_silence_is_unproved() {
        let mut room = FlowRoom::default();
        drive(&mut room, 2500, 4096, |_| false);
        let mut now = START_AT + 2500 * MS;
        while now < START_AT + Duration::from_secs(170) {
            now += 20 * MS;
            if room.wants_question(now, 100) {
                room.asked(now, 100);
                room.answered(now, now, false, 0.0, 100);
            }
        }
        assert!(room.admits(now, 100));
        assert_eq!(room.silence(now, now, 100, true), Silence::Unproved);
        room.answered(now, now, true, 0.0, 100);
        assert_eq!(room.silence(now, now, 100, true), Silence::Told);
    }

    /// A doubt, of which eight lost questions are enough.
    fn doubted() -> FlowRoom {
        let mut room = FlowRoom::default();
        for turn in 0..8 {
            room.asked(START_AT + GAP * turn, 2000);
            room.answered(START_AT + GAP * turn + 500 * MS, START_AT + GAP * turn, false, 0.0, 2000);
        }
        assert!(matches!(room.state, State::Doubted { .. }), "{room:?}");
        room
    }

    #[test]
    fn a_doubt_ends_by_the_clock_when_whoever_had_it_is_gone() {
        let mut room = doubted();
        let opened_at = START_AT + 100 * MS;
        for tenth in 10..130 {
            let now = START_AT + 100 * MS * tenth;
            assert_eq!(room.silence(now, opened_at, 2000, false), Silence::Unknown, "{now:?}");
            room.look(now);
            if room.state == State::Open {
                break;
            }
        }
        let now = START_AT + Duration::from_secs(16);
        assert_eq!(room.silence(now, opened_at, 2000, false), Silence::Told);
        assert!(!room.is_scarce());
    }

    #[test]
    fn questions_for_whose_answers_nobody_waits_do_not_make_a_table_full() {
        let mut room = doubted();
        let asked_at = START_AT + 2000 * MS;
        for turn in 0..TEST {
            assert!(room.wants_question(asked_at + GAP * turn, 2000));
            room.asked(asked_at + GAP * turn, 2000);
        }
        // Whoever has asked is gone, another one looks on.
        for tenth in 20..200 {
            room.look(START_AT + 100 * MS * tenth);
        }
        assert!(room.state == State::Open && !room.is_scarce(), "{room:?}");
    }

    #[test]
    fn a_question_that_was_not_sent_or_has_nobody_waiting_for_it_is_asked_again() {
        for is_withdrawn in [true, false] {
            let mut room = FlowRoom::default();
            room.asked(START_AT, 600);
            room.answered(START_AT + MS, START_AT, true, 0.0, 600);
            let opened_at = START_AT + 10 * MS;
            assert_eq!(room.silence(START_AT + 500 * MS, opened_at, 600, true), Silence::Unknown);
            let asked_at = START_AT + 501 * MS;
            assert!(room.wants_question(asked_at, 600));
            room.asked(asked_at, 600);
            if is_withdrawn {
                room.withdraw(asked_at);
            }
            let soon = asked_at + GAP_HELD;
            assert_eq!(room.wants_question(soon, 600), is_withdrawn);
            assert!(room.wants_question(asked_at + TEST_WAIT, 600));
            let late = opened_at + FULL_MAX;
            assert_eq!(room.silence(late, opened_at, 600, true), Silence::Unproved, "it is not waited for for ever");
        }
    }
}
