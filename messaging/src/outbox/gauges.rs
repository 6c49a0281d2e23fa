//! Tells the metrics how full an outbox is, again and again, at a small part of the database's time.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{depth, parked_rows};
use crate::{Store, StoreError, metrics};

/// Pause between two looks …
const INTERVAL: Duration = Duration::from_secs(2);
/// … and no less than this many times what the last one took: a full outbox is not scanned all the time.
const SPARING: u32 = 20;
/// Routing keys told apart, at most. They come from messages, so their number is not ours to say.
const KEYS: u32 = 20;

/// Looks until `stop`. `database`: its name in the labels. While the database is away the last values stay.
pub async fn watch(store: Store, database: &'static str, stop: CancellationToken) {
    let mut gauges = metrics::Outbox::new(database);
    while !stop.is_cancelled() {
        let begun = Instant::now();
        if let Err(error) = look(&store, &mut gauges).await {
            tracing::debug!(%error, "the outbox cannot be counted now");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(INTERVAL.max(begun.elapsed() * SPARING)) => {}
        }
    }
}

async fn look(store: &Store, gauges: &mut metrics::Outbox) -> Result<(), StoreError> {
    let counted = depth(store).await?;
    let parked = if counted.parked > 0 { parked_rows(store, KEYS).await? } else { Vec::new() };
    gauges.tell(&counted, &parked);
    Ok(())
}
