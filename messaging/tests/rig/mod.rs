//! A relay, a store and consumers on real servers, as a process would run them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{
    Backoff, Clock, Envelope, Exchange, Failure, Handler, Outcome, Outgoing, Received, Reply, Store,
    StoreError, StoreSettings, Transaction, Tx,
    broker::{self, Broker, Server},
    consumer::{self, Consumer},
    health::Health,
    outbox, relay,
    topology::{self, QueueType, Topology},
};
use waybill_test_support::{Proxy, TestBroker, TestDatabase, patience::until};

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct Rig {
    pub database: TestDatabase,
    pub broker: TestBroker,
    pub store: Store,
    pub clock: Clock,
    pub health: Health,
    pub settled: Broker,
    pub stop: CancellationToken,
    pub tasks: JoinSet<()>,
}

impl Rig {
    pub async fn new(database: TestDatabase) -> Self {
        Self::with(database, TestBroker::new().await, true).await
    }

    /// `sweep`: whether the relay looks for what it was not handed.
    pub async fn with(database: TestDatabase, broker: TestBroker, sweep: bool) -> Self {
        Self::relaying(database, broker, sweep, relay_settings()).await
    }

    pub async fn relaying(
        database: TestDatabase,
        broker: TestBroker,
        sweep: bool,
        relaying: relay::Settings,
    ) -> Self {
        // What a failing test has to say, and no more than RUST_LOG asks for.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let (health, stop, clock) = (Health::default(), CancellationToken::new(), Clock::system());
        let mut tasks = JoinSet::new();
        let settings = broker::Settings {
            server: Server::at(broker.url()),
            topology: topology(&broker),
            declare: true,
            management: None,
        };
        let (connected, supervisor) = Broker::new(settings, "broker", health.clone());
        tasks.spawn(supervisor.run(stop.clone()));
        let relay = relay::Relay::new(relaying);
        let (store, outcomes) =
            Store::open(store_settings(&database, &clock), relay.hand_off()).await.unwrap();
        let outlets = vec![(store.clone(), outcomes)];
        tasks.spawn(relay.run(connected.clone(), outlets, sweep, health.clone(), stop.clone()));
        let rig = Self { database, broker, store, clock, health, settled: connected, stop, tasks };
        rig.up("relay").await;
        rig
    }

    /// Waits until a part says that it is up.
    pub async fn up(&self, part: &'static str) {
        let mut parts = self.health.subscribe();
        let up = parts.wait_for(|parts| parts.get(part) == Some(&waybill_messaging::health::Status::Up));
        timeout(PATIENCE, up).await.expect("the part comes up").unwrap();
    }

    /// Starts a consumer of queue `order` with this handler.
    pub async fn consume<H: Handler>(&mut self, handler: H) {
        self.consume_from(self.settled.clone(), 64, 32, handler).await;
    }

    /// The same over a connection of its own, which goes by way of `proxy`; one message at a time.
    pub async fn consume_by<H: Handler>(&mut self, proxy: &Proxy, handler: H) {
        let url = proxy.url(self.broker.url());
        let settings = broker::Settings {
            server: Server::at(url),
            topology: topology(&self.broker),
            declare: true,
            management: None,
        };
        let (connected, supervisor) = Broker::new(settings, "broker-consume", self.health.clone());
        self.tasks.spawn(supervisor.run(self.stop.clone()));
        self.consume_from(connected, 1, 1, handler).await;
    }

    async fn consume_from<H: Handler>(&mut self, broker: Broker, prefetch: u16, batch: usize, handler: H) {
        let settings = consumer::Settings {
            part: "order",
            queue: topology::ORDER,
            dead: false,
            prefetch,
            batch,
            handler_timeout: Duration::from_secs(20),
            max_attempts: 3,
            retry: Backoff { first: Duration::from_millis(20), most: Duration::from_millis(100) },
            idle: Duration::from_secs(20),
        };
        let consumer = Consumer::new(settings, broker, self.store.clone(), handler, self.health.clone());
        self.tasks.spawn(consumer.run(self.stop.clone()));
        self.up("order").await;
    }

