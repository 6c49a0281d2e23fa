//! What a transaction's work sees: statements, the time, and the outbox.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use sea_orm::{DbBackend, QueryResult, Value};

use super::{
    All, Rows, Store,
    later::{Later, one_statement},
    pool::Work,
    statement::Statement,
};
use crate::{
    Outgoing, StoreError, Timestamp,
    fault::{self, Point},
    relay::Reservation,
    slots::Slotted,
};

/// An open transaction.
pub struct Tx {
    /// One statement at a time.
    work: tokio::sync::Mutex<Work>,
    store: Store,
    now: Timestamp,
    inbox_slot: i64,
    is_optimistic: bool,
    statements: AtomicU64,
    later: Mutex<Vec<Later>>,
    hand_over: Mutex<Vec<(Reservation, Vec<Outgoing>)>>,
    afterwards: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Tx {
    pub(super) fn new(work: Work, store: &Store, is_optimistic: bool) -> Self {
        let now = store.clock().now();
        let inbox_slot = store.open_slots().get(Slotted::Inbox);
        Self {
            work: tokio::sync::Mutex::new(work),
            store: store.clone(),
            now,
            inbox_slot,
            is_optimistic,
            statements: AtomicU64::new(0),
            later: Mutex::default(),
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

    /// Whether this run may do without locks, see [`Transaction::is_optimistic`](super::Transaction::is_optimistic).
    /// It may then also take for new what is most likely new, and insert it unasked.
    pub fn is_optimistic(&self) -> bool {
        self.is_optimistic
    }

    /// Runs `sql` with its parameters `$1`, `$2` … and returns how many rows it touched.
    pub async fn execute(&self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        self.execute_one(Statement::new(self.store.backend(), sql, &params)?).await
    }

    /// Reads the rows of `sql` with its parameters `$1`, `$2` …
    pub async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<QueryResult>, StoreError> {
        self.query_one(Statement::new(self.store.backend(), sql, &params)?).await
    }

    /// Runs `sql` over the set `v` of `rows` and returns how many rows it touched.
    pub async fn execute_rows(&self, rows: &Rows, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        let mut touched = 0;
        for statement in rows.statements(self.store.backend(), sql, &params)? {
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
        for statement in rows.statements(self.store.backend(), sql, &params)? {
            found.extend(self.query_one(statement).await?);
        }
        Ok(found)
    }

    /// Reads the rows of `sql` over the set `v` of `rows` and locks them by `lock`; an optimistic run only reads them.
    pub async fn lock_rows(
        &self,
        rows: &Rows,
        sql: &str,
        lock: &str,
    ) -> Result<Vec<QueryResult>, StoreError> {
        if !self.is_optimistic {
            // SQLite has one writer at a time, and this is it.
            let lock = if self.has_row_locks() { lock } else { "" };
            return self.query_rows(rows, &format!("{sql} {lock}"), Vec::new()).await;
        }
        let mut found = Vec::new();
        for statement in rows.statements(self.store.backend(), sql, &[])? {
            found.extend(self.glance_one(statement).await?);
        }
        Ok(found)
    }

    /// Reads the rows of `sql` outside the transaction, in an optimistic run; no other may have the answer.
    pub async fn glance(&self, sql: &str) -> Result<Option<Vec<QueryResult>>, StoreError> {
        if !self.is_optimistic {
            return Ok(None);
        }
        self.store.query(sql, Vec::new()).await.map(Some)
    }

    /// Writes `sql` over the set `v` of `rows` before the commit, together with everything else that was put
    /// off, in one statement if that is all there is: so nothing that is put off may depend on another such write, or
    /// touch the same row. With `all`, fewer rows touched than there are is a [`StoreError::Conflict`].
    pub fn execute_later(&self, rows: Rows, sql: impl Into<String>, params: Vec<Value>, all: Option<All>) {
        if !rows.is_empty() {
            let later = Later { rows, sql: sql.into(), params, all };
            self.later.lock().unwrap_or_else(PoisonError::into_inner).push(later);
        }
    }

    /// Writes what was put off, for those who go on to read it.
    pub async fn write_later(&self) -> Result<(), StoreError> {
        let later = self.take_later();
        if self.backend() != DbBackend::Postgres {
            return self.write_each(&later).await;
        }
        match one_statement(self.backend(), &later)? {
            Some(statement) => self.execute_one(statement).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The same before the commit. Yields the statement that is left for it, where nothing has begun.
    pub(super) async fn write_most(&self) -> Result<Option<Statement>, StoreError> {
        if self.work.lock().await.has_not_begun() {
            let last = one_statement(self.backend(), &self.take_later())?;
            self.statements.fetch_add(last.is_some().into(), Ordering::Relaxed);
            return Ok(last);
        }
        self.write_later().await.map(|()| None)
    }

    fn take_later(&self) -> Vec<Later> {
        std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn write_each(&self, later: &[Later]) -> Result<(), StoreError> {
        for Later { rows, sql, params, all } in later {
            let touched = self.execute_rows(rows, sql, params.clone()).await?;
            if let Some(all) = all.filter(|_| touched < rows.len() as u64) {
                return Err(StoreError::Conflict(all.or_else.to_owned()));
            }
        }
        Ok(())
    }

    async fn execute_one(&self, statement: Statement) -> Result<u64, StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.work.lock().await.execute(statement).await
    }

    async fn glance_one(&self, statement: Statement) -> Result<Vec<QueryResult>, StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.work.lock().await.glance(statement).await
    }

    async fn query_one(&self, statement: Statement) -> Result<Vec<QueryResult>, StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.work.lock().await.query(statement).await
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

    /// Commits, by the statement that is left if there is one. From the moment the database answers, the messages
    /// are the relay's. A lost answer leaves the outcome unknown: nothing is handed over then, and if it was
    /// committed the rows' lease runs out and a sweep finds them.
    pub(super) async fn commit(self, name: &str, last: Option<Statement>) -> Result<(), StoreError> {
        let work = self.work.into_inner();
        match last {
            Some(statement) => work.commit_one(statement).await?,
            None => work.commit().await?,
        }
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
        if let Err(error) = self.work.into_inner().roll_back().await {
            // The server ends the transaction with the session; nothing was written either way.
            tracing::debug!(%error, "roll back failed");
        }
    }
}
