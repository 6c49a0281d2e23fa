//! A cancel request that the broker loses.

use waybill_proto::v1::DispatchState;
use waybill_test_support::{
    Rig, TestDatabase,
    client::{cancel, get, request, watch},
    on_both_databases,
    patience::until,
};

use crate::WAYBILL;

on_both_databases!(a_cancel_request_that_the_broker_lost_is_sent_again_and_obeyed);

/// It is sent again after half a minute: this takes so long. Nobody pays meanwhile, so the pivot is far.
async fn a_cancel_request_that_the_broker_lost_is_sent_again_and_obeyed(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, |program| {
        program
            .roles("gateway,relay,order,dispatch")
            .set("WAYBILL_SAGA_STEP_TIMEOUT", "5m")
            .set("WAYBILL_GATEWAY_CANCEL_WAIT", "10ms")
    })
    .await;
    let saga = rig.program.beside().roles("saga");
    let first = saga.start_whole().await;
    let receipt = rig.client.clone().request_dispatch(request("m-1")).await.unwrap().into_inner();
    let id = receipt.dispatch_id.as_str();
    until("the second step", async || {
        let sql = "SELECT current_step FROM saga_instances";
        rig.database.texts(sql).await == ["reserve_payment"]
    })
    .await;
    assert!(first.terminate().await.status.success());
    let asked = rig.client.clone().cancel_dispatch(cancel(id)).await.unwrap().into_inner();
    assert_eq!(asked.state(), DispatchState::InProgress);
    until("published", async || rig.database.number("SELECT count(*) FROM outbox").await == 0).await;
    assert_eq!(rig.broker.purge("saga").await, 1, "the cancel request");

    let second = saga.start_whole().await;
    until("going back", async || get(&rig.client, id).await.state() == DispatchState::Compensating).await;
    let payment = rig.program.beside().roles("payment").start_whole().await;
    watch(&rig.client, id, 0).await;
    let ended = get(&rig.client, id).await;
    assert_eq!((ended.state(), ended.reason.as_str()), (DispatchState::Cancelled, "changed my mind"));
    for process in [second, payment] {
        assert!(process.terminate().await.status.success());
    }
    rig.end(std::slice::from_ref(&receipt)).await;
}
