//! Prometheus' text format, version 0.0.4: families of samples, each family with its help and kind once.

use std::fmt::{Display, Write};

use crate::meters::Histogram;

/// The text, while it is written.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// What a family is, in the words of the format.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only goes up while the process runs.
    Counter,
    /// Times in buckets.
    Histogram,
}

impl Text {
    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A family of one value.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    /// The same for what only grows.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }

    /// A value of the family that was begun last.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = writeln!(self.0, "{name}{} {value}", Labels(labels));
    }

    /// The samples of a histogram, of the family that was begun last.
    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut below = |bound: &str, count: u64| {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound)]).collect();
            self.sample(&bucket, &labels, count);
        };
        histogram.cumulative().for_each(|(bound, count)| below(&bound.to_string(), count));
        below("+Inf", histogram.count());
        self.sample(&format!("{name}_sum"), labels, histogram.sum_seconds());
        self.sample(&format!("{name}_count"), labels, histogram.count());
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Labels as they are written.
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            write!(f, "{}{name}=\"{value}\"", if at == 0 { "{" } else { "," })?;
        }
        f.write_str(if self.0.is_empty() { "" } else { "}" })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn samples_are_written_as_the_format_says() {
        let mut text = Text::default();
        text.gauge("a", "What it is.", 1.5);
        text.family("b", Kind::Gauge, "By name.");
        text.sample("b", &[("name", "x\"\\\n"), ("kind", "k")], 2);
        let expected = "# HELP a What it is.\n# TYPE a gauge\na 1.5\n# HELP b By name.\n# TYPE b gauge\n\
                        b{name=\"x\\\"\\\\\\n\",kind=\"k\"} 2\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn a_histogram_ends_with_all_that_there_was() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::from_millis(30));
        histogram.observe(Duration::from_secs(60));
        let mut text = Text::default();
        text.family("t_seconds", Kind::Histogram, "Times.");
        text.histogram("t_seconds", &[("m", "GET")], &histogram);
        let text = text.finish();
        for line in [
            "# TYPE t_seconds histogram",
            "t_seconds_bucket{m=\"GET\",le=\"0.025\"} 0",
            "t_seconds_bucket{m=\"GET\",le=\"0.05\"} 1",
            "t_seconds_bucket{m=\"GET\",le=\"10\"} 1",
            "t_seconds_bucket{m=\"GET\",le=\"+Inf\"} 2",
            "t_seconds_sum{m=\"GET\"} 60.03",
            "t_seconds_count{m=\"GET\"} 2",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} in\n{text}");
        }
    }
}
