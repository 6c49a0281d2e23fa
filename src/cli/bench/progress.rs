//! A bar on a terminal while a run goes on; elsewhere nothing.

use std::{
    io::{IsTerminal as _, stderr},
    sync::Arc,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::{ledger::Ledger, options::Plan, schedule::Limit};

const EVERY: Duration = Duration::from_millis(200);

/// The bar of a run.
pub(super) struct Progress {
    ledger: Arc<Ledger>,
    bar: Option<ProgressBar>,
    /// The whole of it, in requests or milliseconds.
    limit: Limit,
    warm_up: Duration,
}

impl Progress {
    pub(super) fn new(plan: &Plan, ledger: Arc<Ledger>) -> Self {
        let total = match plan.limit {
            Limit::Requests(requests) => requests,
            Limit::Duration(duration) => millis(plan.warm_up + duration),
        };
        // The template is a constant; were it wrong, the plain bar would do.
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = stderr().is_terminal().then(|| ProgressBar::new(total).with_style(style));
        Self { ledger, bar, limit: plan.limit, warm_up: plan.warm_up }
    }

    /// Draws until `done`, and leaves nothing behind.
    pub(super) async fn run(self, done: CancellationToken) {
        let Some(bar) = &self.bar else { return };
        while done.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            self.show(bar);
        }
        bar.finish_and_clear();
    }

    fn show(&self, bar: &ProgressBar) {
        let now = self.ledger.now();
        let books = self.ledger.books();
        let (tally, open) = (&books.tally, books.open.len());
        bar.set_position(match self.limit {
            Limit::Requests(_) => tally.sent - tally.warm_up,
            Limit::Duration(_) => millis(now),
        });
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}/s"));
        let warm_up = if now < self.warm_up { "warm-up, " } else { "" };
        bar.set_message(format!(
            "{warm_up}accepted {} ({}), ended {} ({}), open {open}, errors {}",
            tally.accepted,
            rate(tally.accepts.rate()),
            tally.ends(),
            rate(tally.ends.rate()),
            tally.error_count(),
        ));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
