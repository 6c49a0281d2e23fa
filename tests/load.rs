//! Many dispatches at once, with refusals at every participant among them, and an auditor who compares
//! every single outcome with the tables.
#![expect(clippy::expect_used, reason = "a test crate")]

use std::{collections::BTreeMap, env};

use waybill_test_support::{
    Rig, TestDatabase,
    audit::Fate,
    load::{Load, numbered},
    on_both_databases,
};

on_both_databases!(every_one_of_many_dispatches_ends_as_its_request_asks_for);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const IN_FLIGHT: usize = 64;

/// How many; a debug build on a small machine handles so many in seconds.
fn dispatches() -> usize {
    env::var("WAYBILL_TEST_DISPATCHES").map_or(1_500, |text| text.parse().expect("a number"))
}

async fn every_one_of_many_dispatches_ends_as_its_request_asks_for(database: TestDatabase) {
    // No step is sent twice just because the machine is slow.
    let rig = Rig::with(WAYBILL, database, |program| program.set("WAYBILL_SAGA_STEP_TIMEOUT", "60s")).await;
    let (requests, fates): (Vec<_>, Vec<_>) = (0..dispatches()).map(numbered).unzip();
    let by_message: BTreeMap<String, Fate> =
        requests.iter().map(|request| request.message_id.clone()).zip(fates).collect();
    let receipts = Load::start(&rig.client, requests, IN_FLIGHT).receipts().await;
    rig.books().settled().await;
    let expected: BTreeMap<String, Fate> = receipts
        .iter()
        .map(|receipt| (receipt.dispatch_id.clone(), by_message[&receipt.message_id]))
        .collect();
    rig.books().compare(&expected).await;
    rig.end(&receipts).await;
}
