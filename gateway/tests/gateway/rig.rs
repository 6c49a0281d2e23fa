//! A gateway on a free port, its database, and its clients.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};
use waybill_gateway::{
    Gateway, Settings, auth,
    listen::{Limits, Listener},
};
use waybill_messaging::{Clock, Store, StoreSettings, Timestamp, health::Health, relay};
use waybill_proto::v1::{self, dispatch_gateway_client::DispatchGatewayClient};
use waybill_saga::{Defaults, Definitions, order_fulfilment};
use waybill_test_support::{TestDatabase, patience::until, session};

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) type Client = DispatchGatewayClient<Channel>;

pub(crate) struct Rig {
    pub(crate) database: TestDatabase,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
    settings: Settings,
    auth: auth::Settings,
}

pub(crate) fn settings() -> Settings {
    Settings {
        queue: 1_000,
        batch: 100,
        committers: 2,
        watch_interval: Duration::from_millis(10),
        cancel_wait: Duration::from_secs(30),
        inbox_retention: Duration::from_hours(24),
        max_message_bytes: 64 * 1_024,
        max_streams: 500,
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
        max_header_bytes: 16 * 1_024,
        max_connection_age: None,
        web_origins: Vec::new(),
    }
}

/// A port without TLS, and where it is.
pub(crate) async fn listen() -> (Listener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Listener::new("grpc", listener, None, LIMITS), address)
}

/// More than a test needs.
pub(crate) const LIMITS: Limits =
    Limits { connections: 1_000, handshake_timeout: PATIENCE, opening_bytes: 24 };

/// One request at a time is committed, and one waits.
pub(crate) fn narrow() -> Settings {
    Settings { queue: 1, batch: 1, committers: 1, ..settings() }
}

impl Rig {
    pub(crate) async fn new(database: TestDatabase) -> Self {
        Self::with(database, settings()).await
    }

    pub(crate) async fn with(database: TestDatabase, settings: Settings) -> Self {
        Self::serve(database, settings, auth::Settings::default(), Clock::stopped_at(now()), &[]).await
    }

    /// One that asks its clients who they are, or limits them.
    pub(crate) async fn guarded(database: TestDatabase, auth: auth::Settings) -> Self {
        Self::serve(database, settings(), auth, Clock::stopped_at(now()), &[]).await
    }

