//! Distributions of times, as the summaries of many dispatches show them.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Failure;

/// A week, in microseconds; what took longer counts as this.
const LONGEST: u64 = 7 * 24 * 3_600_000_000;

/// A distribution of times, in microseconds, exact to three digits.
#[derive(Debug)]
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> Result<Self, Failure> {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| Failure::other(error.to_string()))?;
        Ok(Self(histogram))
    }

    pub(super) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this part of all stayed within, from 0 to 1.
    pub(super) fn at(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(quantile))
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

/// Three digits or so.
pub(super) fn shown(time: Duration) -> String {
    match time.as_micros() {
        0..10_000 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        10_000..10_000_000 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Latency, shown};

    #[test]
    fn a_distribution_knows_its_quantiles() {
        let mut latency = Latency::new().unwrap();
        assert!(latency.is_empty());
        (1..=1_000).for_each(|millis| latency.record(Duration::from_millis(millis)));
        for (quantile, millis) in [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1_000)] {
            let off = latency.at(quantile).abs_diff(Duration::from_millis(millis));
            assert!(off <= Duration::from_millis(1), "{quantile}: {:?}", latency.at(quantile));
        }
        assert_eq!(latency.count(), 1_000);
    }

    #[test]
    fn a_time_has_three_digits_or_so() {
        assert_eq!(shown(Duration::from_micros(1_234)), "1.23 ms");
        assert_eq!(shown(Duration::from_millis(56)), "56 ms");
        assert_eq!(shown(Duration::from_millis(12_340)), "12.3 s");
    }
}
