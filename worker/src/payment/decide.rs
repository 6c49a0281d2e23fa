//! What becomes of a reservation: every command in every state, without a database.

use waybill_messaging::Failure;

use super::{
    Rules,
    account::{self, Accounts},
    command::{Answer, Command},
};
use crate::{
    Money, mark,
    read::{Key, cut, wrong},
    view::View,
};

/// A row of `payment_reservations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) order_id: String,
    pub(super) customer_id: String,
    pub(super) amount: Money,
    pub(super) state: State,
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Reserved,
    /// Reserved, and taken.
    Captured,
    Released,
    Refused,
}

impl State {
    /// Those that have a name of their own in the table.
    pub(super) const ALL: [Self; 3] = [Self::Reserved, Self::Released, Self::Refused];

    /// In the table a captured payment is a reserved one with a date in `captured_at`: who does not know of
    /// capturing reads it rightly all the same.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Reserved | Self::Captured => "RESERVED",
            Self::Released => "RELEASED",
            Self::Refused => "REFUSED",
        }
    }
}

/// The rows that a batch is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// By dispatch.
    pub(super) rows: View<Row>,
    /// By customer.
    pub(super) accounts: Accounts,
}

/// Decides one command and notes in `book` what it changes. A failure changes nothing.
pub(super) fn decide(rules: &Rules, book: &mut Book, command: &Command) -> Result<Answer, Failure> {
    let key = command.key();
    let row = book.rows.get(&key.dispatch_id).cloned();
    if let Some(row) = &row {
        key.agrees(&row.order_id)?;
    }
    match command {
        Command::Reserve { customer_id, amount, parcels, .. } => match row {
            None => reserve(rules, book, key, customer_id, price(rules, amount.as_ref(), *parcels)),
            Some(row) => Ok(reserve_again(book, key, row)),
        },
        Command::Release { reason, .. } => release(book, key, row, reason),
        Command::Capture { .. } => capture(book, key, row),
    }
}

/// What the dispatch costs, or why nobody can pay that.
fn price(rules: &Rules, amount: Option<&Money>, parcels: i64) -> Result<Money, String> {
    if let Some(amount) = amount {
        return Ok(amount.clone());
    }
    let tariff = &rules.tariff;
    let price = tariff.minor_units.checked_mul(parcels).map(|units| tariff.of(units));
    price.ok_or_else(|| format!("{parcels} parcels at {tariff} cost more than can be counted"))
}

fn reserve(
    rules: &Rules,
    book: &mut Book,
    key: &Key,
    customer_id: &str,
    price: Result<Money, String>,
) -> Result<Answer, Failure> {
    let (amount, refusal) = match price {
        Ok(price) => match account::charge(rules, &mut book.accounts, customer_id, &price)? {
            Ok(()) => (price, None),
            Err(refusal) => (price, Some(cut(refusal))),
        },
        Err(refusal) => (rules.tariff.of(0), Some(refusal)),
    };
    let (order_id, customer_id) = (key.order_id.clone(), customer_id.to_owned());
    let (state, reason, answer) = match refusal {
        None => (State::Reserved, String::new(), Answer::Reserved(amount.clone())),
        Some(refusal) => (State::Refused, refusal.clone(), Answer::Declined(refusal)),
    };
    book.rows.set(&key.dispatch_id, Row { order_id, customer_id, amount, state, reason });
    Ok(answer)
}

fn reserve_again(book: &mut Book, key: &Key, row: Row) -> Answer {
    match row.state {
        State::Reserved | State::Captured => Answer::Reserved(row.amount),
        State::Refused => Answer::Declined(row.reason),
        State::Released => {
            let reason = cut(mark::too_late(&row.reason));
            if mark::is_mark(&row.reason) {
                let refused = Row { state: State::Refused, reason: reason.clone(), ..row };
                book.rows.set(&key.dispatch_id, refused);
            }
            Answer::Declined(reason)
        }
    }
}

fn release(book: &mut Book, key: &Key, row: Option<Row>, reason: &str) -> Result<Answer, Failure> {
    let row = match row {
        None => Row {
            order_id: key.order_id.clone(),
            customer_id: String::new(),
            amount: Money::new("", 0),
            state: State::Released,
            reason: cut(mark::mark(reason)),
        },
        Some(row) => match row.state {
            State::Reserved => {
                account::give_back(&mut book.accounts, &row.customer_id, &row.amount)?;
                Row { state: State::Released, reason: cut(mark::undone(reason)), ..row }
            }
            State::Released | State::Refused => return Ok(Answer::Released),
            State::Captured => {
                return wrong(format!(
                    "the payment of order {} is captured and can no longer be released",
                    key.order_id
                ));
            }
        },
    };
    book.rows.set(&key.dispatch_id, row);
    Ok(Answer::Released)
}

fn capture(book: &mut Book, key: &Key, row: Option<Row>) -> Result<Answer, Failure> {
    let Some(row) = row else {
        return wrong(format!("the payment of order {} was never reserved", key.order_id));
    };
    match row.state {
        State::Reserved => {
            book.rows.set(&key.dispatch_id, Row { state: State::Captured, ..row });
            Ok(Answer::Captured)
        }
        State::Captured => Ok(Answer::Captured),
        State::Released | State::Refused => {
            let state = row.state.name();
            wrong(format!("the payment of order {} is {state}, not RESERVED", key.order_id))
        }
    }
}

#[cfg(test)]
mod tests;
