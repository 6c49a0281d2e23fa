//! Which migrations a database has had, in two tables, so that a release can run beside the next one and take its
//! place again.
//!
//! `schema_expansions` has what only adds to the schema: a release that does not know such a migration works as
//! before. `seaql_migrations` has what a release must know, which is everything up to [`BASE`] and, since then, what
//! takes something away: a release that does not know such a migration refuses the database.

use std::collections::BTreeSet;

use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement, TransactionTrait,
};

use crate::Error;

/// The last migration of the first release, which refuses whatever stands beyond it in `seaql_migrations`.
pub(crate) const BASE: &str = "m0010_dead_letter_desk";

/// Migrations since then that contract. One belongs here, and into a release, only when no release that is still
/// run, or gone back to, uses what it takes away.
const CONTRACTIONS: [&str; 0] = [];

const KNOWN_TO_ALL: &str = "seaql_migrations";
const EXPANSIONS: &str = "schema_expansions";

/// Whether a release that does not know this migration works as before.
pub(crate) fn expands(name: &str) -> bool {
    name > BASE && !CONTRACTIONS.contains(&name)
}

/// Names of the migrations that a database has had, of this release's and of later ones.
///
/// `known`: those of this release. Errors: [`Error::Newer`] when one is missing there that a release must know.
pub(crate) async fn read(database: &DatabaseConnection, known: &[String]) -> Result<BTreeSet<String>, Error> {
    for table in [KNOWN_TO_ALL, EXPANSIONS] {
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {table} (version varchar NOT NULL PRIMARY KEY, applied_at bigint NOT NULL)"
        );
        database.execute_unprepared(&sql).await?;
    }
    let mut applied = names(database, KNOWN_TO_ALL).await?;
    let misplaced: Vec<&String> =
        known.iter().filter(|name| expands(name) && applied.contains(*name)).collect();
    if !misplaced.is_empty() {
        set_apart(database, &misplaced).await?;
    }
    let unknown: Vec<String> = applied.iter().filter(|name| !known.contains(name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(Error::Newer(unknown.join(", ")));
    }
    applied.extend(names(database, EXPANSIONS).await?);
    Ok(applied)
}

/// Notes that a database has had a migration.
pub(crate) async fn record(transaction: &DatabaseTransaction, name: &str) -> Result<(), DbErr> {
    let table = if expands(name) { EXPANSIONS } else { KNOWN_TO_ALL };
    let now = match transaction.get_database_backend() {
        DbBackend::Postgres => "extract(epoch FROM now())::bigint",
        _ => "unixepoch()",
    };
    let sql = format!("INSERT INTO {table} (version, applied_at) VALUES ('{name}', {now})");
    transaction.execute_unprepared(&sql).await.map(|_| ())
}

/// For a while there was only the one table.
async fn set_apart(database: &DatabaseConnection, misplaced: &[&String]) -> Result<(), DbErr> {
    let transaction = database.begin().await?;
    for name in misplaced {
        let condition = format!("version = '{name}'");
        let copy = format!("INSERT INTO {EXPANSIONS} SELECT * FROM {KNOWN_TO_ALL} WHERE {condition}");
        transaction.execute_unprepared(&copy).await?;
        transaction.execute_unprepared(&format!("DELETE FROM {KNOWN_TO_ALL} WHERE {condition}")).await?;
    }
    transaction.commit().await
}

async fn names(database: &DatabaseConnection, table: &str) -> Result<BTreeSet<String>, DbErr> {
    let sql = format!("SELECT version FROM {table}");
    let rows = database.query_all_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}
