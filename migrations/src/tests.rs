//! What a database looks like to the release that does not know the newest migrations.

use std::collections::BTreeMap;

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::*;

async fn database(folder: &tempfile::TempDir) -> DatabaseConnection {
    let mut options = ConnectOptions::new(format!("sqlite://{}/test.db?mode=rwc", folder.path().display()));
    options.max_connections(1).sqlx_logging(false);
    options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>);
    Database::connect(options).await.unwrap()
}

async fn texts(database: &DatabaseConnection, sql: &str) -> Vec<[String; 2]> {
    let rows = database.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
    rows.iter().map(|row| [0, 1].map(|index| row.try_get_by_index(index).unwrap())).collect()
}

/// Every column with its type and what it may hold, and every rule that rows must keep.
async fn schema(database: &DatabaseConnection) -> BTreeMap<String, String> {
    let columns = "SELECT t.name || '.' || c.name, c.type || iif(c.\"notnull\", ' NOT NULL', '') || \
                   coalesce(' DEFAULT ' || c.dflt_value, '') FROM sqlite_master t, pragma_table_info(t.name) c \
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
    let unique = "SELECT t.name || ' UNIQUE ' || i.name, '' FROM sqlite_master t, pragma_index_list(t.name) i \
                  WHERE t.type = 'table' AND i.\"unique\"";
    let mut schema = BTreeMap::new();
    for sql in [columns, unique] {
        schema.extend(texts(database, sql).await.into_iter().map(|[name, kind]| (name, kind)));
    }
    schema
}

/// The text before a column's or a rule's own name.
fn table(name: &str) -> &str {
    name.split(['.', ' ']).next().unwrap()
}

#[tokio::test]
async fn an_expansion_leaves_every_statement_of_the_release_before_it_right() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let of = |expands| all().into_iter().filter(|m| ledger::expands(m.name()) == expands).collect();
    apply(&database, of(false)).await.unwrap();
    let before = schema(&database).await;
    apply(&database, of(true)).await.unwrap();
    let mut after = schema(&database).await;
    for (name, kind) in &before {
        assert_eq!(after.remove(name).as_ref(), Some(kind), "{name} is what it was");
    }
    let tables: Vec<&str> = before.keys().map(|name| table(name)).collect();
    for (name, kind) in after.iter().filter(|(name, _)| tables.contains(&table(name))) {
        assert!(!name.contains(" UNIQUE "), "{name}: rows that were allowed are not any more");
        let may_be_left_out = !kind.contains("NOT NULL") || kind.contains("DEFAULT");
        assert!(may_be_left_out, "{name} {kind}: who does not know it cannot insert");
    }
}

#[tokio::test]
async fn what_a_later_release_has_added_disturbs_nobody_and_what_it_has_taken_away_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    assert_eq!(apply(&database, all()).await.unwrap(), all().len());
    database.execute_unprepared("INSERT INTO schema_expansions VALUES ('m9998_more', 0)").await.unwrap();
    assert_eq!(apply(&database, all()).await.unwrap(), 0);
    database.execute_unprepared("INSERT INTO seaql_migrations VALUES ('m9999_less', 0)").await.unwrap();
    let refused = apply(&database, all()).await.unwrap_err().to_string();
    assert!(refused.contains("m9999_less") && !refused.contains("m9998_more"), "{refused}");
}

#[tokio::test]
async fn the_first_release_finds_nothing_that_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    apply(&database, all()).await.unwrap();
    // As it was written down for a while.
    let misplaced =
        "INSERT INTO seaql_migrations SELECT * FROM schema_expansions; DELETE FROM schema_expansions";
    database.execute_unprepared(misplaced).await.unwrap();
    assert_eq!(apply(&database, all()).await.unwrap(), 0);
    let newest = texts(&database, "SELECT max(version), '' FROM seaql_migrations").await;
    assert_eq!(newest[0][0], ledger::BASE);
    let expansions = texts(&database, "SELECT min(version), '' FROM schema_expansions").await;
    assert_eq!(expansions[0][0], "m0011_client");
}
