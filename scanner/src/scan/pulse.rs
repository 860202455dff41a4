//! Whether a host that has answered still does.
//!
//! Where a filter drops what it does not let through, most ports of a host are silent. So are all of them once something before the host
//! has had enough of the scanner and drops whatever it sends. What tells the two apart are ports that have answered a moment ago: when
//! many have been asked since the last answer, such a port is asked once more. If it answers, the others are filtered. If none of a few
//! does, the host has stopped answering: it is asked nothing more, and of what was asked since its last answer nothing is known.
//!
//! A host is silent for a moment for many reasons: a way that changes, a roaming client. So it has stopped only once it was silent for
//! seconds, during which it is left alone but for these questions. One known port alone proves nothing: it may have a limit of its own.
//!
//! Pure: told what is sent and heard. `K` names what is asked, a port or a probe.

use std::time::Duration;

/// So long must a host have been silent before it has stopped answering: what is lost for a moment is back by then.
const STOPPED_MIN: Duration = Duration::from_secs(8);
/// The time from one question in vain to the next until then.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);
/// Ports asked since the last answer before one that is known is asked again; twice as many each time that it answers.
const GAP: u32 = 32;
/// The same when all have been asked: a handful is silent by chance.
const GAP_LAST: u32 = 8;
/// Ports of a host that are kept for it.
const KNOWN: usize = 3;

/// What is known of one host.
#[derive(Debug)]
pub(crate) struct Pulse<K> {
    /// What it is known to answer.
    known: [Option<K>; KNOWN],
    /// How many of its ports had been asked at its last answer.
    alive: u32,
    /// The same at two answers before that, and when they were: what was asked until a round trip before the last answer has come in
    /// time, and of what was out then nothing is known.
    marks: [(Duration, u32); 2],
    /// When it answered last.
    at: Duration,
    /// Probes that it had been sent then.
    sent: u32,
    gap: u32,
    asked: u8,
    /// Whether a question is out, or is to be sent whatever was asked since.
    is_out: bool,
    is_wanted: bool,
    has_stopped: bool,
}

impl<K> Default for Pulse<K> {
    fn default() -> Self {
        Self {
            known: [const { None }; KNOWN],
            alive: 0,
            marks: [(Duration::ZERO, 0); 2],
            at: Duration::ZERO,
            sent: 0,
            gap: GAP,
            asked: 0,
            is_out: false,
            is_wanted: false,
            has_stopped: false,
        }
    }
}

impl<K: Copy + PartialEq> Pulse<K> {
    /// Something has answered that may be asked once more.
    pub(crate) fn know(&mut self, what: K) {
        if !self.known.contains(&Some(what)) {
            self.known.iter_mut().find(|known| known.is_none()).into_iter().for_each(|free| *free = Some(what));
        }
    }

    /// The host has answered for itself, when `asked` of its ports had been asked for the first time, by so many probes. An answer
    /// takes no longer than `within`.
    pub(crate) fn answered(&mut self, now: Duration, asked: u32, sent: u32, within: Duration) {
        let [_, recent] = self.marks;
        if self.asked > 0 {
            self.gap = self.gap.saturating_mul(2);
            // It answers behind all that was asked.
            self.marks = [(now, asked); 2];
        } else if now >= recent.0 + within || recent.1 == 0 {
            self.marks = [recent, (now, asked)];
        }
        (self.alive, self.at, self.sent) = (asked, now, sent);
        (self.asked, self.is_out, self.is_wanted) = (0, false, false);
    }

    /// Whether it is to be asked now, `asked` of its ports having been asked.
    pub(crate) fn wants(&self, asked: u32) -> bool {
        let is_due = self.asked > 0 || self.is_wanted || asked.saturating_sub(self.alive) >= self.gap;
        is_due && !self.is_out && !self.has_stopped && self.has_known()
    }

    /// All its ports have been asked: whether it has to be asked before it ends, which it then wants.
    pub(crate) fn wants_last(&mut self, asked: u32) -> bool {
        let is_due = asked.saturating_sub(self.alive) >= GAP_LAST;
        self.is_wanted = is_due && !self.has_stopped && self.has_known();
        self.is_wanted
    }

    fn has_known(&self) -> bool {
        self.known.iter().any(Option::is_some)
    }

    /// What to ask it next.
    pub(crate) fn ask(&mut self) -> Option<K> {
        let known = || self.known.iter().flatten().copied();
        let next = known().nth(usize::from(self.asked) % known().count().max(1))?;
        self.asked = self.asked.saturating_add(1);
        (self.is_out, self.is_wanted) = (true, false);
        Some(next)
    }

    /// A question could not be sent now.
    pub(crate) fn take_back(&mut self) {
        self.asked = self.asked.saturating_sub(1);
        (self.is_out, self.is_wanted) = (false, true);
    }

    /// Whether a question is still of use.
    pub(crate) fn is_asking(&self) -> bool {
        self.is_out
    }

    /// What was asked refuses by the host's own word, or of this machine's own: that is nobody to ask any more, and no silence.
    pub(crate) fn refused(&mut self, what: K) {
        self.known.iter_mut().filter(|known| **known == Some(what)).for_each(|known| *known = None);
        (self.asked, self.is_out, self.is_wanted) = (0, false, false);
    }

