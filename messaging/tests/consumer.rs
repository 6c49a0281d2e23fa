//! The consumer on real servers: duplicates, failures told apart, and what survives a stop.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]
#![allow(unreachable_pub, dead_code, reason = "the rig serves several test crates")]

mod rig;

use std::sync::Arc;

use lapin::BasicProperties;
use rig::{Recorder, Rig, Seen, message};
use waybill_messaging::{Envelope, Failure, Handler, Outcome, Received, StoreError, Tx};
use waybill_test_support::{Proxy, TestDatabase, on_both_databases, patience::until};

on_both_databases!(
    a_repeated_message_has_one_effect_and_gets_the_recorded_reply_again,
    the_same_message_twice_in_one_batch_has_one_effect,
    a_transient_failure_is_tried_again_with_the_attempt_in_the_header,
    a_message_that_keeps_failing_is_buried_after_its_attempts,
    a_permanent_failure_is_buried_at_once_without_a_partial_effect,
    a_failure_of_a_run_without_locks_is_decided_again_with_them,
    one_poison_message_in_a_batch_does_not_spoil_the_others,
    a_malformed_message_is_buried_with_its_body,
    a_panicking_handler_counts_as_a_transient_failure,
    a_deleted_queue_is_declared_and_consumed_again,
    a_consumer_comes_back_however_often_its_connection_breaks_under_an_acknowledgement,
);

fn seen(message_id: &str, attempt: u32) -> Seen {
    Seen { message_id: message_id.to_owned(), attempt }
}

async fn effects(rig: &Rig) -> Vec<String> {
    rig.database.texts("SELECT dispatch_id FROM deliveries ORDER BY 1").await
}

async fn buried(rig: &Rig, count: i64) {
    let sql = "SELECT count(*) FROM dead_letters";
    until("buried", async || rig.database.number(sql).await == count).await;
}

async fn a_repeated_message_has_one_effect_and_gets_the_recorded_reply_again(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, _told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    let replies = rig.broker.tap("dispatch", "saga.reply").await;
    for _ in 0..3 {
        rig.send(vec![message("m-1")]).await;
    }
    for _ in 0..3 {
        until("a reply", async || {
            let Some(reply) = rig.broker.take(&replies).await else { return false };
            assert_eq!(reply.properties.message_id().as_ref().unwrap().as_str(), "m-1:reply");
            assert_eq!(reply.data, b"noted");
            true
        })
        .await;
    }
    assert_eq!(effects(&rig).await, ["m-1"]);
    rig.end().await;
}

async fn the_same_message_twice_in_one_batch_has_one_effect(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    rig.send(vec![message("m-1"), message("m-1"), message("m-2")]).await;
    rig.outbox_holds(0).await;
    let (handler, _told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    let replies = "SELECT count(*) FROM inbox";
    until("handled", async || rig.database.number(replies).await == 2).await;
    assert_eq!(effects(&rig).await, ["m-1", "m-2"]);
    rig.end().await;
}

async fn a_transient_failure_is_tried_again_with_the_attempt_in_the_header(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, mut told) = Recorder::new(|envelope| {
        if envelope.attempt < 3 { Err(Failure::Transient("not yet".to_owned())) } else { Ok(()) }
    });
    rig.consume(handler).await;
    rig.send(vec![message("m-1")]).await;
    for attempt in 1..=3 {
        assert_eq!(told.recv().await.unwrap(), seen("m-1", attempt));
    }
    until("the effect", async || effects(&rig).await == ["m-1"]).await;
    assert_eq!(rig.database.number("SELECT count(*) FROM dead_letters").await, 0);
    rig.end().await;
}

async fn a_message_that_keeps_failing_is_buried_after_its_attempts(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, mut told) = Recorder::new(|_| Err(Failure::Transient("never".to_owned())));
    rig.consume(handler).await;
    rig.send(vec![message("m-1")]).await;
    buried(&rig, 1).await;
    let mut attempts = Vec::new();
    while let Ok(seen) = told.try_recv() {
        attempts.push(seen.attempt);
    }
    assert_eq!(attempts, [1, 2, 3]);
    let letter = rig.database.texts("SELECT kind || ' ' || reason || ' ' || queue FROM dead_letters").await;
    assert_eq!(letter, ["EXHAUSTED never order"]);
    rig.end().await;
}

