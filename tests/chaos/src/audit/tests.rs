//! An auditor who finds nothing proves nothing: each of these spoils sound books in one way.

use super::*;
use crate::mix::Cases;

/// A ledger of acknowledged cases, and books in which all have ended as they should.
fn sound() -> (Vec<Asked>, Books) {
    let (mut ledger, mut books) = (Vec::new(), Books::default());
    for (number, case) in Cases::new(1).take(200).enumerate() {
        let id = format!("d-{number}");
        let undoing = (case.fate == Fate::Cancelled).then_some(Undoing::Granted);
        write(&mut books, &case, &id);
        ledger.push(Asked { case, receipts: [id].into(), undoing, wrong: Vec::new() });
    }
    (ledger, books)
}

fn write(books: &mut Books, case: &Case, id: &str) {
    let [saga, order, payment, delivery] = match case.fate {
        Fate::Completed => ["COMPLETED", "COMPLETED", "RESERVED", "CREATED"],
        Fate::RefusedByOrder => ["COMPENSATED", "REFUSED", "-", "-"],
        Fate::RefusedByPayment => ["COMPENSATED", "CANCELLED", "REFUSED", "-"],
        Fate::RefusedByDispatch => ["COMPENSATED", "CANCELLED", "RELEASED", "REFUSED"],
        Fate::Cancelled => ["COMPENSATED", "CANCELLED", "RELEASED", "WITHDRAWN"],
    }
    .map(str::to_owned);
    let (dispatch_id, order_id) = (id.to_owned(), case.request.order_id.clone());
    let (customer_id, minor_units) = (case.request.customer_id.clone(), case.minor_units);
    let message_id = case.request.message_id.clone();
    books.dispatches.push(Dispatch {
        dispatch_id: dispatch_id.clone(),
        message_id,
        order_id: order_id.clone(),
    });
    books.sagas.insert(dispatch_id.clone(), saga);
    books.orders.push(Order { dispatch_id: dispatch_id.clone(), order_id: order_id.clone(), state: order });
    if payment == "RESERVED" {
        *books.accounts.entry(customer_id.clone()).or_default() += minor_units;
    }
    if payment != "-" {
        books.reservations.push(Reservation {
            dispatch_id: dispatch_id.clone(),
            order_id: order_id.clone(),
            customer_id,
            minor_units,
            state: payment,
        });
    }
    if delivery != "-" {
        books.deliveries.push(Delivery {
            dispatch_id,
            order_id,
            destination_code: case.request.destination_code.clone(),
            parcel_count: case.request.parcel_count.into(),
            state: delivery,
        });
    }
}

/// What is found after `spoil`, without repetitions.
fn found(spoil: impl FnOnce(&mut Vec<Asked>, &mut Books)) -> Vec<Wrong> {
    let (mut ledger, mut books) = sound();
    spoil(&mut ledger, &mut books);
    let findings = audit(&ledger, &books).findings;
    let wrong: BTreeSet<Wrong> = findings.into_iter().map(|finding| finding.wrong).collect();
    wrong.into_iter().collect()
}

fn with_fate(ledger: &[Asked], fate: Fate) -> usize {
    ledger.iter().position(|asked| asked.case.fate == fate).unwrap()
}

#[test]
fn nothing_is_wrong_with_sound_books() {
    let (ledger, books) = sound();
    let audit = audit(&ledger, &books);
    assert_eq!(audit.findings, []);
    assert_eq!((audit.recovered, audit.ended.values().sum::<usize>()), (0, 200));
}

#[test]
fn an_end_without_a_receipt_is_recovered() {
    let (mut ledger, books) = sound();
    ledger[0].receipts.clear();
    let audit = audit(&ledger, &books);
    assert_eq!((audit.recovered, audit.findings.len()), (1, 0));
}

#[test]
fn a_receipt_for_nothing_is_lost() {
    let spoil = |ledger: &mut Vec<Asked>, _: &mut Books| {
        ledger[3].receipts = ["gone".to_owned()].into();
    };
    assert_eq!(found(spoil), [Wrong::Lost]);
}

