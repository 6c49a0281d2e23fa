//! What is to be seen, collected from databases and broker. What cannot be asked is left out and named.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;
use waybill_messaging::{
    Clock, Store, StoreError, Timestamp, classify,
    dead_letter::desk::{self, Filter, State},
    outbox::{self, Depth},
    queues::{Counted, Counter},
    topology::Topology,
};

use crate::{
    cli::operate::Database,
    config::{Config, SecretUrl},
    serve,
};

/// One who does not answer in time is left out of a frame.
const PATIENCE: Duration = Duration::from_secs(5);
/// Dispatches are counted by when they got their ids; the last of them may not be committed yet.
const BEHIND: Duration = Duration::from_secs(1);

/// All that is shown at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) at: Timestamp,
    /// Dispatches accepted since the snapshot before, and in how much time; nothing in the first.
    pub(super) accepted: Option<(u64, Duration)>,
    pub(super) outboxes: Vec<Outbox>,
    /// `None`: their database does not answer.
    pub(super) sagas: Option<Sagas>,
    /// Empty where the broker does not answer.
    pub(super) queues: Vec<Counted>,
    /// Who does not answer, and why.
    pub(super) troubles: Vec<String>,
}

/// What waits in one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outbox {
    pub(super) database: &'static str,
    pub(super) depth: Depth,
    pub(super) dead_letters: u64,
}

/// Sagas that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sagas {
    pub(super) running: i64,
    pub(super) compensating: i64,
    pub(super) stuck: i64,
    pub(super) parked: i64,
}

impl Sagas {
    pub(super) const fn open(self) -> i64 {
        self.running + self.compensating + self.stuck
    }
}

/// Looks again and again, over connections that stay.
pub(super) struct Look<'a> {
    config: &'a Config,
    topology: Topology,
    clock: Clock,
    databases: Vec<(&'static str, &'a SecretUrl, Option<Database>)>,
    counter: Option<Counter>,
    counted_until: Option<Timestamp>,
}

impl<'a> Look<'a> {
    /// Opens nothing yet.
    pub(super) fn new(config: &'a Config) -> Self {
        let databases = config.databases().into_iter().map(|(name, url)| (name, url, None)).collect();
        let (topology, clock) = (serve::topology(config), Clock::system());
        Self { config, topology, clock, databases, counter: None, counted_until: None }
    }

    pub(super) async fn look(&mut self) -> Snapshot {
        let at = self.clock.now();
        let (mut outboxes, mut sagas, mut accepted, mut troubles) = (Vec::new(), None, None, Vec::new());
        let since = self.counted_until;
        for (name, url, database) in &mut self.databases {
            let asked = async {
                let store = if let Some(database) = database {
                    database.store.clone()
                } else {
                    let opened = Database::open(name, url).await.map_err(|failure| failure.message)?;
                    database.insert(opened).store.clone()
                };
                outboxes.push(outbox(&store, name).await.map_err(|error| error.to_string())?);
                if *name == "common" {
                    sagas = Some(open_sagas(&store).await.map_err(|error| error.to_string())?);
                    let until = at.minus(BEHIND);
                    if let Some(since) = since.filter(|since| *since < until) {
                        let count =
                            accepted_in(&store, since, until).await.map_err(|error| error.to_string())?;
                        accepted = Some((count, until.since(since)));
                    }
                    self.counted_until = Some(until);
                }
                Ok::<(), String>(())
            };
            let asked = timeout(PATIENCE, asked).await;
            if let Err(error) = asked.unwrap_or_else(|_| Err("no answer".to_owned())) {
                troubles.push(format!("database {name}: {error}"));
            }
        }
        let queues = self.count().await.unwrap_or_else(|error| {
            troubles.push(format!("broker {}: {error}", self.config.amqp.url));
            Vec::new()
        });
        Snapshot { at, accepted, outboxes, sagas, queues, troubles }
    }

    async fn count(&mut self) -> Result<Vec<Counted>, String> {
        let counter = match self.counter.take() {
            Some(counter) => counter,
            None => Counter::connect(&serve::server(self.config)).await?,
        };
        // One that failed is not kept.
        let queues = counter.count(&self.topology).await?;
        self.counter = Some(counter);
        Ok(queues)
    }

    pub(super) async fn close(self) {
        if let Some(counter) = self.counter {
            counter.close().await;
        }
        for database in self.databases.into_iter().filter_map(|(_, _, database)| database) {
            database.store.close().await;
        }
    }
}

async fn outbox(store: &Store, database: &'static str) -> Result<Outbox, StoreError> {
    let filter = Filter { states: vec![State::Dead], ..Filter::default() };
    let dead_letters = desk::groups(store, &filter).await?.iter().map(|group| group.letters).sum();
    Ok(Outbox { database, depth: outbox::depth(store).await?, dead_letters })
}

async fn open_sagas(store: &Store) -> Result<Sagas, StoreError> {
    let mut sagas = Sagas::default();
    for census in waybill_saga::census(store).await?.values() {
        sagas.running += census.running;
        sagas.compensating += census.compensating;
        sagas.stuck += census.stuck;
        sagas.parked += census.parked;
    }
    Ok(sagas)
}

/// By their ids, which sort by time: only those are read.
async fn accepted_in(store: &Store, since: Timestamp, until: Timestamp) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM dispatches WHERE dispatch_id >= $1 AND dispatch_id < $2";
    let rows = store.query(sql, vec![floor(since).into(), floor(until).into()]).await?;
    let count = rows.first().map_or(Ok(0), |row| row.try_get_by_index::<i64>(0).map_err(|e| classify(&e)))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Sorts before every id that was given at `moment` or later.
fn floor(moment: Timestamp) -> String {
    let millis = u64::try_from(moment.micros() / 1_000).unwrap_or_default();
    Uuid::from_u128(u128::from(millis) << 80).to_string()
}
