//! HTTP and JSON: the same service, the same rules, other words.

use std::num::NonZeroU32;

use serde_json::{Value, json};
use waybill_gateway::auth::{Client, Limit, Scope};
use waybill_proto::v1;
use waybill_test_support::{
    TestDatabase,
    http::{Answer, ask, get, post},
    on_both_databases,
    patience::until,
};

use crate::{
    callers::{client, of},
    rig::{Rig, order},
    saga,
};

on_both_databases!(
    a_message_is_accepted_once_whichever_way_it_comes,
    a_client_bound_to_its_own_finds_nothing_of_others,
    a_list_has_pages_and_filters,
    one_is_found_by_the_name_of_its_request,
    a_cancel_request_is_answered_with_the_sagas_decision,
);

const JSON: (&str, &str) = ("content-type", "application/json");

/// What [`order`] is in JSON.
pub(crate) fn described(name: &str) -> Value {
    json!({
        "message_id": format!("m-{name}"),
        "order_id": format!("o-{name}"),
        "destination_code": "NLRTM",
        "parcel_count": 3,
        "requested_at": "2023-11-14T22:13:20.000001Z",
        "customer_id": "c-1",
        "amount": { "currency_code": "EUR", "minor_units": "1250" },
    })
}

pub(crate) fn url(rig: &Rig, path: &str) -> String {
    format!("http://{}{path}", rig.address)
}

async fn request(rig: &Rig, body: &Value) -> Answer {
    post(&url(rig, "/v1/dispatches"), &[], body).await
}

/// Problem details of that status and code; the name of the first field that is wrong, if one is.
#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let problem = answer.json();
    assert_eq!(
        (answer.status, &problem["status"], &problem["code"]),
        (status, &json!(status), &json!(code)),
        "{problem}"
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        (answer.header("x-content-type-options"), answer.header("cache-control")),
        ("nosniff", "no-store")
    );
    assert_eq!(problem["type"], "about:blank");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.len() < 1_000 && !detail.contains(char::is_control), "{detail:?}");
    problem["errors"][0]["field"].as_str().unwrap_or_default().to_owned()
}

async fn a_message_is_accepted_once_whichever_way_it_comes(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let first = request(&rig, &described("1")).await;
    let receipt = first.json();
    assert_eq!(
        (first.status, &receipt["duplicate"], &receipt["message_id"]),
        (202, &json!(false), &json!("m-1"))
    );
    assert_eq!(
        (first.header("x-content-type-options"), first.header("cache-control")),
        ("nosniff", "no-store")
    );
    let id = receipt["dispatch_id"].as_str().unwrap();
    assert_eq!(first.header("location"), format!("/v1/dispatches/{id}"));

    let by_grpc = rig.request(order("1")).await.unwrap();
    assert!(by_grpc.duplicate && by_grpc.dispatch_id == id, "the same content by another way: {by_grpc:?}");
    let again = request(&rig, &described("1")).await;
    let expected = json!({ "duplicate": true, "message_id": "m-1", "dispatch_id": id, "accepted_at": receipt["accepted_at"] });
    assert_eq!((again.status, again.json()), (202, expected));

    let by_grpc = rig.request(order("2")).await.unwrap();
    let by_http = request(&rig, &described("2")).await.json();
    assert_eq!((&by_http["duplicate"], &by_http["dispatch_id"]), (&json!(true), &json!(by_grpc.dispatch_id)));

    let mut other = described("1");
    other["parcel_count"] = json!(4);
    let taken = request(&rig, &other).await;
    refused(&taken, 409, "ALREADY_EXISTS");
    assert_eq!(taken.json()["resource"]["resource_name"], id);
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, 2);

    let dispatch = get(&url(&rig, first.header("location")), &[]).await;
    assert_eq!((dispatch.status, dispatch.header("content-type")), (200, "application/json"));
    let dispatch = dispatch.json();
    assert_eq!((&dispatch["state"], &dispatch["version"]), (&json!("DISPATCH_STATE_ACCEPTED"), &json!("0")));
    assert_eq!(dispatch["amount"], described("1")["amount"]);
    assert_eq!(dispatch["requested_at"], described("1")["requested_at"]);
    rig.end().await;
}

pub(crate) fn bearer(token: &str) -> [(&str, &str); 1] {
    [("authorization", token)]
}

