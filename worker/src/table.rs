//! What the participants' tables have in common: a row a dispatch, with an order, a state and a reason.
//!
//! A row that is not there yet is inserted plainly, and one that is changed has to be as it was read: should
//! another worker have come first, the database says so, and the whole batch runs again and sees it. That run
//! locks rows in the order of their keys before anything is decided. So two workers never decide about one
//! dispatch at once.

use std::collections::BTreeSet;

use sea_orm::{QueryResult, TryGetable};
use waybill_messaging::{All, Column, Failure, Rows, StoreError, Tx, classify};

const STATE: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("state", Column::Text),
    ("reason", Column::Text),
    ("state_before", Column::Text),
];

/// That a row was as it was read.
pub(crate) const AS_READ: All = All { or_else: "another worker came first" };

/// Loads the rows of `table` whose column `key` is one of `ids`, and locks them except in an optimistic run;
/// `columns` are read as `t.…`.
pub(crate) async fn lock(
    tx: &Tx,
    table: &str,
    key: &str,
    columns: &str,
    ids: BTreeSet<&str>,
) -> Result<Vec<QueryResult>, StoreError> {
    let sql = format!("SELECT {columns} FROM {table} AS t WHERE t.{key} IN (SELECT id FROM v)");
    tx.lock_rows(&Rows::ids(ids), &sql, &format!("ORDER BY t.{key} FOR UPDATE OF t")).await
}

/// Writes state and reason of rows that are there, before the commit: id, state before, state, reason.
pub(crate) fn update<'a>(
    tx: &Tx,
    table: &str,
    changes: impl Iterator<Item = (&'a str, &'static str, &'static str, &'a str)>,
) {
    let mut rows = Rows::new(STATE);
    for (id, before, state, reason) in changes {
        rows.push(vec![id.into(), state.into(), reason.into(), before.into()]);
    }
    let sql = format!(
        "UPDATE {table} AS t SET state = v.state, reason = v.reason, updated_at = $1 \
         FROM v WHERE t.dispatch_id = v.id AND t.state = v.state_before"
    );
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], Some(AS_READ));
}

/// The value in that column of a row.
pub(crate) fn get<T: TryGetable>(row: &QueryResult, column: usize) -> Result<T, StoreError> {
    row.try_get_by_index(column).map_err(|error| classify(&error))
}

/// For a state that no release of ours has written, or a later one has.
pub(crate) fn unknown_state<T>(table: &str, state: &str) -> Result<T, StoreError> {
    Err(Failure::Transient(format!("{table} holds the unknown state `{state}`")).into())
}
