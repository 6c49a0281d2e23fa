//! The transactions that open, close and empty slots. Any number of processes may try: they meet on the row
//! of the open slot, and all but one of them leave it alone.

use sea_orm::Value;

use super::Slotted;
use crate::{Failure, StoreError, Timestamp, Transaction, Tx, classify};

/// Slots of one table at most. Past it the open one just grows: only readers that keep old slots locked
/// lead there.
const MOST: i64 = 32;
/// Rows that are worth moving, so that their slot can be truncated.
pub(crate) const FEW: i64 = 1_000;

/// Closes the open slot and opens another, when it is time. Yields whether it did.
pub(crate) struct Open {
    pub(crate) table: Slotted,
    /// A condition in SQL on the open slot: `{slot}` is its own table, `$1` the moment it was opened.
    pub(crate) when: String,
    /// No transaction that wrote to the old slot may still be open once there is a new one.
    pub(crate) alone: bool,
}

impl Transaction for Open {
    const NAME: &'static str = "slots.open";
    type Output = bool;

    async fn run(&self, tx: &Tx) -> Result<bool, StoreError> {
        let name = Value::from(self.table.name());
        let open = "SELECT slot, since FROM slots WHERE name = $1 AND state = 'OPEN' FOR UPDATE SKIP LOCKED";
        let rows = tx.query(open, vec![name.clone()]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let old: i64 = row.try_get_by_index(0).map_err(|e| classify(&e))?;
        let since: i64 = row.try_get_by_index(1).map_err(|e| classify(&e))?;
        let own = self.table.table(sea_orm::DbBackend::Postgres, old);
        let due = format!("SELECT 1 WHERE $1 >= 0 AND ({})", self.when.replace("{slot}", &own));
        if tx.query(&due, vec![since.into()]).await?.is_empty() {
            return Ok(false);
        }
        if self.alone {
            lock(tx, &own, "SHARE ROW EXCLUSIVE", "500ms").await?;
        }
        let Some(next) = self.next(tx).await? else { return Ok(false) };
        let now = Value::from(tx.now().micros());
        let close = "UPDATE slots SET state = 'CLOSED', since = $1 WHERE name = $2 AND state = 'OPEN'";
        tx.execute(close, vec![now.clone(), name.clone()]).await?;
        let open = "INSERT INTO slots (name, slot, state, since) VALUES ($1, $2, 'OPEN', $3) \
                    ON CONFLICT (name, slot) DO UPDATE SET state = excluded.state, since = excluded.since";
        tx.execute(open, vec![name, next.into(), now]).await?;
        Ok(true)
    }
}

impl Open {
    /// A slot that is free, or a new one.
    async fn next(&self, tx: &Tx) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT min(slot) FILTER (WHERE state = 'FREE'), max(slot) FROM slots WHERE name = $1";
        let rows = tx.query(sql, vec![self.table.name().into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if let Some(free) = row.try_get_by_index(0).map_err(|e| classify(&e))? {
            return Ok(Some(free));
        }
        let most: i64 = row.try_get_by_index(1).map_err(|e| classify(&e))?;
        if most + 1 >= MOST {
            return Ok(None);
        }
        self.create(tx, most + 1).await.map(|()| Some(most + 1))
    }

    /// Attached rather than created in place: that locks out nobody who reads or writes the parent.
    async fn create(&self, tx: &Tx, slot: i64) -> Result<(), StoreError> {
        let parent = self.table.name();
        for sql in [
            format!(
                "CREATE TABLE {parent}_{slot} (LIKE {parent} INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING STORAGE)"
            ),
            format!("ALTER TABLE {parent}_{slot} ALTER COLUMN slot SET DEFAULT {slot}"),
            format!("ALTER TABLE {parent} ATTACH PARTITION {parent}_{slot} FOR VALUES IN ({slot})"),
        ] {
            tx.execute(&sql, Vec::new()).await?;
        }
        Ok(())
    }
}

/// Truncates a closed slot; what `keep` names of its rows moves to the open one first. Yields nothing when it
/// is not closed any more. Fails with [`Failure::Transient`] when somebody reads the slot just now, or too much
/// would have to move.
pub(crate) struct Empty {
    pub(crate) table: Slotted,
    pub(crate) slot: i64,
    /// Only if it was closed by then.
    pub(crate) closed_by: Timestamp,
    /// Columns of the rows that move; nothing: none do, and all are forgotten.
    pub(crate) keep: Option<&'static str>,
}

impl Transaction for Empty {
    const NAME: &'static str = "slots.empty";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        let own = self.table.table(sea_orm::DbBackend::Postgres, self.slot);
        // Another process may have emptied and opened it since we looked.
        let sql = "SELECT 1 FROM slots WHERE name = $1 AND slot = $2 AND state IN ('CLOSED', 'DRAINED') \
                   AND since <= $3 FOR UPDATE";
        let params = vec![self.table.name().into(), self.slot.into(), self.closed_by.micros().into()];
        if tx.query(sql, params).await?.is_empty() {
            return Ok(());
        }
        // Whoever wants the slot meanwhile waits behind this lock: so not for long.
        lock(tx, &own, "ACCESS EXCLUSIVE", "50ms").await?;
        if let Some(columns) = self.keep {
            self.rescue(tx, &own, columns).await?;
        }
        tx.execute(&format!("TRUNCATE {own}"), Vec::new()).await?;
        mark(tx, self.table, self.slot, "FREE").await
    }
}

impl Empty {
    async fn rescue(&self, tx: &Tx, own: &str, columns: &str) -> Result<(), StoreError> {
        let many = format!("SELECT 1 FROM {own} OFFSET {FEW} LIMIT 1");
        if !tx.query(&many, Vec::new()).await?.is_empty() {
            return Err(Failure::Transient(format!("{own} has many rows")).into());
        }
        let sql = "SELECT slot FROM slots WHERE name = $1 AND state = 'OPEN'";
        let rows = tx.query(sql, vec![self.table.name().into()]).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let open: i64 = row.try_get_by_index(0).map_err(|e| classify(&e))?;
        let into = self.table.table(sea_orm::DbBackend::Postgres, open);
        let moved = format!("INSERT INTO {into} ({columns}) SELECT {columns} FROM {own}");
        tx.execute(&moved, Vec::new()).await.map(|_| ())
    }
}

/// Notes that a closed slot has no rows and cannot be truncated now.
pub(crate) struct MarkDrained {
    pub(crate) table: Slotted,
    pub(crate) slot: i64,
}

impl Transaction for MarkDrained {
    const NAME: &'static str = "slots.drained";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        mark(tx, self.table, self.slot, "DRAINED").await
    }
}

async fn mark(tx: &Tx, table: Slotted, slot: i64, state: &str) -> Result<(), StoreError> {
    let sql = "UPDATE slots SET state = $1, since = $2 WHERE name = $3 AND slot = $4 AND state <> 'OPEN'";
    let now: Timestamp = tx.now();
    let params = vec![state.into(), now.micros().into(), table.name().into(), slot.into()];
    tx.execute(sql, params).await.map(|_| ())
}

/// Locks a table, or fails at once for this time: there is always a next one.
async fn lock(tx: &Tx, table: &str, mode: &str, patience: &str) -> Result<(), StoreError> {
    tx.execute(&format!("SET LOCAL lock_timeout = '{patience}'"), Vec::new()).await?;
    match tx.execute(&format!("LOCK TABLE {table} IN {mode} MODE"), Vec::new()).await {
        Err(StoreError::Conflict(reason)) => Err(Failure::Transient(reason).into()),
        locked => locked.map(|_| ()),
    }
}
