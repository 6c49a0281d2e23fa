//! Work that one process at a time does: cleaning up, above all. Not a lock: a process that stalls past its
//! time is overtaken, so the work itself has to bear two at once.

use std::time::Duration;

use crate::{Store, StoreError, Timestamp, Transaction, Tx};

/// Takes a duty, or keeps it, and yields whether it is this process's for the next `time`.
pub async fn hold(store: &Store, name: &'static str, time: Duration) -> Result<bool, StoreError> {
    let until = store.clock().now().plus(time);
    store.run(Take { name, holder: store.owner().to_owned(), until }).await
}

struct Take {
    name: &'static str,
    holder: String,
    until: Timestamp,
}

impl Transaction for Take {
    const NAME: &'static str = "duty.take";
    type Output = bool;

    async fn run(&self, tx: &Tx) -> Result<bool, StoreError> {
        let sql = "INSERT INTO duties (name, holder, held_until) VALUES ($1, $2, $3) \
                   ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
                   WHERE duties.holder = excluded.holder OR duties.held_until <= $4";
        let params = vec![
            self.name.into(),
            self.holder.as_str().into(),
            self.until.micros().into(),
            tx.now().micros().into(),
        ];
        Ok(tx.execute(sql, params).await? == 1)
    }
}
