//! The history of what has ended is forgotten in time and in small steps, on both databases.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::time::Duration;

use uuid::Builder;
use waybill_messaging::{Clock, Store, StoreSettings, Timestamp, relay::HandOff};
use waybill_saga::{ForgetHistory, Forgotten};
use waybill_test_support::{TestDatabase, on_both_databases};

on_both_databases!(the_history_of_what_ended_long_ago_is_forgotten_a_few_rows_at_a_time_oldest_first,);

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const DAY: Duration = Duration::from_hours(24);

async fn store(database: &TestDatabase) -> Store {
    let settings = StoreSettings {
        url: database.url().to_owned(),
        connections: 2,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::stopped_at(NOW),
    };
    Store::open(settings, HandOff::none()).await.unwrap().0
}

/// A dispatch that was accepted so many days ago, ended so many days ago if it has, and has three rows of history.
async fn dispatch(database: &TestDatabase, number: u8, accepted: u32, ended: Option<u32>) -> String {
    let at = NOW.minus(DAY * accepted);
    let random = [number, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let id = Builder::from_unix_timestamp_millis(u64::try_from(at.millis()).unwrap(), &random);
    let id = id.into_uuid().to_string();
    let state = if ended.is_some() { "COMPLETED" } else { "STUCK" };
    let ended = ended.map_or(0, |days| NOW.minus(DAY * days).micros());
    let at = at.micros();
    let instance = format!(
        "INSERT INTO saga_instances (dispatch_id, definition, definition_version, definition_hash, state, steps, \
         current_step, attempt, version, reason, request, traceparent, tracestate, started_at, updated_at, ended_at) \
         VALUES ('{id}', 'order_fulfilment', 1, '', '{state}', 'DONE', '', 1, 3, '', '', '', '', {at}, {at}, {ended})"
    );
    database.execute(&instance).await;
    for version in 1..=3 {
        let row = format!(
            "INSERT INTO saga_history (dispatch_id, version, at, state, event, step, attempt, reason, \
             cause_message_id) VALUES ('{id}', {version}, {at}, '{state}', 'e', '', 0, '', '')"
        );
        database.execute(&row).await;
    }
    id
}

/// What is left: number of the dispatch, and version.
async fn left(database: &TestDatabase, ids: &[String]) -> Vec<(usize, u64)> {
    let sql = "SELECT dispatch_id || ' ' || version FROM saga_history ORDER BY dispatch_id, version";
    let row = |text: String| {
        let (id, version) = text.split_once(' ').unwrap();
        (ids.iter().position(|known| known == id).unwrap(), version.parse().unwrap())
    };
    database.texts(sql).await.into_iter().map(row).collect()
}

async fn the_history_of_what_ended_long_ago_is_forgotten_a_few_rows_at_a_time_oldest_first(
    database: TestDatabase,
) {
    let mut ids = Vec::new();
    for (number, (accepted, ended)) in
        [(50, Some(40)), (45, None), (44, Some(31)), (43, Some(29)), (1, Some(1))].into_iter().enumerate()
    {
        ids.push(dispatch(&database, u8::try_from(number).unwrap(), accepted, ended).await);
    }
    let store = store(&database).await;
    let forget = async |from: &str| {
        let work = ForgetHistory { before: NOW.minus(DAY * 30), from: from.to_owned(), most: 2 };
        let Forgotten { rows, last } = store.run(work).await.unwrap();
        (rows, ids.iter().position(|id| *id == last))
    };
    let kept = [(1, 1), (1, 2), (1, 3), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3)];
    let and_kept = |more: &[(usize, u64)]| {
        let mut all = [more, &kept[..]].concat();
        all.sort_unstable();
        all
    };
    assert_eq!(forget("").await, (2, Some(0)));
    assert_eq!(left(&database, &ids).await, and_kept(&[(0, 3), (2, 1), (2, 2), (2, 3)]));
    assert_eq!(forget(&ids[0]).await, (2, Some(2)), "it goes on with what is left of the last one");
    assert_eq!(left(&database, &ids).await, and_kept(&[(2, 2), (2, 3)]), "what is stuck holds nobody up");
    assert_eq!(forget(&ids[3]).await, (0, None), "what stands before is not looked at");
    assert_eq!((forget("").await, forget("").await), ((2, Some(2)), (0, None)));
    assert_eq!(left(&database, &ids).await, kept, "what has not ended, or not long ago, keeps its history");
    let instances = "SELECT count(*) FROM saga_instances";
    assert_eq!(database.number(instances).await, 5, "the instances themselves stay");
    store.close().await;
}
