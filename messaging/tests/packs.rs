//! Packs on real servers: who takes them, what becomes of those that nobody takes, or that are given up.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]
#![allow(unreachable_pub, dead_code, reason = "the rig serves several test crates")]

mod rig;

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    },
};
use rig::{Recorder, Rig, message, topology};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{
    Backoff, Envelope, Handler, Outgoing, StoreError, Transaction, Tx,
    broker::{self, Broker, Server},
    consumer::{self, BuryBrokerLetters, Consumer},
    dead_letter::{self, DeadLetter, DeadLetterKind},
    topology::{self as names, Topology},
};
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};

on_both_databases!(
    what_waits_for_one_queue_travels_together_and_is_handled_message_by_message,
    packs_that_nobody_takes_go_out_message_by_message,
    a_pack_that_the_broker_gives_up_is_taken_apart,
    the_queue_of_somebody_else_loses_its_packed_binding,
    a_queue_gets_packs_while_all_who_consume_it_read_them,
    packs_are_called_off_and_read_to_the_last_when_nobody_who_reads_them_is_left,
    a_pack_that_another_release_has_buried_is_taken_apart,
);

const PACKED: &str = "order.command.packed";

fn messages(count: usize) -> Vec<Outgoing> {
    (0..count).map(|number| message(&format!("m-{number:03}"))).collect()
}

fn ids(count: usize) -> BTreeSet<String> {
    messages(count).into_iter().map(|message| message.envelope.message_id).collect()
}

/// Everything in queue `order`: ids, and whether each was there once and by itself.
async fn alone_in_queue(rig: &Rig) -> BTreeSet<String> {
    let (queue, mut found) = (rig.broker.name("order"), BTreeSet::new());
    while let Some(delivery) = rig.broker.take(&queue).await {
        let kind = delivery.properties.content_type().as_ref().unwrap();
        assert_eq!(kind.as_str(), "application/x-protobuf", "a message by itself");
        let id = delivery.properties.message_id().as_ref().unwrap().to_string();
        assert!(found.insert(id), "once");
    }
    found
}

async fn what_waits_for_one_queue_travels_together_and_is_handled_message_by_message(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (recorder, mut seen) = Recorder::new(|_| Ok(()));
    rig.consume(recorder).await;
    let tap = rig.broker.tap("dispatch", PACKED).await;
    rig.send(messages(200)).await;
    let mut handled = BTreeSet::new();
    while handled.len() < 200 {
        let seen = seen.recv().await.unwrap();
        assert_eq!(seen.attempt, 1);
        handled.insert(seen.message_id);
    }
    assert_eq!(handled, ids(200));
    until("200 effects", async || rig.database.number("SELECT count(*) FROM deliveries").await == 200).await;
    let inbox = "SELECT count(*) FROM inbox WHERE consumer = 'order'";
    assert_eq!(rig.database.number(inbox).await, 200, "each has a row of its own");
    let pack = rig.broker.take(&tap).await.expect("some travelled together");
    let kind = pack.properties.content_type().as_ref().unwrap();
    assert_eq!(kind.as_str(), "application/x-waybill-pack");
    rig.end().await;
}

async fn packs_that_nobody_takes_go_out_message_by_message(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.send(messages(100)).await;
    rig.outbox_holds(0).await;
    assert_eq!(alone_in_queue(&rig).await, ids(100));
    rig.end().await;
}

async fn a_pack_that_the_broker_gives_up_is_taken_apart(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    rig.broker.bind("order", "dispatch", PACKED).await;
    rig.send(messages(10)).await;
    rig.outbox_holds(0).await;
    give_up_everything_in(&rig, "order").await;
    let bury = BuryBrokerLetters { queue: names::ORDER };
    start(&mut rig, "order.dead", true, bury).await;
    let (queue, mut found) = (rig.broker.name("order"), BTreeSet::new());
    while found.len() < 10 {
        let delivery = rig.broker.next(&queue).await;
        let headers = delivery.properties.headers().as_ref().unwrap().inner();
        let attempt = headers.get("x-waybill-attempt").unwrap();
        assert_eq!(attempt.as_long_int(), Some(2), "and so not in a pack again");
        found.insert(delivery.properties.message_id().as_ref().unwrap().to_string());
    }
    assert_eq!(found, ids(10));
    assert_eq!(rig.database.number("SELECT count(*) FROM dead_letters").await, 0);
    rig.end().await;
}

