//! A consumer of the reference path: a transaction per delivery, acknowledged after the commit.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::site::Site;

use super::{
    schema::now,
    step::{self, Arrived},
};

/// What common libraries take.
const PREFETCH: u16 = 16;

/// One queue and who consumes it.
pub(super) struct Consumer {
    pool: PgPool,
    channel: Channel,
    queue: &'static str,
    full_name: String,
}

impl Consumer {
    /// Declares the queue.
    pub(super) async fn new(
        pool: PgPool,
        connection: &Connection,
        site: &Site,
        queue: &'static str,
    ) -> Result<Self> {
        let (channel, full_name) =
            (connection.create_channel().await?, site.queue(&format!("reference.{queue}")));
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(full_name.as_str().into(), durable, arguments).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        Ok(Self { pool, channel, queue, full_name })
    }

    /// Handles deliveries until it is to stop. The prefetch bounds how many tasks there are
    /// at a time.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<()> {
        let (name, options) = (self.full_name.as_str(), BasicConsumeOptions::default());
        let consuming = self.channel.basic_consume(name.into(), "".into(), options, FieldTable::default());
        let mut deliveries = consuming.await?;
        let mut handling = JoinSet::new();
        while let Some(delivery) = stop.run_until_cancelled(deliveries.next()).await {
            let delivery = delivery.context("the subscription has ended")??;
            handling.spawn(handle(self.pool.clone(), self.queue, delivery));
            while let Some(handled) = handling.try_join_next() {
                handled??;
            }
        }
        while let Some(handled) = handling.join_next().await {
            handled??;
        }
        Ok(())
    }
}

async fn handle(pool: PgPool, queue: &'static str, delivery: Delivery) -> Result<()> {
    let message = read(&delivery).context("a message without id, type or correlation id")?;
    let mut tx = pool.begin().await?;
    let sql =
        "INSERT INTO inbox (consumer, message_id, received_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let inbox = sqlx::query(sql).bind(queue).bind(&message.message_id).bind(now());
    if inbox.execute(&mut *tx).await?.rows_affected() == 1 {
        step::handle(&mut tx, queue, &message).await?;
    }
    tx.commit().await?;
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}

fn read(delivery: &Delivery) -> Option<Arrived> {
    let properties = &delivery.properties;
    Some(Arrived {
        message_id: properties.message_id().as_ref()?.to_string(),
        kind: properties.kind().as_ref()?.to_string(),
        dispatch_id: properties.correlation_id().as_ref()?.to_string(),
        body: delivery.data.clone(),
    })
}
