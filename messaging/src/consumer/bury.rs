//! The consumer of a dead queue: what the broker gave up is taken into the table, at least once. A pack is taken
//! apart instead: its messages go out again, each by itself, and only the guilty one comes back.

use super::{Handler, Outcome, Received};
use crate::{
    Envelope, Exchange, Failure, Outgoing, StoreError, Tx,
    dead_letter::{self, DeadLetter, DeadLetterKind},
    outbox,
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
        let (packed, alone): (Vec<&&Received<()>>, _) = batch.iter().partition(|received| received.packed);
        outbox::append(tx, packed.into_iter().map(|received| self.again(&received.envelope)).collect());
        for received in alone {
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

impl BuryBrokerLetters {
    /// Another attempt, and so not in a pack again.
    fn again(&self, envelope: &Envelope) -> Outgoing {
        let envelope = Envelope { attempt: envelope.attempt + 1, ..envelope.clone() };
        Outgoing::new(Exchange::Dispatch, self.queue.routing_keys[0], envelope)
    }
}
