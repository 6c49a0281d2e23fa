//! What is accepted, once, and what stands in the way.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt;
use waybill_proto::v1;
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{
    rig::{Rig, order},
    saga,
};

on_both_databases!(
    a_receipt_names_a_committed_dispatch_and_its_message,
    the_same_request_has_the_same_receipt,
    other_content_under_the_same_message_id_changes_nothing,
    one_dispatch_of_an_order_is_live,
    after_a_cancelled_dispatch_the_order_may_be_dispatched_again,
    concurrent_duplicates_are_committed_once,
    an_invalid_request_is_told_everything_that_is_wrong,
    a_request_that_is_too_large_is_refused,
    the_callers_trace_is_stored_and_sent_on,
);

const DISPATCHES: &str = "SELECT count(*) FROM dispatches";
const MESSAGES: &str = "SELECT count(*) FROM outbox";

async fn a_receipt_names_a_committed_dispatch_and_its_message(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let receipt = rig.request(order("1")).await.unwrap();
    assert_eq!((receipt.message_id.as_str(), receipt.duplicate), ("m-1", false));
    assert!(receipt.error.is_none());
    let id = receipt.dispatch_id.as_str();
    let texts = "SELECT message_id || '|' || type || '|' || exchange || '|' || routing_key || '|' || \
                 correlation_id || '|' || causation_id || '|' || reply_to FROM outbox";
    let expected = format!("{id}|dispatch.v1.DispatchRequested|dispatch|dispatch.requested|{id}|m-1|");
    assert_eq!(rig.database.texts(texts).await, [expected]);
    let body: Vec<u8> = rig.database.query("SELECT body FROM outbox").await[0].try_get_by_index(0).unwrap();
    assert_eq!(v1::DispatchRequested::decode(body.as_slice()).unwrap(), order("1"));
    assert_eq!(rig.database.texts("SELECT dispatch_id FROM dispatches").await, [id]);
    rig.end().await;
}

async fn the_same_request_has_the_same_receipt(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let first = rig.request(order("1")).await.unwrap();
    rig.clock.advance(std::time::Duration::from_mins(1));
    let again = rig.request(order("1")).await.unwrap();
    assert_eq!(again, v1::DispatchReceipt { duplicate: true, ..first });
    assert_eq!((rig.database.number(DISPATCHES).await, rig.database.number(MESSAGES).await), (1, 1));
    rig.end().await;
}

async fn other_content_under_the_same_message_id_changes_nothing(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let first = rig.accepted("1").await;
    let others = [
        v1::DispatchRequested { parcel_count: 4, ..order("1") },
        v1::DispatchRequested { order_id: "o-2".to_owned(), ..order("1") },
        v1::DispatchRequested { amount: None, ..order("1") },
    ];
    for other in others {
        let status = rig.request(other).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists);
        let named = status.get_details_resource_info().unwrap();
        assert_eq!((named.resource_name.as_str(), named.owner.as_str()), (first.as_str(), "m-1"));
    }
    assert_eq!((rig.database.number(DISPATCHES).await, rig.database.number(MESSAGES).await), (1, 1));
    let dispatch = rig.get(&first).await.unwrap();
    assert_eq!((dispatch.parcel_count, dispatch.order_id.as_str()), (3, "o-1"));
    rig.end().await;
}

async fn one_dispatch_of_an_order_is_live(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let first = rig.accepted("1").await;
    for state in ["RUNNING", "COMPENSATING", "STUCK", "COMPLETED"] {
        saga::stands(&rig.database, &first, state, "RUNNING,PENDING,PENDING,PENDING", 1).await;
        let other = v1::DispatchRequested { message_id: format!("m-{state}"), ..order("1") };
        let status = rig.request(other).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{state}");
        assert!(status.message().contains(&first) && status.message().contains("m-1"), "{status}");
        assert_eq!(status.get_details_resource_info().unwrap().resource_name, first);
    }
    assert_eq!((rig.database.number(DISPATCHES).await, rig.database.number(MESSAGES).await), (1, 1));
    rig.end().await;
}

async fn after_a_cancelled_dispatch_the_order_may_be_dispatched_again(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let first = rig.accepted("1").await;
    saga::stands(&rig.database, &first, "COMPENSATED", "COMPENSATED,REFUSED,PENDING,PENDING", 3).await;
    let rivals =
        (0..20).map(|n| rig.request(v1::DispatchRequested { message_id: format!("m-1-{n}"), ..order("1") }));
    let answers = join_all(rivals).await;
    let accepted: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(accepted.len(), 1, "one of the rivals is next");
    let second = &accepted[0].dispatch_id;
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Code::AlreadyExists);
        assert_eq!(&refused.get_details_resource_info().unwrap().resource_name, second);
    }
    let again = rig.request(order("1")).await.unwrap();
    assert_eq!((again.dispatch_id, again.duplicate), (first.clone(), true), "the first receipt stays");
    let key = Some(v1::get_dispatch_request::Key::OrderId("o-1".to_owned()));
    let live = rig.client.clone().get_dispatch(v1::GetDispatchRequest { key }).await.unwrap().into_inner();
    assert_eq!(&live.dispatch_id, second);
    assert_eq!((rig.database.number(DISPATCHES).await, rig.database.number(MESSAGES).await), (2, 2));
    rig.end().await;
}

async fn concurrent_duplicates_are_committed_once(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let asked = (0..200).map(|n| rig.request(order(&(n % 50).to_string())));
    let mut named: HashMap<String, HashSet<String>> = HashMap::new();
    let mut first = 0;
    for answer in join_all(asked).await {
        let receipt = answer.unwrap();
        first += usize::from(!receipt.duplicate);
        named.entry(receipt.message_id).or_default().insert(receipt.dispatch_id);
    }
    assert_eq!((first, named.len()), (50, 50));
    assert!(named.values().all(|ids| ids.len() == 1), "{named:?}");
    assert_eq!((rig.database.number(DISPATCHES).await, rig.database.number(MESSAGES).await), (50, 50));
    rig.end().await;
}

async fn an_invalid_request_is_told_everything_that_is_wrong(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let status = rig.request(v1::DispatchRequested::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["message_id", "order_id", "destination_code", "parcel_count"]);
    assert_eq!((rig.database.number(DISPATCHES).await, rig.database.number(MESSAGES).await), (0, 0));
    rig.end().await;
}

async fn a_request_that_is_too_large_is_refused(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let large = v1::DispatchRequested { customer_id: "c".repeat(70_000), ..order("1") };
    assert_eq!(rig.request(large).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(rig.database.number(DISPATCHES).await, 0);
    rig.end().await;
}

async fn the_callers_trace_is_stored_and_sent_on(database: TestDatabase) {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let rig = Rig::new(database).await;
    let mut request = tonic::Request::new(order("1"));
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    request.metadata_mut().insert("tracestate", "vendor=1".parse().unwrap());
    let id = rig.client.clone().request_dispatch(request).await.unwrap().into_inner().dispatch_id;
    for table in ["dispatches", "outbox"] {
        let sql = format!("SELECT traceparent || '|' || tracestate FROM {table}");
        assert_eq!(rig.database.texts(&sql).await, [format!("{PARENT}|vendor=1")]);
    }
    assert_eq!(rig.get(&id).await.unwrap().trace_id, "0af7651916cd43dd8448eb211c80319c");
    rig.end().await;
}
