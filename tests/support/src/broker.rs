//! The broker as a test sees it: names of its own, and a look from outside.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::FieldTable,
};
use uuid::Uuid;

use crate::{patience::in_time, provided};

const QUEUES: [&str; 8] =
    ["saga", "order", "payment", "dispatch", "saga.dead", "order.dead", "payment.dead", "dispatch.dead"];

/// A connection to the broker that `WAYBILL_TEST_AMQP_URL` names, and a prefix that is this test's own.
pub struct TestBroker {
    url: String,
    prefix: String,
    connection: Connection,
    channel: Channel,
}

impl TestBroker {
    /// Connects, with a new prefix.
    pub async fn new() -> Self {
        Self::at(&provided("WAYBILL_TEST_AMQP_URL")).await
    }

    /// Connects to the broker at `url`, with a new prefix.
    pub async fn at(url: &str) -> Self {
        let connection =
            Connection::connect(url, ConnectionProperties::default()).await.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { url: url.to_owned(), prefix: format!("t{}.", Uuid::now_v7().simple()), connection, channel }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What stands before every name of this test.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Full name of an exchange or queue.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Publishes as a stranger would, and waits for the confirm.
    pub async fn publish(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let (exchange, options) =
            (self.name(exchange), BasicPublishOptions { mandatory: true, immediate: false });
        let publishing = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        let confirm = publishing.await.expect("published").await.expect("confirmed");
        assert!(matches!(confirm, lapin::Confirmation::Ack(None)), "not routed: {confirm:?}");
    }

    /// A new queue that gets a copy of what `exchange` routes by `key`.
    pub async fn tap(&self, exchange: &str, key: &str) -> String {
        let queue = self.name(&format!("tap.{}", Uuid::now_v7().simple()));
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declaring = self.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        declaring.await.expect("a queue");
        self.bind_full(&queue, exchange, key).await;
        queue
    }

    /// Binds a queue of ours.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.bind_full(&self.name(queue), exchange, key).await;
    }

    async fn bind_full(&self, queue: &str, exchange: &str, key: &str) {
        let (exchange, options) = (self.name(exchange), QueueBindOptions::default());
        let binding = self.channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        binding.await.expect("bound");
    }

    /// Takes a binding of ours away.
    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) {
        let (queue, exchange) = (self.name(queue), self.name(exchange));
        let unbinding =
            self.channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default());
        unbinding.await.expect("unbound");
    }

    /// Consumes a queue of ours. Whoever gets its messages has to acknowledge them.
    pub async fn consume(&self, queue: &str) -> lapin::Consumer {
        let channel = self.connection.create_channel().await.expect("a channel");
        let (queue, options) = (self.name(queue), BasicConsumeOptions::default());
        let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        consuming.await.expect("a subscription")
    }

    /// Takes one message from a queue, named in full, if there is one.
    pub async fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        self.channel
            .basic_get(queue.into(), BasicGetOptions { no_ack: true })
            .await
            .expect("the queue is there")
    }

    /// Waits for the next message of a queue, named in full, and takes it.
    pub async fn next(&self, queue: &str) -> BasicGetMessage {
        let looking = async {
            loop {
                if let Some(message) = self.take(queue).await {
                    return message;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        in_time("a message", looking).await
    }

    /// Throws away what waits in a queue of ours, and says how many messages that were.
    pub async fn purge(&self, queue: &str) -> u32 {
        let purging = self.channel.queue_purge(self.name(queue).into(), QueuePurgeOptions::default());
        purging.await.expect("purged")
    }

    /// Deletes a queue of ours.
    pub async fn delete(&self, queue: &str) {
        let deleting = self.channel.queue_delete(self.name(queue).into(), QueueDeleteOptions::default());
        deleting.await.expect("deleted");
    }

    /// Deletes everything of this test and says goodbye.
    pub async fn clean(self) {
        let readers = QUEUES.map(|queue| format!("{queue}.readers"));
        for queue in QUEUES.into_iter().chain(readers.iter().map(String::as_str)) {
            let deleting = self.channel.queue_delete(self.name(queue).into(), QueueDeleteOptions::default());
            let _ = deleting.await;
        }
        for exchange in ["dispatch", "dispatch.events", "dispatch.dead"] {
            let deleting = self.channel.exchange_delete(
                self.name(exchange).into(),
                lapin::options::ExchangeDeleteOptions::default(),
            );
            let _ = deleting.await;
        }
        let _ = self.connection.close(200, "done".into()).await;
    }
}
