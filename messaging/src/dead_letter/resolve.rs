//! What an operator does about dead letters, as parts of a transaction: taken, each once, and then sent again or
//! given up.
//!
//! A message that goes again keeps its id. Where its consumer had failed, nothing of the failed attempt was
//! committed, the inbox row least of all, and it is handled as if for the first time. Where the inbox has it
//! (another copy came through, or the consumer died between commit and acknowledgement), the recorded answer is
//! sent again and nothing is done twice.

use uuid::Uuid;

use super::desk::{Filter, Letter, State, columns, read_all};
use crate::{
    Column, Envelope, Exchange, Outgoing, Rows, StoreError, Tx, outbox,
    topology::{QUEUES, Queue},
};

/// A page of letters to be taken.
#[derive(Clone, Debug)]
pub struct Take {
    /// Which; of those only the ones that are dead.
    pub filter: Filter,
    /// Only beyond this id, so that what dies again meanwhile is not taken twice.
    pub after: Uuid,
    /// Only up to this id.
    pub upto: Uuid,
    /// How many at most.
    pub most: u32,
}

impl Take {
    /// Takes them, oldest first, whole: nobody else can until this transaction ends. What somebody else is
    /// taking at the moment is left to them, unless it is asked for by its id.
    pub async fn run(&self, tx: &Tx) -> Result<Vec<Letter>, StoreError> {
        let filter = Filter { states: vec![State::Dead], ..self.filter.clone() };
        let mut params = vec![self.after.into(), self.upto.into(), i64::from(self.most).into()];
        let condition = filter.condition(&mut params);
        let lock = match (tx.has_row_locks(), filter.ids.is_empty()) {
            (false, _) => "",
            (true, true) => "FOR UPDATE OF d SKIP LOCKED",
            (true, false) => "FOR UPDATE OF d",
        };
        let sql = format!(
            "SELECT {} FROM dead_letters d WHERE d.id > $1 AND d.id <= $2 AND {condition} \
             ORDER BY d.id LIMIT $3 {lock}",
            columns("d.body")
        );
        read_all(&tx.query(&sql, params).await?)
    }
}

/// Marks letters that were taken in this transaction.
pub async fn resolve(
    tx: &Tx,
    letters: &[Letter],
    state: State,
    operator: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[("id", Column::Uuid)]);
    for letter in letters {
        rows.push(vec![letter.id.into()]);
    }
    let sql = "UPDATE dead_letters SET state = $1, resolved_at = $2, resolved_by = $3, resolution = $4 \
               WHERE id IN (SELECT id FROM v)";
    let params = vec![state.name().into(), tx.now().micros().into(), operator.into(), reason.into()];
    tx.execute_rows(&rows, sql, params).await.map(|_| ())
}

/// Sends letters that were taken in this transaction again, each with all its attempts before it.
pub fn replay(tx: &Tx, letters: &[Letter]) {
    let messages = letters.iter().map(|letter| {
        let envelope = Envelope { attempt: 1, ..letter.envelope.clone() };
        Outgoing::new(Exchange::Dispatch, way(letter), envelope)
    });
    outbox::append(tx, messages.collect());
}

/// By the queue's own key: the message may have come by a way that is not ours.
fn way(letter: &Letter) -> &str {
    let ours = QUEUES.iter().find(|queue| queue.name == letter.queue);
    ours.and_then(|Queue { routing_keys, .. }| routing_keys.first()).copied().unwrap_or(&letter.routing_key)
}

/// Gives a letter that was taken in this transaction another body, and keeps the one it had.
pub async fn edit(
    tx: &Tx,
    letter: &mut Letter,
    body: Vec<u8>,
    operator: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO dead_letter_bodies (id, letter_id, at, operator, reason, body) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let old = std::mem::replace(&mut letter.envelope.body, body.clone().into()).to_vec();
    let (id, at) = (Uuid::now_v7(), tx.now().micros());
    let params = vec![id.into(), letter.id.into(), at.into(), operator.into(), reason.into(), old.into()];
    tx.execute(sql, params).await?;
    let sql = "UPDATE dead_letters SET body = $1 WHERE id = $2";
    tx.execute(sql, vec![body.into(), letter.id.into()]).await.map(|_| ())
}
