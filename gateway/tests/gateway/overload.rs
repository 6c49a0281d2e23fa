//! What happens while the database does not take commits: nobody waits for ever, and nothing is lost.

use futures_util::future::join_all;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::task::JoinSet;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;
use waybill_gateway::Settings;
use waybill_proto::v1::{
    DispatchReceipt, WatchDispatchRequest, dispatch_gateway_client::DispatchGatewayClient,
};
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};

use crate::rig::{Rig, narrow, order, settings};

on_both_databases!(
    a_full_queue_turns_away_and_says_when_to_come_back,
    a_deadline_that_passes_does_not_take_the_commit_with_it,
    a_client_that_goes_away_does_not_take_the_commit_with_it,
    streams_beyond_the_limit_are_turned_away_and_calls_are_not,
    a_malformed_deadline_is_refused,
    of_a_batch_that_the_database_refuses_only_the_guilty_one_fails,
);

async fn a_full_queue_turns_away_and_says_when_to_come_back(database: TestDatabase) {
    let rig = Rig::with(database, narrow()).await;
    let lock = rig.lock().await;
    let mut asked = JoinSet::new();
    // One is being committed and one waits: of three at least one is turned away.
    for name in ["1", "2", "3"] {
        let mut client = rig.client.clone();
        asked.spawn(async move { client.request_dispatch(order(name)).await });
    }
    let status = asked.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let pause = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((100..=500).contains(&pause.as_millis()), "{pause:?}");
    lock.release().await;
    let mut accepted = 0;
    while let Some(answer) = asked.join_next().await {
        match answer.unwrap() {
            Ok(_) => accepted += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
    }
    assert!(accepted > 0);
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, accepted);
    rig.end().await;
}

type Http = Client<HttpConnector, Body>;

fn http() -> Http {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

/// Asks with a deadline that only the server minds; tonic's own client would give up before it.
async fn request_within(rig: &Rig, http: Http, timeout: &str) -> Result<DispatchReceipt, Status> {
    let server = format!("http://{}", rig.address).parse().unwrap();
    let mut request = tonic::Request::new(order("1"));
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    let answer = DispatchGatewayClient::with_origin(http, server).request_dispatch(request).await;
    answer.map(tonic::Response::into_inner)
}

async fn a_deadline_that_passes_does_not_take_the_commit_with_it(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let lock = rig.lock().await;
    // Many at once: tonic's own timer, which answers CANCELLED, must not win a single time.
    let http = http();
    for answer in join_all((0..200).map(|_| request_within(&rig, http.clone(), "100m"))).await {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(status.message().contains("same message_id"));
    }
    lock.release().await;
    // Asked again, it comes after the first one in the queue.
    assert!(rig.request(order("1")).await.unwrap().duplicate);
    assert_eq!(rig.database.number("SELECT count(*) FROM outbox").await, 1);
    rig.end().await;
}

async fn a_client_that_goes_away_does_not_take_the_commit_with_it(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let lock = rig.lock().await;
    let client = rig.another_client().await;
    let mut asking = client.clone();
    let asked = tokio::spawn(async move { asking.request_dispatch(order("1")).await });
    tokio::task::yield_now().await;
    rig.has_read_all_of(&client).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    drop(client);
    lock.release().await;
    let count = "SELECT count(*) FROM dispatches";
    until("the commit", async || rig.database.number(count).await == 1).await;
    assert!(rig.request(order("1")).await.unwrap().duplicate);
    rig.end().await;
}

async fn streams_beyond_the_limit_are_turned_away_and_calls_are_not(database: TestDatabase) {
    let rig = Rig::with(database, Settings { max_streams: 1, ..settings() }).await;
    let dispatch_id = rig.accepted("1").await;
    let watch = WatchDispatchRequest { dispatch_id, after_version: 0 };
    let mut other = rig.another_client().await;
    let watching = other.watch_dispatch(watch.clone()).await.unwrap();
    let status = rig.client.clone().watch_dispatch(watch.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some());
    rig.accepted("2").await;
    drop((watching, other));
    let freed = async || rig.client.clone().watch_dispatch(watch.clone()).await.is_ok();
    until("room for a stream", freed).await;
    rig.end().await;
}

async fn a_malformed_deadline_is_refused(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let status = request_within(&rig, http(), "soon").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    rig.end().await;
}

/// Makes the database refuse a row that the gateway takes for good.
async fn forbid_order(database: &TestDatabase, order_id: &str) {
    let sql = if database.is_postgres() {
        format!("ALTER TABLE dispatches ADD CONSTRAINT forbidden CHECK (order_id <> '{order_id}')")
    } else {
        format!(
            "CREATE TRIGGER forbidden BEFORE INSERT ON dispatches WHEN NEW.order_id = '{order_id}' \
             BEGIN SELECT RAISE(ABORT, 'forbidden'); END"
        )
    };
    database.execute(&sql).await;
}

async fn of_a_batch_that_the_database_refuses_only_the_guilty_one_fails(database: TestDatabase) {
    forbid_order(&database, "o-7").await;
    let rig = Rig::with(database, Settings { committers: 1, ..settings() }).await;
    let lock = rig.lock().await;
    let asked = join_all((0..20).map(|n| rig.request(order(&n.to_string()))));
    let (answers, ()) = tokio::join!(asked, lock.release());
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(receipt) => assert!(n != 7 && !receipt.duplicate),
            Err(status) => assert_eq!((n, status.code()), (7, Code::Internal)),
        }
    }
    let counts = ["SELECT count(*) FROM dispatches", "SELECT count(*) FROM outbox"];
    for count in counts {
        assert_eq!(rig.database.number(count).await, 19);
    }
    rig.end().await;
}
