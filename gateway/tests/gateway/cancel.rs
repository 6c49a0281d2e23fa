//! Cancelling a dispatch.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use waybill_gateway::Settings;
use waybill_proto::v1::{self, DispatchState};
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};

use crate::{
    rig::{Rig, settings},
    saga,
};

on_both_databases!(
    the_saga_is_asked_and_its_decision_is_the_answer,
    when_the_pivot_wins_the_race_the_call_says_so,
    what_is_cancelled_already_succeeds_and_asks_nobody,
    what_only_goes_forward_is_refused,
    an_undecided_request_is_answered_with_the_dispatch_as_it_stands,
    asking_twice_is_one_message_with_the_first_reason,
    what_goes_back_and_is_stuck_asks_nobody,
    a_bad_request_is_refused,
);

const ASKED: &str = "SELECT count(*) FROM outbox WHERE type = 'dispatch.v1.CancelRequested'";
const RUNNING: &str = "DONE,RUNNING,PENDING,PENDING";

async fn cancel(rig: &Rig, dispatch_id: &str) -> Result<v1::Dispatch, Status> {
    let request =
        v1::CancelDispatchRequest { dispatch_id: dispatch_id.to_owned(), reason: "changed my mind".into() };
    rig.client.clone().cancel_dispatch(request).await.map(tonic::Response::into_inner)
}

/// Cancels, and lets the saga do `decide` once it has been asked.
async fn cancel_while(rig: &Rig, id: &str, decide: impl Future<Output = ()>) -> Result<v1::Dispatch, Status> {
    let saga = Box::pin(async {
        until("the question", async || rig.database.number(ASKED).await == 1).await;
        decide.await;
    });
    tokio::join!(Box::pin(cancel(rig, id)), saga).0
}

async fn the_saga_is_asked_and_its_decision_is_the_answer(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "RUNNING", RUNNING, 2).await;
    let decide = saga::stands(&rig.database, &id, "COMPENSATING", "COMPENSATING,IN_DOUBT,PENDING,PENDING", 3);
    let dispatch = cancel_while(&rig, &id, decide).await.unwrap();
    assert_eq!(dispatch.state(), DispatchState::Compensating);
    let sql =
        "SELECT routing_key || '|' || correlation_id FROM outbox WHERE type = 'dispatch.v1.CancelRequested'";
    assert_eq!(rig.database.texts(sql).await, [format!("dispatch.requested|{id}")]);
    let ids = rig.database.texts("SELECT message_id FROM outbox ORDER BY created_at, id").await;
    assert_eq!(ids[1], format!("{id}:cancel"));
    let sql = "SELECT body FROM outbox WHERE type = 'dispatch.v1.CancelRequested'";
    let body: Vec<u8> = rig.database.query(sql).await[0].try_get_by_index(0).unwrap();
    let asked = v1::CancelRequested::decode(body.as_slice()).unwrap();
    assert_eq!(
        (asked.dispatch_id, asked.order_id, asked.reason),
        (id, "o-1".into(), "changed my mind".into())
    );
    rig.end().await;
}

async fn when_the_pivot_wins_the_race_the_call_says_so(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "RUNNING", RUNNING, 2).await;
    let decide = saga::stands(&rig.database, &id, "RUNNING", "DONE,DONE,DONE,RUNNING", 4);
    let status = cancel_while(&rig, &id, decide).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("create_dispatch"), "{status}");
    rig.end().await;
}

async fn what_is_cancelled_already_succeeds_and_asks_nobody(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    let steps = "COMPENSATED,REFUSED,PENDING,PENDING";
    for (state, expected) in
        [("COMPENSATING", DispatchState::Compensating), ("COMPENSATED", DispatchState::Cancelled)]
    {
        saga::stands(&rig.database, &id, state, steps, 3).await;
        assert_eq!(cancel(&rig, &id).await.unwrap().state(), expected);
    }
    assert_eq!(rig.database.number(ASKED).await, 0);
    rig.end().await;
}

async fn what_only_goes_forward_is_refused(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    for (state, steps) in [("RUNNING", "DONE,DONE,DONE,RUNNING"), ("COMPLETED", "DONE,DONE,DONE,DONE")] {
        saga::stands(&rig.database, &id, state, steps, 4).await;
        assert_eq!(cancel(&rig, &id).await.unwrap_err().code(), Code::FailedPrecondition);
    }
    assert_eq!(rig.database.number(ASKED).await, 0);
    rig.end().await;
}

async fn an_undecided_request_is_answered_with_the_dispatch_as_it_stands(database: TestDatabase) {
    let impatient = Settings { cancel_wait: Duration::from_millis(50), ..settings() };
    let rig = Rig::with(database, impatient).await;
    let id = rig.accepted("1").await;
    assert_eq!(cancel(&rig, &id).await.unwrap().state(), DispatchState::Accepted);
    assert_eq!(rig.database.number(ASKED).await, 1);
    rig.end().await;
}

async fn asking_twice_is_one_message_with_the_first_reason(database: TestDatabase) {
    let impatient = Settings { cancel_wait: Duration::from_millis(50), ..settings() };
    let rig = Rig::with(database, impatient).await;
    let id = rig.accepted("1").await;
    cancel(&rig, &id).await.unwrap();
    let again = v1::CancelDispatchRequest { dispatch_id: id.clone(), reason: "another".into() };
    rig.client.clone().cancel_dispatch(again.clone()).await.unwrap();
    assert_eq!(rig.database.number(ASKED).await, 1);
    // Once it has left the outbox, asking again sends it again.
    rig.database.execute("DELETE FROM outbox").await;
    rig.client.clone().cancel_dispatch(again).await.unwrap();
    let sql = "SELECT body FROM outbox WHERE type = 'dispatch.v1.CancelRequested'";
    let body: Vec<u8> = rig.database.query(sql).await[0].try_get_by_index(0).unwrap();
    assert_eq!(v1::CancelRequested::decode(body.as_slice()).unwrap().reason, "changed my mind");
    rig.end().await;
}

async fn what_goes_back_and_is_stuck_asks_nobody(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "STUCK", "COMPENSATING,REFUSED,PENDING,PENDING", 5).await;
    assert_eq!(cancel(&rig, &id).await.unwrap().state(), DispatchState::Stuck);
    assert_eq!(rig.database.number(ASKED).await, 0);
    rig.end().await;
}

async fn a_bad_request_is_refused(database: TestDatabase) {
    let rig = Rig::new(database).await;
    assert_eq!(cancel(&rig, "nobody").await.unwrap_err().code(), Code::NotFound);
    for reason in [String::new(), "r".repeat(501), "a\nb".to_owned()] {
        let request = v1::CancelDispatchRequest { dispatch_id: "x".to_owned(), reason };
        let status = rig.client.clone().cancel_dispatch(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    rig.end().await;
}
