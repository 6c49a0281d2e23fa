//! Reads what came over the wire, once, so that nothing further in has to doubt it. Whatever is wrong
//! with a message stays wrong: every failure here is permanent and names it. What has not been checked
//! is quoted with its control characters escaped, because the reason is stored as well.

use prost::Name;
use waybill_messaging::{Envelope, Failure};

/// Bytes of an identifier at most.
const ID_BYTES: usize = 255;
/// Characters that are kept of a reason.
const REASON_CHARS: usize = 500;

/// What a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The dispatch: identity of the participant's row.
    pub dispatch_id: String,
    /// The order that is dispatched.
    pub order_id: String,
}

impl Key {
    /// Both are required, and the dispatch must be the one that the envelope speaks of.
    pub(crate) fn read(envelope: &Envelope, dispatch_id: String, order_id: String) -> Result<Self, Failure> {
        let dispatch_id = required("dispatch_id", dispatch_id)?;
        let correlation_id = &envelope.correlation_id;
        if !correlation_id.is_empty() && *correlation_id != dispatch_id {
            return wrong(format!("dispatch_id {dispatch_id} is not the correlation_id {correlation_id:?}"));
        }
        Ok(Self { dispatch_id, order_id: required("order_id", order_id)? })
    }

    /// One dispatch has one order: `known` is what an earlier message said.
    pub(crate) fn agrees(&self, known: &str) -> Result<(), Failure> {
        if self.order_id == known {
            return Ok(());
        }
        wrong(format!("dispatch {} belongs to order {known}, not {}", self.dispatch_id, self.order_id))
    }
}

/// Whether the envelope says that its body is an `M`.
pub(crate) fn is<M: Name>(envelope: &Envelope) -> bool {
    let name = envelope.type_name.strip_prefix(M::PACKAGE).and_then(|rest| rest.strip_prefix('.'));
    name == Some(M::NAME)
}

/// The body of `envelope`.
pub(crate) fn body<M: Name + Default>(envelope: &Envelope) -> Result<M, Failure> {
    M::decode(envelope.body.as_ref())
        .map_err(|error| Failure::Permanent(format!("body is not a {}: {error}", M::full_name())))
}

/// For a type that the participant does not take.
pub(crate) fn unknown<M>(envelope: &Envelope) -> Result<M, Failure> {
    wrong(format!("unknown message type {:?}", envelope.type_name))
}

/// An identifier that must be there.
pub(crate) fn required(field: &str, value: String) -> Result<String, Failure> {
    if value.is_empty() {
        return wrong(format!("{field} is empty"));
    }
    optional(field, value)
}

/// An identifier that may be empty.
pub(crate) fn optional(field: &str, value: String) -> Result<String, Failure> {
    if value.len() > ID_BYTES {
        return wrong(format!("{field} has {} bytes, at most {ID_BYTES} are allowed", value.len()));
    }
    storable(field, value)
}

/// A text for people, cut to what is worth keeping.
pub(crate) fn reason(value: String) -> Result<String, Failure> {
    storable("reason", value).map(cut)
}

/// A reason of ours, which may quote what came in, cut to the same length.
pub(crate) fn cut(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS) {
        reason.truncate(end);
    }
    reason
}

/// A number of parcels.
pub(crate) fn parcels(count: i32) -> Result<i64, Failure> {
    if count < 1 {
        return wrong(format!("parcel_count is {count}, at least 1 is needed"));
    }
    Ok(count.into())
}

pub(crate) fn wrong<T>(reason: String) -> Result<T, Failure> {
    Err(Failure::Permanent(reason))
}

/// PostgreSQL stores no NUL in a text.
fn storable(field: &str, value: String) -> Result<String, Failure> {
    if value.contains('\0') {
        return wrong(format!("{field} contains a NUL character"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permanent(text: &str) -> Failure {
        Failure::Permanent(text.to_owned())
    }

    #[test]
    fn identifiers_are_bounded_and_without_nul() {
        assert_eq!(required("order_id", String::new()), Err(permanent("order_id is empty")));
        assert_eq!(optional("customer_id", String::new()), Ok(String::new()));
        assert!(required("order_id", "x".repeat(255)).is_ok());
        let long = required("order_id", "x".repeat(256));
        assert_eq!(long, Err(permanent("order_id has 256 bytes, at most 255 are allowed")));
        let nul = required("order_id", "a\0b".to_owned());
        assert_eq!(nul, Err(permanent("order_id contains a NUL character")));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(reason("é".repeat(501)), Ok("é".repeat(500)));
        assert_eq!(reason("short".to_owned()), Ok("short".to_owned()));
        assert!(reason("\0".to_owned()).is_err());
    }

    #[test]
    fn the_dispatch_is_the_one_of_the_envelope() {
        let envelope = |id: &str| Envelope { correlation_id: id.to_owned(), ..Envelope::default() };
        let read = |id| Key::read(&envelope(id), "d1".to_owned(), "o1".to_owned());
        assert!(read("").is_ok() && read("d1").is_ok());
        assert_eq!(read("d2"), Err(permanent("dispatch_id d1 is not the correlation_id \"d2\"")));
    }
}