    pub async fn send(&self, messages: Vec<Outgoing>) {
        self.store.run(Append(messages)).await.unwrap();
    }

    /// Waits until the outbox holds that many rows.
    pub async fn outbox_holds(&self, rows: u64) {
        until(&format!("outbox of {rows}"), async || outbox::depth(&self.store).await.unwrap().rows == rows)
            .await;
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.store.close().await;
        self.broker.clean().await;
    }
}

pub fn topology(broker: &TestBroker) -> Topology {
    Topology {
        prefix: broker.prefix().to_owned(),
        queue_type: QueueType::Quorum,
        delivery_limit: 20,
        external: Vec::new(),
    }
}

pub fn relay_settings() -> relay::Settings {
    relay::Settings {
        window: 64,
        pack: 64,
        hand_off: 1_024,
        lease: Duration::from_secs(30),
        sweep_interval: Duration::from_millis(20),
        slot_bytes: 256 * 1_024,
        confirm_timeout: Duration::from_secs(10),
        max_message_bytes: 10_000,
        max_rejections: 3,
    }
}

pub fn store_settings(database: &TestDatabase, clock: &Clock) -> StoreSettings {
    StoreSettings {
        url: database.url().to_owned(),
        connections: 4,
        statement_timeout: Duration::from_secs(30),
        clock: clock.clone(),
    }
}

pub struct Append(pub Vec<Outgoing>);

impl Transaction for Append {
    const NAME: &'static str = "test.append";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        outbox::append(tx, self.0.clone());
        Ok(())
    }
}

pub fn message(id: &str) -> Outgoing {
    let envelope = Envelope {
        message_id: id.to_owned(),
        type_name: "test.v1.Note".to_owned(),
        correlation_id: "d-1".to_owned(),
        reply_to: "saga.reply".to_owned(),
        attempt: 1,
        body: Bytes::copy_from_slice(id.as_bytes()),
        ..Envelope::default()
    };
    Outgoing::new(Exchange::Dispatch, "order.command", envelope)
}

/// What a handler was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub message_id: String,
    pub attempt: u32,
}

type Verdict = dyn Fn(&Envelope) -> Result<(), Failure> + Send + Sync;

/// Writes an order row a message, and tells the test.
#[derive(Clone)]
pub struct Recorder {
    seen: mpsc::UnboundedSender<Seen>,
    verdict: Arc<Verdict>,
    pub batches: Arc<Mutex<Vec<usize>>>,
}

impl Recorder {
    pub fn new(
        verdict: impl Fn(&Envelope) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> (Self, mpsc::UnboundedReceiver<Seen>) {
        let (seen, receiver) = mpsc::unbounded_channel();
        (Self { seen, verdict: Arc::new(verdict), batches: Arc::default() }, receiver)
    }
}

impl Handler for Recorder {
    type Message = String;

    fn inbox(&self) -> Option<&'static str> {
        Some("order")
    }

    fn parse(&self, envelope: &Envelope) -> Result<String, Failure> {
        let text = String::from_utf8(envelope.body.to_vec());
        text.map_err(|error| Failure::Permanent(format!("malformed: {error}")))
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<String>]) -> Result<Vec<Outcome>, StoreError> {
        self.batches.lock().unwrap().push(batch.len());
        for received in batch {
            let seen = Seen { message_id: received.message.clone(), attempt: received.envelope.attempt };
            let _ = self.seen.send(seen);
            (self.verdict)(&received.envelope)?;
            // Not idempotent on purpose: a second effect shows as a failure or a second row.
            let sql = "INSERT INTO deliveries (dispatch_id, order_id, destination_code, parcel_count, state, reason, \
                       created_at, updated_at) VALUES ($1, '', '', 1, 'CREATED', '', $2, $2)";
            tx.execute(sql, vec![received.message.as_str().into(), tx.now().micros().into()]).await?;
        }
        let reply = Reply { type_name: "test.v1.Noted".to_owned(), body: Bytes::from_static(b"noted") };
        Ok(vec![Outcome { reply: Some(reply) }; batch.len()])
    }
}
