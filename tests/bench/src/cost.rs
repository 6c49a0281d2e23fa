//! What a load has cost: counters before and after it, by the dispatch.

use waybill_test_support::Process;

use crate::{database::Database, site::Site, subject::Metric, usage};

/// All counters at a moment.
pub(crate) struct Counters {
    process: u32,
    values: [(Metric, Option<f64>); 6],
}

/// Whose counters.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) site: &'a Site,
    /// What does the work.
    pub(crate) process: u32,
    pub(crate) database: &'a Database,
    /// Who counts statements.
    pub(crate) metrics: Option<&'a Process>,
    /// Whether it publishes at all.
    pub(crate) publishes: bool,
}

impl Of<'_> {
    /// Before a load. To ask the broker how many messages it got takes a second, in which everybody else idles:
    /// that comes first, unless it is known from the load before.
    pub(crate) async fn before(self, messages: Option<f64>) -> Counters {
        let messages = match messages {
            Some(known) => Some(known),
            None => self.messages().await,
        };
        self.read(messages).await
    }

    /// After it, and for the same reason last.
    pub(crate) async fn after(self) -> Counters {
        let mut counters = self.read(None).await;
        counters.values[0].1 = self.messages().await;
        counters
    }

    async fn messages(self) -> Option<f64> {
        if self.publishes { self.site.broker_messages().await } else { None }
    }

    async fn read(self, messages: Option<f64>) -> Counters {
        let Self { site, process, database, metrics, .. } = self;
        let cpu = usage::seconds(process).map(|seconds| seconds * 1e3);
        let broker = site.broker_seconds().map(|seconds| seconds * 1e3);
        let postgres = database.seconds().map(|seconds| seconds * 1e3);
        let statements = match metrics {
            Some(metrics) => {
                let by_name = metrics.scrape().await.by("waybill_store_statements_total", "transaction");
                Some(by_name.into_values().sum())
            }
            None => None,
        };
        let values = [
            (Metric::Messages, messages),
            (Metric::WalBytes, database.wal().await),
            (Metric::Statements, statements),
            (Metric::CpuBroker, broker),
            (Metric::CpuPostgres, postgres),
            (Metric::Cpu, cpu),
        ];
        Counters { process, values }
    }
}

impl Counters {
    /// What each of so many dispatches has cost since `before`.
    pub(crate) fn each_since(&self, before: &Self, dispatches: u64) -> Vec<(Metric, f64)> {
        let values = self.values.iter().zip(&before.values);
        values
            .filter_map(|((metric, now), (_, before))| Some((*metric, (*now)? - (*before)?)))
            .map(|(metric, cost)| (metric, cost / dispatches as f64))
            .collect()
    }

    /// Messages that the broker had got.
    pub(crate) fn messages(&self) -> Option<f64> {
        self.values[0].1
    }

    /// The most that was ever resident, MB.
    pub(crate) fn peak(&self) -> Option<f64> {
        usage::memory(self.process).map(|(_, peak)| peak)
    }
}
