//! A database for one test alone, with the schema in it, removed after the test however that ends.

use std::time::Duration;

use waybill_messaging::{Clock, Store, StoreSettings, relay::HandOff};
use waybill_test_support::TestDatabase;

/// The database of one test.
#[derive(Clone)]
pub(crate) struct Db {
    url: String,
    store: Store,
}

impl Db {
    /// What the first worker writes through, and the test reads.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Connections of its own, as another process has.
    pub(crate) async fn another_store(&self) -> Store {
        open(&self.url).await
    }

    /// State and reason of that row.
    pub(crate) async fn row(&self, table: &str, dispatch_id: &str) -> (String, String) {
        let sql = format!("SELECT state, reason FROM {table} WHERE dispatch_id = $1");
        let rows = self.store.query(&sql, vec![dispatch_id.into()]).await.unwrap();
        assert_eq!(rows.len(), 1, "{table} has one row of {dispatch_id}");
        (rows[0].try_get_by_index(0).unwrap(), rows[0].try_get_by_index(1).unwrap())
    }

    /// The number that `sql` yields.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.store.query(sql, Vec::new()).await.unwrap()[0].try_get_by_index(0).unwrap()
    }

    /// The rows of text and number that `sql` yields.
    pub(crate) async fn numbers(&self, sql: &str) -> Vec<(String, i64)> {
        let rows = self.store.query(sql, Vec::new()).await.unwrap();
        rows.iter().map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())).collect()
    }

    /// Returns once some session of this PostgreSQL database waits for a lock.
    pub(crate) async fn somebody_waits(&self) {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let seen = async { while self.number(sql).await == 0 {} };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("somebody waits for a lock");
    }
}

/// Runs `fact` on an SQLite file of its own.
pub(crate) async fn on_sqlite<F: Future<Output = ()>>(fact: impl FnOnce(Db) -> F) {
    let database = TestDatabase::sqlite().await;
    run(&database, fact).await;
}

/// Runs `fact` on a PostgreSQL database of its own.
pub(crate) async fn on_postgres<F: Future<Output = ()>>(fact: impl FnOnce(Db) -> F) {
    let database = TestDatabase::postgres().await;
    run(&database, fact).await;
}

async fn run<F: Future<Output = ()>>(database: &TestDatabase, fact: impl FnOnce(Db) -> F) {
    let db = Db { url: database.url().to_owned(), store: open(database.url()).await };
    fact(db.clone()).await;
    db.store.close().await;
}

async fn open(url: &str) -> Store {
    let settings = StoreSettings {
        url: url.to_owned(),
        connections: 4,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::system(),
    };
    Store::open(settings, HandOff::none()).await.unwrap().0
}
