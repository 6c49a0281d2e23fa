//! Participant `payment` against real databases.

use std::sync::Arc;

use tokio::sync::Barrier;
use waybill_messaging::{Envelope, Store};
use waybill_proto::v1;
use waybill_worker::{Money, Payment, payment::Rules};

use crate::support::{Db, Worker, command, name, on_both_databases, on_postgres, reason};

on_both_databases!(
    what_was_reserved_is_given_back_exactly_once,
    release_before_reserve_leaves_a_mark_and_the_late_reserve_is_refused,
    a_declined_payment_names_amount_limit_and_what_is_reserved,
    one_batch_shares_one_limit,
    a_reserved_payment_is_captured_once_and_stays_reserved,
    two_workers_never_exceed_the_credit_limit,
);

const BALANCES: &str = "SELECT customer_id, reserved_minor_units FROM payment_accounts ORDER BY customer_id";

fn worker(store: &Store) -> Worker<Payment> {
    let (credit_limit, tariff) = (Money::new("EUR", 100_000), Money::new("EUR", 490));
    Worker::new(store, Payment::new(Rules { credit_limit, tariff }))
}

fn reserve(dispatch_id: &str, customer_id: &str, minor_units: i64) -> Envelope {
    command(&v1::ReservePayment {
        dispatch_id: dispatch_id.to_owned(),
        order_id: format!("order of {dispatch_id}"),
        customer_id: customer_id.to_owned(),
        amount: Some(v1::Money { currency_code: "EUR".to_owned(), minor_units }),
        parcel_count: 1,
    })
}

fn release(dispatch_id: &str) -> Envelope {
    let order_id = format!("order of {dispatch_id}");
    command(&v1::ReleasePayment { dispatch_id: dispatch_id.to_owned(), order_id, reason: String::new() })
}

fn capture(dispatch_id: &str) -> Envelope {
    let order_id = format!("order of {dispatch_id}");
    command(&v1::CapturePayment { dispatch_id: dispatch_id.to_owned(), order_id })
}

async fn balances(db: &Db) -> Vec<(String, i64)> {
    db.numbers(BALANCES).await
}

fn balance(customer_id: &str, minor_units: i64) -> (String, i64) {
    (customer_id.to_owned(), minor_units)
}

async fn a_reserved_payment_is_captured_once_and_stays_reserved(db: Db) {
    let worker = worker(db.store());
    let (reserved, captured) = ("PaymentReserved", "PaymentCaptured");
    worker.answers(vec![reserve("d1", "c1", 5_000), reserve("d2", "c1", 1_000)]).await;
    assert_eq!(
        worker.answers(vec![capture("d1"), reserve("d3", "", 1), capture("d3")]).await,
        [captured, reserved, captured]
    );
    let dates = "SELECT dispatch_id, captured_at FROM payment_reservations ORDER BY dispatch_id";
    let first = db.numbers(dates).await;
    assert!(first[0].1 > 0 && first[1].1 == 0 && first[2].1 > 0, "{first:?}");
    assert_eq!(worker.answers(vec![capture("d1"), reserve("d1", "c1", 5_000)]).await, [captured, reserved]);
    assert_eq!(db.numbers(dates).await, first, "the second time changes nothing");
    assert_eq!(db.row("payment_reservations", "d1").await, ("RESERVED".to_owned(), String::new()));
    assert_eq!(balances(&db).await, [balance("c1", 6_000)], "what is captured counts like what is reserved");
    for wrong in [release("d1"), capture("nobody")] {
        assert!(worker.handle(vec![wrong]).await.is_err());
    }
}

async fn what_was_reserved_is_given_back_exactly_once(db: Db) {
    let worker = worker(db.store());
    worker.answers(vec![reserve("d0", "c1", 5_000)]).await;
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![reserve("d1", "c1", 12_050)]).await, ["PaymentReserved"]);
        assert_eq!(balances(&db).await, [balance("c1", 17_050)]);
    }
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![release("d1")]).await, ["PaymentReleased"]);
        assert_eq!(balances(&db).await, [balance("c1", 5_000)]);
    }
    assert_eq!(db.row("payment_reservations", "d1").await, ("RELEASED".to_owned(), String::new()));
    let replies = worker.handle(vec![reserve("d1", "c1", 12_050)]).await.unwrap();
    assert_eq!(reason(&replies[0]), "came too late: already undone");
    assert_eq!(db.row("payment_reservations", "d1").await.0, "RELEASED");
    assert_eq!(balances(&db).await, [balance("c1", 5_000)]);
}

