//! Outbox and inbox in partitions ("slots"), PostgreSQL only.
//!
//! Rows of both tables come and go by the thousand. A deleted row stays in the table and its indexes until
//! VACUUM may remove it, and VACUUM may not as long as any session holds a snapshot from before: one
//! forgotten transaction, and every look for due rows walks over all that has ever been sent. So nothing
//! waits for VACUUM here. New rows go to the one slot that is open; after a while it is closed and another
//! opened; and when nothing in a closed slot is needed any more it is truncated, which no snapshot hinders.
//! The scheme is that of Skype's `PgQ` ("rotated" queue tables).
//!
//! Statements that are worth it name a slot's own table. Everything else uses the parent table `outbox` or
//! `inbox`, which has the rows of all slots. SQLite has one slot, the plain table.

mod rotate;

use std::sync::atomic::{AtomicI64, Ordering};

use sea_orm::DbBackend;

pub(crate) use self::rotate::{Empty, FEW, MarkDrained, Open};
use crate::{Store, StoreError, classify};

/// A table that has slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slotted {
    Outbox,
    Inbox,
}

impl Slotted {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Inbox => "inbox",
        }
    }

    /// The table to name for the rows of one slot.
    pub(crate) fn table(self, backend: DbBackend, slot: i64) -> String {
        match backend {
            DbBackend::Postgres => format!("{}_{slot}", self.name()),
            _ => self.name().to_owned(),
        }
    }
}

/// The slots that this process takes for the open ones. It may be behind: whoever writes has to be content
/// with that, or to check.
#[derive(Debug, Default)]
pub(crate) struct OpenSlots {
    outbox: AtomicI64,
    inbox: AtomicI64,
}

impl OpenSlots {
    const fn of(&self, table: Slotted) -> &AtomicI64 {
        match table {
            Slotted::Outbox => &self.outbox,
            Slotted::Inbox => &self.inbox,
        }
    }

    pub(crate) fn get(&self, table: Slotted) -> i64 {
        self.of(table).load(Ordering::Acquire)
    }

    fn set(&self, table: Slotted, slot: i64) {
        self.of(table).store(slot, Ordering::Release);
    }
}

/// What a slot is for just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Takes new rows.
    Open,
    /// Takes none, and may have some.
    Closed,
    /// Had none left when it was looked at last, and could not be truncated.
    Drained,
    /// Truncated.
    Free,
}

/// A slot, and since when it is what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) number: i64,
    pub(crate) state: State,
    pub(crate) since: crate::Timestamp,
}

/// The slots of a table. SQLite: the one there is.
pub(crate) async fn all(store: &Store, table: Slotted) -> Result<Vec<Slot>, StoreError> {
    if store.backend() != DbBackend::Postgres {
        return Ok(vec![Slot { number: 0, state: State::Open, since: crate::Timestamp::default() }]);
    }
    let sql = "SELECT slot, state, since FROM slots WHERE name = $1 ORDER BY slot";
    let rows = store.query(sql, vec![table.name().into()]).await?;
    let read = |row: &sea_orm::QueryResult| -> Result<Slot, sea_orm::DbErr> {
        let state: String = row.try_get_by_index(1)?;
        let state = match state.as_str() {
            "OPEN" => State::Open,
            "CLOSED" => State::Closed,
            "DRAINED" => State::Drained,
            _ => State::Free,
        };
        let since = crate::Timestamp::from_micros(row.try_get_by_index(2)?);
        Ok(Slot { number: row.try_get_by_index(0)?, state, since })
    };
    rows.iter().map(|row| read(row).map_err(|error| classify(&error))).collect()
}

/// Looks up which slot of a table is open, for all that this process writes from now on. Yields all slots.
pub(crate) async fn refresh(store: &Store, table: Slotted) -> Result<Vec<Slot>, StoreError> {
    let slots = all(store, table).await?;
    if let Some(open) = slots.iter().find(|slot| slot.state == State::Open) {
        store.open_slots().set(table, open.number);
    }
    Ok(slots)
}