async fn a_client_bound_to_its_own_finds_nothing_of_others(database: TestDatabase) {
    let bound = |name| Client { own_only: true, ..client(name, &[Scope::Submit, Scope::Read]) };
    let clients = vec![bound("one"), bound("other"), client("reader", &[Scope::Read])];
    let rig = Rig::guarded(database, of(clients)).await;
    let all = url(&rig, "/v1/dispatches");
    let (one, other) = (bearer("Bearer one"), bearer("Bearer other"));
    let mine = post(&all, &one, &described("1")).await;
    assert_eq!(mine.status, 202);
    let path = url(&rig, mine.header("location"));
    let found = get(&path, &one).await;
    assert_eq!((found.status, &found.json()["client"]), (200, &json!("one")));

    refused(&get(&path, &other).await, 404, "NOT_FOUND");
    let reason = json!({ "reason": "mine now" });
    refused(&post(&format!("{path}/cancel"), &other, &reason).await, 404, "NOT_FOUND");
    assert_eq!(get(&all, &other).await.json()["dispatches"], json!([]));
    let taken = post(&all, &other, &described("1")).await;
    refused(&taken, 409, "ALREADY_EXISTS");
    assert_eq!(taken.json().get("resource"), None, "it says nothing of the other's dispatch");

    for nobody in [&[][..], &bearer("Bearer wrong"), &bearer("Basic b25lOg=="), &bearer("Bearer")] {
        for answer in [
            get(&path, nobody).await,
            get(&all, nobody).await,
            post(&all, nobody, &described("2")).await,
            post(&format!("{path}/cancel"), nobody, &reason).await,
        ] {
            refused(&answer, 401, "UNAUTHENTICATED");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
    let reader = bearer("Bearer reader");
    refused(&post(&all, &reader, &described("2")).await, 403, "PERMISSION_DENIED");
    refused(&post(&format!("{path}/cancel"), &reader, &reason).await, 403, "PERMISSION_DENIED");
    assert_eq!(get(&url(&rig, "/v1/openapi.json"), &[]).await.status, 200, "what there is, is no secret");
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches WHERE cancel_reason = ''").await, 1);
    rig.end().await;
}

async fn a_list_has_pages_and_filters(database: TestDatabase) {
    let rig = Rig::new(database).await;
    for name in ["1", "2", "3"] {
        rig.accepted(name).await;
    }
    let list = async |query: &str| get(&url(&rig, &format!("/v1/dispatches{query}")), &[]).await;
    let orders = |page: &Value| -> Vec<String> {
        let dispatches = page["dispatches"].as_array().unwrap();
        dispatches.iter().map(|dispatch| dispatch["order_id"].as_str().unwrap().to_owned()).collect()
    };
    let first = list("?page_size=2&states=DISPATCH_STATE_ACCEPTED&states=DISPATCH_STATE_STUCK").await.json();
    assert_eq!(orders(&first), ["o-3", "o-2"]);
    let token = first["next_page_token"].as_str().unwrap();
    let next = "?page_size=2&states=DISPATCH_STATE_STUCK&states=DISPATCH_STATE_ACCEPTED&page_token=";
    let second = list(&format!("{next}{token}")).await.json();
    assert_eq!((orders(&second), &second["next_page_token"]), (vec!["o-1".to_owned()], &json!("")));
    assert_eq!(orders(&list("?order_id=o-2&accepted_from=2020-01-01T00:00:00Z").await.json()), ["o-2"]);
    for (query, field) in [
        ("?colour=red", "colour"),
        ("?page_size=many", "page_size"),
        ("?page_size=1&page_size=2", "page_size"),
        ("?page_size=1001", "page_size"),
        ("?states=STUCK", "states[0]"),
        ("?accepted_to=now", "accepted_to"),
        ("?page_token=mine", "page_token"),
        ("?customer_id=%0d%0a", "customer_id"),
        ("?customer_id=%ff", "customer_id"),
    ] {
        assert_eq!(refused(&list(query).await, 400, "INVALID_ARGUMENT"), field, "{query}");
    }
    rig.end().await;
}

async fn one_is_found_by_the_name_of_its_request(database: TestDatabase) {
    let bound = |name| Client { own_only: true, ..client(name, &[Scope::Submit, Scope::Read]) };
    let rig = Rig::guarded(database, of(vec![bound("one"), bound("other")])).await;
    let (all, one) = (url(&rig, "/v1/dispatches"), bearer("Bearer one"));
    let mut body = described("1");
    body["message_id"] = json!("m/1?&%");
    let accepted = post(&all, &one, &body).await;
    let named =
        async |name: &str, who: &[(&str, &str)]| get(&url(&rig, &format!("/v1/requests/{name}")), who).await;
    let found = named("m%2F1%3F%26%25", &one).await;
    assert_eq!((found.status, found.header("cache-control")), (200, "no-store"));
    let by_id = get(&url(&rig, accepted.header("location")), &one).await;
    assert_eq!(found.json(), by_id.json(), "whole, as by its id");

    let of_another = named("m%2F1%3F%26%25", &bearer("Bearer other")).await;
    refused(&of_another, 404, "NOT_FOUND");
    for nobodys in ["m-2", "m/1", ""] {
        refused(&named(nobodys, &one).await, 404, "NOT_FOUND");
    }
    for wrong in ["%0a", "%00", "%ff", "m%201", &"m".repeat(129)] {
        assert_eq!(refused(&named(wrong, &one).await, 400, "INVALID_ARGUMENT"), "message_id", "{wrong}");
    }
    let listed = get(&format!("{all}?message_id=m-1"), &one).await;
    assert_eq!(refused(&listed, 400, "INVALID_ARGUMENT"), "message_id", "no parameter of a list");
    rig.end().await;
}

async fn a_cancel_request_is_answered_with_the_sagas_decision(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let accepted = request(&rig, &described("1")).await;
    let path = accepted.header("location");
    let (id, path) = (path.rsplit('/').next().unwrap(), url(&rig, &format!("{path}/cancel")));
    let reason = json!({ "reason": "changed my mind" });
    saga::stands(&rig.database, id, "RUNNING", "DONE,RUNNING,PENDING,PENDING", 2).await;
    let decide = async {
        let asked = "SELECT count(*) FROM outbox WHERE type = 'dispatch.v1.CancelRequested'";
        until("the question", async || rig.database.number(asked).await == 1).await;
        saga::stands(&rig.database, id, "COMPENSATING", "COMPENSATING,IN_DOUBT,PENDING,PENDING", 3).await;
    };
    let (answer, ()) = tokio::join!(post(&path, &[], &reason), decide);
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("DISPATCH_STATE_COMPENSATING")));
    assert_eq!(refused(&post(&path, &[], &json!({})).await, 400, "INVALID_ARGUMENT"), "reason");
    saga::stands(&rig.database, id, "COMPLETED", "DONE,DONE,DONE,DONE", 4).await;
    refused(&post(&path, &[], &reason).await, 409, "FAILED_PRECONDITION");
    rig.end().await;
}