/// Rejects what is in a queue of ours, as the broker does past the delivery limit. It has to be one pack.
async fn give_up_everything_in(rig: &Rig, queue: &str) {
    let connection = Connection::connect(rig.broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = rig.broker.name(queue);
    let got = channel.basic_get(name.as_str().into(), BasicGetOptions::default()).await.unwrap().unwrap();
    let kind = got.properties.content_type().as_ref().unwrap();
    assert_eq!(kind.as_str(), "application/x-waybill-pack");
    channel.basic_nack(got.delivery_tag, BasicNackOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn the_queue_of_somebody_else_loses_its_packed_binding(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    rig.broker.bind("order", "dispatch", PACKED).await;
    let topology = Topology { external: vec!["order"], ..topology(&rig.broker) };
    let server = Server::at(rig.broker.url().to_owned());
    let settings = broker::Settings { server, topology, declare: true, management: None };
    let (_, supervisor) = Broker::new(settings, "external", rig.health.clone());
    rig.tasks.spawn(supervisor.run(rig.stop.clone()));
    rig.up("external").await;
    rig.send(messages(50)).await;
    rig.outbox_holds(0).await;
    assert_eq!(alone_in_queue(&rig).await, ids(50));
    rig.end().await;
}

/// Starts a consumer of queue `order`, or of its dead letters, and returns what stops it.
async fn start<H: Handler>(rig: &mut Rig, part: &'static str, dead: bool, handler: H) -> CancellationToken {
    let settings = consumer::Settings {
        part,
        queue: names::ORDER,
        dead,
        prefetch: 64,
        batch: 32,
        handler_timeout: Duration::from_secs(20),
        max_attempts: 3,
        retry: Backoff { first: Duration::from_millis(20), most: Duration::from_millis(100) },
        idle: Duration::from_secs(20),
    };
    let (broker, store, health) = (rig.settled.clone(), rig.store.clone(), rig.health.clone());
    let stop = rig.stop.child_token();
    rig.tasks.spawn(Consumer::new(settings, broker, store, handler, health).run(stop.clone()));
    rig.up(part).await;
    stop
}

/// Whether queue `order` takes packs, asked by a message that its consumer then gets.
async fn takes_packs(rig: &Rig) -> bool {
    let connection = Connection::connect(rig.broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (exchange, options) =
        (rig.broker.name("dispatch"), BasicPublishOptions { mandatory: true, immediate: false });
    let id = uuid::Uuid::now_v7().to_string();
    let properties = BasicProperties::default()
        .with_message_id(id.as_str().into())
        .with_content_type("application/x-protobuf".into());
    let publishing = channel
        .basic_publish(exchange.into(), PACKED.into(), options, id.as_bytes(), properties)
        .await
        .unwrap();
    let taken = matches!(publishing.await.unwrap(), Confirmation::Ack(None));
    connection.close(200, "done".into()).await.unwrap();
    taken
}

async fn a_queue_gets_packs_while_all_who_consume_it_read_them(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (recorder, _seen) = Recorder::new(|_| Ok(()));
    rig.consume(recorder).await;
    assert!(takes_packs(&rig).await, "as soon as its consumer is up");
    let mut stranger = rig.broker.consume("order").await;
    until("no packs beside somebody who cannot read them", async || !takes_packs(&rig).await).await;
    rig.send(messages(100)).await;
    let reading = tokio::spawn(async move {
        while let Some(delivery) = stranger.next().await {
            let delivery = delivery.unwrap();
            let kind = delivery.properties.content_type().clone().unwrap();
            assert_eq!(kind.as_str(), "application/x-protobuf");
            delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        }
    });
    rig.outbox_holds(0).await;
    assert!(!reading.is_finished(), "all that it got it could read");
    reading.abort();
    until("packs again", async || takes_packs(&rig).await).await;
    rig.end().await;
}

async fn packs_are_called_off_and_read_to_the_last_when_nobody_who_reads_them_is_left(
    database: TestDatabase,
) {
    let mut rig = Rig::new(database).await;
    rig.broker.bind("order", "dispatch", PACKED).await;
    rig.send(messages(100)).await;
    rig.outbox_holds(0).await;
    let (recorder, mut seen) = Recorder::new(|_| Ok(()));
    let stop = start(&mut rig, "order", false, recorder).await;
    stop.cancel();
    let mut handled = BTreeSet::new();
    while handled.len() < 100 {
        handled.insert(seen.recv().await.unwrap().message_id);
    }
    until("no packs any more", async || !takes_packs(&rig).await).await;
    rig.end().await;
}

struct Bury(DeadLetter);

impl Transaction for Bury {
    const NAME: &'static str = "test.bury";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        dead_letter::bury(tx, &self.0).await
    }
}

async fn a_pack_that_another_release_has_buried_is_taken_apart(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    rig.broker.bind("order", "dispatch", PACKED).await;
    rig.send(messages(10)).await;
    rig.outbox_holds(0).await;
    let pack = rig.broker.next(&rig.broker.name("order")).await;
    rig.broker.unbind("order", "dispatch", PACKED).await;
    for (id, body) in [("pack", pack.delivery.data.clone()), ("junk", b"junk".to_vec())] {
        let envelope =
            Envelope { message_id: id.to_owned(), attempt: 1, body: body.into(), ..Envelope::default() };
        let letter = DeadLetter {
            queue: "order".to_owned(),
            routing_key: PACKED.to_owned(),
            envelope,
            kind: DeadLetterKind::Permanent,
            reason: "unknown type".to_owned(),
        };
        rig.store.run(Bury(letter)).await.unwrap();
    }
    let (recorder, mut seen) = Recorder::new(|_| Ok(()));
    rig.consume(recorder).await;
    let mut handled = BTreeSet::new();
    while handled.len() < 10 {
        let seen = seen.recv().await.unwrap();
        assert_eq!(seen.attempt, 2, "and so not in a pack again");
        handled.insert(seen.message_id);
    }
    assert_eq!(handled, ids(10));
    let dead = rig.database.texts("SELECT message_id FROM dead_letters WHERE state = 'DEAD'").await;
    assert_eq!(dead, ["junk"], "what is no pack stays");
    rig.end().await;
}
