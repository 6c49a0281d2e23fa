//! What this crate measures: every instrument by its name, and the label values that exist from the start, so
//! that a counter is there at 0 before anything has happened.
//!
//! Instruments belong to the process's meter provider, which has to be set before the first part is built;
//! without one they cost next to nothing. Labels are names of queues and outcomes, never ids. Counting goes by
//! the batch wherever there is one.

use std::{collections::BTreeSet, time::Duration};

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram, Meter},
};

use crate::outbox::{Depth, ParkedRows};

/// Upper bounds, in seconds, of everything that is timed: from a local write to a broker in trouble.
pub const SECONDS: [f64; 14] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of what is counted per batch.
pub const SIZES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// The meter of all of Waybill's crates.
pub fn meter() -> Meter {
    global::meter("waybill")
}

/// A counter that tells a fixed set of outcomes apart, all of them at 0 from the start.
#[derive(Clone, Debug)]
pub struct Outcomes<const N: usize> {
    counter: Counter<u64>,
    labels: [Vec<KeyValue>; N],
}

impl<const N: usize> Outcomes<N> {
    /// `label`: by which they are told apart; `names`: its values; `common`: labels that all of them have.
    pub fn new(
        counter: Counter<u64>,
        label: &'static str,
        names: [&'static str; N],
        common: &[KeyValue],
    ) -> Self {
        let labels = names.map(|name| [common, &[KeyValue::new(label, name)]].concat());
        for labels in &labels {
            counter.add(0, labels);
        }
        Self { counter, labels }
    }

    /// Adds to the outcomes, in the order of their names.
    pub fn add(&self, counts: [u64; N]) {
        for (count, labels) in counts.into_iter().zip(&self.labels) {
            if count > 0 {
                self.counter.add(count, labels);
            }
        }
    }
}

/// How publications ended, as counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Published {
    /// Confirmed, and routed to a queue.
    pub(crate) confirmed: u64,
    /// No queue takes it.
    pub(crate) returned: u64,
    /// Nothing was heard: it goes out again.
    pub(crate) unknown: u64,
    /// The broker said no.
    pub(crate) rejected: u64,
    /// Not offered to the broker: it could only be refused.
    pub(crate) unpublishable: u64,
}

/// What the relay measures.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    publications: Outcomes<5>,
    packs: Counter<u64>,
    packed: Counter<u64>,
    confirm: Histogram<f64>,
    labels: [KeyValue; 3],
}

impl Relay {
    pub(crate) fn new() -> Self {
        let meter = meter();
        let publications = meter
            .u64_counter("waybill.relay.publications")
            .with_description("Publications by how they ended")
            .with_unit("{message}");
        let confirm = meter
            .f64_histogram("messaging.client.operation.duration")
            .with_description("From the publication of a message to its confirm")
            .with_unit("s")
            .with_boundaries(SECONDS.to_vec());
        let packs = meter
            .u64_counter("waybill.relay.packs")
            .with_description("AMQP messages that carried several messages")
            .with_unit("{pack}")
            .build();
        let packed = meter
            .u64_counter("waybill.relay.packed")
            .with_description("Messages that travelled in one with others")
            .with_unit("{message}")
            .build();
        packs.add(0, &[]);
        packed.add(0, &[]);
        let names = ["confirmed", "returned", "unknown", "rejected", "unpublishable"];
        Self {
            packs,
            packed,
            publications: Outcomes::new(publications.build(), "outcome", names, &[]),
            confirm: confirm.build(),
            labels: [
                KeyValue::new("messaging.system", "rabbitmq"),
                KeyValue::new("messaging.operation.name", "publish"),
                KeyValue::new("messaging.operation.type", "send"),
            ],
        }
    }

    pub(crate) fn ended(&self, ends: Published) {
        let Published { confirmed, returned, unknown, rejected, unpublishable } = ends;
        self.publications.add([confirmed, returned, unknown, rejected, unpublishable]);
    }