    /// With the databases of participants that have one of their own.
    pub(crate) async fn beside(database: TestDatabase, others: &[(&'static str, &TestDatabase)]) -> Self {
        Self::serve(database, settings(), auth::Settings::default(), Clock::stopped_at(now()), others).await
    }

    async fn serve(
        database: TestDatabase,
        settings: Settings,
        auth: auth::Settings,
        clock: Clock,
        others: &[(&'static str, &TestDatabase)],
    ) -> Self {
        let (listener, address) = listen().await;
        let (health, stop) = (Health::default(), CancellationToken::new());
        let store = open(&database, &clock).await;
        let mut databases = vec![("common", store.clone())];
        for (name, other) in others {
            databases.push((name, open(other, &clock).await));
        }
        let gateway = Gateway::new(settings.clone(), store, definitions(), health.clone());
        let gateway = gateway.with_databases(databases).guarded_by(auth.clone());
        let served = tokio::spawn(gateway.serve(listener, stop.clone(), PATIENCE));
        let client = connect(address).await;
        Self { database, client, clock, health, address, stop, served, settings, auth }
    }

    /// The same database and clock, served by the next process.
    pub(crate) async fn restart(self) -> Self {
        let (settings, auth, clock) = (self.settings.clone(), self.auth.clone(), self.clock.clone());
        Self::serve(self.end().await, settings, auth, clock, &[]).await
    }

    /// Stops the gateway, which has to go by itself.
    pub(crate) async fn end(self) -> TestDatabase {
        self.stop.cancel();
        drop(self.client);
        timeout(PATIENCE, self.served).await.expect("the gateway stops").unwrap();
        self.database
    }

    pub(crate) async fn request(
        &self,
        request: v1::DispatchRequested,
    ) -> Result<v1::DispatchReceipt, Status> {
        self.client.clone().request_dispatch(request).await.map(tonic::Response::into_inner)
    }

    /// Accepts a dispatch of order `o-{name}` and returns its id.
    pub(crate) async fn accepted(&self, name: &str) -> String {
        self.request(order(name)).await.unwrap().dispatch_id
    }

    pub(crate) async fn get(&self, dispatch_id: &str) -> Result<v1::Dispatch, Status> {
        let key = Some(v1::get_dispatch_request::Key::DispatchId(dispatch_id.to_owned()));
        self.client
            .clone()
            .get_dispatch(v1::GetDispatchRequest { key })
            .await
            .map(tonic::Response::into_inner)
    }

    /// Another connection.
    pub(crate) async fn another_client(&self) -> Client {
        connect(self.address).await
    }

    /// Another process's way to the same database, at the same time of day.
    pub(crate) async fn store(&self) -> Store {
        open(&self.database, &self.clock).await
    }

    /// Another gateway on the same database, not serving yet.
    pub(crate) async fn another_gateway(&self) -> Gateway {
        Gateway::new(self.settings.clone(), self.store().await, definitions(), Health::default())
    }

    /// Waits until the server has read everything that this client has sent before: frames of one
    /// connection are read in their order.
    pub(crate) async fn has_read_all_of(&self, client: &Client) {
        let key = Some(v1::get_dispatch_request::Key::DispatchId("nobody".to_owned()));
        let answer = client.clone().get_dispatch(v1::GetDispatchRequest { key }).await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::NotFound);
        if self.database.is_postgres() {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            until("a commit that waits", async || self.database.number(waiting).await > 0).await;
        }
    }

    /// Keeps every commit waiting, and lets everybody read, until it is released.
    pub(crate) async fn lock(&self) -> Lock {
        let database = session(self.database.url()).await;
        let mode = (!self.database.is_postgres()).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
        let held = database.begin_with_options(options).await.unwrap();
        if self.database.is_postgres() {
            held.execute_unprepared("LOCK TABLE dispatches IN SHARE MODE").await.unwrap();
        }
        Lock(held)
    }
}

pub(crate) struct Lock(DatabaseTransaction);

impl Lock {
    pub(crate) async fn release(self) {
        self.0.rollback().await.unwrap();
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Client {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    DispatchGatewayClient::new(channel.connect().await.unwrap())
}

fn definitions() -> Definitions {
    Definitions::new(order_fulfilment(&Defaults::default()), &[1], 1).unwrap()
}

pub(crate) async fn open(database: &TestDatabase, clock: &Clock) -> Store {
    let relay = relay::Relay::new(relay::Settings {
        pack: 64,
        window: 1,
        hand_off: 1,
        lease: Duration::from_secs(30),
        sweep_interval: Duration::from_secs(1),
        slot_bytes: 16 * 1_024 * 1_024,
        confirm_timeout: Duration::from_secs(1),
        max_message_bytes: 1 << 20,
        max_rejections: 10,
    });
    let settings = StoreSettings {
        url: database.url().to_owned(),
        connections: 6,
        statement_timeout: Duration::from_secs(30),
        clock: clock.clone(),
    };
    Store::open(settings, relay.hand_off()).await.unwrap().0
}

#[expect(clippy::disallowed_methods, reason = "a stopped clock has to start somewhere")]
fn now() -> Timestamp {
    Timestamp::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

/// A valid request for order `o-{name}` with message `m-{name}`.
pub(crate) fn order(name: &str) -> v1::DispatchRequested {
    v1::DispatchRequested {
        message_id: format!("m-{name}"),
        order_id: format!("o-{name}"),
        destination_code: "NLRTM".to_owned(),
        parcel_count: 3,
        requested_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 1_000 }),
        customer_id: "c-1".to_owned(),
        amount: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units: 1_250 }),
    }
}
