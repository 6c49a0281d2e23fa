//! What operators do over gRPC: every verb in every state, on what the saga would have written.

use tonic::{Code, Response, Status};
use tonic_types::StatusExt;
use waybill_proto::v1::{
    self, DispatchState, OperatorVerb, StepResult, dispatch_operator_client::DispatchOperatorClient,
    explain_dispatch_request::Key,
};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{rig::Rig, saga};

on_both_databases!(
    every_verb_in_every_state_acts_or_says_what_fits_instead,
    a_verb_on_another_version_is_aborted_and_names_the_version_now,
    a_bad_request_is_refused_with_every_violation,
    what_an_operator_does_is_kept_with_its_reason_and_what_is_refused_is_not,
    a_retried_command_has_an_id_of_its_own,
    what_is_stuck_is_listed_by_step_and_participant_page_by_page,
    a_dispatch_without_a_saga_is_explained_and_has_no_verbs,
    a_stuck_dispatch_is_explained_with_what_can_be_done,
    pauses_are_listed_explained_and_refuse_what_would_send_a_command,
    a_scope_that_is_none_is_refused,
);

pub(crate) type Client = DispatchOperatorClient<tonic::transport::Channel>;

pub(crate) async fn connect(rig: &Rig) -> Client {
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", rig.address)).unwrap();
    Client::new(channel.connect().await.unwrap())
}

const VERBS: [OperatorVerb; 5] = [
    OperatorVerb::Retry,
    OperatorVerb::SkipDone,
    OperatorVerb::SkipRefused,
    OperatorVerb::Compensate,
    OperatorVerb::ForceComplete,
];

async fn operate(
    client: &Client,
    verb: OperatorVerb,
    dispatch_id: &str,
    version: u64,
) -> Result<v1::Dispatch, Status> {
    let (mut client, dispatch_id) = (client.clone(), dispatch_id.to_owned());
    let (reason, operator) = ("payment is back".to_owned(), "anna".to_owned());
    let result = match verb {
        OperatorVerb::SkipDone => StepResult::Done.into(),
        _ => StepResult::Refused.into(),
    };
    match verb {
        OperatorVerb::Retry => {
            client.retry_step(v1::RetryStepRequest { dispatch_id, version, reason, operator }).await
        }
        OperatorVerb::Compensate => {
            let request = v1::CompensateDispatchRequest { dispatch_id, version, reason, operator };
            client.compensate_dispatch(request).await
        }
        OperatorVerb::ForceComplete => {
            client.force_complete(v1::ForceCompleteRequest { dispatch_id, version, reason, operator }).await
        }
        _ => client.skip_step(v1::SkipStepRequest { dispatch_id, version, reason, operator, result }).await,
    }
    .map(Response::into_inner)
}

/// State and steps of a saga in each place, and what the verbs lead to; `None`: refused.
const PLACES: [(&str, &str, [Option<DispatchState>; 5]); 8] = {
    use DispatchState::{Cancelled, Compensating, Completed, InProgress};
    let forward = [Some(InProgress), Some(Completed), None, None, Some(Completed)];
    let back = [Some(Compensating), Some(Cancelled), None, None, None];
    let first = [Some(InProgress), Some(InProgress), Some(Cancelled), Some(Compensating), None];
    let pivot = [Some(InProgress), Some(InProgress), Some(Compensating), Some(Compensating), None];
    [
        ("RUNNING", "RUNNING,PENDING,PENDING,PENDING", first),
        ("RUNNING", "DONE,DONE,RUNNING,PENDING", pivot),
        ("RUNNING", "DONE,DONE,DONE,RUNNING", forward),
        ("STUCK", "DONE,DONE,DONE,RUNNING", forward),
        ("COMPENSATING", "COMPENSATING,REFUSED,PENDING,PENDING", back),
        ("STUCK", "COMPENSATING,REFUSED,PENDING,PENDING", back),
        ("COMPLETED", "DONE,DONE,DONE,DONE", [None; 5]),
        ("COMPENSATED", "COMPENSATED,REFUSED,PENDING,PENDING", [None; 5]),
    ]
};

