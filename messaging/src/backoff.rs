//! How long to wait before the next try: growing, bounded, and different for everybody, so that what
//! failed together does not come back together.

use std::time::Duration;

/// A growing delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay before the second try.
    pub first: Duration,
    /// No delay is longer.
    pub most: Duration,
}

impl Backoff {
    /// The delay after `failures` failures in a row (from 1): a random one between half of and the whole
    /// of `first` × 2^(failures − 1), at most `most`. Source: M. Brooker, "Exponential Backoff and
    /// Jitter", equal jitter.
    pub fn delay(&self, failures: u32) -> Duration {
        self.longest(failures).mul_f64(rand::random_range(0.5..=1.0))
    }

    /// All delays of `attempts` attempts together, at their longest.
    pub fn total(&self, attempts: u32) -> Duration {
        (1..attempts).fold(Duration::ZERO, |sum, failures| sum.saturating_add(self.longest(failures)))
    }

    fn longest(&self, failures: u32) -> Duration {
        let doubling = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubling).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_of_the_longest_delays() {
        let backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(4) };
        assert_eq!(backoff.total(1), Duration::ZERO, "the first attempt waits for nothing");
        assert_eq!(backoff.total(5), Duration::from_secs(1 + 2 + 4 + 4));
    }

    #[test]
    fn delay_grows_and_is_bounded() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5) };
        for failures in 1..100 {
            let whole = 100.0 * 2_f64.powi(failures - 1);
            let delay = backoff.delay(failures.unsigned_abs()).as_secs_f64() * 1_000.0;
            assert!(delay >= whole.min(5_000.0) / 2.0 - 0.001 && delay <= whole.min(5_000.0) + 0.001);
        }
    }
}
