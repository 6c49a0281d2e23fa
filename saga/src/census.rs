//! How many sagas are under way on each version: what has to end before a version can be retired.

use std::collections::BTreeMap;

use sea_orm::{DbErr, QueryResult};
use waybill_messaging::{Store, StoreError, classify};

use crate::{InstanceState, parked};

/// What is under way on one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Going forward.
    pub running: i64,
    /// Going back.
    pub compensating: i64,
    /// Waiting for an operator or an answer.
    pub stuck: i64,
    /// Messages that wait for a process that knows the version.
    pub parked: i64,
    /// The dispatch that was accepted first among them; empty without one.
    pub oldest: String,
}

impl Census {
    /// Sagas that have not ended.
    pub const fn open(&self) -> i64 {
        self.running + self.compensating + self.stuck
    }
}

/// By name, version and hash of the definition; versions with nothing under way are missing.
pub async fn census(store: &Store) -> Result<BTreeMap<(String, u32, String), Census>, StoreError> {
    let mut all: BTreeMap<_, Census> = BTreeMap::new();
    for state in [InstanceState::Running, InstanceState::Compensating, InstanceState::Stuck] {
        // A state at a time, by the index on it. Dispatch ids sort by time.
        let sql = "SELECT definition, definition_version, definition_hash, count(*), min(dispatch_id) \
                   FROM saga_instances WHERE state = $1 GROUP BY 1, 2, 3";
        for row in store.query(sql, vec![state.name().into()]).await? {
            let (pinned, count, oldest) = read(&row).map_err(|e| classify(&e))?;
            let census = all.entry(pinned).or_default();
            match state {
                InstanceState::Running => census.running = count,
                InstanceState::Compensating => census.compensating = count,
                InstanceState::Stuck | InstanceState::Completed | InstanceState::Compensated => {
                    census.stuck = count;
                }
            }
            if census.oldest.is_empty() || oldest < census.oldest {
                census.oldest = oldest;
            }
        }
    }
    for (pinned, count) in parked::counts(store).await? {
        all.entry(pinned).or_default().parked = count;
    }
    Ok(all)
}

type Row = ((String, u32, String), i64, String);

fn read(row: &QueryResult) -> Result<Row, DbErr> {
    let version = u32::try_from(row.try_get_by_index::<i64>(1)?).unwrap_or_default();
    let pinned = (row.try_get_by_index(0)?, version, row.try_get_by_index(2)?);
    Ok((pinned, row.try_get_by_index(3)?, row.try_get_by_index(4)?))
}
