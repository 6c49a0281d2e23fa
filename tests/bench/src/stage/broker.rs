//! Messages through a quorum queue, published with confirms and consumed with acknowledgements at once.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::Instant;

use super::BODY;
use crate::site::Site;

/// Messages that are published and not yet confirmed, at most.
const WINDOW: usize = 500;
const PREFETCH: u16 = 256;
/// Deliveries that are acknowledged at once.
const ACK: u64 = 32;

/// Messages a second that were consumed and acknowledged.
pub(crate) async fn messages(site: &Site) -> Result<f64> {
    let queue = site.queue("raw");
    let out = Connection::connect(&site.settings.amqp, ConnectionProperties::default()).await?;
    let into = Connection::connect(&site.settings.amqp, ConnectionProperties::default()).await?;
    let (sender, receiver) = (out.create_channel().await?, into.create_channel().await?);
    declare(&sender, &queue).await?;
    let begin = Instant::now() + site.settings.warm_up();
    let end = begin + site.settings.time();
    let (published, rate) =
        tokio::join!(publish(&sender, &queue, end), consume(&receiver, &queue, begin, end));
    published?;
    // First what was delivered and not acknowledged goes back.
    into.close(200, "done".into()).await?;
    sender.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
    out.close(200, "done".into()).await?;
    rate
}

async fn declare(channel: &Channel, queue: &str) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, arguments).await?;
    Ok(channel.confirm_select(ConfirmSelectOptions::default()).await?)
}

async fn publish(channel: &Channel, queue: &str, end: Instant) -> Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (body, properties) = (vec![7_u8; BODY], BasicProperties::default().with_delivery_mode(2));
    let mut window: VecDeque<PublisherConfirm> = VecDeque::with_capacity(WINDOW);
    while Instant::now() < end {
        if window.len() == WINDOW
            && let Some(oldest) = window.pop_front()
        {
            confirmed(oldest).await?;
        }
        let publishing = channel.basic_publish("".into(), queue.into(), options, &body, properties.clone());
        window.push_back(publishing.await?);
    }
    for confirm in window {
        confirmed(confirm).await?;
    }
    Ok(())
}

async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    let confirm = confirm.await?;
    ensure!(matches!(confirm, Confirmation::Ack(None)), "not taken by the queue: {confirm:?}");
    Ok(())
}

async fn consume(channel: &Channel, queue: &str, begin: Instant, end: Instant) -> Result<f64> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    let (mut taken, mut counted) = (0_u64, 0_u64);
    while let Ok(delivery) = tokio::time::timeout_at(end, consumer.next()).await {
        let delivery = delivery.context("the subscription has ended")??;
        taken += 1;
        if taken.is_multiple_of(ACK) {
            delivery.ack(BasicAckOptions { multiple: true }).await?;
            counted += if Instant::now() > begin { ACK } else { 0 };
        }
    }
    let time: Duration = end - begin;
    Ok(counted as f64 / time.as_secs_f64())
}
