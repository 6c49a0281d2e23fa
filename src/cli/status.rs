//! From a gRPC status to something a person can act on: one line, every detail the server gave, and the
//! exit code. Also says which errors are worth another attempt.

use std::{error::Error, time::Duration};

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use waybill_proto::google::rpc;

use super::{Failure, exit};

/// The code as the gRPC specification spells it.
pub(super) fn code_name(code: Code) -> &'static str {
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

/// The exit code that stands for this code.
pub(super) fn exit_code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument => exit::INVALID,
        Code::AlreadyExists => exit::EXISTS,
        Code::NotFound => exit::NOT_FOUND,
        Code::Unavailable | Code::DeadlineExceeded => exit::UNREACHABLE,
        Code::ResourceExhausted => exit::EXHAUSTED,
        Code::FailedPrecondition => exit::PRECONDITION,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::PermissionDenied
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => 1,
    }
}

/// Whether a stream that broke with this is worth opening again. A connection that was lost shows as any
/// of these, depending on who noticed first.
pub(super) fn is_passing(code: Code) -> bool {
    match code {
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// The code that was meant: tonic reports a deadline that passed on this side as a cancellation.
pub(super) fn code(status: &Status) -> Code {
    match status.code() {
        Code::Cancelled if status.message() == "Timeout expired" => Code::DeadlineExceeded,
        code => code,
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let code = code(&status);
        let message = format!("{}: {}", code_name(code), message(&status));
        Self { code: exit_code(code), message, details: details(&status) }
    }
}

fn message(status: &Status) -> String {
    let message = if status.message().is_empty() { "the server gave no reason" } else { status.message() };
    match status.source() {
        Some(source) => format!("{message}: {}", chain(source)),
        None => message.to_owned(),
    }
}

/// What the server said beside the message, a line each.
pub(super) fn details(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(request) = status.get_details_bad_request() {
        let violations = request.field_violations.iter();
        lines.extend(violations.map(|violation| format!("{}: {}", violation.field, violation.description)));
    }
    if let Some(resource) = status.get_details_resource_info() {
        let text = format!("{} {} {}", resource.resource_type, resource.resource_name, resource.description);
        lines.push(text.trim().to_owned());
    }
    if let Some(failure) = status.get_details_precondition_failure() {
        let violations = failure.violations.iter();
        lines.extend(violations.map(|violation| format!("{}: {}", violation.subject, violation.description)));
    }
    if let Some(delay) = retry_delay(status) {
        lines.push(format!("try again in {}", humantime::format_duration(delay)));
    }
    lines
}

/// When the server wants to be asked again.
pub(super) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// The status of one item of a stream, as if it had been the status of a call.
pub(super) fn of_item(item: &rpc::Status) -> Status {
    Status::with_details(Code::from_i32(item.code), item.message.clone(), item.encode_to_vec().into())
}

/// An error and what caused it, in one line, without repeating itself.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
    use waybill_proto::google::rpc;

    use super::{Failure, of_item, retry_delay};

    fn invalid() -> Status {
        let violations = vec![
            FieldViolation::new("order_id", "must not be empty"),
            FieldViolation::new("parcel_count", "must be 1 to 10000"),
        ];
        Status::with_error_details(
            Code::InvalidArgument,
            "2 fields are wrong",
            ErrorDetails::with_bad_request(violations),
        )
    }

    #[test]
    fn every_violation_is_a_line() {
        let failure = Failure::from(invalid());
        assert_eq!(failure.code, 3);
        let text = "waybill: INVALID_ARGUMENT: 2 fields are wrong\n  \
                    order_id: must not be empty\n  parcel_count: must be 1 to 10000";
        assert_eq!(failure.to_string(), text);
    }

    #[test]
    fn an_item_of_a_stream_keeps_its_details() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(250)));
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let item: rpc::Status = prost::Message::decode(status.details()).unwrap();
        let status = of_item(&item);
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "full"));
        assert_eq!(retry_delay(&status), Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_deadline_on_this_side_is_called_by_its_name() {
        let failure = Failure::from(Status::cancelled("Timeout expired"));
        assert_eq!((failure.code, failure.message.as_str()), (6, "DEADLINE_EXCEEDED: Timeout expired"));
    }

    #[test]
    fn codes_have_their_exit_codes() {
        let codes = [
            (Code::AlreadyExists, 4),
            (Code::NotFound, 5),
            (Code::Unavailable, 6),
            (Code::ResourceExhausted, 7),
            (Code::FailedPrecondition, 8),
            (Code::Internal, 1),
        ];
        for (code, exit) in codes {
            assert_eq!(Failure::from(Status::new(code, "x")).code, exit, "{code:?}");
        }
    }
}
