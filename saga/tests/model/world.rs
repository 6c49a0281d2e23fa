//! A state of the world: for each dispatch what the databases, the outboxes and the broker hold, and which
//! faults may still happen.

use waybill_saga::{Command, Participant};

use crate::{
    faults::Faults,
    machine::{Saga, Sent},
    message::{Answer, Bag, Ids, Message},
    participant::Row,
};

/// Everything that is kept and under way about one dispatch. Two dispatches share faults and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Flow {
    /// The gateway's row.
    pub(crate) accepted: bool,
    /// The gateway keeps a cancel request.
    pub(crate) cancelling: bool,
    pub(crate) saga: Saga,
    pub(crate) order: Row,
    pub(crate) payment: Row,
    pub(crate) delivery: Row,
    /// Inbox rows, of whoever consumes the message.
    pub(crate) inbox: Ids,
    /// Commands whose recorded reply is a refusal.
    pub(crate) refused: Ids,
    /// Rows of all outboxes that are yet to be published.
    pub(crate) outbox: Bag,
    /// Rows that the broker has confirmed and the relay does not know of: published again some day.
    pub(crate) unheard: Bag,
    /// All queues.
    pub(crate) queues: Bag,
    /// What only the checker knows.
    pub(crate) ghost: Ghost,
}

/// What has happened, kept to be compared with what is there. As long as all is well it follows from the
/// rest, and costs no states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ghost {
    /// Ids of all messages that an outbox ever held, less what the broker was made to forget.
    pub(crate) sent: Ids,
    /// Messages whose handling was committed, less what the inbox was made to forget.
    pub(crate) applied: Ids,
    /// A message was applied again.
    pub(crate) applied_twice: bool,
    /// Commands that changed something.
    pub(crate) effects: Ids,
    /// A command changed something again.
    pub(crate) effect_twice: bool,
    /// A message ended as a dead letter.
    pub(crate) buried: bool,
    /// Ends announced.
    pub(crate) ends: u8,
}

impl Flow {
    /// Commits a message to an outbox.
    pub(crate) const fn append(&mut self, message: Message) {
        self.outbox.add(message);
        self.ghost.sent.add(message.id());
    }

    /// Takes in what the machine said.
    pub(crate) fn moved(&mut self, (saga, sent): &(Saga, Vec<Sent>)) {
        self.saga = *saga;
        for sent in sent {
            match *sent {
                Sent::Command(command) => self.append(Message::Command(command)),
                Sent::End => self.ghost.ends += 1,
            }
        }
    }

    pub(crate) const fn row(&mut self, participant: Participant) -> &mut Row {
        match participant {
            Participant::Order => &mut self.order,
            Participant::Payment => &mut self.payment,
            Participant::Dispatch => &mut self.delivery,
        }
    }

    /// The reply that a participant has on record.
    pub(crate) const fn recorded(&self, command: Command) -> Answer {
        if self.refused.contain(Message::Command(command).id()) { Answer::Refused } else { Answer::Done }
    }

    /// Whether no message is on its way.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.outbox.is_empty() && self.unheard.is_empty() && self.queues.is_empty()
    }

    /// Whether the request is nowhere to be seen, which is what makes the gateway send it again. Its patience
    /// is such that a request which waits in a queue is hardly ever sent again.
    pub(crate) fn has_lost_its_request(&self) -> bool {
        let waits =
            [self.outbox, self.unheard, self.queues].into_iter().any(|bag| bag.holds(Message::Request));
        self.accepted && self.saga == Saga::NONE && !waits
    }

    /// Whether the same goes for its cancel request, as far as the messages tell.
    pub(crate) fn has_lost_its_cancel(&self) -> bool {
        let waits =
            [self.outbox, self.unheard, self.queues].into_iter().any(|bag| bag.holds(Message::Cancel));
        self.cancelling && !waits
    }

    /// The broker loses all its messages.
    pub(crate) fn forget_queues(&mut self) {
        let kept = self.inbox.and(self.outbox.ids()).and(self.unheard.ids());
        self.ghost.sent = self.ghost.sent.without(self.queues.ids().without(kept));
        self.queues = Bag::default();
    }

    /// The inboxes lose their rows, as they do when these are old.
    pub(crate) fn forget_inbox(&mut self) {
        let kept = self.queues.ids().and(self.outbox.ids()).and(self.unheard.ids());
        self.ghost.sent = self.ghost.sent.without(self.inbox.without(kept));
        (self.inbox, self.refused, self.ghost.applied) = (Ids::default(), Ids::default(), Ids::default());
    }
}

/// `N` dispatches of different orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World<const N: usize> {
    /// In the order of their content, because who is first makes no difference.
    pub(crate) flows: [Flow; N],
    /// What may still go wrong.
    pub(crate) left: Faults,
}
