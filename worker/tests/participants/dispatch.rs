//! Participant `dispatch` against real databases.

use std::sync::Arc;

use tokio::sync::Barrier;
use waybill_messaging::{Envelope, Store};
use waybill_proto::v1;
use waybill_worker::{
    Dispatch,
    dispatch::{DestinationPattern, Rules},
};

use crate::support::{Db, Worker, command, on_both_databases, on_postgres, reason};

on_both_databases!(
    a_delivery_is_created_and_withdrawn_once,
    withdraw_before_create_leaves_a_mark_and_the_late_create_is_refused,
    a_destination_that_is_not_served_is_refused_and_remembered,
    a_withdrawn_delivery_frees_its_place,
    capacity_holds_with_two_workers,
);

const HELD: &str = "SELECT destination_code, count(*) FROM deliveries WHERE state = 'CREATED' \
                    GROUP BY destination_code ORDER BY destination_code";

fn worker(store: &Store, capacity: Option<u64>) -> Worker<Dispatch> {
    let refused_destinations = vec![DestinationPattern::parse("ZZ*").unwrap()];
    Worker::new(store, Dispatch::new(Rules { refused_destinations, capacity }))
}

fn create(dispatch_id: &str, destination_code: &str) -> Envelope {
    command(&v1::CreateDispatch {
        dispatch_id: dispatch_id.to_owned(),
        order_id: format!("order of {dispatch_id}"),
        destination_code: destination_code.to_owned(),
        parcel_count: 2,
    })
}

fn withdraw(dispatch_id: &str) -> Envelope {
    let order_id = format!("order of {dispatch_id}");
    command(&v1::WithdrawDispatch {
        dispatch_id: dispatch_id.to_owned(),
        order_id,
        reason: "no answer".to_owned(),
    })
}

async fn a_delivery_is_created_and_withdrawn_once(db: Db) {
    let worker = worker(db.store(), None);
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![create("d1", "BER")]).await, ["DispatchCreated"]);
        assert_eq!(db.row("deliveries", "d1").await, ("CREATED".to_owned(), String::new()));
    }
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![withdraw("d1")]).await, ["DispatchWithdrawn"]);
        assert_eq!(db.row("deliveries", "d1").await, ("WITHDRAWN".to_owned(), "no answer".to_owned()));
    }
    let replies = worker.handle(vec![create("d1", "BER")]).await.unwrap();
    assert_eq!(reason(&replies[0]), "came too late: already undone: no answer");
    assert_eq!(db.row("deliveries", "d1").await.0, "WITHDRAWN");
}

async fn withdraw_before_create_leaves_a_mark_and_the_late_create_is_refused(db: Db) {
    let worker = worker(db.store(), Some(5));
    let mark = "compensated before its command: no answer".to_owned();
    assert_eq!(worker.answers(vec![withdraw("d1")]).await, ["DispatchWithdrawn"]);
    assert_eq!(db.row("deliveries", "d1").await, ("WITHDRAWN".to_owned(), mark));
    for _ in 0..2 {
        assert_eq!(worker.answers(vec![create("d1", "BER")]).await, ["DispatchRefused"]);
        assert_eq!(db.row("deliveries", "d1").await.0, "REFUSED");
    }
    assert_eq!(worker.answers(vec![withdraw("d1")]).await, ["DispatchWithdrawn"]);
    assert_eq!(db.row("deliveries", "d1").await.0, "REFUSED");
}

async fn a_destination_that_is_not_served_is_refused_and_remembered(db: Db) {
    let answers = worker(db.store(), None).answers(vec![create("d1", "ZZ1"), create("d2", "BER")]).await;
    assert_eq!(answers, ["DispatchRefused", "DispatchCreated"]);
    let expected = ("REFUSED".to_owned(), "destination ZZ1 is not served".to_owned());
    assert_eq!(db.row("deliveries", "d1").await, expected);
    let anything_goes = Worker::new(db.store(), Dispatch::new(Rules::default()));
    assert_eq!(anything_goes.answers(vec![create("d1", "ZZ1")]).await, ["DispatchRefused"]);
}

async fn a_withdrawn_delivery_frees_its_place(db: Db) {
    let worker = worker(db.store(), Some(2));
    let (created, refused, withdrawn) = ("DispatchCreated", "DispatchRefused", "DispatchWithdrawn");
    let answers = worker.answers(vec![
        create("d1", "BER"),
        create("d2", "BER"),
        create("d3", "BER"),
        create("d4", "HAM"),
    ]);
    assert_eq!(answers.await, [created, created, refused, created]);
    assert_eq!(
        db.row("deliveries", "d3").await.1,
        "destination BER is full: it holds 2 deliveries, at most 2"
    );
    let answers =
        worker.answers(vec![create("d5", "BER"), withdraw("d1"), create("d6", "BER"), create("d7", "BER")]);
    assert_eq!(answers.await, [refused, withdrawn, created, refused]);
    assert_eq!(worker.answers(vec![withdraw("d2")]).await, [withdrawn]);
    assert_eq!(worker.answers(vec![create("d8", "BER")]).await, [created]);
    assert_eq!(db.numbers(HELD).await, [("BER".to_owned(), 2), ("HAM".to_owned(), 1)]);
}

/// Both create deliveries for the same destinations, one from the first to the last, the other back.
async fn capacity_holds_with_two_workers(db: Db) {
    let meet = Arc::new(Barrier::new(2));
    let destinations = ["BER", "CGN", "HAM", "MUC"];
    let both = ["up", "down"].map(|direction| {
        let (db, meet) = (db.clone(), Arc::clone(&meet));
        tokio::spawn(async move {
            let worker = worker(&db.another_store().await, Some(7));
            for round in 0..20 {
                let order = |n: usize| if direction == "up" { n } else { 3 - n };
                let batch = (0..4).map(|n| {
                    let destination = destinations[order(n)];
                    create(&format!("{direction} {round} {destination}"), destination)
                });
                meet.wait().await;
                worker.handle(batch.collect()).await.unwrap();
            }
            worker.runs()
        })
    });
    for task in both {
        assert_eq!(task.await.unwrap(), 20, "one waits for the other, and no run is lost to a deadlock");
    }
    assert_eq!(db.numbers(HELD).await, destinations.map(|destination| (destination.to_owned(), 7)));
    assert_eq!(db.number("SELECT count(*) FROM deliveries").await, 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_counts_what_another_is_about_to_commit() {
    on_postgres(async |db: Db| {
        let (first, second) = (worker(db.store(), Some(1)), worker(db.store(), Some(1)));
        let held = first.hold(vec![create("d1", "BER")]).await;
        assert_eq!(
            second.answers(vec![create("d2", "HAM")]).await,
            ["DispatchCreated"],
            "another destination is free"
        );
        let (late, _) = tokio::join!(second.answers(vec![create("d3", "BER")]), async {
            db.somebody_waits().await;
            held.commit().await
        });
        assert_eq!(late, ["DispatchRefused"]);
        assert_eq!(db.numbers(HELD).await, [("BER".to_owned(), 1), ("HAM".to_owned(), 1)]);
    })
    .await;
}
