//! Eight ways in which a message can fail, each with a real worker process that is given messages by a
//! stranger, so that what is tested is the contract and not our own publisher.
#![expect(clippy::unwrap_used, reason = "a test crate")]

mod lock;
mod worker;

use prost::Message;
use waybill_proto::v1::{CreateDispatch, DispatchCreated, DispatchState, DispatchStep, StepState};
use waybill_test_support::{
    Proxy, Rig, TestDatabase, Way,
    audit::Fate,
    client::{refused_by_dispatch, run_to_end},
    on_both_databases,
    patience::{in_time, until},
};

use self::{lock::Lock, worker::Worker};

on_both_databases!(
    scenario_1_one_valid_message_creates_one_delivery,
    scenario_2_the_same_message_id_twice_has_one_effect,
    scenario_3_a_failure_before_the_commit_has_no_effect_and_the_message_is_handled_later,
    scenario_4_a_message_redelivered_after_its_commit_has_no_second_effect,
    scenario_5_a_message_of_a_worker_that_stops_is_handled_by_another,
    scenario_6_an_older_consumer_handles_the_fields_it_knows,
    scenario_7_a_malformed_message_leaves_no_partial_update,
    scenario_8_a_permanent_failure_in_the_saga_is_compensated,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
/// Size, class and method of the frame `basic.ack`.
const ACK: &[u8] = &[0, 0, 0, 13, 0, 60, 0, 80];

fn create(dispatch_id: &str) -> CreateDispatch {
    CreateDispatch {
        dispatch_id: dispatch_id.to_owned(),
        order_id: format!("order-{dispatch_id}"),
        destination_code: "DEHAM".to_owned(),
        parcel_count: 2,
    }
}

async fn scenario_1_one_valid_message_creates_one_delivery(database: TestDatabase) {
    let worker = Worker::new(database).await;
    worker.publish("m-1", "d-1", &create("d-1").encode_to_vec()).await;
    let reply = worker.broker.next(&worker.replies).await;
    let created = DispatchCreated::decode(reply.delivery.data.as_slice()).unwrap();
    assert_eq!((&*created.dispatch_id, &*created.order_id), ("d-1", "order-d-1"));
    assert_eq!(worker.deliveries().await, ["d-1 order-d-1 DEHAM 2 CREATED"]);
    worker.end().await;
}

async fn scenario_2_the_same_message_id_twice_has_one_effect(database: TestDatabase) {
    let worker = Worker::new(database).await;
    let mut replies = Vec::new();
    for _ in 0..2 {
        worker.publish("m-1", "d-1", &create("d-1").encode_to_vec()).await;
        replies.push(worker.broker.next(&worker.replies).await.delivery.data);
    }
    assert_eq!(replies[0], replies[1], "the second one gets the recorded reply");
    assert_eq!(worker.deliveries().await, ["d-1 order-d-1 DEHAM 2 CREATED"]);
    assert_eq!(worker.inbox().await, ["m-1"]);
    worker.end().await;
}

async fn scenario_3_a_failure_before_the_commit_has_no_effect_and_the_message_is_handled_later(
    database: TestDatabase,
) {
    let worker = Worker::new(database).await;
    let attempts = worker.broker.tap("dispatch", "dispatch.command").await;
    worker.refuse_deliveries().await;
    worker.publish("m-1", "d-1", &create("d-1").encode_to_vec()).await;
    let first = worker.broker.next(&attempts).await;
    let second = worker.broker.next(&attempts).await;
    assert_eq!((Worker::attempt(&first), Worker::attempt(&second)), (1, 2));
    assert_eq!(worker.deliveries().await, Vec::<String>::new());
    assert_eq!(worker.inbox().await, Vec::<String>::new(), "nothing of it was committed");
    worker.allow_deliveries().await;
    worker.broker.next(&worker.replies).await;
    assert_eq!(worker.deliveries().await, ["d-1 order-d-1 DEHAM 2 CREATED"]);
    worker.end().await;
}

async fn scenario_4_a_message_redelivered_after_its_commit_has_no_second_effect(database: TestDatabase) {
    let worker = Worker::start(database, "relay").await;
    let proxy = Proxy::for_url(worker.broker.url()).await;
    let by_proxy =
        worker.another().roles("dispatch").set("WAYBILL_AMQP_URL", &proxy.url(worker.broker.url()));
    let first = by_proxy.start_whole().await;
    let unheard = proxy.freeze_after(&[ACK]);
    worker.publish("m-1", "d-1", &create("d-1").encode_to_vec()).await;
    in_time("the acknowledgement", unheard).await.unwrap();
    assert_eq!(worker.inbox().await, ["m-1"], "it is acknowledged after its commit");
    first.kill().await;
    // Of the two replies one is the first worker's, the other answers the redelivery.
    let second = worker.another().roles("dispatch").start_whole().await;
    let replies = [worker.broker.next(&worker.replies).await, worker.broker.next(&worker.replies).await];
    assert_eq!(replies[0].delivery.data, replies[1].delivery.data);
    assert_eq!(worker.deliveries().await, ["d-1 order-d-1 DEHAM 2 CREATED"]);
    assert_eq!(worker.inbox().await, ["m-1"]);
    assert!(second.terminate().await.status.success());
    worker.end().await;
}

async fn scenario_5_a_message_of_a_worker_that_stops_is_handled_by_another(database: TestDatabase) {
    // The database is locked, so the first worker has the message in hand when it is killed.
    let worker = Worker::start(database, "relay").await;
    let proxy = Proxy::for_url(worker.broker.url()).await;
    let watched = worker.another().roles("dispatch").set("WAYBILL_AMQP_URL", &proxy.url(worker.broker.url()));
    let first = watched.start_whole().await;
    let in_hand = proxy.seen(Way::ToClient, &[b"message-of-scenario-5"]);
    let lock = Lock::take(&worker.database).await;
    worker.publish("message-of-scenario-5", "d-1", &create("d-1").encode_to_vec()).await;
    in_time("the delivery", in_hand).await.unwrap();
    lock.is_waited_for(&worker.database).await;
    first.kill().await;
    lock.release().await;
    assert_eq!(worker.deliveries().await, Vec::<String>::new());
    let second = worker.another().roles("dispatch").start_whole().await;
    worker.broker.next(&worker.replies).await;
    assert_eq!(worker.deliveries().await, ["d-1 order-d-1 DEHAM 2 CREATED"]);
    assert!(second.terminate().await.status.success());
    worker.end().await;
}

/// The command as a later release may have it.
#[derive(Clone, PartialEq, Message)]
struct LaterCreateDispatch {
    #[prost(string, tag = "1")]
    dispatch_id: String,
    #[prost(string, tag = "2")]
    order_id: String,
    #[prost(string, tag = "3")]
    destination_code: String,
    #[prost(int32, tag = "4")]
    parcel_count: i32,
    #[prost(string, optional, tag = "5")]
    time_window: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "2000")]
    attachments: Vec<Vec<u8>>,
}

