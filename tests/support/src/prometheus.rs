//! Prometheus text as a scraper reads it, and more strictly: what does not follow the format and its naming
//! rules stops the test.

use std::collections::{BTreeMap, BTreeSet};

/// What a process said when it was scraped.
#[derive(Debug, Default)]
pub struct Scrape {
    help: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Scrape {
    /// Reads the text. Panics where it breaks a rule.
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a text after the name");
                assert!(scrape.help.insert(name.to_owned(), help.to_owned()).is_none(), "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type after the name");
                assert!(scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                let (key, value) = sample(line);
                assert!(scrape.samples.insert(key, value).is_none(), "twice: {line}");
            }
        }
        scrape.check();
        scrape
    }

    /// The value of one series. Panics where it is not there.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }

    /// The value of one series as it is written. Panics where it is not there.
    pub fn text(&self, name: &str, labels: &[(&str, &str)]) -> String {
        self.value(name, labels).to_string()
    }

    /// The value of one series, by its name and some of its labels.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matches = |has: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| has.get(*label).is_some_and(|other| other == value))
        };
        let mut found = self.samples.iter().filter(|((other, has), _)| other == name && matches(has));
        let first = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "more than one {name} {labels:?}");
        first
    }

    /// The names of all metrics and labels.
    pub fn names(&self) -> BTreeSet<String> {
        let all = self.samples.keys().flat_map(|(name, labels)| std::iter::once(name).chain(labels.keys()));
        all.cloned().collect()
    }

    /// The series of one name, added up by the values of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for ((_, labels), value) in self.samples.iter().filter(|((other, _), _)| other == name) {
            *sums.entry(labels.get(label).cloned().unwrap_or_default()).or_default() += value;
        }
        sums
    }

    /// Every counter with its value.
    pub fn counters(&self) -> impl Iterator<Item = (String, f64)> {
        let is_counter = |name: &str| self.kinds.get(name).is_some_and(|kind| kind == "counter");
        let counters = self.samples.iter().filter(move |((name, _), _)| is_counter(name));
        counters.map(|((name, labels), value)| (format!("{name} {labels:?}"), *value))
    }

    fn check(&self) {
        for ((name, labels), value) in &self.samples {
            let family = self.family(name);
            let kind = self.kinds.get(family).unwrap_or_else(|| panic!("{name} has no TYPE"));
            assert!(self.help.get(family).is_some_and(|help| !help.is_empty()), "{name} has no HELP");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{name} is a {kind}");
            assert!(*value >= 0.0, "{name} is {value}");
            for label in labels.keys() {
                assert!(!label.ends_with("_id") || name == "target_info", "{name} has an id as a label");
            }
        }
    }

    fn family<'a>(&self, name: &'a str) -> &'a str {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        of_histogram
            .filter(|family| self.kinds.get(*family).is_some_and(|kind| kind == "histogram"))
            .unwrap_or(name)
    }
}

fn sample(line: &str) -> ((String, BTreeMap<String, String>), f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    assert_legal(name);
    let mut labels = BTreeMap::new();
    let inner = rest.strip_suffix('}').unwrap_or_else(|| panic!("no end of labels: {line}"));
    // No value in our tests holds a comma or a quote.
    for pair in inner.split(',').filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        assert_legal(label);
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        labels.insert(label.to_owned(), value.unwrap_or_else(|| panic!("not quoted: {line}")).to_owned());
    }
    ((name.to_owned(), labels), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
}

fn assert_legal(name: &str) {
    let legal = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    assert!(legal && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()), "{name:?}");
}
