//! What an operator holds up: everything, a kind of saga, a participant, or one dispatch.
//!
//! No command is sent for what is paused, and none of its deadlines takes effect. A message that would have
//! one sent, or that is for something paused, is parked in the transaction that consumes it, under the
//! pause that holds it, and handled when that is lifted (`resume`). So nothing is lost, and nothing waits in
//! a queue where its attempts would be counted.
//!
//! A dispatch is paused by a mark on its row, under its lock: from the commit on nothing is sent. What is wider
//! is a row that everybody reads; who has read "nothing is paused" may believe so for a quarter of a second.

mod held;
pub(crate) mod resume;
mod scope;

use std::time::Duration;

use sea_orm::{DbErr, QueryResult};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use waybill_messaging::{Store, StoreError, Timestamp, Transaction, Tx, classify, health::Health};

pub(crate) use self::held::{Held, Pauses};
pub use self::{resume::Resume, scope::Scope};
use crate::operate::audit;

/// Something that is paused, or not wholly resumed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What.
    pub scope: Scope,
    /// Since when.
    pub since: Timestamp,
    /// By whom.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Whether it is being resumed.
    pub resuming: bool,
    /// At how many a second; 0: all at once.
    pub rate: u32,
    /// Up to when the rate is used up.
    pub(crate) paced_at: Timestamp,
}

impl Pause {
    /// Whether what comes for it is parked.
    pub const fn holds(&self) -> bool {
        !self.resuming
    }

    /// Whether its deadlines are left alone by all but [`resume`].
    pub(crate) const fn holds_deadlines(&self) -> bool {
        !self.resuming || self.rate > 0
    }

    /// For a person.
    pub fn describe(&self) -> String {
        let does = if self.resuming { "being resumed, paused" } else { "paused" };
        format!("{} is {does} by {}: {}", self.scope, self.operator, self.reason)
    }
}

const COLUMNS: &str = "scope, since, operator, reason, resuming, rate, paced_at";

/// All that is paused or being resumed, and how many messages are parked under each.
pub async fn pauses(store: &Store) -> Result<Vec<(Pause, u64)>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, (SELECT count(*) FROM saga_parked p WHERE p.held_by = s.scope) FROM saga_pauses s \
         ORDER BY since, scope"
    );
    let rows = store.query(&sql, Vec::new()).await?;
    let both = |row: &QueryResult| -> Result<_, DbErr> {
        let parked: i64 = row.try_get_by_index(7)?;
        Ok((read(row)?, u64::try_from(parked).unwrap_or_default()))
    };
    rows.iter().map(|row| both(row).map_err(|e| classify(&e))).collect()
}

/// How many are told.
const TOLD: usize = 20;
const INTERVAL: Duration = Duration::from_secs(1);

/// Tells `health` once a second what is paused, until `stop`.
pub async fn watch(store: Store, health: Health, stop: CancellationToken) {
    let sql = format!("SELECT {COLUMNS} FROM saga_pauses ORDER BY since, scope LIMIT {TOLD}");
    while !stop.is_cancelled() {
        // Where the database is away, its own part says so.
        if let Ok(rows) = store.query(&sql, Vec::new()).await {
            let pauses = rows.iter().filter_map(|row| read(row).ok());
            health.set_paused(pauses.map(|pause| pause.describe()).collect());
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(INTERVAL) => {}
        }
    }
}

fn read(row: &QueryResult) -> Result<Pause, DbErr> {
    let scope: String = row.try_get_by_index(0)?;
    Ok(Pause {
        scope: scope.parse().map_err(DbErr::Custom)?,
        since: Timestamp::from_micros(row.try_get_by_index(1)?),
        operator: row.try_get_by_index(2)?,
        reason: row.try_get_by_index(3)?,
        resuming: row.try_get_by_index::<i64>(4)? != 0,
        rate: u32::try_from(row.try_get_by_index::<i64>(5)?).unwrap_or_default(),
        paced_at: Timestamp::from_micros(row.try_get_by_index(6)?),
    })
}

/// Pauses something. What is paused already stays as it is; what is being resumed is paused again.
/// Yields `false` where a dispatch has no saga yet.
pub struct SetPause {
    /// What.
    pub scope: Scope,
    /// Who.
    pub operator: String,
    /// Why.
    pub reason: String,
}

impl Transaction for SetPause {
    const NAME: &'static str = "saga.pause";
    type Output = bool;

    async fn run(&self, tx: &Tx) -> Result<bool, StoreError> {
        let Self { scope, operator, reason } = self;
        let name = scope.to_string();
        let now = tx.now().micros();
        let sql = "INSERT INTO saga_pauses (scope, since, operator, reason, resuming, rate, paced_at) \
             VALUES ($1, $2, $3, $4, 0, 0, 0) ON CONFLICT (scope) DO UPDATE SET since = excluded.since, \
             operator = excluded.operator, reason = excluded.reason, resuming = 0, rate = 0 \
             WHERE saga_pauses.resuming = 1";
        let params = vec![name.as_str().into(), now.into(), operator.as_str().into(), reason.as_str().into()];
        let is_news = tx.execute(sql, params).await? > 0;
        if let Scope::Dispatch(id) = scope
            && !mark(tx, id, true).await?
        {
            tx.execute("DELETE FROM saga_pauses WHERE scope = $1", vec![name.as_str().into()]).await?;
            return Ok(false);
        }
        if is_news {
            tracing::warn!(scope = name, operator, reason, "paused");
            audit(tx, &name, "pause", 0, operator, reason).await?;
        }
        Ok(true)
    }
}

/// Marks a dispatch, and says whether there is a saga to mark.
async fn mark(tx: &Tx, dispatch_id: &str, paused: bool) -> Result<bool, StoreError> {
    let sql = "UPDATE saga_instances SET paused = $1 WHERE dispatch_id = $2";
    Ok(tx.execute(sql, vec![i64::from(paused).into(), dispatch_id.into()]).await? > 0)
}
