//! A strict reader of the text format of Prometheus, version 0.0.4: what a page may say and does not have to is an error too.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Answer;

/// A page that is well-formed, and kept by whoever holds to the conventions.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Families by name: their kind.
    pub(crate) kinds: BTreeMap<String, String>,
    /// Every sample: the name of the series, with its labels in order, and its value.
    pub(crate) samples: BTreeMap<(String, Vec<(String, String)>), f64>,
}

impl Page {
    /// Reads an answer.
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let text = std::str::from_utf8(&answer.body).expect("UTF-8");
        Self::read(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Reads a text, or says what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let (mut helped, mut family) = (None::<String>, None::<(String, String)>);
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line does not end".into());
        }
        for line in text.split_terminator('\n') {
            let wrong = |what: &str| Err(format!("{what}: {line:?}"));
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let Some((name, help)) = rest.split_once(' ') else { return wrong("no help") };
                if helped.is_some() || help.trim().is_empty() || !escapes_are_good(help, false) {
                    return wrong("help");
                }
                helped = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let Some((name, kind)) = rest.split_once(' ') else { return wrong("no type") };
                if helped.take().as_deref() != Some(name) || !is_name(name, true) || !name.starts_with("portcullis_") {
                    return wrong("a type without its help");
                }
                if !["counter", "gauge", "histogram"].contains(&kind) || (kind == "counter") != name.ends_with("_total")
                {
                    return wrong("a type that does not go with its name");
                }
                if page.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return wrong("a family twice");
                }
                family = Some((name.to_owned(), kind.to_owned()));
            } else {
                let Some((name, kind)) = &family else { return wrong("a sample of no family") };
                let (series, labels, value) = sample(line).ok_or_else(|| format!("no sample: {line:?}"))?;
                let suffix = series.strip_prefix(name.as_str());
                let fits = match kind.as_str() {
                    "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
                    _ => suffix == Some(""),
                };
                if helped.is_some() || !fits {
                    return wrong("a sample of another family");
                }
                if kind != "gauge" && !(value >= 0.0 && value.is_finite()) {
                    return wrong("no count");
                }
                if page.samples.insert((series, labels), value).is_some() {
                    return wrong("a series twice");
                }
            }
        }
        page.check_histograms()?;
        Ok(page)
    }

    /// Buckets are cumulative and end with `+Inf`, which is the count; each has its sum.
    fn check_histograms(&self) -> Result<(), String> {
        type Buckets = BTreeMap<(String, Vec<(String, String)>), Vec<(f64, f64)>>;
        let mut buckets = Buckets::new();
        let histograms = self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name);
        for name in histograms.clone() {
            for ((series, labels), value) in &self.samples {
                if *series != format!("{name}_bucket") {
                    continue;
                }
                let (le, others): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(label, _)| label == "le");
                let [(_, le)] = le.as_slice() else { return Err(format!("{series}: no 'le'")) };
                let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().map_err(|_| format!("le {le}"))? };
                buckets.entry((name.clone(), others)).or_default().push((bound, *value));
            }
        }
        for ((name, labels), mut found) in buckets.clone() {
            found.sort_by(|one, other| one.0.total_cmp(&other.0));
            let is_rising = found.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let of = |suffix: &str| self.samples.get(&(format!("{name}{suffix}"), labels.clone())).copied();
            let (last, count, sum) = (found.last().copied(), of("_count"), of("_sum"));
            let (Some((f64::INFINITY, all)), Some(count), Some(sum)) = (last, count, sum) else {
                return Err(format!("{name} {labels:?} is not whole"));
            };
            // What falls in a bucket is longer than the bound before it, and no longer than its own.
            let mut before = (0.0, 0.0);
            let (mut least, mut most) = (0.0, 0.0);
            for (bound, below) in found {
                least += before.0 * (below - before.1);
                most += if below > before.1 { bound * (below - before.1) } else { 0.0 };
                before = (bound, below);
            }
            if !is_rising || all != count || sum < least * 0.999_999 || sum > most * 1.000_001 {
                return Err(format!("{name} {labels:?}: buckets, count and sum do not agree"));
            }
        }
        let of_histograms: BTreeSet<_> =
            histograms.flat_map(|name| [format!("{name}_count"), format!("{name}_sum")]).collect();
        for (series, labels) in self.samples.keys().filter(|(series, _)| of_histograms.contains(series)) {
            let name = series.rsplit_once('_').expect("a suffix").0;
            if !buckets.contains_key(&(name.to_owned(), labels.clone())) {
                return Err(format!("{series} {labels:?} has no buckets"));
            }
        }
        Ok(())
    }

    /// The value of a series with exactly these labels; 0 where there is none.
    pub(crate) fn value(&self, series: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(series.to_owned(), labels)).copied().unwrap_or(0.0)
    }

    /// The sum of a series over all labels.
    pub(crate) fn sum(&self, series: &str) -> f64 {
        self.samples.iter().filter(|((name, _), _)| name == series).map(|(_, value)| value).sum()
    }
}

