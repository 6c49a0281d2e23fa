//! The process dies at every point where dying could lose or double something, is started again, and
//! everything that it had acknowledged ends as it should.

use std::os::unix::process::ExitStatusExt;

use waybill_proto::v1::DispatchRequested;
use waybill_test_support::{
    TestBroker, TestDatabase,
    audit::Books,
    client::{refused_by_dispatch, refused_by_order, refused_by_payment, request},
    load::Load,
    program,
};

const SIGABRT: i32 = 6;

/// Enough of each kind that every message of the saga and every compensation is sent several times.
fn requests() -> Vec<DispatchRequested> {
    (0..40)
        .map(|n| match n % 8 {
            0 => refused_by_order(&format!("o-{n}")),
            1 => refused_by_payment(&format!("p-{n}")),
            2 => refused_by_dispatch(&format!("d-{n}")),
            _ => request(&format!("m-{n}")),
        })
        .collect()
}

async fn dies_at(point: &str, database: TestDatabase) {
    let broker = TestBroker::new().await;
    // One by one unless it says otherwise, so that each point is come by often enough.
    let (point, pack) = point.split_once(" in packs of ").unwrap_or((point, "1"));
    let sound = program(env!("CARGO_BIN_EXE_waybill"), &database, &broker).set("WAYBILL_RELAY_PACK", pack);
    let doomed = sound.clone().set("WAYBILL_TEST_FAULT", point).start().await;
    let load = Load::start(&sound.client(), requests(), 8);
    let ended = doomed.ended().await;
    assert_eq!(ended.status.signal(), Some(SIGABRT), "it died at {point}: {}", ended.status);
    let process = sound.start_whole().await;
    let receipts = load.receipts().await;
    assert_eq!(receipts.len(), requests().len());
    let books = Books::of(&database);
    books.settled().await;
    books.check(&receipts).await;
    let sagas = "SELECT count(*) FROM saga_instances WHERE state = 'COMPLETED'";
    assert_eq!(database.number(sagas).await, 25, "those that nobody refuses are completed");
    assert!(process.terminate().await.status.success());
    broker.clean().await;
}

macro_rules! dies {
    ($($fact:ident: $point:literal,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                super::dies_at($point, waybill_test_support::TestDatabase::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                super::dies_at($point, waybill_test_support::TestDatabase::postgres().await).await;
            })*
        }
    };
}

dies! {
    before_the_commit_of_an_acceptance: "before-commit/gateway.accept@2",
    after_the_commit_of_an_acceptance_and_before_the_hand_off: "after-commit/gateway.accept@2",
    after_publishing_a_request_and_before_its_confirm_is_seen: "after-publish/dispatch.requested@5",
    after_publishing_a_command_and_before_its_confirm_is_seen: "after-publish/payment.command@5",
    after_the_confirm_of_a_request_and_before_its_row_is_cleared: "after-confirm/dispatch.requested@5",
    after_the_confirm_of_a_reply_and_before_its_row_is_cleared: "after-confirm/saga.reply@9",
    before_the_commit_of_a_batch: "before-commit/consumer.apply@9",
    after_the_commit_of_a_batch_and_before_the_hand_off: "after-commit/consumer.apply@9",
    after_the_commit_of_participant_order_and_before_the_ack: "before-ack/order@2",
    after_the_commit_of_participant_payment_and_before_the_ack: "before-ack/payment@2",
    after_the_commit_of_participant_dispatch_and_before_the_ack: "before-ack/dispatch@2",
    after_the_commit_of_the_saga_and_before_the_ack: "before-ack/saga@5",
    after_publishing_packs_and_before_their_confirm_is_seen: "after-publish/order.command@5 in packs of 64",
    after_the_confirm_of_packs_and_before_their_rows_are_cleared: "after-confirm/saga.reply@9 in packs of 64",
    after_the_commit_of_packs_and_before_the_ack: "before-ack/saga@3 in packs of 64",
    before_the_commit_of_clearing_rows: "before-commit/outbox.settle@3",
    after_the_commit_of_clearing_rows: "after-commit/outbox.settle@3",
}