    /// A pack of so many messages has been sent.
    pub(crate) fn packed(&self, messages: usize) {
        self.packs.add(1, &[]);
        self.packed.add(messages as u64, &[]);
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.confirm.record(after.as_secs_f64(), &self.labels);
    }
}

/// What became of deliveries, as counted. Every delivery is one of these.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handled {
    /// Handled, for the first time.
    pub(crate) completed: u64,
    /// Handled before: nothing was done but the recorded reply sent again.
    pub(crate) skipped: u64,
    /// Failed, to be tried again later.
    pub(crate) retried: u64,
    /// Failed for good.
    pub(crate) dead_lettered: u64,
    /// Not written down at all: the broker delivers it again.
    pub(crate) failed: u64,
}

/// What the consumer of a queue measures.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    messages: Outcomes<5>,
    redeliveries: Counter<u64>,
    duration: Histogram<f64>,
    size: Histogram<u64>,
    leaderless: Gauge<u64>,
    queue: [KeyValue; 1],
    labels: [KeyValue; 3],
}

impl Consumer {
    /// `queue`: its name on the broker.
    pub(crate) fn new(queue: &str) -> Self {
        let meter = meter();
        let queue = [KeyValue::new("messaging.destination.name", queue.to_owned())];
        let messages = meter
            .u64_counter("waybill.consumer.messages")
            .with_description("Deliveries by what became of them")
            .with_unit("{message}");
        let redeliveries = meter
            .u64_counter("waybill.consumer.redeliveries")
            .with_description("Deliveries that the broker had made before")
            .with_unit("{message}")
            .build();
        redeliveries.add(0, &queue);
        let duration = meter
            .f64_histogram("messaging.process.duration")
            .with_description("How long the handling of a batch took, its commit included")
            .with_unit("s")
            .with_boundaries(SECONDS.to_vec());
        let size = meter
            .u64_histogram("waybill.consumer.batch.size")
            .with_description("Deliveries handled together")
            .with_unit("{message}")
            .with_boundaries(SIZES.to_vec());
        let leaderless = meter
            .u64_gauge("waybill.queue.leaderless")
            .with_description("Whether a queue is there but has no leader: 1 or 0")
            .build();
        leaderless.record(0, &queue);
        let names = ["completed", "skipped", "retried", "dead_lettered", "failed"];
        Self {
            messages: Outcomes::new(messages.build(), "outcome", names, &queue),
            redeliveries,
            duration: duration.build(),
            size: size.build(),
            leaderless,
            labels: [
                KeyValue::new("messaging.system", "rabbitmq"),
                KeyValue::new("messaging.operation.name", "process"),
                queue[0].clone(),
            ],
            queue,
        }
    }

    /// A batch is through.
    pub(crate) fn handled(&self, handled: Handled, took: Duration) {
        let Handled { completed, skipped, retried, dead_lettered, failed } = handled;
        self.messages.add([completed, skipped, retried, dead_lettered, failed]);
        self.size.record(completed + skipped + retried + dead_lettered + failed, &self.queue);
        self.duration.record(took.as_secs_f64(), &self.labels);
    }

    pub(crate) fn leaderless(&self, is_so: bool) {
        self.leaderless.record(u64::from(is_so), &self.queue);
    }

    /// So many of a batch had been delivered before.
    pub(crate) fn redelivered(&self, count: u64) {
        if count > 0 {
            self.redeliveries.add(count, &self.queue);
        }
    }
}

/// What the databases are asked for: reads outside transactions have the name `read`.
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    transactions: Counter<u64>,
    statements: Counter<u64>,
}

impl Default for Statements {
    fn default() -> Self {
        let meter = meter();
        let transactions = meter
            .u64_counter("waybill.store.transactions")
            .with_description("Runs of transactions by name and how they ended")
            .with_unit("{transaction}");
        let statements = meter
            .u64_counter("waybill.store.statements")
            .with_description("SQL statements by the transaction that they are part of")
            .with_unit("{statement}");
        Self { transactions: transactions.build(), statements: statements.build() }
    }
}

