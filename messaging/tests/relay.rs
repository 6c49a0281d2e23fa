//! The relay on real servers: confirmed, returned, refused and unknown publications.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]
#![allow(unreachable_pub, dead_code, reason = "the rig serves several test crates")]

mod rig;

use std::time::Duration;

use rig::{Append, Rig, message, relay_settings, store_settings};
use waybill_messaging::{Clock, Failure, Store, StoreError, Timestamp, Transaction, Tx, outbox, relay};
use waybill_test_support::{TestBroker, TestDatabase, on_both_databases, patience::until};

on_both_databases!(
    what_is_committed_is_published_and_its_row_goes,
    what_is_rolled_back_is_never_published,
    an_unroutable_message_is_parked_and_goes_out_when_the_binding_is_back,
    one_bad_row_does_not_hold_up_another,
    a_returned_message_is_known_by_what_went_over_the_wire,
    a_message_that_the_broker_refuses_is_tried_again_and_parked_in_the_end,
    thousands_of_unroutable_messages_hold_up_nobody_and_all_go_out_when_the_binding_is_back,
    a_stranger_with_many_routing_keys_keeps_none_from_its_turn,
    rows_of_a_dead_process_are_taken_over_when_their_lease_ends,
    a_stalled_relay_cannot_clear_a_row_that_another_has_claimed,
    a_delayed_message_waits_for_its_moment,
    a_burst_beyond_the_window_and_the_memory_bound_arrives_whole,
);

async fn what_is_committed_is_published_and_its_row_goes(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let mut sent = message("m-1");
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        .clone_into(&mut sent.envelope.trace.traceparent);
    "cause".clone_into(&mut sent.envelope.causation_id);
    let tap = rig.broker.tap("dispatch", "order.command").await;
    rig.send(vec![sent]).await;
    rig.outbox_holds(0).await;
    let got = rig.broker.take(&tap).await.expect("it was routed");
    let properties = &got.properties;
    assert_eq!(got.data, b"m-1");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m-1");
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "d-1");
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "test.v1.Note");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/x-protobuf");
    assert_eq!(properties.reply_to().as_ref().unwrap().as_str(), "saga.reply");
    assert_eq!(properties.app_id().as_ref().unwrap().as_str(), "waybill");
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().as_ref().unwrap().inner();
    for name in ["traceparent", "x-waybill-causation-id", "x-waybill-attempt"] {
        assert!(headers.contains_key(name), "{name} in {headers:?}");
    }
    rig.end().await;
}

struct Abort;

impl Transaction for Abort {
    const NAME: &'static str = "test.abort";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        outbox::append(tx, vec![message("never")]);
        tx.write_later().await?;
        Err(Failure::Permanent("changed its mind".to_owned()).into())
    }
}

async fn what_is_rolled_back_is_never_published(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let tap = rig.broker.tap("dispatch", "order.command").await;
    assert!(rig.store.run(Abort).await.is_err());
    rig.send(vec![message("after")]).await;
    rig.outbox_holds(0).await;
    assert_eq!(rig.broker.take(&tap).await.unwrap().data, b"after");
    assert!(rig.broker.take(&tap).await.is_none());
    rig.end().await;
}

async fn an_unroutable_message_is_parked_and_goes_out_when_the_binding_is_back(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.broker.unbind("order", "dispatch", "order.command").await;
    rig.send(vec![message("m-1")]).await;
    until("parked", async || outbox::depth(&rig.store).await.unwrap().parked == 1).await;
    let error = rig.database.texts("SELECT last_error FROM outbox").await;
    assert!(error[0].contains("no queue takes order.command"), "{error:?}");
    rig.broker.bind("order", "dispatch", "order.command").await;
    rig.outbox_holds(0).await;
    let queue = rig.broker.name("order");
    assert_eq!(rig.broker.take(&queue).await.unwrap().data, b"m-1");
    rig.end().await;
}

