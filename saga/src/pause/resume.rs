//! Lifts a pause: what is parked under it and what is due is taken, at once or at a rate, and then the pause is
//! gone. New messages are no longer held up from the moment that it begins to be lifted.

use std::time::Duration;

use waybill_messaging::{Store, StoreError, Timestamp, Transaction, Tx, classify};

use super::{COLUMNS, Held, Pause, Scope, mark, read};
use crate::{Orchestrator, deadline, operate::audit, parked};

/// Messages and deadlines taken in one transaction, at most.
const PAGE: i64 = 200;
/// A rate that was not used is made up for no longer than this.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Begins to lift a pause. Yields `false` where there is none.
pub struct Resume {
    /// What.
    pub scope: Scope,
    /// Who.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// How many a second; 0: all at once.
    pub rate: u32,
}

impl Transaction for Resume {
    const NAME: &'static str = "saga.resume";
    type Output = bool;

    async fn run(&self, tx: &Tx) -> Result<bool, StoreError> {
        let Self { scope, operator, reason, rate } = self;
        let name = scope.to_string();
        let sql = "UPDATE saga_pauses SET resuming = 1, rate = $1, paced_at = $2 WHERE scope = $3";
        let params = vec![i64::from(*rate).into(), tx.now().micros().into(), name.as_str().into()];
        if tx.execute(sql, params).await? == 0 {
            return Ok(false);
        }
        if let Scope::Dispatch(id) = scope {
            mark(tx, id, false).await?;
        }
        tracing::warn!(scope = name, operator, reason, rate, "resumed");
        audit(tx, &name, "resume", 0, operator, reason).await?;
        Ok(true)
    }
}

/// Takes what the pauses that are being lifted have held up, and says whether there may be more at once.
pub(crate) async fn take(store: &Store, orchestrator: &Orchestrator) -> Result<bool, StoreError> {
    let rows =
        store.query("SELECT scope FROM saga_pauses WHERE resuming = 1 ORDER BY scope", Vec::new()).await?;
    let mut more = false;
    for row in &rows {
        let scope: String = row.try_get_by_index(0).map_err(|e| classify(&e))?;
        let held = Held::deadlines(store).await?;
        more |= store.run(Take { orchestrator: orchestrator.clone(), held, scope }).await?;
    }
    Ok(more)
}

struct Take {
    orchestrator: Orchestrator,
    held: Held,
    scope: String,
}

impl Transaction for Take {
    const NAME: &'static str = "saga.unpause";
    type Output = bool;

    async fn run(&self, tx: &Tx) -> Result<bool, StoreError> {
        let Some(pause) = self.pause(tx).await? else { return Ok(false) };
        let room = room(&pause, tx.now());
        if room == 0 {
            return Ok(false);
        }
        let messages = parked::take_held(tx, &self.orchestrator, &self.scope, room).await?;
        let mut left = room - messages;
        if pause.rate > 0 && left > 0 {
            let held = self.held.clone().without(&pause.scope);
            left -= deadline::wake_held(tx, &self.orchestrator, &held, &pause.scope, left).await?;
        }
        if left > 0 && !self.any_left(tx).await? {
            tracing::info!(scope = self.scope, "resumed wholly");
            tx.execute("DELETE FROM saga_pauses WHERE scope = $1", vec![self.scope.as_str().into()]).await?;
            return Ok(false);
        }
        if pause.rate > 0 {
            let sql = "UPDATE saga_pauses SET paced_at = $1 WHERE scope = $2";
            let paced_at = paced(&pause, tx.now(), room - left).micros();
            tx.execute(sql, vec![paced_at.into(), self.scope.as_str().into()]).await?;
        }
        Ok(left == 0 && pause.rate == 0)
    }
}

impl Take {
    /// The pause, for this transaction alone; whoever else is at it keeps it.
    async fn pause(&self, tx: &Tx) -> Result<Option<Pause>, StoreError> {
        let lock = if tx.has_row_locks() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!("SELECT {COLUMNS} FROM saga_pauses WHERE scope = $1 AND resuming = 1 {lock}");
        let rows = tx.query(&sql, vec![self.scope.as_str().into()]).await?;
        rows.first().map(|row| read(row).map_err(|e| classify(&e))).transpose()
    }

    async fn any_left(&self, tx: &Tx) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM saga_parked WHERE held_by = $1 LIMIT 1";
        Ok(!tx.query(sql, vec![self.scope.as_str().into()]).await?.is_empty())
    }
}

/// How many may be taken now.
fn room(pause: &Pause, now: Timestamp) -> i64 {
    if pause.rate == 0 {
        return PAGE;
    }
    let unused = now.since(pause.paced_at).min(CATCH_UP).as_micros();
    let room = unused.saturating_mul(u128::from(pause.rate)) / 1_000_000;
    i64::try_from(room).unwrap_or(PAGE).min(PAGE)
}

/// Up to when the rate is used up after `taken` more.
fn paced(pause: &Pause, now: Timestamp, taken: i64) -> Timestamp {
    let from = pause.paced_at.max(now.minus(CATCH_UP));
    let micros = u64::try_from(taken).unwrap_or_default() * 1_000_000 / u64::from(pause.rate.max(1));
    from.plus(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(100_000_000);

    fn paced_since(ago: Duration, rate: u32) -> Pause {
        let (scope, since, paced_at) = (Scope::All, NOW, NOW.minus(ago));
        let (operator, reason) = (String::new(), String::new());
        Pause { scope, since, operator, reason, resuming: true, rate, paced_at }
    }

    #[test]
    fn no_more_are_taken_than_the_rate_says_and_what_is_not_used_is_not_saved_up() {
        let room_after = |ago| room(&paced_since(ago, 50), NOW);
        assert_eq!(room_after(Duration::ZERO), 0);
        assert_eq!(room_after(Duration::from_millis(19)), 0);
        assert_eq!(room_after(Duration::from_millis(250)), 12);
        assert_eq!(room_after(Duration::from_mins(1)), 50);
        let pause = paced_since(Duration::from_millis(250), 50);
        assert_eq!(NOW.since(paced(&pause, NOW, 12)), Duration::from_millis(10), "a half is kept");
        assert_eq!(NOW.since(paced(&paced_since(Duration::from_mins(1), 50), NOW, 0)), CATCH_UP);
        assert_eq!(room(&paced_since(Duration::ZERO, 0), NOW), PAGE, "without a rate: a page");
    }
}
