//! A database of one measurement's own, gone when it is over.

use anyhow::{Context, Result};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use crate::{site::Site, subject::Kind, usage};

/// An empty database. It has to be [dropped](Self::drop).
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
    opened: Opened,
}

enum Opened {
    Postgres { pool: PgPool, server: String, process: Option<u32> },
    Sqlite(SqlitePool),
}

impl Database {
    /// A new one of this kind.
    pub(crate) async fn new(site: &Site, kind: Kind) -> Result<Self> {
        let name = format!("yardstick_{}", Uuid::now_v7().simple());
        match kind {
            Kind::Postgres => Self::postgres(&site.settings.postgres, name).await,
            Kind::Sqlite => Self::sqlite(site, name).await,
        }
    }

    async fn postgres(server: &str, name: String) -> Result<Self> {
        let mut admin =
            PgConnection::connect(server).await.context("the PostgreSQL server does not answer")?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
        admin.close().await?;
        let (base, _) = server.rsplit_once('/').context("a PostgreSQL URL ends in /name")?;
        let url = format!("{base}/{name}");
        // As many as Waybill has; no round trip just to see whether a connection is still there; and nobody sweeps them,
        // see waybill-messaging's connections.
        let pool = PgPoolOptions::new().max_connections(16).test_before_acquire(false);
        let pool = pool.idle_timeout(None).max_lifetime(None).connect(&url).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await?;
        let process = u32::try_from(backend).ok().and_then(usage::parent);
        Ok(Self { url, name, opened: Opened::Postgres { pool, server: server.to_owned(), process } })
    }

    async fn sqlite(site: &Site, name: String) -> Result<Self> {
        let path = site.path(&format!("{name}.db"));
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(std::time::Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_with(options).await?;
        Ok(Self { url: format!("sqlite://{}", path.display()), name, opened: Opened::Sqlite(pool) })
    }

    /// Connections to it. Panics where it is SQLite.
    pub(crate) fn pg(&self) -> &PgPool {
        match &self.opened {
            Opened::Postgres { pool, .. } => pool,
            Opened::Sqlite(_) => panic!("{} is no PostgreSQL database", self.url),
        }
    }

    /// The connection to it. Panics where it is PostgreSQL.
    pub(crate) fn lite(&self) -> &SqlitePool {
        match &self.opened {
            Opened::Sqlite(pool) => pool,
            Opened::Postgres { .. } => panic!("{} is no SQLite database", self.name),
        }
    }

    /// Reads one number.
    pub(crate) async fn number(&self, sql: &str) -> Result<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match &self.opened {
            Opened::Postgres { pool, .. } => sqlx::query_scalar(sql).fetch_one(pool).await?,
            Opened::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
        })
    }

    /// CPU seconds of the whole server so far; `None` for SQLite, which works in its users.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let Opened::Postgres { process, .. } = &self.opened else { return None };
        process.map(usage::tree_seconds)
    }

    /// Bytes of WAL that the whole server has written so far.
    pub(crate) async fn wal(&self) -> Option<f64> {
        let Opened::Postgres { pool, .. } = &self.opened else { return None };
        let sql = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8";
        sqlx::query_scalar(sql).fetch_one(pool).await.ok()
    }

    /// Closes and removes it.
    pub(crate) async fn drop(self) -> Result<()> {
        match self.opened {
            Opened::Postgres { pool, server, .. } => {
                pool.close().await;
                let mut admin = PgConnection::connect(&server).await?;
                let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
                sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
                admin.close().await?;
            }
            Opened::Sqlite(pool) => {
                pool.close().await;
                let path = self.url.trim_start_matches("sqlite://").to_owned();
                for end in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(format!("{path}{end}"));
                }
            }
        }
        Ok(())
    }
}
