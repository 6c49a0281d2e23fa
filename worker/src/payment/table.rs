//! Loads and saves the rows of `payment_reservations` and `payment_accounts` that a batch is about.
//!
//! Locks are taken in one order by everybody: reservations, then accounts, each by key. An account that
//! is not there yet is made first, empty, because only what exists can be locked; so a first reservation
//! that is declined leaves an empty account. An optimistic run locks nothing: it takes for new what is to be
//! reserved, and changes accounts only as long as they hold what it has read.

use std::collections::BTreeSet;

use sea_orm::{QueryResult, Value};
use waybill_messaging::{Column, Rows, StoreError, Tx};

use super::{
    account::Accounts,
    command::Command,
    decide::{Book, Row, State},
};
use crate::{
    Money,
    table::{self, get},
    view::View,
};

const NEW: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("order_id", Column::Text),
    ("customer_id", Column::Text),
    ("currency_code", Column::Text),
    ("minor_units", Column::Int),
    ("state", Column::Text),
    ("reason", Column::Text),
    ("captured", Column::Int),
];

const CHANGE: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("state", Column::Text),
    ("reason", Column::Text),
    ("captured", Column::Int),
    ("state_before", Column::Text),
    ("captured_before", Column::Int),
];

const BALANCE: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("currency_code", Column::Text),
    ("minor_units", Column::Int),
    ("currency_before", Column::Text),
    ("units_before", Column::Int),
];

const ACCOUNT: &[(&str, Column)] =
    &[("id", Column::Text), ("currency_code", Column::Text), ("minor_units", Column::Int)];

/// Loads the reservations of the commands' dispatches and the accounts that they concern, all locked.
pub(super) async fn load(tx: &Tx, commands: &[&Command], currency: &str) -> Result<Book, StoreError> {
    let is_there = |command: &&&Command| !tx.is_optimistic() || !matches!(command, Command::Reserve { .. });
    let ids = commands.iter().filter(is_there).map(|command| command.key().dispatch_id.as_str()).collect();
    let columns = "t.dispatch_id, t.order_id, t.customer_id, t.currency_code, t.minor_units, t.state, t.reason, t.captured_at";
    let found = table::lock(tx, "payment_reservations", "dispatch_id", columns, ids).await?;
    let rows = found.iter().map(row).collect::<Result<View<Row>, StoreError>>()?;
    let (to_charge, to_repay) = customers(commands, &rows);
    if !tx.is_optimistic() {
        make_accounts(tx, &to_charge, currency).await?;
    }
    let mut accounts = load_accounts(tx, &to_charge | &to_repay).await?;
    for customer_id in to_charge {
        if accounts.get(customer_id).is_none() {
            accounts.set(customer_id, Money { currency_code: currency.to_owned(), minor_units: 0 });
        }
    }
    Ok(Book { rows, accounts })
}

/// The customers that new reservations are for, and those whose reservations may be released.
fn customers<'a>(commands: &[&'a Command], rows: &'a View<Row>) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let (mut to_charge, mut to_repay) = (BTreeSet::new(), BTreeSet::new());
    for command in commands {
        match (command, rows.get(&command.key().dispatch_id)) {
            (Command::Reserve { customer_id, .. }, None) => to_charge.insert(customer_id.as_str()),
            (Command::Release { .. }, Some(row)) if row.state == State::Reserved => {
                to_repay.insert(row.customer_id.as_str())
            }
            (Command::Reserve { .. } | Command::Release { .. } | Command::Capture { .. }, _) => false,
        };
    }
    to_charge.remove("");
    to_repay.remove("");
    (to_charge, to_repay)
}

/// In the order of the keys, like the locks: whoever makes an account holds it until its commit.
async fn make_accounts(tx: &Tx, customers: &BTreeSet<&str>, currency: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO payment_accounts (customer_id, currency_code, reserved_minor_units, updated_at) \
               SELECT id, $1, 0, $2 FROM v WHERE true ON CONFLICT DO NOTHING";
    let params = vec![currency.into(), tx.now().micros().into()];
    tx.execute_rows(&Rows::ids(customers.iter().copied()), sql, params).await.map(|_| ())
}

async fn load_accounts(tx: &Tx, customers: BTreeSet<&str>) -> Result<Accounts, StoreError> {
    let columns = "t.customer_id, t.currency_code, t.reserved_minor_units";
    let found = table::lock(tx, "payment_accounts", "customer_id", columns, customers).await?;
    found
        .iter()
        .map(|row| Ok((get(row, 0)?, Money { currency_code: get(row, 1)?, minor_units: get(row, 2)? })))
        .collect()
}

