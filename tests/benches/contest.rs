//! Several scanners at one task, run after run, and a table of how they did.
//!
//! All run in the same minutes on the same course, each as often as there are seeds; the order is turned from run to run,
//! so that none always comes after another. One that reached the limit is not run again.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::lab::{Course, Truth};

use crate::figures::{Sample, head, row};
use crate::pause;
use crate::scanners::{Scanner, Task, check};
use crate::{arrivals, bounded, choices};

/// Between two runs: what one left half open at the target is gone then (one repeat of a SYN-ACK, a second apart).
const SETTLE: Duration = Duration::from_secs(3);

/// What is to be compared.
pub(crate) struct Contest<'a> {
    /// Ours first: the others are held against it.
    pub(crate) scanners: &'a [Scanner],
    pub(crate) task: Task,
    /// Makes the course of a seed and knows the truth about it.
    pub(crate) course: &'a dyn Fn(u64) -> anyhow::Result<(Course, Truth)>,
    pub(crate) runs: u64,
    /// What the world's policer lets through per second; 0 where there is none.
    pub(crate) police_pps: u32,
}

/// How one scanner did.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    stopped: usize,
    /// Why it did not do the task at all.
    refused: Option<String>,
    /// Share of the open ports that was not found, and how far the scanner's own estimate was off.
    missed_share: Sample,
    estimate_off: Sample,
    phantom: Sample,
    wall: Sample,
    packets: Sample,
    mean_pps: Sample,
    best_pps: Sample,
    passed_pps: Sample,
    peak_mb: Sample,
}

impl Contest<'_> {
    /// Runs it and prints its table.
    pub(crate) fn hold(&self) -> anyhow::Result<()> {
        let seeds = choices::seeds(self.runs)?;
        let limit = choices::limit()?;
        let mut entries: Vec<(Scanner, Tally)> = self.scanners.iter().map(|who| (*who, Tally::default())).collect();
        entries.retain(|(who, _)| choices::takes_part(&who.name()));
        println!("Seeds: {seeds:?}. A scanner is stopped after {} s.\n", limit.as_secs());
        for (turn, seed) in seeds.iter().enumerate() {
            let (course, truth) = (self.course)(*seed)?;
            let count = entries.len();
            for number in 0..count {
                let Some((who, tally)) = entries.get_mut((number + turn) % count) else { continue };
                if tally.stopped == 0 && tally.refused.is_none() {
                    self.run(*who, tally, &course, &truth, limit).with_context(|| who.name())?;
                    pause(SETTLE);
                }
            }
        }
        self.print(&entries);
        Ok(())
    }

    fn run(
        &self,
        who: Scanner,
        tally: &mut Tally,
        course: &Course,
        truth: &Truth,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let Some(mut command) = who.command(course, &self.task, folder.path())? else {
            tally.refused = Some("not installed".to_owned());
            return Ok(());
        };
        let passed_before = self.passed(course)?;
        let work = || bounded::run(&mut command, folder.path(), limit);
        let (ran, arrivals) = arrivals::during(course.far(), work)?;
        if !ran.is_stopped
            && let Err(error) = check(&who.name(), &ran)
        {
            tally.refused = Some(error.to_string());
            return Ok(());
        }
        tally.runs += 1;
        tally.stopped += usize::from(ran.is_stopped);
        tally.wall.add_s(ran.wall);
        tally.peak_mb.add(ran.peak_mb);
        tally.packets.add(arrivals.packets() as f64);
        tally.mean_pps.add(arrivals.mean_pps());
        tally.best_pps.add(arrivals.best_pps());
        tally.passed_pps.add((self.passed(course)? - passed_before) as f64 / ran.wall.as_secs_f64());
        // One that was stopped may have written nothing yet, or half a line.
        let said = who.said(&self.task, &ran.stdout, folder.path());
        let truth = truth.of_ports(&who.ports(&self.task));
        let scored = said.and_then(|said| Ok((truth.score(&said.open)?, said.recall_estimate)));
        match scored {
            // It prints at its end, which it has not reached: that says nothing of what it would have found.
            Ok((score, _)) if ran.is_stopped && score.found == 0 => {}
            Ok((score, estimate)) => {
                let recall = score.found as f64 / truth.open.len().max(1) as f64;
                tally.missed_share.add(1.0 - recall);
                if !score.is_exact() {
                    // Which they are is for whoever looks into it; the table has how many.
                    let some =
                        |list: &[(std::net::Ipv4Addr, u16)]| format!("{:?}", list.iter().take(3).collect::<Vec<_>>());
                    eprintln!("{}: missed {}, phantom {}", who.name(), some(&score.missed), some(&score.phantom));
                }
                tally.phantom.add(score.phantom.len() as f64);
                estimate.iter().for_each(|estimate| tally.estimate_off.add((estimate - recall).abs()));
            }
            Err(_cut_short) if ran.is_stopped => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Packets that the world's policer has let through.
    fn passed(&self, course: &Course) -> anyhow::Result<u64> {
        if self.police_pps == 0 {
            return Ok(0);
        }
        let mut command = course.far().command(Path::new("nft"));
        let output = command.args(["list", "counter", "ip", "world", "passed"]).output().context("starting nft")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let packets = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        packets.and_then(|word| word.parse().ok()).with_context(|| format!("no counter in {text:?}"))
    }

    fn print(&self, entries: &[(Scanner, Tally)]) {
        let mut columns = vec![
            "scanner",
            "runs",
            "recall, least",
            "phantom, most",
            "wall p50",
            "wall max",
            "ours / its",
            "packets",
            "packets/s while sending",
            "best second",
            "resident",
            "estimate off by",
        ];
        if self.police_pps > 0 {
            columns.push("let through, of the policed rate");
        }
        head(&columns);
        let ours = entries.iter().find(|(_, tally)| tally.wall.len() > 0).map_or(0.0, |(_, tally)| tally.wall.median());
        for (who, tally) in entries {
            let mut cells = vec![who.name()];
            cells.extend(tally.cells(ours));
            if self.police_pps > 0 {
                cells.push(format!("{:.2}", tally.passed_pps.median() / f64::from(self.police_pps)));
            }
            cells.resize(columns.len(), String::new());
            row(&cells);
        }
    }
}

impl Tally {
    fn cells(&self, ours: f64) -> Vec<String> {
        if self.wall.len() == 0 {
            let why = self.refused.as_deref().unwrap_or("not run").replace('|', "/");
            return vec!["0".to_owned(), why];
        }
        let more = if self.stopped > 0 { "> " } else { "" };
        let of = |sample: &Sample, text: String| if sample.len() == 0 { "none given".to_owned() } else { text };
        vec![
            self.runs.to_string(),
            of(&self.missed_share, format!("{:.5}", 1.0 - self.missed_share.max())),
            of(&self.phantom, format!("{:.0}", self.phantom.max())),
            format!("{more}{:.2} s", self.wall.median()),
            format!("{more}{:.2} s", self.wall.max()),
            format!("{:.3}", ours / self.wall.median()),
            format!("{:.0}", self.packets.median()),
            format!("{:.0}", self.mean_pps.median()),
            format!("{:.0}", self.best_pps.max()),
            format!("{:.1} MB", self.peak_mb.max()),
            of(&self.estimate_off, format!("{:.5}", self.estimate_off.max())),
        ]
    }
}
