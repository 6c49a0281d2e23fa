//! The few words in which the two databases differ, so that each table is written down once.
//!
//! Conventions of the schema: identifiers are text compared byte by byte; moments are whole
//! microseconds since 1970-01-01 UTC (`_at`, `_until`); an absent text is empty, an absent number 0,
//! and `NULL` stands only where a partial index needs it.

use sea_orm_migration::{
    SchemaManager,
    sea_orm::{ConnectionTrait, DbBackend, DbErr},
};

/// Runs `statements`, with `{text}`, `{blob}`, `{uuid}` and `{int}` replaced by the database's own words.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    for statement in statements {
        manager.get_connection().execute_unprepared(&translate(backend, statement)).await?;
    }
    Ok(())
}

fn translate(backend: DbBackend, statement: &str) -> String {
    let words = match backend {
        DbBackend::Postgres => [r#"text COLLATE "C""#, "bytea", "uuid", "bigint"],
        _ => ["TEXT", "BLOB", "BLOB", "INTEGER"],
    };
    ["{text}", "{blob}", "{uuid}", "{int}"]
        .iter()
        .zip(words)
        .fold(statement.to_owned(), |text, (token, word)| text.replace(token, word))
}
