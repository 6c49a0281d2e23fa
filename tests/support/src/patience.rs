//! Waiting for what only a look can tell: a row in a database, an answer of a process. Whatever can be
//! awaited as a signal is awaited as one instead.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Longer than anything takes on a busy machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(90);

const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `condition` holds. Panics, naming `what`, when it never does.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let looking = async {
        while !condition().await {
            sleep(INTERVAL).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// Looks until `count` is nothing, however much there is, as long as it goes down. Panics, naming `what`,
/// when it does not any more.
pub async fn until_none(what: &str, count: impl AsyncFn() -> i64) {
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        match count().await {
            0 => return,
            fewer if fewer < least => (least, since) = (fewer, Instant::now()),
            left => assert!(since.elapsed() < PATIENCE, "never came: {what}; {left} are left"),
        }
        sleep(INTERVAL * 2).await;
    }
}

/// The outcome of `work`. Panics, naming `what`, when there never is one.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("never came: {what}"))
}
