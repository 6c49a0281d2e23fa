//! Room in the pages of `saga_instances` for the new versions of its rows.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// An update that changes no indexed column and finds room in its own page leaves every index alone (PostgreSQL,
/// "Heap-Only Tuples"). A saga's row is updated at each step. Pages that are written already stay as they are.
/// SQLite updates rows where they stand.
const ROOM: &str = "ALTER TABLE saga_instances SET (fillfactor = 50)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            dialect::run(manager, &[ROOM]).await?;
        }
        Ok(())
    }
}
