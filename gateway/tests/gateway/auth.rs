//! Who may do what: tokens, scopes, and clients that are bound to what they requested.

use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;
use waybill_gateway::auth::{Client, Scope};
use waybill_proto::v1::{self, get_dispatch_request::Key};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{
    callers::{Bearer, Gateway, Operator, by_dispatch, client, of, with_token},
    rig::{Rig, order},
    saga,
};

on_both_databases!(
    the_dispatch_says_who_asked_for_it,
    a_client_bound_to_its_own_finds_nothing_of_others_by_any_method,
    a_client_bound_to_its_own_finds_by_order_what_another_has_superseded,
    a_taken_id_says_nothing_of_its_dispatch_to_a_bound_client,
    an_operator_acts_under_the_name_that_is_known,
);

/// The codes of one call to each method that a client may call, in the order of [`METHODS`].
async fn codes(rig: &Rig, token: Option<&str>) -> Vec<Result<(), Status>> {
    let (mut gateway, mut operator) = with_token(rig, token).await;
    let cancel = v1::CancelDispatchRequest { dispatch_id: "nobody".into(), reason: "test".into() };
    let watch = v1::WatchDispatchRequest { dispatch_id: "nobody".into(), after_version: 0 };
    vec![
        gateway.request_dispatch(order("1")).await.map(drop),
        gateway.request_dispatches(tokio_stream::once(order("2"))).await.map(drop),
        gateway.cancel_dispatch(cancel).await.map(drop),
        gateway.get_dispatch(by_dispatch("nobody")).await.map(drop),
        gateway.list_dispatches(v1::ListDispatchesRequest::default()).await.map(drop),
        gateway.watch_dispatch(watch).await.map(drop),
        operator.list_stuck(v1::ListStuckRequest::default()).await.map(drop),
        operator.list_dead_letters(v1::ListDeadLettersRequest::default()).await.map(drop),
        reflect(rig, token).await,
    ]
}

/// What each needs; the last one needs any client.
const METHODS: [&str; 9] =
    ["submit", "submit", "submit", "read", "read", "read", "operate", "operate", "any"];

async fn channel(rig: &Rig) -> Channel {
    Channel::from_shared(format!("http://{}", rig.address)).unwrap().connect().await.unwrap()
}

async fn reflect(rig: &Rig, token: Option<&str>) -> Result<(), Status> {
    let bearer = Bearer(token.map(str::to_owned));
    let mut client = ServerReflectionClient::with_interceptor(channel(rig).await, bearer);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    client.server_reflection_info(tokio_stream::once(ask)).await?.into_inner().message().await.map(drop)
}

#[tokio::test]
async fn without_good_credentials_only_health_answers() {
    let rig = Rig::guarded(TestDatabase::sqlite().await, of(vec![client("shop", &Scope::ALL)])).await;
    for token in [None, Some("wrong-token"), Some("a.b.c"), Some(""), Some("SHOP")] {
        for answer in codes(&rig, token).await {
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{token:?}: {status}");
            assert!(!status.message().contains("wrong-token"));
        }
    }
    let service = "dispatch.v1.DispatchGateway".to_owned();
    let health = HealthClient::new(channel(&rig).await).check(HealthCheckRequest { service }).await;
    assert!(health.is_ok());
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, 0);
    rig.end().await;
}

#[tokio::test]
async fn each_method_needs_its_scope_and_names_it() {
    let clients = Scope::ALL.map(|scope| client(scope.name(), &[scope]));
    let rig = Rig::guarded(TestDatabase::sqlite().await, of(clients.to_vec())).await;
    for scope in Scope::ALL {
        let answers = codes(&rig, Some(scope.name())).await;
        for (needed, answer) in METHODS.into_iter().zip(answers) {
            let may = needed == "any" || scope == Scope::Operate || needed == scope.name();
            let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
            assert_eq!(code != Code::PermissionDenied, may, "{} asks for {needed}: {answer:?}", scope.name());
            assert_ne!(code, Code::Unauthenticated);
            if !may {
                assert!(answer.unwrap_err().message().ends_with(&format!("scope {needed}")));
            }
        }
    }
    rig.end().await;
}

#[tokio::test]
async fn without_any_client_in_the_configuration_nobody_is_asked() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let answers = codes(&rig, Some("whatever")).await;
    let refused =
        |answer: &Result<(), Status>| answer.as_ref().is_err_and(|status| status.code() != Code::NotFound);
    assert!(!answers.iter().any(refused), "{answers:?}");
    rig.end().await;
}

