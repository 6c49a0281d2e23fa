//! Events over time: how many in each tenth of a second after the warm-up, and at what rate.

use std::time::Duration;

const BIN: Duration = Duration::from_millis(100);

/// Counts of one kind of event.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Events before this are not counted.
    from: Duration,
    bins: Vec<u64>,
    count: u64,
    last: Duration,
}

impl Series {
    pub(super) fn new(from: Duration) -> Self {
        Self { from, bins: Vec::new(), count: 0, last: from }
    }

    /// `at`: since the start of the run.
    pub(super) fn add(&mut self, at: Duration) {
        let Some(since) = at.checked_sub(self.from) else { return };
        let bin = usize::try_from(since.as_millis() / BIN.as_millis()).unwrap_or(usize::MAX);
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += 1;
        self.count += 1;
        self.last = self.last.max(at);
    }

    /// Events a second, from the end of the warm-up to the last of them.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
    pub(super) fn rate(&self) -> Option<f64> {
        let seconds = self.length().as_secs_f64();
        (seconds > 0.0).then(|| self.count as f64 / seconds)
    }

    /// Events a second in each stretch: a whole second, or shorter where the whole run is. With the length
    /// of a stretch in seconds.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
    pub(super) fn stretches(&self, most: Duration) -> (f64, Vec<f64>) {
        let bins = if most > Duration::from_secs(20) { 10 } else { 1 };
        let seconds = BIN.as_secs_f64() * bins as f64;
        let rate = |bins: &[u64]| bins.iter().sum::<u64>() as f64 / seconds;
        (seconds, self.bins.chunks(bins).map(rate).collect())
    }

    /// How long after the warm-up the last event was.
    pub(super) fn length(&self) -> Duration {
        self.last.saturating_sub(self.from)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Series;

    #[test]
    fn events_of_the_warm_up_do_not_count() {
        let mut series = Series::new(Duration::from_secs(1));
        for millis in [500, 999, 1_000, 1_050, 1_250, 3_000] {
            series.add(Duration::from_millis(millis));
        }
        assert_eq!(series.rate(), Some(2.0));
        let (seconds, stretches) = series.stretches(series.length());
        assert!((seconds - 0.1).abs() < 1e-9);
        assert_eq!(stretches.len(), 21);
        assert_eq!(stretches[..4], [20.0, 0.0, 10.0, 0.0]);
    }

    #[test]
    fn a_long_run_is_shown_by_the_second() {
        let mut series = Series::new(Duration::ZERO);
        (0..300).for_each(|n| series.add(Duration::from_millis(n * 100)));
        let (seconds, stretches) = series.stretches(series.length());
        assert!((seconds - 1.0).abs() < 1e-9);
        assert_eq!(stretches, vec![10.0; 30]);
    }

    #[test]
    fn nothing_has_no_rate() {
        assert_eq!(Series::new(Duration::ZERO).rate(), None);
    }
}
