//! The one thing that a change of slots must not break: a message is recorded once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use waybill_test_support::TestDatabase;

use super::{handled, record};
use crate::{
    Clock, Store, StoreError, StoreSettings, Transaction, Tx,
    relay::HandOff,
    slots::{self, Empty, Open, Slotted, State},
};

/// Has an effect unless the message is known. The table it goes to bears two rows of a kind.
struct Once(String);

impl Transaction for Once {
    const NAME: &'static str = "test.once";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        let id = self.0.as_str();
        if handled(tx, "order", std::iter::once(id)).await?.is_empty() {
            tx.execute("INSERT INTO effects (id) VALUES ($1)", vec![id.into()]).await?;
            record(tx, "order", std::iter::once((id, None)));
        }
        Ok(())
    }
}

async fn open(database: &TestDatabase) -> Store {
    let settings = StoreSettings {
        url: database.url().to_owned(),
        connections: 8,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::system(),
    };
    Store::open(settings, HandOff::none()).await.unwrap().0
}

/// Changes slots without a pause until told to stop; forgets what is a second old. Yields how often.
async fn rotate(store: Store, stop: Arc<AtomicBool>) -> u32 {
    let table = Slotted::Inbox;
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        if let Ok(true) = store.run(Open { table, when: "true".to_owned(), alone: true }).await {
            opened += 1;
        }
        let closed_by = store.clock().now().minus(Duration::from_secs(1));
        for slot in slots::all(&store, table).await.unwrap() {
            if slot.state == State::Closed && slot.since <= closed_by {
                // Somebody may be reading it: there is a next time.
                let _ = store.run(Empty { table, slot: slot.number, closed_by, keep: None }).await;
            }
        }
    }
    opened
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_twice_at_once_is_recorded_once_while_slots_change() {
    let database = TestDatabase::postgres().await;
    database.execute("CREATE TABLE effects (id text NOT NULL)").await;
    let (here, there) = (open(&database).await, open(&database).await);
    let stop = Arc::new(AtomicBool::new(false));
    let rotating = tokio::spawn(rotate(open(&database).await, Arc::clone(&stop)));
    for batch in 0..300 {
        let twice = (0..8).flat_map(|n| {
            let id = format!("{batch}-{n}");
            [here.run(Once(id.clone())), there.run(Once(id))]
        });
        // One that lost six times is delivered again.
        for outcome in futures_util::future::join_all(twice).await {
            assert!(outcome.as_ref().err().is_none_or(StoreError::is_outage), "{outcome:?}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(rotating.await.unwrap() > 10, "slots changed meanwhile");
    let sql = "SELECT count(*) FROM (SELECT id FROM effects GROUP BY id HAVING count(*) <> 1) twice";
    assert_eq!(database.number(sql).await, 0);
    assert!(database.number("SELECT count(*) FROM effects").await > 2_000);
}