async fn the_dispatch_says_who_asked_for_it(database: TestDatabase) {
    let rig = Rig::guarded(database, of(vec![client("shop", &[Scope::Submit, Scope::Read])])).await;
    let (mut shop, _) = with_token(&rig, Some("shop")).await;
    let id = shop.request_dispatch(order("1")).await.unwrap().into_inner().dispatch_id;
    assert_eq!(shop.get_dispatch(by_dispatch(&id)).await.unwrap().into_inner().client, "shop");
    let mut receipts = shop.request_dispatches(tokio_stream::once(order("2"))).await.unwrap().into_inner();
    assert_eq!(receipts.message().await.unwrap().unwrap().error, None);
    let count = "SELECT count(*) FROM dispatches WHERE client = 'shop'";
    assert_eq!(rig.database.number(count).await, 2);
    rig.end().await;
}

/// Two clients that see only their own, and one who sees all.
fn bound() -> Vec<Client> {
    let both = [Scope::Submit, Scope::Read];
    let bound = |name| Client { own_only: true, ..client(name, &both) };
    vec![bound("one"), bound("other"), client("all", &both)]
}

async fn listed(gateway: &mut Gateway, request: v1::ListDispatchesRequest) -> Vec<String> {
    let page = gateway.list_dispatches(request).await.unwrap().into_inner();
    page.dispatches.into_iter().map(|dispatch| dispatch.order_id).collect()
}

