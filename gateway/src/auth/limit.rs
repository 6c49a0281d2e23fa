//! How much one client may ask for: so many requests a second, and so many in flight.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{
    metrics::{Reason, TurnedAway},
    status,
};

/// Calls are short: after this long some of a client's own have ended.
const PAUSE: Duration = Duration::from_millis(200);

/// The limits of one client, as configured; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Requests a second, and as many at once after a second without any. Each message of a
    /// `RequestDispatches` stream is one.
    pub rate: Option<NonZeroU32>,
    /// Calls and messages of streams that are not answered yet, and as many streams beside them.
    pub in_flight: Option<NonZeroU32>,
}

/// The same, with what is used of it.
#[derive(Debug)]
pub(super) struct Limits {
    limit: Limit,
    rate: Option<DefaultDirectRateLimiter>,
    calls: Option<Arc<Semaphore>>,
    streams: Option<Arc<Semaphore>>,
    turned_away: Arc<TurnedAway>,
}

/// Something in flight; over when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Limits {
    pub(super) fn new(limit: Limit, turned_away: &Arc<TurnedAway>) -> Self {
        let room = || {
            let most = usize::try_from(limit.in_flight?.get()).unwrap_or(Semaphore::MAX_PERMITS);
            Some(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
        };
        Self {
            limit,
            rate: limit.rate.map(|rate| RateLimiter::direct(Quota::per_second(rate))),
            calls: room(),
            streams: room(),
            turned_away: Arc::clone(turned_away),
        }
    }

    pub(super) fn enter(&self, is_stream: bool) -> Result<Place, Status> {
        self.check_rate()?;
        let (room, what) = if is_stream { (&self.streams, "streams") } else { (&self.calls, "requests") };
        let Some(room) = room else { return Ok(Place::default()) };
        let permit = Arc::clone(room).try_acquire_owned().map_err(|_| {
            self.turned_away.count(Reason::InFlight);
            let most = self.limit.in_flight.map_or(0, NonZeroU32::get);
            let text = format!("one client may have {most} {what} in flight, and this would be one more");
            status::exhausted(&text, PAUSE)
        })?;
        Ok(Place { _permit: Some(permit) })
    }

    fn check_rate(&self) -> Result<(), Status> {
        let Some(limiter) = &self.rate else { return Ok(()) };
        limiter.check().map_err(|not_until| {
            self.turned_away.count(Reason::Rate);
            let pause = not_until.wait_time_from(limiter.clock().now());
            let rate = self.limit.rate.map_or(0, NonZeroU32::get);
            status::exhausted(&format!("one client may make {rate} requests a second"), pause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(limit: Limit) -> Limits {
        Limits::new(limit, &Arc::new(TurnedAway::new()))
    }

    #[test]
    fn a_place_is_free_again_when_what_held_it_is_over() {
        let limits = limits(Limit { rate: None, in_flight: NonZeroU32::new(1) });
        let place = limits.enter(false).unwrap();
        assert_eq!(limits.enter(false).unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert!(limits.enter(true).is_ok(), "streams have room of their own");
        drop(place);
        assert!(limits.enter(false).is_ok());
    }

    #[test]
    fn without_limits_everything_has_a_place() {
        let limits = limits(Limit::default());
        let places: Vec<_> = (0..10_000).map(|_| limits.enter(false)).collect();
        assert!(places.iter().all(Result::is_ok));
    }
}
