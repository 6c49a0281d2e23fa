//! Connections to a database, and what statements run in: a transaction, or nothing but themselves.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

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
        all: Server,
        /// Whose commits do not wait for the disk.
        lazy: Server,
    },
    Sqlite {
        /// The one writer.
        write: SqlitePool,
        read: SqlitePool,
    },
}

/// A `PostgreSQL` server.
#[derive(Clone)]
pub(super) struct Server {
    pool: PgPool,
    /// Whether there ever was a connection.
    was_met: Arc<AtomicBool>,
}

/// What statements run in.
pub(super) enum Work {
    /// A transaction, once there was a statement that needs one.
    Postgres(Server, Option<Transaction<'static, Postgres>>),
    /// Each is a transaction of its own.
    PostgresEach(Server),
    /// The same.
    Sqlite { write: SqlitePool, read: SqlitePool, begun: Option<Transaction<'static, Sqlite>> },
    /// Each is a transaction of its own.
    SqliteEach(SqlitePool),
}

impl Pool {
    pub(super) fn postgres(all: &DatabaseConnection, lazy: &DatabaseConnection) -> Self {
        let was_met = Arc::new(AtomicBool::new(false));
        let server = |connections: &DatabaseConnection| Server {
            pool: connections.get_postgres_connection_pool().clone(),
            was_met: Arc::clone(&was_met),
        };
        Self::Postgres { all: server(all), lazy: server(lazy) }
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

    /// See [`Store::stop_waiting`](super::Store::stop_waiting).
    pub(super) fn stop_waiting(&self) {
        if let Self::Postgres { all, lazy } = self
            && !all.was_met.load(Ordering::Relaxed)
        {
            // Both are closed from here on; there is nothing to await.
            drop((all.pool.close(), lazy.pool.close()));
        }
    }

    /// Closes all connections, after what runs has ended.
    pub(super) async fn close(&self) {
        match self {
            Self::Postgres { all, lazy } => {
                all.pool.close().await;
                lazy.pool.close().await;
            }
            Self::Sqlite { write, read } => {
                write.close().await;
                read.close().await;
            }
        }
    }
}

impl Server {
    /// A connection. A pool that is asked to run a statement itself makes a stream of it, at a cost of 30 KB.
    async fn acquire(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        self.meet().await?;
        self.pool.acquire().await.map_err(|error| classify_sqlx(&error))
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.meet().await?;
        self.pool.begin().await.map_err(|error| classify_sqlx(&error))
    }

    /// Left to itself the pool asks a server that was never there until its patience is over, closed or not.
    async fn meet(&self) -> Result<(), StoreError> {
        if self.was_met.load(Ordering::Relaxed) {
            return Ok(());
        }
        let met =
            Box::pin(async { self.pool.close_event().do_until(self.pool.acquire()).await.flatten() }).await;
        met.map_err(|error| classify_sqlx(&error))?;
        self.was_met.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Work {
    /// Runs a statement and returns how many rows it touched.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let sql = AssertSqlSafe(statement.sql);
        let touched = match (self, statement.values) {
            (Self::Postgres(server, begun), Values::Postgres(values)) => {
                let begun = begin(server, begun).await?;
                query_with(sql, values).execute(&mut **begun).await.map(|done| done.rows_affected())
            }
            (Self::PostgresEach(server), Values::Postgres(values)) => {
                let mut connection = server.acquire().await?;
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
            (Self::Postgres(server, begun), Values::Postgres(values)) => {
                let begun = begin(server, begun).await?;
                query_with(sql, values).fetch_all(&mut **begun).await.map(read)
            }
            (Self::PostgresEach(server), Values::Postgres(values)) => {
                let mut connection = server.acquire().await?;
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
            Self::Postgres(server, None) => Self::PostgresEach(server.clone()).query(statement).await,
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
            (Self::Postgres(server, None), Values::Postgres(values)) => {
                let mut connection = server.acquire().await?;
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

async fn begin<'b>(
    server: &Server,
    begun: &'b mut Option<Transaction<'static, Postgres>>,
) -> Result<&'b mut Transaction<'static, Postgres>, StoreError> {
    match begun {
        Some(begun) => Ok(begun),
        None => Ok(begun.insert(server.begin().await?)),
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
