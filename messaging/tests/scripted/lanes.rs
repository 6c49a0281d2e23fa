//! A queue that confirms nothing, beside others that do.

use std::{collections::BTreeSet, time::Duration};

use waybill_messaging::Outgoing;
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};

use crate::{rig::message, stage::Stage};

on_both_databases!(
    an_answer_speaks_for_its_own_queue_alone,
    a_queue_that_confirms_nothing_does_not_hold_up_another,
);

const ORDER: &str = "order.command";
const PAYMENT: &str = "payment.command";

fn messages(key: &str, name: &str, count: usize) -> Vec<Outgoing> {
    let mut messages: Vec<_> = (0..count).map(|n| message(&format!("{name}-{n:04}"))).collect();
    for message in &mut messages {
        key.clone_into(&mut message.routing_key);
    }
    messages
}

/// Waits until nothing for this routing key is left in the outbox.
async fn gone(stage: &Stage, key: &str) {
    let left = format!("SELECT count(*) FROM outbox WHERE routing_key = '{key}'");
    until(key, async || stage.database.number(&left).await == 0).await;
}

async fn an_answer_speaks_for_its_own_queue_alone(database: TestDatabase) {
    let mut stage = Stage::by_hand_off(database).await;
    stage.send([messages(ORDER, "o", 3), messages(PAYMENT, "p", 3)].concat()).await;
    let publications = stage.publications(6).await;
    let (orders, payments): (Vec<_>, Vec<_>) =
        publications.into_iter().partition(|publication| publication.routing_key == ORDER);
    payments.last().unwrap().ack_all();
    stage.outbox_holds(3).await;
    assert_eq!(stage.outbox().await, ["o-0000 READY", "o-0001 READY", "o-0002 READY"]);
    orders.last().unwrap().ack_all();
    stage.outbox_holds(0).await;
    stage.end().await;
}

async fn a_queue_that_confirms_nothing_does_not_hold_up_another(database: TestDatabase) {
    let mut stage = Stage::with(database, true, |relay| {
        (relay.window, relay.hand_off) = (32, 128);
        relay.confirm_timeout = Duration::from_secs(3);
        relay.lease = Duration::from_secs(5);
    })
    .await;
    stage.broker.confirm(PAYMENT);
    // More than the window and the memory of a lane hold.
    for page in 0..10 {
        stage.send(messages(ORDER, &format!("o-{page}"), 100)).await;
    }
    let (mut page, mut unanswered) = (0, 0);
    let (mut lines, mut channels) = (BTreeSet::new(), BTreeSet::new());
    // Until the silent queue has been given up twice.
    while channels.len() < 3 {
        stage.send(messages(PAYMENT, &format!("p-{page}"), 50)).await;
        gone(&stage, PAYMENT).await;
        page += 1;
        while let Ok(publication) = stage.heard.publications.try_recv() {
            lines.insert(publication.line.id());
            if publication.routing_key == ORDER {
                channels.insert(publication.channel);
                unanswered += 1;
            }
        }
    }
    stage.down("relay", "order: publish: no confirm in time").await;
    assert_eq!(lines.len(), 1, "nobody else's connection was given up");
    assert!(unanswered < 32 + 5, "what it does not answer does not pile up: {unanswered}");
    assert_eq!(stage.outbox().await.len(), 1_000, "no order was cleared");
    stage.broker.confirm(ORDER);
    stage.outbox_holds(0).await;
    stage.up("relay").await;
    stage.end().await;
}
