//! The running parts of a process, and how they are stopped one group after the other.

mod consumers;
mod definitions;
mod housekeeping;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use waybill_gateway::{Gateway, listen::Listener};
use waybill_messaging::{
    Store,
    broker::{self, Broker},
    health::{Health, Status},
    inbox,
    management::Management,
    outbox,
    relay::{self, Relay},
    topology::{QueueType, Topology},
};

use waybill_saga::{
    Versions,
    pause::{self, Scope, SetPause},
};

use super::{
    clients::Roster,
    database::{self, Stores},
    lag,
    readiness::Readiness,
};
use crate::config::{self, Config, Role};

/// Groups of parts in the order in which they stop: each finishes with the help of those after it.
pub(super) struct Parts {
    groups: Vec<Group>,
    stores: Vec<Store>,
    health: Health,
}

struct Group {
    stop: CancellationToken,
    tasks: JoinSet<&'static str>,
}

impl Group {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: JoinSet::new() }
    }

    fn spawn(&mut self, part: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            task.await;
            part
        });
    }
}

impl Parts {
    /// Waits until a part ends that was not told to, and says which.
    pub(super) async fn died(&mut self) -> &'static str {
        let ended = self.groups.iter_mut().filter(|group| !group.tasks.is_empty()).map(|group| {
            Box::pin(async {
                match group.tasks.join_next().await {
                    Some(Ok(part)) => part,
                    Some(Err(_)) | None => "a part that panicked",
                }
            })
        });
        futures_util::future::select_all(ended).await.0
    }

    /// Stops group after group and says how many messages are left in the outboxes. What is cut off here
    /// is finished by the next process.
    pub(super) async fn drain(mut self) -> u64 {
        self.health.set("intake", Status::Down("stopping".to_owned()));
        for store in &self.stores {
            store.stop_waiting();
        }
        for group in &mut self.groups {
            group.stop.cancel();
            while group.tasks.join_next().await.is_some() {}
        }
        let mut left = 0;
        for store in &self.stores {
            left += outbox::depth(store).await.map_or(0, |depth| depth.rows);
            store.close().await;
        }
        left
    }
}

/// Starts everything that the roles need.
pub(super) async fn start(
    config: &Config,
    grpc: Option<Listener>,
    readiness: &Readiness,
) -> anyhow::Result<Parts> {
    let health = readiness.health();
    let (mut intake, mut consumers, mut relaying, mut brokers) =
        (Group::new(), Group::new(), Group::new(), Group::new());
    let relay = Relay::new(relay_settings(&config.relay));
    let (stores, outlets) = Stores::open(config, &relay.hand_off()).await?;
    if config.paused {
        pause_all(&stores.get(&config.database.url)?).await?;
    }
    let (publishing, consuming) = connect(config, health, &mut brokers)?;
    let sweep = config.roles.contains(&Role::Relay);
    relaying.spawn("relay", relay.run(publishing, outlets, sweep, health.clone(), relaying.stop.clone()));
    relaying.spawn("database", database::watch(stores.all(), health.clone(), relaying.stop.clone()));
    let versions = Arc::new(Versions::new(config.gateway.watch_interval));
    let stop = &consumers.stop;
    consumers::start(config, &stores, &consuming, &versions, health, &mut consumers.tasks, stop)?;
    measure(config, &stores, &mut relaying)?;
    if let Some(most) = config.ready_max_outbox_age {
        let watching = lag::watch(stores.used(config), most, health.clone(), relaying.stop.clone());
        relaying.spawn("measuring", watching);
    }
    for store in stores.all() {
        let keeping = inbox::keep(store, config.inbox_retention, consumers.stop.clone());
        consumers.spawn("housekeeping", keeping);
    }
    if config.roles.contains(&Role::Saga) {
        let store = stores.get(&config.database.url)?;
        relaying.spawn("pauses", pause::watch(store, health.clone(), relaying.stop.clone()));
        let (store, retention) = (stores.get(&config.database.url)?, config.saga.history_retention);
        let keeping = housekeeping::run(store, retention, consumers.stop.clone());
        consumers.spawn("housekeeping", keeping);
    }
    if let Some(listener) = grpc {
        let roster = Roster::new(config).await;
        let clients = roster.as_ref().map(Roster::subscribe);
        if let Some(roster) = roster {
            intake.spawn("clients", keep(roster.keep_fresh(), intake.stop.clone()));
        }
        let gateway = Gateway::new(
            gateway_settings(config),
            stores.get(&config.database.url)?,
            definitions::of(config)?,
            health.clone(),
        )
        .with_databases(stores.named(config).await?)
        .guarded_by(config.auth.clone())
        .following(clients)
        .hearing(versions)
        .ready_when(readiness.watch());
        health.set("intake", Status::Up);
        let serving = gateway.serve(listener, intake.stop.clone(), config.drain_timeout);
        intake.spawn("gateway", serving);
    }
    let groups = vec![intake, consumers, relaying, brokers];
    Ok(Parts { groups, stores: stores.all(), health: health.clone() })
}

