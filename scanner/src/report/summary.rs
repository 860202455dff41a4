//! The figures of a report, and the counts by severity that a threshold is held against.

use std::time::Duration;

use super::once::{Once, What};

use crate::finding::{HostRecord, MIDDLEBOX_REASON, NotProbedCounts, ServiceMethod, Severity, was_or_were};
use crate::recall::MeasuredRecall;

/// The figures of a whole report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Targets whose unit is done.
    pub targets_scanned: u64,
    /// Targets asked for.
    pub targets_total: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports on them.
    pub open_ports: u64,
    /// Open ports whose service was named by what it answered.
    pub services_detected: u64,
    /// Weaknesses of those ports, potential ones left out.
    pub vulnerabilities: u64,
    /// The same by severity.
    pub weaknesses: SeverityCounts,
    /// Weaknesses that are only potential, by severity: in none of the counts above.
    pub potential: SeverityCounts,
    /// Probes sent, retransmissions included.
    pub probes_sent: u64,
    /// Share of round trips that were lost; `None` where nothing answered that it could be told from.
    pub loss_estimate: Option<f64>,
    /// Probability that an open port of any of the targets was found, what was not probed counting as missed; `None` where nothing
    /// was asked.
    pub recall_estimate: Option<f64>,
    /// Between which ends that lies, as measured; `None` where it was not.
    pub recall_measured: Option<MeasuredRecall>,
    /// From the job's start to its end.
    pub duration: Duration,
    /// Targets that no probe reached, by reason; in `targets_scanned` they are not.
    pub not_probed: NotProbedCounts,
    /// Hosts for all of whose TCP ports something on the way answers: none of their open ones is in the counts above.
    pub middleboxes: u64,
    /// What a reader has to know beside the figures: names that did not resolve, units that failed. One line each.
    pub notes: Vec<String>,
    /// What is counted already of addresses that several records may be of.
    pub once: Once,
}

impl Summary {
    /// Counts one host in. Of several records of one address only weaknesses are counted each time: they are of the name that was
    /// asked for.
    pub fn count(&mut self, host: &HostRecord) {
        let (known, is_counted) = (self.once.of(host), !host.is_target_itself);
        if is_counted {
            self.hosts_up += known.first(What::Host);
        }
        if is_counted && host.is_middlebox {
            self.middleboxes += known.first(What::Middlebox);
        }
        for port in host.open_ports() {
            let is_named = port.service.as_ref().is_some_and(|service| service.method == ServiceMethod::Probed);
            if is_counted {
                self.open_ports += known.first(What::Port(port.to_port()));
            }
            if is_counted && is_named {
                self.services_detected += known.first(What::Service(port.to_port()));
            }
            for weakness in &port.weaknesses {
                let counts = if weakness.is_potential() { &mut self.potential } else { &mut self.weaknesses };
                counts.add(weakness.severity);
                self.vulnerabilities += u64::from(!weakness.is_potential());
            }
        }
    }

    /// Whether some of the targets were not scanned.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.targets_scanned < self.targets_total
    }

    /// How much of a report that is not whole there is, in a line: `partial: 3 of 8 targets were scanned`.
    #[must_use]
    pub fn partial_note(&self) -> Option<String> {
        let (scanned, total) = (self.targets_scanned, self.targets_total);
        let (targets, were) = (if total == 1 { "target" } else { "targets" }, was_or_were(scanned, total));
        self.is_partial().then(|| format!("partial: {scanned} of {total} {targets} {were} scanned to the end"))
    }

    /// What a reader has to know beside the figures, a line each: how much there is of a report that is not whole, why
    /// targets were not probed, and the notes.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        // A job's own sentence says it in more words.
        let is_told = self.notes.iter().any(|note| NotProbedCounts::is_told_in(note));
        let untold = (!self.not_probed.is_empty() && !is_told).then(|| format!("not probed: {}", self.not_probed));
        self.partial_note().into_iter().chain(untold).chain(self.notes.iter().cloned()).collect()
    }

    /// What a reader has to know of hosts whose open ports are not counted, in a line.
    #[must_use]
    pub fn middlebox_note(&self) -> Option<String> {
        let hosts = match self.middleboxes {
            0 => return None,
            1 => "1 host answers".to_owned(),
            hosts => format!("{hosts} hosts answer"),
        };
        Some(format!(
            "{hosts} on every TCP port ({MIDDLEBOX_REASON}): open ports there mean nothing and are not counted"
        ))
    }

    /// Whether a weakness at or above `threshold` was found: what `--fail-on` asks. Potential ones do not count.
    #[must_use]
    pub fn reaches(&self, threshold: Severity) -> bool {
        self.weaknesses.at_least(threshold) > 0
    }
}

/// How many of each severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeverityCounts {
    info: u64,
    low: u64,
    medium: u64,
    high: u64,
    critical: u64,
}

impl SeverityCounts {
    /// Counts one.
    pub fn add(&mut self, severity: Severity) {
        match severity {
            Severity::Info => self.info += 1,
            Severity::Low => self.low += 1,
            Severity::Medium => self.medium += 1,
            Severity::High => self.high += 1,
            Severity::Critical => self.critical += 1,
        }
    }

