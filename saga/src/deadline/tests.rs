//! However many sagas there have been, what is due is found without looking at the others.

use std::time::Duration;

use waybill_messaging::{Clock, Store, StoreSettings, relay::HandOff};
use waybill_test_support::{TestDatabase, on_both_databases};

use super::DUE;

on_both_databases!(what_is_due_is_found_by_an_index);

/// Ended, as nearly all are, but for one in a thousand.
const INSTANCES: &str = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000) \
     INSERT INTO saga_instances (dispatch_id, definition, definition_version, definition_hash, state, steps, \
     current_step, attempt, version, reason, request, traceparent, tracestate, started_at, updated_at, ended_at, \
     deadline_at) SELECT 'd-' || n, 'order_fulfilment', 2, 'h', 'COMPLETED', 'DONE', '', 1, 9, '', '', '', '', 1, 2, 2, \
     CASE WHEN n % 1000 = 0 THEN n END FROM n";

async fn what_is_due_is_found_by_an_index(database: TestDatabase) {
    let settings = StoreSettings {
        url: database.url().to_owned(),
        connections: 2,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::system(),
    };
    let (store, _) = Store::open(settings, HandOff::none()).await.unwrap();
    database.execute(INSTANCES).await;
    database.execute("ANALYZE").await;
    let due = [("$1", "2"), ("$2", "3500"), ("$3", "'order_fulfilment'"), ("$4", "'h'")]
        .iter()
        .fold(DUE.to_owned(), |sql, (parameter, value)| sql.replace(parameter, value));
    let select = format!("SELECT i.dispatch_id FROM saga_instances i WHERE {due} ORDER BY i.deadline_at");
    assert_eq!(database.texts(&select).await, ["d-1000", "d-2000", "d-3000"]);
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
