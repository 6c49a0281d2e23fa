//! What a transaction's work sees: statements, the time, and the outbox.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult, Statement, Value};

use super::{Rows, Store, classify};
use crate::{
    Outgoing, StoreError, Timestamp,
    fault::{self, Point},
    relay::Reservation,
    slots::Slotted,
};

/// An open transaction.
pub struct Tx {
    begun: DatabaseTransaction,
    store: Store,
    now: Timestamp,
    inbox_slot: i64,
    statements: AtomicU64,
    hand_over: Mutex<Vec<(Reservation, Vec<Outgoing>)>>,
    afterwards: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Tx {
    pub(super) fn new(begun: DatabaseTransaction, store: &Store) -> Self {
        let now = store.clock().now();
        let inbox_slot = store.open_slots().get(Slotted::Inbox);
        Self {
            begun,
            store: store.clone(),
            now,
            inbox_slot,
            statements: AtomicU64::new(0),
            hand_over: Mutex::default(),
            afterwards: Mutex::default(),
        }
    }

    /// The moment this run began: one date for all that it writes.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The dialect.
    pub(crate) fn backend(&self) -> DbBackend {
        self.store.backend()
    }

    /// Whether row locks are needed and understood. SQLite has one writer at a time instead.
    pub fn has_row_locks(&self) -> bool {
        self.store.backend() == DbBackend::Postgres
    }

    /// Runs `sql` with its parameters `$1`, `$2` … and returns how many rows it touched.
    pub async fn execute(&self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        let statement = Statement::from_sql_and_values(self.store.backend(), sql, params);
        self.execute_one(statement).await
    }

    /// Reads the rows of `sql` with its parameters `$1`, `$2` …
    pub async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<QueryResult>, StoreError> {
        let statement = Statement::from_sql_and_values(self.store.backend(), sql, params);
        self.query_one(statement).await
    }

    /// Runs `sql` over the set `v` of `rows` and returns how many rows it touched.
    pub async fn execute_rows(&self, rows: &Rows, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        let mut touched = 0;
        for statement in rows.statements(self.store.backend(), sql, &params) {
            touched += self.execute_one(statement).await?;
        }
        Ok(touched)
    }

    /// Reads the rows of `sql` over the set `v` of `rows`.
    pub async fn query_rows(
        &self,
        rows: &Rows,
        sql: &str,
        params: Vec<Value>,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let mut found = Vec::new();
        for statement in rows.statements(self.store.backend(), sql, &params) {
            found.extend(self.query_one(statement).await?);
        }
        Ok(found)
    }

    async fn execute_one(&self, statement: Statement) -> Result<u64, StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let result = self.begun.execute_raw(statement).await.map_err(|e| classify(&e))?;
        Ok(result.rows_affected())
    }

    async fn query_one(&self, statement: Statement) -> Result<Vec<QueryResult>, StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.begun.query_all_raw(statement).await.map_err(|e| classify(&e))
    }

    /// How many statements it has consisted of, without begin and commit.
    pub(super) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Does `work`, which must not fail or block, once this has been committed for certain: for counting, which
    /// a run that is rolled back must not do.
    pub fn after_commit(&self, work: impl FnOnce() + Send + 'static) {
        let mut afterwards = self.afterwards.lock().unwrap_or_else(PoisonError::into_inner);
        afterwards.push(Box::new(work));
    }

    /// The database as a whole: what is asked of it is not part of this transaction.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The slot of the inbox that was open when this run began. What is asked of the inbox from now on sees
    /// all that any older slot will ever have.
    pub(crate) fn inbox_slot(&self) -> i64 {
        self.inbox_slot
    }

    /// Room at the relay for messages that are being written to this slot of the outbox.
    pub(crate) fn reserve(&self, messages: &[Outgoing], slot: i64) -> Reservation {
        self.store.0.hand_off.reserve(messages, self.now, slot)
    }

    /// Remembers what the relay gets once this has committed.
    pub(crate) fn hand_over(&self, reservation: Reservation, messages: Vec<Outgoing>) {
        let mut waiting = self.hand_over.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((reservation, messages));
    }

    /// From the moment the database answers, the messages are the relay's. A lost answer leaves the
    /// outcome unknown: nothing is handed over then, and if it was committed the rows' lease runs out
    /// and a sweep finds them.
    pub(super) async fn commit(self, name: &str) -> Result<(), StoreError> {
        self.begun.commit().await.map_err(|error| match classify(&error) {
            StoreError::Unavailable(text) => StoreError::Unknown(text),
            other => other,
        })?;
        fault::reach(Point::AfterCommit, name);
        let afterwards = self.afterwards.into_inner().unwrap_or_else(PoisonError::into_inner);
        for work in afterwards {
            work();
        }
        let waiting = self.hand_over.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (reservation, messages) in waiting {
            self.store.0.hand_off.hand_over(reservation, messages, &self.store.0.settlements);
        }
        Ok(())
    }

    pub(super) async fn roll_back(self) {
        if let Err(error) = self.begun.rollback().await {
            // The server ends the transaction with the session; nothing was written either way.
            tracing::debug!(%error, "roll back failed");
        }
    }
}