async fn scenario_6_an_older_consumer_handles_the_fields_it_knows(database: TestDatabase) {
    let worker = Worker::new(database).await;
    let CreateDispatch { dispatch_id, order_id, destination_code, parcel_count } = create("d-1");
    let later = LaterCreateDispatch {
        dispatch_id,
        order_id,
        destination_code,
        parcel_count,
        time_window: Some("08:00-10:00".to_owned()),
        attachments: vec![vec![0xff; 100]; 3],
    };
    worker.publish("m-1", "d-1", &later.encode_to_vec()).await;
    worker.broker.next(&worker.replies).await;
    assert_eq!(worker.deliveries().await, ["d-1 order-d-1 DEHAM 2 CREATED"]);
    worker.end().await;
}

async fn scenario_7_a_malformed_message_leaves_no_partial_update(database: TestDatabase) {
    let worker = Worker::new(database).await;
    let whole = create("d-1").encode_to_vec();
    worker.publish("cut-off", "d-1", &whole[..whole.len() - 3]).await;
    worker.publish("noise", "d-1", &[0xff; 40]).await;
    worker.publish("empty", "d-1", &[]).await;
    worker.publish("good", "d-2", &create("d-2").encode_to_vec()).await;
    worker.broker.next(&worker.replies).await;
    until("the dead letters", async || worker.dead_letters().await.len() == 3).await;
    assert_eq!(worker.dead_letters().await, ["cut-off PERMANENT", "empty PERMANENT", "noise PERMANENT"]);
    assert_eq!(worker.deliveries().await, ["d-2 order-d-2 DEHAM 2 CREATED"], "only the good one");
    assert_eq!(worker.inbox().await, ["good"]);
    worker.end().await;
}

async fn scenario_8_a_permanent_failure_in_the_saga_is_compensated(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let dispatch = run_to_end(&rig.client, refused_by_dispatch("m-1")).await;
    assert_eq!(dispatch.state(), DispatchState::Cancelled);
    let steps: Vec<StepState> = dispatch.steps.iter().map(DispatchStep::state).collect();
    let expected = [StepState::Compensated, StepState::Compensated, StepState::Refused, StepState::Pending];
    assert_eq!(steps[..4], expected);
    assert!(steps[4..].iter().all(|step| *step == StepState::Pending), "{steps:?}");
    assert_eq!(rig.books().entry(&dispatch.dispatch_id).await, Fate::RefusedByDispatch.entry());
    let reserved = "SELECT reserved_minor_units FROM payment_accounts";
    assert_eq!(rig.database.number(reserved).await, 0);
    rig.end(&[]).await;
}
