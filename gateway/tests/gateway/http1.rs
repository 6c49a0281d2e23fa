//! What a connection of HTTP/1.1 may be: the same port as HTTP/2, no fewer limits.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use waybill_gateway::Settings;
use waybill_test_support::TestDatabase;

use crate::rig::{PATIENCE, Rig, settings};

/// Longer than it takes to say something, also on a busy machine.
const SOON: Duration = Duration::from_secs(1);
const POST: &str = "POST /v1/dispatches HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

async fn say(rig: &Rig, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A server that closes before it was sent everything may reset the connection.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

fn impatient() -> Settings {
    Settings { keepalive_interval: SOON, ..settings() }
}

#[tokio::test]
async fn who_is_slow_with_headers_or_says_no_more_is_let_go() {
    let rig = Rig::with(TestDatabase::sqlite().await, impatient()).await;
    assert_eq!(rest(say(&rig, "GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\nx-slow: ").await).await, "");
    let idle = rest(say(&rig, "GET /v1/dispatches/x HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
    assert!(idle.starts_with("HTTP/1.1 404 "), "answered, and closed when nothing followed: {idle}");
    rig.end().await;
}

#[tokio::test]
async fn who_is_slow_with_a_body_is_told_and_let_go() {
    let rig = Rig::with(TestDatabase::sqlite().await, impatient()).await;
    for head in ["content-length: 10\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let answer = rest(say(&rig, &format!("{POST}{head}")).await).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    rig.end().await;
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off_at_the_limit() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let mut stream = say(&rig, &format!("{POST}transfer-encoding: chunked\r\n\r\n")).await;
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let endless = async {
        // Until nobody takes any more.
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    };
    timeout(PATIENCE, endless).await.expect("it is cut off");
    let length = "POST /v1/dispatches HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n";
    let answer = rest(say(&rig, length).await).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "nobody waits for it: {answer}");
    rig.end().await;
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let long = format!("GET /v1/dispatches HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(20_000));
    let answer = rest(say(&rig, &long).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET /v1/dispatches HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    let answer = rest(say(&rig, &many).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    rig.end().await;
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_nothing_is_smuggled() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    for text in [
        "EHLO mail.example.org and so on\r\n\r\n",
        "GET /v1/dispatches HTTP/1.1\r\nhost: x\r\nidempotency-key: a\r\n b\r\n\r\n",
        "GET /v1/dispatches HTTP/1.1\r\nhost: x\r\nidempotency-key: a\0b\r\n\r\n",
        "POST /v1/dispatches HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        "POST /v1/dispatches HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n{}",
    ] {
        let answer = rest(say(&rig, text).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{text:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), usize::from(!answer.is_empty()), "{text:?}: {answer}");
    }
    rig.accepted("1").await;
    rig.end().await;
}

#[tokio::test]
async fn a_connection_that_is_old_ends_after_its_request() {
    let brisk = Settings { max_connection_age: Some(SOON), ..settings() };
    let rig = Rig::with(TestDatabase::sqlite().await, brisk).await;
    let answer = rest(say(&rig, "GET /v1/dispatches/x HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    rig.end().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let mut idle = say(&rig, "GET /v1/dispatches/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.readable().await.unwrap();
    let mut said = [0; 12];
    idle.read_exact(&mut said).await.unwrap();
    rig.end().await;
}
