//! What the participants' tables have in common: a row a dispatch, with an order, a state and a reason.
//!
//! Rows are locked in the order of their keys before anything is decided, and a row that is not there
//! yet is inserted plainly: should another worker have inserted it meanwhile, the database says so, and
//! the whole batch runs again and sees it. So two workers never decide about one dispatch at once.

use std::collections::BTreeSet;

use sea_orm::{QueryResult, TryGetable};
use waybill_messaging::{Column, Failure, Rows, StoreError, Tx, classify};

const STATE: &[(&str, Column)] = &[("id", Column::Text), ("state", Column::Text), ("reason", Column::Text)];

/// Loads and locks the rows of `table` whose column `key` is one of `ids`; `columns` are read as `t.…`.
pub(crate) async fn lock(
    tx: &Tx,
    table: &str,
    key: &str,
    columns: &str,
    ids: BTreeSet<&str>,
) -> Result<Vec<QueryResult>, StoreError> {
    // SQLite has one writer at a time, and this is it.
    let lock = if tx.has_row_locks() { format!("ORDER BY t.{key} FOR UPDATE OF t") } else { String::new() };
    let sql = format!("SELECT {columns} FROM {table} AS t WHERE t.{key} IN (SELECT id FROM v) {lock}");
    tx.query_rows(&Rows::ids(ids), &sql, Vec::new()).await
}

/// Writes state and reason of rows that are there, before the commit: id, state, reason.
pub(crate) fn update<'a>(
    tx: &Tx,
    table: &str,
    changes: impl Iterator<Item = (&'a str, &'static str, &'a str)>,
) {
    let mut rows = Rows::new(STATE);
    for (id, state, reason) in changes {
        rows.push(vec![id.into(), state.into(), reason.into()]);
    }
    let sql = format!(
        "UPDATE {table} AS t SET state = v.state, reason = v.reason, updated_at = $1 \
         FROM v WHERE t.dispatch_id = v.id"
    );
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], None);
}

/// The value in that column of a row.
pub(crate) fn get<T: TryGetable>(row: &QueryResult, column: usize) -> Result<T, StoreError> {
    row.try_get_by_index(column).map_err(|error| classify(&error))
}

/// For a state that no release of ours has written, or a later one has.
pub(crate) fn unknown_state<T>(table: &str, state: &str) -> Result<T, StoreError> {
    Err(Failure::Transient(format!("{table} holds the unknown state `{state}`")).into())
}