async fn a_permanent_failure_is_buried_at_once_without_a_partial_effect(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, mut told) = Recorder::new(|_| Err(Failure::Permanent("invalid".to_owned())));
    rig.consume(handler).await;
    rig.send(vec![message("m-1")]).await;
    buried(&rig, 1).await;
    assert_eq!(told.recv().await.unwrap(), seen("m-1", 1));
    assert!(told.try_recv().is_err(), "tried once");
    assert_eq!(effects(&rig).await, Vec::<String>::new());
    rig.end().await;
}

/// Fails as long as it has no locks.
struct Hasty(Recorder);

impl Handler for Hasty {
    type Message = String;

    fn inbox(&self) -> Option<&'static str> {
        self.0.inbox()
    }

    fn is_optimistic(&self) -> bool {
        true
    }

    fn parse(&self, envelope: &Envelope) -> Result<String, Failure> {
        self.0.parse(envelope)
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<String>]) -> Result<Vec<Outcome>, StoreError> {
        if tx.is_optimistic() {
            return Err(Failure::Permanent("what was read does not fit together".to_owned()).into());
        }
        self.0.apply(tx, batch).await
    }
}

async fn a_failure_of_a_run_without_locks_is_decided_again_with_them(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, _told) = Recorder::new(|_| Ok(()));
    rig.consume(Hasty(handler)).await;
    rig.send(vec![message("m-1")]).await;
    until("handled", async || rig.database.number("SELECT count(*) FROM inbox").await == 1).await;
    assert_eq!(effects(&rig).await, ["m-1"]);
    buried(&rig, 0).await;
    rig.end().await;
}

async fn one_poison_message_in_a_batch_does_not_spoil_the_others(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    rig.send((0..20).map(|n| message(&format!("m-{n:02}"))).collect()).await;
    rig.outbox_holds(0).await;
    let (handler, _told) = Recorder::new(|envelope| match envelope.message_id.as_str() {
        "m-07" => Err(Failure::Permanent("poison".to_owned())),
        _ => Ok(()),
    });
    rig.consume(handler).await;
    until("the rest", async || effects(&rig).await.len() == 19).await;
    buried(&rig, 1).await;
    assert_eq!(rig.database.texts("SELECT message_id FROM dead_letters").await, ["m-07"]);
    rig.end().await;
}

async fn a_malformed_message_is_buried_with_its_body(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, mut told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    let properties =
        BasicProperties::default().with_message_id("bad\0id".into()).with_type("test.v1.Note".into());
    rig.broker.publish("dispatch", "order.command", &[0xff, 0xfe], properties).await;
    rig.broker.publish("dispatch", "order.command", b"no id", BasicProperties::default()).await;
    buried(&rig, 2).await;
    let kinds = rig.database.texts("SELECT reason FROM dead_letters ORDER BY reason").await;
    assert!(kinds[0].starts_with("malformed"), "{kinds:?}");
    assert_eq!(kinds[1], "the message carries no message_id");
    assert_eq!(rig.database.number("SELECT length(body) FROM dead_letters ORDER BY reason LIMIT 1").await, 2);
    assert!(told.try_recv().is_err(), "no handler saw it");
    rig.end().await;
}

async fn a_panicking_handler_counts_as_a_transient_failure(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, mut told) = Recorder::new(|envelope| {
        assert!(envelope.attempt > 1, "a bug that shows at the first attempt only");
        Ok(())
    });
    rig.consume(handler).await;
    rig.send(vec![message("m-1")]).await;
    until("the effect", async || effects(&rig).await == ["m-1"]).await;
    assert_eq!((told.recv().await.unwrap(), told.recv().await.unwrap()), (seen("m-1", 1), seen("m-1", 2)));
    rig.end().await;
}

async fn a_deleted_queue_is_declared_and_consumed_again(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, mut told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    rig.broker.delete("order").await;
    rig.send(vec![message("m-1")]).await;
    assert_eq!(told.recv().await.unwrap(), seen("m-1", 1));
    rig.end().await;
}

/// Each message breaks the connection while it is handled, so that its acknowledgement meets every moment of
/// the connection's end.
async fn a_consumer_comes_back_however_often_its_connection_breaks_under_an_acknowledgement(
    database: TestDatabase,
) {
    const MESSAGES: usize = 60;
    let mut rig = Rig::new(database).await;
    let proxy = Arc::new(Proxy::for_url(rig.broker.url()).await);
    let breaking = Arc::clone(&proxy);
    let (handler, _told) = Recorder::new(move |_| {
        breaking.cut();
        Ok(())
    });
    rig.consume_by(&proxy, handler).await;
    rig.send((0..MESSAGES).map(|n| message(&format!("m-{n:02}"))).collect()).await;
    until("every effect", async || effects(&rig).await.len() == MESSAGES).await;
    rig.end().await;
}