    /// A question was in vain; true if so many were, for so long, that the host has stopped answering.
    pub(crate) fn missed(&mut self, now: Duration, asked_max: f64) -> bool {
        if !std::mem::replace(&mut self.is_out, false) {
            return false;
        }
        let is_enough = f64::from(self.asked) >= asked_max && now >= self.at + STOPPED_MIN;
        if is_enough && self.known.iter().flatten().count() < 2 {
            (self.known, self.asked) = ([const { None }; KNOWN], 0);
            return false;
        }
        self.has_stopped = is_enough;
        self.has_stopped
    }

    /// Whether the host has stopped answering.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// Probes that it had been sent when it answered last.
    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    /// The first ports of its walk whose silence is its own, if these are not all.
    pub(crate) fn settled(&self) -> Option<u32> {
        let [(_, before), _] = self.marks;
        self.has_stopped.then_some(before)
    }

    /// The share of so many ports that it was not there for.
    pub(crate) fn missed_of(&self, ports: u32) -> f64 {
        let settled = self.settled().unwrap_or(ports).min(ports);
        1.0 - f64::from(settled) / f64::from(ports.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(100);

    fn alive_at(asked: u32) -> Pulse<u16> {
        let mut pulse = Pulse::default();
        pulse.know(22);
        pulse.answered(Duration::ZERO, asked - 2, 8, WITHIN);
        pulse.answered(WITHIN, asked, 10, WITHIN);
        pulse
    }

    #[test]
    fn a_known_port_is_asked_after_many_that_are_silent_and_more_rarely_each_time_that_it_answers() {
        let mut pulse = alive_at(10);
        assert_eq!([41, 42].map(|asked| pulse.wants(asked)), [false, true]);
        assert_eq!(pulse.ask(), Some(22));
        assert!(!pulse.wants(500) && pulse.is_asking(), "one after the other");
        pulse.answered(WITHIN, 60, 70, WITHIN);
        assert_eq!([123, 124].map(|asked| pulse.wants(asked)), [false, true]);
        assert!(!pulse.has_stopped() && pulse.settled().is_none() && pulse.missed_of(1000) == 0.0);
        let nobody: Pulse<u16> = Pulse::default();
        assert!(!nobody.wants(1000), "nothing is known to answer");
    }

    #[test]
    fn a_host_none_of_whose_known_ports_answers_has_stopped_and_what_was_asked_since_is_not_known() {
        let mut pulse = alive_at(200);
        [22, 80, 443, 993].iter().for_each(|port| pulse.know(*port));
        for port in [22, 80, 443] {
            assert!(!pulse.has_stopped() && pulse.wants(300));
            assert_eq!(pulse.ask(), Some(port));
            let mut missed = || pulse.missed(WITHIN + STOPPED_MIN, 3.0);
            assert_eq!((missed(), missed()), (port == 443, false), "each counts once");
        }
        assert!(pulse.has_stopped() && !pulse.wants(300) && !pulse.wants_last(1000));
        assert_eq!((pulse.sent(), pulse.settled()), (10, Some(198)));
        assert!((pulse.missed_of(1000) - 0.802).abs() < 1e-9);
    }

    #[test]
    fn what_was_out_when_a_host_stopped_is_not_known() {
        let (mut pulse, ms) = (Pulse::default(), Duration::from_millis);
        [22, 80].iter().for_each(|port| pulse.know(*port));
        // A port a millisecond, and an answer each ten.
        (1..=100).for_each(|at| pulse.answered(ms(u64::from(at) * 10), at * 10, at * 10, WITHIN));
        for _ in 0..3 {
            assert!(pulse.ask().is_some());
            pulse.missed(ms(1000) + STOPPED_MIN, 3.0);
        }
        let settled = pulse.settled().unwrap();
        assert!(
            (790..=900).contains(&settled),
            "those of the last round trip are not settled, and of the others not many: {settled}"
        );
        // After a question that was answered all that was asked is.
        let mut pulse = alive_at(200);
        pulse.know(80);
        pulse.ask();
        pulse.answered(ms(500), 400, 300, WITHIN);
        for _ in 0..3 {
            pulse.ask();
            pulse.missed(ms(500) + STOPPED_MIN, 3.0);
        }
        assert_eq!(pulse.settled(), Some(400));
    }

    #[test]
    fn neither_a_moment_nor_one_port_alone_is_a_host_that_has_stopped() {
        let mut pulse = alive_at(200);
        pulse.know(80);
        for _ in 0..9 {
            assert!(
                pulse.ask().is_some() && !pulse.missed(WITHIN + STOPPED_MIN - PAUSE, 3.0),
                "it was silent for a moment"
            );
        }
        pulse.refused(80);
        for number in 0..3 {
            assert_eq!(pulse.ask(), Some(22));
            assert!(
                !pulse.missed(WITHIN + STOPPED_MIN, 3.0) && pulse.has_known() == (number < 2),
                "22 may have a limit of its own"
            );
        }
        assert!(!pulse.wants(1000) && !pulse.has_stopped());
    }

    #[test]
    fn in_the_end_a_handful_of_silent_ports_is_enough_to_ask() {
        let mut pulse = alive_at(93);
        assert!(!pulse.wants_last(100) && !pulse.wants(100));
        let mut pulse = Pulse { alive: 92, ..std::mem::take(&mut pulse) };
        assert!(pulse.wants_last(100) && pulse.wants(100));
        assert_eq!(pulse.ask(), Some(22));
        pulse.answered(WITHIN, 100, 120, WITHIN);
        assert!(!pulse.wants_last(100));
    }
}
