//! The server: in which order it starts, and stops.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waybill_messaging::{Store, health::Health};
use waybill_saga::{Definitions, Versions};

use crate::{
    accept::Intake,
    auth::{self, Auth},
    desk::Desk,
    found::Finder,
    listen::{Listener, Server, serve},
    port::Port,
    readiness::Readiness,
    reconcile::Reconcile,
    service::{Operator, Service},
    settings::Settings,
};

/// The gateway of this process, before it serves.
pub struct Gateway {
    settings: Settings,
    store: Store,
    definitions: Definitions,
    health: Health,
    desk: Desk,
    auth: auth::Settings,
    clients: Option<watch::Receiver<Vec<auth::Client>>>,
    ready: Option<watch::Receiver<bool>>,
    versions: Arc<Versions>,
}

impl Gateway {
    /// A gateway on `store`, which the saga writes to as well; operators act on sagas of these definitions.
    /// It reports itself to `health` as `gateway`.
    pub fn new(settings: Settings, store: Store, definitions: Definitions, health: Health) -> Self {
        let desk = Desk::new(vec![("common", store.clone())], settings.inbox_retention);
        let auth = auth::Settings::default();
        let versions = Arc::new(Versions::new(settings.watch_interval));
        Self { settings, store, definitions, health, desk, auth, clients: None, ready: None, versions }
    }

    /// Names every database that has dead letters; without it that is the gateway's own, `common`.
    #[must_use]
    pub fn with_databases(mut self, databases: Vec<(&'static str, Store)>) -> Self {
        self.desk = Desk::new(databases, self.settings.inbox_retention);
        self
    }

    /// Asks clients who they are, and limits each. Without it everybody may do everything.
    #[must_use]
    pub fn guarded_by(mut self, auth: auth::Settings) -> Self {
        self.auth = auth;
        self
    }

    /// Takes the clients from `clients` whenever they change. Without it they stay those of [`Gateway::guarded_by`].
    #[must_use]
    pub fn following(mut self, clients: Option<watch::Receiver<Vec<auth::Client>>>) -> Self {
        self.clients = clients;
        self
    }

    /// Watchers wait at `versions`, and so hear at once of what an orchestrator that tells it moves. Without it they
    /// hear of everything within [`Settings::watch_interval`].
    #[must_use]
    pub fn hearing(mut self, versions: Arc<Versions>) -> Self {
        self.versions = versions;
        self
    }

    /// Lets `ready` decide whether the whole process is serving (health service `""`). Without it the
    /// process is as ready as the gateway.
    #[must_use]
    pub fn ready_when(mut self, ready: watch::Receiver<bool>) -> Self {
        self.ready = Some(ready);
        self
    }

    /// Serves until `stop` and returns when everything that was taken has been answered.
    ///
    /// In order: health says not serving; no more connections and calls are taken and streams end; calls
    /// in flight finish; the committers empty their queue. After `drain_timeout` it returns all the same,
    /// and says so: nobody has a receipt for what was not committed by then.
    pub async fn serve(self, listener: Listener, stop: CancellationToken, drain_timeout: Duration) {
        let (intake_closing, loops_stop) = (CancellationToken::new(), stop.child_token());
        let tasks = TaskTracker::new();
        let service = self.start(&stop, &intake_closing, &loops_stop, &tasks);
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let readiness = Readiness::new(reporter, self.health.clone(), self.ready.clone()).await;
        let readiness = tokio::spawn(readiness.run(loops_stop.clone()));
        let shutdown = async {
            stop.cancelled().await;
            // It returns once it has said its last word, and cannot fail but by a panic.
            let _ = readiness.await;
        };
        let operator = Operator {
            service: service.clone(),
            definitions: self.definitions.clone(),
            health: self.health.clone(),
            desk: self.desk.clone(),
        };
        let auth = Arc::new(Auth::new(self.auth, self.clients));
        let (guard, stopped) = (Arc::clone(&auth), loops_stop.clone());
        tasks.spawn(async move { guard.run(&stopped).await });
        let port = Port::new(&self.settings, &auth, service, operator, health_service);
        let serving = serve(listener, Server::new(&self.settings, port), shutdown);
        let deadline = drain(serving, &stop, drain_timeout).await;
        intake_closing.cancel();
        loops_stop.cancel();
        tasks.close();
        if timeout_at(deadline, tasks.wait()).await.is_err() {
            tracing::warn!(
                ?drain_timeout,
                "stopped before the queue was empty; its requests have no receipt"
            );
        }
    }

    /// Starts the loops behind the calls. They end by `loops_stop`, the committers by `intake_closing`.
    fn start(
        &self,
        stop: &CancellationToken,
        intake_closing: &CancellationToken,
        loops_stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Service {
        let Self { settings, store, health, .. } = self;
        let versions = Arc::clone(&self.versions);
        let (polled, stopped, from) = (Arc::clone(&versions), loops_stop.clone(), store.clone());
        tasks.spawn(async move { polled.run(from, stopped).await });
        tasks.spawn(Reconcile::new(store.clone(), health.clone()).run(loops_stop.clone()));
        Service {
            intake: Intake::open(settings, store, health, intake_closing, tasks),
            finder: Finder::new(store),
            store: store.clone(),
            versions,
            cancel_wait: settings.cancel_wait,
            stream_window: settings.batch.max(1),
            stop: stop.clone(),
        }
    }
}

/// Waits for `serving` to end, after `stop` no longer than until the deadline, which it returns.
/// A connection that never says what it wants would hold the drain up for ever (hyper#4170).
async fn drain(serving: impl Future<Output = ()>, stop: &CancellationToken, timeout: Duration) -> Instant {
    let mut serving = pin!(serving);
    tokio::select! {
        () = &mut serving => return Instant::now() + timeout,
        () = stop.cancelled() => {}
    }
    let deadline = Instant::now() + timeout;
    if timeout_at(deadline, serving).await.is_err() {
        tracing::warn!(?timeout, "connections were still open when the time to drain was up");
    }
    deadline
}
