//! Reads the text format of Prometheus 0.0.4.
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Family {
    pub help: String,
    pub kind: String,
    /// Name, labels without their values' escapes, value.
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

impl Sample {
    pub fn key(&self) -> String {
        format!("{} {:?}", self.name, self.labels)
    }
}

/// Families by name; a sample without HELP and TYPE before it is a mistake.
pub fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            families.entry(name.into()).or_default().help = help.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            families.entry(name.into()).or_default().kind = kind.into();
        } else {
            let sample = sample(line);
            let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|end| sample.name.strip_suffix(end));
            let histogram = parts.into_iter().find(|name| families.get(*name).is_some_and(|of| of.kind == "histogram"));
            let family = histogram.unwrap_or(&sample.name).to_owned();
            let family = families.get_mut(&family).unwrap_or_else(|| panic!("no HELP or TYPE stands before {line}"));
            family.samples.push(sample);
        }
    }
    families
}

/// The names and labels of all samples.
pub fn keys(text: &str) -> BTreeSet<String> {
    families(text).values().flat_map(|family| family.samples.iter().map(Sample::key)).collect()
}

/// Words of a text that begin as a metric of Loa or of its process does.
pub fn names(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c));
    words.filter(|word| word.starts_with("loa_") || word.starts_with("process_")).collect()
}

fn sample(line: &str) -> Sample {
    let (head, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
    // No value of ours has a comma or a quote.
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
    let pair = |label: &str| {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    Sample { name: name.into(), labels: labels.map(pair).collect() }
}
