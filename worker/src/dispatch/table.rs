//! Loads and saves the rows of `deliveries` that a batch is about.
//!
//! Where a capacity is set, the deliveries of a destination are counted under a lock on that destination,
//! which is kept until the commit: whoever counts next counts what we have created. A delivery that is
//! withdrawn at that moment may still be counted; then the destination is full for a moment longer.

use std::collections::{BTreeSet, HashMap};

use sea_orm::QueryResult;
use waybill_messaging::{Column, Rows, StoreError, Tx};

use super::{
    command::Command,
    decide::{Deliveries, Row, State},
};
use crate::{
    table::{self, get},
    view::View,
};

const NEW: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("order_id", Column::Text),
    ("destination_code", Column::Text),
    ("parcel_count", Column::Int),
    ("state", Column::Text),
    ("reason", Column::Text),
];

/// Takes an advisory lock for each destination. By hash, and each hash once: two destinations may share
/// one, and only the order of the locks themselves keeps two workers from waiting for each other. The
/// first number sets these locks apart from everybody else's.
const LOCK_DESTINATIONS: &str = "SELECT pg_advisory_xact_lock(1685288560, hash) FROM \
     (SELECT DISTINCT hashtext(id) AS hash FROM v ORDER BY hash) AS destinations";

/// Loads the rows of the commands' dispatches, locked, and how much the destinations hold if `count`. An optimistic
/// run takes for new what is to be created.
pub(super) async fn load(tx: &Tx, commands: &[&Command], count: bool) -> Result<Deliveries, StoreError> {
    let is_there = |command: &&&Command| !tx.is_optimistic() || !matches!(command, Command::Create { .. });
    let ids = commands.iter().filter(is_there).map(|command| command.key().dispatch_id.as_str()).collect();
    let columns = "t.dispatch_id, t.order_id, t.destination_code, t.parcel_count, t.state, t.reason";
    let found = table::lock(tx, "deliveries", "dispatch_id", columns, ids).await?;
    let rows = found.iter().map(row).collect::<Result<View<Row>, StoreError>>()?;
    let held = if count { load_held(tx, destinations(commands, &rows)).await? } else { HashMap::new() };
    Ok(Deliveries { rows, held })
}

/// Where new deliveries are to go.
fn destinations<'a>(commands: &[&'a Command], rows: &View<Row>) -> BTreeSet<&'a str> {
    let mut destinations = BTreeSet::new();
    for command in commands {
        match command {
            Command::Create { key, destination_code, .. } if rows.get(&key.dispatch_id).is_none() => {
                destinations.insert(destination_code.as_str());
            }
            Command::Create { .. } | Command::Withdraw { .. } => {}
        }
    }
    destinations
}

async fn load_held(tx: &Tx, destinations: BTreeSet<&str>) -> Result<HashMap<String, u64>, StoreError> {
    let destinations = Rows::ids(destinations);
    if tx.has_row_locks() {
        tx.query_rows(&destinations, LOCK_DESTINATIONS, Vec::new()).await?;
    }
    // A statement of its own, which sees what was committed while the locks were waited for.
    let sql = "SELECT t.destination_code, count(*) FROM v JOIN deliveries AS t \
               ON t.destination_code = v.id AND t.state = 'CREATED' GROUP BY t.destination_code";
    let found = tx.query_rows(&destinations, sql, Vec::new()).await?;
    let held = |row: &QueryResult| Ok((get(row, 0)?, u64::try_from(get::<i64>(row, 1)?).unwrap_or(0)));
    found.iter().map(held).collect()
}

fn row(found: &QueryResult) -> Result<(String, Row), StoreError> {
    let name: String = get(found, 4)?;
    let Some(state) = State::ALL.into_iter().find(|state| state.name() == name) else {
        return table::unknown_state("deliveries", &name);
    };
    let (order_id, destination_code, parcels) = (get(found, 1)?, get(found, 2)?, get(found, 3)?);
    Ok((get(found, 0)?, Row { order_id, destination_code, parcels, state, reason: get(found, 5)? }))
}

/// Writes what was decided, before the commit.
pub(super) fn save(tx: &Tx, deliveries: &Deliveries) {
    let changes = deliveries
        .rows
        .changed_rows()
        .map(|(id, was, row)| (id, was.state.name(), row.state.name(), row.reason.as_str()));
    table::update(tx, "deliveries", changes);
    let mut rows = Rows::new(NEW);
    for (id, row) in deliveries.rows.new_rows() {
        rows.push(vec![
            id.into(),
            row.order_id.as_str().into(),
            row.destination_code.as_str().into(),
            row.parcels.into(),
            row.state.name().into(),
            row.reason.as_str().into(),
        ]);
    }
    let sql = "INSERT INTO deliveries (dispatch_id, order_id, destination_code, parcel_count, state, reason, \
               created_at, updated_at) \
               SELECT id, order_id, destination_code, parcel_count, state, reason, $1, $1 FROM v";
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], None);
}