impl Statements {
    /// A run has ended that consisted of so many statements.
    pub(crate) fn ran(&self, transaction: &'static str, statements: u64, is_committed: bool) {
        let name = KeyValue::new("transaction", transaction);
        let outcome = if is_committed { "committed" } else { "rolled_back" };
        self.transactions.add(1, &[name.clone(), KeyValue::new("outcome", outcome)]);
        self.statements.add(statements, &[name]);
    }

    /// So many statements outside any transaction.
    pub(crate) fn read(&self, statements: u64) {
        self.statements.add(statements, &[KeyValue::new("transaction", "read")]);
    }
}

/// What is known of an outbox.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    rows: Gauge<u64>,
    oldest: Gauge<f64>,
    parked: Gauge<u64>,
    database: KeyValue,
    /// Routing keys that have been told: those that nothing is parked on any more are told to be at 0.
    told: BTreeSet<(String, String)>,
}

impl Outbox {
    /// `database`: which one, in the words of the configuration.
    pub(crate) fn new(database: &'static str) -> Self {
        let meter = meter();
        let rows = meter
            .u64_gauge("waybill.outbox.rows")
            .with_description("Rows of the outbox by state")
            .with_unit("{message}");
        let oldest = meter
            .f64_gauge("waybill.outbox.oldest_ready.age")
            .with_description("Age of the oldest outbox row that is due and not parked")
            .with_unit("s");
        let parked = meter
            .u64_gauge("waybill.outbox.parked")
            .with_description("Rows that cannot be published, by routing key: those with the most of them")
            .with_unit("{message}");
        let outbox = Self {
            rows: rows.build(),
            oldest: oldest.build(),
            parked: parked.build(),
            database: KeyValue::new("database", database),
            told: BTreeSet::new(),
        };
        outbox.tell_depth(&Depth::default());
        outbox
    }

    pub(crate) fn tell(&mut self, depth: &Depth, parked: &[ParkedRows]) {
        self.tell_depth(depth);
        let mut gone = std::mem::take(&mut self.told);
        for ParkedRows { state, routing_key, rows } in parked {
            let key = (state.clone(), routing_key.clone());
            gone.remove(&key);
            self.tell_parked(&key, *rows);
            self.told.insert(key);
        }
        for key in &gone {
            self.tell_parked(key, 0);
        }
    }

    fn tell_depth(&self, depth: &Depth) {
        let states = [
            ("ready", depth.ready),
            ("delayed", depth.delayed),
            ("leased", depth.leased),
            ("unroutable", depth.unroutable),
            ("rejected", depth.rejected),
        ];
        for (state, rows) in states {
            self.rows.record(rows, &[self.database.clone(), KeyValue::new("state", state)]);
        }
        self.oldest.record(depth.oldest.as_secs_f64(), std::slice::from_ref(&self.database));
    }

    fn tell_parked(&self, (state, routing_key): &(String, String), rows: u64) {
        let labels = [
            self.database.clone(),
            KeyValue::new("state", state.to_lowercase()),
            KeyValue::new("routing_key", routing_key.clone()),
        ];
        self.parked.record(rows, &labels);
    }
}

/// What is known of the parts of this process and of the queues that they consume.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    up: Gauge<u64>,
}

impl Default for Parts {
    fn default() -> Self {
        let meter = meter();
        let up = meter
            .u64_gauge("waybill.part.up")
            .with_description("Whether a part of this process does its work: 1 or 0");
        Self { up: up.build() }
    }
}

impl Parts {
    pub(crate) fn tell(&self, part: &'static str, is_up: bool) {
        self.up.record(u64::from(is_up), &[KeyValue::new("part", part)]);
    }
}
