//! Recall is measured: behind a unit's scan, a random sample of what stayed silent is asked again, later and more gently.
//!
//! Losses come in bursts and are shared by all who use a path, so no model of the scan's own loss tells what it missed. What
//! turns up in the sample does ([`crate::recall`]), and is found. Where nothing turns up, it ends with one small round;
//! otherwise more is asked until the recall that is wanted is certain, or the bounds of packets or time are reached
//! (`rounds`). Questions are units of the ordinary engines (`question`), so that scope, exclusions, caps and fragile ports
//! are held as ever; ports of fragile devices are not asked again at all. Asked beside them is what is known to answer:
//! how much of that comes back tells how much of the sample was lost again. Before that, networks that look like something on the way
//! that answers for all of them are put to the test (`alike`).
//!
//! Units with host names or UDP ports, those of this machine's loopback, and those under a profile that asks nothing twice
//! are not measured.

mod alike;
mod answers;
mod dark;
mod parts;
mod question;
mod rounds;
mod seen;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use self::answers::{AllCame, Answers, Asked, Role};
use self::dark::Dark;
use self::parts::{Parts, Samples, judged_apart};
use self::question::Again;
use self::rounds::{Effort, Round};
use self::seen::{Draw, Seen};
use crate::finding::Finding;
use crate::gate::{Gate, Stage as Step, Verdict};
use crate::plan::Plan;
use crate::port::PortSet;
use crate::recall::{Kind, Recapture, Sample, StoppedHost};
use crate::spec::Profile;
use crate::target::Target;
use crate::unit::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitScan, UnitTask};
use crate::watermark::Watermark;

/// Hands a unit to the engine that suits it.
pub(crate) type Ask = Arc<dyn Fn(Plan, UnitTask) -> Result<UnitScan, ScanError> + Send + Sync>;

/// Keeps the draws apart from all else that the job's seed decides.
const DRAWS: u64 = 0x7265_6361_7074;

/// Lets a sample of what a scan leaves silent be asked again through `ask`; a unit that is not measured comes back as it is.
pub(crate) fn attach(scan: UnitScan, plan: Plan, task: &UnitTask, ask: Ask, runtime: &Handle) -> UnitScan {
    let Some(ports) = askable(&plan, task) else { return scan };
    let (findings, findings_out) = mpsc::channel(FINDINGS_QUEUE);
    let (outcome, outcome_out) = oneshot::channel();
    let UnitScan { findings: found, progress: scanning, note, tcp, outcome: scanned } = scan;
    let (progress, progress_out) = watch::channel(*scanning.borrow());
    let seen = Seen::new(task.spec.seed ^ DRAWS ^ task.range.start, ports);
    let watermark = Watermark::new(scanning, progress);
    let stage = Stage { plan, task: task.clone(), ask, seen, findings, watermark, has_asked: false };
    runtime.spawn(async move {
        // Nobody has to wait for it.
        let _ = outcome.send(stage.run(found, scanned).await);
    });
    UnitScan { findings: findings_out, progress: progress_out, note, tcp, outcome: outcome_out }
}

/// The ports that may be asked once more; `None` for a unit that is not measured.
fn askable(plan: &Plan, task: &UnitTask) -> Option<PortSet> {
    let (spec, targets) = (plan.spec(), plan.target_set());
    let is_loopback = targets.ranges().all(|range| range.first.is_loopback() && range.last.is_loopback());
    if spec.profile != Profile::Default || spec.ports.udp_count() > 0 || targets.name_count() > 0 || is_loopback {
        return None;
    }
    let gate = Gate::new(Arc::clone(spec), Arc::clone(&task.permit));
    let is_plain = |port: &_| gate.of_port(Some(*port), Step::Service) == Verdict::Allow;
    Some(spec.ports.iter().filter(is_plain).collect::<PortSet>()).filter(|ports| !ports.is_empty())
}

/// A unit whose scan is watched and then asked again.
struct Stage {
    plan: Plan,
    task: UnitTask,
    ask: Ask,
    seen: Seen,
    findings: mpsc::Sender<Vec<Finding>>,
    watermark: Watermark,
    /// Whether anything was asked again: of too little that was sent, nothing is.
    has_asked: bool,
}

