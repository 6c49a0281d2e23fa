//! What is on its way, as small as can be: a message is a slot, a place where messages wait is a bag of
//! slots. A bag has no order, so a broker that reorders needs no action of its own.

use std::fmt;

use waybill_saga::Command;

/// A message about one dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// `DispatchRequested`.
    Request,
    /// `CancelRequested`.
    Cancel,
    /// What the saga tells a participant.
    Command(Command),
    /// What it answers: done, or refused.
    Reply(Command, Answer),
}

/// How a participant answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Done,
    Refused,
}

const COMMANDS: u32 = 2;
const DONE: u32 = 10;
const REFUSED: u32 = 18;
const _: () = assert!(Command::ALL.len() == (DONE - COMMANDS) as usize);

impl Message {
    const fn slot(self) -> u32 {
        match self {
            Self::Request => 0,
            Self::Cancel => 1,
            Self::Command(command) => COMMANDS + command as u32,
            Self::Reply(command, Answer::Done) => DONE + command as u32,
            Self::Reply(command, Answer::Refused) => REFUSED + command as u32,
        }
    }

    const fn at(slot: u32) -> Self {
        match slot {
            0 => Self::Request,
            1 => Self::Cancel,
            COMMANDS..DONE => Self::Command(Command::ALL[(slot - COMMANDS) as usize]),
            DONE..REFUSED => Self::Reply(Command::ALL[(slot - DONE) as usize], Answer::Done),
            _ => Self::Reply(Command::ALL[(slot - REFUSED) as usize], Answer::Refused),
        }
    }

    /// Its message id, as a set of one. The two answers to a command share theirs, as the shipped ones do.
    pub(crate) const fn id(self) -> Ids {
        Ids::of(self.slot())
    }
}

/// A set of message ids.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ids(u32);

impl Ids {
    const fn of(slot: u32) -> Self {
        Self(1 << if slot < REFUSED { slot } else { slot - REFUSED + DONE })
    }

    /// Whether all of `other` is in here.
    pub(crate) const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in either.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in here and not in `other`.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = (0..REFUSED).map(Message::at).filter(|message| self.contain(message.id()));
        f.debug_set().entries(names).finish()
    }
}

/// Copies of messages, in no order: four bits count those of each slot.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Bag(u128);

const BITS: u32 = 4;

impl Bag {
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn holds(self, message: Message) -> bool {
        (self.0 >> (message.slot() * BITS)) & 15 != 0
    }

    /// Another copy. Panics where the model is not bounded as it should be.
    pub(crate) const fn add(&mut self, message: Message) {
        let shift = message.slot() * BITS;
        assert!((self.0 >> shift) & 15 < 15, "more copies than the model can count");
        self.0 += 1 << shift;
    }

    /// One copy less. Panics without one.
    pub(crate) const fn take(&mut self, message: Message) {
        assert!(self.holds(message), "taken from where it is not");
        self.0 -= 1 << (message.slot() * BITS);
    }

    /// Each message that is there, once.
    pub(crate) fn messages(self) -> impl Iterator<Item = Message> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let slot = rest.trailing_zeros() / BITS;
            rest &= !(15 << (slot * BITS));
            Some(Message::at(slot))
        })
    }

    /// Drops all copies of what `matters` does not hold for.
    pub(crate) fn retain(&mut self, matters: impl Fn(&Message) -> bool) {
        for message in self.messages().filter(|message| !matters(message)) {
            self.0 &= !(15 << (message.slot() * BITS));
        }
    }

    /// Takes in all copies of `other`.
    pub(crate) fn append(&mut self, other: Self) {
        for message in other.messages() {
            let shift = message.slot() * BITS;
            let (mine, more) = ((self.0 >> shift) & 15, (other.0 >> shift) & 15);
            assert!(mine + more <= 15, "more copies than the model can count");
            self.0 += more << shift;
        }
    }

    /// The ids of all that is there.
    pub(crate) const fn ids(self) -> Ids {
        let (mut ids, mut rest) = (Ids(0), self.0);
        while rest != 0 {
            let slot = rest.trailing_zeros() / BITS;
            rest &= !(15 << (slot * BITS));
            ids.add(Ids::of(slot));
        }
        ids
    }
}

impl fmt::Debug for Bag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.messages()).finish()
    }
}
