//! Connections to a database, and what statements run in: a transaction, or nothing but themselves.

use sea_orm::{
    DatabaseConnection, DbBackend, QueryResult,
    sqlx::{
        AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool, Transaction, pool::PoolConnection, query,
        query_with,
    },
};

use super::{
    error::classify_sqlx,
    statement::{Statement, Values},
};
use crate::StoreError;

/// The connections to one database.
#[derive(Clone)]
pub(super) enum Pool {
    Postgres {
        /// Transactions and reads.
        all: PgPool,
        /// Whose commits do not wait for the disk.
        lazy: PgPool,
    },
    Sqlite {
        /// The one writer.
        write: SqlitePool,
        read: SqlitePool,
    },
}

/// What statements run in.
pub(super) enum Work {
    /// A transaction, once there was a statement that needs one.
    Postgres(PgPool, Option<Transaction<'static, Postgres>>),
    /// Each is a transaction of its own.
    PostgresEach(PgPool),
    /// The same.
    Sqlite { write: SqlitePool, read: SqlitePool, begun: Option<Transaction<'static, Sqlite>> },
    /// Each is a transaction of its own.
    SqliteEach(SqlitePool),
}

impl Pool {
    pub(super) fn postgres(all: &DatabaseConnection, lazy: &DatabaseConnection) -> Self {
        Self::Postgres {
            all: all.get_postgres_connection_pool().clone(),
            lazy: lazy.get_postgres_connection_pool().clone(),
        }
    }

    pub(super) fn sqlite(write: &DatabaseConnection, read: &DatabaseConnection) -> Self {
        Self::Sqlite {
            write: write.get_sqlite_connection_pool().clone(),
            read: read.get_sqlite_connection_pool().clone(),
        }
    }

    pub(super) const fn backend(&self) -> DbBackend {
        match self {
            Self::Postgres { .. } => DbBackend::Postgres,
            Self::Sqlite { .. } => DbBackend::Sqlite,
        }
    }

    /// A transaction that begins with its first statement. A lazy one is none on `PostgreSQL`, see
    /// [`Transaction::is_lazy`](super::Transaction::is_lazy).
    pub(super) fn transaction(&self, is_lazy: bool) -> Work {
        match self {
            Self::Postgres { lazy, .. } if is_lazy => Work::PostgresEach(lazy.clone()),
            Self::Postgres { all, .. } => Work::Postgres(all.clone(), None),
            Self::Sqlite { write, read } => {
                Work::Sqlite { write: write.clone(), read: read.clone(), begun: None }
            }
        }
    }

    /// For statements that read, outside any transaction.
    pub(super) fn reading(&self) -> Work {
        match self {
            Self::Postgres { all, .. } => Work::PostgresEach(all.clone()),
            Self::Sqlite { read, .. } => Work::SqliteEach(read.clone()),
        }
    }

    /// Closes all connections, after what runs has ended.
    pub(super) async fn close(&self) {
        match self {
            Self::Postgres { all, lazy } => {
                all.close().await;
                lazy.close().await;
            }
            Self::Sqlite { write, read } => {
                write.close().await;
                read.close().await;
            }
        }
    }
}

impl Work {
    /// Runs a statement and returns how many rows it touched.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let sql = AssertSqlSafe(statement.sql);
        let touched = match (self, statement.values) {
            (Self::Postgres(pool, begun), Values::Postgres(values)) => {
                let begun = begin(pool, begun).await?;
                query_with(sql, values).execute(&mut **begun).await.map(|done| done.rows_affected())
            }
            (Self::PostgresEach(pool), Values::Postgres(values)) => {
                let mut connection = acquire(pool).await?;
                query_with(sql, values).execute(&mut *connection).await.map(|done| done.rows_affected())
            }
            (Self::Sqlite { write, begun, .. }, Values::Sqlite(values)) => {
                let begun = begin_immediate(write, begun).await?;
                query_with(sql, values).execute(&mut **begun).await.map(|done| done.rows_affected())
            }
            (Self::SqliteEach(pool), Values::Sqlite(values)) => {
                query_with(sql, values).execute(&*pool).await.map(|done| done.rows_affected())
            }
            _ => return Err(StoreError::Refused("a statement for another kind of database".to_owned())),
        };
        touched.map_err(|error| classify_sqlx(&error))
    }

    /// Runs a statement and returns its rows.
    pub(super) async fn query(&mut self, statement: Statement) -> Result<Vec<QueryResult>, StoreError> {
        let sql = AssertSqlSafe(statement.sql);
        let rows = match (self, statement.values) {
            (Self::Postgres(pool, begun), Values::Postgres(values)) => {
                let begun = begin(pool, begun).await?;
                query_with(sql, values).fetch_all(&mut **begun).await.map(read)
            }
            (Self::PostgresEach(pool), Values::Postgres(values)) => {
                let mut connection = acquire(pool).await?;
                query_with(sql, values).fetch_all(&mut *connection).await.map(read)
            }
            (Self::Sqlite { write, begun, .. }, Values::Sqlite(values)) => {
                let begun = begin_immediate(write, begun).await?;
                query_with(sql, values).fetch_all(&mut **begun).await.map(read)
            }
            (Self::SqliteEach(pool), Values::Sqlite(values)) => {
                query_with(sql, values).fetch_all(&*pool).await.map(read)
            }
            _ => return Err(StoreError::Refused("a statement for another kind of database".to_owned())),
        };
        rows.map_err(|error| classify_sqlx(&error))
    }

    /// Reads without beginning anything: what is read may be old by the time it is used.
    pub(super) async fn glance(&mut self, statement: Statement) -> Result<Vec<QueryResult>, StoreError> {
        match self {
            Self::Postgres(pool, None) => Self::PostgresEach(pool.clone()).query(statement).await,
            Self::Sqlite { read, begun: None, .. } => Self::SqliteEach(read.clone()).query(statement).await,
            _ => self.query(statement).await,
        }
    }

    /// Whether a single statement, if it is the last one, may as well be the whole transaction.
    pub(super) const fn has_not_begun(&self) -> bool {
        matches!(self, Self::Postgres(_, None) | Self::Sqlite { begun: None, .. })
    }

    /// Runs the one statement of a transaction that has not begun, which commits it. What fails before the statement
    /// was sent is no [`StoreError::Unknown`].
    pub(super) async fn commit_one(self, statement: Statement) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(statement.sql);
        let done = match (self, statement.values) {
            (Self::Postgres(pool, None), Values::Postgres(values)) => {
                let mut connection = acquire(&pool).await?;
                query_with(sql, values).execute(&mut *connection).await.map(|_| ())
            }
            (Self::Sqlite { write, begun: None, .. }, Values::Sqlite(values)) => {
                let mut connection = write.acquire().await.map_err(|error| classify_sqlx(&error))?;
                let done = query_with(sql, values).execute(&mut *connection).await;
                if done.is_err() && query("ROLLBACK").execute(&mut *connection).await.is_err() {
                    // It had not begun, or is over. Should it be neither, nobody else gets this connection.
                    connection.close_on_drop();
                }
                done.map(|_| ())
            }
            _ => return Err(StoreError::Refused("one statement of a transaction that has begun".to_owned())),
        };
        done.map_err(|error| unknown(classify_sqlx(&error)))
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let committed = match self {
            Self::Postgres(_, Some(begun)) => begun.commit().await,
            Self::Sqlite { begun: Some(begun), .. } => begun.commit().await,
            Self::Postgres(..) | Self::Sqlite { .. } | Self::PostgresEach(_) | Self::SqliteEach(_) => Ok(()),
        };
        committed.map_err(|error| unknown(classify_sqlx(&error)))
    }

