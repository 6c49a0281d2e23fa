//! What participant `payment` is told to do, parsed, and what it answers.

use waybill_messaging::{Envelope, Failure, Outcome};
use waybill_proto::v1;

use crate::{
    Money,
    read::{self, Key, wrong},
    reply::{refused, reply},
};

/// A command to participant `payment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reserve what the dispatch costs.
    Reserve {
        /// What it is about.
        key: Key,
        /// On whose account; empty: the order is paid on its own.
        customer_id: String,
        /// How much, and more than nothing. `None`: the tariff for the parcels.
        amount: Option<Money>,
        /// How many parcels, at least one.
        parcels: i64,
    },
    /// Undo that, whether or not it came.
    Release {
        /// What it is about.
        key: Key,
        /// Why.
        reason: String,
    },
    /// Take what was reserved.
    Capture {
        /// What it is about.
        key: Key,
    },
}

impl Command {
    pub(super) fn read(envelope: &Envelope) -> Result<Self, Failure> {
        if read::is::<v1::ReservePayment>(envelope) {
            let body: v1::ReservePayment = read::body(envelope)?;
            Ok(Self::Reserve {
                key: Key::read(envelope, body.dispatch_id, body.order_id)?,
                customer_id: read::optional("customer_id", body.customer_id)?,
                amount: body.amount.map(amount).transpose()?,
                parcels: read::parcels(body.parcel_count)?,
            })
        } else if read::is::<v1::ReleasePayment>(envelope) {
            let v1::ReleasePayment { dispatch_id, order_id, reason } = read::body(envelope)?;
            let key = Key::read(envelope, dispatch_id, order_id)?;
            Ok(Self::Release { key, reason: read::reason(reason)? })
        } else if read::is::<v1::CapturePayment>(envelope) {
            let v1::CapturePayment { dispatch_id, order_id } = read::body(envelope)?;
            Ok(Self::Capture { key: Key::read(envelope, dispatch_id, order_id)? })
        } else {
            read::unknown(envelope)
        }
    }

    /// What it is about.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Reserve { key, .. } | Self::Release { key, .. } | Self::Capture { key } => key,
        }
    }
}

fn amount(v1::Money { currency_code, minor_units }: v1::Money) -> Result<Money, Failure> {
    if !Money::is_currency(&currency_code) {
        let shown: String = currency_code.chars().take(16).collect();
        return wrong(format!("amount.currency_code {shown:?} is not three upper-case letters"));
    }
    if minor_units < 1 {
        return wrong(format!("amount.minor_units is {minor_units}, at least 1 is needed"));
    }
    Ok(Money { currency_code, minor_units })
}

/// What the participant answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Reserved(Money),
    Declined(String),
    Released,
    Captured,
}

impl Answer {
    pub(super) fn outcome(self, key: &Key) -> Outcome {
        let Key { dispatch_id, order_id } = key.clone();
        match self {
            Self::Reserved(amount) => {
                reply(&v1::PaymentReserved { dispatch_id, order_id, amount: Some(amount.into()) })
            }
            Self::Declined(reason) => {
                refused("payment", key, &reason);
                reply(&v1::PaymentDeclined { dispatch_id, order_id, reason })
            }
            Self::Released => reply(&v1::PaymentReleased { dispatch_id, order_id }),
            Self::Captured => reply(&v1::PaymentCaptured { dispatch_id, order_id }),
        }
    }
}
