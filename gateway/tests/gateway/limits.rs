//! What one client may take, so that something is left for the others.

use std::num::NonZeroU32;

use prost::Message as _;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::{RetryInfo, StatusExt as _};
use waybill_gateway::auth::{Client, Limit, Scope, Settings};
use waybill_proto::{google::rpc, v1};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{
    callers::{client, of, with_token},
    rig::{Rig, order},
};

on_both_databases!(who_waits_for_the_database_holds_up_nobody_else);

/// Far more than a second's worth: some of them are refused, however slow the machine is.
const MANY: usize = 200;

fn limited(name: &str, rate: Option<u32>, in_flight: Option<u32>) -> Client {
    let limit =
        Limit { rate: rate.and_then(NonZeroU32::new), in_flight: in_flight.and_then(NonZeroU32::new) };
    Client { limit: Some(limit), ..client(name, &[Scope::Submit, Scope::Read]) }
}

fn is_too_much(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let pause = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(pause.as_millis() <= 1_000, "{pause:?}");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back_and_others_are_not() {
    let clients = vec![limited("often", Some(1), None), client("other", &[Scope::Read])];
    let rig = Rig::guarded(TestDatabase::sqlite().await, of(clients)).await;
    let (mut often, _) = with_token(&rig, Some("often")).await;
    let (mut other, _) = with_token(&rig, Some("other")).await;
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..MANY {
        match often.list_dispatches(v1::ListDispatchesRequest::default()).await {
            Ok(_) => taken += 1,
            Err(status) => {
                is_too_much(&status);
                refused += 1;
            }
        }
        other.list_dispatches(v1::ListDispatchesRequest::default()).await.unwrap();
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    rig.end().await;
}

#[tokio::test]
async fn each_message_of_a_stream_counts() {
    let rig = Rig::guarded(TestDatabase::sqlite().await, of(vec![limited("often", Some(2), None)])).await;
    let (mut often, _) = with_token(&rig, Some("often")).await;
    let items: Vec<_> = (0..MANY).map(|n| order(&n.to_string())).collect();
    let mut receipts = often.request_dispatches(tokio_stream::iter(items)).await.unwrap().into_inner();
    let (mut taken, mut refused) = (0, 0);
    while let Some(receipt) = receipts.message().await.unwrap() {
        let Some(error) = receipt.error else {
            taken += 1;
            continue;
        };
        assert_eq!(error.code, i32::from(Code::ResourceExhausted));
        assert_eq!(error.details[0].type_url, RetryInfo::TYPE_URL);
        assert!(rpc::RetryInfo::decode(&*error.details[0].value).unwrap().retry_delay.is_some());
        refused += 1;
    }
    assert_eq!(taken + refused, MANY, "every item is answered");
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, i64::try_from(taken).unwrap());
    rig.end().await;
}

async fn who_waits_for_the_database_holds_up_nobody_else(database: TestDatabase) {
    let clients = vec![limited("slow", None, Some(1)), limited("other", None, Some(1))];
    let rig = Rig::guarded(database, of(clients)).await;
    let (slow, _) = with_token(&rig, Some("slow")).await;
    let (mut other, _) = with_token(&rig, Some("other")).await;
    let lock = rig.lock().await;
    let mut asked = JoinSet::new();
    for n in 0..3 {
        let mut slow = slow.clone();
        asked.spawn(async move { slow.request_dispatch(order(&n.to_string())).await });
    }
    // One waits for its commit; the others are turned away meanwhile.
    for _ in 0..2 {
        is_too_much(&asked.join_next().await.unwrap().unwrap().unwrap_err());
    }
    let others = tokio::spawn(async move { other.request_dispatch(order("other")).await });
    lock.release().await;
    assert!(asked.join_next().await.unwrap().unwrap().is_ok());
    assert!(others.await.unwrap().is_ok());
    rig.end().await;
}

#[tokio::test]
async fn where_nobody_says_who_they_are_an_address_has_the_limit() {
    let address_limit = Limit { rate: None, in_flight: NonZeroU32::new(1) };
    let settings = Settings { address_limit, ..Settings::default() };
    let rig = Rig::guarded(TestDatabase::sqlite().await, settings).await;
    let id = rig.accepted("1").await;
    let watch = v1::WatchDispatchRequest { dispatch_id: id, after_version: 0 };
    let held = rig.client.clone().watch_dispatch(watch.clone()).await.unwrap();
    let mut another = rig.another_client().await;
    is_too_much(&another.watch_dispatch(watch).await.unwrap_err());
    drop(held);
    rig.end().await;
}
