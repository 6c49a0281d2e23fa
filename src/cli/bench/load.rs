//! Sends what the schedule says, so many at a time.
//!
//! A closed loop takes a place first and then a ticket, which is due at once; an open loop takes the ticket
//! first, and waiting for a place is part of its latency: nobody who would have asked is left out because
//! the server was slow.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    driver::Driver,
    ledger::{Flight, Ledger},
    request::Requests,
    schedule::Ticket,
    tickets::Tickets,
};

/// A load and everything that it needs.
pub(super) struct Load {
    pub(super) tickets: Tickets,
    pub(super) requests: Requests,
    pub(super) ledger: Arc<Ledger>,
    pub(super) driver: Driver,
    pub(super) in_flight: usize,
    /// When nothing more may be sent.
    pub(super) end: Option<Duration>,
}

impl Load {
    /// Sends until the schedule is over or `stop`, and waits until everything is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.in_flight));
        while let Some(Some((ticket, place))) = stop.run_until_cancelled(self.next(&places)).await {
            let (outcome, request) = self.requests.make(ticket.number);
            self.driver.send(Flight { ticket, outcome, request, place }).await;
        }
        self.driver.finish().await;
    }

    async fn next(&mut self, places: &Arc<Semaphore>) -> Option<(Ticket, OwnedSemaphorePermit)> {
        if matches!(self.tickets, Tickets::Closed { .. }) {
            let place = place(places).await?;
            return Some((self.tickets.next().await?, place));
        }
        loop {
            let ticket = self.tickets.next().await?;
            let left = self.end.map_or(Duration::MAX, |end| end.saturating_sub(self.ledger.now()));
            match tokio::time::timeout(left, place(places)).await {
                Ok(place) => return Some((ticket, place?)),
                // It was due in time and found no place until the end.
                Err(_) => self.ledger.books().tally.not_sent += 1,
            }
        }
    }
}

/// Fails only on a closed semaphore, and nobody closes it.
async fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).acquire_owned().await.ok()
}
