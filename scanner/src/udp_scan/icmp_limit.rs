//! Whether a host sends port-unreachable messages more slowly than it is asked, and how slowly.
//!
//! Most systems limit the ICMP errors they send (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f): Linux lets six go to
//! one asker at once and then one per second (`icmp_ratelimit`), others one per 100 or 500 ms. A closed port that is
//! asked beyond that is as silent as one behind a filter. So a host that says that some ports are closed and is silent
//! about others is tested with a port that is known to be closed: sixteen times in a row, which a host without a limit
//! answers nearly all of; then, if it did not, every 100 ms until some answers have shown how far apart they come. From
//! then on the host's ports are asked at that pace. A port that is silent there is asked once more at the least, and all that are
//! silent again for as long as that finds closed ones among them: a token that was not there yet when one port was asked is there
//! for the next. If asking at that pace is met with silence alone, the known port is asked again: when that too is silent, the
//! pace was too fast after all.
//!
//! Pure: told the time and what was heard.

use std::time::Duration;

/// Probes of the first test.
const BURST: u8 = 16;
/// Time between them: far less than any limit, and no flood.
const BURST_GAP: Duration = Duration::from_millis(5);
/// A host that answers more of them has no limit that matters. Linux's bucket holds six; loss of a third of the round
/// trips leaves nine of ten hosts without a limit above this.
const BURST_HEARD_MAX: u8 = 7;
/// Time between the probes of the second test.
const TRAIN_GAP: Duration = Duration::from_millis(100);
/// Answers that show the pace: the time from the second to the last.
const TRAIN_HEARD: u8 = 4;
/// Longest second test: four gaps of the slowest limit in common use, and a little.
const TRAIN_MAX: Duration = Duration::from_millis(4500);
/// The pace of a host that showed none.
const GAP_UNKNOWN: Duration = Duration::from_secs(2);
/// The pace leaves a fiftieth of room: a kernel counts in ticks of up to ten milliseconds, and this machine is late at times.
const ROOM_PART: u32 = 50;
/// No host is waited for at a slower pace.
const GAP_MAX: Duration = Duration::from_secs(5);
/// Silences in a row after which the pace is doubted.
const SILENT_RUN_MAX: usize = 3;
/// Doubts in a row that were confirmed, after which the host is believed to have fallen silent altogether.
const CONFIRMED_MAX: u8 = 3;

/// What is known of a host's limit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum IcmpLimit {
    /// Not tested.
    Unknown,
    /// The first test.
    Burst {
        sent: u8,
        heard: u8,
        /// When the next probe is due, or the last answer.
        next: Duration,
    },
    /// The second test.
    Train {
        heard: u8,
        last: Duration,
        /// When the second answer came: what was left of tokens makes the time to it shorter than all others.
        second: Duration,
        next: Duration,
        until: Duration,
    },
    /// It has a limit.
    Paced(Pace),
    /// It has none that was met.
    None,
}

/// The pace of a host with a limit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pace {
    /// Time between two probes.
    pub(super) gap: Duration,
    /// Ports that were silent since the host was last heard, by position.
    pub(super) doubtful: Vec<u32>,
    /// When the known port was asked because of them.
    checked: Option<Duration>,
    confirmed: u8,
}

/// What a host under test wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The known port is to be asked.
    Ask,
    /// Nothing before this time.
    Wait(Duration),
    /// Nothing: go on with the host's other ports.
    GoOn,
    /// These ports were asked too early and are to be asked again.
    Again(Vec<u32>),
    /// It says nothing any more.
    Fallen,
}

impl IcmpLimit {
    /// Begins the tests.
    pub(super) fn begin(now: Duration) -> Self {
        Self::Burst { sent: 0, heard: 0, next: now }
    }

    /// A pace that was measured elsewhere.
    pub(super) fn at_pace(gap: Duration) -> Self {
        Self::Paced(Pace { gap, doubtful: Vec::new(), checked: None, confirmed: 0 })
    }