impl Stage {
    async fn run(
        mut self,
        mut found: mpsc::Receiver<Vec<Finding>>,
        scanned: oneshot::Receiver<Result<UnitOutcome, ScanError>>,
    ) -> Result<UnitOutcome, ScanError> {
        // What is not read any more closes what it comes from, which ends the scan.
        let is_read = self.pass(&mut found).await;
        drop(found);
        self.watermark.tell();
        let outcome = scanned.await.unwrap_or(Err(ScanError::Stopped))?;
        if !is_read || self.task.cancel.is_cancelled() {
            return Ok(outcome);
        }
        let begun = Instant::now();
        self.try_networks(&outcome).await;
        let recapture = self.measure(&outcome).await;
        let mut progress = outcome.progress;
        progress.tally = self.watermark.counted(progress.tally);
        if let Some(recall) = recapture.as_ref().and_then(Recapture::recall) {
            let is_heard =
                !self.has_asked || recapture.is_none_or(|recapture| recapture.asked() > 0 || recapture.silent() == 0);
            let is_measured = recapture.is_some_and(|recapture| recapture.turned_up() > 0 || recapture.has_hidden());
            let point = match (is_heard, is_measured) {
                // Where not even known answers came, the model that expected them is no guess at all.
                (false, _) => f64::midpoint(recall.low, recall.high),
                (true, true) => recall.point,
                // Where nothing turned up it is as good a guess as any within the ends.
                (true, false) => progress.estimates.recall,
            };
            progress.estimates.recall = point.clamp(recall.low, recall.high);
        }
        self.watermark.tell();
        Ok(UnitOutcome { progress, duration: outcome.duration + begun.elapsed(), recapture, ..outcome })
    }

