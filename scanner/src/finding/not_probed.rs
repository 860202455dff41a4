//! Targets that no probe reached, or not to the end, and why: what is not known of them is another thing than silence.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The words for a host that has stopped answering.
const STOPPED: &str = "stopped answering";

/// Why a target was not probed, or not to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotProbed {
    /// This node has no route to it, or one that refuses.
    NoRoute,
    /// The router that leads to it does not answer.
    GatewaySilent,
    /// The interface that leads to it is down, or has no cable.
    InterfaceDown,
    /// The kernel took none of its probes.
    SendRefused,
    /// It is a host name without an address.
    NameUnknown,
    /// It is a host name all of whose addresses are outside the authorised scope, or excluded.
    OutOfScope,
    /// The time for it was over.
    WindowOver,
    /// Its unit was tried as often as the job allows, and given up.
    GivenUp,
    /// The kernel had no room for one more neighbour.
    NeighboursFull,
    /// It is the broadcast address of a link of this node's own: all hosts there and none, so that it is told and not counted.
    Broadcast,
    /// It stopped answering in mid-scan: what it was not asked until then is not known.
    Stopped,
}

impl NotProbed {
    /// Every reason; positions are codes that are written to disk, so new ones come last.
    pub const ALL: [Self; 11] = [
        Self::NoRoute,
        Self::GatewaySilent,
        Self::InterfaceDown,
        Self::SendRefused,
        Self::NameUnknown,
        Self::OutOfScope,
        Self::WindowOver,
        Self::GivenUp,
        Self::NeighboursFull,
        Self::Broadcast,
        Self::Stopped,
    ];

    /// The reason's code, as written to disk.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The reason's word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no-route",
            Self::GatewaySilent => "gateway-silent",
            Self::InterfaceDown => "interface-down",
            Self::SendRefused => "send-refused",
            Self::NameUnknown => "name-unknown",
            Self::OutOfScope => "out-of-scope",
            Self::WindowOver => "window-over",
            Self::GivenUp => "given-up",
            Self::NeighboursFull => "neighbours-full",
            Self::Broadcast => "broadcast",
            Self::Stopped => "stopped-answering",
        }
    }

    /// The reason in words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NoRoute => "no route",
            Self::GatewaySilent => "gateway silent",
            Self::InterfaceDown => "interface down",
            Self::SendRefused => "send refused",
            Self::NameUnknown => "name unknown",
            Self::OutOfScope => "outside the scope or excluded",
            Self::WindowOver => "time over",
            Self::GivenUp => "unit given up",
            Self::NeighboursFull => "table of neighbours full",
            Self::Broadcast => "broadcast address of its link",
            Self::Stopped => STOPPED,
        }
    }

    /// The reason with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    fn place(self) -> usize {
        usize::from(self as u8)
    }
}

impl fmt::Display for NotProbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// The verb for a part of all targets: `1 of 4 targets was`, `0 of 1 target was`.
#[must_use]
pub fn was_or_were(part: u64, total: u64) -> &'static str {
    if part == 1 || total == 1 { "was" } else { "were" }
}

/// How many targets were not probed, by reason. In JSON an object from the reasons' words to their counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotProbedCounts([u64; NotProbed::ALL.len()]);

impl NotProbedCounts {
    /// Counts `targets` more.
    pub fn add(&mut self, reason: NotProbed, targets: u64) {
        if let Some(count) = self.0.get_mut(reason.place()) {
            *count = count.saturating_add(targets);
        }
    }

    /// How many of one reason.
    #[must_use]
    pub fn of(&self, reason: NotProbed) -> u64 {
        self.0.get(reason.place()).copied().unwrap_or_default()
    }

    /// What became of them, of `total` targets, a number that is shown as `shown`: those that stopped answering were probed, not to the end.
    #[must_use]
    pub fn sentence(&self, total: u64, shown: &str) -> String {
        let targets = format!("{shown} {}", if total == 1 { "target" } else { "targets" });
        let stopped = self.of(NotProbed::Stopped);
        let mut unreached = *self;
        unreached.0.iter_mut().skip(NotProbed::Stopped.place()).take(1).for_each(|count| *count = 0);
        let missed = unreached.total();
        let were = was_or_were(missed, total);
        let unprobed = || format!("{missed} of {targets} {were} not probed: {unreached}");
        let its = if stopped == 1 { "its" } else { "their" };
        let silenced = || format!("{stopped} of {targets} {STOPPED} in mid-scan: the rest of {its} ports is not known");
        match (missed, stopped) {
            (_, 0) => unprobed(),
            (0, _) => silenced(),
            _ => format!("{}; {}", unprobed(), silenced()),
        }
    }