async fn every_verb_in_every_state_acts_or_says_what_fits_instead(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let mut acted = 0;
    for (place, (state, steps, follows)) in PLACES.into_iter().enumerate() {
        for (verb, follows) in VERBS.into_iter().zip(follows) {
            let id = rig.accepted(&format!("{place}-{}", verb.as_str_name())).await;
            saga::stands(&rig.database, &id, state, steps, 7).await;
            let outcome = operate(&client, verb, &id, 7).await;
            let Some(expected) = follows else {
                let status = outcome.unwrap_err();
                assert_eq!(status.code(), Code::FailedPrecondition, "{state} {steps} {verb:?}: {status}");
                let violation = &status.get_details_precondition_failure().unwrap().violations[0];
                assert!(!violation.description.is_empty() && violation.subject == id, "{violation:?}");
                assert_eq!(rig.get(&id).await.unwrap().version, 7, "a refusal changes nothing");
                continue;
            };
            acted += 1;
            let dispatch = outcome.unwrap_or_else(|status| panic!("{state} {steps} {verb:?}: {status}"));
            assert_eq!((dispatch.state(), dispatch.version), (expected, 8), "{state} {steps} {verb:?}");
            let happened = &dispatch.history[0];
            assert!(happened.event.ends_with("_by_operator"), "{happened:?}");
            assert_eq!(happened.reason, "payment is back (operator anna)");
        }
    }
    let audit = "SELECT count(*) FROM operator_actions WHERE version = 7 AND operator = 'anna'";
    assert_eq!(rig.database.number(audit).await, acted);
    let events = "SELECT count(*) FROM outbox WHERE exchange = 'dispatch.events'";
    assert_eq!(rig.database.number(events).await, 7, "whoever ended is announced");
    rig.end().await;
}

async fn a_verb_on_another_version_is_aborted_and_names_the_version_now(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "STUCK", "DONE,DONE,DONE,RUNNING", 7).await;
    for verb in VERBS {
        for version in [6, 8] {
            let status = operate(&client, verb, &id, version).await.unwrap_err();
            assert_eq!(status.code(), Code::Aborted);
            assert!(status.message().contains("at version 7 now"), "{status}");
        }
    }
    assert_eq!(rig.database.number("SELECT count(*) FROM operator_actions").await, 0);
    rig.end().await;
}

async fn a_bad_request_is_refused_with_every_violation(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let id = rig.accepted("1").await;
    for verb in VERBS {
        assert_eq!(operate(&client, verb, "nobody", 1).await.unwrap_err().code(), Code::NotFound);
        let status = operate(&client, verb, &id, 1).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("its saga has not begun"), "{status}");
    }
    for (reason, operator) in [("", "\n"), (&*"r".repeat(501), &*"o".repeat(101)), ("a\u{7}b", "")] {
        let request = v1::SkipStepRequest {
            dispatch_id: String::new(),
            version: 0,
            reason: reason.to_owned(),
            operator: operator.to_owned(),
            result: 0,
        };
        let status = client.clone().skip_step(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let wrong = status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<_> = wrong.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["dispatch_id", "version", "reason", "operator", "result"]);
    }
    rig.end().await;
}

async fn what_an_operator_does_is_kept_with_its_reason_and_what_is_refused_is_not(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let id = rig.accepted(&n.to_string()).await;
        saga::stands(&rig.database, &id, "STUCK", "DONE,DONE,DONE,RUNNING", 7).await;
        operate(&client, OperatorVerb::Compensate, &id, 7).await.unwrap_err();
        operate(&client, OperatorVerb::Retry, &id, 7).await.unwrap();
        ids.push(id);
    }
    let list = async |dispatch_id: &str, token: &str| {
        let (dispatch_id, page_token) = (dispatch_id.to_owned(), token.to_owned());
        let request = v1::ListOperatorActionsRequest { page_size: 2, page_token, dispatch_id };
        client.clone().list_operator_actions(request).await.unwrap().into_inner()
    };
    let (first, mut seen) = (list("", "").await, Vec::new());
    let second = list("", &first.next_page_token).await;
    assert_eq!((first.actions.len(), second.actions.len(), &*second.next_page_token), (2, 1, ""));
    for action in first.actions.iter().chain(&second.actions) {
        let told = (action.verb.as_str(), action.operator.as_str(), action.reason.as_str(), action.version);
        assert_eq!(told, ("retry", "anna", "payment is back", 7));
        seen.push(action.scope.trim_start_matches("dispatch:").to_owned());
    }
    seen.reverse();
    assert_eq!(seen, ids, "newest first");
    assert_eq!(list(&ids[1], "").await.actions.len(), 1);
    rig.end().await;
}

async fn a_retried_command_has_an_id_of_its_own(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "STUCK", "COMPENSATING,REFUSED,PENDING,PENDING", 7).await;
    operate(&client, OperatorVerb::Retry, &id, 7).await.unwrap();
    operate(&client, OperatorVerb::Retry, &id, 8).await.unwrap();
    let sql = "SELECT message_id FROM outbox WHERE type = 'dispatch.v1.CancelOrder' ORDER BY message_id";
    assert_eq!(rig.database.texts(sql).await, [format!("{id}:CancelOrder:8"), format!("{id}:CancelOrder:9")]);
    rig.end().await;
}