    /// The pace, if there is one.
    pub(super) fn gap(&self) -> Option<Duration> {
        match self {
            Self::Paced(pace) => Some(pace.gap),
            _ => None,
        }
    }

    /// Whether answers of the host say something about loss.
    pub(super) fn is_unlimited(&self) -> bool {
        matches!(self, Self::Unknown | Self::None)
    }

    /// Asks a little more slowly: the pace has let ports be asked too early.
    pub(super) fn slow_down(&mut self) {
        if let Self::Paced(pace) = self {
            pace.gap = (pace.gap * 9 / 8).min(GAP_MAX);
        }
    }

    /// The host said that a port is closed. True when that answers a question of this test.
    pub(super) fn heard(&mut self, now: Duration) {
        match self {
            Self::Burst { heard, .. } => *heard = heard.saturating_add(1),
            Self::Train { heard, last, second, .. } => {
                *heard = heard.saturating_add(1);
                *last = now;
                if *heard <= 2 {
                    *second = now;
                }
            }
            Self::Paced(pace) => {
                pace.doubtful.clear();
                pace.checked = None;
                pace.confirmed = 0;
            }
            Self::Unknown | Self::None => {}
        }
    }

    /// A port was silent for as long as it was waited for.
    pub(super) fn silent(&mut self, position: u32) {
        if let Self::Paced(pace) = self {
            pace.doubtful.push(position);
        }
    }

    /// What to do now. `wait` is how long an answer takes at most; `closed` how many ports were said to be closed
    /// before the tests.
    pub(super) fn act(&mut self, now: Duration, wait: Duration, closed: u32) -> Act {
        match self {
            Self::Unknown | Self::None => Act::GoOn,
            Self::Paced(pace) => pace.act(now, wait),
            Self::Burst { next, .. } if now < *next => Act::Wait(*next),
            Self::Burst { sent, next, .. } if *sent < BURST => {
                *sent += 1;
                *next = now + if *sent == BURST { wait } else { BURST_GAP };
                Act::Ask
            }
            Self::Burst { heard, .. } => {
                // Fewer were answered before than its bucket holds now: the bucket was not what kept it silent.
                let is_limited = *heard <= BURST_HEARD_MAX && closed >= u32::from(*heard);
                *self = match is_limited {
                    true => Self::Train { heard: 0, last: now, second: now, next: now, until: now + TRAIN_MAX },
                    false => Self::None,
                };
                self.act(now, wait, closed)
            }
            Self::Train { heard, last, second, next, until } => {
                if *heard >= TRAIN_HEARD || now >= *until {
                    let gap = match u32::from(*heard) {
                        0..=2 => GAP_UNKNOWN,
                        heard => last.saturating_sub(*second) / (heard - 2),
                    };
                    // A little more than measured, so that the bucket never runs dry.
                    let gap = (gap + gap / ROOM_PART).clamp(Duration::from_millis(1), GAP_MAX);
                    *self = Self::at_pace(gap);
                    // The bucket is as good as empty.
                    return Act::Wait(now + gap);
                }
                if now < *next {
                    return Act::Wait((*next).min(*until));
                }
                *next = now + TRAIN_GAP;
                Act::Ask
            }
        }
    }
}

