//! What an operator may do to sagas: the verbs, each in a transaction with its audit row, and the audit.
//!
//! The gateway calls this directly and not through a queue, so that an operator can act while the broker is
//! away.

use sea_orm::{DbErr, QueryResult, Value};
use uuid::Uuid;
use waybill_messaging::{
    Column, Rows, Store, StoreError, Timestamp, TraceContext, Transaction, Tx, classify,
};

pub use crate::machine::{Answer, Intervention, Refusal, Verb, may_operate};
use crate::{
    Definitions, Instance,
    machine::{self, Out},
    pause::Pauses,
    persist,
    shell::{Cause, Shell},
};

/// Uses a verb on one saga. What it yields is `None` where the dispatch has no saga yet.
pub struct Operate {
    /// What the process runs.
    pub definitions: Definitions,
    /// The dispatch.
    pub dispatch_id: String,
    /// The verb.
    pub intervention: Intervention,
    /// The call.
    pub trace: TraceContext,
}

impl Transaction for Operate {
    const NAME: &'static str = "saga.operate";
    type Output = Option<Result<(), Refusal>>;

    async fn run(&self, tx: &Tx) -> Result<Self::Output, StoreError> {
        let id = self.dispatch_id.as_str();
        let held = Pauses::default().held(tx).await?;
        let loaded = persist::load(tx, std::iter::once(id)).await?;
        let mut shell = Shell::new(&self.definitions, loaded.into_values());
        let Some(instance) = shell.instance(id) else { return Ok(None) };
        let Some(definition) = self.definitions.of(&instance.definition) else {
            let (name, version, _) = &instance.definition;
            let text = format!("this process does not run {name}/{version}: ask one that does");
            return Ok(Some(Err(Refusal::State(text))));
        };
        let mut after = instance.clone();
        let transition = match machine::operate(definition, &mut after, &self.intervention, tx.now()) {
            Ok(transition) => transition,
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        let sends = transition.out.iter().any(|out| matches!(out, Out::Command(..)));
        if let Some(by) = held.holds(definition, instance, &transition.out).filter(|_| sends) {
            let text = format!("it would send a command, and {}: resume that first", held.describe(&by));
            return Ok(Some(Err(Refusal::State(text))));
        }
        *instance = after;
        tracing::info!(
            dispatch_id = id,
            verb = self.intervention.verb.name(),
            operator = self.intervention.operator,
            reason = self.intervention.reason,
            "an operator has acted"
        );
        shell.record(id, transition, &Cause { message_id: "", trace: &self.trace });
        shell.store(tx);
        let Intervention { verb, version, operator, reason } = &self.intervention;
        audit(tx, &scope_of(id), verb.name(), *version, operator, reason).await?;
        Ok(Some(Ok(())))
    }
}

/// The scope that names one dispatch.
pub fn scope_of(dispatch_id: &str) -> String {
    format!("dispatch:{dispatch_id}")
}

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Sorts by time.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// To what.
    pub scope: String,
    /// Name of the verb.
    pub verb: String,
    /// The version that it acted on; 0 where it concerned more than one dispatch.
    pub version: u64,
    /// Who.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// The dead letter that it concerned; empty for all other verbs.
    pub dead_letter: String,
}

/// A saga as it stands, if there is one.
pub async fn instance(store: &Store, dispatch_id: &str) -> Result<Option<Instance>, StoreError> {
    let sql = format!("SELECT {} FROM saga_instances i WHERE i.dispatch_id = $1", persist::COLUMNS);
    let rows = store.query(&sql, vec![dispatch_id.into()]).await?;
    rows.first().map(|row| persist::read(row).map_err(|e| classify(&e))).transpose()
}

/// Keeps what an operator does.
pub(crate) async fn audit(
    tx: &Tx,
    scope: &str,
    verb: &str,
    version: u64,
    operator: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let mut rows = Rows::new(AUDITED);
    rows.push(audited(scope, verb, version, ""));
    write(tx, &rows, operator, reason).await
}

/// Keeps what an operator does about dead letters: of each its id and its dispatch, which may be empty.
pub async fn audit_dead_letters<'a>(
    tx: &Tx,
    letters: impl Iterator<Item = (&'a Uuid, &'a str)>,
    verb: &str,
    operator: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let mut rows = Rows::new(AUDITED);
    for (id, dispatch_id) in letters {
        let id = id.to_string();
        let of_letter = || format!("dead-letter:{id}");
        let scope = if dispatch_id.is_empty() { of_letter() } else { scope_of(dispatch_id) };
        rows.push(audited(&scope, verb, 0, &id));
    }
    write(tx, &rows, operator, reason).await
}

const AUDITED: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("scope", Column::Text),
    ("verb", Column::Text),
    ("version", Column::Int),
    ("dead_letter", Column::Text),
];

fn audited(scope: &str, verb: &str, version: u64, dead_letter: &str) -> Vec<Value> {
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    let id = Uuid::now_v7().to_string();
    vec![id.into(), scope.into(), verb.into(), version.into(), dead_letter.into()]
}

async fn write(tx: &Tx, rows: &Rows, operator: &str, reason: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO operator_actions (id, at, scope, verb, version, operator, reason, dead_letter) \
               SELECT id, $1, scope, verb, version, $2, $3, dead_letter FROM v";
    let params = vec![tx.now().micros().into(), operator.into(), reason.into()];
    tx.execute_rows(rows, sql, params).await.map(|_| ())
}

/// The newest actions, at most `most`, before the one of id `before` where that is given, on one `scope` or
/// on all where it is empty.
pub async fn actions(
    store: &Store,
    scope: &str,
    before: Option<&str>,
    most: i64,
) -> Result<Vec<Action>, StoreError> {
    // Greater than every id.
    let before = before.unwrap_or("~");
    let mut params = vec![before.into(), most.into()];
    let mut on = "";
    if !scope.is_empty() {
        params.push(scope.into());
        on = "AND scope = $3";
    }
    let sql = format!(
        "SELECT id, at, scope, verb, version, operator, reason, dead_letter FROM operator_actions \
         WHERE id < $1 {on} ORDER BY id DESC LIMIT $2"
    );
    let rows = store.query(&sql, params).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

fn read(row: &QueryResult) -> Result<Action, DbErr> {
    Ok(Action {
        id: row.try_get_by_index(0)?,
        at: Timestamp::from_micros(row.try_get_by_index(1)?),
        scope: row.try_get_by_index(2)?,
        verb: row.try_get_by_index(3)?,
        version: u64::try_from(row.try_get_by_index::<i64>(4)?).unwrap_or_default(),
        operator: row.try_get_by_index(5)?,
        reason: row.try_get_by_index(6)?,
        dead_letter: row.try_get_by_index(7)?,
    })
}