async fn what_is_stuck_is_listed_by_step_and_participant_page_by_page(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let mut forward = Vec::new();
    for n in 0..5 {
        let id = rig.accepted(&n.to_string()).await;
        let (steps, step) = match n {
            3 => ("DONE,COMPENSATING,REFUSED,PENDING", "reserve_payment"),
            _ => ("DONE,DONE,DONE,RUNNING", "complete_order"),
        };
        let state = if n == 4 { "RUNNING" } else { "STUCK" };
        saga::stands(&rig.database, &id, state, steps, 7).await;
        let sql = format!("UPDATE saga_instances SET current_step = '{step}' WHERE dispatch_id = '{id}'");
        rig.database.execute(&sql).await;
        saga::happened(&rig.database, &id, 5, "RUNNING", "create_dispatch_done").await;
        saga::happened(&rig.database, &id, 6, state, "complete_order_timed_out").await;
        saga::happened(&rig.database, &id, 7, state, "complete_order_retried").await;
        if n < 3 {
            forward.push(id);
        }
    }
    let list = async |step: &str, participant: &str, token: &str| {
        let (step, participant) = (step.to_owned(), participant.to_owned());
        let page_token = token.to_owned();
        let request = v1::ListStuckRequest { page_size: 2, page_token, step, participant };
        client.clone().list_stuck(request).await.map(Response::into_inner)
    };
    let first = list("complete_order", "", "").await.unwrap();
    let second = list("complete_order", "", &first.next_page_token).await.unwrap();
    let both = first.dispatches.iter().chain(&second.dispatches);
    assert_eq!(both.map(|stuck| stuck.dispatch_id.clone()).collect::<Vec<_>>(), forward);
    let stuck = &first.dispatches[0];
    assert_eq!((stuck.step.as_str(), stuck.participant.as_str()), ("complete_order", "order"));
    assert_eq!((stuck.reason.as_str(), stuck.version, stuck.compensating), ("why", 7, false));
    assert_eq!(stuck.since.unwrap().seconds, 6, "since it got stuck, not since it asked again");
    let paid = list("", "payment", "").await.unwrap().dispatches;
    assert_eq!((paid.len(), paid[0].step.as_str(), paid[0].compensating), (1, "reserve_payment", true));
    assert_eq!(list("", "", "").await.unwrap().dispatches.len(), 2);
    assert!(list("", "dispatch", "").await.unwrap().dispatches.is_empty());
    let strange = list("", "order", &first.next_page_token).await.unwrap_err();
    assert_eq!(strange.code(), Code::InvalidArgument);
    rig.end().await;
}

async fn explain(client: &Client, dispatch_id: &str) -> v1::Explanation {
    let key = Some(Key::DispatchId(dispatch_id.to_owned()));
    client.clone().explain_dispatch(v1::ExplainDispatchRequest { key }).await.unwrap().into_inner()
}

fn verbs(explained: &v1::Explanation) -> Vec<OperatorVerb> {
    explained.options.iter().map(v1::OperatorOption::verb).collect()
}

async fn a_dispatch_without_a_saga_is_explained_and_has_no_verbs(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let id = rig.accepted("1").await;
    let explained = explain(&client, &id).await;
    assert_eq!(explained.standing, "accepted; its saga has not begun");
    assert!(explained.findings[0].starts_with("DispatchRequested waits in the outbox"), "{explained:?}");
    assert_eq!(verbs(&explained), [OperatorVerb::Cancel]);
    rig.database.execute("UPDATE outbox SET state = 'UNROUTABLE'").await;
    let explained = explain(&client, &id).await;
    assert!(explained.findings[0].contains("no queue takes dispatch.requested"), "{explained:?}");
    rig.database.execute("DELETE FROM outbox").await;
    let explained = explain(&client, &id).await;
    assert!(explained.findings[0].contains("waits in queue saga"), "{explained:?}");
    assert!(explained.next.contains("sent again by itself"), "{explained:?}");
    rig.end().await;
}

