//! What others may see of sagas. The gateway answers its queries from here; it never writes.

mod progress;
mod stuck;

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use sea_orm::{DbErr, QueryResult};
use waybill_messaging::{Column, Rows, Store, StoreError, Timestamp, Tx, classify};

pub use self::{
    progress::{Brought, Course, Progress, StepProgress, StepView},
    stuck::{Stuck, stuck},
};
use crate::{Defaults, Definition, Definitions, Instance, instance, machine, order_fulfilment, persist};
pub use crate::{InstanceState, Kind, StepState};

/// An instance, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// The dispatch that it fulfils.
    pub dispatch_id: String,
    /// `name/version`.
    pub definition: String,
    /// Name, version and hash.
    pub pinned: (String, u32, String),
    /// Where it stands.
    pub state: InstanceState,
    /// Grows by one with every transition.
    pub version: u64,
    /// Why it compensates, is compensated or stuck.
    pub reason: String,
    /// Where each step stands, in the order of the definition.
    pub steps: Vec<StepState>,
    /// When it began.
    pub started_at: Timestamp,
    /// Its last transition.
    pub updated_at: Timestamp,
    /// Its end.
    pub ended_at: Option<Timestamp>,
}

/// One row of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionView {
    /// Version of the instance after it.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// State of the instance after it.
    pub state: InstanceState,
    /// What happened, for example `reserve_payment_done`.
    pub event: String,
    /// The step concerned; empty where none is.
    pub step: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// Why.
    pub reason: String,
    /// The message that caused it; empty for a timer.
    pub cause_message_id: String,
}

/// The columns that [`view`] takes, from `saga_instances i`, in its order.
pub const COLUMNS: &str = "i.dispatch_id, i.definition, i.definition_version, i.definition_hash, i.state, i.steps, \
     i.version, i.reason, i.started_at, i.updated_at, i.ended_at";

/// How many columns those are.
pub const WIDTH: usize = 11;

/// Reads [`COLUMNS`], of which the first stands at `first`. `None`: there is no instance.
pub fn view(row: &QueryResult, first: usize) -> Result<Option<InstanceView>, StoreError> {
    parse(row, first).map_err(|error| classify(&error))
}

/// The instances of these dispatches; those without one are missing.
pub async fn instances(
    store: &Store,
    dispatch_ids: &[&str],
) -> Result<HashMap<String, InstanceView>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM saga_instances i WHERE i.dispatch_id IN (SELECT id FROM v)");
    let rows = store.query_rows(&Rows::ids(dispatch_ids.iter().copied()), &sql, Vec::new()).await?;
    let read = |row| view(row, 0).map(|view| view.map(|view| (view.dispatch_id.clone(), view)));
    rows.iter().filter_map(|row| read(row).transpose()).collect()
}

/// What happened to each of these dispatches after the version beside it, oldest first; those to which nothing
/// did are missing.
pub async fn histories(
    store: &Store,
    after_versions: &BTreeMap<&str, u64>,
) -> Result<HashMap<String, Vec<TransitionView>>, StoreError> {
    let mut asked = Rows::new(&[("id", Column::Text), ("after_version", Column::Int)]);
    for (dispatch_id, after) in after_versions {
        asked.push(vec![(*dispatch_id).into(), i64::try_from(*after).unwrap_or(i64::MAX).into()]);
    }
    // CROSS JOIN keeps SQLite to this order.
    let sql = "SELECT h.version, h.at, h.state, h.event, h.step, h.attempt, h.reason, h.cause_message_id, \
               h.dispatch_id FROM v CROSS JOIN saga_history h \
               WHERE h.dispatch_id = v.id AND h.version > v.after_version ORDER BY h.dispatch_id, h.version";
    let mut histories = HashMap::<String, Vec<TransitionView>>::new();
    for row in store.query_rows(&asked, sql, Vec::new()).await? {
        let read = transition(&row).and_then(|happened| Ok((row.try_get_by_index(8)?, happened)));
        let (dispatch_id, happened) = read.map_err(|error: DbErr| classify(&error))?;
        histories.entry(dispatch_id).or_default().push(happened);
    }
    Ok(histories)
}