#[tokio::test]
async fn the_header_idempotency_key_is_another_name_for_the_message_id() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let all = url(&rig, "/v1/dispatches");
    let mut nameless = described("1");
    nameless.as_object_mut().unwrap().remove("message_id");
    assert_eq!(refused(&request(&rig, &nameless).await, 400, "INVALID_ARGUMENT"), "message_id");
    let keyed = async |key: &str, body: &Value| post(&all, &[("idempotency-key", key)], body).await;
    let first = keyed("m-1", &nameless).await;
    assert_eq!((first.status, &first.json()["message_id"]), (202, &json!("m-1")));
    for again in [
        keyed("\"m-1\"", &nameless).await,
        keyed("m-1", &described("1")).await,
        request(&rig, &described("1")).await,
    ] {
        assert_eq!((again.status, &again.json()["duplicate"]), (202, &json!(true)));
    }
    for key in ["m-2", "", "\"m-\\1\"", "m 1", &"k".repeat(129)] {
        assert_eq!(
            refused(&keyed(key, &described("1")).await, 400, "INVALID_ARGUMENT"),
            "message_id",
            "{key:?}"
        );
    }
    let twice = [("idempotency-key", "m-1"), ("idempotency-key", "m-1")];
    assert_eq!(refused(&post(&all, &twice, &nameless).await, 400, "INVALID_ARGUMENT"), "Idempotency-Key");
    let foreign = keyed("m-ä", &nameless).await;
    assert_eq!(refused(&foreign, 400, "INVALID_ARGUMENT"), "Idempotency-Key");
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, 1);
    rig.end().await;
}

