//! What has not arrived, as far as the table `dispatches` knows, and what the saga says about it.

use std::time::Duration;

use waybill_messaging::{Outgoing, Store, StoreError, Timestamp, classify};
use waybill_saga::read;

use super::Kind;
use crate::{cancel, id, row};

/// Rows looked at in one statement.
const PAGE: i64 = 1_000;

/// A dispatch of which something is not known to have arrived.
pub(super) struct Found {
    pub(super) dispatch_id: String,
    /// It has, says the saga.
    pub(super) has_arrived: bool,
    /// What to send again.
    pub(super) message: Option<Outgoing>,
}

/// A page of what was sent before `until`, in the order of the dispatches.
pub(super) async fn look(
    store: &Store,
    kind: Kind,
    after: &str,
    until: Timestamp,
) -> Result<Vec<Found>, StoreError> {
    match kind {
        Kind::Request => requests(store, after, until).await,
        Kind::Cancel => cancels(store, after, until).await,
    }
}

async fn requests(store: &Store, after: &str, until: Timestamp) -> Result<Vec<Found>, StoreError> {
    let sql = format!(
        "SELECT {}, CASE WHEN s.dispatch_id IS NULL THEN 0 ELSE 1 END \
         FROM dispatches d LEFT JOIN saga_instances s ON s.dispatch_id = d.dispatch_id \
         WHERE d.saga_started_at IS NULL AND NOT EXISTS (SELECT 1 FROM saga_parked p \
         WHERE p.dispatch_id = d.dispatch_id) AND d.dispatch_id > $1 AND d.dispatch_id < $2 \
         AND d.accepted_at < $3 ORDER BY d.dispatch_id LIMIT $4",
        row::COLUMNS
    );
    // A dispatch is named before it is accepted: with this bound the many new ones are not even looked at.
    let bound = id::floor(until.plus(Duration::from_millis(1)));
    let params = vec![after.into(), bound.into(), until.micros().into(), PAGE.into()];
    let found = store.query(&sql, params).await?;
    let read = |row| {
        let begun: i32 = sea_orm::QueryResult::try_get_by_index(row, row::WIDTH).map_err(|e| classify(&e))?;
        let row = row::read(row)?;
        let message = if begun == 1 { None } else { row.start_message() };
        Ok(Found { dispatch_id: row.dispatch_id, has_arrived: begun == 1, message })
    };
    found.iter().map(read).collect()
}

/// The saga has decided when the dispatch goes back, or never will.
async fn cancels(store: &Store, after: &str, until: Timestamp) -> Result<Vec<Found>, StoreError> {
    let kept = cancel::kept(store, after, until, PAGE).await?;
    let ids: Vec<&str> = kept.iter().map(|kept| kept.dispatch_id.as_str()).collect();
    let instances = read::instances(store, &ids).await?;
    let found = kept.into_iter().map(|kept| {
        let has_arrived = instances.get(&kept.dispatch_id).is_some_and(read::has_decided_about_cancelling);
        let message = if has_arrived { None } else { kept.message_again() };
        Found { dispatch_id: kept.dispatch_id, has_arrived, message }
    });
    Ok(found.collect())
}