fn is_name(name: &str, is_series: bool) -> bool {
    let good = |c: char, first: bool| {
        c == '_' || c == ':' && is_series || c.is_ascii_alphabetic() || c.is_ascii_digit() && !first
    };
    !name.is_empty() && name.chars().enumerate().all(|(position, c)| good(c, position == 0))
}

/// Whether every backslash begins an escape there is.
fn escapes_are_good(text: &str, has_quotes: bool) -> bool {
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let is_good = match character {
            '\\' => matches!(rest.next(), Some('\\' | 'n')) || has_quotes && text.contains("\\\""),
            '"' => !has_quotes,
            other => other != '\r',
        };
        if !is_good {
            return false;
        }
    }
    true
}

/// A series, its labels and its value.
type Sample = (String, Vec<(String, String)>, f64);

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (series, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (name, after) = rest.split_once("=\"")?;
            if !is_name(name, false) || name.starts_with("__") {
                return None;
            }
            let mut value = String::new();
            let mut characters = after.char_indices();
            let close = loop {
                match characters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next()?.1 {
                        '\\' => '\\',
                        '"' => '"',
                        'n' => '\n',
                        _ => return None,
                    }),
                    (_, character) => value.push(character),
                }
            };
            labels.push((name.to_owned(), value));
            rest = &after[close + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = rest.strip_prefix('}')?,
            }
        }
        let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
        if names.len() != labels.len() {
            return None;
        }
    }
    let value = rest.strip_prefix(' ')?;
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || b"-.e+".contains(&byte));
    (is_name(series, true) && is_plain).then(|| Some((series.to_owned(), labels, value.parse().ok()?)))?
}

#[test]
fn the_reader_is_strict() {
    let head = "# HELP portcullis_a_total A.\n# TYPE portcullis_a_total counter\n";
    let gauge = "# HELP portcullis_g G.\n# TYPE portcullis_g gauge\n";
    let histogram = "# HELP portcullis_h H.\n# TYPE portcullis_h histogram\n";
    let whole = "portcullis_h_bucket{le=\"1\"} 1\nportcullis_h_bucket{le=\"+Inf\"} 2\nportcullis_h_sum 3.5\nportcullis_h_count 2\n";
    for good in [
        String::new(),
        format!("{head}portcullis_a_total{{x=\"a\\\"b\\\\\\n\",y=\"\"}} 7\nportcullis_a_total 1\n"),
        format!("{head}{gauge}portcullis_g -1.5\n"),
        format!("{histogram}{whole}"),
    ] {
        assert!(Page::read(&good).is_ok(), "{good}: {:?}", Page::read(&good));
    }
    for bad in [
        format!("{head}portcullis_a_total 7"),
        format!("{head}portcullis_a_total  7\n"),
        format!("{head}portcullis_a_total -7\n"),
        format!("{head}portcullis_a_total 7 \n"),
        format!("{head}\nportcullis_a_total 7\n"),
        format!("{head}portcullis_a_total{{}} 7\n"),
        format!("{head}portcullis_a_total{{x=\"a}} 7\n"),
        format!("{head}portcullis_a_total{{x=\"\\t\"}} 7\n"),
        format!("{head}portcullis_a_total{{x=\"1\",x=\"2\"}} 7\n"),
        format!("{head}portcullis_a_total{{1x=\"1\"}} 7\n"),
        format!("{head}portcullis_a_total 7\nportcullis_a_total 7\n"),
        format!("{head}{head}"),
        format!("{head}portcullis_b_total 7\n"),
        format!("{head}{gauge}portcullis_a_total 7\n"),
        "portcullis_a_total 7\n".to_owned(),
        "# TYPE portcullis_a_total counter\n".to_owned(),
        "# HELP portcullis_a A.\n# TYPE portcullis_a counter\n".to_owned(),
        "# HELP portcullis_a_total A.\n# TYPE portcullis_a_total gauge\n".to_owned(),
        "# HELP portcullis_a_total \\q\n# TYPE portcullis_a_total counter\n".to_owned(),
        "# HELP a_total A.\n# TYPE a_total counter\n".to_owned(),
        format!("{histogram}{}", whole.replace("} 1", "} 3")),
        format!("{histogram}{}", whole.replace("count 2", "count 3")),
        format!("{histogram}{}", whole.replace("+Inf", "5")),
        format!("{histogram}{}", whole.replace("sum 3.5", "sum 0.5")),
        format!("{histogram}{}", whole.replace("portcullis_h_sum 3.5\n", "")),
        format!("{histogram}portcullis_h_sum 3.5\nportcullis_h_count 2\n"),
        format!("{histogram}{whole}portcullis_h 1\n"),
    ] {
        assert!(Page::read(&bad).is_err(), "{bad}");
    }
}
