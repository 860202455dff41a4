//! What came of the rounds, by what happened in them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::Fault;
use super::register::Calls;
use crate::figures::{Sample, head, row};

/// A round that was right.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What happened, whether it hit the leader, and whether the cluster refused it.
    pub(crate) suffered: Vec<(Fault, bool, bool)>,
    /// From the job's submission to its end.
    pub(crate) job: Duration,
    /// From the end of the last disturbance until all nodes were there and as many voted as are to.
    pub(crate) whole: Duration,
    pub(crate) calls: Calls,
}

/// The rounds so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    by_fault: BTreeMap<Fault, Row>,
    all: Row,
}

#[derive(Debug, Default)]
struct Row {
    rounds: usize,
    at_leader: usize,
    refused: usize,
    job_s: Sample,
    whole_s: Sample,
    without_write_s: Sample,
    acknowledged: usize,
    unknown: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        for (fault, led, refused) in &outcome.suffered {
            self.by_fault.entry(*fault).or_default().add(outcome, *led, *refused);
        }
        let led = outcome.suffered.iter().any(|(_, led, _)| *led);
        self.all.add(outcome, led, outcome.suffered.iter().any(|(_, _, refused)| *refused));
    }

    pub(crate) fn rounds(&self) -> usize {
        self.all.rounds
    }

    /// A table of all rounds; each was right.
    pub(crate) fn print(&self) {
        head(&[
            "what happened",
            "rounds",
            "to the leader",
            "refused",
            "job p50 / max",
            "whole again p50 / max",
            "no write acknowledged for p50 / max",
            "register calls acknowledged / unknown",
        ]);
        for (name, of) in self.by_fault.iter().map(|(fault, of)| (fault.name(), of)).chain([("all rounds", &self.all)])
        {
            let times = |sample: &Sample| format!("{:.1} / {:.1} s", sample.median(), sample.max());
            row(&[
                name.to_owned(),
                of.rounds.to_string(),
                of.at_leader.to_string(),
                of.refused.to_string(),
                times(&of.job_s),
                times(&of.whole_s),
                times(&of.without_write_s),
                format!("{} / {}", of.acknowledged, of.unknown),
            ]);
        }
    }
}

impl Row {
    fn add(&mut self, outcome: &Outcome, led: bool, refused: bool) {
        self.rounds += 1;
        self.at_leader += usize::from(led);
        self.refused += usize::from(refused);
        self.job_s.add_s(outcome.job);
        self.whole_s.add_s(outcome.whole);
        self.without_write_s.add_s(outcome.calls.longest_without_write);
        self.acknowledged += outcome.calls.acknowledged;
        self.unknown += outcome.calls.unknown;
    }
}
