//! Dispatches whose start, or whose cancel request, the broker may have lost.

use std::time::Duration;

use waybill_gateway::Settings;
use waybill_proto::v1;
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};

use crate::{
    rig::{Rig, settings},
    saga,
};

on_both_databases!(
    what_the_broker_has_lost_is_sent_again_and_what_has_begun_is_not,
    what_waits_in_the_outbox_is_not_sent_twice,
    what_is_new_is_left_alone,
    what_is_parked_for_the_end_of_a_pause_is_not_sent_again,
    a_cancel_request_that_the_broker_forgets_is_sent_again,
    a_cancel_request_that_waits_in_the_outbox_is_not_sent_twice,
    a_cancel_request_is_kept_until_the_saga_has_decided_it,
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
    until("the mark", async || rig.database.texts(MARKED).await == [begun.clone()]).await;
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
    until("the mark", async || rig.database.texts(MARKED).await == [begun.clone()]).await;
    let again = format!("SELECT count(*) FROM outbox WHERE message_id = '{waiting}'");
    assert_eq!(rig.database.number(&again).await, 1);
    rig.end().await;
}

async fn what_is_parked_for_the_end_of_a_pause_is_not_sent_again(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let parked = rig.accepted("parked").await;
    let begun = rig.accepted("begun").await;
    rig.database.execute("DELETE FROM outbox").await;
    let body = if rig.database.is_postgres() { "''" } else { "zeroblob(0)" };
    let park = format!(
        "INSERT INTO saga_parked (dispatch_id, message_id, type, body, traceparent, tracestate, definition, \
         definition_version, definition_hash, parked_at, held_by) VALUES ('{parked}', '{parked}', '', {body}, \
         '', '', '', 1, '', 0, 'all')"
    );
    rig.database.execute(&park).await;
    saga::stands(&rig.database, &begun, "RUNNING", "RUNNING,PENDING,PENDING,PENDING", 1).await;
    rig.clock.advance(LATE);
    let rig = rig.restart().await;
    until("the mark", async || rig.database.texts(MARKED).await == [begun.clone()]).await;
    assert_eq!(rig.database.number("SELECT count(*) FROM outbox").await, 0);
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
    until("the mark", async || rig.database.texts(MARKED).await == [begun.clone()]).await;
    assert_eq!(rig.database.number("SELECT count(*) FROM outbox").await, 0);
    rig.end().await;
}

const KEPT: &str = "SELECT dispatch_id FROM dispatches WHERE cancel_requested_at IS NOT NULL ORDER BY 1";

/// A rig that does not wait for the saga, and the dispatches of these names, asked to be undone.
async fn cancelling<const N: usize>(database: TestDatabase, names: [&str; N]) -> (Rig, [String; N]) {
    let rig = Rig::with(database, Settings { cancel_wait: Duration::ZERO, ..settings() }).await;
    let mut ids = names.map(str::to_owned);
    for id in &mut ids {
        *id = rig.accepted(id).await;
        saga::stands(&rig.database, id, "RUNNING", "RUNNING,PENDING,PENDING,PENDING", 1).await;
        let request = v1::CancelDispatchRequest { dispatch_id: id.clone(), reason: "too late".into() };
        rig.client.clone().cancel_dispatch(request).await.unwrap();
    }
    (rig, ids)
}

async fn a_cancel_request_that_the_broker_forgets_is_sent_again(database: TestDatabase) {
    let (rig, [lost]) = cancelling(database, ["lost"]).await;
    let sql = "SELECT body FROM outbox WHERE type = 'dispatch.v1.CancelRequested'";
    let first: Vec<u8> = rig.database.query(sql).await[0].try_get_by_index(0).unwrap();
    rig.database.execute("DELETE FROM outbox").await;
    rig.clock.advance(LATE);
    let rig = rig.restart().await;
    until("the message", async || rig.database.number("SELECT count(*) FROM outbox").await == 1).await;
    assert_eq!(rig.database.texts(MESSAGES).await, [format!("{lost}:cancel|")]);
    let again: Vec<u8> = rig.database.query(sql).await[0].try_get_by_index(0).unwrap();
    assert_eq!(again, first);
    assert_eq!(rig.database.texts(KEPT).await, [lost]);
    rig.end().await;
}

async fn a_cancel_request_that_waits_in_the_outbox_is_not_sent_twice(database: TestDatabase) {
    let (rig, [waiting, decided]) = cancelling(database, ["waiting", "decided"]).await;
    saga::stands(&rig.database, &decided, "COMPENSATING", "COMPENSATING,PENDING,PENDING,PENDING", 2).await;
    rig.clock.advance(LATE);
    let rig = rig.restart().await;
    // Forgotten in the same transaction that would have sent the other one again.
    until("the mark", async || rig.database.texts(KEPT).await == [waiting.clone()]).await;
    let again = format!("SELECT count(*) FROM outbox WHERE message_id = '{waiting}:cancel'");
    assert_eq!(rig.database.number(&again).await, 1);
    rig.end().await;
}

async fn a_cancel_request_is_kept_until_the_saga_has_decided_it(database: TestDatabase) {
    let (rig, ids) =
        cancelling(database, ["open", "back", "cancelled", "forward", "completed", "stuck"]).await;
    let [open, back, cancelled, forward, completed, stuck] = &ids;
    for (id, state, steps) in [
        (back, "COMPENSATING", "COMPENSATING,IN_DOUBT,PENDING,PENDING"),
        (cancelled, "COMPENSATED", "COMPENSATED,PENDING,PENDING,PENDING"),
        (forward, "RUNNING", "DONE,DONE,DONE,RUNNING"),
        (completed, "COMPLETED", "DONE,DONE,DONE,DONE"),
        (stuck, "STUCK", "COMPENSATING,REFUSED,PENDING,PENDING"),
    ] {
        saga::stands(&rig.database, id, state, steps, 2).await;
    }
    rig.database.execute("DELETE FROM outbox").await;
    rig.clock.advance(LATE);
    let rig = rig.restart().await;
    until("the marks", async || rig.database.texts(KEPT).await == [open.clone()]).await;
    assert_eq!(rig.database.texts(MESSAGES).await, [format!("{open}:cancel|")], "only that one is sent");
    rig.end().await;
}
