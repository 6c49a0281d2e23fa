//! How each kind of database is opened, and why with these settings.

use std::{future::ready, path::Path, str::FromStr, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DbBackend,
    sqlx::{
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};
use tokio::sync::mpsc;

use super::{Inner, Pool, Store, classify};
use crate::{
    Clock, StoreError,
    metrics::Statements,
    relay::{HandOff, Settlement},
    slots::OpenSlots,
};

/// How to open a database.
#[derive(Clone)]
pub struct Settings {
    /// `sqlite://path` or `postgres://user@host/name`.
    pub url: String,
    /// Connections at most; SQLite writes over one whatever this says.
    pub connections: u32,
    /// No statement runs longer, PostgreSQL only.
    pub statement_timeout: Duration,
    /// What dates the rows.
    pub clock: Clock,
}

impl Store {
    /// Opens the database without waiting for it: one that is away shows in the first use.
    ///
    /// The receiver gets the relay's outcomes for rows of this database and belongs to
    /// [`Relay::run`](crate::relay::Relay::run). Errors: the URL is not one of a database we know, or
    /// the folder of the SQLite file cannot be made.
    pub async fn open(
        settings: Settings,
        hand_off: HandOff,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Settlement>), StoreError> {
        let backend = backend(&settings.url)?;
        let pool = match backend {
            DbBackend::Sqlite => sqlite(&settings).await?,
            _ => postgres(&settings).await?,
        };
        let (settlements, receiver) = mpsc::unbounded_channel();
        let (clock, open_slots) = (settings.clock, OpenSlots::default());
        let metrics = Statements::default();
        let inner = Inner { pool, clock, hand_off, settlements, open_slots, metrics };
        Ok((Self(Arc::new(inner)), receiver))
    }
}

pub(super) fn backend(url: &str) -> Result<DbBackend, StoreError> {
    let (scheme, parsed) = match url.split(':').next().unwrap_or_default() {
        "sqlite" => (DbBackend::Sqlite, SqliteConnectOptions::from_str(url).map(|_| ())),
        "postgres" | "postgresql" => (DbBackend::Postgres, PgConnectOptions::from_str(url).map(|_| ())),
        other => {
            return Err(StoreError::Refused(format!(
                "a database URL starts with sqlite: or postgres:, not {other}:"
            )));
        }
    };
    parsed.map_err(|error| StoreError::Refused(format!("database URL: {error}")))?;
    Ok(scheme)
}

/// One writer, because SQLite has one at a time anyway and queueing in the pool is fair and cheap;
/// readers apart, which WAL lets run beside it. `synchronous=FULL`: a commit survives a power cut. 16 MB of pages in
/// memory for each connection at most, and as much to be copied from the log at once: a page that changes often is
/// then copied once. What would undo half a statement is kept in memory: beyond 64 kB it would otherwise go to a file
/// that is made for each statement of many rows (<https://www.sqlite.org/tempfiles.html>, "Statement Journal Files").
async fn sqlite(settings: &Settings) -> Result<Pool, StoreError> {
    make_folder(&settings.url)?;
    let options = |connections| {
        let mut options = unswept(&settings.url);
        options
            .max_connections(connections)
            .connect_lazy(true)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(30))
            .map_sqlx_sqlite_opts(|sqlite| {
                sqlite
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(10))
                    .pragma("cache_size", "-16000")
                    .pragma("wal_autocheckpoint", "4000")
                    .pragma("temp_store", "MEMORY")
                    .statement_cache_capacity(512)
            });
        options
    };
    Ok(Pool::sqlite(&connect(options(1)).await?, &connect(options(4)).await?))
}

/// How statements are planned: all that we ask is a look into an index, for a handful of keys or a page. Left to
/// itself the planner goes by statistics that are not there yet, of a table that is empty now and big in a minute,
/// and keeps to its plan: it then walks over all that a consumer has ever handled. For the same reason one plan does
/// for all values, and is made once: for a statement that writes to five tables that costs more than running it. Nor do helpers pay: to start them takes
/// ten times as long as a page of a million dispatches.
const BY_INDEX: [(&str, &str); 8] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("max_parallel_workers_per_gather", "0"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    ("jit", "off"),
];

/// An older connection is replaced when it is asked for: a session of PostgreSQL only ever grows, and stays with a server
/// that is no longer the one its name stands for.
const LIFETIME: Duration = Duration::from_mins(30);

