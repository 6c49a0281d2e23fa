//! What participant `dispatch` is told to do, parsed, and what it answers.

use waybill_messaging::{Envelope, Failure, Outcome};
use waybill_proto::v1;

use crate::{
    read::{self, Key},
    reply::{refused, reply},
};

/// A command to participant `dispatch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Create the delivery.
    Create {
        /// What it is about.
        key: Key,
        /// Where to.
        destination_code: String,
        /// How many parcels, at least one.
        parcels: i64,
    },
    /// Undo that, whether or not it came.
    Withdraw {
        /// What it is about.
        key: Key,
        /// Why.
        reason: String,
    },
}

impl Command {
    pub(super) fn read(envelope: &Envelope) -> Result<Self, Failure> {
        if read::is::<v1::CreateDispatch>(envelope) {
            let v1::CreateDispatch { dispatch_id, order_id, destination_code, parcel_count } =
                read::body(envelope)?;
            Ok(Self::Create {
                key: Key::read(envelope, dispatch_id, order_id)?,
                destination_code: read::required("destination_code", destination_code)?,
                parcels: read::parcels(parcel_count)?,
            })
        } else if read::is::<v1::WithdrawDispatch>(envelope) {
            let v1::WithdrawDispatch { dispatch_id, order_id, reason } = read::body(envelope)?;
            let key = Key::read(envelope, dispatch_id, order_id)?;
            Ok(Self::Withdraw { key, reason: read::reason(reason)? })
        } else {
            read::unknown(envelope)
        }
    }

    /// What it is about.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Create { key, .. } | Self::Withdraw { key, .. } => key,
        }
    }
}

/// What the participant answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Created,
    Refused(String),
    Withdrawn,
}

impl Answer {
    pub(super) fn outcome(self, key: &Key) -> Outcome {
        let Key { dispatch_id, order_id } = key.clone();
        match self {
            Self::Created => reply(&v1::DispatchCreated { dispatch_id, order_id }),
            Self::Refused(reason) => {
                refused("dispatch", key, &reason);
                reply(&v1::DispatchRefused { dispatch_id, order_id, reason })
            }
            Self::Withdrawn => reply(&v1::DispatchWithdrawn { dispatch_id, order_id }),
        }
    }
}
