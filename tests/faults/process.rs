//! The process is told to stop, and is killed, while it is busy.

use waybill_test_support::{Rig, TestDatabase, load::Load, on_both_databases};

use crate::{IN_FLIGHT, WAYBILL, requests};

on_both_databases!(
    a_process_that_is_told_to_stop_ends_in_order_and_nothing_is_lost,
    a_process_that_is_killed_again_and_again_loses_nothing,
);

async fn a_process_that_is_told_to_stop_ends_in_order_and_nothing_is_lost(database: TestDatabase) {
    let mut rig = Rig::new(WAYBILL, database).await;
    let mut load = Load::start(&rig.client, requests(500), IN_FLIGHT);
    for receipts in [150, 350] {
        load.reached(receipts).await;
        let ended = rig.process.terminate().await;
        assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
        let last = ended.log.last().unwrap();
        assert!(last.contains("stopped, everything in hand was finished"), "{last}");
        rig.process = rig.program.start().await;
    }
    let receipts = load.receipts().await;
    rig.end(&receipts).await;
}

async fn a_process_that_is_killed_again_and_again_loses_nothing(database: TestDatabase) {
    let mut rig = Rig::new(WAYBILL, database).await;
    let mut load = Load::start(&rig.client, requests(600), IN_FLIGHT);
    for kill in 1..=5 {
        load.reached(kill * 100).await;
        rig.process.kill().await;
        rig.process = rig.program.start().await;
    }
    let receipts = load.receipts().await;
    rig.books().settled().await;
    if !rig.database.is_postgres() {
        assert_eq!(rig.database.texts("PRAGMA integrity_check").await, ["ok"]);
    }
    rig.end(&receipts).await;
}
