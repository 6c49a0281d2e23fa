//! The consumer of a dead queue: what the broker gave up is taken into the table, at least once.

use super::{Handler, Outcome, Received};
use crate::{
    Envelope, Failure, StoreError, Tx,
    dead_letter::{self, DeadLetter, DeadLetterKind},
    topology::Queue,
};

/// Takes dead letters of one queue into `dead_letters`.
#[derive(Clone, Copy, Debug)]
pub struct BuryBrokerLetters {
    /// The queue that they died in.
    pub queue: Queue,
}

impl Handler for BuryBrokerLetters {
    type Message = ();

    fn inbox(&self) -> Option<&'static str> {
        None
    }

    fn parse(&self, _: &Envelope) -> Result<(), Failure> {
        Ok(())
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<()>]) -> Result<Vec<Outcome>, StoreError> {
        for received in batch {
            let letter = DeadLetter {
                queue: self.queue.name.to_owned(),
                // The way by which it can be sent again.
                routing_key: self.queue.routing_keys[0].to_owned(),
                envelope: received.envelope.clone(),
                kind: DeadLetterKind::Broker,
                reason: "the broker gave it up: delivered too often without an acknowledgement".to_owned(),
            };
            dead_letter::bury(tx, &letter).await?;
        }
        Ok(vec![Outcome::default(); batch.len()])
    }
}
