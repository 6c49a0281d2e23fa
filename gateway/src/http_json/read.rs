//! A body in JSON as a message. What is wrong with it is told by the name of the field, in words that a body cannot
//! make long or break a line with.

use std::error::Error;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor};
use serde_json::Value;
use tonic::Code;

use super::Problem;
use crate::web::TooSlow;

/// The one media type.
pub(super) const JSON: &str = "application/json";
/// Characters of a text that are repeated to whoever sent it.
const REPEATED: usize = 100;
/// So many names tell enough.
const MOST_STRANGERS: usize = 10;

/// Refuses a body by its headers.
///
/// A browser sends what is not `application/json` from any page without asking; so nothing else is taken.
pub(super) fn check(headers: &HeaderMap, most: usize) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let first = types.next().and_then(|value| value.to_str().ok());
    let essence = first.and_then(|value| value.split(';').next()).unwrap_or_default();
    let is_plain = headers
        .get(header::CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !essence.trim().eq_ignore_ascii_case(JSON) || types.next().is_some() || !is_plain {
        let why = "the body must be application/json, and not compressed";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, why));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > u64::try_from(most).unwrap_or(u64::MAX)) {
        return Err(too_large(most));
    }
    Ok(())
}

/// The JSON that comes.
pub(super) async fn body(body: Body, most: usize) -> Result<Value, Problem> {
    let bytes = all(body, most).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, &format!("the body is no JSON: {error}"))
    })
}

async fn all(body: Body, most: usize) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, most).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if is::<LengthLimitError>(&*error) {
            too_large(most)
        } else if is::<TooSlow>(&*error) {
            let why = "the body did not come in time";
            Problem::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, why)
        } else {
            Problem::new(StatusCode::BAD_REQUEST, Code::Cancelled, "the body broke off")
        }
    })
}

fn is<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.is::<E>() || error.source().is_some_and(is::<E>)
}

fn too_large(most: usize) -> Problem {
    let why = format!("the body must not be larger than {most} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::OutOfRange, &why)
}

/// The message that the JSON describes.
pub(crate) fn message(descriptor: MessageDescriptor, json: Value) -> Result<DynamicMessage, Problem> {
    let mut strangers = Vec::new();
    find_strangers(&descriptor, &json, "", &mut strangers);
    if !strangers.is_empty() {
        let errors = strangers.into_iter().map(|name| (name, "is not known here".to_owned()));
        return Err(Problem::of_fields(errors.collect()));
    }
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(json, &mut track);
    DynamicMessage::deserialize(descriptor, tracked).map_err(|error| {
        let path = track.path();
        let field = if path.iter().next().is_none() { "body".to_owned() } else { tame(&path.to_string()) };
        Problem::of_field(&field, &format!("cannot be read: {}", tame(&error.to_string())))
    })
}

/// Fields that the message does not have, by their paths.
fn find_strangers(descriptor: &MessageDescriptor, json: &Value, path: &str, found: &mut Vec<String>) {
    let Value::Object(fields) = json else { return };
    // These have a JSON of their own.
    if descriptor.package_name() == "google.protobuf" {
        return;
    }
    for (name, value) in fields {
        let field = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
        match field.map(|field| field.kind()) {
            None if found.len() < MOST_STRANGERS => found.push(format!("{path}{}", tame(name))),
            Some(Kind::Message(inner)) => {
                let path = format!("{path}{}.", tame(name));
                let many = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for value in many {
                    find_strangers(&inner, value, &path, found);
                }
            }
            _ => {}
        }
    }
}

/// A text of somebody else's, short, in one line, and seen even where it is empty.
pub(super) fn tame(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let tamed = text.chars().take(REPEATED);
    tamed.map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::CONTRACT;

    fn read(json: Value) -> Result<DynamicMessage, String> {
        let descriptor = CONTRACT.get_message_by_name("dispatch.v1.DispatchRequested").unwrap();
        message(descriptor, json)
            .map_err(|problem| problem.to_json()["errors"][0]["field"].as_str().unwrap().to_owned())
    }

    #[test]
    fn both_spellings_of_a_name_are_read_and_numbers_may_be_text() {
        let snake = read(json!({ "message_id": "m", "amount": { "minor_units": "12" }, "parcel_count": 3 }));
        let camel = read(json!({ "messageId": "m", "amount": { "minorUnits": 12 }, "parcelCount": "3" }));
        assert_eq!(snake.unwrap(), camel.unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, field) in [
            (json!({ "colour": 1 }), "colour"),
            (json!({ "amount": { "colour": 1 } }), "amount.colour"),
            (json!({ "amount": { "minor_units": [] } }), "amount.minor_units"),
            (json!({ "parcel_count": 1.5 }), "parcel_count"),
            (json!({ "parcel_count": 99_999_999_999_u64 }), "parcel_count"),
            (json!({ "requested_at": "yesterday" }), "requested_at"),
            (json!({ "message_id": 1 }), "message_id"),
            (json!([]), "body"),
            (json!(null), "body"),
        ] {
            assert_eq!(read(json.clone()).unwrap_err(), field, "{json}");
        }
    }

    #[test]
    fn no_text_makes_an_answer_long_or_breaks_its_lines() {
        let text = "\u{1b}[2J\r\nx".repeat(9_000);
        for json in [
            json!({ &text: 1 }),
            json!({ "amount": { &text: 1 } }),
            json!({ "requested_at": &text }),
            json!({ "parcel_count": &text }),
        ] {
            let descriptor = CONTRACT.get_message_by_name("dispatch.v1.DispatchRequested").unwrap();
            let told = message(descriptor, json).unwrap_err().to_json();
            let detail = told["detail"].as_str().unwrap();
            assert!(detail.len() < 1_000 && !detail.contains(char::is_control), "{detail:?}");
        }
    }
}
