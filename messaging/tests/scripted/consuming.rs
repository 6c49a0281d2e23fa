//! Subscriptions that end in every way there is.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc};
use waybill_messaging::{Envelope, Failure, Handler, Outcome, Received, StoreError, Tx};
use waybill_test_support::{
    TestDatabase,
    fake_broker::{Acknowledgement, Subscription},
    on_both_databases,
    patience::in_time,
};

use crate::stage::Stage;

on_both_databases!(
    however_a_subscription_ends_another_is_made_and_health_tells,
    a_subscription_that_the_broker_has_forgotten_is_made_anew,
    deliveries_that_come_just_before_the_end_are_handled_and_another_subscription_is_made,
    a_channel_that_closes_between_delivery_and_acknowledgement_is_acknowledged_on_the_next_one,
);

const TOO_SLOW: &str = "PRECONDITION_FAILED - delivery acknowledgement timed out";

/// Tells which messages it has been given, waits until it may go on, and leaves a row for each.
struct Gated {
    given: mpsc::UnboundedSender<Vec<String>>,
    gate: Arc<Semaphore>,
}

impl Gated {
    fn new(permits: usize) -> (Self, Arc<Semaphore>, mpsc::UnboundedReceiver<Vec<String>>) {
        let (given, told) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(permits));
        (Self { given, gate: Arc::clone(&gate) }, gate, told)
    }
}

impl Handler for Gated {
    type Message = String;

    fn inbox(&self) -> Option<&'static str> {
        Some("order")
    }

    fn parse(&self, envelope: &Envelope) -> Result<String, Failure> {
        Ok(envelope.message_id.clone())
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<String>]) -> Result<Vec<Outcome>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let _ = self.given.send(batch.iter().map(|received| received.message.clone()).collect());
        self.gate.acquire().await.expect("never closed").forget();
        for received in batch {
            let sql = "INSERT INTO deliveries (dispatch_id, order_id, destination_code, parcel_count, state, reason, \
                       created_at, updated_at) VALUES ($1, '', '', 1, 'CREATED', '', $2, $2)";
            tx.execute(sql, vec![received.message.as_str().into(), tx.now().micros().into()]).await?;
        }
        Ok(vec![Outcome::default(); batch.len()])
    }
}

async fn acknowledgement(stage: &mut Stage) -> Acknowledgement {
    in_time("an acknowledgement", stage.heard.acknowledgements.recv()).await.expect("the broker lives")
}

async fn effects(stage: &Stage) -> Vec<String> {
    stage.database.texts("SELECT dispatch_id FROM deliveries ORDER BY 1").await
}

/// A way in which a subscription ends.
type End = fn(&Subscription);

async fn however_a_subscription_ends_another_is_made_and_health_tells(database: TestDatabase) {
    let mut stage = Stage::by_hand_off(database).await;
    let (handler, _gate, _told) = Gated::new(100);
    stage.consume(handler);
    let mut subscription = stage.subscription().await;
    let ends: [End; 7] = [
        // Its queue was deleted, or has lost its leader, or (RabbitMQ 4.3) it was too slow.
        |subscription| subscription.cancel(),
        // It was too slow (before RabbitMQ 4.3).
        |subscription| subscription.close_channel(406, TOO_SLOW),
        |subscription| subscription.close_channel(541, "INTERNAL_ERROR"),
        |subscription| subscription.close_channel(200, "goodbye"),
        |subscription| subscription.line.close(320, "CONNECTION_FORCED"),
        |subscription| subscription.line.close(200, "goodbye"),
        |subscription| subscription.line.cut(),
    ];
    for (round, end) in (1..).zip(ends) {
        subscription.accept();
        stage.up("order").await;
        assert_eq!(subscription.queue, "order");
        subscription.deliver(1, "order.command", &format!("m-{round}"));
        assert_eq!(acknowledgement(&mut stage).await.connection, subscription.line.id());
        end(&subscription);
        subscription = stage.subscription().await;
        stage.down("order", "").await;
        assert_eq!(effects(&stage).await.len(), round);
    }
    subscription.accept();
    stage.up("order").await;
    stage.up("broker-consume").await;
    stage.end().await;
}

/// As RabbitMQ does when a queue is deleted and somebody declares it again at once: nobody tells its consumer.
async fn a_subscription_that_the_broker_has_forgotten_is_made_anew(database: TestDatabase) {
    let mut stage = Stage::by_hand_off(database).await;
    let (handler, _gate, _told) = Gated::new(1);
    stage.consume_renewing(Duration::from_secs(1), handler);
    let forgotten = stage.subscription().await;
    forgotten.accept();
    stage.up("order").await;
    let renewed = stage.subscription().await;
    assert_eq!(renewed.queue, "order");
    renewed.accept();
    renewed.deliver(1, "order.command", "m-1");
    assert_eq!(acknowledgement(&mut stage).await.channel, renewed.channel);
    assert_eq!(effects(&stage).await, ["m-1"]);
    stage.end().await;
}

async fn deliveries_that_come_just_before_the_end_are_handled_and_another_subscription_is_made(
    database: TestDatabase,
) {
    let mut stage = Stage::by_hand_off(database).await;
    let (handler, gate, mut told) = Gated::new(0);
    stage.consume(handler);
    let subscription = stage.subscription().await;
    subscription.accept();
    subscription.deliver(1, "order.command", "m-1");
    assert_eq!(told.recv().await.unwrap(), ["m-1"]);
    // While the first is being handled: the next batch ends with the end of the subscription.
    subscription.deliver(2, "order.command", "m-2");
    subscription.deliver(3, "order.command", "m-3");
    subscription.cancel();
    gate.add_permits(1);
    assert_eq!(acknowledgement(&mut stage).await.tag, 1);
    gate.add_permits(10);
    while acknowledgement(&mut stage).await.tag < 3 {}
    let next = stage.subscription().await;
    next.accept();
    next.deliver(1, "order.command", "m-4");
    assert_eq!(acknowledgement(&mut stage).await.channel, next.channel);
    assert_eq!(effects(&stage).await, ["m-1", "m-2", "m-3", "m-4"]);
    stage.end().await;
}

async fn a_channel_that_closes_between_delivery_and_acknowledgement_is_acknowledged_on_the_next_one(
    database: TestDatabase,
) {
    let mut stage = Stage::by_hand_off(database).await;
    let (handler, gate, mut told) = Gated::new(0);
    stage.consume(handler);
    let first = stage.subscription().await;
    first.accept();
    first.deliver(1, "order.command", "m-1");
    assert_eq!(told.recv().await.unwrap(), ["m-1"]);
    first.close_channel(406, TOO_SLOW);
    let closed = in_time("the close is known", stage.heard.closed.recv()).await.unwrap();
    assert_eq!(closed, (first.line.id(), first.channel));
    // Handled and committed, and nobody to say it to.
    gate.add_permits(10);
    let second = stage.subscription().await;
    second.accept();
    second.deliver(1, "order.command", "m-1");
    let acknowledged = acknowledgement(&mut stage).await;
    assert_eq!((acknowledged.connection, acknowledged.tag), (second.line.id(), 1));
    assert_eq!(effects(&stage).await, ["m-1"]);
    stage.end().await;
}
