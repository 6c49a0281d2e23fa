//! The reference path: the same saga as a careful team would write it at first, over the same broker and
//! database, and with the same guarantees while nothing fails.
//!
//! - One transaction per request: the dispatch, its saga and the first command commit together.
//! - One transaction per message: inbox row, effect and the next message; acknowledged after the commit.
//! - A consumer for each queue, up to 16 deliveries at a time (`prefetch`), each by a task of its own.
//! - A relay with a connection of its own that polls the outbox and publishes one by one, persistent and mandatory, each confirmed before
//!   its row is deleted and the next goes out. It polls every 25 ms, and at once when a page took longer. That
//!   is short (outbox libraries poll every 0.1 to 10 s by default), in favour of the reference: with one saga
//!   in flight its latency is little but waiting for the relay.
//! - Quorum queues; the steps of version 1 of Waybill's saga: accept the order, reserve the payment, create the
//!   dispatch, complete the order. Eight messages, each step with its business row, each transition a row of
//!   history.
//!
//! One by one is what bounds it: about one message each time that a confirm and the commit of a deletion take,
//! however much is in flight. With the confirms of a page awaited together it would be about twice as fast.
//!
//! What it lacks all works in its favour: no compensation, no refusals, no retries, no deadlines, no recovery
//! of connections, no metrics. Its tables lose their rows one by one and its code has no other slowness than
//! what is told above.

mod accept;
mod consume;
mod outbox;
mod relay;
mod schema;
mod step;

use std::net::SocketAddr;

use anyhow::{Context, Result};
use lapin::{Connection, ConnectionProperties};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use waybill_proto::v1::dispatch_gateway_server::DispatchGatewayServer;

use self::{accept::Intake, consume::Consumer, relay::Relay};
use crate::{database::Database, front::Front, site::Site, subject::Kind};

/// A running reference path, in this process. It has to be [ended](Self::end).
pub(crate) struct Reference {
    pub(crate) database: Database,
    address: SocketAddr,
    parts: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl Reference {
    /// Starts it on a new database: everything, or its front alone.
    pub(crate) async fn start(site: &Site, front_alone: bool) -> Result<Self> {
        let database = Database::new(site, Kind::Postgres).await?;
        schema::create(database.pg()).await?;
        let (mut parts, stop) = (JoinSet::new(), CancellationToken::new());
        if !front_alone {
            Self::start_behind(site, &database, &mut parts, &stop).await?;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut server = Server::builder().tcp_nodelay(true).max_concurrent_streams(1_024);
        let front = DispatchGatewayServer::new(Front(Intake::new(database.pg().clone())));
        let serving = server.add_service(front);
        let stopped = stop.clone().cancelled_owned();
        parts.spawn(async move {
            Ok(serving.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await?)
        });
        Ok(Self { database, address, parts, stop })
    }

    /// Relay and consumers, each over a connection of its own.
    async fn start_behind(
        site: &Site,
        database: &Database,
        parts: &mut JoinSet<Result<()>>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let prefix = format!("{}reference.", site.prefix);
        let connect = || Connection::connect(&site.settings.amqp, ConnectionProperties::default());
        let publishing = connect().await?;
        let relay = Relay::new(database.pg(), &publishing, &prefix).await?;
        parts.spawn(relay.run(stop.clone()));
        let consuming = connect().await?;
        for queue in step::QUEUES {
            let consumer = Consumer::new(database.pg().clone(), &consuming, site, queue).await?;
            parts.spawn(consumer.run(stop.clone()));
        }
        Ok(())
    }

    /// Where it listens, as a URL.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sagas that have ended.
    pub(crate) async fn completed(&self) -> Result<i64> {
        self.database.number("SELECT count(*) FROM sagas WHERE state = 'COMPLETED'").await
    }

    /// Stops it. Errors: a part of it had failed.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(part) = self.parts.join_next().await {
            part?.context("the reference path failed")?;
        }
        self.database.drop().await
    }
}
