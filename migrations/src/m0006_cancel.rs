//! A cancel request is kept with its dispatch until the saga has decided it.

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

const STATEMENTS: [&str; 3] = [
    // `cancel_requested_at`: somebody wants it undone, and the gateway has not seen the saga decide yet.
    "ALTER TABLE dispatches ADD COLUMN cancel_requested_at {int}",
    "ALTER TABLE dispatches ADD COLUMN cancel_reason {text} NOT NULL DEFAULT ''",
    "CREATE INDEX dispatches_cancelling ON dispatches (dispatch_id) WHERE cancel_requested_at IS NOT NULL",
];
