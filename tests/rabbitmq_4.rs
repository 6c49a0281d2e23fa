//! The other broker that Waybill works on: RabbitMQ 4, out of the next Debian. What it does differently shows when it
//! crashes and when nothing is bound; `make test-debian-13` runs all the other tests on it as well. Where it cannot be
//! had, the script says SKIPPED and why.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use serde_json::Value;
use waybill_proto::v1::DispatchRequested;
use waybill_test_support::{
    Node, TestBroker, TestDatabase,
    audit::Books,
    load::{Load, numbered},
    on_both_databases,
    patience::until,
    program, tool,
};

on_both_databases!(everything_ends_on_rabbitmq_4_when_it_crashes_and_when_nothing_is_bound);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const IN_FLIGHT: usize = 16;
const UNROUTABLE: &str = "SELECT count(*) FROM outbox WHERE state = 'UNROUTABLE'";

fn requests(numbers: std::ops::Range<usize>) -> Vec<DispatchRequested> {
    numbers.map(|number| numbered(number).0).collect()
}

async fn everything_ends_on_rabbitmq_4_when_it_crashes_and_when_nothing_is_bound(database: TestDatabase) {
    let Some(root) = tool("debian-13.sh", &[]).await else { return };
    let node = Node::start_from(&root).await;
    let broker = TestBroker::at(node.url()).await;
    let program = program(WAYBILL, &database, &broker);
    let process = program.start_whole().await;
    let found = program.run(&["doctor", "--format", "json"]).await;
    let found: Value = serde_json::from_str(&found.out).unwrap();
    assert!(found.to_string().contains("RabbitMQ 4."), "{found}");
    // What comes back as unroutable goes when its queue is bound again. One by itself: several would take the way of packs.
    broker.unbind("order", "dispatch", "order.command").await;
    let mut receipts = Load::start(&program.client(), requests(0..1), 1).receipts().await;
    until("an unroutable command", async || database.number(UNROUTABLE).await == 1).await;
    broker.bind("order", "dispatch", "order.command").await;
    until("none", async || database.number(UNROUTABLE).await == 0).await;
    let mut load = Load::start(&program.client(), requests(1..401), IN_FLIGHT);
    load.reached(150).await;
    node.kill().await;
    process.down("broker").await;
    node.start_again().await;
    process.up("relay").await;
    receipts.extend(load.receipts().await);
    let books = Books::of(&database);
    books.settled().await;
    books.check(&receipts).await;
    let ended = process.terminate().await;
    assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
}
