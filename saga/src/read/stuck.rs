//! What is stuck, found along the index on the state.

use sea_orm::{DbErr, QueryResult, Value};
use waybill_messaging::{Store, StoreError, Timestamp, classify};

use super::known;
use crate::{Definitions, Instance, InstanceState, Participant, StepState, persist, read::KNOWN};

/// A saga that is stuck.
#[derive(Clone, Debug, PartialEq)]
pub struct Stuck {
    /// The saga.
    pub instance: Instance,
    /// The step; empty where this release does not know the definition.
    pub step: &'static str,
    /// Who is asked; empty likewise.
    pub participant: &'static str,
    /// When it got stuck.
    pub since: Timestamp,
}

impl Stuck {
    /// Whether a compensation is out, and not a command.
    pub fn is_going_back(&self) -> bool {
        self.instance.steps.contains(&StepState::Compensating)
    }
}

/// The first moment of what is now the newest stretch of `STUCK`.
const SINCE: &str = "coalesce((SELECT min(h.at) FROM saga_history h WHERE h.dispatch_id = i.dispatch_id \
     AND h.version > coalesce((SELECT max(o.version) FROM saga_history o WHERE o.dispatch_id = i.dispatch_id \
     AND o.state <> 'STUCK'), 0)), i.updated_at)";

/// What is stuck, in the order of the dispatches, after the one of id `after`, at most `most`; at that step
/// and with that participant, where they are not empty.
pub async fn stuck(
    store: &Store,
    step: &str,
    participant: &str,
    after: &str,
    most: i64,
) -> Result<Vec<Stuck>, StoreError> {
    let mut params: Vec<Value> = vec![InstanceState::Stuck.name().into(), after.into(), most.into()];
    let mut only = String::new();
    if !step.is_empty() {
        params.push(step.into());
        only = format!(" AND i.current_step = ${}", params.len());
    }
    if !participant.is_empty() {
        let names: Vec<String> = steps_of(participant).map(|name| format!("'{name}'")).collect();
        let names = if names.is_empty() { "NULL".to_owned() } else { names.join(", ") };
        only = format!("{only} AND i.current_step IN ({names})");
    }
    let sql = format!(
        "SELECT {}, {SINCE} FROM saga_instances i WHERE i.state = $1 AND i.dispatch_id > $2{only} \
         ORDER BY i.dispatch_id LIMIT $3",
        persist::COLUMNS
    );
    let rows = store.query(&sql, params).await?;
    rows.iter().map(|row| read(row).map_err(|e| classify(&e))).collect()
}

/// Names of the steps that a participant carries out, in any definition that this release knows.
fn steps_of(participant: &str) -> impl Iterator<Item = &'static str> {
    let all = KNOWN.iter().flat_map(Definitions::live).flat_map(|(_, definition)| &definition.steps);
    let names: std::collections::BTreeSet<_> =
        all.filter(|step| step.command.participant().name() == participant).map(|step| step.name).collect();
    names.into_iter()
}

fn read(row: &QueryResult) -> Result<Stuck, DbErr> {
    let instance = persist::read(row)?;
    let since = Timestamp::from_micros(row.try_get_by_index(persist::WIDTH)?);
    let step = known(&instance.definition).zip(instance.current).map(|(known, step)| &known.steps[step]);
    let name = step.map_or("", |step| step.name);
    let participant = step.map_or("", |step| Participant::name(step.command.participant()));
    Ok(Stuck { instance, step: name, participant, since })
}
