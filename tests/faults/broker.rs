//! The broker is away, is cut off, is slow, falls silent, crashes, and forgets.

use std::time::Duration;

use waybill_test_support::{
    Node, Proxy, Rig, TestBroker, TestDatabase, Way,
    audit::Books,
    load::Load,
    on_both_databases,
    patience::{in_time, until},
    program,
};

use crate::{IN_FLIGHT, WAYBILL, requests};

on_both_databases!(
    intake_goes_on_while_the_broker_is_away_and_everything_ends_after_it_comes,
    everything_ends_when_the_broker_is_cut_off_again_and_again,
    a_slow_broker_only_takes_longer,
    everything_ends_when_queues_are_deleted_under_load,
    everything_ends_when_the_broker_forgets_what_it_holds,
    every_kind_of_message_is_sent_again_that_the_broker_lost,
);

async fn intake_goes_on_while_the_broker_is_away_and_everything_ends_after_it_comes(database: TestDatabase) {
    let broker = TestBroker::new().await;
    let proxy = Proxy::for_url(broker.url()).await;
    proxy.close();
    let program = program(WAYBILL, &database, &broker).set("WAYBILL_AMQP_URL", &proxy.url(broker.url()));
    let process = program.start().await;
    let client = program.client();
    let receipts = Load::start(&client, requests(50), IN_FLIGHT).receipts().await;
    let waiting = database.number("SELECT count(*) FROM outbox").await;
    assert_eq!(waiting, 50, "accepted, and kept for the broker");
    proxy.open();
    let rig = Rig { database, broker, program, process, client };
    rig.end(&receipts).await;
}

/// A rig whose process reaches the broker through a proxy.
async fn by_proxy(database: TestDatabase) -> (Rig, Proxy) {
    let broker = TestBroker::new().await;
    let proxy = Proxy::for_url(broker.url()).await;
    let program = program(WAYBILL, &database, &broker).set("WAYBILL_AMQP_URL", &proxy.url(broker.url()));
    let process = program.start_whole().await;
    let client = program.client();
    (Rig { database, broker, program, process, client }, proxy)
}

async fn everything_ends_when_the_broker_is_cut_off_again_and_again(database: TestDatabase) {
    let (rig, proxy) = by_proxy(database).await;
    let mut load = Load::start(&rig.client, requests(400), IN_FLIGHT);
    for receipts in [50, 150, 250, 350] {
        load.reached(receipts).await;
        proxy.cut();
    }
    let receipts = load.receipts().await;
    rig.end(&receipts).await;
}

async fn a_slow_broker_only_takes_longer(database: TestDatabase) {
    let (rig, proxy) = by_proxy(database).await;
    proxy.delay(Way::ToClient, Duration::from_millis(20));
    proxy.throttle(Way::ToServer, 200_000);
    let receipts = Load::start(&rig.client, requests(100), IN_FLIGHT).receipts().await;
    rig.end(&receipts).await;
}

async fn everything_ends_when_queues_are_deleted_under_load(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let mut load = Load::start(&rig.client, requests(400), IN_FLIGHT);
    for (receipts, queue) in [(100, "order"), (250, "payment")] {
        load.reached(receipts).await;
        rig.broker.delete(queue).await;
    }
    let receipts = load.receipts().await;
    rig.end(&receipts).await;
}

/// Requests that are lost on their way to the saga are sent again after half a minute: this takes so long.
async fn everything_ends_when_the_broker_forgets_what_it_holds(database: TestDatabase) {
    // Little is taken ahead, so that much is in the queues when they are emptied.
    let rig = Rig::with(WAYBILL, database, |program| {
        program.set("WAYBILL_CONSUMER_PREFETCH", "4").set("WAYBILL_CONSUMER_BATCH", "4")
    })
    .await;
    let mut load = Load::start(&rig.client, requests(400), IN_FLIGHT);
    for receipts in [100, 200, 300] {
        load.reached(receipts).await;
        for queue in ["saga", "order", "payment", "dispatch"] {
            rig.broker.purge(queue).await;
        }
    }
    let receipts = load.receipts().await;
    rig.end(&receipts).await;
}

