//! Forgets what has been remembered long enough, in small steps, so that it never holds up the work.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{Frontier, Store, StoreError, Transaction, duty};
use waybill_saga::{ForgetHistory, Forgotten};

/// Rows forgotten in one transaction.
const STEP: u32 = 1_000;
/// Pause between two steps as long as there is more to forget.
const BETWEEN: Duration = Duration::from_millis(10);
/// Pause when there is nothing more to forget, or the database is away.
const IDLE: Duration = Duration::from_mins(1);
/// A step begins where the last one ended, and at the oldest saga again after so many times what that took.
const SPARING: u32 = 20;

/// Forgets the history of sagas that ended longer than `retention` ago, until `stop`; in one process at a time.
pub(super) async fn run(store: Store, retention: Duration, stop: CancellationToken) {
    let mut frontier = Frontier::new(SPARING);
    while !stop.is_cancelled() {
        let pause = match step(&store, retention, &mut frontier).await {
            Ok(forgotten) if forgotten >= u64::from(STEP) => BETWEEN,
            Ok(_) => IDLE,
            Err(error) => {
                tracing::debug!(transaction = ForgetHistory::NAME, %error, "cannot be cleaned now");
                IDLE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

async fn step(
    store: &Store,
    retention: Duration,
    frontier: &mut Frontier<String>,
) -> Result<u64, StoreError> {
    if !duty::hold(store, ForgetHistory::NAME, IDLE).await? {
        return Ok(0);
    }
    let begun = Instant::now();
    let from = frontier.begin(begun);
    let before = store.clock().now().minus(retention);
    let work = ForgetHistory { before, from: from.clone().unwrap_or_default(), most: STEP };
    let Forgotten { rows, last } = store.run(work).await?;
    if rows > 0 {
        frontier.advance(from.as_ref(), begun, Instant::now(), last);
    }
    Ok(rows)
}
