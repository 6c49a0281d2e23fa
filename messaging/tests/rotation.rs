//! Outbox and inbox stay small, whatever snapshot somebody holds, and lose nothing when they change slots.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]
#![allow(unreachable_pub, dead_code, reason = "the rig serves several test crates")]

mod rig;

use std::time::{Duration, Instant};

use rig::{Append, Recorder, Rig, message};
use sea_orm::{AccessMode, ConnectionTrait, DatabaseTransaction, IsolationLevel, TransactionTrait};
use waybill_messaging::{Outgoing, inbox};
use waybill_test_support::{
    TestDatabase,
    patience::{PATIENCE, until},
    session,
};

/// Heap and indexes of the outbox, all slots.
const SIZE: &str = "SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits \
                    WHERE inhparent = 'outbox'::regclass";
const PER_ROUND: usize = 500;

/// A session that holds a snapshot from now on, after it has run `first` in it.
async fn old_snapshot(database: &TestDatabase, first: &str) -> DatabaseTransaction {
    let session = session(database.url()).await;
    let (level, mode) = (Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly));
    let begun = session.begin_with_config(level, mode).await.unwrap();
    begun.execute_unprepared(first).await.unwrap();
    begun
}

fn page(round: usize) -> Vec<Outgoing> {
    (0..PER_ROUND).map(|n| message(&format!("{round}-{n}"))).collect()
}

/// Sends page after page through the outbox until it takes less room than before. Panics when it only grows:
/// how soon a slot is closed and truncated depends on when PostgreSQL is told of dead rows, how many pages
/// that is depends on the machine.
async fn send_until_it_shrinks(rig: &Rig) {
    let (mut sizes, begun) = (vec![0], Instant::now());
    for round in 0.. {
        rig.store.run(Append(page(round))).await.unwrap();
        rig.outbox_holds(0).await;
        let (before, now) = (sizes[round], rig.database.number(SIZE).await);
        if now < before {
            return;
        }
        sizes.push(now);
        assert!(begun.elapsed() < PATIENCE, "never truncated: {sizes:?}");
    }
}

async fn stays_small_while_a_session_has_run(first: &str) {
    let rig = Rig::new(TestDatabase::postgres().await).await;
    let session = old_snapshot(&rig.database, first).await;
    // Without slots it would only grow: dead rows of every page are still visible to the session.
    send_until_it_shrinks(&rig).await;
    let opened = "SELECT count(*) FROM slots WHERE name = 'outbox' AND state = 'OPEN' AND since > 0";
    assert_eq!(rig.database.number(opened).await, 1, "the first slot was closed");
    session.rollback().await.unwrap();
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outbox_stays_small_under_an_old_snapshot() {
    stays_small_while_a_session_has_run("SELECT count(*) FROM dispatches").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outbox_stays_small_under_a_session_that_has_read_the_outbox_itself() {
    stays_small_while_a_session_has_run("SELECT count(*) FROM outbox").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_and_parked_rows_survive_a_change_of_slots() {
    let rig = Rig::new(TestDatabase::postgres().await).await;
    let later = rig.clock.now().plus(Duration::from_hours(1));
    let nowhere = Outgoing { routing_key: "nowhere".to_owned(), ..message("parked") };
    rig.send(vec![message("delayed").available_at(later), nowhere]).await;
    let parked = "SELECT count(*) FROM outbox WHERE state = 'UNROUTABLE'";
    until("parked", async || rig.database.number(parked).await == 1).await;
    let moved = "SELECT count(*) FROM outbox WHERE message_id IN ('delayed', 'parked') AND slot <> 0";
    let mut round = 0;
    while rig.database.number(moved).await < 2 {
        rig.store.run(Append(page(round))).await.unwrap();
        rig.outbox_holds(2).await;
        round += 1;
    }
    let tap = rig.broker.tap("dispatch", "nowhere").await;
    rig.outbox_holds(1).await;
    assert_eq!(rig.broker.take(&tap).await.unwrap().data, b"parked", "probed where it is now");
    rig.database.execute("UPDATE outbox SET lease_until = 0, available_at = 0").await;
    rig.outbox_holds(0).await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inbox_forgets_whole_slots_even_under_an_old_snapshot() {
    let mut rig = Rig::new(TestDatabase::postgres().await).await;
    let (handler, _told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    let session = old_snapshot(&rig.database, "SELECT count(*) FROM dispatches").await;
    rig.tasks.spawn(inbox::keep(rig.store.clone(), Duration::from_secs(2), rig.stop.clone()));
    rig.send((0..100).map(|n| message(&n.to_string())).collect()).await;
    let rows = "SELECT count(*) FROM inbox";
    until("handled", async || rig.database.number(rows).await == 100).await;
    until("forgotten", async || rig.database.number(rows).await == 0).await;
    let heap =
        "SELECT sum(pg_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = 'inbox'::regclass";
    assert_eq!(rig.database.number(heap).await, 0, "nothing of them is left on disk");
    rig.send(vec![message("after")]).await;
    until("handled", async || rig.database.number(rows).await == 1).await;
    session.rollback().await.unwrap();
    rig.end().await;
}
