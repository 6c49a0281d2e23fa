//! Forgets the history of sagas that ended long ago, in small steps.

use uuid::Builder;
use waybill_messaging::{StoreError, Timestamp, Transaction, Tx, classify};

/// Forgets the oldest history rows of ended sagas.
#[derive(Clone, Debug)]
pub struct ForgetHistory {
    /// Of sagas that ended before this moment.
    pub before: Timestamp,
    /// Of this dispatch and those accepted after it; empty: of all.
    pub from: String,
    /// No more than this many rows.
    pub most: u32,
}

/// What has been forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How many rows.
    pub rows: u64,
    /// The last dispatch among them, of which there may be more; empty without any.
    pub last: String,
}

impl Transaction for ForgetHistory {
    const NAME: &'static str = "saga.forget_history";
    type Output = Forgotten;

    async fn run(&self, tx: &Tx) -> Result<Forgotten, StoreError> {
        let sql = "DELETE FROM saga_history WHERE (dispatch_id, version) IN (\
             SELECT h.dispatch_id, h.version FROM saga_history h JOIN saga_instances i \
             ON i.dispatch_id = h.dispatch_id WHERE h.dispatch_id >= $1 AND h.dispatch_id < $2 AND i.ended_at > 0 \
             AND i.ended_at < $3 ORDER BY h.dispatch_id, h.version LIMIT $4) RETURNING dispatch_id";
        let (until, before) = (first_id_at(self.before), self.before.micros());
        let params =
            vec![self.from.as_str().into(), until.into(), before.into(), i64::from(self.most).into()];
        let forgotten = tx.query(sql, params).await?;
        let ids = forgotten.iter().map(|row| row.try_get_by_index(0).map_err(|e| classify(&e)));
        let last = ids.collect::<Result<Vec<String>, _>>()?.into_iter().max().unwrap_or_default();
        Ok(Forgotten { rows: forgotten.len() as u64, last })
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
