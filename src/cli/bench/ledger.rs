//! What every part of a run shares: what was sent, what is open, how it ended.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};
use tonic::{Code, Status};
use waybill_proto::v1::{Dispatch, DispatchReceipt, DispatchRequested, DispatchState};

use super::{
    cancel::Answer,
    mix::Outcome,
    schedule::Ticket,
    tally::{Tally, Wrong},
};
use crate::cli::{Failure, state, status, time};

/// A request on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) ticket: Ticket,
    pub(super) outcome: Outcome,
    pub(super) request: DispatchRequested,
    /// Its place among those in flight.
    pub(super) place: OwnedSemaphorePermit,
}

/// A dispatch that was accepted and is not known to have ended.
#[derive(Debug)]
pub(super) struct Open {
    ticket: Ticket,
    outcome: Outcome,
    message_id: String,
    /// When its receipt came.
    accepted: Duration,
    /// Where a request is in flight until its end.
    place: Option<OwnedSemaphorePermit>,
}

/// A request that nobody knows the fate of.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) message_id: String,
    pub(super) outcome: Outcome,
    ticket: Ticket,
}

/// A dispatch that has ended as it may; whether for the reason that the mix says is still to be looked up.
#[derive(Debug)]
pub(super) struct Doubtful {
    pub(super) dispatch_id: String,
    pub(super) message_id: String,
    pub(super) outcome: Outcome,
}

/// What there is to do for a request that was answered.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    /// It was turned away, and keeps its place for as long as the server asks for.
    Rest(OwnedSemaphorePermit),
    /// It was accepted and is to be cancelled. Its place is free after that, unless it waits for the end.
    Cancel {
        dispatch_id: String,
        place: Option<OwnedSemaphorePermit>,
    },
}

/// All of it, behind one lock that is held for a few steps at a time.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) tally: Tally,
    /// By dispatch id, which is the order of acceptance.
    pub(super) open: BTreeMap<String, Open>,
    /// Those of them that nobody watches yet; `None` where ends are listed.
    pub(super) to_watch: Option<Vec<String>>,
    pub(super) lost: Vec<Lost>,
    pub(super) doubtful: Vec<Doubtful>,
    /// How cancel requests were answered, by dispatch id.
    pub(super) cancels: HashMap<String, Answer>,
    /// Why the last look for ends failed, if it did.
    pub(super) blind: Option<Status>,
}

/// The books of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    start: Instant,
    until_end: bool,
    books: Mutex<Books>,
    /// Something is open.
    pub(super) news: Notify,
    /// Nothing is open any more.
    pub(super) quiet: Notify,
}

impl Ledger {
    /// `until_end`: a request keeps its place until its dispatch has ended.
    pub(super) fn new(start: Instant, tally: Tally, until_end: bool) -> Self {
        let books = Books {
            tally,
            open: BTreeMap::new(),
            to_watch: None,
            lost: Vec::new(),
            doubtful: Vec::new(),
            cancels: HashMap::new(),
            blind: None,
        };
        Self { start, until_end, books: Mutex::new(books), news: Notify::new(), quiet: Notify::new() }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        // A panic under this lock is a bug that the test of the figures would show; going on is safe.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the start of the run.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn sent(&self, ticket: &Ticket) {
        let now = self.now();
        self.books().tally.sent(ticket, now);
    }

    /// Writes down how a request was answered.
    pub(super) fn answered(&self, flight: Flight, answer: Result<DispatchReceipt, Status>) -> Next {
        let now = self.now();
        let mut books = self.books();
        match answer {
            Ok(receipt) => {
                let next = books.accepted(flight, receipt, now, self.until_end);
                self.news.notify_one();
                next
            }
            Err(status) => {
                books.refused(&flight, &status);
                Next::Rest(flight.place)
            }
        }
    }
}

impl Books {
    fn accepted(&mut self, flight: Flight, receipt: DispatchReceipt, now: Duration, until_end: bool) -> Next {
        let Flight { ticket, outcome, request, place } = flight;
        self.tally.accepted(&ticket, now);
        if outcome == Outcome::Rejected || receipt.duplicate {
            let found = if receipt.duplicate { "accepted as a duplicate" } else { "accepted" };
            self.tally.wrong(Wrong {
                message_id: request.message_id,
                dispatch_id: receipt.dispatch_id,
                expected: outcome,
                found: found.to_owned(),
            });
            return Next::Nothing;
        }
        let (place, left) = if until_end { (Some(place), None) } else { (None, Some(place)) };
        let open = Open { ticket, outcome, message_id: request.message_id, accepted: now, place };
        let dispatch_id = receipt.dispatch_id;
        if let Some(to_watch) = &mut self.to_watch {
            to_watch.push(dispatch_id.clone());
        }
        self.open.insert(dispatch_id.clone(), open);
        match outcome {
            Outcome::Cancelled => Next::Cancel { dispatch_id, place: left },
            _ => Next::Nothing,
        }
    }

