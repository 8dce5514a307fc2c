//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::{BOUNDS, Observed};

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of numbers a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// A page that is being written: families, each with its help, its type and its samples.
///
/// ```
/// use portcullis_core::metrics::text::{Kind, Text};
///
/// let mut text = Text::default();
/// text.family("gate_calls_total", "Calls that have ended.", Kind::Counter).sample(&[("service", "a\"b")], 7);
/// let wanted = "# HELP gate_calls_total Calls that have ended.\n# TYPE gate_calls_total counter\n\
///     gate_calls_total{service=\"a\\\"b\"} 7\n";
/// assert_eq!(text.into_string(), wanted);
/// ```
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family. It may have no samples; its name is used this once.
    pub fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: Kind) -> Samples<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.add(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Samples { text: self, name }
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, Kind::Counter).sample(&[], value);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, help, Kind::Gauge).sample(&[], value);
    }

    /// The page.
    pub fn into_string(self) -> String {
        self.0
    }

    fn add(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.0.write_fmt(arguments).expect("a String takes everything");
    }
}

/// The samples of one family.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut Text,
    name: &'a str,
}

impl Samples<'_> {
    /// One number with its labels.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// The buckets, the sum in seconds and the count of a histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], observed: &Observed) {
        let mut below = 0;
        for (position, in_bucket) in observed.buckets.iter().enumerate() {
            below += in_bucket;
            let le = BOUNDS.get(position).map_or("+Inf", |(_, le)| le);
            self.line("_bucket", labels, Some(le), below);
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "after a hundred days of calls the last nanoseconds do not matter"
        )]
        let seconds = observed.nanos as f64 / 1e9;
        self.line("_sum", labels, None, seconds);
        self.line("_count", labels, None, below);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], le: Option<&str>, value: impl Display) {
        let name = self.name;
        self.text.add(format_args!("{name}{suffix}"));
        let le = le.map(|le| ("le", le));
        for (position, (label, value)) in labels.iter().copied().chain(le).enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if position == 0 { '{' } else { ',' };
            self.text.add(format_args!("{before}{label}=\"{value}\""));
        }
        let after = if labels.is_empty() && le.is_none() { "" } else { "}" };
        self.text.add(format_args!("{after} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn what_would_end_a_line_or_a_label_is_escaped() {
        let mut text = Text::default();
        text.family("a", "back\\slash\nline \"quote\"", Kind::Gauge).sample(&[("x", "\\ \" \n"), ("y", "")], -1.5);
        let wanted = "# HELP a back\\\\slash\\nline \"quote\"\n# TYPE a gauge\na{x=\"\\\\ \\\" \\n\",y=\"\"} -1.5\n";
        assert_eq!(text.into_string(), wanted);
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let (histogram, mut observed) = (Histogram::default(), Observed::default());
        for millis in [0, 1, 3, 700, 90_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        histogram.add_to(&mut observed);
        let mut text = Text::default();
        text.family("a_seconds", "Time.", Kind::Histogram).histogram(&[("s", "b")], &observed);
        let text = text.into_string();
        for line in [
            "a_seconds_bucket{s=\"b\",le=\"0.001\"} 2",
            "a_seconds_bucket{s=\"b\",le=\"0.5\"} 3",
            "a_seconds_bucket{s=\"b\",le=\"1\"} 4",
            "a_seconds_bucket{s=\"b\",le=\"60\"} 4",
            "a_seconds_bucket{s=\"b\",le=\"+Inf\"} 5",
            "a_seconds_sum{s=\"b\"} 90.704",
            "a_seconds_count{s=\"b\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
