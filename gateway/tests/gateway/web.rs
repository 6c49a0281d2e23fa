//! gRPC-Web, and pages in browsers.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use waybill_gateway::{Settings, auth::Scope};
use waybill_proto::v1;
use waybill_test_support::{
    TestDatabase,
    http::{Answer, ask, get, post},
};

use crate::{
    callers::{by_dispatch, client, of},
    http_json::{described, refused, url},
    rig::{Rig, order, settings},
};

const PAGE: &str = "https://shop.example";
/// Marks the frame of the trailers.
const TRAILERS: u8 = 0x80;

/// One message as gRPC-Web frames it.
fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

async fn call(rig: &Rig, method: &str, headers: &[(&str, &str)], message: &impl Message) -> Answer {
    let url = url(rig, &format!("/dispatch.v1.DispatchGateway/{method}"));
    let headers = [headers, &[("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")]].concat();
    let answer = ask("POST", &url, &headers, frame(message)).await;
    assert_eq!((answer.status, answer.header("x-content-type-options")), (200, "nosniff"), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/grpc-web+proto");
    answer
}

/// The messages of an answer, and its trailers.
fn frames(answer: &Answer) -> (Vec<Bytes>, String) {
    let (mut messages, mut rest) = (Vec::new(), answer.body.clone());
    loop {
        let head = rest.split_to(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let content = rest.split_to(usize::try_from(length).unwrap());
        if head[0] == TRAILERS {
            assert!(rest.is_empty(), "trailers come last");
            return (messages, String::from_utf8(content.to_vec()).unwrap());
        }
        messages.push(content);
    }
}

#[tokio::test]
async fn a_dispatch_is_requested_and_seen_over_grpc_web() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let answer = call(&rig, "RequestDispatch", &[], &order("1")).await;
    let (messages, trailers) = frames(&answer);
    let receipt = v1::DispatchReceipt::decode(messages[0].clone()).unwrap();
    assert!(trailers.contains("grpc-status:0") && !receipt.duplicate, "{trailers}");
    let (messages, _) = frames(&call(&rig, "GetDispatch", &[], &by_dispatch(&receipt.dispatch_id)).await);
    assert_eq!(v1::Dispatch::decode(messages[0].clone()).unwrap().order_id, "o-1");
    let unknown = call(&rig, "GetDispatch", &[], &by_dispatch("nobody")).await;
    assert_eq!(unknown.header("grpc-status"), "5");
    rig.end().await;
}

#[tokio::test]
async fn grpc_web_is_held_to_the_same_rules() {
    let rig = Rig::guarded(TestDatabase::sqlite().await, of(vec![client("reader", &[Scope::Read])])).await;
    assert_eq!(call(&rig, "RequestDispatch", &[], &order("1")).await.header("grpc-status"), "16");
    let reader = [("authorization", "Bearer reader")];
    assert_eq!(call(&rig, "RequestDispatch", &reader, &order("1")).await.header("grpc-status"), "7");
    assert!(
        frames(&call(&rig, "ListDispatches", &reader, &v1::ListDispatchesRequest::default()).await)
            .1
            .contains("grpc-status:0")
    );
    let large =
        v1::GetDispatchRequest { key: Some(v1::get_dispatch_request::Key::OrderId("x".repeat(100_000))) };
    let refused = call(&rig, "GetDispatch", &reader, &large).await;
    assert_eq!(refused.header("grpc-status"), "11", "larger than a message may be");
    rig.end().await;
}

#[tokio::test]
async fn a_page_that_is_not_named_may_not_send_anything() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let all = url(&rig, "/v1/dispatches");
    for origin in [PAGE, "null", "http://127.0.0.1"] {
        let page = [("origin", origin)];
        let answers = [
            post(&all, &page, &described("1")).await,
            get(&all, &page).await,
            ask("OPTIONS", &all, &[("origin", origin), ("access-control-request-method", "POST")], "").await,
        ];
        for answer in answers {
            refused(&answer, 403, "PERMISSION_DENIED");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
        }
    }
    let mut call = tonic::Request::new(order("1"));
    call.metadata_mut().insert("origin", PAGE.parse().unwrap());
    let answer = rig.client.clone().request_dispatch(call).await.unwrap_err();
    assert!(answer.message().contains("403 Forbidden"), "{answer:?}");
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, 0);
    rig.end().await;
}

#[tokio::test]
async fn a_page_that_is_named_may_send_and_read_what_it_needs() {
    let open = Settings { web_origins: vec![PAGE.to_owned()], ..settings() };
    let rig = Rig::with(TestDatabase::sqlite().await, open).await;
    let all = url(&rig, "/v1/dispatches");
    let asked = [
        ("origin", PAGE),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,idempotency-key"),
    ];
    let told = ask("OPTIONS", &all, &asked, "").await;
    assert_eq!((told.status, told.header("access-control-allow-origin")), (200, PAGE));
    assert!(told.header("access-control-allow-headers").contains("idempotency-key"), "{told:?}");
    assert_eq!(told.header("access-control-allow-credentials"), "", "only what a page sends itself");
    let sent = post(&all, &[("origin", PAGE)], &described("1")).await;
    assert_eq!((sent.status, sent.header("access-control-allow-origin")), (202, PAGE));
    assert!(sent.header("access-control-expose-headers").contains("location"), "{sent:?}");
    let web = call(&rig, "GetDispatch", &[("origin", PAGE)], &by_dispatch("nobody")).await;
    assert_eq!((web.header("grpc-status"), web.header("access-control-allow-origin")), ("5", PAGE));
    refused(
        &post(&all, &[("origin", "https://evil.example")], &described("2")).await,
        403,
        "PERMISSION_DENIED",
    );
    let both = [("origin", PAGE), ("origin", "https://evil.example")];
    refused(&get(&all, &both).await, 403, "PERMISSION_DENIED");
    rig.end().await;
}