#[tokio::test]
async fn whatever_is_wrong_is_told_as_a_problem_that_names_it() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let all = url(&rig, "/v1/dispatches");
    let put = ask("PUT", &all, &[JSON], "{}").await;
    refused(&put, 405, "UNIMPLEMENTED");
    assert_eq!(put.header("allow"), "POST,GET,HEAD");
    for path in ["/", "/v1", "/v1/dispatches/", "/v1/dispatches/x/y", "/dispatch.v1.Nothing/Get"] {
        refused(&get(&url(&rig, path), &[]).await, 404, "NOT_FOUND");
    }
    refused(&get(&format!("{all}/nobody"), &[]).await, 404, "NOT_FOUND");
    for path in ["%0d%0aset-cookie:x", "%00", "%ff", &"x".repeat(129)] {
        let answer = get(&format!("{all}/{path}"), &[]).await;
        assert_eq!(refused(&answer, 400, "INVALID_ARGUMENT"), "dispatch_id", "{path}");
    }
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let answer = ask("POST", &all, &[("content-type", media_type)], described("1").to_string()).await;
        refused(&answer, 415, "INVALID_ARGUMENT");
    }
    let packed = [JSON, ("content-encoding", "gzip")];
    refused(&ask("POST", &all, &packed, described("1").to_string()).await, 415, "INVALID_ARGUMENT");
    let deep = "[".repeat(30_000);
    for body in ["", "{", "null", "[]", "{} {}", "\"\u{0}\"", deep.as_str(), &format!("{{\"amount\":{deep}")]
    {
        refused(&ask("POST", &all, &[JSON], body.to_owned()).await, 400, "INVALID_ARGUMENT");
    }
    refused(&ask("POST", &all, &[JSON], &b"{\"order_id\":\"\xff\xfe\"}"[..]).await, 400, "INVALID_ARGUMENT");
    let large = format!("{{\"order_id\":\"{}\"}}", "x".repeat(64 * 1_024));
    refused(&ask("POST", &all, &[JSON], large).await, 413, "OUT_OF_RANGE");
    let cancel = json!({ "reason": "x", "dispatch_id": "another" });
    assert_eq!(
        refused(&post(&format!("{all}/one/cancel"), &[], &cancel).await, 400, "INVALID_ARGUMENT"),
        "dispatch_id"
    );
    for (wrong, field) in [
        (json!({ "colour": "red" }), "colour"),
        (json!({ "amount": { "currency_code": "EUR", "minor_units": 1, "colour": "red" } }), "amount.colour"),
        (json!({ "parcel_count": "three" }), "parcel_count"),
        (json!({ "parcel_count": 0 }), "parcel_count"),
        (json!({ "amount": { "currency_code": "eur", "minor_units": 1 } }), "amount.currency_code"),
        (json!({ "requested_at": "2999-01-01T00:00:00Z" }), "requested_at"),
        (json!({ "order_id": "x\r\nforged: header" }), "order_id"),
    ] {
        let mut body = described("1");
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(refused(&request(&rig, &body).await, 400, "INVALID_ARGUMENT"), field, "{wrong}");
    }
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, 0);
    assert_eq!(request(&rig, &described("1")).await.status, 202);
    rig.end().await;
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let limit = Limit { rate: NonZeroU32::new(1), in_flight: None };
    let often = Client { limit: Some(limit), ..client("often", &[Scope::Read]) };
    let rig = Rig::guarded(TestDatabase::sqlite().await, of(vec![often])).await;
    let mut turned_away = 0;
    for _ in 0..100 {
        let answer = get(&url(&rig, "/v1/dispatches"), &bearer("Bearer often")).await;
        if answer.status != 200 {
            refused(&answer, 429, "RESOURCE_EXHAUSTED");
            assert_eq!(answer.header("retry-after"), "1");
            turned_away += 1;
        }
    }
    assert!(turned_away > 0);
    rig.end().await;
}

#[tokio::test]
async fn the_trace_and_the_deadline_of_the_caller_are_those_of_the_call() {
    let rig = Rig::new(TestDatabase::sqlite().await).await;
    let all = url(&rig, "/v1/dispatches");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = post(&all, &[("traceparent", trace)], &described("1")).await;
    let dispatch: v1::Dispatch = rig.get(traced.json()["dispatch_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(dispatch.trace_id, "0af7651916cd43dd8448eb211c80319c");
    let lock = rig.lock().await;
    let late = post(&all, &[("grpc-timeout", "50m")], &described("2")).await;
    refused(&late, 504, "DEADLINE_EXCEEDED");
    lock.release().await;
    assert_eq!(post(&all, &[], &described("2")).await.status, 202, "it may be asked again");
    assert_eq!(rig.database.number("SELECT count(*) FROM dispatches").await, 2);
    rig.end().await;
}