async fn a_stuck_dispatch_is_explained_with_what_can_be_done(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let client = connect(&rig).await;
    let id = rig.accepted("1").await;
    rig.database.execute("DELETE FROM outbox").await;
    saga::stands(&rig.database, &id, "STUCK", "DONE,DONE,DONE,RUNNING", 7).await;
    let explained = explain(&client, &id).await;
    assert_eq!(explained.standing, "stuck on the way forward at complete_order (step 4 of 4), because: why");
    assert_eq!(explained.waits_for, "the answer of order to CompleteOrder");
    assert_eq!(
        verbs(&explained),
        [OperatorVerb::Retry, OperatorVerb::SkipDone, OperatorVerb::ForceComplete, OperatorVerb::Pause]
    );
    assert!(explained.findings[0].contains("waits in queue order"), "{explained:?}");
    let key = Some(Key::OrderId("o-1".to_owned()));
    let by_order = client.clone().explain_dispatch(v1::ExplainDispatchRequest { key }).await.unwrap();
    assert_eq!(by_order.into_inner().dispatch.unwrap().dispatch_id, id);
    let letter = format!(
        "INSERT INTO dead_letters (id, queue, message_id, type, routing_key, correlation_id, causation_id, \
         reply_to, traceparent, tracestate, attempt, body, kind, reason, times, first_at, dead_at) VALUES \
         ({}, 'order', 'm', 'dispatch.v1.CompleteOrder', '', '{id}', '', '', '', '', 1, {}, 'PERMANENT', \
         'malformed', 1, 0, 0)",
        if rig.database.is_postgres() { "'01a20000-0000-7000-8000-000000000001'" } else { "zeroblob(16)" },
        if rig.database.is_postgres() { "''" } else { "zeroblob(0)" },
    );
    rig.database.execute(&letter).await;
    let explained = explain(&client, &id).await;
    assert!(explained.findings[0].starts_with("dead letter of queue order"), "{explained:?}");
    rig.end().await;
}

async fn pauses_are_listed_explained_and_refuse_what_would_send_a_command(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let mut client = connect(&rig).await;
    let id = rig.accepted("1").await;
    let request = |scope: &str| v1::PauseRequest {
        scope: scope.to_owned(),
        reason: "order is being mended".to_owned(),
        operator: "anna".to_owned(),
    };
    let one = format!("dispatch:{id}");
    let status = client.pause(request(&one)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "no saga yet: {status}");
    saga::stands(&rig.database, &id, "STUCK", "DONE,DONE,DONE,RUNNING", 7).await;
    for scope in ["all", "saga:order_fulfilment", "participant:order", one.as_str()] {
        let paused = client.pause(request(scope)).await.unwrap().into_inner();
        assert_eq!((paused.scope.as_str(), paused.operator.as_str(), paused.rate), (scope, "anna", 0));
        let again = v1::PauseRequest { operator: "bert".to_owned(), ..request(scope) };
        assert_eq!(client.pause(again).await.unwrap().into_inner(), paused, "the first one stands");
        let listed = client.list_pauses(v1::ListPausesRequest {}).await.unwrap().into_inner().pauses;
        assert_eq!(listed, [paused]);
        let explained = explain(&client, &id).await;
        let said = format!("{scope} is paused, 0 s ago, by anna: order is being mended");
        assert_eq!(explained.findings[0], said);
        let resume = explained.options.last().unwrap();
        assert_eq!((resume.verb(), resume.scope.as_str()), (OperatorVerb::Resume, scope));
        let status = operate(&client, OperatorVerb::Retry, &id, 7).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains(&format!("{scope} is paused")), "{status}");
        let (reason, operator) = ("mended".to_owned(), "anna".to_owned());
        let resume = v1::ResumeRequest { scope: scope.to_owned(), reason, operator, rate: 50 };
        let resuming = client.resume(resume.clone()).await.unwrap().into_inner();
        assert_eq!((resuming.rate, resuming.resuming), (50, true));
        rig.database.execute("DELETE FROM saga_pauses").await;
        assert_eq!(client.resume(resume).await.unwrap_err().code(), Code::NotFound);
    }
    operate(&client, OperatorVerb::Retry, &id, 7).await.unwrap();
    let audit = "SELECT verb || ' ' || scope FROM operator_actions ORDER BY id LIMIT 2";
    assert_eq!(rig.database.texts(audit).await, ["pause all", "resume all"]);
    rig.end().await;
}

async fn a_scope_that_is_none_is_refused(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let mut client = connect(&rig).await;
    for scope in ["", "everything", "participant:parcels", "saga:another", "dispatch:"] {
        let request = v1::PauseRequest { scope: scope.to_owned(), ..Default::default() };
        let status = client.pause(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let wrong = status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<_> = wrong.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["reason", "operator", "scope"], "{scope}");
    }
    rig.end().await;
}