    /// Passes everything on until the scan has ended; false when nobody reads any more.
    async fn pass(&mut self, found: &mut mpsc::Receiver<Vec<Finding>>) -> bool {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.watermark.scanning.changed() => self.watermark.hear(found.len()),
                batch = found.recv() => {
                    let Some(batch) = batch else { return true };
                    self.seen.take_in(&batch);
                    if self.findings.send(batch).await.is_err() {
                        return false;
                    }
                    self.watermark.passed();
                }
            }
        }
    }

    /// Asks again until it is enough; `None` where nothing can be said.
    async fn measure(&mut self, outcome: &UnitOutcome) -> Option<Recapture> {
        if self.seen.is_beyond() {
            return None;
        }
        let mut work = Work::new(self, outcome);
        let targets = self.task.range.end - self.task.range.start;
        let found = self.seen.found(targets);
        let (ports, loss) = (self.plan.port_count(), outcome.progress.estimates.loss);
        let stopped: Vec<StoppedHost> = self.seen.stopped(ports).collect();
        let measured = |work: &Work| {
            let parts = judged_apart(&work.samples, &work.by_part);
            let recapture = Recapture::of_parts(found, &work.samples, &parts, work.answers.turned_up());
            recapture.with_stopped(&stopped, loss)
        };
        let Some(first) = work.effort.first_round(&work.samples) else {
            let is_told = outcome.progress.tally.probes_sent >= rounds::PROBES_MIN;
            return is_told.then(|| measured(&work));
        };
        self.has_asked = true;
        let begun = Instant::now();
        let mut end = begun + work.effort.first_time();
        let (mut round, mut number, mut spent) = (first, 0, 0);
        loop {
            let sent_before = self.watermark.more.probes_sent;
            let left = end.saturating_duration_since(Instant::now());
            let is_last = work.effort.once_more(number + 1, &first, (spent, left)).is_none();
            let asked = self.ask_round(&mut work, &round, end, is_last).await;
            // One that was ended from outside says no more of the path than one that no engine took.
            if number == 0 && (asked == Asking::Refused || self.task.cancel.is_cancelled()) {
                return None;
            }
            let is_whole = asked == Asking::Whole;
            end = (begun + work.effort.time()).max(Instant::now());
            spent += if number == 0 { 0 } else { self.watermark.more.probes_sent - sent_before };
            number += 1;
            let recall = measured(&work).recall();
            let left = end.saturating_duration_since(Instant::now());
            let next = match work.is_heard {
                true => work.effort.next_round(number, &work.samples, recall.as_ref(), (spent, left)),
                false => work.effort.once_more(number, &first, (spent, left)),
            };
            match next {
                Some(next) if is_whole => round = next,
                _ => break,
            }
            tokio::select! {
                () = sleep(round.pause) => {}
                () = self.task.cancel.cancelled() => break,
            }
        }
        self.ask_wholly(&mut work, round.rate_pps, end).await;
        Some(measured(&work))
    }

    /// Asks one round, which may be the last. Only one that came to its end counts.
    async fn ask_round(&mut self, work: &mut Work, round: &Round, end: Instant, is_last: bool) -> Asking {
        let drawn = work.draw(self, round);
        let hosts = work.again.hosts(drawn.asked.addresses(), round.rate_pps);
        let ports = work.again.ports(drawn.asked.ports(), round.rate_pps);
        work.answers.begin(drawn.asked, work.parts.count());
        let units = hosts.map(|unit| (Role::Addresses, unit)).into_iter().chain(ports.map(|unit| (Role::Ports, unit)));
        let asking = self.ask_units(work, units, end).await;
        if asking != Asking::Whole {
            return asking;
        }
        let round = work.answers.of_round();
        if !is_heard(&round, is_last) {
            return asking;
        }
        let is_first = !std::mem::replace(&mut work.is_heard, true);
        let mut not_asked = work.answers.not_asked();
        for ((came, sizes), samples) in round.iter().zip(&drawn.sizes).zip(&mut work.by_part) {
            let of_kinds = samples.iter_mut().zip(&mut work.samples).zip(came.iter().zip(sizes)).zip(&mut not_asked);
            for (((of_part, of_all), (came, asked)), not_asked) in of_kinds {
                // Addresses that could not be asked now are no part of the sample.
                let left_out = (*not_asked).min(*asked);
                *not_asked -= left_out;
                for sample in [of_part, of_all] {
                    sample.asked += asked - left_out;
                    sample.answered += came.answered;
                    sample.open += came.open;
                    sample.controls = [sample.controls[0] + came.controls[0], sample.controls[1] + came.controls[1]];
                }
            }
        }
        if is_first {
            work.samples.iter_mut().for_each(|sample| sample.first = [sample.asked, sample.answered, sample.open]);
        }
        asking
    }

    /// Asks hosts that answered one port of a sample for all of theirs.
    async fn ask_wholly(&mut self, work: &mut Work, rate_pps: u64, end: Instant) {
        let turned_up = work.answers.take_hosts_to_ask();
        if let Some(unit) = work.again.wholly(turned_up.into_iter(), rate_pps) {
            self.ask_units(work, std::iter::once((Role::Wholly, unit)), end).await;
        }
    }

    /// Reads units side by side to their ends.
    async fn ask_units(
        &mut self,
        work: &mut Work,
        units: impl Iterator<Item = (Role, (Plan, UnitTask))>,
        end: Instant,
    ) -> Asking {
        let mut running = Vec::new();
        let mut asking = Asking::Whole;
        for (role, (plan, task)) in units {
            let cancel = task.cancel.clone();
            match (self.ask)(plan, task) {
                Ok(scan) => running.push((role, scan, cancel)),
                Err(error) => {
                    tracing::debug!(%error, "what stayed silent is not asked again");
                    asking = Asking::Refused;
                }
            }
        }
        for (role, mut scan, cancel) in running {
            let reading = self.read(work, role, &mut scan);
            if timeout_at(end, reading).await != Ok(true) {
                asking = asking.max(Asking::Late);
                cancel.cancel();
                // What came until then is true.
                self.read(work, role, &mut scan).await;
            }
            let UnitScan { findings, outcome, .. } = scan;
            // What is not read holds no engine up.
            drop(findings);
            match outcome.await {
                Ok(Ok(outcome)) => {
                    let tally = outcome.progress.tally;
                    work.answers.note_not_asked(role, tally.not_probed.total());
                    self.watermark.more.retransmitted += tally.probes_sent;
                    self.watermark.more.probes_sent += tally.probes_sent;
                    self.watermark.more.replies += tally.replies;
                }
                _ => asking = asking.max(Asking::Late),
            }
        }
        let more = &mut self.watermark.more;
        (more.hosts_up, more.open_ports) = (work.answers.hosts_up(), work.answers.turned_up());
        self.watermark.tell();
        asking
    }

    /// Reads a unit until it has no more to say; false when nobody reads what turns up.
    async fn read(&self, work: &mut Work, role: Role, scan: &mut UnitScan) -> bool {
        while let Some(batch) = scan.findings.recv().await {
            let told = work.answers.take_in(role, batch, &self.plan, &self.seen);
            if !told.is_empty() && self.findings.send(told).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Whether nothing was heard of a target.
    fn is_dark(&self, index: u64) -> bool {
        self.seen.host(index).is_none() && matches!(self.plan.target(index), Some(Target::Address(_)))
    }
}

/// What is asked again of one unit.
struct Work {
    again: Again,
    effort: Effort,
    samples: Samples,
    /// The same by part of the unit, without what is silent in each.
    by_part: Vec<Samples>,
    parts: Parts,
    answers: Answers,
    /// Silent ports in the order in which they are asked, and how many were.
    silent: Vec<Draw>,
    silent_asked: usize,
    dark: Dark,
    /// Whether addresses were looked for first, so that silent ones were not asked their ports.
    looks_first: bool,
    /// Whether a round was heard well enough to count.
    is_heard: bool,
}

/// What became of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asking {
    /// It came to its end.
    Whole,
    /// It did not in time, which says something of the path.
    Late,
    /// No engine has taken it, which says nothing.
    Refused,
}

/// The questions of a round.
struct Drawn {
    asked: Asked,
    /// How many there are of each kind in each part.
    sizes: Vec<[u64; Kind::ALL.len()]>,
}

