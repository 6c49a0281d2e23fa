//! A payment that was reserved can be captured.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &STATEMENTS).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

// The state of a captured reservation stays `RESERVED`; 0 means that it is not captured.
const STATEMENTS: [&str; 1] =
    ["ALTER TABLE payment_reservations ADD COLUMN captured_at {int} NOT NULL DEFAULT 0"];