/// A queue that has room for one message and refuses the rest.
async fn full_queue(broker: &TestBroker) -> lapin::Connection {
    let connection =
        lapin::Connection::connect(broker.url(), lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = lapin::types::FieldTable::default();
    arguments.insert("x-max-length".into(), lapin::types::AMQPValue::LongInt(1));
    let refuse = lapin::types::AMQPValue::LongString("reject-publish".into());
    arguments.insert("x-overflow".into(), refuse);
    let exclusive = lapin::options::QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare(broker.name("full").into(), exclusive, arguments).await.unwrap();
    let (queue, exchange) = (broker.name("full"), broker.name("dispatch"));
    let options = lapin::options::QueueBindOptions::default();
    let none = lapin::types::FieldTable::default();
    channel.queue_bind(queue.into(), exchange.into(), "full.key".into(), options, none).await.unwrap();
    connection
}

async fn a_message_that_the_broker_refuses_is_tried_again_and_parked_in_the_end(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let _full = full_queue(&rig.broker).await;
    let mut refused = message("refused");
    "full.key".clone_into(&mut refused.routing_key);
    let mut first = refused.clone();
    first.id = message("first").id;
    rig.send(vec![first]).await;
    rig.outbox_holds(0).await;
    rig.send(vec![refused]).await;
    let parked = "SELECT count(*) FROM outbox WHERE state = 'REJECTED' AND publish_attempts = 3";
    until("parked", async || rig.database.number(parked).await == 1).await;
    assert_eq!(rig.database.texts("SELECT last_error FROM outbox").await, ["refused by the broker"]);
    rig.end().await;
}

async fn one_bad_row_does_not_hold_up_another(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let mut nowhere = message("nowhere");
    "no.such.key".clone_into(&mut nowhere.routing_key);
    let mut too_large = message("too-large");
    too_large.envelope.body = vec![0; 20_000].into();
    let good: Vec<_> = (0..100).map(|n| message(&format!("good-{n}"))).collect();
    rig.send([vec![nowhere, too_large], good].concat()).await;
    rig.outbox_holds(2).await;
    let states = rig.database.texts("SELECT state FROM outbox ORDER BY message_id").await;
    assert_eq!(states, ["UNROUTABLE", "REJECTED"]);
    rig.end().await;
}

/// An id may be longer than AMQP carries: what comes back is the short form of it.
async fn a_returned_message_is_known_by_what_went_over_the_wire(database: TestDatabase) {
    let rig = Rig::with(database, TestBroker::new().await, false).await;
    let mut nowhere = message(&"long".repeat(100));
    "no.such.key".clone_into(&mut nowhere.routing_key);
    rig.send(vec![nowhere]).await;
    until("parked", async || outbox::depth(&rig.store).await.unwrap().parked == 1).await;
    rig.end().await;
}

async fn thousands_of_unroutable_messages_hold_up_nobody_and_all_go_out_when_the_binding_is_back(
    database: TestDatabase,
) {
    let rig = Rig::new(database).await;
    rig.broker.unbind("order", "dispatch", "order.command").await;
    for page in 0..6 {
        rig.send((0..500).map(|n| message(&format!("{page}-{n}"))).collect()).await;
    }
    until("parked", async || outbox::depth(&rig.store).await.unwrap().parked == 3_000).await;
    let mut other = message("other");
    "payment.command".clone_into(&mut other.routing_key);
    rig.send(vec![other]).await;
    rig.outbox_holds(3_000).await;
    rig.broker.bind("order", "dispatch", "order.command").await;
    rig.outbox_holds(0).await;
    let (queue, mut count) = (rig.broker.name("order"), 0);
    while rig.broker.take(&queue).await.is_some() {
        count += 1;
    }
    assert!(count >= 3_000, "each at least once: {count}");
    rig.end().await;
}

async fn a_stranger_with_many_routing_keys_keeps_none_from_its_turn(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let keys: Vec<_> = (0..150).map(|n| format!("stranger-{n:03}")).collect();
    let sent = keys.iter().map(|key| {
        let mut sent = message(key);
        key.clone_into(&mut sent.routing_key);
        sent
    });
    rig.send(sent.collect()).await;
    until("parked", async || outbox::depth(&rig.store).await.unwrap().parked == 150).await;
    for (left, key) in [(149, "stranger-149"), (148, "stranger-000")] {
        let tap = rig.broker.tap("dispatch", key).await;
        rig.outbox_holds(left).await;
        assert_eq!(rig.broker.next(&tap).await.data, key.as_bytes());
    }
    rig.end().await;
}

/// A process that committed and died: its rows are under lease, and nobody publishes them.
async fn dead_process(database: &TestDatabase, clock: &Clock) {
    let relay = relay::Relay::new(relay_settings());
    let (store, _outcomes) = Store::open(store_settings(database, clock), relay.hand_off()).await.unwrap();
    relay.hand_off().open_for_test();
    store.run(Append(vec![message("orphan")])).await.unwrap();
    store.close().await;
}

async fn rows_of_a_dead_process_are_taken_over_when_their_lease_ends(database: TestDatabase) {
    let long_ago = Clock::stopped_at(Clock::system().now().minus(Duration::from_secs(29)));
    dead_process(&database, &long_ago).await;
    let owners = database.texts("SELECT lease_owner FROM outbox").await;
    assert!(!owners[0].is_empty(), "the dead process held a lease");
    let rig = Rig::new(database).await;
    rig.outbox_holds(0).await;
    let queue = rig.broker.name("order");
    assert_eq!(rig.broker.take(&queue).await.unwrap().data, b"orphan");
    rig.end().await;
}

async fn a_stalled_relay_cannot_clear_a_row_that_another_has_claimed(database: TestDatabase) {
    // Published by hand-off while somebody else takes the row: the confirm must not clear it.
    let rig = Rig::with(database, TestBroker::new().await, false).await;
    rig.database.execute(trigger_steals_lease(rig.database.is_postgres())).await;
    let tap = rig.broker.tap("dispatch", "order.command").await;
    rig.send(vec![message("stolen")]).await;
    until("published", async || rig.broker.take(&tap).await.is_some()).await;
    rig.database.execute("UPDATE outbox SET routing_key = 'order.command'").await;
    assert_eq!(rig.database.number("SELECT count(*) FROM outbox WHERE lease_owner = 'another'").await, 1);
    rig.end().await;
}

/// Gives every new row to another owner, inside the transaction that writes it.
fn trigger_steals_lease(postgres: bool) -> &'static str {
    if postgres {
        "CREATE FUNCTION steal() RETURNS trigger AS $$ BEGIN NEW.lease_owner := 'another'; RETURN NEW; END $$ \
         LANGUAGE plpgsql; CREATE TRIGGER steal BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION steal()"
    } else {
        "CREATE TRIGGER steal AFTER INSERT ON outbox BEGIN UPDATE outbox SET lease_owner = 'another' \
         WHERE id = NEW.id; END"
    }
}