/// Whether a round was heard so well that it counts. Where few of the known answers came, those that did not come say nothing; where
/// few came of one part, it is asked again more gently, as long as that can be.
fn is_heard(round: &[AllCame], is_last: bool) -> bool {
    let is_deaf = |[asked, came]: [u64; 2]| 2 * came < asked;
    let add = |a: [u64; 2], b: [u64; 2]| [a[0] + b[0], a[1] + b[1]];
    let of_kind = |kind: Kind| round.iter().filter_map(move |part| part.get(kind as usize)).map(|came| came.controls);
    let of_part = |part: &AllCame| part.iter().map(|came| came.controls).fold([0, 0], add);
    let is_said = Kind::ALL.into_iter().any(|kind| is_deaf(of_kind(kind).fold([0, 0], add)));
    !is_said && (is_last || !round.iter().any(|part| is_deaf(of_part(part))))
}

impl Work {
    fn new(stage: &mut Stage, outcome: &UnitOutcome) -> Self {
        let (spec, range) = (Arc::clone(stage.plan.spec()), stage.task.range.clone());
        let tally = outcome.progress.tally;
        let looks_first = !spec.discovery.is_empty();
        let targets = range.end - range.start;
        let dark = targets.saturating_sub(stage.seen.hosts_up()).saturating_sub(tally.not_probed.total());
        let ports = stage.seen.ports().count();
        let silent = |silent: u64| Sample { silent, ..Sample::default() };
        let samples = match looks_first {
            true => [silent(stage.seen.silent_count()), silent(dark), Sample::default()],
            false => [silent(stage.seen.silent_count()), Sample::default(), silent(dark.saturating_mul(ports.into()))],
        };
        let effort = Effort {
            probes: tally.probes_sent,
            sending: outcome.sending,
            duration: outcome.duration,
            address_probes: spec.discovery.len() as u64 + 2,
            wanted: spec.confidence,
        };
        let questions = if looks_first { 1 } else { ports };
        let silent = stage.seen.take_silent();
        let dark = Dark::new(range, dark, questions, spec.seed ^ DRAWS, |index| stage.is_dark(index));
        let parts = Parts::new(stage.seen.controls());
        let again = Again::new(&stage.task);
        Self {
            again,
            effort,
            samples,
            by_part: vec![Samples::default(); parts.count()],
            parts,
            answers: Answers::default(),
            silent,
            silent_asked: 0,
            dark,
            looks_first,
            is_heard: false,
        }
    }

    /// Draws the questions of a round.
    fn draw(&mut self, stage: &Stage, round: &Round) -> Drawn {
        let [ports, addresses, dark_ports] = round.asked;
        let mut asked = Asked::default();
        let wanted = usize::try_from(ports).unwrap_or(usize::MAX);
        let drawn = self.silent.get(self.silent_asked..).unwrap_or_default();
        let drawn = drawn.get(..wanted.min(drawn.len())).unwrap_or_default();
        let controls = usize::try_from(round.controls).unwrap_or(usize::MAX);
        let mut own_controls = Vec::new();
        let mut sizes = vec![[0; Kind::ALL.len()]; self.parts.count()];
        let mut count = |kind: Kind, part: usize, number: u64| {
            let of_part = sizes.get_mut(part).and_then(|sizes| sizes.get_mut(kind as usize));
            of_part.into_iter().for_each(|size| *size += number);
        };
        for (_, index, port) in drawn {
            let Some(host) = stage.seen.host(*index) else {
                count(Kind::Port, 0, 1);
                continue;
            };
            let part = self.parts.of(host.address);
            count(Kind::Port, part, 1);
            asked.question(host.address, *port, (Kind::Port, part));
            // Those who are asked are asked as well for what they are known to answer: what they lose is their own.
            own_controls.extend(host.controls().take(controls.saturating_sub(own_controls.len())));
        }
        self.silent_asked += drawn.len();
        let (wanted, kind) = if self.looks_first { (addresses, Kind::Address) } else { (dark_ports, Kind::DarkPort) };
        let drawn = self.dark.take(wanted, |index| stage.is_dark(index));
        for (index, question) in drawn {
            let Some(Target::Address(address)) = stage.plan.target(index) else {
                count(kind, 0, 1);
                continue;
            };
            let part = self.parts.of(address);
            count(kind, part, 1);
            match stage.seen.ports().get(question).filter(|_| !self.looks_first) {
                Some(port) => asked.question(address, port.number, (Kind::DarkPort, part)),
                None => asked.address(address, part),
            }
        }
        for (address, port) in own_controls {
            asked.control(address, port, (Kind::Port, self.parts.of(address)));
        }
        if wanted > 0 {
            for (address, port) in self.parts.take_controls(controls) {
                asked.control(address, port, (kind, self.parts.of(address)));
            }
        }
        Drawn { asked, sizes }
    }
}

#[cfg(test)]
#[path = "recapture/recapture_test.rs"]
mod tests;
