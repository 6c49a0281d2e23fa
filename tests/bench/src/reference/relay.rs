//! The relay of the reference path: polls, publishes one by one, deletes each row when it is confirmed.

use std::time::Duration;

use anyhow::{Result, ensure};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use sqlx::{PgConnection, PgPool};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::outbox::{self, Row};

const POLL: Duration = Duration::from_millis(25);

/// Publishes what waits.
pub(super) struct Relay {
    /// Its own, so that it queues behind no handler.
    database: PgConnection,
    channel: Channel,
    prefix: String,
}

impl Relay {
    pub(super) async fn new(pool: &PgPool, connection: &Connection, prefix: &str) -> Result<Self> {
        let database = pool.acquire().await?.detach();
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { database, channel, prefix: prefix.to_owned() })
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            for row in outbox::page(&mut self.database).await? {
                self.publish(&row).await?;
                outbox::delete(&mut self.database, row.id).await?;
            }
        }
        Ok(())
    }

    async fn publish(&self, row: &Row) -> Result<()> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(row.message_id.as_str().into())
            .with_correlation_id(row.dispatch_id.as_str().into())
            .with_type(row.r#type.as_str().into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let queue = format!("{}{}", self.prefix, row.routing_key);
        // By the default exchange, where a queue's name is its routing key.
        let publishing = self.channel.basic_publish("".into(), queue.into(), options, &row.body, properties);
        let confirm = publishing.await?.await?;
        ensure!(matches!(confirm, Confirmation::Ack(None)), "not taken by a queue: {confirm:?}");
        Ok(())
    }
}
