//! Dispatches found by name, each with where its saga stands, and what has happened to it. Any number of callers may
//! look or watch: what they ask for at the same time is read together.

use std::collections::{BTreeMap, HashMap};

use sea_orm::QueryResult;
use waybill_messaging::{Rows, Store, StoreError, classify};
use waybill_saga::read::{self, InstanceView, TransitionView};

use crate::{
    row::{self, Key, Row},
    together::Together,
};

/// A dispatch and its saga, as they stood at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) row: Row,
    /// `None` before it has begun.
    pub(crate) instance: Option<InstanceView>,
}

/// Finds them.
#[derive(Clone)]
pub(crate) struct Finder {
    store: Store,
    by_dispatch: Together<String, Option<Found>>,
    by_message: Together<String, Option<Found>>,
    /// By dispatch and the version after which.
    histories: Together<(String, u64), Vec<TransitionView>>,
}

impl Finder {
    pub(crate) fn new(store: &Store) -> Self {
        let by = |column| {
            let store = store.clone();
            Together::new(move |names| named(store.clone(), column, names))
        };
        let read = store.clone();
        Self {
            store: store.clone(),
            by_dispatch: by("dispatch_id"),
            by_message: by("message_id"),
            histories: Together::new(move |asked| histories(read.clone(), asked)),
        }
    }

    /// The dispatch of that name; with an owner, only among what is theirs.
    pub(crate) async fn find(&self, key: &Key, owner: Option<&str>) -> Result<Option<Found>, StoreError> {
        let found = match key {
            Key::Dispatch(id) => self.by_dispatch.ask(id.clone()).await?,
            Key::Message(id) => self.by_message.ask(id.clone()).await?,
            Key::Order(id) => return of_order(&self.store, id, owner).await,
        };
        Ok(found.filter(|found| owner.is_none_or(|owner| found.row.client == owner)))
    }

    /// What happened to a dispatch after a version, oldest first.
    pub(crate) async fn history(
        &self,
        dispatch_id: &str,
        after: u64,
    ) -> Result<Vec<TransitionView>, StoreError> {
        self.histories.ask((dispatch_id.to_owned(), after)).await
    }
}

/// The columns that [`read`] takes, from `dispatches d` and `saga_instances i`, in its order.
pub(crate) fn columns() -> String {
    format!("{}, {}", row::COLUMNS, read::COLUMNS)
}

/// Reads a row that starts with [`columns`].
pub(crate) fn read(row: &QueryResult) -> Result<Found, StoreError> {
    Ok(Found { row: row::read(row)?, instance: read::view(row, row::WIDTH)? })
}

/// Of the dispatches of an order the live one, and the others: each half has an index of its own.
pub(crate) const HALVES: [&str; 2] = ["d.superseded_at IS NULL", "d.superseded_at IS NOT NULL"];

/// Every dispatch, with its saga where that has begun.
pub(crate) const ALL: &str = "dispatches d LEFT JOIN saga_instances i ON i.dispatch_id = d.dispatch_id";

/// Those whose `column`, which is unique, holds these names.
async fn named(
    store: Store,
    column: &'static str,
    names: Vec<String>,
) -> Result<Vec<Option<Found>>, StoreError> {
    let sql = format!("SELECT {}, d.{column} FROM {ALL} WHERE d.{column} IN (SELECT id FROM v)", columns());
    let rows = store.query_rows(&Rows::ids(names.iter().map(String::as_str)), &sql, Vec::new()).await?;
    let name = |row: &QueryResult| row.try_get_by_index::<String>(row::WIDTH + read::WIDTH);
    let one = |row| Ok((name(row).map_err(|error| classify(&error))?, read(row)?));
    let found = rows.iter().map(one).collect::<Result<HashMap<_, _>, StoreError>>()?;
    Ok(names.iter().map(|name| found.get(name).cloned()).collect())
}

/// The live dispatch of an order, else its newest.
async fn of_order(store: &Store, order_id: &str, owner: Option<&str>) -> Result<Option<Found>, StoreError> {
    let mut params = vec![order_id.into()];
    let mut is_theirs = "";
    if let Some(owner) = owner {
        params.push(owner.into());
        is_theirs = "AND d.client = $2 ";
    }
    for half in HALVES {
        let sql = format!(
            "SELECT {} FROM {ALL} WHERE d.order_id = $1 AND {half} {is_theirs}ORDER BY d.dispatch_id DESC LIMIT 1",
            columns()
        );
        if let Some(row) = store.query(&sql, params.clone()).await?.first() {
            return read(row).map(Some);
        }
    }
    Ok(None)
}

async fn histories(store: Store, asked: Vec<(String, u64)>) -> Result<Vec<Vec<TransitionView>>, StoreError> {
    // Two who ask for the same dispatch may have read it up to different versions.
    let mut after = BTreeMap::<&str, u64>::new();
    for (dispatch_id, version) in &asked {
        after.entry(dispatch_id).and_modify(|least| *least = (*least).min(*version)).or_insert(*version);
    }
    let histories = read::histories(&store, &after).await?;
    let of = |(dispatch_id, version): &(String, u64)| {
        let history = histories.get(dispatch_id).map(Vec::as_slice).unwrap_or_default();
        history[history.partition_point(|happened| happened.version <= *version)..].to_vec()
    };
    Ok(asked.iter().map(of).collect())
}
