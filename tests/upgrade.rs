//! An upgrade that begins with a new version of the saga, under load, and its rollback: whatever has begun
//! with either version ends as its request asks for, and what a process does not know it leaves alone.

use std::collections::BTreeMap;

use waybill_proto::v1::{DispatchReceipt, DispatchRequested};
use waybill_test_support::{
    Process, Program, Rig, TestDatabase,
    audit::Fate,
    client::{refused_by_dispatch, refused_by_payment, request},
    load::Load,
    on_both_databases,
    patience::until,
};

on_both_databases!(an_upgrade_and_its_rollback_under_load_end_every_dispatch_as_its_request_asks_for);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
/// Requests sent at a time.
const PHASE: usize = 100;
const IN_FLIGHT: usize = 16;
/// All that stays while the orchestrators are exchanged. Participants learn what is new first.
const OTHERS: &str = "gateway,relay,order,dispatch";

fn numbered(number: usize) -> (DispatchRequested, Fate) {
    let id = format!("m-{number}");
    match number % 10 {
        2 => (refused_by_payment(&id), Fate::RefusedByPayment),
        3 => (refused_by_dispatch(&id), Fate::RefusedByDispatch),
        _ => (request(&id), Fate::Completed),
    }
}

/// Starts to send the requests of that phase.
fn load(rig: &Rig, phase: usize) -> Load {
    let requests = (phase * PHASE..(phase + 1) * PHASE).map(|number| numbered(number).0).collect();
    Load::start(&rig.client, requests, IN_FLIGHT)
}

/// An orchestrator that knows version 1 only, as the last release did.
fn old(rig: &Rig) -> Program {
    let saga = rig.program.beside().roles("saga");
    saga.set("WAYBILL_SAGA_VERSIONS", "1").set("WAYBILL_SAGA_BEGIN_VERSION", "1")
}

/// One that knows both, and begins with version 2.
fn new(rig: &Rig) -> Program {
    rig.program.beside().roles("saga")
}

async fn stop(process: Process) {
    let ended = process.terminate().await;
    assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
}

/// How many have begun with a version, and how many of them have not ended.
async fn count(rig: &Rig, version: u32) -> (i64, i64) {
    let all = format!("SELECT count(*) FROM saga_instances WHERE definition_version = {version}");
    let open = format!("{all} AND ended_at = 0");
    (rig.database.number(&all).await, rig.database.number(&open).await)
}

async fn parked(rig: &Rig) -> i64 {
    rig.database.number("SELECT count(*) FROM saga_parked").await
}

async fn an_upgrade_and_its_rollback_under_load_end_every_dispatch_as_its_request_asks_for(
    database: TestDatabase,
) {
    // No step is sent twice, or undone, just because somebody is stopped for a while.
    let rig =
        Rig::with(WAYBILL, database, |program| program.roles(OTHERS).set("WAYBILL_SAGA_STEP_TIMEOUT", "60s"))
            .await;
    let payment = rig.program.beside().roles("payment");
    let paying = payment.start_whole().await;
    let mut receipts: Vec<DispatchReceipt> = Vec::new();

    // Version 1 alone, then both side by side, as a rolling upgrade has them, then the new one alone.
    let first = old(&rig).start_whole().await;
    receipts.extend(load(&rig, 0).receipts().await);
    let second = new(&rig).start_whole().await;
    let mut phase = load(&rig, 1);
    phase.reached(PHASE / 3).await;
    stop(first).await;
    receipts.extend(phase.receipts().await);
    rig.books().settled().await;
    let (ones, twos) = (count(&rig, 1).await, count(&rig, 2).await);
    assert!(ones.0 > 0 && twos.0 > 0, "both have begun some: {ones:?} {twos:?}");

    // Nobody pays for a while, so that there is something under way when it is rolled back.
    stop(paying).await;
    receipts.extend(load(&rig, 2).receipts().await);
    until("sagas of version 2 under way", async || count(&rig, 2).await.1 > 0).await;
    let third = old(&rig).start_whole().await;
    let mut phase = load(&rig, 3);
    phase.reached(PHASE / 3).await;
    stop(second).await;
    receipts.extend(phase.receipts().await);
    let waiting = count(&rig, 2).await;
    let paying = payment.start_whole().await;
    until("the end of version 1", async || {
        let (all, open) = count(&rig, 1).await;
        all > ones.0 && open == 0
    })
    .await;
    until("answers to version 2 that nobody understands", async || parked(&rig).await > 0).await;
    assert_eq!(count(&rig, 2).await, waiting, "the old release has not touched what it does not know");

    // Both again, under load, and then everything ends.
    let fourth = new(&rig).start_whole().await;
    receipts.extend(load(&rig, 4).receipts().await);
    rig.books().settled().await;
    assert_eq!((parked(&rig).await, count(&rig, 1).await.1, count(&rig, 2).await.1), (0, 0, 0));
    check(&rig, &receipts).await;
    for process in [third, fourth, paying] {
        stop(process).await;
    }
    rig.end(&receipts).await;
}

/// Every outcome, and who has captured: version 2 what has completed, version 1 nothing.
async fn check(rig: &Rig, receipts: &[DispatchReceipt]) {
    let by_message: BTreeMap<String, Fate> =
        (0..5 * PHASE).map(numbered).map(|(request, fate)| (request.message_id, fate)).collect();
    let expected =
        receipts.iter().map(|receipt| (receipt.dispatch_id.clone(), by_message[&receipt.message_id]));
    rig.books().compare(&expected.collect()).await;
    let wrong = "SELECT i.dispatch_id FROM saga_instances i JOIN payment_reservations p \
                 ON p.dispatch_id = i.dispatch_id WHERE (p.captured_at > 0) <> \
                 (i.definition_version = 2 AND i.state = 'COMPLETED')";
    assert_eq!(
        rig.database.texts(wrong).await,
        Vec::<String>::new(),
        "captured, or not, against its version"
    );
}