/// Nobody takes the messages of the kind in question, so all of them are in their queue when it is emptied:
/// first the requests, then the commands, then the replies.
async fn every_kind_of_message_is_sent_again_that_the_broker_lost(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, |program| program.roles("gateway,relay")).await;
    let receipts = Load::start(&rig.client, requests(20), IN_FLIGHT).receipts().await;
    lose(&rig, "saga", 20).await;
    let saga = rig.program.beside().roles("saga").start_whole().await;
    commanded(&rig, 20).await;
    lose(&rig, "order", 20).await;
    assert!(saga.terminate().await.status.success());
    let order = rig.program.beside().roles("order").start_whole().await;
    // Its first command comes when the saga is back, and its replies come back when the saga is gone again.
    let saga = rig.program.beside().roles("saga").start_whole().await;
    until("orders", async || rig.database.number("SELECT count(*) FROM orders").await > 0).await;
    saga.kill().await;
    rig.broker.purge("saga").await;
    let others = rig.program.beside().roles("saga,payment,dispatch").start_whole().await;
    rig.books().settled().await;
    for process in [order, others] {
        assert!(process.terminate().await.status.success());
    }
    rig.end(&receipts).await;
}

/// Waits until so many messages have left the outbox for a queue that nobody consumes, and empties it.
async fn lose(rig: &Rig, queue: &str, messages: u32) {
    let outbox = "SELECT count(*) FROM outbox";
    until("published", async || rig.database.number(outbox).await == 0).await;
    assert_eq!(rig.broker.purge(queue).await, messages, "lost from queue {queue}");
}

