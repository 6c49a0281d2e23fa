//! One table from what went wrong to what the client is told, with the machine-readable details that the
//! contract promises. What a database says is logged here and not passed on.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use waybill_messaging::{Failure, StoreError};
use waybill_proto::google::rpc;

/// What a client has to do after an outcome that nobody knows.
const ASK_AGAIN: &str = "the outcome is unknown: ask again with the same message_id";
/// How long a client should leave a database alone that is away.
const OUTAGE_PAUSE: Duration = Duration::from_millis(500);

/// The dispatch that was first, and stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names that the contract gives them")]
pub(crate) struct First {
    pub(crate) dispatch_id: String,
    pub(crate) message_id: String,
    pub(crate) order_id: String,
}

/// Why a request has no receipt.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// Its `message_id` was used for other content.
    MessageReused(First),
    /// Its order has a dispatch that is not cancelled.
    OrderTaken(First),
    /// The id is another client's, of whom this one may know nothing more. Name of the field, and the id.
    Taken(&'static str, String),
    /// Too many requests wait; there should be room after this long.
    Full(Duration),
    /// This process takes no more requests.
    Stopping,
    /// The commit has failed.
    Store(StoreError),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::MessageReused(first) => {
                let reason = format!("message_id {:?} was used before with other content", first.message_id);
                already_exists(first, &reason)
            }
            Refusal::OrderTaken(first) => {
                let reason = format!("order {:?} has a live dispatch already", first.order_id);
                already_exists(first, &reason)
            }
            Refusal::Taken(field, id) => Self::already_exists(format!("{field} {id:?} is taken")),
            Refusal::Full(pause) => exhausted("too many requests wait to be committed", pause),
            Refusal::Stopping => {
                Self::unavailable("shutting down: nothing was accepted, ask again elsewhere")
            }
            Refusal::Store(error) => write_failed(&error),
        }
    }
}

/// `ALREADY_EXISTS`; the details name the first dispatch, its `message_id` as owner.
fn already_exists(first: First, reason: &str) -> Status {
    let First { dispatch_id, message_id, order_id } = first;
    let message =
        format!("{reason}: dispatch {dispatch_id}, message_id {message_id:?}, order_id {order_id:?}");
    let details = ErrorDetails::with_resource_info("dispatch.v1.Dispatch", dispatch_id, message_id, reason);
    Status::with_error_details(Code::AlreadyExists, message, details)
}

/// `RESOURCE_EXHAUSTED`, worth asking again after `pause`. Nothing was done.
pub(crate) fn exhausted(message: &str, pause: Duration) -> Status {
    Status::with_error_details(Code::ResourceExhausted, message, ErrorDetails::with_retry_info(Some(pause)))
}

/// Nobody can tell yet whether a JWT is good.
pub(crate) fn no_keys() -> Status {
    let details = ErrorDetails::with_retry_info(Some(OUTAGE_PAUSE));
    Status::with_error_details(
        Code::Unavailable,
        "the keys of the tokens' issuer cannot be read just now",
        details,
    )
}

/// The deadline has passed; what was under way goes on.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded(format!("deadline passed, {ASK_AGAIN}"))
}

/// No dispatch of that name.
pub(crate) fn not_found(key: &str, value: &str) -> Status {
    Status::not_found(format!("no dispatch with {key} {value:?}"))
}

/// A dispatch can no longer be undone, and why.
pub(crate) fn not_cancellable(dispatch_id: &str, why: &str) -> Status {
    let details = ErrorDetails::with_precondition_failure_violation("dispatch.cancel", dispatch_id, why);
    Status::with_error_details(Code::FailedPrecondition, format!("cannot be cancelled: {why}"), details)
}

/// The dispatch is not at the version that the operator has seen.
pub(crate) fn moved_on(dispatch_id: &str, version: u64) -> Status {
    Status::aborted(format!("dispatch {dispatch_id} has moved on: it is at version {version} now"))
}

/// An operator's verb does not fit, and why.
pub(crate) fn does_not_fit(verb: &str, subject: &str, why: &str) -> Status {
    let details = ErrorDetails::with_precondition_failure_violation(format!("operator.{verb}"), subject, why);
    Status::with_error_details(Code::FailedPrecondition, format!("{verb} does not fit: {why}"), details)
}

/// An operator's verb was not committed, or nobody knows whether it was.
pub(crate) fn operator_failed(error: &StoreError) -> Status {
    match error {
        StoreError::Conflict(_) | StoreError::Unavailable(_) => unavailable("nothing was done"),
        StoreError::Unknown(_) => unavailable("the outcome is unknown: look at the version, and ask again"),
        StoreError::Taken(_) | StoreError::Refused(_) | StoreError::Failed(_) => {
            Status::internal("nothing was done")
        }
    }
}

/// A commit has failed: whether nothing was written or nobody knows, asking again is safe.
pub(crate) fn write_failed(error: &StoreError) -> Status {
    match error {
        StoreError::Conflict(_) | StoreError::Unavailable(_) => unavailable("nothing was accepted"),
        StoreError::Unknown(_) => unavailable(ASK_AGAIN),
        StoreError::Failed(Failure::Transient(_)) => Status::internal(format!("not committed, {ASK_AGAIN}")),
        StoreError::Taken(_) | StoreError::Refused(_) | StoreError::Failed(Failure::Permanent(_)) => {
            Status::internal("the database refused this request; nothing was accepted")
        }
    }
}

/// A query has failed.
pub(crate) fn read_failed(error: &StoreError) -> Status {
    if error.is_outage() {
        tracing::warn!(%error, "query failed");
        unavailable("ask again")
    } else {
        tracing::error!(%error, "query failed");
        Status::internal("query failed")
    }
}

fn unavailable(advice: &str) -> Status {
    let details = ErrorDetails::with_retry_info(Some(OUTAGE_PAUSE));
    Status::with_error_details(Code::Unavailable, format!("database unavailable, {advice}"), details)
}

/// The status of one item of a stream, with its details.
pub(crate) fn to_wire(status: &Status) -> rpc::Status {
    // Details that do not decode are ours and lost; code and message stand on their own.
    let details = rpc::Status::decode(status.details()).map(|s| s.details).unwrap_or_default();
    rpc::Status { code: status.code().into(), message: status.message().to_owned(), details }
}

/// The name of a code as the specification and the OpenTelemetry conventions spell it.
pub(crate) const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_item_keeps_its_details() {
        let wire = to_wire(&exhausted("full", Duration::from_millis(100)));
        assert_eq!(wire.code, i32::from(Code::ResourceExhausted));
        assert_eq!(wire.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    }

    #[test]
    fn an_unknown_outcome_asks_for_the_same_message_id() {
        let status = Status::from(Refusal::Store(StoreError::Unknown("gone".into())));
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("same message_id"));
    }
}
