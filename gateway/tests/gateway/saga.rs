//! What a saga would have written, written by the test.

use waybill_saga::{Defaults, order_fulfilment};
use waybill_test_support::TestDatabase;

/// Writes the instance of a dispatch as it stands at `version`, over what stood there before.
pub(crate) async fn stands(database: &TestDatabase, id: &str, state: &str, steps: &str, version: u64) {
    let ended = if matches!(state, "COMPLETED" | "COMPENSATED") { version * 1_000_000 } else { 0 };
    let hash = hash();
    let sql = format!(
        "INSERT INTO saga_instances (dispatch_id, definition, definition_version, definition_hash, state, \
         steps, current_step, attempt, version, reason, request, traceparent, tracestate, started_at, \
         updated_at, ended_at) VALUES ('{id}', 'order_fulfilment', 1, '{hash}', '{state}', '{steps}', '', 1, \
         {version}, 'why', '', '', '', 1000000, {version} * 1000000, {ended}) \
         ON CONFLICT (dispatch_id) DO UPDATE SET state = '{state}', steps = '{steps}', version = {version}, \
         updated_at = {version} * 1000000, ended_at = {ended}"
    );
    database.execute(&sql).await;
}

/// Of version 1.
fn hash() -> String {
    order_fulfilment(&Defaults::default())[0].hash()
}

/// Writes one row of history.
pub(crate) async fn happened(database: &TestDatabase, id: &str, version: u64, state: &str, event: &str) {
    let step = event.rsplit_once('_').map_or("", |(step, _)| step);
    let sql = format!(
        "INSERT INTO saga_history (dispatch_id, version, at, state, event, step, attempt, reason, \
         cause_message_id) VALUES ('{id}', {version}, {version} * 1000000, '{state}', '{event}', '{step}', \
         1, '', 'cause-{version}')"
    );
    database.execute(&sql).await;
}
