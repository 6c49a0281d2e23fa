//! What the outbox still holds of one conversation, for a person who asks why it does not go on.

use sea_orm::{DbErr, QueryResult};

use crate::{Store, StoreError, Timestamp, classify};

/// A message that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Full Protobuf name.
    pub type_name: String,
    /// Where to.
    pub routing_key: String,
    /// Whether it is parked: no queue takes it, or the broker refuses it.
    pub parked: bool,
    /// Publications that failed.
    pub attempts: u32,
    /// Why the last one failed.
    pub last_error: String,
    /// When it was written.
    pub since: Timestamp,
}

/// The messages of one `correlation_id` that are not confirmed, oldest first. Looks at every row: the outbox is
/// short, unless the broker is away.
pub async fn about(store: &Store, correlation_id: &str) -> Result<Vec<Waiting>, StoreError> {
    let sql = "SELECT type, routing_key, state, publish_attempts, last_error, created_at FROM outbox \
               WHERE correlation_id = $1 ORDER BY created_at LIMIT 20";
    let rows = store.query(sql, vec![correlation_id.into()]).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

fn read(row: &QueryResult) -> Result<Waiting, DbErr> {
    let state: String = row.try_get_by_index(2)?;
    Ok(Waiting {
        type_name: row.try_get_by_index(0)?,
        routing_key: row.try_get_by_index(1)?,
        parked: state != "READY",
        attempts: u32::try_from(row.try_get_by_index::<i64>(3)?).unwrap_or_default(),
        last_error: row.try_get_by_index(4)?,
        since: Timestamp::from_micros(row.try_get_by_index(5)?),
    })
}
