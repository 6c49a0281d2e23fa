//! Instances and their history, to and from their tables, a batch in a statement.

use std::collections::HashMap;

use prost::Message;
use sea_orm::{DbErr, QueryResult, Value};
use waybill_messaging::{All, Column, Rows, StoreError, Timestamp, TraceContext, Tx, classify};

use crate::{Instance, InstanceState, StepState, machine::Happened};

pub(crate) const COLUMNS: &str = "i.dispatch_id, i.definition, i.definition_version, i.definition_hash, i.state, \
     i.steps, i.attempt, i.version, i.reason, i.request, i.traceparent, i.tracestate, i.started_at, i.updated_at, \
     i.ended_at, coalesce(i.deadline_at, 0), i.sent_anew, i.paused";

/// How many columns those are.
pub(crate) const WIDTH: usize = 18;

const SET: &[(&str, Column)] = &[
    ("dispatch_id", Column::Text),
    ("definition", Column::Text),
    ("definition_version", Column::Int),
    ("definition_hash", Column::Text),
    ("state", Column::Text),
    ("steps", Column::Text),
    ("current_step", Column::Text),
    ("attempt", Column::Int),
    ("version", Column::Int),
    ("reason", Column::Text),
    ("request", Column::Bytes),
    ("traceparent", Column::Text),
    ("tracestate", Column::Text),
    ("started_at", Column::Int),
    ("updated_at", Column::Int),
    ("ended_at", Column::Int),
    ("deadline_at", Column::Int),
];

const CHANGE: &[(&str, Column)] = &[
    ("dispatch_id", Column::Text),
    ("state", Column::Text),
    ("steps", Column::Text),
    ("current_step", Column::Text),
    ("attempt", Column::Int),
    ("version", Column::Int),
    ("reason", Column::Text),
    ("updated_at", Column::Int),
    ("ended_at", Column::Int),
    ("deadline_at", Column::Int),
    ("sent_anew", Column::Int),
    ("version_before", Column::Int),
    ("deadline_before", Column::Int),
    ("paused", Column::Int),
];

const HISTORY: &[(&str, Column)] = &[
    ("dispatch_id", Column::Text),
    ("version", Column::Int),
    ("at", Column::Int),
    ("state", Column::Text),
    ("event", Column::Text),
    ("step", Column::Text),
    ("attempt", Column::Int),
    ("reason", Column::Text),
    ("cause_message_id", Column::Text),
];

/// What an instance was loaded with, of what others may have changed meanwhile: a transition grows the version; a
/// deadline can be moved by hand.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    version: u64,
    deadline_at: Option<Timestamp>,
}

impl Before {
    pub(crate) const fn of(instance: &Instance) -> Self {
        Self { version: instance.version, deadline_at: instance.deadline_at }
    }
}

/// What a batch has changed.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) created: Vec<Instance>,
    /// Each with what it was loaded with.
    pub(crate) changed: Vec<(Instance, Before)>,
    history: Vec<Vec<Value>>,
}

impl Changes {
    /// Records what happened to an instance, as it stands after it.
    pub(crate) fn happened(&mut self, instance: &Instance, happened: Happened, cause: &str) {
        self.history.push(vec![
            instance.dispatch_id.as_str().into(),
            count(instance.version),
            instance.updated_at.micros().into(),
            instance.state.name().into(),
            happened.event.into(),
            happened.step.into(),
            i64::from(happened.attempt).into(),
            happened.reason.into(),
            cause.into(),
        ]);
    }

    /// Writes everything, before the commit. [`StoreError::Conflict`] comes of it when another orchestrator was
    /// at one of the instances.
    pub(crate) fn store(self, tx: &Tx, step_name: impl Fn(&Instance) -> &'static str) {
        let mut created = Rows::new(SET);
        self.created.iter().for_each(|instance| created.push(whole(instance, step_name(instance))));
        let insert = "INSERT INTO saga_instances (dispatch_id, definition, definition_version, definition_hash, \
             state, steps, current_step, attempt, version, reason, request, traceparent, tracestate, started_at, \
             updated_at, ended_at, deadline_at) SELECT dispatch_id, definition, definition_version, \
             definition_hash, state, steps, current_step, attempt, version, reason, request, traceparent, \
             tracestate, started_at, updated_at, ended_at, nullif(deadline_at, 0) FROM v";
        tx.execute_later(created, insert, Vec::new(), None);
        let mut changed = Rows::new(CHANGE);
        for (instance, before) in &self.changed {
            changed.push(changes(instance, *before, step_name(instance)));
        }
        let update = "UPDATE saga_instances SET state = v.state, steps = v.steps, current_step = v.current_step, \
             attempt = v.attempt, version = v.version, reason = v.reason, updated_at = v.updated_at, \
             ended_at = v.ended_at, deadline_at = nullif(v.deadline_at, 0), sent_anew = v.sent_anew FROM v \
             WHERE saga_instances.dispatch_id = v.dispatch_id AND saga_instances.version = v.version_before \
             AND coalesce(saga_instances.deadline_at, 0) = v.deadline_before AND saga_instances.paused = v.paused";
        let all = All { or_else: "a saga has moved on meanwhile" };
        tx.execute_later(changed, update, Vec::new(), Some(all));
        let mut history = Rows::new(HISTORY);
        self.history.into_iter().for_each(|row| history.push(row));
        let append = "INSERT INTO saga_history (dispatch_id, version, at, state, event, step, attempt, reason, \
             cause_message_id) SELECT dispatch_id, version, at, state, event, step, attempt, reason, \
             cause_message_id FROM v";
        tx.execute_later(history, append, Vec::new(), None);
    }
}

