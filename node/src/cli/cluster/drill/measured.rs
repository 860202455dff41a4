//! What a drill measured, as it is told and printed.

use std::time::Duration;

use serde::Serialize;

use super::super::super::output::{clean, counted};
use super::losses::Losses;
use super::watch::Seen;
use crate::failure::{ExitCode, Failure};

/// What a drill measured. Times are in milliseconds since the fault began.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    drill: &'static str,
    nodes: Vec<String>,
    for_ms: u64,
    /// The next leader, where the leader was lost.
    next_leader: Option<NextLeader>,
    /// When the first write went through, where the leader was lost under another one.
    next_write_ms: Option<u64>,
    /// The longest time between two writes that went through.
    writes_stood_still_ms: u64,
    writes: u64,
    /// How often work was taken from them: all that one had of a job, or one unit.
    units_taken_back: Units,
    units_given_on: Units,
    back_ms: Option<u64>,
    #[serde(flatten)]
    losses: Losses,
    #[serde(skip)]
    led: bool,
}

#[derive(Debug, Serialize)]
struct NextLeader {
    name: String,
    term: u64,
    after_ms: u64,
}

#[derive(Debug, Serialize)]
struct Units {
    count: usize,
    first_after_ms: Option<u64>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Measured {
    pub(super) fn new(drill: &'static str, nodes: &[String], lasts: Duration, seen: Seen, losses: Losses) -> Self {
        let units = |(count, first): (usize, Option<Duration>)| Units { count, first_after_ms: first.map(millis) };
        Self {
            drill,
            nodes: nodes.to_vec(),
            for_ms: millis(lasts),
            next_leader: seen.next_leader.map(|(name, term, after)| NextLeader { name, term, after_ms: millis(after) }),
            next_write_ms: seen.next_write.map(millis),
            writes_stood_still_ms: millis(seen.stood_still),
            writes: seen.writes,
            units_taken_back: units(seen.taken_back),
            units_given_on: units(seen.given_on),
            back_ms: seen.back.map(millis),
            losses,
            led: seen.led,
        }
    }

    /// As people read it.
    pub(super) fn told(&self) -> String {
        let seconds = |ms: u64| format!("{:.2} s", ms as f64 / 1_000.0);
        let after = |ms: Option<u64>| ms.map_or_else(|| "never".to_owned(), |ms| format!("after {}", seconds(ms)));
        let names: Vec<String> = self.nodes.iter().map(|name| clean(name)).collect();
        let mut lines = vec![(self.drill, format!("{} for {}", names.join(", "), seconds(self.for_ms)))];
        if self.led {
            lines.push((
                "next leader",
                self.next_leader.as_ref().map_or_else(
                    || "nobody".to_owned(),
                    |next| format!("{} after {} (term {})", clean(&next.name), seconds(next.after_ms), next.term),
                ),
            ));
            lines.push(("next write", after(self.next_write_ms)));
        }
        let writes = counted(self.writes, "write");
        lines.push(("writes", format!("{writes}, at most {} without one", seconds(self.writes_stood_still_ms))));
        let (taken, given) = (&self.units_taken_back, &self.units_given_on);
        lines.push((
            "units",
            match (taken.count, taken.first_after_ms) {
                (0, _) => "none was taken back".to_owned(),
                (_, first) => format!(
                    "taken back {}; {} given on, the first {}",
                    after(first),
                    counted(given.count as u64, "unit"),
                    after(given.first_after_ms)
                ),
            },
        ));
        lines.push(("back", after(self.back_ms)));
        lines.push(("lost", self.losses.told()));
        lines.into_iter().map(|(what, told)| format!("{what:<12} {told}\n")).collect()
    }

    /// How the command ends.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        self.losses.verdict()?;
        if self.back_ms.is_none() {
            return Err(Failure::new(ExitCode::Failure, "not every node is back")
                .next("`pentora cluster status` shows which; look at its log"));
        }
        if self.led && (self.next_leader.is_none() || self.next_write_ms.is_none()) {
            return Err(Failure::new(ExitCode::Unreachable, "nothing could be written again")
                .next("`pentora cluster status` shows who answers"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            led: true,
            next_leader: Some(("n2".into(), 5, Duration::from_millis(712))),
            next_write: Some(Duration::from_millis(734)),
            stood_still: Duration::from_millis(780),
            writes: 210,
            taken_back: (1, Some(Duration::from_millis(900))),
            given_on: (3, Some(Duration::from_millis(950))),
            back: Some(Duration::from_millis(11_240)),
        }
    }

    #[test]
    fn a_drill_is_told_in_lines_and_fails_where_something_was_lost_or_is_not_back() {
        let losses = || Losses { jobs: 12, hosts: 1_024, index: 5_330, lost: Vec::new() };
        let lasts = Duration::from_secs(10);
        let measured = Measured::new("kill-leader", &["n1".into()], lasts, seen(), losses());
        let expected = "\
kill-leader  n1 for 10.00 s
next leader  n2 after 0.71 s (term 5)
next write   after 0.73 s
writes       210 writes, at most 0.78 s without one
units        taken back after 0.90 s; 3 units given on, the first after 0.95 s
back         after 11.24 s
lost         nothing: 12 jobs, 1,024 hosts in the reports of the 5 newest, and the log up to 5,330 are there
";
        assert_eq!(measured.told(), expected);
        assert!(measured.verdict().is_ok());
        let few = Losses { jobs: 5, ..losses() };
        let few = Measured::new("kill-leader", &["n1".into()], lasts, seen(), few).told();
        assert!(few.contains("nothing: 5 jobs, 1,024 hosts in their reports, and"), "{few}");

        let lost = Losses { lost: vec!["job job-a is gone".into()], ..losses() };
        let measured = Measured::new("kill-leader", &["n1".into()], lasts, seen(), lost);
        assert!(measured.told().ends_with("lost         job job-a is gone\n"));
        assert_eq!(measured.verdict().unwrap_err().exit, ExitCode::Failure);
        let away = Measured::new("isolate", &["n1".into()], lasts, Seen { back: None, ..seen() }, losses());
        assert!(away.told().contains("back         never") && away.verdict().is_err());
        let stuck = Seen { next_write: None, ..seen() };
        let stuck = Measured::new("kill-leader", &["n1".into()], lasts, stuck, losses());
        assert_eq!(stuck.verdict().unwrap_err().exit, ExitCode::Unreachable);
    }
}
