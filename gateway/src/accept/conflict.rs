//! What came first, for the requests that an insert has skipped, and what follows from it.

use std::collections::{HashMap, HashSet};

use sea_orm::{DbErr, QueryResult};
use waybill_messaging::{Rows, StoreError, Timestamp, Tx, classify};
use waybill_saga::{InstanceState, read};

use super::{Answer, Candidate, Receipt};
use crate::status::{First, Refusal};

const BY_MESSAGE: &str = "SELECT d.dispatch_id, d.message_id, d.order_id, d.content_hash, d.accepted_at, d.client \
     FROM dispatches d JOIN v ON d.message_id = v.id";

const LIVE_BY_ORDER: &str = "SELECT d.dispatch_id, d.message_id, d.order_id, d.content_hash, d.accepted_at, \
     d.client FROM dispatches d JOIN v ON d.order_id = v.id WHERE d.superseded_at IS NULL";

/// Of two transactions that see the same cancelled dispatch one marks it; the other then finds its
/// successor.
const SUPERSEDE: &str = "UPDATE dispatches SET superseded_at = $1 \
     WHERE superseded_at IS NULL AND dispatch_id IN (SELECT id FROM v)";

/// A dispatch that was there before.
struct Earlier {
    first: First,
    content_hash: Vec<u8>,
    accepted_at: Timestamp,
    client: String,
}

/// Answers those of `skipped` that somebody came before, and returns those that may be inserted now.
pub(super) async fn resolve(
    tx: &Tx,
    candidates: &[Candidate],
    skipped: Vec<usize>,
    answers: &mut [Option<Answer>],
) -> Result<Vec<usize>, StoreError> {
    let request = |index: usize| &candidates[index].request;
    let message_ids = skipped.iter().map(|index| request(*index).message_id.as_str());
    let same_message = look_up(tx, message_ids, BY_MESSAGE, |first| &first.message_id).await?;
    let mut others = Vec::new();
    for index in skipped {
        match same_message.get(&request(index).message_id) {
            Some(earlier) => answers[index] = Some(asked_again(&candidates[index], earlier)),
            None => others.push(index),
        }
    }
    let orders = others.iter().map(|index| request(*index).order_id.as_str());
    let live = look_up(tx, orders, LIVE_BY_ORDER, |first| &first.order_id).await?;
    let gave_way = supersede_cancelled(tx, &live).await?;
    let mut open = Vec::new();
    for index in others {
        match live.get(&request(index).order_id) {
            Some(earlier) if !gave_way.contains(&earlier.first.dispatch_id) => {
                answers[index] = Some(Err(order_taken(&candidates[index], earlier)));
            }
            // Its way is free: the one before was cancelled, or has been superseded by now.
            Some(_) | None => open.push(index),
        }
    }
    Ok(open)
}

fn asked_again(candidate: &Candidate, earlier: &Earlier) -> Answer {
    if !candidate.caller.sees(&earlier.client) {
        return Err(Refusal::Taken("message_id", candidate.request.message_id.clone()));
    }
    if earlier.content_hash != candidate.content_hash {
        return Err(Refusal::MessageReused(earlier.first.clone()));
    }
    let dispatch_id = earlier.first.dispatch_id.clone();
    Ok(Receipt { dispatch_id, accepted_at: earlier.accepted_at, duplicate: true })
}

fn order_taken(candidate: &Candidate, earlier: &Earlier) -> Refusal {
    if candidate.caller.sees(&earlier.client) {
        Refusal::OrderTaken(earlier.first.clone())
    } else {
        Refusal::Taken("order_id", candidate.request.order_id.clone())
    }
}

/// Marks those of `live` whose saga ended compensated, and names them.
async fn supersede_cancelled(
    tx: &Tx,
    live: &HashMap<String, Earlier>,
) -> Result<HashSet<String>, StoreError> {
    let ids: Vec<&str> = live.values().map(|earlier| earlier.first.dispatch_id.as_str()).collect();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let states = read::state_in(tx, &ids).await?;
    let cancelled: HashSet<String> = states
        .into_iter()
        .filter(|(_, state)| *state == InstanceState::Compensated)
        .map(|(id, _)| id)
        .collect();
    let rows = Rows::ids(cancelled.iter().map(String::as_str));
    tx.execute_rows(&rows, SUPERSEDE, vec![tx.now().micros().into()]).await?;
    Ok(cancelled)
}

async fn look_up<'a>(
    tx: &Tx,
    ids: impl Iterator<Item = &'a str>,
    sql: &str,
    key: impl Fn(&First) -> &String,
) -> Result<HashMap<String, Earlier>, StoreError> {
    let ids: HashSet<&str> = ids.collect();
    let found = tx.query_rows(&Rows::ids(ids), sql, Vec::new()).await?;
    let mut earlier = HashMap::with_capacity(found.len());
    for row in &found {
        let read = read_earlier(row).map_err(|error| classify(&error))?;
        earlier.insert(key(&read.first).clone(), read);
    }
    Ok(earlier)
}

fn read_earlier(row: &QueryResult) -> Result<Earlier, DbErr> {
    let first = First {
        dispatch_id: row.try_get_by_index(0)?,
        message_id: row.try_get_by_index(1)?,
        order_id: row.try_get_by_index(2)?,
    };
    let accepted_at = Timestamp::from_micros(row.try_get_by_index(4)?);
    Ok(Earlier {
        first,
        content_hash: row.try_get_by_index(3)?,
        accepted_at,
        client: row.try_get_by_index(5)?,
    })
}
