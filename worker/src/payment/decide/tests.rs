//! Every command in every state, and every price.

use super::*;

const RESERVED: Row = (State::Reserved, "");
const CAPTURED: Row = (State::Captured, "");
const RELEASED: Row = (State::Released, "why");
const MARK: Row = (State::Released, "compensated before its command: why");
const REFUSED: Row = (State::Refused, "no");
const LATE: Row = (State::Refused, "came too late: compensated before its command: why");

/// State and reason of the row of dispatch `d1`.
type Row = (State, &'static str);

/// Where it stands, what comes, what is answered, where it stands then, and what the account holds.
type Case = (Option<Row>, fn() -> Command, &'static str, Option<Row>, i64);

const CASES: [Case; 18] = [
    (None, reserve_300, "reserved 3.00 EUR", Some(RESERVED), 1_300),
    (None, release_it, "released", Some(MARK), 1_000),
    (Some(RESERVED), reserve_300, "reserved 3.00 EUR", Some(RESERVED), 1_000),
    (Some(RESERVED), release_it, "released", Some(RELEASED), 700),
    (Some(RELEASED), reserve_300, "declined: came too late: already undone: why", Some(RELEASED), 1_000),
    (Some(RELEASED), release_it, "released", Some(RELEASED), 1_000),
    (
        Some(MARK),
        reserve_300,
        "declined: came too late: compensated before its command: why",
        Some(LATE),
        1_000,
    ),
    (Some(MARK), release_it, "released", Some(MARK), 1_000),
    (Some(REFUSED), reserve_300, "declined: no", Some(REFUSED), 1_000),
    (Some(REFUSED), release_it, "released", Some(REFUSED), 1_000),
    (Some(RESERVED), capture_it, "captured", Some(CAPTURED), 1_000),
    (Some(CAPTURED), capture_it, "captured", Some(CAPTURED), 1_000),
    (Some(CAPTURED), reserve_300, "reserved 3.00 EUR", Some(CAPTURED), 1_000),
    (
        Some(CAPTURED),
        release_it,
        "permanent: the payment of order o1 is captured and can no longer be released",
        Some(CAPTURED),
        1_000,
    ),
    (None, capture_it, "permanent: the payment of order o1 was never reserved", None, 1_000),
    (Some(RELEASED), capture_it, NOT_RESERVED_BUT_RELEASED, Some(RELEASED), 1_000),
    (Some(MARK), capture_it, NOT_RESERVED_BUT_RELEASED, Some(MARK), 1_000),
    (
        Some(REFUSED),
        capture_it,
        "permanent: the payment of order o1 is REFUSED, not RESERVED",
        Some(REFUSED),
        1_000,
    ),
];

const NOT_RESERVED_BUT_RELEASED: &str = "permanent: the payment of order o1 is RELEASED, not RESERVED";

fn eur(minor_units: i64) -> Money {
    Money::new("EUR", minor_units)
}

fn rules() -> Rules {
    Rules { credit_limit: eur(100_000), tariff: eur(490) }
}

fn key(dispatch_id: &str) -> Key {
    Key { dispatch_id: dispatch_id.to_owned(), order_id: "o1".to_owned() }
}

fn reserve_for(dispatch_id: &str, customer_id: &str, amount: Option<Money>) -> Command {
    Command::Reserve { key: key(dispatch_id), customer_id: customer_id.to_owned(), amount, parcels: 2 }
}

fn reserve_300() -> Command {
    reserve_for("d1", "c1", Some(eur(300)))
}

fn release_it() -> Command {
    Command::Release { key: key("d1"), reason: "why".to_owned() }
}

fn capture_it() -> Command {
    Command::Capture { key: key("d1") }
}

/// Account `c1` with 1000 reserved, of which 300 for dispatch `d1` if that is in state `RESERVED`.
fn book(row: Option<Row>) -> Book {
    let rows = row.map(|(state, reason)| {
        let (order_id, customer_id) = ("o1".to_owned(), "c1".to_owned());
        (
            "d1".to_owned(),
            super::Row { order_id, customer_id, amount: eur(300), state, reason: reason.to_owned() },
        )
    });
    Book { rows: rows.into_iter().collect(), accounts: [("c1".to_owned(), eur(1_000))].into_iter().collect() }
}

fn answer(rules: &Rules, book: &mut Book, command: &Command) -> String {
    match decide(rules, book, command) {
        Ok(Answer::Reserved(amount)) => format!("reserved {amount}"),
        Ok(Answer::Declined(reason)) => format!("declined: {reason}"),
        Ok(Answer::Released) => "released".to_owned(),
        Ok(Answer::Captured) => "captured".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn every_command_in_every_state_has_one_answer_one_end_and_one_balance() {
    for (start, command, expected, end, balance) in CASES {
        let (mut book, command) = (book(start), command());
        assert_eq!(answer(&rules(), &mut book, &command), expected, "{start:?} {command:?}");
        let row = book.rows.get("d1").map(|row| (row.state, row.reason.as_str()));
        assert_eq!(row, end, "{start:?} {command:?}");
        assert_eq!(book.accounts.get("c1"), Some(&eur(balance)), "{start:?} {command:?}");
        let is_written = book.rows.changed_rows().count() + book.rows.new_rows().count() > 0;
        assert_eq!(is_written, start != end, "{start:?} {command:?}");
    }
}

#[test]
fn a_command_without_amount_costs_the_tariff_for_its_parcels() {
    let said = answer(&rules(), &mut book(None), &reserve_for("d1", "c1", None));
    assert_eq!(said, "reserved 9.80 EUR");
}

#[test]
fn a_price_that_cannot_be_counted_is_declined() {
    let rules = Rules { tariff: eur(i64::MAX), ..rules() };
    let said = answer(&rules, &mut book(None), &reserve_for("d1", "c1", None));
    assert_eq!(said, "declined: 2 parcels at 92233720368547758.07 EUR cost more than can be counted");
}

#[test]
fn the_limit_itself_can_be_reserved_and_not_a_cent_more() {
    let mut book = book(None);
    assert_eq!(
        answer(&rules(), &mut book, &reserve_for("d1", "c1", Some(eur(99_000)))),
        "reserved 990.00 EUR"
    );
    let said = answer(&rules(), &mut book, &reserve_for("d2", "c1", Some(eur(1))));
    assert_eq!(said, "declined: 0.01 EUR exceed the credit limit of 1000.00 EUR (1000.00 EUR reserved)");
    assert_eq!(book.accounts.get("c1"), Some(&eur(100_000)));
}

#[test]
fn an_amount_beyond_all_numbers_is_declined() {
    let said = answer(&rules(), &mut book(None), &reserve_for("d1", "c1", Some(eur(i64::MAX))));
    assert!(said.starts_with("declined: 92233720368547758.07 EUR exceed"), "{said}");
}

#[test]
fn without_a_customer_the_limit_holds_for_the_single_order() {
    let mut book = Book::default();
    for dispatch_id in ["d1", "d2"] {
        let said = answer(&rules(), &mut book, &reserve_for(dispatch_id, "", Some(eur(100_000))));
        assert_eq!(said, "reserved 1000.00 EUR");
    }
    let said = answer(&rules(), &mut book, &reserve_for("d3", "", Some(eur(100_001))));
    assert_eq!(said, "declined: 1000.01 EUR exceed the credit limit of 1000.00 EUR");
    assert_eq!(answer(&rules(), &mut book, &release_it()), "released");
}

#[test]
fn another_currency_than_that_of_the_limit_is_declined() {
    let usd = Some(Money::new("USD", 1));
    for customer_id in ["", "c1"] {
        let said = answer(&rules(), &mut book(None), &reserve_for("d1", customer_id, usd.clone()));
        assert_eq!(said, "declined: payments are taken in EUR, not in USD");
    }
}

#[test]
fn an_account_changes_its_currency_only_when_nothing_is_reserved() {
    let usd = |units| Money::new("USD", units);
    let rules = Rules { credit_limit: usd(500), tariff: usd(1) };
    let command = reserve_for("d2", "c1", Some(usd(300)));
    let said = answer(&rules, &mut book(None), &command);
    assert_eq!(said, "declined: 10.00 EUR are still reserved, in another currency than 3.00 USD");
    let mut empty = Book { accounts: [("c1".to_owned(), eur(0))].into_iter().collect(), ..Book::default() };
    assert_eq!(answer(&rules, &mut empty, &command), "reserved 3.00 USD");
    assert_eq!(empty.accounts.get("c1"), Some(&usd(300)));
}

#[test]
fn an_account_that_holds_less_than_was_reserved_is_a_failure_and_stays() {
    let mut book = book(Some(RESERVED));
    book.accounts = [("c1".to_owned(), eur(299))].into_iter().collect();
    let text = "permanent: account c1 holds 2.99 EUR, from which 3.00 EUR cannot be given back";
    assert_eq!(answer(&rules(), &mut book, &release_it()), text);
    assert_eq!((book.rows.changed_rows().count(), book.accounts.changed_rows().count()), (0, 0));
}
