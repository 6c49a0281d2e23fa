//! The figures of all rounds, and what is made of them: medians, and ratios within a round.

use std::collections::BTreeMap;

use crate::subject::{Metric, Subject};

/// One figure: of what, at how many in flight (0 where that says nothing), which.
pub(crate) type Key = (Subject, u32, Metric);

/// Every figure by its round.
#[derive(Debug, Default)]
pub(crate) struct Book {
    figures: BTreeMap<Key, BTreeMap<u32, f64>>,
}

impl Book {
    /// Writes a figure down.
    pub(crate) fn add(&mut self, key: Key, round: u32, value: f64) {
        self.figures.entry(key).or_default().insert(round, value);
    }

    /// The middle one of all rounds.
    pub(crate) fn median(&self, key: Key) -> Option<f64> {
        median(self.figures.get(&key)?.values().copied().collect())
    }

    /// The middle one of the ratios of each round: a machine that drifts moves both sides of a ratio.
    pub(crate) fn ratio(&self, above: Key, below: Key) -> Option<f64> {
        let (above, below) = (self.figures.get(&above)?, self.figures.get(&below)?);
        let ratios = above.iter().filter_map(|(round, value)| Some(value / below.get(round)?));
        median(ratios.collect())
    }

    /// The largest of all loads and rounds.
    pub(crate) fn largest(&self, metric: Metric, of: impl Fn(Subject) -> bool) -> Option<f64> {
        let fits = self.figures.iter().filter(|((subject, _, other), _)| *other == metric && of(*subject));
        fits.flat_map(|(_, rounds)| rounds.values().copied()).reduce(f64::max)
    }

    /// Who was measured.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let mut subjects: Vec<_> = self.figures.keys().map(|(subject, ..)| *subject).collect();
        subjects.dedup();
        subjects
    }

    /// Under which loads.
    pub(crate) fn loads(&self, subject: Subject) -> Vec<u32> {
        let of =
            self.figures.keys().filter(|(other, _, metric)| *other == subject && *metric == Metric::Rate);
        of.map(|(_, load, _)| *load).collect()
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*below, *above))
}

#[cfg(test)]
mod tests {
    use super::{Book, median};
    use crate::subject::{Metric, Subject};

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_is_that_of_the_same_round() {
        let mut book = Book::default();
        let (above, below) = ((Subject::Reference, 1, Metric::Rate), (Subject::Broker, 0, Metric::Rate));
        assert_eq!(book.ratio(above, below), None);
        for (round, (a, b)) in (1..).zip([(2.0, 1.0), (30.0, 10.0), (4.0, 1.0)]) {
            book.add(above, round, a);
            book.add(below, round, b);
        }
        book.add(above, 4, 100.0);
        assert_eq!(book.ratio(above, below), Some(3.0));
        assert_eq!(book.largest(Metric::Rate, |subject| subject == Subject::Reference), Some(100.0));
        assert_eq!(book.loads(Subject::Reference), [1]);
    }
}
