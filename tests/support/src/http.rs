//! A client of HTTP for those who test what is answered, down to the headers.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use crate::patience::in_time;

/// What comes of an answer, and how that fails.
type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

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
        text(&self.headers, name)
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Server-sent events, as they come.
#[derive(Debug)]
pub struct Events {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Body,
    /// What came and was not looked at yet.
    read: String,
}

/// One of them.
#[derive(Debug)]
pub struct Event(String);

impl Events {
    /// Opens the stream. It is closed when this is dropped.
    pub async fn open(url: &str, headers: &[(&str, &str)]) -> Self {
        let (parts, body) = send("GET", url, headers, Bytes::new()).await.into_parts();
        Self { status: parts.status.as_u16(), headers: parts.headers, body, read: String::new() }
    }

    /// A header as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.next_block().await?;
            if block.lines().any(|line| !line.starts_with(':')) {
                return Some(Event(block));
            }
        }
    }

    /// What comes before the next empty line, comments included.
    pub async fn next_block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let block = self.read.drain(..end + 2).collect::<String>();
                return Some(block.trim_end().to_owned());
            }
            let frame = in_time("an event", self.body.frame()).await?.expect("the stream is whole");
            let data = frame.into_data().unwrap_or_default();
            self.read.push_str(std::str::from_utf8(&data).expect("whole characters"));
        }
    }
}

impl Event {
    /// A field; empty where there is none.
    pub fn field(&self, name: &str) -> &str {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }

    /// Its data as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.field("data")).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().expect("visible"))
}

async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> Response<Body> {
    let method: Method = method.parse().expect("a method");
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = in_time("an answer", client.request(request)).await.expect("it answers");
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// Asks over HTTP/1.1, on a connection of its own.
pub async fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let (parts, body) = send(method, url, headers, body.into()).await.into_parts();
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
