//! Outbox and inbox in partitions that are emptied whole, and who does the housekeeping.
//!
//! Rows of both tables are short-lived. Deleted one by one they leave dead rows behind, which PostgreSQL
//! cannot remove as long as any session holds a snapshot from before. A partition that is truncated leaves
//! nothing. SQLite has no such dead rows and keeps its two plain tables.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[DUTIES]).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            dialect::run(manager, &PARTITIONS).await?;
        }
        Ok(())
    }
}

/// Work that one process at a time does, and until when it is that process's.
const DUTIES: &str = "CREATE TABLE duties (
    name {text} NOT NULL PRIMARY KEY,
    holder {text} NOT NULL,
    held_until {int} NOT NULL
)";

const PARTITIONS: [&str; 15] = [
    // Which partitions there are, and what each is for just now: OPEN takes new rows, one of each table;
    // CLOSED takes none; DRAINED has none left and waits to be truncated; FREE is truncated. `since` is when
    // that began.
    "CREATE TABLE slots (
        name {text} NOT NULL,
        slot {int} NOT NULL,
        state {text} NOT NULL,
        since {int} NOT NULL,
        PRIMARY KEY (name, slot)
    )",
    "CREATE UNIQUE INDEX slots_open ON slots (name) WHERE state = 'OPEN'",
    "INSERT INTO slots (name, slot, state, since) VALUES ('outbox', 0, 'OPEN', 0), ('inbox', 0, 'OPEN', 0)",
    "ALTER TABLE outbox RENAME TO outbox_0",
    "ALTER TABLE outbox_0 ADD COLUMN slot {int} NOT NULL DEFAULT 0",
    "ALTER TABLE outbox_0 DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (id, slot)",
    "CREATE TABLE outbox (LIKE outbox_0 INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (id, slot)) \
     PARTITION BY LIST (slot)",
    "CREATE INDEX outbox_due ON outbox (lease_until)",
    "CREATE INDEX outbox_waiting ON outbox (state, routing_key) WHERE state <> 'READY'",
    "ALTER TABLE outbox ATTACH PARTITION outbox_0 FOR VALUES IN (0)",
    "ALTER TABLE inbox RENAME TO inbox_0",
    // A slot is forgotten whole, by the moment it was closed: nobody asks when a single row came.
    "DROP INDEX inbox_received_at",
    "ALTER TABLE inbox_0 ADD COLUMN slot {int} NOT NULL DEFAULT 0, DROP CONSTRAINT inbox_pkey, \
     ADD PRIMARY KEY (consumer, message_id, slot)",
    "CREATE TABLE inbox (LIKE inbox_0 INCLUDING DEFAULTS INCLUDING STORAGE, \
     PRIMARY KEY (consumer, message_id, slot)) PARTITION BY LIST (slot)",
    "ALTER TABLE inbox ATTACH PARTITION inbox_0 FOR VALUES IN (0)",
];
