//! Many requests over one stream.

use std::collections::HashMap;

use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::Code;
use waybill_proto::v1;
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::rig::{Rig, narrow, order};

on_both_databases!(
    every_item_is_answered_and_a_bad_one_does_not_end_the_stream,
    a_stream_waits_for_room_instead_of_being_turned_away,
    a_stream_ends_with_unavailable_when_the_process_stops,
);

async fn every_item_is_answered_and_a_bad_one_does_not_end_the_stream(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let (items, inbound) = tokio::sync::mpsc::channel(100);
    let bad = v1::DispatchRequested { message_id: "bad".to_owned(), parcel_count: 0, ..order("bad") };
    let twice = (0..80).map(|n| order(&(n % 40).to_string()));
    for item in twice.chain([bad]) {
        items.send(item).await.unwrap();
    }
    let mut receipts =
        rig.client.clone().request_dispatches(ReceiverStream::new(inbound)).await.unwrap().into_inner();
    let mut answers: HashMap<String, Vec<v1::DispatchReceipt>> = HashMap::new();
    for _ in 0..81 {
        let receipt = receipts.message().await.unwrap().unwrap();
        answers.entry(receipt.message_id.clone()).or_default().push(receipt);
    }
    // Of two for one order that are both without a receipt, either may win.
    items.send(v1::DispatchRequested { message_id: "rival".to_owned(), ..order("7") }).await.unwrap();
    drop(items);
    while let Some(receipt) = receipts.message().await.unwrap() {
        answers.entry(receipt.message_id.clone()).or_default().push(receipt);
    }
    let error = |id: &str| answers[id][0].error.clone().unwrap();
    assert_eq!(error("bad").code, i32::from(Code::InvalidArgument));
    assert_eq!(error("bad").details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(error("rival").code, i32::from(Code::AlreadyExists));
    for n in 0..40 {
        let twice = &answers[&format!("m-{n}")];
        assert_eq!(twice.len(), 2);
        assert_eq!(twice.iter().filter(|receipt| receipt.duplicate).count(), 1);
        assert_eq!(twice[0].dispatch_id, twice[1].dispatch_id);
    }
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, 40);
    rig.end().await;
}

async fn a_stream_waits_for_room_instead_of_being_turned_away(database: TestDatabase) {
    let rig = Rig::with(database, narrow()).await;
    let lock = rig.lock().await;
    let items = tokio_stream::iter((0..50).map(|n| order(&n.to_string())).collect::<Vec<_>>());
    let receipts = rig.client.clone().request_dispatches(items).await.unwrap().into_inner();
    lock.release().await;
    let answers: Vec<_> = receipts.collect().await;
    assert_eq!(answers.len(), 50);
    assert!(answers.into_iter().all(|answer| answer.unwrap().error.is_none()));
    rig.end().await;
}

async fn a_stream_ends_with_unavailable_when_the_process_stops(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let (items, inbound) = tokio::sync::mpsc::channel(1);
    items.send(order("1")).await.unwrap();
    let mut receipts =
        rig.client.clone().request_dispatches(ReceiverStream::new(inbound)).await.unwrap().into_inner();
    assert!(receipts.message().await.unwrap().unwrap().error.is_none());
    rig.stop.cancel();
    assert_eq!(receipts.message().await.unwrap_err().code(), Code::Unavailable);
    drop((items, receipts));
    rig.end().await;
}