/// Until `stop`.
async fn keep(work: impl Future<Output = ()>, stop: CancellationToken) {
    let _ = stop.run_until_cancelled(work).await;
}

/// Before anything is consumed, so that nothing moves until an operator says so.
async fn pause_all(store: &Store) -> anyhow::Result<()> {
    let (operator, reason) = ("waybill serve --paused".to_owned(), "started paused".to_owned());
    store.run(SetPause { scope: Scope::All, operator, reason }).await?;
    Ok(())
}

/// Counts what waits: the relay in the outboxes that it sweeps, the saga among its own.
fn measure(config: &Config, stores: &Stores, group: &mut Group) -> anyhow::Result<()> {
    if config.roles.contains(&Role::Relay) {
        for (name, url) in config.databases() {
            group.spawn("measuring", outbox::watch(stores.get(url)?, name, group.stop.clone()));
        }
    }
    if config.roles.contains(&Role::Saga) {
        let store = stores.get(&config.database.url)?;
        group.spawn("measuring", waybill_saga::metrics::watch(store, group.stop.clone()));
    }
    Ok(())
}

/// Two connections: a blocked one stops every write on it, acknowledgements included.
fn connect(config: &Config, health: &Health, group: &mut Group) -> anyhow::Result<(Broker, Broker)> {
    let settings = broker::Settings {
        server: server(config),
        topology: topology(config),
        declare: config.amqp.declare,
        management: management(config)?,
    };
    let mut open = |name| {
        let (broker, supervisor) = Broker::new(settings.clone(), name, health.clone());
        group.spawn(name, supervisor.run(group.stop.clone()));
        broker
    };
    Ok((open("broker"), open("broker-consume")))
}

/// The broker's management interface, where one is configured.
pub(crate) fn management(config: &Config) -> anyhow::Result<Option<Management>> {
    let url = config.amqp.management_url.as_ref();
    let management = url.map(|url| Management::new(url.expose(), &server(config))).transpose();
    management.map_err(anyhow::Error::msg)
}

/// The broker, as configured.
pub(crate) fn server(config: &Config) -> broker::Server {
    broker::Server { url: config.amqp.url.expose().to_owned(), tls: config.amqp.tls.clone() }
}

/// Exchanges and queues, as configured.
pub(crate) fn topology(config: &Config) -> Topology {
    Topology {
        prefix: config.amqp.prefix.clone(),
        queue_type: match config.amqp.queue_type {
            config::QueueType::Quorum => QueueType::Quorum,
            config::QueueType::Classic => QueueType::Classic,
        },
        delivery_limit: config.amqp.delivery_limit,
        external: config.external.iter().map(|role| role.name()).collect(),
    }
}

fn relay_settings(config: &config::Relay) -> relay::Settings {
    relay::Settings {
        window: config.window,
        pack: config.pack,
        hand_off: config.handoff,
        lease: config.lease,
        sweep_interval: config.sweep_interval,
        slot_bytes: config.slot_bytes,
        confirm_timeout: config.confirm_timeout,
        max_message_bytes: config.max_message_bytes,
        max_rejections: config.max_attempts,
    }
}

fn gateway_settings(all: &Config) -> waybill_gateway::Settings {
    let config = &all.gateway;
    waybill_gateway::Settings {
        queue: config.queue,
        batch: config.batch,
        committers: config.committers,
        watch_interval: config.watch_interval,
        cancel_wait: config.cancel_wait,
        inbox_retention: all.inbox_retention,
        max_message_bytes: config.max_message_bytes,
        max_streams: config.max_streams,
        keepalive_interval: all.connections.keepalive_interval,
        keepalive_timeout: all.connections.keepalive_timeout,
        max_header_bytes: all.connections.max_header_bytes,
        max_connection_age: all.connections.max_age,
        web_origins: all.connections.web_origins.clone(),
    }
}
