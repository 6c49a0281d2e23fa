//! Waits until nothing is under way any more.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::{books, progress::Progress, queues::Queues, servers::Servers, settings::Settings};

const INTERVAL: Duration = Duration::from_millis(250);
/// Looks from one line to the next.
const LOOKS_A_LINE: u32 = 20;

/// What is still under way.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    dispatches: i64,
    in_outbox: i64,
    in_queues: u32,
}

/// Looks until every dispatch has ended, the outbox is empty and so are the queues, or the time is up: then the
/// auditor will name what has not. Returns how many seconds it took.
pub(crate) async fn wait(
    settings: &Settings,
    servers: &Servers,
    queues: &Queues,
    progress: &Progress,
) -> u64 {
    let began = Instant::now();
    for look in 0_u32.. {
        let left = left(servers, queues).await;
        let settled = matches!(&left, Ok(Left { dispatches: 0, in_outbox: 0, in_queues: 0 }));
        let over = began.elapsed() >= Duration::from_secs(settings.settle);
        if settled || over || look.is_multiple_of(LOOKS_A_LINE) {
            progress.line(&format!("── under way: {left:?}"));
        }
        if settled || over {
            break;
        }
        sleep(INTERVAL).await;
    }
    began.elapsed().as_secs()
}

/// Errors: broker or database do not answer, which a queue without a leader does for a while.
async fn left(servers: &Servers, queues: &Queues) -> Result<Left> {
    let (dispatches, in_outbox) = books::under_way(&servers.database_url).await?;
    Ok(Left { dispatches, in_outbox, in_queues: queues.waiting().await? })
}