fn row(found: &QueryResult) -> Result<(String, Row), StoreError> {
    let name: String = get(found, 5)?;
    let Some(state) = State::ALL.into_iter().find(|state| state.name() == name) else {
        return table::unknown_state("payment_reservations", &name);
    };
    let captured_at: i64 = get(found, 7)?;
    let state = if state == State::Reserved && captured_at > 0 { State::Captured } else { state };
    let amount = Money { currency_code: get(found, 3)?, minor_units: get(found, 4)? };
    let (order_id, customer_id) = (get(found, 1)?, get(found, 2)?);
    Ok((get(found, 0)?, Row { order_id, customer_id, amount, state, reason: get(found, 6)? }))
}

/// Writes what was decided, before the commit. Nothing is declined by an account that somebody may be giving back to:
/// that is decided under its lock.
pub(super) fn save(tx: &Tx, book: &Book) -> Result<(), StoreError> {
    if tx.is_optimistic() && book.rows.new_rows().any(|(_, row)| row.state == State::Refused) {
        return Err(StoreError::Conflict("declined by an account that was not locked".to_owned()));
    }
    save_changed(tx, &book.rows);
    save_new(tx, &book.rows);
    save_accounts(tx, &book.accounts);
    save_new_accounts(tx, &book.accounts);
    Ok(())
}

/// The date of a capture is that of the first time.
fn save_changed(tx: &Tx, reservations: &View<Row>) {
    let mut rows = Rows::new(CHANGE);
    for (id, was, row) in reservations.changed_rows() {
        let (state, reason) = (row.state.name().into(), row.reason.as_str().into());
        rows.push(vec![id.into(), state, reason, captured(row), was.state.name().into(), captured(was)]);
    }
    let sql = "UPDATE payment_reservations AS t SET state = v.state, reason = v.reason, updated_at = $1, \
               captured_at = CASE WHEN v.captured = 1 AND t.captured_at = 0 THEN $1 ELSE t.captured_at END \
               FROM v WHERE t.dispatch_id = v.id AND t.state = v.state_before \
               AND (t.captured_at > 0) = (v.captured_before > 0)";
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], Some(table::AS_READ));
}

fn save_new(tx: &Tx, reservations: &View<Row>) {
    let mut rows = Rows::new(NEW);
    for (id, row) in reservations.new_rows() {
        rows.push(vec![
            id.into(),
            row.order_id.as_str().into(),
            row.customer_id.as_str().into(),
            row.amount.currency_code.as_str().into(),
            row.amount.minor_units.into(),
            row.state.name().into(),
            row.reason.as_str().into(),
            captured(row),
        ]);
    }
    let sql = "INSERT INTO payment_reservations (dispatch_id, order_id, customer_id, currency_code, minor_units, \
               state, reason, created_at, updated_at, captured_at) \
               SELECT id, order_id, customer_id, currency_code, minor_units, state, reason, $1, $1, captured * $1 \
               FROM v";
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], None);
}

fn captured(row: &Row) -> Value {
    i64::from(row.state == State::Captured).into()
}

fn save_accounts(tx: &Tx, accounts: &Accounts) {
    let mut rows = Rows::new(BALANCE);
    for (id, was, reserved) in accounts.changed_rows() {
        let balance = |money: &Money| [money.currency_code.as_str().into(), money.minor_units.into()];
        rows.push([id.into()].into_iter().chain(balance(reserved)).chain(balance(was)).collect());
    }
    let sql = "UPDATE payment_accounts AS t SET currency_code = v.currency_code, \
               reserved_minor_units = v.minor_units, updated_at = $1 FROM v WHERE t.customer_id = v.id \
               AND t.currency_code = v.currency_before AND t.reserved_minor_units = v.units_before";
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], Some(table::AS_READ));
}

fn save_new_accounts(tx: &Tx, accounts: &Accounts) {
    let mut rows = Rows::new(ACCOUNT);
    for (id, reserved) in accounts.new_rows() {
        rows.push(vec![id.into(), reserved.currency_code.as_str().into(), reserved.minor_units.into()]);
    }
    let sql = "INSERT INTO payment_accounts (customer_id, currency_code, reserved_minor_units, updated_at) \
               SELECT id, currency_code, minor_units, $1 FROM v";
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], None);
}
