//! The dead-letter desk: where the letters are, and what operators do about them. They lie in the database of
//! the consumer that gave up, which need not be the gateway's.

mod resolve;

use std::{sync::Arc, time::Duration};

use tonic::Status;
use uuid::Uuid;
use waybill_messaging::{
    Store, StoreError, Timestamp,
    dead_letter::desk::{self, Letter},
};

pub(crate) use self::resolve::{Edit, Edited, How, Resolve};
use crate::status;

/// A database with its name: `common`, or the participant that has it to itself.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
}

/// All that have dead letters. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    databases: Arc<[Database]>,
    /// How long the inbox remembers what was handled.
    pub(crate) inbox_retention: Duration,
}

impl Desk {
    pub(crate) fn new(databases: Vec<(&'static str, Store)>, inbox_retention: Duration) -> Self {
        let databases = databases.into_iter().map(|(name, store)| Database { name, store }).collect();
        Self { databases, inbox_retention }
    }

    /// The one of that name, or all of them. `None`: there is none of that name.
    pub(crate) fn databases(&self, name: Option<&str>) -> Option<Vec<Database>> {
        let matches = |database: &&Database| name.is_none_or(|name| name == database.name);
        let found: Vec<_> = self.databases.iter().filter(matches).cloned().collect();
        (!found.is_empty()).then_some(found)
    }

    /// Their names.
    pub(crate) fn names(&self) -> String {
        self.databases.iter().map(|database| database.name).collect::<Vec<_>>().join(", ")
    }

    /// What died first before this moment may have been handled since and forgotten.
    pub(crate) fn early(&self, now: Timestamp) -> Timestamp {
        now.minus(self.inbox_retention)
    }

    /// One letter, whole, and where it lies.
    pub(crate) async fn find(&self, id: Uuid) -> Result<Option<(Database, Letter)>, Status> {
        for database in self.databases.iter() {
            let found = desk::letter(&database.store, id).await;
            if let Some(letter) = found.map_err(|error| database.failed(&error))? {
                return Ok(Some((database.clone(), letter)));
            }
        }
        Ok(None)
    }
}

impl Database {
    /// It could not be read; it is named, because the others may be there.
    pub(crate) fn failed(&self, error: &StoreError) -> Status {
        self.named(&status::read_failed(error))
    }

    /// It could not be written to.
    pub(crate) fn not_committed(&self, error: &StoreError) -> Status {
        tracing::error!(database = self.name, %error, "an action on dead letters was not committed");
        self.named(&status::operator_failed(error))
    }

    fn named(&self, status: &Status) -> Status {
        let message = format!("database {}: {}", self.name, status.message());
        Status::with_details(status.code(), message, status.details().to_vec().into())
    }
}
