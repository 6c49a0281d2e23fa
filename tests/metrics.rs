//! What an operator's monitoring sees: the text is well formed, counters are there before anything happens,
//! and each outcome of publishing, accepting and handling is counted as what it is.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::{collections::BTreeSet, path::Path, process::Stdio};

use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{io::AsyncWriteExt as _, process::Command};
use waybill_gateway::auth::hash_of;
use waybill_proto::v1::{DispatchRequested, ListDispatchesRequest, WatchDispatchRequest};
use waybill_test_support::{
    Process, Proxy, Rig, TestBroker, TestDatabase, Way,
    client::{Client, refused_by_dispatch, request, run_to_end},
    collector::Collector,
    http, on_both_databases,
    patience::until,
    program, tool,
};

on_both_databases!(
    every_counter_is_there_at_0_before_anything_happens,
    every_outcome_of_a_request_is_counted,
    every_outcome_of_a_delivery_is_counted,
    every_outcome_of_a_publication_is_counted,
    a_publication_whose_confirm_is_lost_counts_as_unknown,
    what_waits_in_the_outbox_is_told_by_state_and_routing_key,
    sagas_are_told_by_state,
    metrics_are_exported_to_a_collector,
    alerts_and_dashboard_ask_for_what_there_is,
    prometheus_own_checker_finds_nothing_wrong,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const REQUESTS: &str = "waybill_gateway_requests_total";
const TURNED_AWAY: &str = "waybill_gateway_turned_away_total";
const DELIVERIES: &str = "waybill_consumer_messages_total";
const PUBLICATIONS: &str = "waybill_relay_publications_total";

/// Waits until a counter has reached a value.
async fn counted(process: &Process, name: &str, labels: &[(&str, &str)], least: f64) {
    process
        .measures(&format!("{name} {labels:?}"), |scrape| {
            scrape.find(name, labels).is_some_and(|value| value >= least)
        })
        .await;
}

async fn published(process: &Process, outcome: &str, least: f64) {
    counted(process, PUBLICATIONS, &[("outcome", outcome)], least).await;
}

async fn delivered(rig: &Rig, queue: &str, outcome: &str, least: f64) {
    let queue = rig.broker.name(queue);
    let labels = [("messaging_destination_name", queue.as_str()), ("outcome", outcome)];
    counted(&rig.process, DELIVERIES, &labels, least).await;
}

async fn ask(client: &Client, request: DispatchRequested) -> Result<(), tonic::Status> {
    client.clone().request_dispatch(request).await.map(|_| ())
}

async fn every_counter_is_there_at_0_before_anything_happens(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let scrape = rig.process.scrape().await;
    let counters: Vec<_> = scrape.counters().collect();
    for (series, value) in &counters {
        // A process asks its database now and then by itself, and whoever asks for this makes a connection.
        if series.starts_with("waybill_store_") || series.starts_with("waybill_connections_") {
            continue;
        }
        assert!(*value == 0.0, "{series} is {value} before anything has happened");
    }
    for outcome in ["accepted", "duplicate", "refused", "overloaded", "failed"] {
        scrape.value(REQUESTS, &[("outcome", outcome)]);
    }
    for reason in ["authentication", "scope", "rate", "in_flight", "load", "keys"] {
        scrape.value(TURNED_AWAY, &[("reason", reason)]);
    }
    for outcome in ["confirmed", "returned", "unknown", "rejected", "unpublishable"] {
        scrape.value(PUBLICATIONS, &[("outcome", outcome)]);
    }
    for queue in ["saga", "order", "payment", "dispatch", "order.dead"] {
        let queue = rig.broker.name(queue);
        for outcome in ["completed", "skipped", "retried", "dead_lettered", "failed"] {
            scrape.value(DELIVERIES, &[("messaging_destination_name", &queue), ("outcome", outcome)]);
        }
        assert!(scrape.value("waybill_queue_leaderless", &[("messaging_destination_name", &queue)]) == 0.0);
    }
    for part in ["broker", "database", "relay", "saga", "order", "payment", "dispatch"] {
        assert_eq!(scrape.text("waybill_part_up", &[("part", part)]), "1", "{part}");
    }
    rig.stop().await;
}

async fn every_outcome_of_a_request_is_counted(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    run_to_end(&rig.client, request("m-1")).await;
    ask(&rig.client, request("m-1")).await.unwrap();
    let other = DispatchRequested { parcel_count: 4, ..request("m-1") };
    assert!(ask(&rig.client, other).await.is_err(), "other content");
    let invalid = DispatchRequested { parcel_count: 0, ..request("m-2") };
    assert!(ask(&rig.client, invalid).await.is_err(), "invalid");
    rig.database.execute("ALTER TABLE dispatches RENAME TO elsewhere").await;
    assert!(ask(&rig.client, request("m-3")).await.is_err(), "not committed");
    let scrape = rig.process.scrape().await;
    for (outcome, count) in [("accepted", "1"), ("duplicate", "1"), ("refused", "2"), ("failed", "1")] {
        assert_eq!(scrape.text(REQUESTS, &[("outcome", outcome)]), count, "{outcome}");
    }
    assert_eq!(scrape.text("waybill_gateway_acceptance_duration_seconds_count", &[]), "4");
    assert!(scrape.value("waybill_gateway_commit_size_count", &[]) >= 4.0);
    rig.database.execute("ALTER TABLE elsewhere RENAME TO dispatches").await;
    rig.stop().await;
}

/// A call of the client that has this token.
fn call<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut call = tonic::Request::new(message);
    call.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_is_turned_away_is_counted_by_its_reason() {
    let (database, broker, folder) =
        (TestDatabase::sqlite().await, TestBroker::new().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("clients.toml");
    let client = |name: &str, scopes: &str, limit: &str| {
        let hash = hash_of(name).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        format!("[[client]]\nname = '{name}'\ntoken_sha256 = ['{hash}']\nscopes = {scopes}\n{limit}\n")
    };
    let clients =
        [client("shop", "['submit', 'read']", "in_flight = 1"), client("screen", "['read']", "rate = 1")];
    std::fs::write(&file, clients.concat()).unwrap();
    let program = program(WAYBILL, &database, &broker)
        .set("WAYBILL_AUTH_CLIENTS_FILE", file.to_str().unwrap())
        .set("WAYBILL_ROLES", "gateway,relay");
    let process = program.start().await;
    let gateway = || program.client();
    assert!(ask(&gateway(), request("m-1")).await.is_err(), "no token");
    let wrong = gateway().request_dispatch(call("nobody", request("m-1"))).await;
    assert!(wrong.is_err(), "a wrong token");
    let receipt = gateway().request_dispatch(call("shop", request("m-1"))).await.unwrap().into_inner();
    assert!(gateway().request_dispatch(call("screen", request("m-2"))).await.is_err(), "may read only");
    let watched = || WatchDispatchRequest { dispatch_id: receipt.dispatch_id.clone(), after_version: 0 };
    // Nobody moves it, so that the stream stays.
    let _stream = gateway().watch_dispatch(call("shop", watched())).await.unwrap();
    assert!(gateway().watch_dispatch(call("shop", watched())).await.is_err(), "one at a time");
    let listed = || call("screen", ListDispatchesRequest::default());
    let mut listings = 0;
    // In the same second sooner or later.
    while gateway().list_dispatches(listed()).await.is_ok() {
        listings += 1;
        assert!(listings < 1_000, "one a second");
    }
    let scrape = process.scrape().await;
    for (reason, count) in [
        ("authentication", "2"),
        ("scope", "1"),
        ("in_flight", "1"),
        ("rate", "1"),
        ("load", "0"),
        ("keys", "0"),
    ] {
        assert_eq!(scrape.text(TURNED_AWAY, &[("reason", reason)]), count, "{reason}");
    }
    assert!(process.terminate().await.status.success());
    broker.clean().await;
}

async fn every_outcome_of_a_delivery_is_counted(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let tap = rig.broker.tap("dispatch", "payment.command").await;
    run_to_end(&rig.client, request("m-1")).await;
    delivered(&rig, "payment", "completed", 1.0).await;
    let command = rig.broker.next(&tap).await.delivery;
    rig.broker.publish("dispatch", "payment.command", &command.data, command.properties).await;
    delivered(&rig, "payment", "skipped", 1.0).await;
    // The answer to a command of no saga: it may come before its saga is there, so it is tried again.
    let tap = rig.broker.tap("dispatch", "saga.reply").await;
    run_to_end(&rig.client, request("m-2")).await;
    let answer = rig.broker.next(&tap).await.delivery;
    rig.database.execute("DELETE FROM inbox").await;
    rig.database.execute("DELETE FROM saga_instances").await;
    rig.broker.publish("dispatch", "saga.reply", &answer.data, answer.properties).await;
    delivered(&rig, "saga", "retried", 1.0).await;
    let nonsense = BasicProperties::default().with_message_id("nonsense".into());
    rig.broker.publish("dispatch", "payment.command", b"nonsense", nonsense.clone()).await;
    delivered(&rig, "payment", "dead_lettered", 1.0).await;
    // Not even its failure can be written down: the broker delivers it again, and again.
    rig.database.execute("ALTER TABLE dead_letters RENAME TO elsewhere").await;
    rig.broker.publish("dispatch", "payment.command", b"nonsense", nonsense).await;
    delivered(&rig, "payment", "failed", 1.0).await;
    let queue = rig.broker.name("payment");
    let labels = [("messaging_destination_name", queue.as_str())];
    counted(&rig.process, "waybill_consumer_redeliveries_total", &labels, 1.0).await;
    rig.database.execute("ALTER TABLE elsewhere RENAME TO dead_letters").await;
    delivered(&rig, "payment", "dead_lettered", 2.0).await;
    rig.stop().await;
}

/// A queue beside `order` that has room for one message and refuses the rest.
async fn full_queue(broker: &TestBroker) -> Connection {
    let connection = Connection::connect(broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let (queue, exchange) = (broker.name("full"), broker.name("dispatch"));
    channel.queue_declare(queue.as_str().into(), exclusive, arguments).await.unwrap();
    let none = FieldTable::default();
    let binding = channel.queue_bind(
        queue.into(),
        exchange.into(),
        "order.command".into(),
        QueueBindOptions::default(),
        none,
    );
    binding.await.unwrap();
    connection
}

/// A row as large as no broker is offered one.
fn too_large(is_postgres: bool) -> String {
    let (id, body) = if is_postgres {
        ("'01a20000-0000-7000-8000-000000000001'", "decode(repeat('00', 2000), 'hex')")
    } else {
        ("x'01a20000000070008000000000000001'", "zeroblob(2000)")
    };
    format!(
        "INSERT INTO outbox (id, message_id, type, exchange, routing_key, correlation_id, causation_id, \
         reply_to, traceparent, tracestate, attempt, body, created_at, available_at, state, lease_owner, \
         lease_until, publish_attempts, last_error) VALUES ({id}, 'large', '', 'dispatch', 'order.command', \
         '', '', '', '', '', 1, {body}, 0, 0, 'READY', '', 0, 0, '')"
    )
}

async fn every_outcome_of_a_publication_is_counted(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, |program| {
        let program = program.set("WAYBILL_RELAY_MAX_MESSAGE_BYTES", "1024");
        // A pack that is refused is not counted as rejected: its messages go out again.
        program.set("WAYBILL_RELAY_MAX_ATTEMPTS", "2").set("WAYBILL_RELAY_PACK", "1")
    })
    .await;
    run_to_end(&rig.client, request("m-1")).await;
    published(&rig.process, "confirmed", 8.0).await;
    rig.database.execute(&too_large(rig.database.is_postgres())).await;
    published(&rig.process, "unpublishable", 1.0).await;
    let full = full_queue(&rig.broker).await;
    ask(&rig.client, request("m-2")).await.unwrap();
    ask(&rig.client, request("m-3")).await.unwrap();
    published(&rig.process, "rejected", 1.0).await;
    full.close(200, "gone".into()).await.unwrap();
    rig.broker.unbind("order", "dispatch", "order.command").await;
    ask(&rig.client, request("m-4")).await.unwrap();
    published(&rig.process, "returned", 1.0).await;
    let scrape = rig.process.scrape().await;
    assert!(scrape.value("messaging_client_operation_duration_seconds_count", &[]) >= 10.0);
    rig.stop().await;
}

async fn a_publication_whose_confirm_is_lost_counts_as_unknown(database: TestDatabase) {
    let broker = TestBroker::new().await;
    let proxy = Proxy::for_url(broker.url()).await;
    let program = program(WAYBILL, &database, &broker)
        .set("WAYBILL_AMQP_URL", &proxy.url(broker.url()))
        .set("WAYBILL_RELAY_CONFIRM_TIMEOUT", "500ms");
    let process = program.start_whole().await;
    proxy.swallow(Way::ToClient);
    ask(&program.client(), request("m-1")).await.unwrap();
    published(&process, "unknown", 1.0).await;
    proxy.open();
    proxy.cut();
    published(&process, "confirmed", 1.0).await;
    let rig = Rig { client: program.client(), database, broker, program, process };
    rig.end(&[]).await;
}

async fn what_waits_in_the_outbox_is_told_by_state_and_routing_key(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    rig.broker.unbind("order", "dispatch", "order.command").await;
    ask(&rig.client, request("m-1")).await.unwrap();
    let unroutable = [("database", "common"), ("state", "unroutable")];
    counted(&rig.process, "waybill_outbox_rows", &unroutable, 1.0).await;
    let parked = [unroutable[0], unroutable[1], ("routing_key", "order.command")];
    counted(&rig.process, "waybill_outbox_parked", &parked, 1.0).await;
    rig.broker.bind("order", "dispatch", "order.command").await;
    rig.books().settled().await;
    rig.process
        .measures("an empty outbox", |scrape| {
            scrape.value("waybill_outbox_rows", &unroutable) == 0.0
                && scrape.value("waybill_outbox_parked", &parked) == 0.0
                && scrape.value("waybill_outbox_oldest_ready_age_seconds", &[("database", "common")]) == 0.0
        })
        .await;
    // Due for a long time, and one that is not due for a long time yet.
    let due = too_large(rig.database.is_postgres()).replace("'READY', '', 0", "'READY', 'x', 9e18");
    let due = due.replace("9e18", "9000000000000000000");
    rig.database.execute(&due).await;
    let oldest = "waybill_outbox_oldest_ready_age_seconds";
    counted(&rig.process, oldest, &[("database", "common")], 1e9).await;
    counted(&rig.process, "waybill_outbox_rows", &[("state", "leased")], 1.0).await;
    let delayed = "UPDATE outbox SET lease_owner = '', available_at = lease_until";
    rig.database.execute(delayed).await;
    counted(&rig.process, "waybill_outbox_rows", &[("state", "delayed")], 1.0).await;
    let age = rig.process.scrape().await.value(oldest, &[]);
    assert!(age == 0.0, "a delayed row is not a ready one, but {age} s old");
    rig.stop().await;
}

async fn sagas_are_told_by_state(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, |program| program.roles("gateway,relay,saga,order,payment")).await;
    ask(&rig.client, request("m-1")).await.unwrap();
    counted(&rig.process, "waybill_saga_open", &[("state", "running")], 1.0).await;
    rig.process
        .measures("an age", |scrape| {
            scrape.value("waybill_saga_oldest_open_age_seconds", &[("state", "running")]) > 0.0
        })
        .await;
    let parked = "INSERT INTO saga_parked (dispatch_id, message_id, type, body, traceparent, tracestate, definition, \
         definition_version, definition_hash, parked_at) VALUES ('d', 'm', '', '', '', '', 'order_fulfilment', 99, '', 1)";
    rig.database.execute(parked).await;
    counted(&rig.process, "waybill_saga_parked", &[], 1.0).await;
    rig.database.execute("DELETE FROM saga_parked").await;
    let dispatch = rig.program.beside().roles("dispatch").start_whole().await;
    rig.books().settled().await;
    run_to_end(&rig.client, refused_by_dispatch("m-2")).await;
    let transitions = "waybill_saga_transitions_total";
    let expected =
        [("running", "2"), ("completed", "1"), ("compensating", "1"), ("compensated", "1"), ("stuck", "0")];
    let scrape = rig.process.scrape().await;
    for (state, count) in expected {
        assert_eq!(scrape.text(transitions, &[("state", state)]), count, "{state}");
    }
    assert!(dispatch.terminate().await.status.success());
    rig.stop().await;
}

async fn metrics_are_exported_to_a_collector(database: TestDatabase) {
    let collector = Collector::new().await;
    let rig = Rig::with(WAYBILL, database, |program| {
        program
            .set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
            .set("OTEL_METRIC_EXPORT_INTERVAL", "100")
    })
    .await;
    for name in ["waybill.relay.publications", "waybill.outbox.rows", "waybill.gateway.requests"] {
        until(name, async || collector.has_metric(name)).await;
    }
    rig.stop().await;
}

/// Names that look like a metric of ours.
fn named(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    words
        .filter(|word| word.starts_with("waybill_") || word.starts_with("messaging_"))
        .map(str::to_owned)
        .collect()
}

/// Of a process that has done something: a histogram is not there before.
async fn alerts_and_dashboard_ask_for_what_there_is(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    run_to_end(&rig.client, request("m-1")).await;
    rig.broker.unbind("order", "dispatch", "order.command").await;
    ask(&rig.client, request("m-2")).await.unwrap();
    rig.process.measures("a parked row", |scrape| scrape.names().contains("waybill_outbox_parked")).await;
    let there = rig.process.scrape().await.names();
    for file in ["prometheus/waybill.rules.yml", "grafana/waybill.json"] {
        let asked = named(file);
        let unknown: Vec<_> = asked.difference(&there).collect();
        assert!(asked.len() > 8 && unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

/// Of a process that has done something, again.
async fn prometheus_own_checker_finds_nothing_wrong(database: TestDatabase) {
    let Some(promtool) = tool("promtool.sh", &[]).await else { return };
    let rig = Rig::new(WAYBILL, database).await;
    run_to_end(&rig.client, request("m-1")).await;
    let said = http::get(&format!("http://{}/metrics", rig.program.http()), &[]).await.body;
    let mut checker = Command::new(promtool);
    checker.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checker = checker.kill_on_drop(true).spawn().unwrap();
    checker.stdin.take().unwrap().write_all(&said).await.unwrap();
    let found = checker.wait_with_output().await.unwrap();
    assert!(found.status.success() && found.stdout.is_empty() && found.stderr.is_empty(), "{found:?}");
    rig.stop().await;
}