#[test]
fn a_missing_effect_is_lost() {
    let spoil = |ledger: &mut Vec<Asked>, books: &mut Books| {
        let id = format!("d-{}", with_fate(ledger, Fate::Completed));
        books.deliveries.retain(|row| row.dispatch_id != id);
    };
    assert_eq!(found(spoil), [Wrong::Lost]);
}

#[test]
fn an_effect_that_remains_is_unexpected() {
    let spoil = |ledger: &mut Vec<Asked>, books: &mut Books| {
        let id = format!("d-{}", with_fate(ledger, Fate::RefusedByDispatch));
        let row = books.reservations.iter_mut().find(|row| row.dispatch_id == id).unwrap();
        "RESERVED".clone_into(&mut row.state);
        *books.accounts.entry(row.customer_id.clone()).or_default() += row.minor_units;
    };
    assert_eq!(found(spoil), [Wrong::Unexpected]);
}

#[test]
fn what_was_granted_has_to_be_undone() {
    let spoil = |ledger: &mut Vec<Asked>, _: &mut Books| {
        let completed = with_fate(ledger, Fate::Completed);
        ledger[completed].case.fate = Fate::Cancelled;
        ledger[completed].undoing = Some(Undoing::Granted);
    };
    assert_eq!(found(spoil), [Wrong::Lost]);
}

#[test]
fn a_row_that_nobody_accepted_is_unexpected() {
    let spoil = |_: &mut Vec<Asked>, books: &mut Books| {
        let mut row = books.orders[0].clone();
        (row.dispatch_id, row.state) = ("stray".to_owned(), "CANCELLED".to_owned());
        books.orders.push(row);
    };
    assert_eq!(found(spoil), [Wrong::Unexpected]);
}

#[test]
fn other_contents_are_unexpected() {
    let spoil = |_: &mut Vec<Asked>, books: &mut Books| {
        books.deliveries.iter_mut().find(|row| row.state == "CREATED").unwrap().parcel_count += 1;
    };
    assert_eq!(found(spoil), [Wrong::Unexpected]);
}

#[test]
fn a_mark_has_no_contents() {
    let spoil = |_: &mut Vec<Asked>, books: &mut Books| {
        let mark = books.deliveries.iter_mut().find(|row| row.state == "WITHDRAWN").unwrap();
        (mark.parcel_count, mark.destination_code) = (0, String::new());
    };
    assert_eq!(found(spoil), []);
}

#[test]
fn two_receipts_of_one_message_are_doubled() {
    let spoil = |ledger: &mut Vec<Asked>, _: &mut Books| {
        let other = ledger[1].receipts.clone();
        ledger[0].receipts.extend(other);
    };
    assert_eq!(found(spoil), [Wrong::Lost, Wrong::Doubled]);
}

#[test]
fn an_amount_that_is_reserved_twice_is_doubled() {
    let spoil = |_: &mut Vec<Asked>, books: &mut Books| {
        let row = books.reservations.iter().find(|row| row.state == "RESERVED").unwrap();
        *books.accounts.get_mut(&row.customer_id).unwrap() += row.minor_units;
    };
    assert_eq!(found(spoil), [Wrong::Doubled]);
}

#[test]
fn what_has_not_ended_is_stuck() {
    for state in ["RUNNING", "COMPENSATING", "STUCK"] {
        let spoil = |_: &mut Vec<Asked>, books: &mut Books| {
            books.sagas.insert("d-5".to_owned(), state.to_owned());
        };
        assert_eq!(found(spoil), [Wrong::Stuck], "{state}");
    }
    let spoil = |_: &mut Vec<Asked>, books: &mut Books| books.outbox.push("m".to_owned());
    assert_eq!(found(spoil), [Wrong::Stuck]);
    let spoil = |_: &mut Vec<Asked>, books: &mut Books| books.dead_letters.push("m".to_owned());
    assert_eq!(found(spoil), [Wrong::Stuck]);
}
