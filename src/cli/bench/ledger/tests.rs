use std::{sync::Arc, time::Duration};

use prost_types::Timestamp;
use tokio::{sync::Semaphore, time::Instant};
use tonic::Status;
use waybill_proto::v1::{Dispatch, DispatchReceipt, DispatchRequested, DispatchState};

use super::{Books, Flight, Ledger, Tally};
use crate::cli::bench::{mix::Outcome, schedule::Ticket};

const MILLI: Duration = Duration::from_millis(1);

fn ledger() -> Ledger {
    Ledger::new(Instant::now(), Tally::new(Duration::ZERO).unwrap(), false)
}

fn flight(outcome: Outcome, intended: Duration) -> Flight {
    let request = DispatchRequested { message_id: "m".to_owned(), ..DispatchRequested::default() };
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    Flight { ticket: Ticket { number: 0, intended, measured: true }, outcome, request, place }
}

fn receipt() -> DispatchReceipt {
    DispatchReceipt { dispatch_id: "d".to_owned(), ..DispatchReceipt::default() }
}

fn at(millis: i32) -> Timestamp {
    Timestamp { seconds: 1_000, nanos: millis * 1_000_000 }
}

/// Accepted 20 ms after it was meant to go out, and 100 ms from acceptance to its end.
fn dispatch(state: DispatchState) -> Dispatch {
    Dispatch {
        dispatch_id: "d".to_owned(),
        state: state.into(),
        accepted_at: Some(at(500)),
        ended_at: Some(at(600)),
        ..Dispatch::default()
    }
}

fn accepted(books: &mut Books, outcome: Outcome) {
    books.accepted(flight(outcome, 10 * MILLI), receipt(), 30 * MILLI, false);
}

#[test]
fn the_end_is_dated_by_the_server_and_never_later_than_it_was_seen() {
    let ledger = ledger();
    for (seen, expected) in [(5_000, 120), (115, 105)] {
        let mut books = ledger.books();
        books.tally = Tally::new(Duration::ZERO).unwrap();
        accepted(&mut books, Outcome::Completed);
        assert!(books.seen(&dispatch(DispatchState::Completed), seen * MILLI));
        let measured = books.tally.end.max();
        assert!(measured.abs_diff(expected * MILLI) < MILLI, "{measured:?}");
        assert!(books.tally.server.max().abs_diff(100 * MILLI) < MILLI);
        assert!(books.tally.accept.max().abs_diff(20 * MILLI) < MILLI);
    }
}

#[test]
fn another_end_than_the_mix_says_is_wrong() {
    for state in [DispatchState::Cancelled, DispatchState::Stuck] {
        let ledger = ledger();
        let mut books = ledger.books();
        accepted(&mut books, Outcome::Completed);
        assert!(books.seen(&dispatch(state), 200 * MILLI));
        assert!(!books.seen(&dispatch(state), 300 * MILLI), "it is counted once");
        assert_eq!((books.tally.wrong, books.tally.ended.len(), books.open.len()), (1, 0, 0));
    }
}

#[test]
fn what_is_under_way_stays_open_and_counts_as_unfinished_in_the_end() {
    let ledger = ledger();
    let mut books = ledger.books();
    accepted(&mut books, Outcome::Completed);
    assert!(!books.seen(&dispatch(DispatchState::InProgress), 200 * MILLI));
    books.give_up();
    assert_eq!((books.tally.unfinished, books.tally.listed.len(), books.tally.ends()), (1, 1, 0));
}

#[test]
fn a_refusal_is_believed_only_when_it_is_known_who_refused() {
    let ledger = ledger();
    let mut books = ledger.books();
    accepted(&mut books, Outcome::RefusedByPayment);
    books.seen(&dispatch(DispatchState::Cancelled), 200 * MILLI);
    assert_eq!((books.doubtful.len(), books.tally.ends()), (1, 0));
}

#[test]
fn a_request_that_had_to_be_rejected_is_no_error_and_its_acceptance_is_wrong() {
    let ledger = ledger();
    ledger.answered(flight(Outcome::Rejected, MILLI), Err(Status::invalid_argument("no")));
    let figures = || {
        let books = ledger.books();
        (books.tally.rejected, books.tally.error_count(), books.tally.wrong)
    };
    assert_eq!(figures(), (1, 0, 0));
    ledger.answered(flight(Outcome::Rejected, MILLI), Ok(receipt()));
    assert_eq!(figures(), (1, 0, 1));
}

#[test]
fn only_an_unknown_outcome_is_looked_up() {
    let ledger = ledger();
    for status in [
        Status::unavailable("gone"),
        Status::cancelled("Timeout expired"),
        Status::resource_exhausted("full"),
        Status::invalid_argument("no"),
    ] {
        ledger.answered(flight(Outcome::Completed, MILLI), Err(status));
    }
    let books = ledger.books();
    assert_eq!((books.tally.error_count(), books.lost.len()), (4, 2));
}

#[test]
fn stragglers_are_taken_in_turn() {
    let ledger = ledger();
    let mut books = ledger.books();
    for id in ["a", "b", "c"] {
        let receipt = DispatchReceipt { dispatch_id: id.to_owned(), ..DispatchReceipt::default() };
        books.accepted(flight(Outcome::Completed, MILLI), receipt, 30 * MILLI, false);
    }
    assert_eq!(books.stragglers("", 30 * MILLI, 2), ["a", "b"]);
    assert_eq!(books.stragglers("b", 30 * MILLI, 2), ["c"]);
    assert!(books.stragglers("", 29 * MILLI, 2).is_empty());
}
