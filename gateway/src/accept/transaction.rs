//! Transaction `gateway.accept`: the rows of many requests and the messages that start their sagas.
//!
//! What came first is found by trying. The first run takes everything for new and writes it in one statement,
//! whatever its size. If the database objects, the next run's insert skips what is there, and what it skipped is
//! looked up.

use std::{collections::HashSet, ops::Range, sync::Arc};

use sea_orm::Value;
use waybill_messaging::{Column, Rows, StoreError, Timestamp, Transaction, Tx, classify, outbox};

use super::{Answer, Candidate, Receipt, conflict};
use crate::request;

/// A dispatch gives way once, and its successor might be taken by another process meanwhile: more rounds
/// mean that somebody else is busy with the same orders, and another run will see what they did.
const MAX_ROUNDS: usize = 3;

const COLUMNS: &[(&str, Column)] = &[
    ("dispatch_id", Column::Text),
    ("message_id", Column::Text),
    ("order_id", Column::Text),
    ("customer_id", Column::Text),
    ("destination_code", Column::Text),
    ("parcel_count", Column::Int),
    ("currency_code", Column::Text),
    ("minor_units", Column::Int),
    ("requested_at", Column::Int),
    ("content_hash", Column::Bytes),
    ("traceparent", Column::Text),
    ("tracestate", Column::Text),
    ("client", Column::Text),
];

const INSERT: &str = "INSERT INTO dispatches (dispatch_id, message_id, order_id, customer_id, \
     destination_code, parcel_count, currency_code, minor_units, requested_at, content_hash, traceparent, \
     tracestate, client, accepted_at) \
     SELECT dispatch_id, message_id, order_id, customer_id, destination_code, parcel_count, currency_code, \
     minor_units, requested_at, content_hash, traceparent, tracestate, client, $1 FROM v";

/// Accepts a range of a batch, each request or the refusal of it.
pub(super) struct Accept {
    pub(super) candidates: Arc<Vec<Candidate>>,
    pub(super) range: Range<usize>,
    /// Whether some of them may well have been accepted before.
    pub(super) asks_first: bool,
}

impl Transaction for Accept {
    const NAME: &'static str = "gateway.accept";
    /// In the order of the range.
    type Output = Vec<Answer>;

    fn is_optimistic(&self) -> bool {
        !self.asks_first
    }

    async fn run(&self, tx: &Tx) -> Result<Self::Output, StoreError> {
        let candidates = &self.candidates[self.range.clone()];
        if tx.is_optimistic() {
            return Ok(insert_all(tx, candidates));
        }
        let mut answers: Vec<Option<Answer>> = candidates.iter().map(|_| None).collect();
        let mut open = in_lock_order(candidates);
        let mut messages = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let inserted = insert(tx, candidates, &open).await?;
            let (new, rest): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|index| inserted.contains(&candidates[*index].dispatch_id));
            for index in new {
                answers[index] = Some(Ok(accepted(&candidates[index], tx.now())));
                messages.push(start_message(&candidates[index]));
            }
            open = conflict::resolve(tx, candidates, rest, &mut answers).await?;
            if open.is_empty() {
                break;
            }
        }
        outbox::append(tx, messages);
        let answers: Option<Vec<_>> = answers.into_iter().collect();
        answers.ok_or_else(|| StoreError::Conflict("others dispatch the same orders".to_owned()))
    }
}

/// Two transactions with the same keys must take them in the same order, or PostgreSQL ends one of them
/// as a deadlock. A request that is asked twice names the same order, so this order serves both unique
/// keys; only a `message_id` used for different orders can still cross, and `Store` runs that again.
/// Stable: of two requests for one order the one that came first wins.
fn in_lock_order(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| candidates[*index].request.order_id.as_str());
    order
}

/// Takes all of them for new.
fn insert_all(tx: &Tx, candidates: &[Candidate]) -> Vec<Answer> {
    let order = in_lock_order(candidates);
    tx.execute_later(set(candidates, &order), INSERT, vec![tx.now().micros().into()], None);
    outbox::append(tx, order.iter().map(|index| start_message(&candidates[*index])).collect());
    candidates.iter().map(|candidate| Ok(accepted(candidate, tx.now()))).collect()
}

/// Inserts what does not conflict, also not with another row of this very set, and names it.
async fn insert(tx: &Tx, candidates: &[Candidate], open: &[usize]) -> Result<HashSet<String>, StoreError> {
    // `WHERE true`: without it SQLite takes ON for a join.
    let sql = format!("{INSERT} WHERE true ON CONFLICT DO NOTHING RETURNING dispatch_id");
    let inserted = tx.query_rows(&set(candidates, open), &sql, vec![tx.now().micros().into()]).await?;
    inserted.iter().map(|row| row.try_get_by_index(0).map_err(|e| classify(&e))).collect()
}

fn set(candidates: &[Candidate], indexes: &[usize]) -> Rows {
    let mut rows = Rows::new(COLUMNS);
    for index in indexes {
        rows.push(row(&candidates[*index]));
    }
    rows
}

fn row(candidate: &Candidate) -> Vec<Value> {
    let request = &candidate.request;
    let (currency_code, minor_units) =
        request.amount.as_ref().map_or(("", 0), |money| (money.currency_code.as_str(), money.minor_units));
    vec![
        candidate.dispatch_id.as_str().into(),
        request.message_id.as_str().into(),
        request.order_id.as_str().into(),
        request.customer_id.as_str().into(),
        request.destination_code.as_str().into(),
        i64::from(request.parcel_count).into(),
        currency_code.into(),
        minor_units.into(),
        request.requested_at.map_or(0, Timestamp::micros).into(),
        candidate.content_hash.to_vec().into(),
        candidate.trace.traceparent.as_str().into(),
        candidate.trace.tracestate.as_str().into(),
        candidate.caller.name().into(),
    ]
}

fn accepted(candidate: &Candidate, now: Timestamp) -> Receipt {
    Receipt { dispatch_id: candidate.dispatch_id.clone(), accepted_at: now, duplicate: false }
}

fn start_message(candidate: &Candidate) -> waybill_messaging::Outgoing {
    let Candidate { id, request, body, trace, .. } = candidate;
    request::start_message(*id, &request.message_id, body.clone(), trace.clone())
}
