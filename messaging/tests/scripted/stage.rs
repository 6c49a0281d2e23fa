//! A relay, a store and consumers on a real database and a scripted broker.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use waybill_messaging::{
    Backoff, Clock, Handler, Outgoing, Store,
    broker::{self, Broker, Server},
    consumer::{self, Consumer},
    health::{Health, Status},
    outbox, relay,
    topology::{self, QueueType, Topology},
};
use waybill_test_support::{
    FakeBroker, TestDatabase,
    fake_broker::{Heard, Publication, Subscription},
    patience::{in_time, until},
};

use crate::rig::{Append, relay_settings, store_settings};

pub struct Stage {
    pub database: TestDatabase,
    pub broker: FakeBroker,
    pub heard: Heard,
    pub store: Store,
    pub health: Health,
    consuming: Broker,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stage {
    /// Nothing is swept: a row goes out by hand-off or not at all.
    pub async fn by_hand_off(database: TestDatabase) -> Self {
        Self::with(database, false, |_| {}).await
    }

    pub async fn with(
        database: TestDatabase,
        sweep: bool,
        change: impl FnOnce(&mut relay::Settings),
    ) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let (broker, heard) = FakeBroker::start().await;
        let (health, stop, mut tasks) = (Health::default(), CancellationToken::new(), JoinSet::new());
        let topology = Topology {
            prefix: String::new(),
            queue_type: QueueType::Quorum,
            delivery_limit: 20,
            external: Vec::new(),
        };
        let mut connect = |name| {
            let settings = broker::Settings {
                server: Server::at(broker.url()),
                topology: topology.clone(),
                declare: true,
                management: None,
            };
            let (connected, supervisor) = Broker::new(settings, name, health.clone());
            tasks.spawn(supervisor.run(stop.clone()));
            connected
        };
        let (publishing, consuming) = (connect("broker"), connect("broker-consume"));
        // One message by one: what is answered here is a single publication.
        let mut settings = relay::Settings { pack: 1, ..relay_settings() };
        change(&mut settings);
        let relay = relay::Relay::new(settings);
        let store_settings = store_settings(&database, &Clock::system());
        let (store, outcomes) = Store::open(store_settings, relay.hand_off()).await.unwrap();
        let outlets = vec![(store.clone(), outcomes)];
        tasks.spawn(relay.run(publishing, outlets, sweep, health.clone(), stop.clone()));
        let stage = Self { database, broker, heard, store, health, consuming, stop, tasks };
        stage.up("relay").await;
        stage.up("broker-consume").await;
        stage
    }

    /// Starts a consumer of queue `order`.
    pub fn consume(&mut self, handler: impl Handler) {
        self.consume_renewing(Duration::from_mins(10), handler);
    }

    /// The same, with a subscription that is made anew after so long.
    pub fn consume_renewing(&mut self, idle: Duration, handler: impl Handler) {
        let settings = consumer::Settings {
            part: "order",
            queue: topology::ORDER,
            dead: false,
            prefetch: 64,
            batch: 32,
            handler_timeout: Duration::from_mins(1),
            max_attempts: 3,
            retry: Backoff { first: Duration::from_millis(20), most: Duration::from_millis(100) },
            idle,
        };
        let (broker, store, health) = (self.consuming.clone(), self.store.clone(), self.health.clone());
        let consumer = Consumer::new(settings, broker, store, handler, health);
        self.tasks.spawn(consumer.run(self.stop.clone()));
    }

    pub async fn send(&self, messages: Vec<Outgoing>) {
        self.store.run(Append(messages)).await.unwrap();
    }

    /// The next message that is published.
    pub async fn publication(&mut self) -> Publication {
        in_time("a publication", self.heard.publications.recv()).await.expect("the broker lives")
    }

    pub async fn publications(&mut self, count: usize) -> Vec<Publication> {
        let mut publications = Vec::with_capacity(count);
        while publications.len() < count {
            publications.push(self.publication().await);
        }
        publications
    }

    /// The next request to consume.
    pub async fn subscription(&mut self) -> Subscription {
        in_time("a subscription", self.heard.subscriptions.recv()).await.expect("the broker lives")
    }

    pub async fn up(&self, part: &'static str) {
        self.is(part, |status| *status == Status::Up).await;
    }

    /// Waits until a part is down for a reason that contains this.
    pub async fn down(&self, part: &'static str, why: &str) {
        self.is(part, |status| matches!(status, Status::Down(reason) if reason.contains(why))).await;
    }

    async fn is(&self, part: &'static str, condition: impl Fn(&Status) -> bool) {
        let mut parts = self.health.subscribe();
        let is_so = parts.wait_for(|parts| parts.get(part).is_some_and(&condition));
        in_time(&format!("the expected state of {part}"), is_so).await.unwrap();
    }

    /// Waits until the outbox holds that many rows.
    pub async fn outbox_holds(&self, rows: u64) {
        until(&format!("outbox of {rows}"), async || outbox::depth(&self.store).await.unwrap().rows == rows)
            .await;
    }

    /// The messages in the outbox, with their states, in their order.
    pub async fn outbox(&self) -> Vec<String> {
        self.database.texts("SELECT message_id || ' ' || state FROM outbox ORDER BY message_id").await
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.store.close().await;
    }
}
