//! What a call answers: messages that are known by their descriptor only.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Code, Status, Streaming,
    codec::{DecodeBuf, Decoder},
};

use super::{Problem, call::broken};

/// Messages as they come, and the status of the call after them.
pub(super) type Answers = Streaming<DynamicMessage>;

struct Reader(MessageDescriptor);

impl Decoder for Reader {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let read = DynamicMessage::decode(self.0.clone(), from);
        read.map(Some).map_err(|error| broken(&error.to_string()).status())
    }
}

/// Those of that response. Errors: the call was refused at once.
pub(super) fn of(
    output: MessageDescriptor,
    response: http::Response<tonic::body::Body>,
) -> Result<Answers, Status> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => return Err(status),
        _ => {}
    }
    let (parts, body) = response.into_parts();
    // They come from this process, which holds them to its own limits.
    Ok(Streaming::new_response(Reader(output), body, parts.status, None, Some(usize::MAX)))
}

/// The one answer of a call that has one.
pub(super) async fn only(mut answers: Answers) -> Result<DynamicMessage, Problem> {
    let first = answers.message().await?;
    // How the call ended comes last.
    answers.trailers().await?;
    first.ok_or_else(|| broken("an answer is empty"))
}
