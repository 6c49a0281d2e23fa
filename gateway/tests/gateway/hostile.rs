//! Text that is meant to break something: it is refused with a short answer, and the connection goes on.

use std::pin::Pin;

use tonic::{Code, Status, transport::Channel};
use waybill_proto::v1::{
    self, dispatch_operator_client::DispatchOperatorClient, edit_dead_letter_request::Body,
    explain_dispatch_request, get_dispatch_request::Key,
};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::rig::{Client, Rig, order};

on_both_databases!(no_text_in_any_field_breaks_an_answer);

type Answer = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// A new line with a forged log entry, what steers a terminal, NUL, a header, and too much of anything.
fn texts() -> [String; 6] {
    [
        "x\n2026-01-01T00:00:00Z  INFO forged".to_owned(),
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m".to_owned(),
        "nul\0nul".to_owned(),
        "x\r\nauthorization: Bearer forged\r\n\r\n<script>alert(1)</script>".to_owned(),
        "\u{202e}\u{2028}\u{85}𝕏".repeat(20),
        "x".repeat(60_000),
    ]
}

macro_rules! calls {
    ($client:expr, $($method:ident($request:expr)),* $(,)?) => {
        vec![$({
            let (mut client, request) = ($client.clone(), $request);
            (stringify!($method), Box::pin(async move { client.$method(request).await.map(drop) }) as Answer)
        }),*]
    };
}

fn asks(client: &Client, text: &str) -> Vec<(&'static str, Answer)> {
    let text = || text.to_owned();
    let get = |key| v1::GetDispatchRequest { key: Some(key) };
    let list = v1::ListDispatchesRequest::default();
    calls!(
        client,
        request_dispatch(v1::DispatchRequested { message_id: text(), ..order("1") }),
        request_dispatch(v1::DispatchRequested { order_id: text(), ..order("1") }),
        request_dispatch(v1::DispatchRequested { customer_id: text(), ..order("1") }),
        request_dispatch(v1::DispatchRequested { destination_code: text(), ..order("1") }),
        request_dispatch(v1::DispatchRequested {
            amount: Some(v1::Money { currency_code: text(), minor_units: 1 }),
            ..order("1")
        }),
        get_dispatch(get(Key::DispatchId(text()))),
        get_dispatch(get(Key::MessageId(text()))),
        get_dispatch(get(Key::OrderId(text()))),
        list_dispatches(v1::ListDispatchesRequest { order_id: text(), ..list.clone() }),
        list_dispatches(v1::ListDispatchesRequest { customer_id: text(), ..list.clone() }),
        list_dispatches(v1::ListDispatchesRequest { page_token: text(), ..list }),
        watch_dispatch(v1::WatchDispatchRequest { dispatch_id: text(), after_version: 0 }),
        cancel_dispatch(v1::CancelDispatchRequest { dispatch_id: text(), reason: "test".into() }),
        cancel_dispatch(v1::CancelDispatchRequest { dispatch_id: "nobody".into(), reason: text() }),
    )
}

fn orders(client: &DispatchOperatorClient<Channel>, text: &str) -> Vec<(&'static str, Answer)> {
    let text = || text.to_owned();
    let retry = v1::RetryStepRequest {
        dispatch_id: "nobody".into(),
        version: 1,
        reason: "test".into(),
        operator: "test".into(),
    };
    let pause = v1::PauseRequest { scope: "all".into(), reason: "test".into(), operator: "test".into() };
    let resume =
        v1::ResumeRequest { scope: "all".into(), reason: "test".into(), operator: "test".into(), rate: 0 };
    let scoped = |kind: &str| v1::PauseRequest { scope: format!("{kind}{}", text()), ..pause.clone() };
    let filter = v1::DeadLetterFilter { database: Some(text()), ..v1::DeadLetterFilter::default() };
    let edit = v1::EditDeadLetterRequest {
        id: text(),
        body: Some(Body::Json("{}".into())),
        reason: "test".into(),
        operator: "test".into(),
    };
    calls!(
        client,
        retry_step(v1::RetryStepRequest { dispatch_id: text(), ..retry.clone() }),
        retry_step(v1::RetryStepRequest { reason: text(), ..retry.clone() }),
        retry_step(v1::RetryStepRequest { operator: text(), ..retry.clone() }),
        explain_dispatch(v1::ExplainDispatchRequest {
            key: Some(explain_dispatch_request::Key::OrderId(text())),
        }),
        pause(scoped("")),
        pause(scoped("saga:")),
        pause(scoped("participant:")),
        pause(scoped("dispatch:")),
        pause(v1::PauseRequest { reason: text(), ..pause.clone() }),
        pause(v1::PauseRequest { operator: text(), ..pause.clone() }),
        resume(v1::ResumeRequest { scope: format!("dispatch:{}", text()), ..resume.clone() }),
        list_stuck(v1::ListStuckRequest { page_token: text(), ..v1::ListStuckRequest::default() }),
        list_operator_actions(v1::ListOperatorActionsRequest {
            dispatch_id: text(),
            ..v1::ListOperatorActionsRequest::default()
        }),
        list_dead_letters(v1::ListDeadLettersRequest {
            filter: Some(filter.clone()),
            ..v1::ListDeadLettersRequest::default()
        }),
        get_dead_letter(v1::GetDeadLetterRequest { id: text() }),
        edit_dead_letter(edit),
        discard_dead_letters(v1::DiscardDeadLettersRequest {
            filter: Some(filter),
            all: false,
            reason: "test".into(),
            operator: "test".into(),
            dry_run: true,
        }),
    )
}

async fn no_text_in_any_field_breaks_an_answer(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let channel = Channel::from_shared(format!("http://{}", rig.address)).unwrap().connect().await.unwrap();
    let operator = DispatchOperatorClient::new(channel);
    for text in texts() {
        let calls = asks(&rig.client, &text).into_iter().chain(orders(&operator, &text));
        for (method, call) in calls {
            let shown: String = text.escape_debug().take(40).collect();
            let status = call.await.expect_err(&format!("{method} takes {shown}"));
            assert_eq!(status.code(), Code::InvalidArgument, "{method} of {shown}: {status}");
            assert!(status.message().len() < 1_000, "{method} of {shown} answers {}", status.message().len());
            assert!(status.details().len() < 2_000, "{method} of {shown}: details");
            assert!(!status.message().contains(char::is_control), "{method} of {shown}: {status:?}");
        }
    }
    let receipt = rig.request(order("good")).await;
    assert!(receipt.is_ok(), "the connection goes on");
    rig.end().await;
}
