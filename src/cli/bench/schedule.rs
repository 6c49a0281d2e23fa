//! When each request is meant to go out. Pure: every moment is a time since the start of the run.

use std::time::Duration;

/// What ends the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// So many requests after the warm-up.
    Requests(u64),
    /// So long after the warm-up.
    Duration(Duration),
}

/// A request that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// When it is meant to go out. Its latency counts from here, however late it really goes.
    pub(super) intended: Duration,
    /// Whether the warm-up was over by then.
    pub(super) measured: bool,
}

/// The tickets of a run, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Requests a second in an open loop; a closed one sends whenever there is room.
    rate: Option<f64>,
    warm_up: Duration,
    limit: Limit,
    issued: u64,
    measured: u64,
}

impl Schedule {
    pub(super) fn new(rate: Option<f64>, warm_up: Duration, limit: Limit) -> Self {
        Self { rate, warm_up, limit, issued: 0, measured: 0 }
    }

    /// When the next ticket is due.
    pub(super) fn due(&self, now: Duration) -> Duration {
        match self.rate {
            // Below 2^53 requests this is exact.
            #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 requests")]
            Some(rate) => Duration::from_secs_f64(self.issued as f64 / rate),
            None => now,
        }
    }

    /// Takes the next ticket; none when the load is over.
    pub(super) fn take(&mut self, now: Duration) -> Option<Ticket> {
        let intended = self.due(now);
        let measured = intended >= self.warm_up;
        let is_over = match self.limit {
            Limit::Requests(limit) => self.measured >= limit,
            Limit::Duration(limit) => intended >= self.warm_up + limit,
        };
        if is_over {
            return None;
        }
        let ticket = Ticket { number: self.issued, intended, measured };
        self.issued += 1;
        self.measured += u64::from(measured);
        Some(ticket)
    }

    /// When nothing more may be sent, if the clock says so.
    pub(super) fn end(&self) -> Option<Duration> {
        match self.limit {
            Limit::Requests(_) => None,
            Limit::Duration(limit) => Some(self.warm_up + limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Limit, Schedule, Ticket};

    const SECOND: Duration = Duration::from_secs(1);

    fn all(schedule: &mut Schedule, now: impl Fn(u64) -> Duration) -> Vec<Ticket> {
        (0..).map_while(|n| schedule.take(now(n))).collect()
    }

    #[test]
    fn an_open_loop_is_never_put_off_by_a_late_sender() {
        let mut schedule = Schedule::new(Some(4.0), Duration::ZERO, Limit::Duration(2 * SECOND));
        // The sender comes ten seconds late to every one of them.
        let tickets = all(&mut schedule, |_| 10 * SECOND);
        let expected: Vec<Duration> = (0..8).map(|n| n * Duration::from_millis(250)).collect();
        assert_eq!(tickets.iter().map(|ticket| ticket.intended).collect::<Vec<_>>(), expected);
        assert_eq!(schedule.end(), Some(2 * SECOND));
    }

    #[test]
    fn a_closed_loop_intends_what_it_does() {
        let mut schedule = Schedule::new(None, Duration::ZERO, Limit::Requests(3));
        let tickets = all(&mut schedule, |n| Duration::from_millis(n * 7));
        let intended: Vec<u128> = tickets.iter().map(|ticket| ticket.intended.as_millis()).collect();
        assert_eq!(intended, [0, 7, 14]);
    }

    #[test]
    fn the_warm_up_comes_on_top_and_is_not_measured() {
        let mut schedule = Schedule::new(Some(10.0), SECOND, Limit::Requests(5));
        let tickets = all(&mut schedule, |_| Duration::ZERO);
        let measured = tickets.iter().filter(|ticket| ticket.measured).count();
        assert_eq!((tickets.len(), measured), (15, 5));
        assert!(tickets.iter().all(|ticket| ticket.measured == (ticket.intended >= SECOND)));

        let mut schedule = Schedule::new(Some(10.0), SECOND, Limit::Duration(2 * SECOND));
        assert_eq!(all(&mut schedule, |_| Duration::ZERO).len(), 30);
    }

    #[test]
    fn tickets_are_numbered_in_a_row() {
        let mut schedule = Schedule::new(Some(1_000.0), Duration::ZERO, Limit::Requests(4));
        let numbers: Vec<u64> =
            all(&mut schedule, |_| Duration::ZERO).iter().map(|ticket| ticket.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }
}
