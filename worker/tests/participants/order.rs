//! Participant `order` against real databases.

use waybill_messaging::{Envelope, Failure, StoreError};
use waybill_proto::v1;
use waybill_worker::{Order, order::Rules};

use crate::support::{Db, Worker, command, on_both_databases, on_postgres, reason};

on_both_databases!(
    an_order_is_accepted_and_completed_once,
    cancel_before_accept_leaves_a_mark_and_the_late_accept_is_refused,
    in_one_batch_a_cancelled_order_makes_room_for_its_successor,
    what_one_message_of_a_batch_decides_the_next_one_sees,
    a_batch_of_many_orders_is_written_whole,
    a_message_that_fails_leaves_nothing_of_its_batch,
);

fn worker(db: &Db) -> Worker<Order> {
    Worker::new(db.store(), Order::new(Rules { blocked_customers: ["bad".to_owned()].into() }))
}

fn accept(dispatch_id: &str, order_id: &str) -> Envelope {
    let (dispatch_id, order_id) = (dispatch_id.to_owned(), order_id.to_owned());
    command(&v1::AcceptOrder { dispatch_id, order_id, ..v1::AcceptOrder::default() })
}

fn cancel(dispatch_id: &str, order_id: &str) -> Envelope {
    let (dispatch_id, order_id) = (dispatch_id.to_owned(), order_id.to_owned());
    command(&v1::CancelOrder { dispatch_id, order_id, reason: "changed my mind".to_owned() })
}

fn complete(dispatch_id: &str, order_id: &str) -> Envelope {
    let (dispatch_id, order_id) = (dispatch_id.to_owned(), order_id.to_owned());
    command(&v1::CompleteOrder { dispatch_id, order_id })
}

async fn an_order_is_accepted_and_completed_once(db: Db) {
    let worker = worker(&db);
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![accept("d1", "o1")]).await, ["OrderAccepted"]);
    }
    assert_eq!(db.row("orders", "d1").await, ("ACCEPTED".to_owned(), String::new()));
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![complete("d1", "o1")]).await, ["OrderCompleted"]);
    }
    assert_eq!(db.row("orders", "d1").await, ("COMPLETED".to_owned(), String::new()));
    assert_eq!(worker.answers(vec![accept("d1", "o1")]).await, ["OrderAccepted"]);
    assert_eq!(worker.answers(vec![accept("d2", "o1")]).await, ["OrderRejected"]);
}

async fn cancel_before_accept_leaves_a_mark_and_the_late_accept_is_refused(db: Db) {
    let worker = worker(&db);
    let mark = "compensated before its command: changed my mind";
    assert_eq!(worker.answers(vec![cancel("d1", "o1")]).await, ["OrderCancelled"]);
    assert_eq!(db.row("orders", "d1").await, ("CANCELLED".to_owned(), mark.to_owned()));
    for _ in 0..2 {
        let replies = worker.handle(vec![accept("d1", "o1")]).await.unwrap();
        assert_eq!(reason(&replies[0]), format!("came too late: {mark}"));
        assert_eq!(db.row("orders", "d1").await, ("REFUSED".to_owned(), format!("came too late: {mark}")));
    }
    assert_eq!(worker.answers(vec![cancel("d1", "o1")]).await, ["OrderCancelled"]);
    assert_eq!(db.row("orders", "d1").await.0, "REFUSED");
}

async fn in_one_batch_a_cancelled_order_makes_room_for_its_successor(db: Db) {
    let worker = worker(&db);
    worker.answers(vec![accept("d1", "o1")]).await;
    let answers = worker.answers(vec![accept("d2", "o1"), cancel("d1", "o1"), accept("d3", "o1")]).await;
    assert_eq!(answers, ["OrderRejected", "OrderCancelled", "OrderAccepted"]);
    assert_eq!(db.row("orders", "d1").await, ("CANCELLED".to_owned(), "changed my mind".to_owned()));
    assert_eq!(db.row("orders", "d2").await.0, "REFUSED");
    assert_eq!(db.row("orders", "d3").await.0, "ACCEPTED");
    assert_eq!(worker.answers(vec![accept("d1", "o1")]).await, ["OrderRejected"]);
    assert_eq!(db.row("orders", "d1").await.0, "CANCELLED", "done and undone stays so");
}