/// The instances of these dispatches, locked until the transaction ends, in an order that is the same for
/// everybody; or only read, in an optimistic run.
pub(crate) async fn load<'a>(
    tx: &Tx,
    dispatch_ids: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, Instance>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM saga_instances i WHERE i.dispatch_id IN (SELECT id FROM v)");
    let lock = "ORDER BY i.dispatch_id FOR UPDATE OF i";
    let rows = tx.lock_rows(&Rows::ids(dispatch_ids), &sql, lock).await?;
    rows.iter().map(|row| read(row).map(|i| (i.dispatch_id.clone(), i)).map_err(|e| classify(&e))).collect()
}

/// Reads a row of [`COLUMNS`].
pub(crate) fn read(row: &QueryResult) -> Result<Instance, DbErr> {
    let state: String = row.try_get_by_index(4)?;
    let steps: String = row.try_get_by_index(5)?;
    let request: Vec<u8> = row.try_get_by_index(9)?;
    let steps = parse_steps(&steps)?;
    let moment = |index| row.try_get_by_index(index).map(Timestamp::from_micros);
    let optional = |index| moment(index).map(|m| (m != Timestamp::default()).then_some(m));
    Ok(Instance {
        dispatch_id: row.try_get_by_index(0)?,
        definition: (row.try_get_by_index(1)?, small(row, 2)?, row.try_get_by_index(3)?),
        state: InstanceState::from_name(&state).ok_or_else(|| unknown("state", &state))?,
        current: steps.iter().position(|s| matches!(s, StepState::Running | StepState::Compensating)),
        steps,
        attempt: small(row, 6)?,
        version: u64::try_from(row.try_get_by_index::<i64>(7)?).unwrap_or_default(),
        reason: row.try_get_by_index(8)?,
        request: Message::decode(request.as_slice()).map_err(|e| DbErr::Custom(format!("request: {e}")))?,
        trace: TraceContext { traceparent: row.try_get_by_index(10)?, tracestate: row.try_get_by_index(11)? },
        started_at: moment(12)?,
        updated_at: moment(13)?,
        ended_at: optional(14)?,
        deadline_at: optional(15)?,
        sent_anew: u64::try_from(row.try_get_by_index::<i64>(16)?).unwrap_or_default(),
        paused: row.try_get_by_index::<i64>(17)? != 0,
    })
}

/// Reads the column `steps`.
pub(crate) fn parse_steps(steps: &str) -> Result<Vec<StepState>, DbErr> {
    steps.split(',').map(|name| StepState::from_name(name).ok_or_else(|| unknown("step", name))).collect()
}

fn small(row: &QueryResult, index: usize) -> Result<u32, DbErr> {
    Ok(u32::try_from(row.try_get_by_index::<i64>(index)?).unwrap_or_default())
}

fn unknown(what: &str, name: &str) -> DbErr {
    DbErr::Custom(format!("saga {what} {name:?} is unknown to this release"))
}

fn whole(instance: &Instance, step: &'static str) -> Vec<Value> {
    let (name, version, hash) = &instance.definition;
    vec![
        instance.dispatch_id.as_str().into(),
        name.as_str().into(),
        i64::from(*version).into(),
        hash.as_str().into(),
        instance.state.name().into(),
        steps(instance).into(),
        step.into(),
        i64::from(instance.attempt).into(),
        count(instance.version),
        instance.reason.as_str().into(),
        instance.request.encode_to_vec().into(),
        instance.trace.traceparent.as_str().into(),
        instance.trace.tracestate.as_str().into(),
        instance.started_at.micros().into(),
        instance.updated_at.micros().into(),
        instance.ended_at.map_or(0, Timestamp::micros).into(),
        instance.deadline_at.map_or(0, Timestamp::micros).into(),
    ]
}

fn changes(instance: &Instance, before: Before, step: &'static str) -> Vec<Value> {
    vec![
        instance.dispatch_id.as_str().into(),
        instance.state.name().into(),
        steps(instance).into(),
        step.into(),
        i64::from(instance.attempt).into(),
        count(instance.version),
        instance.reason.as_str().into(),
        instance.updated_at.micros().into(),
        instance.ended_at.map_or(0, Timestamp::micros).into(),
        instance.deadline_at.map_or(0, Timestamp::micros).into(),
        count(instance.sent_anew),
        count(before.version),
        before.deadline_at.map_or(0, Timestamp::micros).into(),
        i64::from(instance.paused).into(),
    ]
}

fn steps(instance: &Instance) -> String {
    instance.steps.iter().map(|step| step.name()).collect::<Vec<_>>().join(",")
}

fn count(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