/// One connection for what is lazy: the relay settles one batch of rows after the other.
async fn postgres(settings: &Settings) -> Result<Pool, StoreError> {
    let most = settings.connections.saturating_sub(1).max(1);
    let all = connect(postgres_options(settings, most, LIFETIME, &[])).await?;
    let lazy = connect(postgres_options(settings, 1, LIFETIME, &[("synchronous_commit", "off")])).await?;
    Ok(Pool::postgres(&all, &lazy))
}

/// Time-outs on the server's side, so that a process of ours that stalls holds no lock for long.
fn postgres_options(
    settings: &Settings,
    most: u32,
    lifetime: Duration,
    own: &'static [(&'static str, &'static str)],
) -> ConnectOptions {
    let mut options = unswept(&settings.url);
    let statement_timeout = settings.statement_timeout.as_millis().to_string();
    options
        .max_connections(most)
        .connect_lazy(true)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(30))
        .acquire_timeout(Duration::from_secs(10))
        .map_sqlx_postgres_before_acquire(move |_, connection| Box::pin(ready(Ok(connection.age < lifetime))))
        .map_sqlx_postgres_opts(move |postgres| {
            let postgres = postgres.application_name("waybill").statement_cache_capacity(512);
            postgres.options(BY_INDEX).options(own.iter().copied()).options([
                ("statement_timeout", statement_timeout.as_str()),
                ("idle_in_transaction_session_timeout", "10000"),
                ("lock_timeout", "5000"),
                // What the participants' locks are made for, whatever the server's default is.
                ("default_transaction_isolation", "read committed"),
            ])
        });
    options
}

/// Options of a pool that nobody sweeps. sqlx counts its idle connections a moment too late, so that its sweeper may
/// see one less than none, takes that for the largest of all numbers, and keeps a thread busy until the process is
/// killed (<https://github.com/launchbadge/sqlx/issues/3645>; 0.9.0 has it still).
fn unswept(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>);
    options
}

async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, StoreError> {
    Database::connect(options).await.map_err(|error| classify(&error))
}

fn make_folder(url: &str) -> Result<(), StoreError> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = path.split('?').next().unwrap_or_default();
    match Path::new(path).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder).map_err(|error| {
            StoreError::Refused(format!("folder {} of the database: {error}", folder.display()))
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::sqlx::query_scalar;
    use waybill_test_support::{TestDatabase, on_both_databases};

    use super::*;

    on_both_databases!(nobody_sweeps_the_connections);

    fn settings(database: &TestDatabase) -> Settings {
        let (url, clock) = (database.url().to_owned(), Clock::system());
        Settings { url, connections: 2, statement_timeout: Duration::from_secs(5), clock }
    }

    async fn nobody_sweeps_the_connections(database: TestDatabase) {
        let settings = settings(&database);
        match backend(&settings.url).unwrap() {
            DbBackend::Sqlite => {
                let Pool::Sqlite { write, read } = sqlite(&settings).await.unwrap() else {
                    panic!("another kind")
                };
                for pool in [write, read] {
                    assert_eq!(
                        (pool.options().get_idle_timeout(), pool.options().get_max_lifetime()),
                        (None, None)
                    );
                }
            }
            _ => {
                for own in [&[][..], &[("synchronous_commit", "off")]] {
                    let connections = connect(postgres_options(&settings, 1, LIFETIME, own)).await.unwrap();
                    let pool = connections.get_postgres_connection_pool();
                    assert_eq!(
                        (pool.options().get_idle_timeout(), pool.options().get_max_lifetime()),
                        (None, None)
                    );
                }
            }
        }
    }

    async fn session(connections: &DatabaseConnection) -> i32 {
        let mut connection = connections.get_postgres_connection_pool().acquire().await.unwrap();
        query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_that_is_too_old_is_replaced() {
        let database = TestDatabase::postgres().await;
        let settings = settings(&database);
        for (lifetime, is_replaced) in [(Duration::ZERO, true), (LIFETIME, false)] {
            let connections = connect(postgres_options(&settings, 1, lifetime, &[])).await.unwrap();
            let (first, second) = (session(&connections).await, session(&connections).await);
            assert_eq!(first != second, is_replaced, "{lifetime:?}");
        }
    }
}
