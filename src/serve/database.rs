//! The databases of this process: which there are, their schema, and whether they answer.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{
    Backoff, Clock, Store, StoreError, StoreSettings, classify,
    health::{Health, Status},
    knock,
    relay::{HandOff, Settlement},
};

use crate::config::{Config, Role, SecretUrl};

const PART: &str = "database";
/// A database that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same of one that was never heard of: its pool would not tell for long that nobody listens there.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(5) };

/// A store with the outcomes of its rows, for the relay.
pub(super) type Outlet = (Store, mpsc::UnboundedReceiver<Settlement>);

/// The stores by URL; roles that share a URL share a store.
pub(super) struct Stores(BTreeMap<String, Store>);

impl Stores {
    /// Opens every database that this process needs, without waiting for any.
    pub(super) async fn open(config: &Config, hand_off: &HandOff) -> anyhow::Result<(Self, Vec<Outlet>)> {
        let mut stores = BTreeMap::new();
        let mut outlets = Vec::new();
        for url in urls(config) {
            let (store, outcomes) = Store::open(settings(config, &url), hand_off.clone()).await?;
            stores.insert(url.expose().to_owned(), store.clone());
            outlets.push((store, outcomes));
        }
        Ok((Self(stores), outlets))
    }

    /// The store of that URL.
    pub(super) fn get(&self, url: &SecretUrl) -> anyhow::Result<Store> {
        self.0.get(url.expose()).cloned().ok_or_else(|| anyhow::anyhow!("{url} was not opened"))
    }

    /// Every configured database with its name, for the dead-letter desk. What no role of this process uses is
    /// opened here and shows in the first use; the process is no less ready without it, and publishes nothing of it.
    pub(super) async fn named(&self, config: &Config) -> anyhow::Result<Vec<(&'static str, Store)>> {
        let mut named = Vec::new();
        for (name, url) in config.databases() {
            let store = match self.get(url) {
                Ok(store) => store,
                Err(_) => Store::open(settings(config, url), HandOff::none()).await?.0,
            };
            named.push((name, store));
        }
        Ok(named)
    }

    /// Every database that this process uses, with its name.
    pub(super) fn used(&self, config: &Config) -> Vec<(&'static str, Store)> {
        let databases = config.databases().into_iter();
        databases.filter_map(|(name, url)| Some((name, self.get(url).ok()?))).collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Store> {
        self.0.values().cloned().collect()
    }
}

fn settings(config: &Config, url: &SecretUrl) -> StoreSettings {
    StoreSettings {
        url: url.expose().to_owned(),
        connections: config.database.connections,
        statement_timeout: config.consumer.handler_timeout,
        clock: Clock::system(),
    }
}

/// The databases that the roles of this process use, each once. The relay sweeps all there are.
pub(super) fn urls(config: &Config) -> Vec<SecretUrl> {
    let relay = config.roles.contains(&Role::Relay);
    let used = |role: &[Role]| relay || role.iter().any(|role| config.roles.contains(role));
    let candidates = [
        (used(&[Role::Gateway, Role::Saga]), &config.database.url),
        (used(&[Role::Order]), &config.order.database_url),
        (used(&[Role::Payment]), &config.payment.database_url),
        (used(&[Role::Dispatch]), &config.dispatch.database_url),
    ];
    let mut urls: Vec<SecretUrl> = Vec::new();
    for (is_used, url) in candidates {
        if is_used && !urls.iter().any(|known| known.expose() == url.expose()) {
            urls.push(url.clone());
        }
    }
    urls
}

/// Migrates, waiting for databases that are away, and says so again and again: nothing else of the process is there yet.
/// `false` when told to stop before that was done.
///
/// Errors: a migration failed for another reason than an absent database.
pub(super) async fn migrate_when_there(
    config: &Config,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    for url in urls(config) {
        let mut failures = 0;
        loop {
            let knocked = stop.run_until_cancelled(knock(url.expose())).await;
            let Some(knocked) = knocked else { return Ok(false) };
            let Some(away) = migrate(&url, knocked).await? else { break };
            failures += 1;
            let pause = PAUSE.delay(failures);
            tracing::warn!(database = %url, error = away, failures, again_in = ?pause, "waiting for the database");
            health.turn();
            health.set(PART, Status::Down(away));
            tokio::select! {
                () = stop.cancelled() => return Ok(false),
                () = sleep(pause) => {}
            }
        }
    }
    Ok(true)
}

/// Why the database is away, or has gone away while it was being migrated, if it is: then trying again may succeed.
///
/// Errors: it failed for another reason.
async fn migrate(url: &SecretUrl, knocked: Result<(), StoreError>) -> anyhow::Result<Option<String>> {
    if let Err(away) = knocked {
        anyhow::ensure!(away.is_outage(), "migrating {url}: {away}");
        return Ok(Some(away.to_string()));
    }
    let Err(error) = waybill_migrations::migrate(url.expose()).await else { return Ok(None) };
    anyhow::ensure!(is_outage(&error), "migrating {url}: {error}");
    Ok(Some(error.to_string()))
}

fn is_outage(error: &waybill_migrations::Error) -> bool {
    match error {
        waybill_migrations::Error::Database(error) => classify(error).is_outage(),
        waybill_migrations::Error::Lock { .. } | waybill_migrations::Error::Newer(_) => false,
    }
}

/// Asks every database once a second whether it is there, and tells `health`. It turns whatever is away: one that
/// says nothing is waited for, and told.
pub(super) async fn watch(stores: Vec<Store>, health: Health, stop: CancellationToken) {
    let mut patience = FIRST_PATIENCE;
    while !stop.is_cancelled() {
        let mut asking = pin!(ask(&stores));
        loop {
            health.turn();
            tokio::select! {
                () = stop.cancelled() => return,
                status = &mut asking => break health.set(PART, status),
                () = sleep(patience) => {
                    health.set(PART, Status::Down(format!("no answer in {} s", patience.as_secs())));
                }
            }
        }
        patience = PATIENCE;
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn ask(stores: &[Store]) -> Status {
    let mut status = Status::Up;
    for store in stores {
        if let Err(error) = store.ping().await {
            status = Status::Down(error.to_string());
        }
    }
    status
}
