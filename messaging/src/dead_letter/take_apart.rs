//! Packs in `dead_letters`. A release from before packs takes one for a message without a type and buries it; this one
//! sends what is in it again.

use uuid::Uuid;

use super::{
    desk::{Filter, Letter, State},
    resolve::{Take, resolve},
};
use crate::{Envelope, Exchange, Outgoing, StoreError, Transaction, Tx, outbox, pack, topology::Queue};

/// Letters looked at in one transaction.
const MOST: u32 = 100;

/// Sends the messages of buried packs again, each by itself, and marks the letters.
pub(crate) struct TakeApart {
    /// Whose letters.
    pub(crate) queue: Queue,
    /// Only letters beyond this one.
    pub(crate) after: Uuid,
}

/// What was found among a page of letters.
pub(crate) struct Found {
    /// Packs that were taken apart.
    pub(crate) packs: usize,
    /// The last letter, where more may follow.
    pub(crate) last: Option<Uuid>,
}

impl Transaction for TakeApart {
    const NAME: &'static str = "dead_letters.take_apart";
    type Output = Found;

    async fn run(&self, tx: &Tx) -> Result<Found, StoreError> {
        let filter = Filter {
            queue: Some(self.queue.name.to_owned()),
            type_name: Some(String::new()),
            ..Filter::default()
        };
        let letters = Take { filter, after: self.after, upto: Uuid::max(), most: MOST }.run(tx).await?;
        let last = (letters.len() == MOST as usize).then(|| letters.last().map(|letter| letter.id)).flatten();
        let (mut packs, mut messages) = (Vec::new(), Vec::new());
        for letter in letters {
            if let Some(envelopes) = unpacked(&letter) {
                messages.extend(envelopes.into_iter().map(|envelope| self.again(envelope)));
                packs.push(letter);
            }
        }
        if !packs.is_empty() {
            outbox::append(tx, messages);
            let reason = "a pack: its messages were sent again, each by itself";
            resolve(tx, &packs, State::Replayed, "waybill", reason).await?;
        }
        Ok(Found { packs: packs.len(), last })
    }
}

impl TakeApart {
    /// Another attempt, and so not in a pack again.
    fn again(&self, envelope: Envelope) -> Outgoing {
        let envelope = Envelope { attempt: envelope.attempt + 1, ..envelope };
        Outgoing::new(Exchange::Dispatch, self.queue.routing_keys[0], envelope)
    }
}

/// The messages of a letter that is a pack. Other bytes may pass for one, but not with ids and types in it.
fn unpacked(letter: &Letter) -> Option<Vec<Envelope>> {
    let envelopes = pack::unpack(letter.envelope.body.clone())?;
    let whole = |envelope: &Envelope| !envelope.message_id.is_empty() && !envelope.type_name.is_empty();
    (!envelopes.is_empty() && envelopes.iter().all(whole)).then_some(envelopes)
}
