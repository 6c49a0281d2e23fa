//! What somebody who watches a run sees.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::ledger::Ledger;

const INTERVAL: Duration = Duration::from_secs(5);

/// Lines with the time since the run began.
pub(crate) struct Progress(Instant);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn line(&self, text: &str) {
        println!("{:7.1} s  {text}", self.0.elapsed().as_secs_f64());
    }

    /// Says every few seconds how far the clients are; never returns.
    pub(crate) async fn watch(&self, ledger: &Ledger) {
        let mut ticks = interval(INTERVAL);
        loop {
            ticks.tick().await;
            let (attempted, acknowledged) = ledger.counts();
            self.line(&format!("── attempted {attempted}, acknowledged {acknowledged}"));
        }
    }
}
