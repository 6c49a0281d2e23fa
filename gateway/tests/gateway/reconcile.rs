//! Dispatches whose start the broker may have lost.

use std::time::Duration;

use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{rig::Rig, saga};

on_both_databases!(
    what_the_broker_has_lost_is_sent_again_and_what_has_begun_is_not,
    what_waits_in_the_outbox_is_not_sent_twice,
    what_is_new_is_left_alone,
);

const MARKED: &str = "SELECT dispatch_id FROM dispatches WHERE saga_started_at IS NOT NULL";
const MESSAGES: &str = "SELECT message_id || '|' || causation_id FROM outbox ORDER BY message_id";
/// Every dispatch is named in the order of its acceptance; the last one to be looked at is marked.
const LATE: Duration = Duration::from_secs(31);

async fn what_the_broker_has_lost_is_sent_again_and_what_has_begun_is_not(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let lost = rig.accepted("lost").await;
    let begun = rig.accepted("begun").await;
    let body = rig.database.query("SELECT body FROM outbox WHERE causation_id = 'm-lost'").await;
    let body: Vec<u8> = body[0].try_get_by_index(0).unwrap();
    // Both were published and confirmed; then the broker lost what it held.
    rig.database.execute("DELETE FROM outbox").await;
    saga::stands(&rig.database, &begun, "RUNNING", "RUNNING,PENDING,PENDING,PENDING", 1).await;
    rig.clock.advance(LATE);
    let rig = rig.restart().await;
    rig.until("the mark", async || rig.database.texts(MARKED).await == [begun.clone()]).await;
    assert_eq!(rig.database.texts(MESSAGES).await, [format!("{lost}|m-lost")]);
    let again = rig.database.query("SELECT body FROM outbox").await;
    assert_eq!(again[0].try_get_by_index::<Vec<u8>>(0).unwrap(), body);
    rig.end().await;
}

async fn what_waits_in_the_outbox_is_not_sent_twice(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let waiting = rig.accepted("waiting").await;
    let begun = rig.accepted("begun").await;
    saga::stands(&rig.database, &begun, "RUNNING", "RUNNING,PENDING,PENDING,PENDING", 1).await;
    rig.clock.advance(LATE);
    let rig = rig.restart().await;
    // Marked in the same transaction that would have sent the other one again.
    rig.until("the mark", async || rig.database.texts(MARKED).await == [begun.clone()]).await;
    let again = format!("SELECT count(*) FROM outbox WHERE message_id = '{waiting}'");
    assert_eq!(rig.database.number(&again).await, 1);
    rig.end().await;
}

async fn what_is_new_is_left_alone(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let begun = rig.accepted("begun").await;
    saga::stands(&rig.database, &begun, "RUNNING", "RUNNING,PENDING,PENDING,PENDING", 1).await;
    rig.clock.advance(LATE);
    rig.accepted("new").await;
    rig.database.execute("DELETE FROM outbox").await;
    let rig = rig.restart().await;
    rig.until("the mark", async || rig.database.texts(MARKED).await == [begun.clone()]).await;
    assert_eq!(rig.database.number("SELECT count(*) FROM outbox").await, 0);
    rig.end().await;
}
