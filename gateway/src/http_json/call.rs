//! A request of HTTP as a call of gRPC.
//!
//! The call's body is made when its handler wants it, not before: nothing is read for a client who may not call.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header, request::Parts};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use tonic::Code;
use tower::ServiceExt as _;

use super::{
    Grpc, Problem,
    answers::{self, Answers},
    query, read,
};
use crate::json::CONTRACT;

/// What is said of the one body and holds for no other.
const OF_THE_BODY: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "grpc-accept-encoding",
    "grpc-encoding",
    "te",
    "transfer-encoding",
];
/// Before each message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A method to be called.
pub(super) struct Call {
    path: &'static str,
    input: MessageDescriptor,
    output: MessageDescriptor,
}

/// Where the message comes from.
pub(super) enum Content {
    /// A body in JSON, and what is said of one field elsewhere.
    Body(Body, Option<Said>),
    /// The query, and what is said of fields elsewhere.
    Query(String, Vec<Said>),
}

/// What the path or a header says of a field.
pub(super) struct Said {
    pub(super) field: &'static str,
    pub(super) value: Value,
    /// Who says it, for people.
    pub(super) by: &'static str,
    /// Whether it holds whatever body or query say of that field.
    pub(super) prevails: bool,
}

impl Content {
    /// Refuses a body that is wrong by its headers alone.
    pub(super) fn check(&self, headers: &HeaderMap, most: usize) -> Result<(), Problem> {
        match self {
            Self::Body(..) => read::check(headers, most),
            Self::Query(..) => Ok(()),
        }
    }

    async fn message(self, input: MessageDescriptor, most: usize) -> Result<DynamicMessage, Problem> {
        match self {
            Self::Query(query, said) => {
                let message = read::message(input.clone(), query::parse(&input, &query)?)?;
                put_all(said, message)
            }
            Self::Body(body, said) => {
                let message = read::message(input, read::body(body, most).await?)?;
                put_all(said, message)
            }
        }
    }
}

fn put_all(
    said: impl IntoIterator<Item = Said>,
    mut message: DynamicMessage,
) -> Result<DynamicMessage, Problem> {
    for said in said {
        said.put_into(&mut message)?;
    }
    Ok(message)
}

impl Said {
    /// Body and query may say the same, and nothing else where this does not prevail.
    fn put_into(self, message: &mut DynamicMessage) -> Result<(), Problem> {
        let is_said = message.has_field_by_name(self.field);
        let differs = message.get_field_by_name(self.field).is_none_or(|value| *value != self.value);
        if is_said && differs && !self.prevails {
            return Err(Problem::of_field(self.field, &format!("must be what {} says, or absent", self.by)));
        }
        message.set_field_by_name(self.field, self.value);
        Ok(())
    }
}

impl Call {
    /// Of the method at that path.
    pub(super) fn of(path: &'static str) -> Result<Self, Problem> {
        let (service, name) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let service = CONTRACT.get_service_by_name(service);
        let method = service.and_then(|service| service.methods().find(|method| method.name() == name));
        let method = method.ok_or_else(|| broken("the contract has no such method"))?;
        Ok(Self { path, input: method.input(), output: method.output() })
    }

    /// Makes it, with the headers and everything else that is known of the request.
    pub(super) async fn make(
        self,
        grpc: Grpc,
        mut parts: Parts,
        content: Content,
        most: usize,
    ) -> Result<Answers, Problem> {
        for name in OF_THE_BODY {
            parts.headers.remove(name);
        }
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        parts.method = Method::POST;
        parts.version = Version::HTTP_2;
        parts.uri = Uri::from_static(self.path);

        // HTTP knows more ways for a body to be wrong than gRPC has codes.
        let wrong: Arc<OnceLock<Problem>> = Arc::default();
        let (input, found) = (self.input, Arc::clone(&wrong));
        let body = stream::once(async move {
            match content.message(input, most).await {
                Ok(message) => Ok(Frame::data(frame(&message))),
                Err(problem) => {
                    let status = problem.status();
                    // Nobody else sets it.
                    let _ = found.set(problem);
                    Err(status)
                }
            }
        });
        let body = tonic::body::Body::new(StreamBody::new(body));
        let Ok(response) = grpc.oneshot(Request::from_parts(parts, body)).await;
        if let Some(problem) = wrong.get().cloned() {
            return Err(problem);
        }
        Ok(answers::of(self.output, response)?)
    }
}

/// As it travels in gRPC.
fn frame(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    // No body is that large.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

pub(super) fn broken(why: &str) -> Problem {
    tracing::error!(why, "HTTP and gRPC do not fit together");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "the answer cannot be read")
}
