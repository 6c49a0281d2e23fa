//! Takes the process out of readiness while a message waits in an outbox for too long, where that is asked for.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{
    Store,
    health::{Health, Status},
    outbox,
};

const PART: &str = "outbox";
/// Pause between two looks …
const INTERVAL: Duration = Duration::from_secs(1);
/// … and no less than this many times what the last one took: a full outbox is not scanned all the time.
const SPARING: u32 = 20;

/// Looks until `stop`. While a database is away its last answer stays; that it is away is another part's word.
pub(super) async fn watch(
    stores: Vec<(&'static str, Store)>,
    most: Duration,
    health: Health,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let begun = Instant::now();
        if let Some(status) = look(&stores, most).await {
            health.set(PART, status);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(INTERVAL.max(begun.elapsed() * SPARING)) => {}
        }
    }
}

/// `None`: nobody can say. The reason names no age, which would be news at every look.
async fn look(stores: &[(&'static str, Store)], most: Duration) -> Option<Status> {
    for (name, store) in stores {
        let depth = outbox::depth(store).await.ok()?;
        if depth.oldest > most {
            let most = humantime::format_duration(most);
            return Some(Status::Down(format!(
                "a message in the outbox of database {name} has been due for longer than ready.max_outbox_age of \
                 {most}; `waybill outbox` shows it"
            )));
        }
    }
    Some(Status::Up)
}