    /// How many of one severity.
    #[must_use]
    pub fn of(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Info => self.info,
            Severity::Low => self.low,
            Severity::Medium => self.medium,
            Severity::High => self.high,
            Severity::Critical => self.critical,
        }
    }

    /// How many at `threshold` or above.
    #[must_use]
    pub fn at_least(&self, threshold: Severity) -> u64 {
        Severity::ALL.into_iter().filter(|severity| *severity >= threshold).map(|severity| self.of(severity)).sum()
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.at_least(Severity::Info)
    }

    /// Every severity with its count, the worst first.
    pub fn worst_first(&self) -> impl Iterator<Item = (Severity, u64)> + '_ {
        Severity::ALL.into_iter().rev().map(|severity| (severity, self.of(severity)))
    }
}

impl serde::Serialize for SeverityCounts {
    /// `{"critical": 0, "high": 1, ...}`, the worst first.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.worst_first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, sample};

    #[test]
    fn every_format_that_has_figures_tells_what_was_measured() {
        let measured = MeasuredRecall { low: 0.9984, high: 0.9997, silent: 90, asked_again: 8, turned_up: 1 };
        let summary = Summary { recall_measured: Some(measured), ..Summary::default() };
        for format in [Format::Json, Format::Html, Format::Table, Format::Xml, Format::Sarif] {
            let told = |summary: &Summary| sample::report(format, &[sample::host()], summary);
            assert!(told(&summary).contains("0.9984") && told(&summary).contains("0.9997"), "{}", told(&summary));
            assert!(!told(&Summary::default()).contains("0.9984"));
        }
    }

    #[test]
    fn every_format_says_why_targets_were_not_probed_and_has_the_notes() {
        let mut summary =
            Summary { targets_total: 5, notes: vec!["nosuch.lab: no such name".to_owned()], ..Summary::default() };
        summary.not_probed.add(crate::finding::NotProbed::NoRoute, 4);
        for format in Format::ALL {
            let told = sample::report(format, &[sample::host()], &summary);
            assert!(told.contains("no route 4") || told.contains("no-route"), "{format:?}: {told}");
            assert!(told.contains("nosuch.lab: no such name"), "{format:?}: {told}");
        }
        let own = "4 of 5 targets were not probed: no route 4".to_owned();
        let remarks = Summary { notes: vec![own.clone()], ..summary }.remarks();
        assert_eq!(remarks, ["partial: 0 of 5 targets were scanned to the end".to_owned(), own], "once is enough");
    }

    #[test]
    fn a_summary_counts_hosts_ports_and_services() {
        let mut summary = Summary::default();
        summary.count(&sample::host());
        assert_eq!((summary.hosts_up, summary.open_ports, summary.services_detected), (1, 2, 1));
    }

    #[test]
    fn an_address_is_counted_once_for_all_of_its_names() {
        let named = |name: &str| HostRecord { name: Some(name.to_owned()), ..sample::host() };
        let other = HostRecord { address: "192.0.2.99".parse().unwrap(), ..named("b.example") };
        let alone = HostRecord { name: None, ..sample::host() };
        let mut more = named("c.example");
        more.ports.iter_mut().for_each(|port| port.port += 1);
        let orders = [
            vec![alone.clone(), named("a.example"), other.clone(), named("b.example"), more.clone()],
            vec![named("a.example"), more.clone(), named("b.example"), other.clone(), alone.clone()],
            vec![named("b.example"), other.clone(), alone.clone(), alone.clone(), more.clone(), named("a.example")],
        ];
        for hosts in orders {
            let mut summary = Summary::default();
            hosts.iter().for_each(|host| summary.count(host));
            let counted = (summary.hosts_up, summary.open_ports, summary.services_detected);
            assert_eq!(counted, (2, 6, 3), "two hosts, of which one has other ports under another name");
        }
        let itself = HostRecord { is_target_itself: true, ..sample::rich_host() };
        let mut summary = Summary::default();
        summary.count(&itself);
        assert_eq!((summary.hosts_up, summary.open_ports, summary.services_detected), (0, 0, 0));
        assert!(summary.reaches(Severity::High), "what is weak under a name is weak");
    }

    #[test]
    fn ports_that_mean_nothing_are_in_no_count_and_reach_no_threshold() {
        let mut summary = Summary::default();
        summary.count(&HostRecord { is_middlebox: true, ..sample::rich_host() });
        assert_eq!((summary.hosts_up, summary.middleboxes, summary.open_ports), (1, 1, 0));
        assert!(summary.weaknesses.total() + summary.potential.total() == 0 && !summary.reaches(Severity::Info));
        assert!(summary.middlebox_note().unwrap().starts_with("1 host answers on every TCP port"));
        assert_eq!(Summary::default().middlebox_note(), None);
    }

    #[test]
    fn potential_weaknesses_are_counted_apart_and_reach_no_threshold() {
        let host = sample::rich_host();
        let mut summary = Summary::default();
        summary.count(&host);
        assert_eq!(summary.vulnerabilities, summary.weaknesses.total());
        assert_eq!((summary.weaknesses.of(Severity::High), summary.weaknesses.total()), (1, 2));
        assert_eq!((summary.potential.of(Severity::Critical), summary.potential.total()), (1, 1));
        assert!(summary.reaches(Severity::High) && summary.reaches(Severity::Info));
        assert!(!summary.reaches(Severity::Critical), "the critical one is only potential");
        assert_eq!(host.worst(), Some(Severity::High));
    }

    #[test]
    fn counts_come_worst_first() {
        let mut counts = SeverityCounts::default();
        counts.add(Severity::Low);
        counts.add(Severity::Critical);
        assert_eq!(serde_json::to_string(&counts).unwrap(), r#"{"critical":1,"high":0,"medium":0,"low":1,"info":0}"#);
        assert_eq!((counts.at_least(Severity::Medium), counts.at_least(Severity::Info)), (1, 2));
    }
}
