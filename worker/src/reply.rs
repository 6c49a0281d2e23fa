//! Turns an answer into the reply that the consumer records and sends.

use prost::Name;
use waybill_messaging::{Outcome, Reply};

use crate::Key;

/// The outcome of a command that is answered with `message`.
pub(crate) fn reply<M: Name>(message: &M) -> Outcome {
    Outcome { reply: Some(Reply { type_name: M::full_name(), body: message.encode_to_vec().into() }) }
}

/// Says, for whoever follows one dispatch closely, that it was refused; the saga's history tells the rest.
pub(crate) fn refused(participant: &str, key: &Key, reason: &str) {
    tracing::debug!(participant, dispatch_id = key.dispatch_id, order_id = key.order_id, reason, "refused");
}
