//! Every command in every state.

use super::*;
use crate::dispatch::DestinationPattern;

const CREATED: Row = (State::Created, "");
const WITHDRAWN: Row = (State::Withdrawn, "why");
const MARK: Row = (State::Withdrawn, "compensated before its command: why");
const REFUSED: Row = (State::Refused, "no");
const LATE: Row = (State::Refused, "came too late: compensated before its command: why");

/// State and reason of the row of dispatch `d1`.
type Row = (State, &'static str);

/// Where it stands, what comes, what is answered, and where it stands then.
type Case = (Option<Row>, fn() -> Command, &'static str, Row);

const CASES: [Case; 10] = [
    (None, create_it, "created", CREATED),
    (None, withdraw_it, "withdrawn", MARK),
    (Some(CREATED), create_it, "created", CREATED),
    (Some(CREATED), withdraw_it, "withdrawn", WITHDRAWN),
    (Some(WITHDRAWN), create_it, "refused: came too late: already undone: why", WITHDRAWN),
    (Some(WITHDRAWN), withdraw_it, "withdrawn", WITHDRAWN),
    (Some(MARK), create_it, "refused: came too late: compensated before its command: why", LATE),
    (Some(MARK), withdraw_it, "withdrawn", MARK),
    (Some(REFUSED), create_it, "refused: no", REFUSED),
    (Some(REFUSED), withdraw_it, "withdrawn", REFUSED),
];

fn key(dispatch_id: &str) -> Key {
    Key { dispatch_id: dispatch_id.to_owned(), order_id: "o1".to_owned() }
}

fn create_to(dispatch_id: &str, destination_code: &str) -> Command {
    Command::Create { key: key(dispatch_id), destination_code: destination_code.to_owned(), parcels: 2 }
}

fn create_it() -> Command {
    create_to("d1", "BER")
}

fn withdraw_it() -> Command {
    Command::Withdraw { key: key("d1"), reason: "why".to_owned() }
}

fn with(row: Option<Row>) -> Deliveries {
    let rows = row.map(|(state, reason)| {
        let (order_id, destination_code) = ("o1".to_owned(), "BER".to_owned());
        (
            "d1".to_owned(),
            super::Row { order_id, destination_code, parcels: 2, state, reason: reason.to_owned() },
        )
    });
    Deliveries { rows: rows.into_iter().collect(), held: HashMap::new() }
}

fn answer(rules: &Rules, deliveries: &mut Deliveries, command: &Command) -> String {
    match decide(rules, deliveries, command) {
        Ok(Answer::Created) => "created".to_owned(),
        Ok(Answer::Refused(reason)) => format!("refused: {reason}"),
        Ok(Answer::Withdrawn) => "withdrawn".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn every_command_in_every_state_has_one_answer_and_one_end() {
    for (start, command, expected, end) in CASES {
        let (mut deliveries, command) = (with(start), command());
        assert_eq!(answer(&Rules::default(), &mut deliveries, &command), expected, "{start:?} {command:?}");
        let row = deliveries.rows.get("d1").map(|row| (row.state, row.reason.as_str()));
        assert_eq!(row, Some(end), "{start:?} {command:?}");
        let is_written = deliveries.rows.changed_rows().count() + deliveries.rows.new_rows().count() > 0;
        assert_eq!(is_written, start != Some(end), "{start:?} {command:?}");
    }
}

#[test]
fn a_destination_that_is_not_served_is_refused() {
    let rules =
        Rules { refused_destinations: vec![DestinationPattern::parse("ZZ*").unwrap()], capacity: None };
    let mut deliveries = Deliveries::default();
    let said = answer(&rules, &mut deliveries, &create_to("d1", "ZZ9"));
    assert_eq!(said, "refused: destination ZZ9 is not served");
    assert_eq!(answer(&rules, &mut deliveries, &create_to("d2", "BER")), "created");
}

#[test]
fn a_full_destination_refuses_until_a_delivery_is_withdrawn() {
    let rules = Rules { refused_destinations: Vec::new(), capacity: Some(2) };
    let mut deliveries = with(Some(CREATED));
    deliveries.held.insert("BER".to_owned(), 1);
    let mut answer = |command| answer(&rules, &mut deliveries, &command);
    assert_eq!(answer(create_to("d2", "BER")), "created");
    let full = "refused: destination BER is full: it holds 2 deliveries, at most 2";
    assert_eq!(answer(create_to("d3", "BER")), full);
    assert_eq!(answer(create_to("d4", "HAM")), "created");
    assert_eq!(answer(withdraw_it()), "withdrawn");
    assert_eq!(answer(create_to("d5", "BER")), "created");
    assert_eq!(answer(create_to("d3", "BER")), full, "the row remembers its refusal");
    assert_eq!(answer(create_to("d2", "BER")), "created", "the row remembers its place");
}
