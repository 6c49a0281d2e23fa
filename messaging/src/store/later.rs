//! Writes that are put off to the end of their transaction, and the one statement that they can be together: a round
//! trip to the database, or to the thread that SQLite runs in, costs more than most of them.

use sea_orm::{DbBackend, Value};

use super::{
    Rows,
    rows::renumbered,
    statement::{Statement, Values},
};
use crate::StoreError;

/// A write that was put off.
pub(super) struct Later {
    pub(super) rows: Rows,
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
    pub(super) all: Option<All>,
}

/// That a write has to touch all of its rows, or another transaction came first.
#[derive(Clone, Copy, Debug)]
pub struct All {
    /// What has happened when it does not, for a log line.
    pub or_else: &'static str,
}

/// All of it as one statement, which fails as a whole where a write has to touch all of its rows and has not.
/// `None`: there is nothing to write.
pub(super) fn one_statement(backend: DbBackend, later: &[Later]) -> Result<Option<Statement>, StoreError> {
    match (backend, later) {
        (_, []) => Ok(None),
        (DbBackend::Postgres, _) => together(later).map(Some),
        _ => in_a_row(later).map(Some),
    }
}

/// For PostgreSQL: a statement of which each write is a part. What is short of rows divides by zero.
fn together(later: &[Later]) -> Result<Statement, StoreError> {
    let (mut parts, mut guards) = (Vec::new(), vec!["1".to_owned()]);
    let mut values = Values::new(DbBackend::Postgres);
    for (index, Later { rows, sql, params, all }) in later.iter().enumerate() {
        let write = rows.unnest(sql, params, &mut values)?;
        if all.is_none() {
            parts.push(format!("w{index} AS ({write})"));
            continue;
        }
        parts.push(format!("w{index} AS ({write} RETURNING 1)"));
        values.add(i64::try_from(rows.len()).unwrap_or(i64::MAX))?;
        let (touched, rows) = (format!("(SELECT count(*) FROM w{index})"), values.len());
        guards.push(format!("1 / (CASE WHEN {touched} < ${rows} THEN 0 ELSE 1 END)"));
    }
    let sql = format!("WITH {} SELECT {}", parts.join(", "), guards.join(", "));
    Ok(Statement { sql, values })
}

/// For SQLite: the statements one after the other, a transaction of their own. After one that is short of rows comes a
/// number that does not exist, the absolute value of the smallest. Cells have no numbers, so all of them come first.
fn in_a_row(later: &[Later]) -> Result<Statement, StoreError> {
    let mut values = Values::new(DbBackend::Sqlite);
    for Later { rows, .. } in later {
        rows.chunks().into_iter().try_for_each(|chunk| rows.add_cells(chunk, &mut values))?;
    }
    let mut statements = vec!["BEGIN IMMEDIATE".to_owned()];
    for Later { rows, sql, params, all } in later {
        let sql = renumbered(sql, values.len());
        values.add_all(params)?;
        for chunk in rows.chunks() {
            statements.push(rows.over_chunk(chunk.len(), &sql));
            if all.is_some() {
                values.add(i64::try_from(chunk.len()).unwrap_or(i64::MAX))?;
                let is_short = format!("(changes() < ${})", values.len());
                statements.push(format!("SELECT abs(-9223372036854775807 - {is_short})"));
            }
        }
    }
    statements.push("COMMIT".to_owned());
    Ok(Statement { sql: statements.join("; "), values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    #[test]
    fn sqlite_gets_a_whole_transaction_whose_cells_come_first() {
        let mut rows = Rows::new(&[("a", Column::Int)]);
        (0..3_i64).for_each(|n| rows.push(vec![n.into()]));
        let all = Some(All { or_else: "" });
        let write = |all| Later { rows: rows.clone(), sql: "W $1".to_owned(), params: vec![7.into()], all };
        let statement = one_statement(DbBackend::Sqlite, &[write(None), write(all)]).unwrap().unwrap();
        let set = "WITH v(a) AS (SELECT * FROM (VALUES (?),(?),(?),(?)) WHERE column1 IS NOT NULL) W";
        let guard = "SELECT abs(-9223372036854775807 - (changes() < $11))";
        let text = format!("BEGIN IMMEDIATE; {set} $9; {set} $10; {guard}; COMMIT");
        assert_eq!((statement.sql, statement.values.len()), (text, 11));
    }
}
