//! One run: messages as fast as they go through outbox, broker and inbox, a session with an old snapshot
//! beside it, and a sample a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, IsolationLevel, TransactionTrait};
use tokio::time::{Instant, MissedTickBehavior, interval};
use waybill_messaging::{
    Envelope, Failure, Handler, Outcome, Outgoing, Received, StoreError, Tx, inbox, relay,
};
use waybill_test_support::{TestBroker, TestDatabase, session};

use crate::rig::{Rig, message, relay_settings};

/// Rows in one transaction.
const PAGE: usize = 200;
/// Rows that may wait before more are made.
const BACKLOG: u64 = 4_000;

/// What was measured at a moment.
pub struct Sample {
    pub second: u64,
    /// Heap and indexes of all slots, in MB.
    pub outbox: f64,
    pub inbox: f64,
    /// Messages handled in the second before.
    pub rate: f64,
}

/// Has no effect but the inbox row, and counts.
struct Count(Arc<AtomicU64>);

impl Handler for Count {
    type Message = ();

    fn inbox(&self) -> Option<&'static str> {
        Some("order")
    }

    fn parse(&self, _: &Envelope) -> Result<(), Failure> {
        Ok(())
    }

    async fn apply(&self, _: &Tx, batch: &[&Received<()>]) -> Result<Vec<Outcome>, StoreError> {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(vec![Outcome::default(); batch.len()])
    }
}

/// Runs for `time` and yields a sample a second.
pub async fn run(name: &str, slot_bytes: usize, retention: Duration, time: Duration) -> Vec<Sample> {
    let relaying = relay::Settings { window: 512, hand_off: 8_192, slot_bytes, ..relay_settings() };
    let (database, broker) = (TestDatabase::postgres().await, TestBroker::new().await);
    let mut rig = Rig::relaying(database, broker, true, relaying).await;
    let handled = Arc::new(AtomicU64::new(0));
    rig.consume(Count(Arc::clone(&handled))).await;
    rig.tasks.spawn(inbox::keep(rig.store.clone(), retention, rig.stop.clone()));
    let session = session(rig.database.url()).await;
    let old = session.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await.unwrap();
    old.execute_unprepared("SELECT count(*) FROM dispatches").await.unwrap();
    let begun = Instant::now();
    let (samples, ()) =
        tokio::join!(sample(name, &rig, &handled, begun, time), produce(&rig, &handled, begun, time));
    old.rollback().await.unwrap();
    rig.end().await;
    samples
}

async fn produce(rig: &Rig, handled: &AtomicU64, begun: Instant, time: Duration) {
    let mut made = 0_u64;
    while begun.elapsed() < time {
        let page: Vec<Outgoing> = (0..PAGE).map(|n| message(&format!("{made}-{n}"))).collect();
        rig.send(page).await;
        made += 1;
        let sent = made * PAGE as u64;
        while sent.saturating_sub(handled.load(Ordering::Relaxed)) > BACKLOG && begun.elapsed() < time {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn sample(name: &str, rig: &Rig, count: &AtomicU64, begun: Instant, time: Duration) -> Vec<Sample> {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut samples, mut before) = (Vec::new(), (begun, 0_u64));
    while begun.elapsed() < time {
        second.tick().await;
        let (now, handled) = (Instant::now(), count.load(Ordering::Relaxed));
        let size = async |table: &str| {
            let sql = format!(
                "SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits \
                 WHERE inhparent = '{table}'::regclass"
            );
            rig.database.number(&sql).await as f64 / 1e6
        };
        let elapsed = now.duration_since(before.0).as_secs_f64();
        let rate = if elapsed > 0.1 { (handled - before.1) as f64 / elapsed } else { 0.0 };
        before = (now, handled);
        let (outbox, inbox) = (size("outbox").await, size("inbox").await);
        let second = now.duration_since(begun).as_secs();
        eprintln!(
            "{name:>9} {second:>5} s  outbox {outbox:>8.1} MB  inbox {inbox:>8.1} MB  {rate:>7.0} messages/s"
        );
        samples.push(Sample { second, outbox, inbox, rate });
    }
    samples
}
