//! What the saga measures: every instrument by its name.

use std::{sync::LazyLock, time::Duration};

use opentelemetry::{KeyValue, metrics::Gauge};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{
    Store, StoreError, Timestamp, classify,
    metrics::{Outcomes, meter},
};

use crate::{InstanceState, parked};

/// Pause between two looks at the open sagas …
const INTERVAL: Duration = Duration::from_secs(2);
/// … and no less than this many times what the last one took.
const SPARING: u32 = 20;

static TRANSITIONS: LazyLock<Outcomes<5>> = LazyLock::new(|| {
    let transitions = meter()
        .u64_counter("waybill.saga.transitions")
        .with_description("Sagas that went over to a state, by that state; running: begun, or freed")
        .with_unit("{saga}")
        .build();
    Outcomes::new(transitions, "state", InstanceState::ALL.map(label), &[])
});

/// Has the counters there at 0.
pub(crate) fn begin() {
    went_over_to(&[]);
}

/// Counts sagas by the states that they went over to.
pub(crate) fn went_over_to(states: &[InstanceState]) {
    let count = |state| states.iter().filter(|other| **other == state).count() as u64;
    TRANSITIONS.add(InstanceState::ALL.map(count));
}

const fn label(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Running => "running",
        InstanceState::Compensating => "compensating",
        InstanceState::Completed => "completed",
        InstanceState::Compensated => "compensated",
        InstanceState::Stuck => "stuck",
    }
}

/// Tells again and again, until `stop`, how many sagas are open and how old the oldest is. Those that have
/// ended are not counted there: that would cost more every day.
pub async fn watch(store: Store, stop: CancellationToken) {
    let gauges = Gauges::new();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        if let Err(error) = gauges.look(&store).await {
            tracing::debug!(%error, "the sagas cannot be counted now");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(INTERVAL.max(begun.elapsed() * SPARING)) => {}
        }
    }
}

struct Gauges {
    open: Gauge<u64>,
    oldest: Gauge<f64>,
    parked: Gauge<u64>,
}

impl Gauges {
    fn new() -> Self {
        let meter = meter();
        let open = meter
            .u64_gauge("waybill.saga.open")
            .with_description("Sagas that have not ended, by state")
            .with_unit("{saga}");
        let oldest = meter
            .f64_gauge("waybill.saga.oldest_open.age")
            .with_description("Age of the oldest saga that has not ended, by state")
            .with_unit("s");
        let parked = meter
            .u64_gauge("waybill.saga.parked")
            .with_description("Messages that wait for a process that knows the version of their saga")
            .with_unit("{message}");
        Self { open: open.build(), oldest: oldest.build(), parked: parked.build() }
    }

    async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let now = store.clock().now();
        // By the index of states: as many entries are read as sagas are open.
        let sql = "SELECT count(*), coalesce(min(started_at), $2) FROM saga_instances WHERE state = $1";
        for state in InstanceState::ALL.into_iter().filter(|state| !state.is_end()) {
            let rows = store.query(sql, vec![state.name().into(), now.micros().into()]).await?;
            let number = |index| -> Result<i64, StoreError> {
                rows.first().map_or(Ok(0), |row| row.try_get_by_index(index).map_err(|e| classify(&e)))
            };
            let label = [KeyValue::new("state", label(state))];
            self.open.record(u64::try_from(number(0)?).unwrap_or_default(), &label);
            let age = now.since(Timestamp::from_micros(number(1)?));
            self.oldest.record(age.as_secs_f64(), &label);
        }
        let parked: i64 = parked::counts(store).await?.values().sum();
        self.parked.record(u64::try_from(parked).unwrap_or_default(), &[]);
        Ok(())
    }
}
