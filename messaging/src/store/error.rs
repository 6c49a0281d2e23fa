//! One table from what a database says to what happens next.

use sea_orm::{DbErr, RuntimeErr, sqlx};

use crate::StoreError;

/// What a database error means for the one who ran the statement.
///
/// Sources: PostgreSQL, appendix A "Error Codes"; SQLite, "Result and Error Codes".
pub fn classify(error: &DbErr) -> StoreError {
    let text = error.to_string();
    match error {
        DbErr::ConnectionAcquire(_) => StoreError::Unavailable(text),
        DbErr::Conn(cause) | DbErr::Exec(cause) | DbErr::Query(cause) => match cause {
            RuntimeErr::SqlxError(cause) => classify_cause(cause, text),
            RuntimeErr::Internal(_) => StoreError::Refused(text),
        },
        _ => StoreError::Refused(text),
    }
}

/// The same for an error that has not come by way of sea-orm.
pub(super) fn classify_sqlx(error: &sqlx::Error) -> StoreError {
    classify_cause(error, error.to_string())
}

fn classify_cause(error: &sqlx::Error, text: String) -> StoreError {
    match error {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some(code) => classify_code(code, text),
            None => StoreError::Refused(text),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreError::Unavailable(text),
        // The rest are errors of encoding and decoding, of configuration and of types: they never heal.
        _ => StoreError::Refused(text),
    }
}

fn classify_code(code: &str, text: String) -> StoreError {
    match code {
        // PostgreSQL: unique key; SQLite: unique key, primary key.
        "23505" | "2067" | "1555" => StoreError::Taken(text),
        // SQLite: a number that is none, which a guard of ours comes to (see `later`).
        "1" if text.contains("integer overflow") => StoreError::Conflict(text),
        // PostgreSQL: serialization failure, deadlock, lock or statement time-out; the same guard's division by zero.
        "40001" | "40P01" | "55P03" | "57014" | "22012"
        // SQLite: busy or locked, also with a stale snapshot.
        | "5" | "6" | "261" | "517" => StoreError::Conflict(text),
        // SQLite: i/o error, disk full, cannot open. They pass when the operator has acted.
        "10" | "13" | "14" => StoreError::Unavailable(text),
        // PostgreSQL: connection exceptions, insufficient resources, operator intervention, and an
        // idle transaction that the server ended.
        _ if ["08", "53", "57", "58", "25P03"].iter().any(|class| code.len() == 5 && code.starts_with(class)) => {
            StoreError::Unavailable(text)
        }
        _ => StoreError::Refused(text),
    }
}
