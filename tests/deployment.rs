//! The same dispatches in other arrangements of processes and databases, and what the world outside sees.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use futures_util::future::join_all;
use prost::Message;
use waybill_proto::v1::{
    DispatchCancelled, DispatchCompleted, DispatchRequested, DispatchState, DispatchStuck,
};
use waybill_test_support::{
    Process, Program, Rig, TestBroker, TestDatabase,
    audit::{Books, Fate},
    client::{Client, refused_by_dispatch, refused_by_order, refused_by_payment, request, run_to_end},
    on_both_databases, program,
};

on_both_databases!(
    participants_may_have_databases_of_their_own,
    roles_may_be_split_over_processes,
    the_end_of_a_dispatch_is_told_to_whoever_listens,
    a_stuck_dispatch_is_told_too_and_its_end_when_it_is_free_again,
    six_processes_may_start_at_once_on_an_empty_database,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");

/// Runs one request of every fate, and compares with the books.
async fn every_fate(client: &Client, books: Books<'_>) {
    let requests: [(DispatchRequested, Fate); 4] = [
        (request("m-1"), Fate::Completed),
        (refused_by_order("m-2"), Fate::RefusedByOrder),
        (refused_by_payment("m-3"), Fate::RefusedByPayment),
        (refused_by_dispatch("m-4"), Fate::RefusedByDispatch),
    ];
    for (request, fate) in requests {
        let dispatch = run_to_end(client, request).await;
        assert_eq!(books.entry(&dispatch.dispatch_id).await, fate.entry());
    }
    books.settled().await;
    books.check(&[]).await;
}

async fn another_like(database: &TestDatabase) -> TestDatabase {
    if database.is_postgres() { TestDatabase::postgres().await } else { TestDatabase::sqlite().await }
}

async fn participants_may_have_databases_of_their_own(common: TestDatabase) {
    let (order, payment) = (another_like(&common).await, another_like(&common).await);
    let dispatch = another_like(&common).await;
    let rig = Rig::with(WAYBILL, common, |program| {
        program
            .set("WAYBILL_ORDER_DATABASE_URL", order.url())
            .set("WAYBILL_PAYMENT_DATABASE_URL", payment.url())
            .set("WAYBILL_DISPATCH_DATABASE_URL", dispatch.url())
    })
    .await;
    let books = Books { common: &rig.database, order: &order, payment: &payment, dispatch: &dispatch };
    every_fate(&rig.client, books).await;
    for table in ["orders", "payment_reservations", "deliveries"] {
        let rows = rig.database.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(rows, 0, "{table} in the common database");
    }
    rig.stop().await;
}

async fn roles_may_be_split_over_processes(database: TestDatabase) {
    let broker = TestBroker::new().await;
    let gateway = program(WAYBILL, &database, &broker).roles("gateway");
    let mut processes = vec![gateway.start_whole().await];
    for roles in ["saga", "order,payment", "dispatch,relay"] {
        processes.push(gateway.beside().roles(roles).start_whole().await);
    }
    every_fate(&gateway.client(), Books::of(&database)).await;
    assert_eq!(gateway.run(&["health"]).await.out, "ready\n");
    end_all(processes).await;
    assert_eq!(gateway.run(&["health", "--live"]).await.code, Some(6));
    broker.clean().await;
}

async fn the_end_of_a_dispatch_is_told_to_whoever_listens(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let everything = rig.broker.tap("dispatch.events", "dispatch.*").await;
    let cancellations = rig.broker.tap("dispatch.events", "dispatch.cancelled").await;
    let completed = run_to_end(&rig.client, request("m-1")).await;
    let cancelled = run_to_end(&rig.client, refused_by_dispatch("m-2")).await;
    rig.books().settled().await;
    let mut told = [rig.broker.next(&everything).await, rig.broker.next(&everything).await];
    told.sort_by_key(|message| message.delivery.routing_key.to_string());
    let event = DispatchCancelled::decode(told[0].delivery.data.as_slice()).unwrap();
    assert_eq!((&*event.dispatch_id, &*event.message_id), (&*cancelled.dispatch_id, "m-2"));
    assert_eq!(event.reason, cancelled.reason);
    assert_eq!(event.cancelled_at, cancelled.ended_at);
    let event = DispatchCompleted::decode(told[1].delivery.data.as_slice()).unwrap();
    assert_eq!((&*event.dispatch_id, &*event.order_id), (&*completed.dispatch_id, "order-m-1"));
    assert_eq!(event.completed_at, completed.ended_at);
    let properties = &told[1].delivery.properties;
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "dispatch.v1.DispatchCompleted");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/x-protobuf");
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), completed.dispatch_id);
    assert_eq!(properties.delivery_mode(), &Some(2), "persistent");
    let only = rig.broker.next(&cancellations).await;
    assert_eq!(only.delivery.data, told[0].delivery.data);
    assert!(rig.broker.take(&cancellations).await.is_none());
    rig.end(&[]).await;
}

async fn a_stuck_dispatch_is_told_too_and_its_end_when_it_is_free_again(database: TestDatabase) {
    // Nobody answers, neither to the first command nor to the one that would undo it.
    let rig = Rig::with(WAYBILL, database, |program| {
        program
            .roles("gateway,relay,saga")
            .set("WAYBILL_SAGA_STEP_TIMEOUT", "100ms")
            .set("WAYBILL_SAGA_STEP_ATTEMPTS", "1")
    })
    .await;
    let everything = rig.broker.tap("dispatch.events", "#").await;
    let stuck = run_to_end(&rig.client, request("m-1")).await;
    assert_eq!(stuck.state(), DispatchState::Stuck);
    let message = rig.broker.next(&everything).await;
    assert_eq!(message.delivery.routing_key.as_str(), "dispatch.stuck");
    let event = DispatchStuck::decode(message.delivery.data.as_slice()).unwrap();
    assert_eq!((&*event.dispatch_id, &*event.order_id), (&*stuck.dispatch_id, "order-m-1"));
    assert_eq!((&*event.step, &event.reason), ("accept_order", &stuck.reason));
    let others = rig.program.beside().roles("order,payment,dispatch").start_whole().await;
    let message = rig.broker.next(&everything).await;
    let event = DispatchCancelled::decode(message.delivery.data.as_slice()).unwrap();
    assert_eq!(event.dispatch_id, stuck.dispatch_id);
    rig.books().settled().await;
    assert!(rig.broker.take(&everything).await.is_none(), "each is told once");
    end_all(vec![others]).await;
    rig.end(&[]).await;
}

async fn six_processes_may_start_at_once_on_an_empty_database(database: TestDatabase) {
    database.empty().await;
    let broker = TestBroker::new().await;
    let first = program(WAYBILL, &database, &broker);
    let programs: Vec<_> = std::iter::once(first.clone()).chain((0..5).map(|_| first.beside())).collect();
    let processes = join_all(programs.iter().map(Program::start_whole)).await;
    every_fate(&programs[5].client(), Books::of(&database)).await;
    end_all(processes).await;
    broker.clean().await;
}

async fn end_all(processes: Vec<Process>) {
    for process in processes {
        let ended = process.terminate().await;
        assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
    }
}
