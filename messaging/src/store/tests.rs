//! What a transaction that panics leaves behind: an error for its caller, and nothing in the database.

use std::time::Duration;

use waybill_test_support::{TestDatabase, on_both_databases};

use super::{Settings, Store, Transaction, Tx};
use crate::{Clock, Failure, StoreError, relay::HandOff};

on_both_databases!(a_transaction_that_panics_fails_and_leaves_nothing_behind);

/// Writes a note, and panics after it where it is told to.
struct Note {
    panics: bool,
}

impl Transaction for Note {
    const NAME: &'static str = "test.note";
    type Output = u64;

    async fn run(&self, tx: &Tx) -> Result<u64, StoreError> {
        let written = tx.execute("INSERT INTO notes (text) VALUES ($1)", vec!["half done".into()]).await?;
        assert!(!self.panics, "on purpose");
        Ok(written)
    }
}

async fn a_transaction_that_panics_fails_and_leaves_nothing_behind(database: TestDatabase) {
    database.execute("CREATE TABLE notes (text TEXT NOT NULL)").await;
    let settings = Settings {
        url: database.url().to_owned(),
        // The next transaction gets the connection of the one that panicked.
        connections: 1,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::system(),
    };
    let (store, _) = Store::open(settings, HandOff::none()).await.unwrap();
    let panicked = |result: Result<u64, StoreError>| match result {
        Err(StoreError::Failed(Failure::Transient(text))) => text,
        other => panic!("{other:?}"),
    };
    for round in 1..=2 {
        let elsewhere = panicked(store.run(Note { panics: true }).await);
        assert!(elsewhere.starts_with("test.note panicked: "), "{elsewhere}");
        assert_eq!(panicked(store.run_here(&Note { panics: true }).await), "test.note panicked: see the log");
        assert_eq!(store.run(Note { panics: false }).await, Ok(1));
        assert_eq!(store.run_here(&Note { panics: false }).await, Ok(1));
        assert_eq!(database.number("SELECT count(*) FROM notes").await, 2 * round);
    }
    store.close().await;
}