    /// Whether a note says why targets were not probed.
    #[must_use]
    pub fn is_told_in(note: &str) -> bool {
        note.contains("not probed: ") || note.contains(STOPPED)
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        others.iter().for_each(|(reason, targets)| self.add(reason, targets));
        self
    }

    /// Of each reason these or others, whichever are more.
    #[must_use]
    pub fn or_more(mut self, others: &Self) -> Self {
        self.0.iter_mut().zip(others.0).for_each(|(count, other)| *count = other.max(*count));
        self
    }

    /// So many fewer, of whatever reasons.
    #[must_use]
    pub fn less(mut self, mut targets: u64) -> Self {
        for count in &mut self.0 {
            let taken = targets.min(*count);
            *count -= taken;
            targets -= taken;
        }
        self
    }

    /// What these have more than `earlier` ones.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut more = *self;
        more.0.iter_mut().zip(earlier.0).for_each(|(count, before)| *count = count.saturating_sub(before));
        more
    }

    /// Whether every target was probed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// How many of all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The reasons that hold for any target, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (NotProbed, u64)> + '_ {
        NotProbed::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

impl fmt::Display for NotProbedCounts {
    /// As `no route 256, gateway silent 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (reason, targets)) in self.iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            write!(f, "{comma}{reason} {targets}")?;
        }
        Ok(())
    }
}

impl Serialize for NotProbedCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(reason, targets)| (reason.as_str(), targets)))
    }
}

impl<'de> Deserialize<'de> for NotProbedCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = std::collections::BTreeMap::<String, u64>::deserialize(deserializer)?;
        let mut counts = Self::default();
        for (word, targets) in words {
            // A reason of a later release counts as this one, so that the rest of its document is read.
            counts.add(NotProbed::from_word(&word).unwrap_or(NotProbed::SendRefused), targets);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_they_were_written_and_told_by_reason() {
        let mut counts = NotProbedCounts::default();
        assert_eq!((counts.total(), counts.to_string().as_str()), (0, ""));
        counts.add(NotProbed::GatewaySilent, 3);
        counts.add(NotProbed::NoRoute, 256);
        counts.add(NotProbed::NoRoute, u64::MAX);
        assert_eq!(counts.total(), u64::MAX);
        let mut counts = NotProbedCounts::default();
        counts.add(NotProbed::GatewaySilent, 3);
        counts.add(NotProbed::NoRoute, 256);
        assert_eq!(counts.to_string(), "no route 256, gateway silent 3");
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"no-route":256,"gateway-silent":3}"#);
        assert_eq!(serde_json::from_str::<NotProbedCounts>(&json).unwrap(), counts);
        let later: NotProbedCounts = serde_json::from_str(r#"{"no-route":2,"of-a-later-release":1}"#).unwrap();
        assert_eq!((later.of(NotProbed::NoRoute), later.total()), (2, 3), "a reason that is not known is one as well");
    }

    #[test]
    fn who_stopped_answering_is_told_apart_from_who_was_not_probed() {
        let mut counts = NotProbedCounts::default();
        counts.add(NotProbed::Stopped, 1);
        let alone = "1 of 1 target stopped answering in mid-scan: the rest of its ports is not known";
        assert_eq!(counts.sentence(1, "1"), alone);
        counts.add(NotProbed::Stopped, 1);
        counts.add(NotProbed::NoRoute, 4);
        let both = "4 of 9 targets were not probed: no route 4; \
                    2 of 9 targets stopped answering in mid-scan: the rest of their ports is not known";
        assert_eq!(counts.sentence(9, "9"), both);
        assert!(NotProbedCounts::is_told_in(alone) && NotProbedCounts::is_told_in(both));
        assert!(!NotProbedCounts::is_told_in("a.example was not probed") && counts.of(NotProbed::NoRoute) == 4);
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        for reason in NotProbed::ALL {
            assert_eq!(NotProbed::from_word(reason.as_str()), Some(reason));
            assert_eq!(NotProbed::from_code(reason.code()), Some(reason), "in the order of the list");
        }
    }
}
