//! What a connection may be: how silent, how old, and how large the headers of its calls.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Request;
use waybill_gateway::Settings;
use waybill_proto::v1::ListDispatchesRequest;
use waybill_test_support::TestDatabase;

use crate::rig::{PATIENCE, Rig, settings};

const SOON: Duration = Duration::from_millis(50);
/// Type of the frame by which a server tells a client to go.
const GO_AWAY: u8 = 7;

/// A client that says no more than it must: the preface and its empty settings.
async fn taciturn(rig: &Rig) -> TcpStream {
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    stream
}

/// Type of the next frame; `None` at the end.
async fn frame(stream: &mut TcpStream) -> Option<u8> {
    let mut header = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut header)).await.expect("the server goes on").ok()?;
    let mut body = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
    stream.read_exact(&mut body).await.ok()?;
    Some(header[3])
}

#[tokio::test]
async fn a_client_that_does_not_say_that_it_is_there_is_let_go() {
    let impatient = Settings { keepalive_interval: SOON, keepalive_timeout: SOON, ..settings() };
    let rig = Rig::with(TestDatabase::sqlite().await, impatient).await;
    let mut silent = taciturn(&rig).await;
    while frame(&mut silent).await.is_some() {}
    rig.end().await;
}

#[tokio::test]
async fn a_connection_that_is_old_is_told_to_go() {
    let brisk = Settings { max_connection_age: Some(SOON), ..settings() };
    let rig = Rig::with(TestDatabase::sqlite().await, brisk).await;
    let mut old = taciturn(&rig).await;
    while frame(&mut old).await.expect("it is told before it is closed") != GO_AWAY {}
    drop(old);
    rig.end().await;
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_and_the_connection_lives_on() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let call = || {
        let mut request = Request::new(ListDispatchesRequest::default());
        request.metadata_mut().insert("x-long", "a".repeat(20_000).parse().unwrap());
        request
    };
    rig.client.clone().list_dispatches(call()).await.unwrap_err();
    rig.accepted("1").await;
    let generous = Settings { max_header_bytes: 32 * 1_024, ..settings() };
    let rig = Rig::with(rig.end().await, generous).await;
    rig.client.clone().list_dispatches(call()).await.unwrap();
    rig.end().await;
}
