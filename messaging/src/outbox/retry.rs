//! Parked rows, made due again by an operator who has removed the cause.

use sea_orm::Value;
use uuid::Uuid;

use super::{PARKED, depth};
use crate::{Store, StoreError, Transaction, Tx};

/// Rows made due again in one transaction.
const PAGE: i64 = 1_000;

/// Which parked rows are made due again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parked {
    /// All of them.
    All,
    /// Those of a routing key.
    RoutingKey(String),
    /// One row.
    Row(Uuid),
}

/// Makes parked rows due again, with all their attempts before them, and says how many. A row that is being
/// probed at the moment is left alone, so that nobody's lease is broken; one that is parked no more is not
/// touched either. So doing it twice does nothing twice.
pub async fn retry(store: &Store, which: &Parked) -> Result<u64, StoreError> {
    // What a relay parks anew meanwhile has had its turn.
    let parked = depth(store).await?.parked;
    let mut retried = 0;
    while retried < parked {
        let page = store.run(Retry { which: which.clone() }).await?;
        retried += page;
        if page < PAGE.unsigned_abs() {
            break;
        }
    }
    Ok(retried)
}

struct Retry {
    which: Parked,
}

impl Transaction for Retry {
    const NAME: &'static str = "outbox.retry";
    type Output = u64;

    async fn run(&self, tx: &Tx) -> Result<u64, StoreError> {
        let mut params: Vec<Value> = vec![tx.now().micros().into(), PAGE.into()];
        let which = match &self.which {
            Parked::All => "",
            Parked::RoutingKey(key) => {
                params.push(key.as_str().into());
                "AND routing_key = $3"
            }
            Parked::Row(id) => {
                params.push((*id).into());
                "AND id = $3"
            }
        };
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "UPDATE outbox SET state = 'READY', lease_owner = '', lease_until = $1, publish_attempts = 0 \
             WHERE id IN (SELECT id FROM outbox WHERE state <> 'READY' AND lease_until = {PARKED} {which} \
             LIMIT $2 {lock})"
        );
        tx.execute(&sql, params).await
    }
}
