//! The transactions of the desk: letters taken, what becomes of them, and the audit, all or nothing. Pressed
//! twice, the second finds nothing that is dead.

use uuid::Uuid;
use waybill_messaging::{
    StoreError, Timestamp, Transaction, Tx,
    dead_letter::{
        self, Take,
        desk::{Filter, Letter, State},
    },
};
use waybill_saga::operate;

/// What becomes of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Replay,
    Discard,
}

impl How {
    /// In the audit.
    const fn verb(self) -> &'static str {
        match self {
            Self::Replay => "replay_dead_letter",
            Self::Discard => "discard_dead_letter",
        }
    }

    const fn state(self) -> State {
        match self {
            Self::Replay => State::Replayed,
            Self::Discard => State::Discarded,
        }
    }
}

/// A letter that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) id: Uuid,
    pub(crate) recorded: bool,
    pub(crate) first_at: Timestamp,
}

/// Replays or discards a batch of letters, and yields which.
pub(crate) struct Resolve {
    pub(crate) take: Take,
    pub(crate) how: How,
    pub(crate) operator: String,
    pub(crate) reason: String,
}

impl Transaction for Resolve {
    const NAME: &'static str = "gateway.resolve_dead_letters";
    type Output = Vec<Taken>;

    async fn run(&self, tx: &Tx) -> Result<Vec<Taken>, StoreError> {
        let letters = self.take.run(tx).await?;
        match self.how {
            How::Replay => dead_letter::replay(tx, &letters),
            How::Discard => {}
        }
        let Self { how, operator, reason, .. } = self;
        dead_letter::resolve(tx, &letters, how.state(), operator, reason).await?;
        audit(tx, &letters, how.verb(), operator, reason).await?;
        let taken =
            |letter: &Letter| Taken { id: letter.id, recorded: letter.recorded, first_at: letter.first_at };
        Ok(letters.iter().map(taken).collect())
    }
}

/// Gives one letter another body and replays it.
pub(crate) struct Edit {
    pub(crate) id: Uuid,
    pub(crate) body: Vec<u8>,
    pub(crate) operator: String,
    pub(crate) reason: String,
}

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edited {
    Done,
    /// It is not dead any more.
    Resolved,
    /// Its message was handled meanwhile: another body would have no effect.
    Handled,
}

impl Transaction for Edit {
    const NAME: &'static str = "gateway.edit_dead_letter";
    type Output = Edited;

    async fn run(&self, tx: &Tx) -> Result<Edited, StoreError> {
        let Self { id, body, operator, reason } = self;
        let filter = Filter { ids: vec![*id], ..Filter::default() };
        let take = Take { filter, after: Uuid::nil(), upto: *id, most: 1 };
        let Some(mut letter) = take.run(tx).await?.into_iter().next() else { return Ok(Edited::Resolved) };
        if letter.recorded {
            return Ok(Edited::Handled);
        }
        dead_letter::edit(tx, &mut letter, body.clone(), operator, reason).await?;
        let letters = [letter];
        dead_letter::replay(tx, &letters);
        dead_letter::resolve(tx, &letters, State::Replayed, operator, reason).await?;
        audit(tx, &letters, "edit_dead_letter", operator, reason).await?;
        Ok(Edited::Done)
    }
}

async fn audit(
    tx: &Tx,
    letters: &[Letter],
    verb: &str,
    operator: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let concerned = letters.iter().map(|letter| (&letter.id, letter.envelope.correlation_id.as_str()));
    operate::audit_dead_letters(tx, concerned, verb, operator, reason).await
}
