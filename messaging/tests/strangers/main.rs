//! Messages as only a stranger writes them, whose programs we know nothing of: they are read or buried, and stop nobody.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]
#![allow(unreachable_pub, dead_code, reason = "the rig serves several test crates")]

#[path = "../rig/mod.rs"]
mod rig;
mod wire;

use lapin::BasicProperties;
use rig::{Recorder, Rig, message};
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};
use wire::{Stranger, header, nested_headers};

on_both_databases!(
    an_id_that_is_not_utf_8_stops_nobody_and_is_told_from_others,
    headers_nested_thousands_deep_stop_nobody,
    a_routing_key_that_no_database_can_store_does_not_keep_a_message_from_its_grave,
);

async fn effects(rig: &Rig, expected: &[&str]) {
    let sql = "SELECT dispatch_id FROM deliveries ORDER BY 1";
    until("the effects", async || rig.database.texts(sql).await == expected).await;
}

async fn an_id_that_is_not_utf_8_stops_nobody_and_is_told_from_others(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, _told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    let mut stranger = Stranger::connect(rig.broker.url()).await;
    let exchange = rig.broker.name("dispatch");
    // "café" and "cafè" in Latin-1.
    for (id, body) in [(b"caf\xe9", "acute"), (b"caf\xe8", "grave")] {
        stranger.publish(&exchange, "order.command", &header(None, id, body.len()), body.as_bytes()).await;
    }
    rig.send(vec![message("m-1")]).await;
    effects(&rig, &["acute", "grave", "m-1"]).await;
    let sql = "SELECT message_id FROM inbox ORDER BY 1";
    assert_eq!(rig.database.texts(sql).await, ["caf\u{e8}", "caf\u{e9}", "m-1"]);
    rig.end().await;
}

async fn headers_nested_thousands_deep_stop_nobody(database: TestDatabase) {
    let mut rig = Rig::new(database).await;
    let (handler, _told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    let mut stranger = Stranger::connect(rig.broker.url()).await;
    let exchange = rig.broker.name("dispatch");
    let deep = header(Some(nested_headers(15_000)), b"deep", 4);
    stranger.publish(&exchange, "order.command", &deep, b"deep").await;
    rig.send(vec![message("m-1")]).await;
    effects(&rig, &["deep", "m-1"]).await;
    rig.end().await;
}

async fn a_routing_key_that_no_database_can_store_does_not_keep_a_message_from_its_grave(
    database: TestDatabase,
) {
    let mut rig = Rig::new(database).await;
    let (handler, _told) = Recorder::new(|_| Ok(()));
    rig.consume(handler).await;
    rig.broker.bind("order", "dispatch", "a\0b").await;
    let properties = BasicProperties::default().with_message_id("m\0".into());
    rig.broker.publish("dispatch", "a\0b", &[0xff], properties).await;
    let sql = "SELECT routing_key FROM dead_letters";
    until("buried", async || rig.database.texts(sql).await == ["a\u{fffd}b"]).await;
    rig.end().await;
}