async fn what_one_message_of_a_batch_decides_the_next_one_sees(db: Db) {
    let worker = worker(&db);
    let batch = vec![
        accept("d1", "o1"),
        accept("d2", "o1"),
        complete("d1", "o1"),
        cancel("d3", "o3"),
        accept("d3", "o3"),
    ];
    let answers = worker.answers(batch).await;
    assert_eq!(
        answers,
        ["OrderAccepted", "OrderRejected", "OrderCompleted", "OrderCancelled", "OrderRejected"]
    );
    assert_eq!(db.row("orders", "d1").await.0, "COMPLETED");
    assert_eq!(db.row("orders", "d2").await.1, "order o1 is already being handled by dispatch d1");
    assert_eq!(db.row("orders", "d3").await.0, "REFUSED");
}

async fn a_batch_of_many_orders_is_written_whole(db: Db) {
    let worker = worker(&db);
    let names: Vec<String> = (0..150).map(|n| format!("n{n}")).collect();
    let answers = worker.answers(names.iter().map(|id| accept(id, id)).collect()).await;
    assert!(answers.iter().all(|answer| answer == "OrderAccepted"));
    let answers = worker.answers(names.iter().map(|id| complete(id, id)).collect()).await;
    assert!(answers.iter().all(|answer| answer == "OrderCompleted"));
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'COMPLETED'").await, 150);
}

async fn a_message_that_fails_leaves_nothing_of_its_batch(db: Db) {
    let worker = worker(&db);
    let outcome = worker.handle(vec![accept("d1", "o1"), complete("d2", "o2")]).await;
    let expected = Failure::Permanent("order o2 of dispatch d2 was never accepted".to_owned());
    assert_eq!(outcome, Err(StoreError::Failed(expected)));
    assert_eq!(db.number("SELECT count(*) FROM orders").await, 0);
    worker.answers(vec![accept("d1", "o1"), complete("d1", "o1")]).await;
    let outcome = worker.handle(vec![cancel("d1", "o1")]).await;
    assert!(matches!(outcome, Err(StoreError::Failed(Failure::Permanent(_)))), "{outcome:?}");
    assert_eq!(db.row("orders", "d1").await.0, "COMPLETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_never_open_one_order_twice() {
    on_postgres(async |db: Db| {
        let (first, second) = (worker(&db), worker(&db));
        let held = first.hold(vec![accept("d1", "o1")]).await;
        let (late, _) = tokio::join!(second.answers(vec![accept("d2", "o1")]), async {
            db.somebody_waits().await;
            held.commit().await
        });
        assert_eq!(late, ["OrderRejected"]);
        assert_eq!(db.row("orders", "d2").await.1, "order o1 is already being handled by dispatch d1");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_and_cancel_at_once_end_as_if_one_after_the_other() {
    on_postgres(async |db: Db| {
        let (first, second) = (worker(&db), worker(&db));
        let held = first.hold(vec![accept("d1", "o1")]).await;
        let (late, _) = tokio::join!(second.answers(vec![cancel("d1", "o1")]), async {
            db.somebody_waits().await;
            held.commit().await
        });
        assert_eq!(late, ["OrderCancelled"]);
        assert_eq!(db.row("orders", "d1").await, ("CANCELLED".to_owned(), "changed my mind".to_owned()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_and_cancel_at_once_do_not_both_happen() {
    on_postgres(async |db: Db| {
        let (first, second) = (worker(&db), worker(&db));
        first.answers(vec![accept("d1", "o1")]).await;
        let held = first.hold(vec![cancel("d1", "o1")]).await;
        let (late, _) = tokio::join!(second.handle(vec![complete("d1", "o1")]), async {
            db.somebody_waits().await;
            held.commit().await
        });
        let expected = "order o1 of dispatch d1 is CANCELLED, not ACCEPTED".to_owned();
        assert_eq!(late, Err(StoreError::Failed(Failure::Permanent(expected))));
        assert_eq!(db.row("orders", "d1").await.0, "CANCELLED");
    })
    .await;
}
