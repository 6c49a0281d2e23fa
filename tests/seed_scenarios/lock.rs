//! Keeps everybody else from writing, so that a worker stands still between receiving and committing.

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use waybill_test_support::{TestDatabase, patience::until, session};

pub(crate) struct Lock(DatabaseTransaction);

impl Lock {
    pub(crate) async fn take(database: &TestDatabase) -> Self {
        let connection = session(database.url()).await;
        let immediate = (!database.is_postgres()).then_some(SqliteTransactionMode::Immediate);
        let options =
            TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
        let transaction = connection.begin_with_options(options).await.unwrap();
        if database.is_postgres() {
            transaction.execute_unprepared("LOCK TABLE deliveries, inbox IN EXCLUSIVE MODE").await.unwrap();
        }
        Self(transaction)
    }

    /// Waits until somebody else wants it, as far as the database can tell.
    pub(crate) async fn is_waited_for(&self, database: &TestDatabase) {
        if database.is_postgres() {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            until("a transaction at the lock", async || database.number(waiting).await > 0).await;
        }
    }

    pub(crate) async fn release(self) {
        self.0.rollback().await.unwrap();
    }
}
