//! One trace leads from the caller's span through acceptance, publication and every step to the end: the
//! real program exports it to a collector, and here it is put together again.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::collections::{BTreeMap, HashSet};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tonic::Request;
use waybill_proto::v1::DispatchRequested;
use waybill_test_support::{
    Rig, TestDatabase,
    client::{refused_by_dispatch, request},
    collector::{Collector, attribute},
    on_both_databases,
};

on_both_databases!(
    a_completed_dispatch_is_one_trace,
    a_compensated_dispatch_is_one_trace,
    a_trace_that_nobody_records_costs_no_span,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const RPC: &str = "dispatch.v1.DispatchGateway/RequestDispatch";

/// Routing keys of the messages of a dispatch that completes.
const COMPLETED: [&str; 11] = [
    "dispatch.requested",
    "order.command",
    "saga.reply",
    "payment.command",
    "saga.reply",
    "dispatch.command",
    "saga.reply",
    "payment.command",
    "saga.reply",
    "order.command",
    "saga.reply",
];

/// The same of one that participant `dispatch` refuses.
const COMPENSATED: [&str; 11] = [
    "dispatch.requested",
    "order.command",
    "saga.reply",
    "payment.command",
    "saga.reply",
    "dispatch.command",
    "saga.reply",
    "payment.command",
    "saga.reply",
    "order.command",
    "saga.reply",
];

fn hex(id: &[u8]) -> String {
    use std::fmt::Write;
    id.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn text(span: &Span, key: &str) -> String {
    attribute(span, key).unwrap_or_else(|| panic!("{} has no {key}: {:?}", span.name, span.attributes))
}

/// The spans of one dispatch, from a process that has been stopped and so has flushed them.
async fn spans(database: TestDatabase, request: DispatchRequested, flags: &str) -> (Vec<Span>, String) {
    let collector = Collector::new().await;
    let rig = Rig::with(WAYBILL, database, |program| {
        program
            .set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
            .set("OTEL_BSP_SCHEDULE_DELAY", "100")
            // A step that is sent twice would be in the trace twice.
            .set("WAYBILL_SAGA_STEP_TIMEOUT", "60s")
    })
    .await;
    let mut call = Request::new(request);
    call.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-{flags}").parse().unwrap());
    let receipt = rig.client.clone().request_dispatch(call).await.unwrap().into_inner();
    let id = receipt.dispatch_id.clone();
    rig.end(&[receipt]).await;
    (collector.spans(), id)
}

/// Every span is of the caller's trace, and has its parent in it; only one has the caller's span.
fn assert_one_tree(spans: &[Span]) {
    let ids: HashSet<String> = spans.iter().map(|span| hex(&span.span_id)).collect();
    assert_eq!(ids.len(), spans.len(), "span ids are unique");
    let mut roots = Vec::new();
    for span in spans {
        assert_eq!(hex(&span.trace_id), TRACE, "{}", span.name);
        match hex(&span.parent_span_id) {
            parent if parent == CALLER => roots.push(span.name.as_str()),
            parent => assert!(ids.contains(&parent), "the parent of {} is not in the trace", span.name),
        }
    }
    assert_eq!(roots, [RPC], "what the caller's span is the parent of");
}

fn assert_call(spans: &[Span], dispatch_id: &str) {
    let calls: Vec<_> = spans.iter().filter(|span| span.kind() == SpanKind::Server).collect();
    let [call] = calls[..] else { panic!("one call: {calls:?}") };
    assert_eq!(call.name, RPC);
    assert_eq!(text(call, "rpc.system.name"), "grpc");
    assert_eq!(text(call, "rpc.method"), RPC);
    assert_eq!(text(call, "rpc.response.status_code"), "OK");
    assert_eq!(text(call, "dispatch_id"), dispatch_id);
    assert!(call.start_time_unix_nano <= call.end_time_unix_nano);
}

/// By routing key, how many spans there are of that kind, each with what the conventions ask for.
fn messages(spans: &[Span], kind: SpanKind, dispatch_id: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for span in spans.iter().filter(|span| span.kind() == kind) {
        let (operation, of_type) =
            if kind == SpanKind::Producer { ("publish", "send") } else { ("process", "process") };
        let key = text(span, "messaging.rabbitmq.destination.routing_key");
        assert_eq!(text(span, "messaging.system"), "rabbitmq");
        assert_eq!(text(span, "messaging.operation.name"), operation);
        assert_eq!(text(span, "messaging.operation.type"), of_type);
        assert_eq!(text(span, "messaging.message.conversation_id"), dispatch_id);
        assert!(!text(span, "messaging.message.id").is_empty());
        assert!(span.name.starts_with(&format!("{operation} ")), "{}", span.name);
        assert!(text(span, "messaging.destination.name").contains(&key), "{}", span.name);
        if kind == SpanKind::Consumer {
            assert!(text(span, "messaging.rabbitmq.message.delivery_tag").parse::<u64>().is_ok());
        }
        assert_eq!(attribute(span, "error.type"), None, "{}", span.name);
        *found.entry(key).or_default() += 1;
    }
    found
}

fn counted(keys: &[&str]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for key in keys {
        *counted.entry((*key).to_owned()).or_default() += 1;
    }
    counted
}

fn assert_whole(spans: &[Span], dispatch_id: &str, keys: &[&str], event: &str) {
    assert_one_tree(spans);
    assert_call(spans, dispatch_id);
    assert_eq!(messages(spans, SpanKind::Consumer, dispatch_id), counted(keys));
    // The event goes out too; nobody of ours takes it in.
    let published = [keys, &[event]].concat();
    assert_eq!(messages(spans, SpanKind::Producer, dispatch_id), counted(&published));
}

async fn a_completed_dispatch_is_one_trace(database: TestDatabase) {
    let (spans, id) = spans(database, request("m-1"), "01").await;
    assert_whole(&spans, &id, &COMPLETED, "dispatch.completed");
}

async fn a_compensated_dispatch_is_one_trace(database: TestDatabase) {
    let (spans, id) = spans(database, refused_by_dispatch("m-1"), "01").await;
    assert_whole(&spans, &id, &COMPENSATED, "dispatch.cancelled");
}

async fn a_trace_that_nobody_records_costs_no_span(database: TestDatabase) {
    let (spans, _) = spans(database, request("m-1"), "00").await;
    assert_eq!(spans, []);
}
