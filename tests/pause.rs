//! Pausing and resuming on a real broker, with a saga under way: nothing is sent while it is paused, and all
//! ends right afterwards.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::time::Duration;

use waybill_proto::v1::DispatchReceipt;
use waybill_test_support::{
    Process, Rig, TestBroker, TestDatabase,
    audit::{Books, Fate},
    client::request,
    on_both_databases,
    patience::until,
    program,
};

on_both_databases!(
    a_pause_of_everything_holds_a_saga_up_until_it_is_resumed,
    a_pause_of_a_saga_kind_holds_a_saga_up_until_it_is_resumed,
    a_pause_of_a_participant_holds_up_what_would_be_sent_to_it,
    a_pause_of_one_dispatch_holds_it_up_until_it_is_resumed,
    what_starts_paused_accepts_everything_and_moves_nothing_until_it_is_resumed_at_a_rate,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
/// A pause takes effect within this time, says the contract, and nothing tells when it has.
const EFFECT: Duration = Duration::from_secs(1);

/// Waits for payment, which does not run yet.
async fn under_way(database: TestDatabase) -> (Rig, DispatchReceipt) {
    let rig = Rig::with(WAYBILL, database, |program| {
        program.roles("gateway,relay,saga,order,dispatch").set("WAYBILL_SAGA_STEP_TIMEOUT", "60s")
    })
    .await;
    let receipt = rig.client.clone().request_dispatch(request("m-1")).await.unwrap().into_inner();
    let waits = "SELECT count(*) FROM saga_instances WHERE current_step = 'reserve_payment'";
    until("payment is asked", async || rig.database.number(waits).await == 1).await;
    until("it is published", async || rig.database.number("SELECT count(*) FROM outbox").await == 0).await;
    (rig, receipt)
}

async fn starts_payment(rig: &Rig) -> Process {
    rig.program.beside().roles("payment").start_whole().await
}

async fn run(rig: &Rig, arguments: &[&str]) -> String {
    let ran = rig.program.run(arguments).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out
}

/// Pauses, lets payment answer, sees that nothing follows, and resumes.
async fn holds_up(database: TestDatabase, scope: impl Fn(&str) -> String) {
    let (rig, receipt) = under_way(database).await;
    let id = receipt.dispatch_id.as_str();
    let scope = scope(id);
    let commands = rig.broker.tap("dispatch", "dispatch.command").await;
    run(&rig, &["pause", &scope, "--reason", "incident"]).await;
    tokio::time::sleep(EFFECT).await;
    let payment = starts_payment(&rig).await;
    let parked = "SELECT count(*) FROM saga_parked";
    until("the answer is kept", async || rig.database.number(parked).await == 1).await;
    assert!(rig.broker.take(&commands).await.is_none(), "nothing is sent while it is paused");
    assert_eq!(rig.books().entry(id).await.delivery, "-");
    let listed = run(&rig, &["pauses"]).await;
    assert!(listed.contains(&scope) && listed.contains("incident"), "{listed}");
    let explained = run(&rig, &["explain", id]).await;
    for part in [
        format!("{scope} is paused, "),
        format!("PaymentReserved is kept until {scope} is resumed"),
        "nothing until it is resumed".to_owned(),
        format!("waybill resume {scope} --reason"),
    ] {
        assert!(explained.contains(&part), "{part}: {explained}");
    }
    run(&rig, &["resume", &scope, "--reason", "over"]).await;
    rig.books().settled().await;
    assert_eq!(rig.books().entry(id).await, Fate::Completed.entry());
    assert!(rig.broker.take(&commands).await.is_some());
    let left = "SELECT count(*) FROM saga_pauses";
    until("the pause is gone", async || rig.database.number(left).await == 0).await;
    assert_eq!(run(&rig, &["pauses"]).await, "nothing is paused\n");
    assert!(payment.terminate().await.status.success());
    rig.end(&[receipt]).await;
}

async fn a_pause_of_everything_holds_a_saga_up_until_it_is_resumed(database: TestDatabase) {
    holds_up(database, |_| "all".to_owned()).await;
}

async fn a_pause_of_a_saga_kind_holds_a_saga_up_until_it_is_resumed(database: TestDatabase) {
    holds_up(database, |_| "saga:order_fulfilment".to_owned()).await;
}

async fn a_pause_of_a_participant_holds_up_what_would_be_sent_to_it(database: TestDatabase) {
    holds_up(database, |_| "participant:dispatch".to_owned()).await;
}

async fn a_pause_of_one_dispatch_holds_it_up_until_it_is_resumed(database: TestDatabase) {
    holds_up(database, |id| format!("dispatch:{id}")).await;
}

async fn what_starts_paused_accepts_everything_and_moves_nothing_until_it_is_resumed_at_a_rate(
    database: TestDatabase,
) {
    let broker = TestBroker::new().await;
    let program = program(WAYBILL, &database, &broker);
    let process = program.paused().start_whole().await;
    let (client, books) = (program.client(), Books::of(&database));
    let mut receipts = Vec::new();
    for n in 0..20 {
        receipts.push(client.clone().request_dispatch(request(&n.to_string())).await.unwrap().into_inner());
    }
    let parked = "SELECT count(*) FROM saga_parked WHERE held_by = 'all'";
    until("all are kept", async || database.number(parked).await == 20).await;
    assert_eq!(database.number("SELECT count(*) FROM saga_instances").await, 0);
    process.tells_pause("all is paused by waybill serve --paused: started paused").await;
    let explained = program.run(&["explain", "order-7"]).await.out;
    assert!(explained.contains("accepted; its saga has not begun"), "{explained}");
    assert!(explained.contains("all is paused, ") && explained.contains("started paused"), "{explained}");
    let resumed = program.run(&["resume", "all", "--rate", "10/s", "--reason", "looks fine"]).await;
    assert!(resumed.out.contains("resuming, 10/s"), "{resumed:?}");
    books.settled().await;
    books.check(&receipts).await;
    let took = database.number("SELECT max(started_at) - min(started_at) FROM saga_instances").await;
    assert!(took >= 500_000, "no faster than was asked for: {took} us");
    until("the pause is gone", async || database.number("SELECT count(*) FROM saga_pauses").await == 0).await;
    assert!(process.terminate().await.status.success());
    broker.clean().await;
}