    fn refused(&mut self, flight: &Flight, status: &Status) {
        let code = status::code(status);
        if flight.outcome == Outcome::Rejected && code == Code::InvalidArgument {
            self.tally.rejected += 1;
            return;
        }
        self.tally.error(code);
        if is_undecided(code) {
            let message_id = flight.request.message_id.clone();
            self.lost.push(Lost { message_id, ticket: flight.ticket, outcome: flight.outcome });
        }
    }

    /// A request without an answer turns out to have been accepted.
    pub(super) fn found(&mut self, lost: Lost, dispatch_id: String, now: Duration) {
        // Neither receipt nor end of it can be dated: it counts, and is not measured.
        let ticket = Ticket { measured: false, ..lost.ticket };
        self.tally.accepted += 1;
        let Lost { message_id, outcome, .. } = lost;
        if outcome == Outcome::Rejected {
            let found = "accepted, without a receipt".to_owned();
            self.tally.wrong(Wrong { message_id, dispatch_id, expected: outcome, found });
            return;
        }
        self.open.insert(dispatch_id, Open { ticket, outcome, message_id, accepted: now, place: None });
    }

    /// Takes note of a dispatch as the server shows it. True when that is news: one of ours has ended.
    pub(super) fn seen(&mut self, dispatch: &Dispatch, now: Duration) -> bool {
        if !state::is_end(dispatch.state()) {
            return false;
        }
        let Some(open) = self.open.remove(&dispatch.dispatch_id) else { return false };
        let Open { ticket, outcome, message_id, accepted, place } = open;
        drop(place);
        let server = time::between(dispatch.accepted_at.as_ref(), dispatch.ended_at.as_ref());
        // Both are dated when their transaction begins: too long by what the receipt took, too short by what
        // the commit of the end took. And no longer than what was seen from here, whatever the clocks say.
        let seen = now.saturating_sub(ticket.intended);
        let latency =
            server.map_or(seen, |server| (accepted.saturating_sub(ticket.intended) + server).min(seen));
        self.tally.ended(&ticket, latency, server);
        let dispatch_id = dispatch.dispatch_id.clone();
        if !outcome.may_end(dispatch.state()) {
            let found = found(dispatch.state(), &dispatch.reason);
            self.tally.wrong(Wrong { message_id, dispatch_id, expected: outcome, found });
        } else if outcome == Outcome::Completed {
            self.tally.right(outcome);
        } else {
            self.doubtful.push(Doubtful { dispatch_id, message_id, outcome });
        }
        true
    }

    /// Some that were accepted a while ago, oldest first, beginning after `after`.
    pub(super) fn stragglers(&self, after: &str, accepted_before: Duration, most: usize) -> Vec<String> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.open
            .range::<str, _>(range)
            .filter(|(_, open)| open.accepted <= accepted_before)
            .take(most)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// What is still open when the run is over did not end, and what was not looked up is not verified.
    pub(super) fn give_up(&mut self) {
        for Doubtful { dispatch_id, message_id, outcome } in std::mem::take(&mut self.doubtful) {
            let found = "ended, but why was not looked up".to_owned();
            self.tally.unfinished(Wrong { message_id, dispatch_id, expected: outcome, found });
        }
        let blind = self.blind.as_ref().map_or_else(
            || "not ended".to_owned(),
            |error| format!("not known to have ended: {}", Failure::from(error.clone()).message),
        );
        for (dispatch_id, open) in std::mem::take(&mut self.open) {
            let Open { message_id, outcome, .. } = open;
            let found = blind.clone();
            self.tally.unfinished(Wrong { message_id, dispatch_id, expected: outcome, found });
        }
    }
}

/// A state and its reason.
pub(super) fn found(state: DispatchState, reason: &str) -> String {
    let name = state::name(state);
    if reason.is_empty() { name.to_owned() } else { format!("{name}: {reason}") }
}

/// Whether a request that was answered so may have been accepted all the same.
fn is_undecided(code: Code) -> bool {
    status::is_passing(code) && code != Code::ResourceExhausted
}

#[cfg(test)]
mod tests;
