//! Loads and saves the rows of `orders` that a batch is about.

use std::collections::{BTreeSet, HashMap};

use sea_orm::QueryResult;
use waybill_messaging::{Column, Rows, StoreError, Tx};

use super::{
    command::Command,
    decide::{Orders, Row, State},
};
use crate::{
    table::{self, get},
    view::View,
};

const NEW: &[(&str, Column)] = &[
    ("id", Column::Text),
    ("order_id", Column::Text),
    ("customer_id", Column::Text),
    ("state", Column::Text),
    ("reason", Column::Text),
];

/// Loads the rows of the commands' dispatches, locked, and who has the orders open that are to be accepted. An
/// optimistic run takes for new what is to be accepted, and its order for free.
pub(super) async fn load(tx: &Tx, commands: &[&Command]) -> Result<Orders, StoreError> {
    let is_there = |command: &&&Command| !tx.is_optimistic() || to_accept(command).is_none();
    let ids = commands.iter().filter(is_there).map(|command| command.key().dispatch_id.as_str()).collect();
    let columns = "t.dispatch_id, t.order_id, t.customer_id, t.state, t.reason";
    let found = table::lock(tx, "orders", "dispatch_id", columns, ids).await?;
    let rows = found.iter().map(row).collect::<Result<View<Row>, StoreError>>()?;
    let open = if tx.is_optimistic() { HashMap::new() } else { load_open(tx, commands).await? };
    Ok(Orders { rows, open })
}

/// Not locked: who closes such an order at this moment comes after us, and whoever opens one meets the
/// index `orders_open`, which makes one of us run again.
async fn load_open(tx: &Tx, commands: &[&Command]) -> Result<HashMap<String, String>, StoreError> {
    let wanted: BTreeSet<&str> = commands.iter().filter_map(|command| to_accept(command)).collect();
    let sql = "SELECT t.order_id, t.dispatch_id FROM orders AS t \
               WHERE t.order_id IN (SELECT id FROM v) AND t.state IN ('ACCEPTED', 'COMPLETED')";
    let found = tx.query_rows(&Rows::ids(wanted), sql, Vec::new()).await?;
    found.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}

fn to_accept(command: &Command) -> Option<&str> {
    match command {
        Command::Accept { key, .. } => Some(&key.order_id),
        Command::Cancel { .. } | Command::Complete { .. } => None,
    }
}

fn row(found: &QueryResult) -> Result<(String, Row), StoreError> {
    let name: String = get(found, 3)?;
    let Some(state) = State::ALL.into_iter().find(|state| state.name() == name) else {
        return table::unknown_state("orders", &name);
    };
    let row = Row { order_id: get(found, 1)?, customer_id: get(found, 2)?, state, reason: get(found, 4)? };
    Ok((get(found, 0)?, row))
}

/// Writes what was decided, before the commit. An order that is cancelled may make room for its successor in the same
/// batch: then that comes first, and who had the order before has to be known.
pub(super) async fn save(tx: &Tx, orders: &Orders) -> Result<(), StoreError> {
    let mut new: Vec<(&str, &Row)> = orders.rows.new_rows().collect();
    let changes = orders
        .rows
        .changed_rows()
        .map(|(id, was, row)| (id, was.state.name(), row.state.name(), row.reason.as_str()));
    table::update(tx, "orders", changes);
    let closed = |row: &Row| matches!(row.state, State::Cancelled | State::Refused);
    let makes_room = |(_, _, row): (_, _, &Row)| {
        closed(row) && new.iter().any(|(_, successor)| successor.order_id == row.order_id)
    };
    if orders.rows.changed_rows().any(makes_room) {
        if tx.is_optimistic() {
            return Err(StoreError::Conflict("an order changes hands within a batch".to_owned()));
        }
        tx.write_later().await?;
    }
    // By order, the key that two dispatches can have in common: so no two workers wait for each other.
    new.sort_by_key(|(id, row)| (&row.order_id, *id));
    let mut rows = Rows::new(NEW);
    for (id, row) in new {
        let (order, customer) = (row.order_id.as_str(), row.customer_id.as_str());
        rows.push(vec![
            id.into(),
            order.into(),
            customer.into(),
            row.state.name().into(),
            row.reason.as_str().into(),
        ]);
    }
    let sql = "INSERT INTO orders (dispatch_id, order_id, customer_id, state, reason, created_at, updated_at) \
               SELECT id, order_id, customer_id, state, reason, $1, $1 FROM v";
    tx.execute_later(rows, sql, vec![tx.now().micros().into()], None);
    Ok(())
}