/// The versions of these dispatches; those without a saga are missing.
pub async fn versions(store: &Store, dispatch_ids: &[String]) -> Result<HashMap<String, u64>, StoreError> {
    let sql =
        "SELECT i.dispatch_id, i.version FROM saga_instances i WHERE i.dispatch_id IN (SELECT id FROM v)";
    let rows = store.query_rows(&Rows::ids(dispatch_ids.iter().map(String::as_str)), sql, Vec::new()).await?;
    let read = |row: &QueryResult| -> Result<_, DbErr> {
        Ok((row.try_get_by_index(0)?, u64::try_from(row.try_get_by_index::<i64>(1)?).unwrap_or_default()))
    };
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// The states of these dispatches within a transaction; those without a saga are missing.
pub async fn state_in(tx: &Tx, dispatch_ids: &[&str]) -> Result<HashMap<String, InstanceState>, StoreError> {
    let sql = "SELECT i.dispatch_id, i.state FROM saga_instances i WHERE i.dispatch_id IN (SELECT id FROM v)";
    let rows = tx.query_rows(&Rows::ids(dispatch_ids.iter().copied()), sql, Vec::new()).await?;
    let read = |row: &QueryResult| Ok((row.try_get_by_index(0)?, state(row, 1)?));
    rows.iter().map(|row| read(row).map_err(|e: DbErr| classify(&e))).collect()
}

/// Whether a dispatch can still be undone, as far as this release can tell; `Err` says why not.
pub fn may_cancel(view: &InstanceView) -> Result<(), String> {
    if view.state == InstanceState::Completed {
        return Err("the dispatch is completed".to_owned());
    }
    let Some(definition) = known(&view.pinned) else { return Ok(()) };
    machine::may_cancel(definition, &view.steps)
}

/// Whether a cancel request has nothing to change any more: the dispatch goes back, or never will.
pub fn has_decided_about_cancelling(view: &InstanceView) -> bool {
    view.is_going_back() || may_cancel(view).is_err()
}

impl InstanceView {
    /// Whether it is being undone or has been, seen through a `Stuck`.
    pub fn is_going_back(&self) -> bool {
        instance::is_going_back(self.state, self.steps.iter().copied())
    }
}

impl From<Instance> for InstanceView {
    fn from(instance: Instance) -> Self {
        Self {
            definition: format!("{}/{}", instance.definition.0, instance.definition.1),
            pinned: instance.definition,
            dispatch_id: instance.dispatch_id,
            state: instance.state,
            version: instance.version,
            reason: instance.reason,
            steps: instance.steps,
            started_at: instance.started_at,
            updated_at: instance.updated_at,
            ended_at: instance.ended_at,
        }
    }
}

/// All that this release knows, whichever are live.
static KNOWN: LazyLock<Option<Definitions>> = LazyLock::new(|| {
    let all = order_fulfilment(&Defaults::default());
    let versions: Vec<u32> = all.iter().map(|definition| definition.version).collect();
    let newest = *versions.last()?;
    Definitions::new(all, &versions, newest).ok()
});

/// Names of the sagas that this release knows, each once.
pub(crate) fn names() -> Vec<&'static str> {
    let live = KNOWN.iter().flat_map(Definitions::live).map(|(_, definition)| definition.name);
    live.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// The definition of that name, version and hash. A reader knows all that this release does, whichever are
/// live; names and kinds of the steps matter to it, patience does not.
fn known(pinned: &(String, u32, String)) -> Option<&'static Definition> {
    KNOWN.as_ref()?.of(pinned)
}

fn parse(row: &QueryResult, first: usize) -> Result<Option<InstanceView>, DbErr> {
    let Some(dispatch_id) = row.try_get_by_index(first)? else { return Ok(None) };
    let moment = |index| row.try_get_by_index(first + index).map(Timestamp::from_micros);
    let name: String = row.try_get_by_index(first + 1)?;
    let version = u32::try_from(row.try_get_by_index::<i64>(first + 2)?).unwrap_or_default();
    let steps: String = row.try_get_by_index(first + 5)?;
    let ended_at = moment(10)?;
    Ok(Some(InstanceView {
        dispatch_id,
        definition: format!("{name}/{version}"),
        pinned: (name, version, row.try_get_by_index(first + 3)?),
        state: state(row, first + 4)?,
        steps: persist::parse_steps(&steps)?,
        version: u64::try_from(row.try_get_by_index::<i64>(first + 6)?).unwrap_or_default(),
        reason: row.try_get_by_index(first + 7)?,
        started_at: moment(8)?,
        updated_at: moment(9)?,
        ended_at: (ended_at != Timestamp::default()).then_some(ended_at),
    }))
}

fn transition(row: &QueryResult) -> Result<TransitionView, DbErr> {
    Ok(TransitionView {
        version: u64::try_from(row.try_get_by_index::<i64>(0)?).unwrap_or_default(),
        at: Timestamp::from_micros(row.try_get_by_index(1)?),
        state: state(row, 2)?,
        event: row.try_get_by_index(3)?,
        step: row.try_get_by_index(4)?,
        attempt: u32::try_from(row.try_get_by_index::<i64>(5)?).unwrap_or_default(),
        reason: row.try_get_by_index(6)?,
        cause_message_id: row.try_get_by_index(7)?,
    })
}

fn state(row: &QueryResult, index: usize) -> Result<InstanceState, DbErr> {
    let name: String = row.try_get_by_index(index)?;
    InstanceState::from_name(&name).ok_or_else(|| DbErr::Custom(format!("saga state {name:?} is unknown")))
}
