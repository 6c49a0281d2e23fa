//! What participant `order` is told to do, parsed, and what it answers.

use waybill_messaging::{Envelope, Failure, Outcome};
use waybill_proto::v1;

use crate::{
    read::{self, Key},
    reply::{refused, reply},
};

/// A command to participant `order`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take the order in.
    Accept {
        /// What it is about.
        key: Key,
        /// Whose order it is; empty where nobody said.
        customer_id: String,
    },
    /// Undo that, whether or not it came.
    Cancel {
        /// What it is about.
        key: Key,
        /// Why.
        reason: String,
    },
    /// Close the order.
    Complete {
        /// What it is about.
        key: Key,
    },
}

impl Command {
    pub(super) fn read(envelope: &Envelope) -> Result<Self, Failure> {
        if read::is::<v1::AcceptOrder>(envelope) {
            let v1::AcceptOrder { dispatch_id, order_id, customer_id, .. } = read::body(envelope)?;
            let key = Key::read(envelope, dispatch_id, order_id)?;
            Ok(Self::Accept { key, customer_id: read::optional("customer_id", customer_id)? })
        } else if read::is::<v1::CancelOrder>(envelope) {
            let v1::CancelOrder { dispatch_id, order_id, reason } = read::body(envelope)?;
            let key = Key::read(envelope, dispatch_id, order_id)?;
            Ok(Self::Cancel { key, reason: read::reason(reason)? })
        } else if read::is::<v1::CompleteOrder>(envelope) {
            let v1::CompleteOrder { dispatch_id, order_id } = read::body(envelope)?;
            Ok(Self::Complete { key: Key::read(envelope, dispatch_id, order_id)? })
        } else {
            read::unknown(envelope)
        }
    }

    /// What it is about.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Accept { key, .. } | Self::Cancel { key, .. } | Self::Complete { key } => key,
        }
    }
}

/// What the participant answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Rejected(String),
    Cancelled,
    Completed,
}

impl Answer {
    pub(super) fn outcome(self, key: &Key) -> Outcome {
        let Key { dispatch_id, order_id } = key.clone();
        match self {
            Self::Accepted => reply(&v1::OrderAccepted { dispatch_id, order_id }),
            Self::Rejected(reason) => {
                refused("order", key, &reason);
                reply(&v1::OrderRejected { dispatch_id, order_id, reason })
            }
            Self::Cancelled => reply(&v1::OrderCancelled { dispatch_id, order_id }),
            Self::Completed => reply(&v1::OrderCompleted { dispatch_id, order_id }),
        }
    }
}
