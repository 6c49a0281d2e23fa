//! Wakes the instances whose answer has not come: found by an index, each taken by one orchestrator.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use waybill_messaging::{Store, StoreError, TraceContext, Transaction, Tx, classify};

use crate::{
    Definition, Instance,
    machine::{self, Input},
    persist::{COLUMNS, read},
    shell::{Cause, Shell},
};

/// Instances woken in one transaction, at most.
const PAGE: i64 = 200;

/// Looks every `interval` until `stop`; without a pause as long as more are due.
pub async fn run(store: Store, definition: Arc<Definition>, interval: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let more = match wake(&store, &definition).await {
            Ok(woken) => woken >= PAGE,
            Err(error) => {
                tracing::warn!(%error, "deadlines cannot be looked after now");
                false
            }
        };
        if !more {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(interval) => {}
            }
        }
    }
}

/// Wakes what is due, at most a page, and says how many that were.
pub async fn wake(store: &Store, definition: &Arc<Definition>) -> Result<i64, StoreError> {
    // Asked outside a transaction first: most of the time nothing is due, and SQLite's writer is precious.
    let sql = "SELECT 1 FROM saga_instances WHERE deadline_at <= $1 LIMIT 1";
    if store.query(sql, vec![store.clock().now().micros().into()]).await?.is_empty() {
        return Ok(0);
    }
    store.run(Wake { definition: Arc::clone(definition) }).await
}

struct Wake {
    definition: Arc<Definition>,
}

impl Transaction for Wake {
    const NAME: &'static str = "saga.wake";
    type Output = i64;

    async fn run(&self, tx: &Tx) -> Result<i64, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        // Only of our own definition: an orchestrator that knows the others wakes those.
        let sql = format!(
            "SELECT {COLUMNS} FROM saga_instances i WHERE i.deadline_at <= $1 AND i.definition = $2 \
             AND i.definition_version = $3 AND i.definition_hash = $4 ORDER BY i.deadline_at LIMIT $5 {lock}"
        );
        let Definition { name, version, .. } = *self.definition;
        let (now, hash) = (tx.now().micros(), self.definition.hash());
        let params = vec![now.into(), name.into(), i64::from(version).into(), hash.into(), PAGE.into()];
        let rows = tx.query(&sql, params).await?;
        let ours: Vec<Instance> =
            rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect::<Result<_, _>>()?;
        let woken = i64::try_from(ours.len()).unwrap_or(i64::MAX);
        let ids: Vec<String> = ours.iter().map(|instance| instance.dispatch_id.clone()).collect();
        let mut shell = Shell::new(&self.definition, ours);
        for dispatch_id in &ids {
            self.wake(&mut shell, dispatch_id, tx);
        }
        shell.store(tx, |instance| instance.updated_at == tx.now()).await?;
        Ok(woken)
    }
}

impl Wake {
    fn wake(&self, shell: &mut Shell<'_>, dispatch_id: &str, tx: &Tx) {
        let Some(instance) = shell.instance(dispatch_id) else { return };
        let span = tracing::info_span!(
            parent: None,
            "saga.deadline",
            dispatch_id,
            trace_id = instance.trace.trace_id(),
            otel.kind = "internal",
        );
        instance.trace.adopt(&span);
        let _entered = span.enter();
        let trace = TraceContext::of(&span, &instance.trace);
        if let Some(transition) = machine::advance(&self.definition, instance, Input::Deadline, tx.now()) {
            tracing::warn!(event = transition.happened.event, "no answer in time");
            shell.record(dispatch_id, transition, &Cause { message_id: "", trace: &trace });
        }
    }
}
