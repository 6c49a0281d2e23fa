//! Forgets what has been remembered long enough, in small steps, so that it never holds up the work.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use waybill_messaging::{Store, StoreError, Timestamp, Transaction, duty};

/// Rows forgotten in one transaction.
const STEP: u32 = 1_000;
/// Pause between two steps as long as there is more to forget.
const BETWEEN: Duration = Duration::from_millis(10);
/// Pause when there is nothing more to forget, or the database is away.
const IDLE: Duration = Duration::from_mins(1);

/// Runs `forget`, told what is old enough and how much to take, until `stop`; in one process at a time.
pub(super) async fn run<T: Transaction<Output = u64>>(
    store: Store,
    retention: Duration,
    forget: impl Fn(Timestamp, u32) -> T,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let pause = match step(&store, retention, &forget).await {
            Ok(forgotten) if forgotten >= u64::from(STEP) => BETWEEN,
            Ok(_) => IDLE,
            Err(error) => {
                tracing::debug!(transaction = T::NAME, %error, "cannot be cleaned now");
                IDLE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

async fn step<T: Transaction<Output = u64>>(
    store: &Store,
    retention: Duration,
    forget: impl Fn(Timestamp, u32) -> T,
) -> Result<u64, StoreError> {
    if !duty::hold(store, T::NAME, IDLE).await? {
        return Ok(0);
    }
    store.run(forget(store.clock().now().minus(retention), STEP)).await
}
