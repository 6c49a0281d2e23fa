//! Watching a dispatch over HTTP: server-sent events, from the same handler as `WatchDispatch`.

use std::time::Duration;

use serde_json::{Value, json};
use waybill_gateway::{
    Settings,
    auth::{Client, Scope},
};
use waybill_test_support::{
    TestDatabase,
    http::{Events, get, post},
    on_both_databases,
    patience::until,
};

use crate::{
    callers::{client, of},
    http_json::{bearer, described, refused, url},
    rig::{Rig, settings},
    watch::goes_to,
};

on_both_databases!(
    each_transition_is_an_event_until_the_end,
    who_comes_again_goes_on_where_it_was,
    a_gateway_that_stops_tells_so_and_lets_go,
);

async fn watch(rig: &Rig, id: &str, query: &str, headers: &[(&str, &str)]) -> Events {
    let events = Events::open(&url(rig, &format!("/v1/dispatches/{id}/events{query}")), headers).await;
    assert_eq!((events.status, events.header("content-type")), (200, "text/event-stream"));
    assert_eq!(
        (events.header("x-content-type-options"), events.header("cache-control")),
        ("nosniff", "no-store")
    );
    events
}

/// Id, and what happened.
async fn next(events: &mut Events) -> (String, Value) {
    let event = events.next().await.unwrap();
    assert_eq!(event.field("event"), "", "{event:?}");
    (event.field("id").to_owned(), event.json())
}

async fn is_at_the_end(events: &mut Events) {
    let last = events.next().await.unwrap();
    assert_eq!((last.field("event"), last.json()), ("end", json!({})));
    assert!(events.next().await.is_none());
}

async fn each_transition_is_an_event_until_the_end(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    let mut events = watch(&rig, &id, "", &[]).await;
    for (version, state, happened, told) in [
        (1, "RUNNING", "started", "IN_PROGRESS"),
        (2, "RUNNING", "accept_order_done", "IN_PROGRESS"),
        (3, "COMPLETED", "complete_order_done", "COMPLETED"),
    ] {
        goes_to(&rig, &id, version, state, happened).await;
        let (event, transition) = next(&mut events).await;
        assert_eq!((event, &transition["version"]), (version.to_string(), &json!(version.to_string())));
        assert_eq!(
            (&transition["dispatch_id"], &transition["event"], &transition["state"]),
            (&json!(id), &json!(happened), &json!(format!("DISPATCH_STATE_{told}")))
        );
    }
    is_at_the_end(&mut events).await;
    rig.end().await;
}

async fn who_comes_again_goes_on_where_it_was(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    goes_to(&rig, &id, 1, "RUNNING", "started").await;
    goes_to(&rig, &id, 2, "RUNNING", "accept_order_done").await;
    goes_to(&rig, &id, 3, "STUCK", "complete_order_timed_out").await;
    let seen = |version| [("last-event-id", version)];
    for (query, headers, first) in [
        ("?after_version=1", &[][..], "2"),
        ("", &seen("1"), "2"),
        ("?after_version=1", &seen("2"), "3"),
        ("?after_version=0", &[], "1"),
    ] {
        assert_eq!(next(&mut watch(&rig, &id, query, headers).await).await.0, first, "{query} {headers:?}");
    }
    is_at_the_end(&mut watch(&rig, &id, "", &seen("3")).await).await;
    rig.end().await;
}

async fn a_gateway_that_stops_tells_so_and_lets_go(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    goes_to(&rig, &id, 1, "RUNNING", "started").await;
    let mut events = watch(&rig, &id, "", &[]).await;
    assert_eq!(next(&mut events).await.0, "1");
    rig.stop.cancel();
    let last = events.next().await.unwrap();
    let problem = last.json();
    assert_eq!((last.field("event"), &problem["code"]), ("problem", &json!("UNAVAILABLE")));
    assert!(problem["detail"].as_str().unwrap().contains("resume from version 1"), "{problem}");
    assert!(events.next().await.is_none());
    rig.end().await;
}

#[tokio::test]
async fn while_nothing_happens_comments_show_that_the_server_is_there() {
    let brisk = Settings { keepalive_interval: Duration::from_millis(50), ..settings() };
    let rig = Rig::with(TestDatabase::sqlite().await, brisk).await;
    let id = rig.accepted("1").await;
    let mut events = watch(&rig, &id, "", &[]).await;
    for _ in 0..3 {
        assert_eq!(events.next_block().await.unwrap(), ":");
    }
    goes_to(&rig, &id, 1, "COMPLETED", "complete_order_done").await;
    assert_eq!(next(&mut events).await.0, "1");
    is_at_the_end(&mut events).await;
    rig.end().await;
}

#[tokio::test]
async fn who_watches_takes_a_place_among_the_streams_until_it_goes() {
    let narrow = Settings { max_streams: 1, ..settings() };
    let rig = Rig::with(TestDatabase::sqlite().await, narrow).await;
    let id = rig.accepted("1").await;
    let path = url(&rig, &format!("/v1/dispatches/{id}/events"));
    let events = watch(&rig, &id, "", &[]).await;
    refused(&get(&path, &[]).await, 429, "RESOURCE_EXHAUSTED");
    drop(events);
    let has_room = async || Events::open(&path, &[]).await.status == 200;
    until("room for another stream", has_room).await;
    rig.end().await;
}

#[tokio::test]
async fn who_may_not_or_asks_wrongly_is_refused_before_any_event() {
    let bound = |name| Client { own_only: true, ..client(name, &[Scope::Submit, Scope::Read]) };
    let clients = vec![bound("one"), bound("other"), client("sender", &[Scope::Submit])];
    let rig = Rig::guarded(TestDatabase::sqlite().await, of(clients)).await;
    let mine = bearer("Bearer one");
    let accepted = post(&url(&rig, "/v1/dispatches"), &mine, &described("1")).await;
    let path = url(&rig, &format!("{}/events", accepted.header("location")));
    refused(&get(&path, &[]).await, 401, "UNAUTHENTICATED");
    refused(&get(&path, &bearer("Bearer sender")).await, 403, "PERMISSION_DENIED");
    refused(&get(&path, &bearer("Bearer other")).await, 404, "NOT_FOUND");
    for (query, field) in [
        ("?after_version=first", "after_version"),
        ("?after_version=-1", "after_version"),
        ("?after_version=1&after_version=2", "after_version"),
        ("?dispatch_id=another", "dispatch_id"),
        ("?colour=red", "colour"),
    ] {
        let answer = get(&format!("{path}{query}"), &mine).await;
        assert_eq!(refused(&answer, 400, "INVALID_ARGUMENT"), field, "{query}");
    }
    for seen in ["first", "-1", "", "99999999999999999999"] {
        let headers = [mine[0], ("last-event-id", seen)];
        assert_eq!(refused(&get(&path, &headers).await, 400, "INVALID_ARGUMENT"), "Last-Event-ID", "{seen}");
    }
    refused(&get(&url(&rig, "/v1/dispatches/nobody/events"), &mine).await, 404, "NOT_FOUND");
    rig.end().await;
}