async fn commanded(rig: &Rig, count: i64) {
    let sql = "SELECT count(*) FROM saga_instances WHERE current_step = 'accept_order'";
    until("commands", async || rig.database.number(sql).await == count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_ends_when_the_broker_crashes() {
    let (node, database) = (Node::start().await, TestDatabase::postgres().await);
    let broker = TestBroker::at(node.url()).await;
    let program = program(WAYBILL, &database, &broker);
    // RabbitMQ may lose a quorum queue that it was killed half a second after making: this is not about that.
    let first = program.start_whole().await;
    node.restart().await;
    let mut load = Load::start(&program.client(), requests(400), IN_FLIGHT);
    for receipts in [100, 250] {
        load.reached(receipts).await;
        node.kill().await;
        first.down("broker").await;
        node.start_again().await;
        first.up("relay").await;
    }
    let receipts = load.receipts().await;
    Books::of(&database).settled().await;
    Books::of(&database).check(&receipts).await;
    assert!(first.terminate().await.status.success());
}

/// Nothing of it is left, not even that there were queues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_ends_when_the_broker_loses_its_disk() {
    let (node, database) = (Node::start().await, TestDatabase::postgres().await);
    let broker = TestBroker::at(node.url()).await;
    // What was lost is asked for again soon, and no step is given up because the broker was away for long.
    let program = program(WAYBILL, &database, &broker)
        .set("WAYBILL_SAGA_STEP_TIMEOUT", "1s")
        .set("WAYBILL_SAGA_STEP_ATTEMPTS", "1000");
    let process = program.start_whole().await;
    let mut load = Load::start(&program.client(), requests(300), IN_FLIGHT);
    load.reached(150).await;
    node.lose_disk().await;
    process.down("broker").await;
    node.start_again().await;
    process.up("relay").await;
    let receipts = load.receipts().await;
    Books::of(&database).settled().await;
    Books::of(&database).check(&receipts).await;
    assert!(process.terminate().await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intake_goes_on_during_an_alarm_of_the_broker_and_everything_ends_after_it() {
    let (node, database) = (Node::start().await, TestDatabase::postgres().await);
    let broker = TestBroker::at(node.url()).await;
    // Longer than this the alarm lasts: a connection that is waited for is not given up.
    let program = program(WAYBILL, &database, &broker).set("WAYBILL_RELAY_CONFIRM_TIMEOUT", "1s");
    let process = program.start_whole().await;
    node.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    // It blocks who publishes, so it takes a first message.
    let receipts = Load::start(&program.client(), requests(200), IN_FLIGHT).receipts().await;
    process.down("broker").await;
    process.up("broker-consume").await;
    assert!(process.is_ready().await, "intake goes on");
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    process.up("broker").await;
    Books::of(&database).settled().await;
    Books::of(&database).check(&receipts).await;
    let ended = process.terminate().await;
    assert!(ended.status.success());
    let blocked = ended.log.iter().filter(|line| line.contains("blocked by the broker")).count();
    assert_eq!(blocked, 1, "one connection, blocked once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_takes_nothing_holds_up_only_what_goes_there() {
    let (node, database) = (Node::start().await, TestDatabase::postgres().await);
    let broker = TestBroker::at(node.url()).await;
    let program = program(WAYBILL, &database, &broker)
        .set("WAYBILL_RELAY_CONFIRM_TIMEOUT", "2s")
        // Nothing is sent again or given up meanwhile: what waits is what was sent.
        .set("WAYBILL_SAGA_STEP_TIMEOUT", "5m");
    let process = program.start_whole().await;
    // The process behind the queue, as if its node were busy with something else for ever.
    let queue = format!("{{'%2F_{}payment', node()}}", broker.prefix());
    node.ctl(&["eval", &format!("sys:suspend({queue}).")]).await;
    // More than the window of one queue, and more than RabbitMQ takes for it before it stops reading.
    let mut load = Load::start(&program.client(), requests(1_000), IN_FLIGHT);
    load.reached(500).await;
    process.down("relay").await;
    let receipts = load.receipts().await;
    let replied = "SELECT count(*) FROM saga_instances WHERE current_step = 'reserve_payment'";
    until("the order's answer to everybody", async || database.number(replied).await == 1_000).await;
    node.ctl(&["eval", &format!("sys:resume({queue}).")]).await;
    process.up("relay").await;
    Books::of(&database).settled().await;
    Books::of(&database).check(&receipts).await;
    let ended = process.terminate().await;
    assert!(ended.status.success());
    let given_up = ended.log.iter().any(|line| line.contains(r#""part":"broker","reason""#));
    assert!(!given_up, "the others' connection was kept");
}

/// As RabbitMQ does while a queue that it publishes to has no leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_broker_no_longer_reads_is_given_up() {
    let (broker, database) = (TestBroker::new().await, TestDatabase::postgres().await);
    let proxy = Proxy::for_url(broker.url()).await;
    // No heartbeat: a real broker goes on sending its own.
    let url = format!("{}?heartbeat=600", proxy.url(broker.url()));
    let program = program(WAYBILL, &database, &broker)
        .set("WAYBILL_AMQP_URL", &url)
        .set("WAYBILL_RELAY_CONFIRM_TIMEOUT", "1s");
    // The connection that publishes, by its name and length.
    let frozen = proxy.freeze_after(&[b"\x0ewaybill broker", b"dispatch.v1.DispatchRequested"]);
    let process = program.start_whole().await;
    let client = program.client();
    let receipts = Load::start(&client, requests(20), IN_FLIGHT).receipts().await;
    in_time("the first publication", frozen).await.unwrap();
    let rig = Rig { database, broker, program, process, client };
    rig.end(&receipts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_falls_silent_is_noticed_by_its_heartbeat() {
    let (broker, database) = (TestBroker::new().await, TestDatabase::postgres().await);
    let proxy = Proxy::for_url(broker.url()).await;
    let url = format!("{}?heartbeat=2", proxy.url(broker.url()));
    let program = program(WAYBILL, &database, &broker).set("WAYBILL_AMQP_URL", &url);
    let process = program.start_whole().await;
    let client = program.client();
    let mut load = Load::start(&client, requests(200), IN_FLIGHT);
    load.reached(100).await;
    proxy.swallow(Way::ToServer);
    proxy.swallow(Way::ToClient);
    process.down("broker").await;
    process.down("broker-consume").await;
    proxy.open();
    let receipts = load.receipts().await;
    let rig = Rig { database, broker, program, process, client };
    rig.end(&receipts).await;
}
