//! Every command in every state.

use super::*;

const ACCEPTED: Start = Some((State::Accepted, ""));
const COMPLETED: Start = Some((State::Completed, ""));
const CANCELLED: Start = Some((State::Cancelled, "why"));
const MARK: Start = Some((State::Cancelled, "compensated before its command: why"));
const REFUSED: Start = Some((State::Refused, "no"));
const LATE: Start = Some((State::Refused, "came too late: compensated before its command: why"));

/// State and reason of the row of dispatch `d1`.
type Start = Option<(State, &'static str)>;

/// Where it stands, what comes, what is answered, and where it stands then.
type Case = (Start, fn(&str) -> Command, &'static str, Start);

const CASES: [Case; 18] = [
    (None, accept, "accepted", ACCEPTED),
    (None, cancel, "cancelled", MARK),
    (None, complete, "permanent: order o1 of dispatch d1 was never accepted", None),
    (ACCEPTED, accept, "accepted", ACCEPTED),
    (ACCEPTED, cancel, "cancelled", CANCELLED),
    (ACCEPTED, complete, "completed", COMPLETED),
    (COMPLETED, accept, "accepted", COMPLETED),
    (COMPLETED, cancel, "permanent: order o1 is completed and can no longer be cancelled", COMPLETED),
    (COMPLETED, complete, "completed", COMPLETED),
    (CANCELLED, accept, "rejected: came too late: already undone: why", CANCELLED),
    (CANCELLED, cancel, "cancelled", CANCELLED),
    (CANCELLED, complete, "permanent: order o1 of dispatch d1 is CANCELLED, not ACCEPTED", CANCELLED),
    (MARK, accept, "rejected: came too late: compensated before its command: why", LATE),
    (MARK, cancel, "cancelled", MARK),
    (MARK, complete, "permanent: order o1 of dispatch d1 is CANCELLED, not ACCEPTED", MARK),
    (REFUSED, accept, "rejected: no", REFUSED),
    (REFUSED, cancel, "cancelled", REFUSED),
    (REFUSED, complete, "permanent: order o1 of dispatch d1 is REFUSED, not ACCEPTED", REFUSED),
];

fn key(dispatch_id: &str) -> Key {
    Key { dispatch_id: dispatch_id.to_owned(), order_id: "o1".to_owned() }
}

fn accept(dispatch_id: &str) -> Command {
    Command::Accept { key: key(dispatch_id), customer_id: "c1".to_owned() }
}

fn cancel(dispatch_id: &str) -> Command {
    Command::Cancel { key: key(dispatch_id), reason: "why".to_owned() }
}

fn complete(dispatch_id: &str) -> Command {
    Command::Complete { key: key(dispatch_id) }
}

fn with(start: Start) -> Orders {
    let mut orders = Orders::default();
    if let Some((state, reason)) = start {
        let (order_id, customer_id) = ("o1".to_owned(), "c1".to_owned());
        orders.put(&key("d1"), Row { order_id, customer_id, state, reason: reason.to_owned() });
    }
    let rows = orders.rows.get("d1").cloned().map(|row| ("d1".to_owned(), row));
    Orders { rows: rows.into_iter().collect(), open: orders.open }
}

fn answer(rules: &Rules, orders: &mut Orders, command: &Command) -> String {
    match decide(rules, orders, command) {
        Ok(Answer::Accepted) => "accepted".to_owned(),
        Ok(Answer::Rejected(reason)) => format!("rejected: {reason}"),
        Ok(Answer::Cancelled) => "cancelled".to_owned(),
        Ok(Answer::Completed) => "completed".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn every_command_in_every_state_has_one_answer_and_one_end() {
    for (start, command, expected, end) in CASES {
        let (mut orders, command) = (with(start), command("d1"));
        assert_eq!(answer(&Rules::default(), &mut orders, &command), expected, "{start:?} {command:?}");
        let row = orders.rows.get("d1").map(|row| (row.state, row.reason.as_str()));
        assert_eq!(row, end, "{start:?} {command:?}");
        let is_open = end == ACCEPTED || end == COMPLETED;
        assert_eq!(orders.open.contains_key("o1"), is_open, "{start:?} {command:?}");
        let is_written = orders.rows.changed_rows().count() + orders.rows.new_rows().count() > 0;
        assert_eq!(is_written, start != end, "{start:?} {command:?}");
    }
}

#[test]
fn a_blocked_customer_is_refused_and_stays_refused() {
    let rules = Rules { blocked_customers: ["c1".to_owned()].into() };
    let mut orders = Orders::default();
    for rules in [rules, Rules::default()] {
        assert_eq!(answer(&rules, &mut orders, &accept("d1")), "rejected: customer c1 is blocked");
    }
    assert_eq!(orders.rows.new_rows().count(), 1);
}

#[test]
fn an_order_is_open_once_and_free_again_after_its_cancellation() {
    let (rules, mut orders) = (Rules::default(), Orders::default());
    let mut answer = |command| answer(&rules, &mut orders, &command);
    let busy = "rejected: order o1 is already being handled by dispatch d1";
    assert_eq!(answer(accept("d1")), "accepted");
    assert_eq!(answer(accept("d2")), busy);
    assert_eq!(answer(cancel("d1")), "cancelled");
    assert_eq!(answer(accept("d3")), "accepted");
    assert_eq!(answer(accept("d2")), busy, "what was refused stays so");
    assert_eq!(answer(complete("d3")), "completed");
    assert_eq!(answer(accept("d4")), "rejected: order o1 is already being handled by dispatch d3");
}

#[test]
fn a_dispatch_cannot_change_its_order() {
    let mut orders = with(ACCEPTED);
    let other = Key { dispatch_id: "d1".to_owned(), order_id: "o2".to_owned() };
    let failure = answer(&Rules::default(), &mut orders, &Command::Complete { key: other });
    assert_eq!(failure, "permanent: dispatch d1 belongs to order o1, not o2");
    assert_eq!(orders.rows.changed_rows().count(), 0);
}
