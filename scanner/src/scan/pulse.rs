//! Whether a host that has answered still does.
//!
//! Where a filter drops what it does not let through, most ports of a host are silent. So are all of them once something before the host
//! has had enough of the scanner and drops whatever it sends. What tells the two apart are ports that have answered a moment ago: when
//! many have been asked since the last answer, such a port is asked once more. If it answers, the others are filtered. If none of a few
//! does, the host has stopped answering: it is asked nothing more, and of what was asked since its last answer nothing is known.
//!
//! Pure: told what is sent and heard. `K` names what is asked, a port or a probe.

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
    /// How many of its ports had been asked at its last answer, and at the one before that: what was out then may have come too late.
    alive: u32,
    before: u32,
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
            before: 0,
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

    /// The host has answered for itself, when `asked` of its ports had been asked for the first time, by so many probes.
    pub(crate) fn answered(&mut self, asked: u32, sent: u32) {
        if self.asked > 0 {
            self.gap = self.gap.saturating_mul(2);
            // It answers behind all that was asked.
            self.alive = asked;
        }
        (self.before, self.alive, self.sent) = (self.alive, asked, sent);
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
        self.asked += 1;
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

    /// A question was in vain; true if so many were, so that the host has stopped answering.
    pub(crate) fn missed(&mut self, asked_max: f64) -> bool {
        if !std::mem::replace(&mut self.is_out, false) {
            return false;
        }
        self.has_stopped = f64::from(self.asked) >= asked_max;
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
        self.has_stopped.then_some(self.before)
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

    fn alive_at(asked: u32) -> Pulse<u16> {
        let mut pulse = Pulse::default();
        pulse.know(22);
        pulse.answered(asked - 2, 8);
        pulse.answered(asked, 10);
        pulse
    }

    #[test]
    fn a_known_port_is_asked_after_many_that_are_silent_and_more_rarely_each_time_that_it_answers() {
        let mut pulse = alive_at(10);
        assert_eq!([41, 42].map(|asked| pulse.wants(asked)), [false, true]);
        assert_eq!(pulse.ask(), Some(22));
        assert!(!pulse.wants(500) && pulse.is_asking(), "one after the other");
        pulse.answered(60, 70);
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
            assert_eq!((pulse.missed(3.0), pulse.missed(3.0)), (port == 443, false), "each counts once");
        }
        assert!(pulse.has_stopped() && !pulse.wants(300) && !pulse.wants_last(1000));
        assert_eq!((pulse.sent(), pulse.settled()), (10, Some(198)));
        assert!((pulse.missed_of(1000) - 0.802).abs() < 1e-9);
    }

    #[test]
    fn in_the_end_a_handful_of_silent_ports_is_enough_to_ask() {
        let mut pulse = alive_at(93);
        assert!(!pulse.wants_last(100) && !pulse.wants(100));
        let mut pulse = Pulse { alive: 92, ..std::mem::take(&mut pulse) };
        assert!(pulse.wants_last(100) && pulse.wants(100));
        assert_eq!(pulse.ask(), Some(22));
        pulse.answered(100, 120);
        assert!(!pulse.wants_last(100));
    }
}
