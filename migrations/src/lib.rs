//! The schema of Waybill's databases and the one way to bring a database up to it.
//!
//! Every database, whichever roles use it, gets every table: one schema version says all there is to
//! know about a database, and splitting or joining participants' databases needs no migration.

mod dialect;
mod ledger;
mod lock;
mod m0001_messaging;
mod m0002_gateway;
mod m0003_saga;
mod m0004_worker;
mod m0005_rotation;
mod m0006_cancel;
mod m0007_saga_versions;
mod m0008_capture;
mod m0009_operator;
mod m0010_dead_letter_desk;
mod m0011_client;
mod m0012_room_for_updates;
mod m0013_superseded_orders;
mod plain;
#[cfg(test)]
mod tests;

use std::time::Duration;

use plain::Plain;
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, TransactionTrait},
};

/// Why a database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or is away.
    #[error("database: {0}")]
    Database(#[from] DbErr),
    /// The lock file beside an SQLite database cannot be taken.
    #[error("lock file {path}: {source}")]
    Lock {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A newer release has taken away what this one may need.
    #[error(
        "a newer release has changed it for good ({0}), and this one cannot work with it: run that release"
    )]
    Newer(String),
}

/// All of them, in their order. What one may contain is said in ARCHITECTURE.md, "Upgrades".
fn all() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Plain::boxed("m0001_messaging", m0001_messaging::STATEMENTS),
        Plain::boxed("m0002_gateway", m0002_gateway::STATEMENTS),
        Plain::boxed("m0003_saga", m0003_saga::STATEMENTS),
        Plain::boxed("m0004_worker", m0004_worker::STATEMENTS),
        Box::new(m0005_rotation::Migration),
        Plain::boxed("m0006_cancel", m0006_cancel::STATEMENTS),
        Plain::boxed("m0007_saga_versions", m0007_saga_versions::STATEMENTS),
        Plain::boxed("m0008_capture", m0008_capture::STATEMENTS),
        Plain::boxed("m0009_operator", m0009_operator::STATEMENTS),
        Plain::boxed("m0010_dead_letter_desk", m0010_dead_letter_desk::STATEMENTS),
        Plain::boxed("m0011_client", m0011_client::STATEMENTS),
        Box::new(m0012_room_for_updates::Migration),
        Plain::boxed("m0013_superseded_orders", m0013_superseded_orders::STATEMENTS),
    ]
}

/// Names of all migrations of this release, as every database remembers them, in one of two tables:
/// `seaql_migrations` and `schema_expansions`.
pub fn names() -> Vec<String> {
    all().iter().map(|migration| migration.name().to_owned()).collect()
}

/// Brings the database at `url` up to this binary's schema and returns how many migrations it ran.
///
/// Any number of processes may call this at once: one migrates, the others wait for it and find
/// nothing left to do. Each migration is applied whole or not at all.
pub async fn migrate(url: &str) -> Result<usize, Error> {
    let _file = lock::file(url).await?;
    let url = if url.starts_with("sqlite:") && !url.contains('?') {
        format!("{url}?mode=rwc")
    } else {
        url.to_owned()
    };
    let mut options = ConnectOptions::new(url);
    // One connection: the advisory lock below belongs to a session.
    options.max_connections(1).sqlx_logging(false);
    // Nobody sweeps it, which can take for ever: see waybill-messaging's connections.
    options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>);
    let database = Database::connect(options).await?;
    lock::session(&database).await?;
    let outcome = apply(&database, all()).await;
    // The session ends here, and with it the lock, whatever the outcome.
    database.close().await?;
    outcome
}

async fn apply(
    database: &DatabaseConnection,
    migrations: Vec<Box<dyn MigrationTrait>>,
) -> Result<usize, Error> {
    let applied = ledger::read(database, &names()).await?;
    let mut ran = 0;
    for migration in migrations {
        let name = migration.name();
        if applied.contains(name) {
            continue;
        }
        let transaction = database.begin().await?;
        migration.up(&SchemaManager::new(&transaction)).await?;
        ledger::record(&transaction, name).await?;
        transaction.commit().await?;
        tracing::info!(migration = name, "the schema has been changed");
        ran += 1;
    }
    Ok(ran)
}
