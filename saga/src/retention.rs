//! Forgets the history of sagas that ended long ago, in small steps.

use uuid::Builder;
use waybill_messaging::{StoreError, Timestamp, Transaction, Tx};

/// Forgets the oldest history rows of ended sagas and says how many it forgot.
#[derive(Clone, Copy, Debug)]
pub struct ForgetHistory {
    /// Of sagas that ended before this moment.
    pub before: Timestamp,
    /// No more than this many rows.
    pub most: u32,
}

impl Transaction for ForgetHistory {
    const NAME: &'static str = "saga.forget_history";
    type Output = u64;

    async fn run(&self, tx: &Tx) -> Result<u64, StoreError> {
        let sql = "DELETE FROM saga_history WHERE (dispatch_id, version) IN (\
             SELECT h.dispatch_id, h.version FROM saga_history h JOIN saga_instances i \
             ON i.dispatch_id = h.dispatch_id WHERE h.dispatch_id < $1 AND i.ended_at > 0 AND i.ended_at < $2 \
             ORDER BY h.dispatch_id, h.version LIMIT $3)";
        let params =
            vec![first_id_at(self.before).into(), self.before.micros().into(), i64::from(self.most).into()];
        tx.execute(sql, params).await
    }
}

/// Dispatch ids begin with the moment of acceptance (UUID version 7, RFC 9562): what ended before a moment
/// was accepted before it, and stands at the beginning of the primary key.
fn first_id_at(moment: Timestamp) -> String {
    let millis = u64::try_from(moment.millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_like_their_moments() {
        let id = |millis: i64| first_id_at(Timestamp::from_micros(millis * 1_000));
        assert!(id(1_700_000_000_000) < id(1_700_000_000_001));
    }
}