    pub(super) async fn roll_back(self) -> Result<(), StoreError> {
        let rolled_back = match self {
            Self::Postgres(_, Some(begun)) => begun.rollback().await,
            Self::Sqlite { begun: Some(begun), .. } => begun.rollback().await,
            Self::Postgres(..) | Self::Sqlite { .. } | Self::PostgresEach(_) | Self::SqliteEach(_) => Ok(()),
        };
        rolled_back.map_err(|error| classify_sqlx(&error))
    }
}

/// A pool that is asked to run a statement itself makes a stream of it, at a cost of 30 KB.
async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>, StoreError> {
    pool.acquire().await.map_err(|error| classify_sqlx(&error))
}

async fn begin<'b>(
    pool: &PgPool,
    begun: &'b mut Option<Transaction<'static, Postgres>>,
) -> Result<&'b mut Transaction<'static, Postgres>, StoreError> {
    match begun {
        Some(begun) => Ok(begun),
        None => Ok(begun.insert(pool.begin().await.map_err(|error| classify_sqlx(&error))?)),
    }
}

/// The one writer, from the first statement on: one that reads first and writes then would come too late.
async fn begin_immediate<'b>(
    pool: &SqlitePool,
    begun: &'b mut Option<Transaction<'static, Sqlite>>,
) -> Result<&'b mut Transaction<'static, Sqlite>, StoreError> {
    if let Some(begun) = begun {
        return Ok(begun);
    }
    let new = pool.begin_with("BEGIN IMMEDIATE").await;
    Ok(begun.insert(new.map_err(|error| classify_sqlx(&error))?))
}

/// A lost answer to what commits leaves the outcome unknown.
fn unknown(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(text) => StoreError::Unknown(text),
        other => other,
    }
}

fn read<R: Into<QueryResult>>(rows: Vec<R>) -> Vec<QueryResult> {
    rows.into_iter().map(Into::into).collect()
}
