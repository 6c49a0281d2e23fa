//! A database of one test's own, migrated, and gone when the test is over.

use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, QueryResult, Statement, Value,
};
use uuid::Uuid;

use crate::provided;

/// A migrated database that nobody else uses.
pub struct TestDatabase {
    url: String,
    kind: Kind,
}

enum Kind {
    /// The folder goes with the value.
    Sqlite(tempfile::TempDir),
    Postgres {
        server: String,
        name: String,
    },
}

impl TestDatabase {
    /// On SQLite, in a folder of its own.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}/waybill.db", folder.path().display());
        waybill_migrations::migrate(&url).await.expect("migrations run on SQLite");
        Self { url, kind: Kind::Sqlite(folder) }
    }

    /// On the PostgreSQL server that `WAYBILL_TEST_POSTGRES_URL` names.
    pub async fn postgres() -> Self {
        let server = provided("WAYBILL_TEST_POSTGRES_URL");
        let name = format!("test_{}", Uuid::now_v7().simple());
        let admin = session(&server).await;
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a new database");
        admin.close().await.expect("close");
        let (base, _) = server.rsplit_once('/').expect("a PostgreSQL URL ends in /name");
        let url = format!("{base}/{name}");
        waybill_migrations::migrate(&url).await.expect("migrations run on PostgreSQL");
        Self { url, kind: Kind::Postgres { server, name } }
    }

    /// Another one of the same kind.
    pub async fn another(&self) -> Self {
        if self.is_postgres() { Self::postgres().await } else { Self::sqlite().await }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Back to before the first migration.
    pub async fn empty(&self) {
        match &self.kind {
            Kind::Postgres { .. } => self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await,
            Kind::Sqlite(folder) => {
                for file in std::fs::read_dir(folder.path()).expect("the folder is there") {
                    std::fs::remove_file(file.expect("a file").path()).expect("the file can be removed");
                }
            }
        }
    }

    /// Runs a statement, as an auditor would: apart from all of Waybill's code.
    pub async fn execute(&self, sql: &str) {
        let database = session(&self.url).await;
        database.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        database.close().await.expect("close");
    }

    /// Reads rows, as an auditor would.
    pub async fn query(&self, sql: &str) -> Vec<QueryResult> {
        let database = session(&self.url).await;
        let backend = database.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, Vec::<Value>::new());
        let rows = database.query_all_raw(statement).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        database.close().await.expect("close");
        rows
    }

    /// Reads one number.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.query(sql).await;
        // PostgreSQL counts in 64 bits and measures length in 32.
        rows[0]
            .try_get_by_index(0)
            .or_else(|_| rows[0].try_get_by_index::<i32>(0).map(i64::from))
            .expect("a number")
    }

    /// Reads one text a row.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        self.query(sql).await.iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
    }

    /// Whether this is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.kind, Kind::Postgres { .. })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Kind::Postgres { server, name } = &self.kind else { return };
        let (server, sql) = (server.clone(), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        // A thread of its own: this runs inside the test's runtime, which must not be blocked on itself.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let admin = session(&server).await;
                debug_assert_eq!(admin.get_database_backend(), DbBackend::Postgres);
                admin.execute_unprepared(&sql).await.expect("the database can be dropped");
            });
        });
        let _ = dropping.join();
    }
}

/// One session of a test's own. Nobody sweeps it, which can take for ever: see `waybill-messaging`'s connections.
pub async fn session(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>);
    Database::connect(options).await.expect("the database answers")
}