async fn a_delayed_message_waits_for_its_moment(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let tap = rig.broker.tap("dispatch", "order.command").await;
    let later = rig.clock.now().plus(Duration::from_hours(1));
    let soon = rig.clock.now().plus(Duration::from_millis(200));
    rig.send(vec![message("later").available_at(later), message("soon").available_at(soon)]).await;
    rig.outbox_holds(1).await;
    assert!(rig.clock.now() >= soon, "it was not published before its moment");
    assert_eq!(rig.broker.take(&tap).await.unwrap().data, b"soon");
    assert_eq!(outbox::depth(&rig.store).await.unwrap().ready, 0, "a delayed row is not a ready one");
    rig.end().await;
}

async fn a_burst_beyond_the_window_and_the_memory_bound_arrives_whole(database: TestDatabase) {
    let rig = Rig::new(database).await;
    for page in 0..10 {
        rig.send((0..300).map(|n| message(&format!("{page}-{n}"))).collect()).await;
    }
    rig.outbox_holds(0).await;
    let (queue, mut ids) = (rig.broker.name("order"), std::collections::BTreeSet::new());
    while let Some(got) = rig.broker.take(&queue).await {
        ids.insert(String::from_utf8(got.delivery.data).unwrap());
    }
    assert_eq!(ids.len(), 3_000);
    assert_eq!(Timestamp::default().micros(), 0);
    rig.end().await;
}
