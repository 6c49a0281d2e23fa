//! A stream of messages as server-sent events (WHATWG, HTML Living Standard, "Server-sent events"), which browsers and
//! `curl` read without a library.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use http::{HeaderName, HeaderValue};
use prost_reflect::DynamicMessage;

use super::{Problem, answers::Answers, json};

/// The last event of a stream that has come to its end; without one, the stream broke off.
const END: &str = "end";
/// The last event of one that was ended for another reason, which it tells.
const PROBLEM: &str = "problem";
/// By nginx's `ngx_http_proxy_module`: whether an answer may be held back until there is more of it.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Each message is an event, as it comes. When none has come for `pause`, a comment shows that somebody is still there,
/// and a client that is not is noticed.
pub(super) fn answer(messages: Answers, pause: Duration) -> Response {
    let events = stream::unfold(Some(messages), async |messages| {
        let mut messages = messages?;
        Some(match messages.message().await {
            Ok(Some(message)) => match event(&message) {
                Ok(event) => (event, Some(messages)),
                Err(problem) => (last(&problem), None),
            },
            Ok(None) => (Event::default().event(END).data("{}"), None),
            Err(status) => (last(&status.into()), None),
        })
    });
    let events = futures_util::StreamExt::map(events, Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(pause)).into_response();
    response.headers_mut().insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Named by its version, from which a client that was cut off goes on.
fn event(message: &DynamicMessage) -> Result<Event, Problem> {
    let version = message.get_field_by_name("version");
    let version = version.and_then(|version| version.as_u64()).unwrap_or_default();
    Ok(Event::default().id(version.to_string()).data(json(message)?))
}

fn last(problem: &Problem) -> Event {
    Event::default().event(PROBLEM).data(problem.to_json().to_string())
}