impl Pace {
    fn act(&mut self, now: Duration, wait: Duration) -> Act {
        match self.checked {
            None if self.doubtful.len() < SILENT_RUN_MAX => Act::GoOn,
            None => {
                self.checked = Some(now);
                Act::Ask
            }
            Some(at) if now < at + wait.max(self.gap) => Act::Wait(at + wait.max(self.gap)),
            Some(_) => {
                self.checked = None;
                self.confirmed += 1;
                if self.confirmed >= CONFIRMED_MAX {
                    return Act::Fallen;
                }
                self.gap = (self.gap * 3 / 2).min(GAP_MAX);
                Act::Again(std::mem::take(&mut self.doubtful))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    /// A host that answers out of a bucket of `holds` that gains one per `every`, empty at the beginning, and loses a
    /// share of what goes to it; tested until it lets go on.
    fn tested(holds: f64, every: Duration, loss: f64, closed: u32) -> (IcmpLimit, Duration) {
        let begun = Duration::from_secs(10);
        let (mut limit, mut now) = (IcmpLimit::begin(begun), begun);
        let (mut tokens, mut filled, mut drawn) = (0.0_f64, now, 0_u64);
        loop {
            match limit.act(now, WAIT, closed) {
                Act::Ask => {
                    tokens = (tokens + (now - filled).as_secs_f64() / every.as_secs_f64()).min(holds);
                    filled = now;
                    drawn += 1;
                    let chance = (crate::permute::mix(drawn) >> 11) as f64 / (1_u64 << 53) as f64;
                    if tokens >= 1.0 && chance >= loss {
                        tokens -= 1.0;
                        limit.heard(now);
                    }
                    now += Duration::from_micros(100);
                }
                Act::Wait(until) => now = until,
                _ => return (limit, now - begun),
            }
        }
    }

    #[test]
    fn the_pace_of_a_host_is_measured_in_a_few_seconds() {
        for millis in [100, 250, 500, 1000] {
            let (limit, took) = tested(6.0, Duration::from_millis(millis), 0.0, 6);
            let gap = limit.gap().unwrap().as_secs_f64() * 1000.0;
            assert!((gap / millis as f64 - 1.0).abs() < 0.15, "{gap} ms for {millis}");
            assert!(gap >= millis as f64, "never faster than the host: {gap} for {millis}");
            assert!(took < Duration::from_secs(6), "{took:?}");
        }
    }

    #[test]
    fn a_host_without_a_limit_is_not_paced_even_on_a_bad_link() {
        assert_eq!(tested(1e9, Duration::from_nanos(1), 0.0, 90).0, IcmpLimit::None);
        assert_eq!(tested(1e9, Duration::from_nanos(1), 0.2, 90).0, IcmpLimit::None);
    }

    #[test]
    fn a_limit_that_was_not_met_is_none() {
        // Two ports closed, four answers left in the bucket.
        let begun = Duration::from_secs(1);
        let (mut limit, mut now) = (IcmpLimit::begin(begun), begun);
        let mut asked = 0;
        loop {
            match limit.act(now, WAIT, 2) {
                Act::Ask => {
                    asked += 1;
                    if asked <= 4 {
                        limit.heard(now);
                    }
                }
                Act::Wait(until) => now = until,
                act => {
                    assert_eq!(act, Act::GoOn);
                    break;
                }
            }
        }
        assert_eq!(limit, IcmpLimit::None);
    }

    #[test]
    fn silence_at_the_right_pace_is_believed_and_at_the_wrong_one_repeated() {
        let mut limit = tested(6.0, Duration::from_secs(1), 0.0, 6).0;
        let gap = limit.gap().unwrap();
        let now = Duration::from_secs(100);
        (0..3).for_each(|position| limit.silent(position));
        assert_eq!(limit.act(now, WAIT, 6), Act::Ask, "the known port");
        limit.heard(now);
        assert_eq!(limit.act(now, WAIT, 6), Act::GoOn, "it answers: the silent ports are silent");
        (3..6).for_each(|position| limit.silent(position));
        assert_eq!(limit.act(now, WAIT, 6), Act::Ask);
        let Act::Wait(until) = limit.act(now, WAIT, 6) else { panic!() };
        assert_eq!(limit.act(until, WAIT, 6), Act::Again(vec![3, 4, 5]));
        assert!(limit.gap().unwrap() > gap);
        for round in 0..2 {
            (0..3).for_each(|position| limit.silent(position));
            assert_eq!(limit.act(until, WAIT, 6), Act::Ask);
            let ended = limit.act(until + Duration::from_secs(9), WAIT, 6);
            assert_eq!(ended == Act::Fallen, round == 1);
        }
    }
}
