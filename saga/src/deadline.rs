//! Wakes the instances whose answer has not come: found by an index, each taken by one orchestrator. What
//! is parked for them is handled first.

use std::time::Duration;

use sea_orm::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{Frontier, Store, StoreError, Timestamp, TraceContext, Transaction, Tx, classify};

use crate::{
    Definition, Definitions, Instance, Orchestrator, Participant,
    machine::Input,
    orchestrator::advance,
    parked,
    pause::{Held, Scope, resume},
    persist::{COLUMNS, read},
    shell::{Cause, Shell},
};

/// Instances woken in one transaction, at most.
const PAGE: i64 = 200;
/// Nobody writes a deadline that has passed by longer than this; who does all the same is heard when the next look begins
/// at the beginning,
const MARGIN: Duration = Duration::from_secs(10);
/// which is after so many times what the last such look took.
const SPARING: u32 = 50;

/// Looks every `interval` until `stop`; without a pause as long as more are due.
pub async fn run(store: Store, orchestrator: Orchestrator, interval: Duration, stop: CancellationToken) {
    let mut report = parked::Report::new();
    let mut frontier = Frontier::new(SPARING);
    while !stop.is_cancelled() {
        let looked = match look_on(&store, &orchestrator, &mut frontier).await {
            Ok(more) => report.tell(&store, orchestrator.definitions()).await.map(|()| more),
            Err(error) => Err(error),
        };
        let more = match looked {
            Ok(more) => more,
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

/// Looks once: what is parked and can be handled, what is being resumed, what is due. Says whether there may be
/// more.
pub async fn look(store: &Store, orchestrator: &Orchestrator) -> Result<bool, StoreError> {
    look_on(store, orchestrator, &mut Frontier::new(SPARING)).await
}

async fn look_on(
    store: &Store,
    orchestrator: &Orchestrator,
    frontier: &mut Frontier<Timestamp>,
) -> Result<bool, StoreError> {
    let more = parked::take(store, orchestrator).await? | resume::take(store, orchestrator).await?;
    let late = orchestrator.lateness(store.clock().now());
    Ok(wake_on(store, orchestrator.definitions(), late, frontier).await? || more)
}

/// Wakes what has been due of the live definitions for as long as messages are `late`, at most a page of each, and says
/// whether there may be more.
pub async fn wake(store: &Store, definitions: &Definitions, late: Duration) -> Result<bool, StoreError> {
    wake_on(store, definitions, late, &mut Frontier::new(SPARING)).await
}

/// The same beyond a frontier, which it moves on.
async fn wake_on(
    store: &Store,
    definitions: &Definitions,
    late: Duration,
    frontier: &mut Frontier<Timestamp>,
) -> Result<bool, StoreError> {
    let begun = Instant::now();
    let since = frontier.begin(begun);
    let mut reached = store.clock().now().minus(late);
    let held = Held::deadlines(store).await?;
    let mut more = false;
    for (hash, definition) in definitions.live() {
        let Some(silent) = held.silent(definition) else { continue };
        let steps = apart_from(definition, &silent);
        // Asked outside a transaction first: most of the time nothing is due, and SQLite's writer is precious.
        let sql = format!("SELECT 1 FROM saga_instances i WHERE {DUE}{steps} LIMIT 1");
        let due = due(definition, hash, since, store.clock().now().minus(late));
        if !store.query(&sql, due).await?.is_empty() {
            let wake = Wake {
                definitions: definitions.clone(),
                definition: definition.clone(),
                hash: hash.to_owned(),
                held: held.clone(),
                steps,
                since,
                late,
            };
            let woken = store.run(wake).await?;
            if woken.count >= PAGE {
                more = true;
                reached = reached.min(woken.first.unwrap_or(reached));
            }
        }
    }
    frontier.advance(since.as_ref(), begun, Instant::now(), reached.minus(MARGIN));
    Ok(more)
}

/// Wakes what is due in the scope of a pause that is being lifted, at most `most`, and says how many those were.
/// `held` is everything else.
pub(crate) async fn wake_held(
    tx: &Tx,
    orchestrator: &Orchestrator,
    held: &Held,
    scope: &Scope,
    most: i64,
) -> Result<i64, StoreError> {
    let mut woken = 0;
    for (hash, definition) in orchestrator.definitions().live() {
        let Some(silent) = held.silent(definition) else { continue };
        let mut steps = apart_from(definition, &silent);
        match scope {
            Scope::All => {}
            Scope::Saga(name) if name == definition.name => {}
            Scope::Participant(participant) => {
                steps = format!("{steps} AND i.current_step IN ({})", names(definition, &[*participant]));
            }
            Scope::Saga(_) | Scope::Dispatch(_) => continue,
        }
        let (definitions, definition) = (orchestrator.definitions().clone(), definition.clone());
        let wake = Wake {
            definitions,
            definition,
            hash: hash.to_owned(),
            held: held.clone(),
            steps,
            since: None,
            late: Duration::ZERO,
        };
        woken += wake.page(tx, most - woken).await?.count;
    }
    Ok(woken)
}

/// Leaves out the steps of these participants.
fn apart_from(definition: &Definition, silent: &[Participant]) -> String {
    if silent.is_empty() {
        return String::new();
    }
    format!(" AND i.current_step NOT IN ({})", names(definition, silent))
}

/// The steps of these participants, as a list in a statement.
fn names(definition: &Definition, participants: &[Participant]) -> String {
    let theirs = definition.steps.iter().filter(|step| participants.contains(&step.command.participant()));
    let names: Vec<String> = theirs.map(|step| format!("'{}'", step.name)).collect();
    // A list may not be empty, and no step is called so.
    if names.is_empty() { "''".to_owned() } else { names.join(", ") }
}

/// An answer that is parked is not missing.
const DUE: &str = "i.definition_version = $1 AND i.deadline_at > $2 AND i.deadline_at <= $3 AND i.definition = $4 \
     AND i.definition_hash = $5 AND i.paused = 0 AND NOT EXISTS (SELECT 1 FROM saga_parked p WHERE p.dispatch_id = i.dispatch_id)";

fn due(definition: &Definition, hash: &str, since: Option<Timestamp>, until: Timestamp) -> Vec<Value> {
    let since = since.unwrap_or_default();
    vec![
        i64::from(definition.version).into(),
        since.micros().into(),
        until.micros().into(),
        definition.name.into(),
        hash.into(),
    ]
}

/// What a page has woken.
struct Woken {
    count: i64,
    /// The deadline that passed first among them.
    first: Option<Timestamp>,
}

struct Wake {
    definitions: Definitions,
    definition: Definition,
    hash: String,
    /// What is paused.
    held: Held,
    /// Which steps, as a condition.
    steps: String,
    /// Beyond which deadline; `None`: all that have passed.
    since: Option<Timestamp>,
    /// For how long they have to have been due.
    late: Duration,
}

impl Transaction for Wake {
    const NAME: &'static str = "saga.wake";
    type Output = Woken;

    async fn run(&self, tx: &Tx) -> Result<Woken, StoreError> {
        self.page(tx, PAGE).await
    }
}

impl Wake {
    /// Wakes at most `most`, in the order of their deadlines.
    async fn page(&self, tx: &Tx, most: i64) -> Result<Woken, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE OF i SKIP LOCKED" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM saga_instances i WHERE {DUE}{} ORDER BY i.deadline_at LIMIT {most} {lock}",
            self.steps
        );
        let rows =
            tx.query(&sql, due(&self.definition, &self.hash, self.since, tx.now().minus(self.late))).await?;
        let ours: Vec<Instance> =
            rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect::<Result<_, _>>()?;
        let count = i64::try_from(ours.len()).unwrap_or(i64::MAX);
        let first = ours.first().and_then(|instance| instance.deadline_at);
        let ids: Vec<String> = ours.iter().map(|instance| instance.dispatch_id.clone()).collect();
        let mut shell = Shell::new(&self.definitions, ours);
        for dispatch_id in &ids {
            self.wake(&mut shell, dispatch_id, tx);
        }
        shell.store(tx);
        tx.write_later().await?;
        Ok(Woken { count, first })
    }

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
        // What follows may be for a participant that is paused: then it is left for later.
        let advanced = advance(&self.definition, instance, &self.held, Input::Deadline, tx.now());
        if let Ok(Some(transition)) = advanced {
            tracing::warn!(event = transition.happened.event, "no answer in time");
            shell.record(dispatch_id, transition, &Cause { message_id: "", trace: &trace });
        }
    }
}

#[cfg(test)]
mod tests;
