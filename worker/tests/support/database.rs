//! A database for one test alone, with the schema in it, removed after the test however that ends.

use std::{env, time::Duration};

use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use waybill_messaging::{
    Clock, Store, StoreSettings,
    relay::{self, Relay},
};

const POSTGRES: &str = "WAYBILL_TEST_POSTGRES_URL";

/// The database of one test.
#[derive(Clone)]
pub(crate) struct Db {
    url: String,
    store: Store,
}

impl Db {
    async fn migrated(url: String) -> Self {
        waybill_migrations::migrate(&url).await.unwrap();
        let store = open(&url).await;
        Self { url, store }
    }

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
    let folder = tempfile::tempdir().unwrap();
    let db = Db::migrated(format!("sqlite://{}/test.db", folder.path().display())).await;
    fact(db.clone()).await;
    db.store.close().await;
}

/// Runs `fact` on a PostgreSQL database of its own.
pub(crate) async fn on_postgres<F>(fact: impl FnOnce(Db) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(server) = env::var(POSTGRES) else { panic!("{POSTGRES} is not set: run through make test") };
    let name = format!("worker_{}", uuid::Uuid::now_v7().simple());
    administer(&server, &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
    let (base, _) = server.rsplit_once('/').unwrap();
    let url = format!("{base}/{name}");
    // A task of its own: should the fact not hold, the database still has to go.
    let outcome = tokio::spawn(async { Db::migrated(url).await }).await;
    let outcome = match outcome {
        Ok(db) => tokio::spawn(fact(db)).await,
        Err(error) => Err(error),
    };
    administer(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn administer(server: &str, statement: &str) {
    let mut options = ConnectOptions::new(server);
    options.max_connections(1).sqlx_logging(false);
    let database = Database::connect(options).await.unwrap();
    database.execute_unprepared(statement).await.unwrap();
    database.close().await.unwrap();
}

async fn open(url: &str) -> Store {
    let settings = StoreSettings {
        url: url.to_owned(),
        connections: 4,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::system(),
    };
    let relay = Relay::new(relay::Settings {
        window: 1,
        hand_off: 1,
        lease: Duration::from_secs(30),
        sweep_interval: Duration::from_secs(1),
        confirm_timeout: Duration::from_secs(1),
        max_message_bytes: 1 << 20,
    });
    Store::open(settings, relay.hand_off()).await.unwrap().0
}
