//! The way of a dispatch through the real program: completed, refused by each participant, asked for
//! twice, cancelled and watched.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::slice::from_ref;
use tonic::Code;

use waybill_proto::v1::{
    Dispatch, DispatchRequested, DispatchState, DispatchStep, StepState, WatchDispatchRequest,
};
use waybill_test_support::{
    Rig, TestDatabase,
    audit::Fate,
    client::{
        cancel, get, refused_by_dispatch, refused_by_order, refused_by_payment, request, run_to_end, watch,
    },
    on_both_databases,
    patience::{in_time, until},
};

on_both_databases!(
    a_dispatch_that_all_agree_to_completes,
    what_order_refuses_has_nothing_to_undo,
    what_payment_refuses_has_its_order_cancelled,
    what_dispatch_refuses_is_undone_in_reverse_order,
    the_same_request_twice_is_one_dispatch_and_other_content_is_refused,
    an_order_has_one_live_dispatch_and_a_new_one_after_cancellation,
    a_dispatch_cancelled_before_its_pivot_is_undone_also_where_the_outcome_is_unknown,
    a_completed_dispatch_cannot_be_cancelled,
    watching_live_and_resuming_tell_the_same_story,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");

fn events(dispatch: &Dispatch) -> Vec<&str> {
    dispatch.history.iter().map(|transition| transition.event.as_str()).collect()
}

fn steps(dispatch: &Dispatch) -> Vec<StepState> {
    dispatch.steps.iter().map(DispatchStep::state).collect()
}

/// Runs one request to its end, and checks the tables against its fate.
async fn ends(rig: &Rig, request: DispatchRequested, fate: Fate) -> Dispatch {
    let dispatch = run_to_end(&rig.client, request).await;
    assert_eq!(rig.books().entry(&dispatch.dispatch_id).await, fate.entry());
    dispatch
}

async fn a_dispatch_that_all_agree_to_completes(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let dispatch = ends(&rig, request("m-1"), Fate::Completed).await;
    assert_eq!(dispatch.state(), DispatchState::Completed);
    assert_eq!(dispatch.reason, "");
    assert_eq!(dispatch.saga, "order_fulfilment/2");
    assert_eq!(steps(&dispatch), [StepState::Done; 5]);
    let expected = [
        "started",
        "accept_order_done",
        "reserve_payment_done",
        "create_dispatch_done",
        "capture_payment_done",
        "complete_order_done",
    ];
    assert_eq!(events(&dispatch), expected);
    let versions: Vec<u64> = dispatch.history.iter().map(|transition| transition.version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    let reserved = "SELECT reserved_minor_units FROM payment_accounts WHERE customer_id = 'customer-m-1'";
    assert_eq!(rig.database.number(reserved).await, 3 * 490, "three parcels by the tariff");
    rig.end(&[]).await;
}

async fn what_order_refuses_has_nothing_to_undo(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let dispatch = ends(&rig, refused_by_order("m-1"), Fate::RefusedByOrder).await;
    assert_eq!(dispatch.state(), DispatchState::Cancelled);
    assert_eq!(dispatch.reason, "customer blocked is blocked");
    assert_eq!(events(&dispatch), ["started", "accept_order_refused"]);
    rig.end(&[]).await;
}

async fn what_payment_refuses_has_its_order_cancelled(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let dispatch = ends(&rig, refused_by_payment("m-1"), Fate::RefusedByPayment).await;
    let expected = ["started", "accept_order_done", "reserve_payment_refused", "accept_order_compensated"];
    assert_eq!(events(&dispatch), expected);
    let expected = [
        StepState::Compensated,
        StepState::Refused,
        StepState::Pending,
        StepState::Pending,
        StepState::Pending,
    ];
    assert_eq!(steps(&dispatch), expected);
    rig.end(&[]).await;
}

async fn what_dispatch_refuses_is_undone_in_reverse_order(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let dispatch = ends(&rig, refused_by_dispatch("m-1"), Fate::RefusedByDispatch).await;
    let expected = [
        "started",
        "accept_order_done",
        "reserve_payment_done",
        "create_dispatch_refused",
        "reserve_payment_compensated",
        "accept_order_compensated",
    ];
    assert_eq!(events(&dispatch), expected);
    let reserved = "SELECT reserved_minor_units FROM payment_accounts";
    assert_eq!(rig.database.number(reserved).await, 0, "what was reserved has been given back");
    rig.end(&[]).await;
}

async fn the_same_request_twice_is_one_dispatch_and_other_content_is_refused(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let mut client = rig.client.clone();
    let first = client.request_dispatch(request("m-1")).await.unwrap().into_inner();
    let again = client.request_dispatch(request("m-1")).await.unwrap().into_inner();
    assert!(!first.duplicate && again.duplicate);
    assert_eq!((&again.dispatch_id, again.accepted_at), (&first.dispatch_id, first.accepted_at));
    let other = DispatchRequested { parcel_count: 4, ..request("m-1") };
    assert_eq!(client.request_dispatch(other).await.unwrap_err().code(), Code::AlreadyExists);
    rig.books().settled().await;
    assert_eq!(rig.books().entries().await.len(), 1);
    assert_eq!(get(&client, &first.dispatch_id).await.parcel_count, 3);
    rig.end(&[first]).await;
}

async fn an_order_has_one_live_dispatch_and_a_new_one_after_cancellation(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let of_order =
        |request: DispatchRequested| DispatchRequested { order_id: "order-1".to_owned(), ..request };
    let first = ends(&rig, of_order(refused_by_dispatch("m-1")), Fate::RefusedByDispatch).await;
    let second = ends(&rig, of_order(request("m-2")), Fate::Completed).await;
    let taken = rig.client.clone().request_dispatch(of_order(request("m-3"))).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    assert!(taken.message().contains(&second.dispatch_id), "{}", taken.message());
    let entries = rig.books().entries().await;
    assert_eq!(entries.keys().collect::<Vec<_>>(), [&first.dispatch_id, &second.dispatch_id]);
    rig.end(&[]).await;
}

async fn a_dispatch_cancelled_before_its_pivot_is_undone_also_where_the_outcome_is_unknown(
    database: TestDatabase,
) {
    // Without participant `payment` the saga waits in its second step, whose outcome is then unknown.
    let rig = Rig::with(WAYBILL, database, |program| {
        program
            .roles("gateway,relay,saga,order,dispatch")
            .set("WAYBILL_SAGA_STEP_TIMEOUT", "60s")
            .set("WAYBILL_GATEWAY_CANCEL_WAIT", "60s")
    })
    .await;
    let mut client = rig.client.clone();
    let receipt = client.request_dispatch(request("m-1")).await.unwrap().into_inner();
    let id = receipt.dispatch_id.as_str();
    until("the order", async || rig.books().entry(id).await.order == "ACCEPTED").await;
    let cancelling = client.cancel_dispatch(cancel(id)).await.unwrap().into_inner();
    assert_eq!(cancelling.state(), DispatchState::Compensating);
    let payment = rig.program.beside().roles("payment").start_whole().await;
    watch(&client, id, 0).await;
    let ended = get(&client, id).await;
    assert_eq!((ended.state(), ended.reason.as_str()), (DispatchState::Cancelled, "changed my mind"));
    let entry = rig.books().entry(id).await;
    assert_eq!(entry.to_string(), "COMPENSATED/CANCELLED/RELEASED/-");
    let again = client.cancel_dispatch(cancel(id)).await.unwrap().into_inner();
    assert_eq!(again.state(), DispatchState::Cancelled, "cancelling what is cancelled succeeds");
    assert!(payment.terminate().await.status.success());
    rig.end(from_ref(&receipt)).await;
}

async fn a_completed_dispatch_cannot_be_cancelled(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let dispatch = ends(&rig, request("m-1"), Fate::Completed).await;
    let refused = rig.client.clone().cancel_dispatch(cancel(&dispatch.dispatch_id)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("cannot be cancelled"), "{}", refused.message());
    assert_eq!(get(&rig.client, &dispatch.dispatch_id).await, dispatch, "and nothing has changed");
    rig.end(&[]).await;
}

async fn watching_live_and_resuming_tell_the_same_story(database: TestDatabase) {
    // Without the participants the live watch is there before anything happens.
    let rig = Rig::with(WAYBILL, database, |program| program.roles("gateway,relay")).await;
    let mut client = rig.client.clone();
    let receipt = client.request_dispatch(refused_by_dispatch("m-1")).await.unwrap().into_inner();
    let id = receipt.dispatch_id.as_str();
    let watching = WatchDispatchRequest { dispatch_id: id.to_owned(), after_version: 0 };
    let mut live = client.watch_dispatch(watching).await.unwrap().into_inner();
    let others = rig.program.beside().roles("saga,order,payment,dispatch").start_whole().await;
    let mut seen = Vec::new();
    while let Some(transition) = in_time("a transition", live.message()).await.unwrap() {
        seen.push(transition);
    }
    assert_eq!(get(&client, id).await.history, seen);
    assert_eq!(watch(&client, id, 0).await, seen, "from the beginning, after the end");
    for version in 1..=seen.len() {
        let rest = watch(&client, id, u64::try_from(version).unwrap()).await;
        assert_eq!(rest, seen[version..], "resumed after version {version}");
    }
    assert!(others.terminate().await.status.success());
    rig.end(from_ref(&receipt)).await;
}
