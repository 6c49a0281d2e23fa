//! One dispatch, whole.

use tonic::Code;
use waybill_proto::v1::{self, get_dispatch_request::Key};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{
    rig::{Rig, order},
    saga,
};

on_both_databases!(
    a_dispatch_is_found_by_each_of_its_names,
    steps_have_their_times_from_the_history,
    a_name_that_nobody_has_is_not_found,
    a_saga_of_an_unknown_version_has_a_state_and_no_steps,
    steps_whose_history_is_forgotten_have_states_and_no_times,
);

async fn get(rig: &Rig, key: Key) -> Result<v1::Dispatch, tonic::Status> {
    let request = v1::GetDispatchRequest { key: Some(key) };
    rig.client.clone().get_dispatch(request).await.map(tonic::Response::into_inner)
}

async fn a_dispatch_is_found_by_each_of_its_names(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let receipt = rig.request(order("1")).await.unwrap();
    let expected = v1::Dispatch {
        dispatch_id: receipt.dispatch_id.clone(),
        message_id: "m-1".to_owned(),
        order_id: "o-1".to_owned(),
        state: v1::DispatchState::Accepted.into(),
        destination_code: "NLRTM".to_owned(),
        parcel_count: 3,
        customer_id: "c-1".to_owned(),
        amount: order("1").amount,
        requested_at: order("1").requested_at,
        accepted_at: receipt.accepted_at,
        updated_at: receipt.accepted_at,
        ..v1::Dispatch::default()
    };
    let names =
        [Key::DispatchId(receipt.dispatch_id), Key::MessageId("m-1".into()), Key::OrderId("o-1".into())];
    for name in names {
        assert_eq!(get(&rig, name).await.unwrap(), expected);
    }
    rig.end().await;
}

async fn steps_have_their_times_from_the_history(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "COMPENSATING", "COMPENSATING,REFUSED,PENDING,PENDING", 3).await;
    let past = [(1, "RUNNING", "started"), (2, "RUNNING", "accept_order_done")];
    for (version, state, event) in past {
        saga::happened(&rig.database, &id, version, state, event).await;
    }
    saga::happened(&rig.database, &id, 3, "COMPENSATING", "reserve_payment_refused").await;
    // Newer than the instance that was read: belongs to the next answer.
    saga::happened(&rig.database, &id, 4, "COMPENSATED", "accept_order_compensated").await;
    let dispatch = rig.get(&id).await.unwrap();
    assert_eq!((dispatch.state(), dispatch.reason.as_str()), (v1::DispatchState::Compensating, "why"));
    assert_eq!((dispatch.version, dispatch.saga.as_str()), (3, "order_fulfilment/1"));
    assert_eq!(dispatch.history.len(), 3);
    assert_eq!(dispatch.history[1].event, "accept_order_done");
    let seconds = |moment: &Option<prost_types::Timestamp>| moment.as_ref().map(|moment| moment.seconds);
    let steps: Vec<_> = dispatch
        .steps
        .iter()
        .map(|s| (s.name.as_str(), s.state(), seconds(&s.started_at), seconds(&s.ended_at)))
        .collect();
    let expected = [
        ("accept_order", v1::StepState::Compensating, Some(1), None),
        ("reserve_payment", v1::StepState::Refused, Some(2), Some(3)),
        ("create_dispatch", v1::StepState::Pending, None, None),
        ("complete_order", v1::StepState::Pending, None, None),
    ];
    assert_eq!(steps, expected);
    rig.end().await;
}

async fn a_name_that_nobody_has_is_not_found(database: TestDatabase) {
    let rig = Rig::new(database).await;
    for name in [Key::DispatchId("x".into()), Key::MessageId("x".into()), Key::OrderId("x".into())] {
        assert_eq!(get(&rig, name).await.unwrap_err().code(), Code::NotFound);
    }
    let no_name = rig.client.clone().get_dispatch(v1::GetDispatchRequest { key: None }).await;
    assert_eq!(no_name.unwrap_err().code(), Code::InvalidArgument);
    let empty = get(&rig, Key::OrderId(String::new())).await;
    assert_eq!(empty.unwrap_err().code(), Code::InvalidArgument);
    rig.end().await;
}

async fn a_saga_of_an_unknown_version_has_a_state_and_no_steps(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "RUNNING", "DONE,RUNNING,PENDING,PENDING,PENDING,PENDING", 2).await;
    saga::happened(&rig.database, &id, 1, "RUNNING", "started").await;
    rig.database.execute("UPDATE saga_instances SET definition_version = 99").await;
    let dispatch = rig.get(&id).await.unwrap();
    assert_eq!(
        (dispatch.state(), dispatch.saga.as_str()),
        (v1::DispatchState::InProgress, "order_fulfilment/99")
    );
    assert_eq!((dispatch.steps, dispatch.history.len()), (Vec::new(), 1), "nothing is guessed");
    assert_eq!(
        dispatch.steps_note,
        "order_fulfilment/99 is not known to this release, and so its steps are not"
    );
    let first = &dispatch.history[0];
    assert_eq!((&first.took, &first.remaining), (&None, &Vec::new()));
    rig.end().await;
}

async fn steps_whose_history_is_forgotten_have_states_and_no_times(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "COMPENSATED", "COMPENSATED,REFUSED,PENDING,PENDING", 4).await;
    // The oldest rows are forgotten first.
    for (version, event) in [(3, "reserve_payment_refused"), (4, "accept_order_compensated")] {
        saga::happened(&rig.database, &id, version, "COMPENSATED", event).await;
    }
    let dispatch = rig.get(&id).await.unwrap();
    assert!(dispatch.steps_note.starts_with("its history is no longer whole"), "{}", dispatch.steps_note);
    let states: Vec<_> = dispatch.steps.iter().map(|step| (step.state(), step.progress())).collect();
    let left_out = (v1::StepState::Pending, v1::StepProgress::LeftOut);
    let ended = |state| (state, v1::StepProgress::Ended);
    let expected = [ended(v1::StepState::Compensated), ended(v1::StepState::Refused), left_out, left_out];
    assert_eq!(states, expected);
    for step in &dispatch.steps {
        assert_eq!((&step.started_at, &step.ended_at, &step.command), (&None, &None, &None), "{step:?}");
    }
    assert_eq!(dispatch.steps[1].reason, "why", "the instance keeps it");
    assert!(dispatch.history.iter().all(|row| row.took.is_none()), "how long is not known");
    rig.end().await;
}
