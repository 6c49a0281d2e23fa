//! A client of HTTP for those who test what is answered, down to the headers.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use crate::patience::in_time;

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl Answer {
    /// A header as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible"))
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks over HTTP/1.1, on a connection of its own.
pub async fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let method: Method = method.parse().expect("a method");
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = in_time("an answer", client.request(request)).await.expect("it answers");
    let (parts, body) = response.into_parts();
    let body = in_time("the whole answer", body.collect()).await.expect("it is whole").to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// The same with a body in JSON.
pub async fn post(url: &str, headers: &[(&str, &str)], json: &serde_json::Value) -> Answer {
    let headers = [headers, &[("content-type", "application/json")]].concat();
    ask("POST", url, &headers, json.to_string()).await
}

/// The same without a body.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    ask("GET", url, headers, "").await
}
