//! However many sagas there have been, what is due is found without looking at the others, also while nothing that has
//! died can be removed.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, IsolationLevel, TransactionTrait as _};
use tokio::time::Instant;
use waybill_messaging::{Clock, Frontier, Store, StoreSettings, relay::HandOff};
use waybill_test_support::{TestDatabase, on_both_databases, session};

use super::{DUE, SPARING, wake_on};
use crate::{Defaults, Definitions, order_fulfilment};

on_both_databases!(
    what_is_due_is_found_by_an_index,
    what_is_due_before_the_frontier_waits_for_the_next_look_from_the_beginning,
);

/// Ended, as nearly all are, but for one in a thousand.
const INSTANCES: &str = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000) \
     INSERT INTO saga_instances (dispatch_id, definition, definition_version, definition_hash, state, steps, \
     current_step, attempt, version, reason, request, traceparent, tracestate, started_at, updated_at, ended_at, \
     deadline_at) SELECT 'd-' || n, 'order_fulfilment', 2, 'h', 'COMPLETED', 'DONE', '', 1, 9, '', '', '', '', 1, 2, 2, \
     CASE WHEN n % 1000 = 0 THEN n END FROM n";

/// A look for what is due of those, beyond `since`.
fn look(since: u32) -> String {
    let since = since.to_string();
    [("$1", "2"), ("$2", &since), ("$3", "3500"), ("$4", "'order_fulfilment'"), ("$5", "'h'")]
        .iter()
        .fold(format!("SELECT i.dispatch_id FROM saga_instances i WHERE {DUE}"), |sql, (parameter, value)| {
            sql.replace(parameter, value)
        })
}

async fn open(database: &TestDatabase) -> Store {
    let settings = StoreSettings {
        url: database.url().to_owned(),
        connections: 2,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::system(),
    };
    Store::open(settings, HandOff::none()).await.unwrap().0
}

async fn what_is_due_is_found_by_an_index(database: TestDatabase) {
    let store = open(&database).await;
    database.execute(INSTANCES).await;
    database.execute("ANALYZE").await;
    let select = format!("{} ORDER BY i.deadline_at", look(1_000));
    assert_eq!(database.texts(&select).await, ["d-2000", "d-3000"], "those before were woken");
    let (explain, column) = if database.is_postgres() { ("EXPLAIN", 0) } else { ("EXPLAIN QUERY PLAN", 3) };
    let rows = store.query(&format!("{explain} {select}"), Vec::new()).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.try_get_by_index(column).unwrap()).collect();
    // By the moment, too, and not by the version alone.
    let searched = if database.is_postgres() { "Index Cond:" } else { "saga_instances_due" };
    let by_moment = |line: &String| line.contains(searched) && line.contains("deadline_at");
    assert!(plan.iter().any(by_moment), "{plan:#?}");
    assert!(plan.iter().any(|line| line.contains("saga_instances_due")), "{plan:#?}");
    store.close().await;
}

async fn what_is_due_before_the_frontier_waits_for_the_next_look_from_the_beginning(database: TestDatabase) {
    let store = open(&database).await;
    let minute = Duration::from_mins(1);
    let defaults = Defaults { step_timeout: minute, step_attempts: 5, saga_timeout: minute * 1_000 };
    let definition = order_fulfilment(&defaults).swap_remove(0);
    let request = if database.is_postgres() { "''" } else { "x''" };
    let start = store.clock().now();
    let due = start.minus(minute).micros();
    database
        .execute(&format!(
            "INSERT INTO saga_instances (dispatch_id, definition, definition_version, definition_hash, state, steps, \
             current_step, attempt, version, reason, request, traceparent, tracestate, started_at, updated_at, \
             ended_at, deadline_at) VALUES ('d-1', '{}', {}, '{}', 'RUNNING', 'RUNNING,PENDING,PENDING,PENDING', '{}', 1, 1, '', {request}, '', '', \
             {due}, {due}, 0, {due})",
            definition.name,
            definition.version,
            definition.hash(),
            definition.steps[0].name,
        ))
        .await;
    let definitions = Definitions::new([definition], &[1], 1).unwrap();
    let attempt = || database.number("SELECT attempt FROM saga_instances");
    let (now, mut frontier) = (Instant::now(), Frontier::new(SPARING));
    frontier.advance(None, now, now + minute, start);
    wake_on(&store, &definitions, Duration::ZERO, &mut frontier).await.unwrap();
    assert_eq!(attempt().await, 1, "the last look from the beginning took a minute");
    frontier.advance(None, now, now, start);
    wake_on(&store, &definitions, Duration::ZERO, &mut frontier).await.unwrap();
    assert_eq!(attempt().await, 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_an_old_snapshot_a_look_beyond_the_frontier_does_not_walk_over_what_has_died() {
    let database = TestDatabase::postgres().await;
    database.execute(INSTANCES).await;
    database.execute("UPDATE saga_instances SET deadline_at = CAST(substr(dispatch_id, 3) AS bigint)").await;
    database.execute("ANALYZE").await;
    let session = session(database.url()).await;
    let snapshot = session.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await.unwrap();
    snapshot.execute_unprepared("SELECT count(*) FROM dispatches").await.unwrap();
    database.execute("UPDATE saga_instances SET deadline_at = NULL WHERE dispatch_id <> 'd-3500'").await;
    database.execute("VACUUM saga_instances").await;
    let looked = async |since| {
        let plan = database.texts(&format!("EXPLAIN (ANALYZE, BUFFERS) {}", look(since))).await;
        let buffers = plan.iter().find_map(|line| line.trim().strip_prefix("Buffers: shared ")).unwrap();
        let counts = buffers.split(['=', ' ']).filter_map(|word| word.parse::<u32>().ok());
        (database.texts(&look(since)).await, counts.sum::<u32>())
    };
    let ((whole, many), (beyond, few)) = (looked(0).await, looked(3_490).await);
    assert_eq!((whole, beyond), (vec!["d-3500".to_owned()], vec!["d-3500".to_owned()]));
    assert!(few * 10 < many, "{many} pages from the beginning, {few} from the frontier");
    snapshot.rollback().await.unwrap();
}
