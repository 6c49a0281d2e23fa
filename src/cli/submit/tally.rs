//! What came of the many: counts and latencies, and nothing that grows with their number.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tonic::Code;

use crate::cli::{Failure, latency::Latency};

/// Reasons that are told apart; the rest is counted together.
const REASONS: usize = 20;
const OTHER_REASON: &str = "(other reasons)";

/// An end state and its reason.
pub(super) type Outcome = (&'static str, String);

/// The figures of one run.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) accepted: u64,
    /// Accepted by an earlier request.
    pub(super) duplicates: u64,
    pub(super) rejected: BTreeMap<i32, u64>,
    /// Answers that asked for another attempt.
    pub(super) retried: u64,
    pub(super) ended: BTreeMap<Outcome, u64>,
    /// Given up on before the end.
    pub(super) unfinished: u64,
    pub(super) accept: Latency,
    pub(super) end: Latency,
    start: Option<Instant>,
    last_accept: Option<Instant>,
    last_end: Option<Instant>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            sent: 0,
            accepted: 0,
            duplicates: 0,
            rejected: BTreeMap::new(),
            retried: 0,
            ended: BTreeMap::new(),
            unfinished: 0,
            accept: Latency::new()?,
            end: Latency::new()?,
            start: None,
            last_accept: None,
            last_end: None,
        })
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.sent += 1;
        self.start.get_or_insert(now);
    }

    pub(super) fn accepted(&mut self, duplicate: bool, latency: Duration, now: Instant) {
        if duplicate {
            self.duplicates += 1;
        } else {
            self.accepted += 1;
            self.accept.record(latency);
            self.last_accept = Some(now);
        }
    }

    pub(super) fn rejected(&mut self, code: Code) {
        *self.rejected.entry(code.into()).or_default() += 1;
    }

    /// `latency` is absent where it says nothing about this run.
    pub(super) fn ended(
        &mut self,
        state: &'static str,
        reason: &str,
        latency: Option<Duration>,
        now: Instant,
    ) {
        let mut outcome = (state, without_amounts(reason));
        if !self.ended.contains_key(&outcome) && self.ended.len() >= REASONS {
            OTHER_REASON.clone_into(&mut outcome.1);
        }
        *self.ended.entry(outcome).or_default() += 1;
        self.last_end = Some(now);
        if let Some(latency) = latency {
            self.end.record(latency);
        }
    }

    pub(super) fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }

    pub(super) fn ends(&self) -> u64 {
        self.ended.values().sum()
    }

    /// Accepted per second, from the first request to the last receipt.
    pub(super) fn accept_rate(&self) -> Option<f64> {
        rate(self.accepted, self.start, self.last_accept)
    }

    /// Ended per second, from the first request to the last end.
    pub(super) fn end_rate(&self) -> Option<f64> {
        rate(self.ends(), self.start, self.last_end)
    }
}

/// A reason without its amounts, so that refusals that differ only in them are counted together.
fn without_amounts(reason: &str) -> String {
    let is_amount = |word: &str| {
        let digits = word.trim_start_matches('(');
        digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ')')
    };
    let shown = |word: &str| match word.starts_with('(') {
        _ if !is_amount(word) => word.to_owned(),
        true => "(…".to_owned(),
        false => "…".to_owned(),
    };
    reason.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

fn rate(count: u64, from: Option<Instant>, to: Option<Instant>) -> Option<f64> {
    let seconds = to?.duration_since(from?).as_secs_f64();
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    (seconds > 0.0).then_some(count / seconds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tonic::Code;

    use super::{OTHER_REASON, REASONS, Tally};

    #[test]
    fn figures_add_up() {
        let (mut tally, start) = (Tally::new().unwrap(), Instant::now());
        for _ in 0..4 {
            tally.sent(start);
        }
        let later = start + Duration::from_secs(2);
        tally.accepted(false, Duration::from_millis(10), later);
        tally.accepted(false, Duration::from_millis(30), later);
        tally.accepted(true, Duration::from_secs(9), later);
        tally.rejected(Code::InvalidArgument);
        assert_eq!((tally.sent, tally.accepted, tally.duplicates, tally.rejections()), (4, 2, 1, 1));
        assert_eq!(tally.accept_rate(), Some(1.0));
        let [p50, max] = [tally.accept.at(0.5), tally.accept.max()];
        assert!(p50.abs_diff(Duration::from_millis(10)) < Duration::from_micros(50), "{p50:?}");
        assert!(max.abs_diff(Duration::from_millis(30)) < Duration::from_micros(50), "{max:?}");
    }

    #[test]
    fn refusals_that_differ_only_in_amounts_are_counted_together() {
        let (mut tally, now) = (Tally::new().unwrap(), Instant::now());
        for amount in ["1249.28", "5000.00"] {
            tally.ended(
                "CANCELLED",
                &format!("{amount} EUR exceed the limit ({amount} EUR reserved)"),
                None,
                now,
            );
        }
        let reason = "… EUR exceed the limit (… EUR reserved)".to_owned();
        assert_eq!(tally.ended, [(("CANCELLED", reason), 2)].into());
    }

    #[test]
    fn reasons_without_number_are_counted_together() {
        let (mut tally, now) = (Tally::new().unwrap(), Instant::now());
        for number in 0..100 {
            tally.ended("CANCELLED", &format!("r{number}"), None, now);
        }
        assert_eq!((tally.ended.len(), tally.ends()), (REASONS + 1, 100));
        assert_eq!(tally.ended[&("CANCELLED", OTHER_REASON.to_owned())], 80);
    }
}