async fn release_before_reserve_leaves_a_mark_and_the_late_reserve_is_refused(db: Db) {
    let worker = worker(db.store());
    let mark = "compensated before its command".to_owned();
    assert_eq!(worker.answers(vec![release("d1")]).await, ["PaymentReleased"]);
    assert_eq!(db.row("payment_reservations", "d1").await, ("RELEASED".to_owned(), mark));
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![reserve("d1", "c1", 100)]).await, ["PaymentDeclined"]);
        assert_eq!(db.row("payment_reservations", "d1").await.0, "REFUSED");
    }
    assert_eq!(worker.answers(vec![release("d1")]).await, ["PaymentReleased"]);
    assert_eq!(db.row("payment_reservations", "d1").await.0, "REFUSED");
    assert_eq!(db.number("SELECT count(*) FROM payment_accounts WHERE reserved_minor_units > 0").await, 0);
}

async fn a_declined_payment_names_amount_limit_and_what_is_reserved(db: Db) {
    let worker = worker(db.store());
    let replies =
        worker.handle(vec![reserve("d1", "c1", 12_050), reserve("d2", "c1", 500_000)]).await.unwrap();
    let expected = "5000.00 EUR exceed the credit limit of 1000.00 EUR (120.50 EUR reserved)";
    assert_eq!((name(&replies[1]), reason(&replies[1]).as_str()), ("PaymentDeclined", expected));
    assert_eq!(db.row("payment_reservations", "d2").await, ("REFUSED".to_owned(), expected.to_owned()));
    assert_eq!(balances(&db).await, [balance("c1", 12_050)]);
}

async fn one_batch_shares_one_limit(db: Db) {
    let worker = worker(db.store());
    worker.answers(vec![reserve("d0", "c1", 60_000)]).await;
    let batch = vec![
        reserve("d1", "c1", 50_000),
        reserve("d2", "c2", 100_000),
        release("d0"),
        reserve("d3", "c1", 50_000),
        release("d3"),
        reserve("d4", "c1", 70_000),
        reserve("d5", "", 100_000),
    ];
    let (reserved, declined, released) = ("PaymentReserved", "PaymentDeclined", "PaymentReleased");
    let answers = worker.answers(batch).await;
    assert_eq!(answers, [declined, reserved, released, reserved, released, reserved, reserved]);
    assert_eq!(balances(&db).await, [balance("c1", 70_000), balance("c2", 100_000)]);
}

/// Both reserve a quarter of the limit for the same customers, four times each: one from the first customer
/// to the last, the other back. Every fourth round the customers are new.
async fn two_workers_never_exceed_the_credit_limit(db: Db) {
    let meet = Arc::new(Barrier::new(2));
    let both = ["up", "down"].map(|direction| {
        let (db, meet) = (db.clone(), Arc::clone(&meet));
        tokio::spawn(async move {
            let worker = worker(&db.another_store().await);
            for round in 0..60 {
                let mut batch: Vec<Envelope> = (0..4).map(|n| quarter(direction, round, n)).collect();
                if direction == "down" {
                    batch.reverse();
                }
                meet.wait().await;
                worker.handle(batch).await.unwrap();
            }
            worker.runs()
        })
    });
    for task in both {
        let runs = task.await.unwrap();
        assert!(
            runs <= 2 * 60,
            "who comes second waits in the next run, and none is lost to a deadlock: {runs}"
        );
    }
    let accounts = balances(&db).await;
    assert_eq!(accounts.len(), 60);
    assert!(accounts.iter().all(|(_, reserved)| *reserved == 100_000), "{accounts:?}");
    let counts = "SELECT customer_id, count(*) FROM payment_reservations WHERE state = 'RESERVED' \
                  GROUP BY customer_id";
    assert!(db.numbers(counts).await.iter().all(|(_, count)| *count == 4));
    assert_eq!(db.number("SELECT count(*) FROM payment_reservations").await, 480);
}

fn quarter(direction: &str, round: usize, n: usize) -> Envelope {
    reserve(&format!("{direction} {round} {n}"), &format!("c{} {n}", round / 4), 25_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_waits_for_the_uncommitted_one_on_the_same_new_account() {
    on_postgres(async |db: Db| {
        let (first, second) = (worker(db.store()), worker(db.store()));
        let held = first.hold(vec![reserve("d1", "c1", 60_000)]).await;
        let (late, _) = tokio::join!(second.answers(vec![reserve("d2", "c1", 60_000)]), async {
            db.somebody_waits().await;
            held.commit().await
        });
        assert_eq!(late, ["PaymentDeclined"]);
        assert_eq!(balances(&db).await, [balance("c1", 60_000)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_sees_what_a_release_gives_back_at_the_same_time() {
    on_postgres(async |db: Db| {
        let (first, second) = (worker(db.store()), worker(db.store()));
        first.answers(vec![reserve("d1", "c1", 60_000)]).await;
        let held = first.hold(vec![release("d1")]).await;
        let (late, _) = tokio::join!(second.answers(vec![reserve("d2", "c1", 60_000)]), async {
            db.somebody_waits().await;
            held.commit().await
        });
        assert_eq!(late, ["PaymentReserved"]);
        assert_eq!(balances(&db).await, [balance("c1", 60_000)]);
    })
    .await;
}