async fn a_client_bound_to_its_own_finds_nothing_of_others_by_any_method(database: TestDatabase) {
    let rig = Rig::guarded(database, of(bound())).await;
    let (mut one, _) = with_token(&rig, Some("one")).await;
    let (mut other, _) = with_token(&rig, Some("other")).await;
    let (mut all, _) = with_token(&rig, Some("all")).await;
    let id = one.request_dispatch(order("1")).await.unwrap().into_inner().dispatch_id;
    other.request_dispatch(order("2")).await.unwrap();

    for key in [Key::DispatchId(id.clone()), Key::MessageId("m-1".into()), Key::OrderId("o-1".into())] {
        let ask = v1::GetDispatchRequest { key: Some(key) };
        assert_eq!(other.get_dispatch(ask.clone()).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(one.get_dispatch(ask.clone()).await.unwrap().into_inner().dispatch_id, id);
        assert_eq!(all.get_dispatch(ask).await.unwrap().into_inner().dispatch_id, id);
    }
    let watch = v1::WatchDispatchRequest { dispatch_id: id.clone(), after_version: 0 };
    assert_eq!(other.watch_dispatch(watch.clone()).await.unwrap_err().code(), Code::NotFound);
    assert!(one.watch_dispatch(watch).await.is_ok());
    let cancel = v1::CancelDispatchRequest { dispatch_id: id.clone(), reason: "test".into() };
    let refused = other.cancel_dispatch(cancel).await.unwrap_err();
    let unknown = v1::CancelDispatchRequest { dispatch_id: "nobody".into(), reason: "test".into() };
    let unknown = other.cancel_dispatch(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(refused.message().replace(&id, "nobody"), unknown.message(), "nothing tells the two apart");
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches WHERE cancel_reason <> ''").await, 0);

    let everything = v1::ListDispatchesRequest::default();
    assert_eq!(listed(&mut one, everything.clone()).await, ["o-1"]);
    assert_eq!(listed(&mut other, everything.clone()).await, ["o-2"]);
    assert_eq!(listed(&mut all, everything.clone()).await, ["o-2", "o-1"]);
    let accepted = v1::DispatchState::Accepted.into();
    let by_state = v1::ListDispatchesRequest { states: vec![accepted], ..everything.clone() };
    assert_eq!(listed(&mut other, by_state).await, ["o-2"]);
    let by_customer = v1::ListDispatchesRequest { customer_id: "c-1".into(), ..everything };
    assert_eq!(listed(&mut other, by_customer).await, ["o-2"]);
    rig.end().await;
}

async fn a_client_bound_to_its_own_finds_by_order_what_another_has_superseded(database: TestDatabase) {
    let rig = Rig::guarded(database, of(bound())).await;
    let (mut one, _) = with_token(&rig, Some("one")).await;
    let (mut other, _) = with_token(&rig, Some("other")).await;
    let (mut all, _) = with_token(&rig, Some("all")).await;
    let first = one.request_dispatch(order("1")).await.unwrap().into_inner().dispatch_id;
    saga::stands(&rig.database, &first, "COMPENSATED", "COMPENSATED,REFUSED,PENDING,PENDING", 3).await;
    let again = v1::DispatchRequested { message_id: "m-1-again".to_owned(), ..order("1") };
    let second = other.request_dispatch(again).await.unwrap().into_inner().dispatch_id;
    let by_order = v1::GetDispatchRequest { key: Some(Key::OrderId("o-1".into())) };
    for (client, expected) in [(&mut one, &first), (&mut other, &second), (&mut all, &second)] {
        let found = client.get_dispatch(by_order.clone()).await.unwrap().into_inner();
        assert_eq!(&found.dispatch_id, expected);
    }
    rig.end().await;
}

/// Refused as taken, without a word on what took it.
fn is_mute(status: &Status, secrets: &[&str]) {
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert!(status.get_details_resource_info().is_none(), "{status}");
    for secret in secrets {
        assert!(!status.message().contains(secret), "{status}");
    }
}

async fn a_taken_id_says_nothing_of_its_dispatch_to_a_bound_client(database: TestDatabase) {
    let rig = Rig::guarded(database, of(bound())).await;
    let (mut one, _) = with_token(&rig, Some("one")).await;
    let (mut other, _) = with_token(&rig, Some("other")).await;
    let (mut all, _) = with_token(&rig, Some("all")).await;
    let id = one.request_dispatch(order("1")).await.unwrap().into_inner().dispatch_id;
    // The same message with the same content, with another content, and the same order.
    let same_message = v1::DispatchRequested { order_id: "o-x".into(), ..order("1") };
    let same_order = v1::DispatchRequested { message_id: "m-x".into(), ..order("1") };
    is_mute(&other.request_dispatch(order("1")).await.unwrap_err(), &[&id, "o-1"]);
    is_mute(&other.request_dispatch(same_message).await.unwrap_err(), &[&id, "o-1"]);
    is_mute(&other.request_dispatch(same_order.clone()).await.unwrap_err(), &[&id, "m-1"]);
    let mut receipts = other.request_dispatches(tokio_stream::once(order("1"))).await.unwrap().into_inner();
    let receipt = receipts.message().await.unwrap().unwrap();
    let error = receipt.error.unwrap();
    assert_eq!((receipt.dispatch_id.as_str(), error.code), ("", Code::AlreadyExists.into()));
    assert!(error.details.is_empty() && !error.message.contains(&id));

    assert!(one.request_dispatch(order("1")).await.unwrap().into_inner().duplicate);
    let first = one.request_dispatch(same_order.clone()).await.unwrap_err();
    assert_eq!(first.get_details_resource_info().unwrap().resource_name, id);
    assert!(all.request_dispatch(order("1")).await.unwrap().into_inner().duplicate);
    assert!(all.request_dispatch(same_order).await.unwrap_err().get_details_resource_info().is_some());
    rig.end().await;
}

async fn pause(operator: &mut Operator, claimed: &str) -> Result<v1::PauseStatus, Status> {
    let request = v1::PauseRequest {
        scope: "participant:payment".into(),
        reason: "upgrade".into(),
        operator: claimed.into(),
    };
    operator.pause(request).await.map(tonic::Response::into_inner)
}

async fn an_operator_acts_under_the_name_that_is_known(database: TestDatabase) {
    let rig = Rig::guarded(database, of(vec![client("ops", &[Scope::Operate])])).await;
    let (_, mut ops) = with_token(&rig, Some("ops")).await;
    assert_eq!(pause(&mut ops, "the boss").await.unwrap().operator, "ops");
    let resume = v1::ResumeRequest {
        scope: "participant:payment".into(),
        reason: "upgraded".into(),
        operator: String::new(),
        rate: 0,
    };
    ops.resume(resume).await.unwrap();
    let actions = ops.list_operator_actions(v1::ListOperatorActionsRequest::default()).await.unwrap();
    let names: Vec<_> = actions.into_inner().actions.into_iter().map(|action| action.operator).collect();
    assert_eq!(names, ["ops", "ops"]);
    rig.end().await;
}
