//! Forgets what has been remembered long enough, in small steps, so that it never holds up the work.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use waybill_messaging::{Store, inbox};

/// Rows forgotten in one transaction.
const STEP: u32 = 1_000;
/// Pause when there is nothing more to forget.
const IDLE: Duration = Duration::from_secs(60);

/// Forgets inbox rows older than `retention` until `stop`.
pub(super) async fn run(store: Store, retention: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let before = store.clock().now().minus(retention);
        let pause = match store.run(inbox::Forget { before, most: STEP }).await {
            Ok(forgotten) if forgotten >= u64::from(STEP) => Duration::from_millis(10),
            Ok(_) => IDLE,
            Err(error) => {
                tracing::debug!(%error, "the inbox cannot be cleaned now");
                IDLE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}
