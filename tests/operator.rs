//! What an operator sees and mends with the command line alone: how far a dispatch has come, what waits in the
//! outboxes, and a queue that is there but has no leader.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::collections::BTreeMap;

use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::Value;
use waybill_messaging::topology::{QueueType, Topology};
use waybill_test_support::{
    Node, Program, Ran, Rig, TestBroker, TestDatabase,
    audit::{Books, Fate},
    client::{refused_by_dispatch, refused_by_payment, request, run_to_end, watch},
    on_both_databases,
    patience::until,
    program,
};

on_both_databases!(
    get_and_watch_show_how_long_each_step_took_and_what_remains,
    what_waits_in_the_outbox_is_shown_and_goes_out_when_it_is_retried,
    a_parked_row_is_retried_by_its_id_and_another_is_left_alone,
    an_outbox_that_cannot_be_read_is_named,
    a_queue_without_a_leader_holds_up_only_its_own_and_is_seen_and_mended,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");

fn json(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A row that no relay has touched yet and that the broker is not offered.
fn parked(database: &TestDatabase, number: u8, routing_key: &str) -> String {
    let (id, body) = if database.is_postgres() {
        (format!("'01a20000-0000-7000-8000-0000000000{number:02x}'"), "decode('00', 'hex')")
    } else {
        (format!("x'01a200000000700080000000000000{number:02x}'"), "zeroblob(1)")
    };
    format!(
        "INSERT INTO outbox (id, message_id, type, exchange, routing_key, correlation_id, causation_id, \
         reply_to, traceparent, tracestate, attempt, body, created_at, available_at, state, lease_owner, \
         lease_until, publish_attempts, last_error) VALUES ({id}, 'parked-{number}', '', 'dispatch', \
         '{routing_key}', '', '', '', '', '', 1, {body}, 0, 0, 'REJECTED', '', 9223372036854775807, 3, \
         'refused by the broker')"
    )
}

async fn get_and_watch_show_how_long_each_step_took_and_what_remains(database: TestDatabase) {
    let rig =
        Rig::with(WAYBILL, database, |program| program.roles("gateway,relay,saga,order,dispatch")).await;
    rig.client.clone().request_dispatch(request("m-1")).await.unwrap();
    rig.client.clone().request_dispatch(refused_by_dispatch("m-2")).await.unwrap();
    let asked = "SELECT count(*) FROM saga_instances WHERE current_step = 'reserve_payment'";
    until("both ask payment", async || rig.database.number(asked).await == 2).await;
    let under_way = rig.program.run(&["get", "order-m-1"]).await.out;
    let row = |text: &str, step: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(step)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{step}:\n{text}"))
    };
    for (step, words) in [
        ("accept_order", ["ENDED", "DONE"]),
        ("reserve_payment", ["CURRENT", "RUNNING"]),
        ("create_dispatch", ["REMAINING", "PENDING"]),
    ] {
        let row = row(&under_way, step);
        assert!(words.iter().all(|word| row.split_whitespace().any(|cell| cell == *word)), "{row}");
    }
    assert!(row(&under_way, "reserve_payment").contains("s so far"), "{under_way}");

    let payment = rig.program.beside().roles("payment").start_whole().await;
    let watched = rig.program.run(&["watch", "order-m-1"]).await;
    assert_eq!(watched.code, Some(0), "{watched:?}");
    let line = |event: &str| watched.out.lines().find(|line| line.contains(event)).unwrap();
    let started = line("  started ");
    let all = "accept_order, reserve_payment, create_dispatch, capture_payment, complete_order";
    assert!(started.ends_with(&format!("(remaining: {all})")), "{started}");
    let created = line("create_dispatch_done");
    assert!(created.contains("(took ") && created.ends_with("remaining: capture_payment, complete_order)"));
    assert!(line("complete_order_done").contains("(took "), "{}", watched.out);

    let cancelled = rig.program.run(&["watch", "order-m-2"]).await;
    assert_eq!(cancelled.code, Some(10), "{cancelled:?}");
    assert!(cancelled.out.contains(", to undo: reserve_payment, accept_order)\n"), "{}", cancelled.out);
    let cancelled = &json(&rig.program.run(&["get", "order-m-2", "--json"]).await)[0];
    let steps = cancelled["steps"].as_array().unwrap();
    let states: Vec<_> = steps.iter().map(|step| (&step["progress"], &step["state"])).collect();
    let expected = [
        ("ENDED", "COMPENSATED"),
        ("ENDED", "COMPENSATED"),
        ("ENDED", "REFUSED"),
        ("LEFT_OUT", "PENDING"),
        ("LEFT_OUT", "PENDING"),
    ];
    assert_eq!(
        states,
        expected.map(|(p, s)| (Value::from(p), Value::from(s))).each_ref().map(|(p, s)| (p, s))
    );
    assert_eq!(
        (&steps[2]["kind"], &steps[2]["command"]["attempts"]),
        (&Value::from("PIVOT"), &Value::from(1))
    );
    let undoing = steps[0]["compensation"]["took"].as_str().unwrap();
    assert_eq!(cancelled.get("steps_note"), None);
    assert!(undoing.strip_suffix('s').is_some_and(|seconds| seconds.parse::<f64>().is_ok()), "{undoing}");
    // As a release sees it that does not know the version.
    rig.database.execute("UPDATE saga_instances SET definition_version = 99 WHERE ended_at > 0").await;
    let unknown = "order_fulfilment/99 is not known to this release, and so its steps are not";
    let got = rig.program.run(&["get", "order-m-2"]).await.out;
    assert!(got.contains(unknown) && !got.contains("LEFT_OUT"), "{got}");
    let watched = rig.program.run(&["watch", "order-m-2"]).await.out;
    assert!(watched.starts_with(unknown) && !watched.contains("remaining"), "{watched}");
    assert!(payment.terminate().await.status.success());
    rig.stop().await;
}

async fn what_waits_in_the_outbox_is_shown_and_goes_out_when_it_is_retried(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    assert_eq!(rig.program.run(&["outbox"]).await.out, "nothing waits\n");
    let tap = rig.broker.tap("dispatch", "tapped").await;
    rig.broker.unbind("order", "dispatch", "order.command").await;
    rig.client.clone().request_dispatch(request("m-1")).await.unwrap();
    rig.database.execute(&parked(&rig.database, 1, "tapped")).await;
    let unroutable = "SELECT count(*) FROM outbox WHERE state = 'UNROUTABLE'";
    until("parked", async || rig.database.number(unroutable).await == 1).await;
    let groups = json(&rig.program.run(&["outbox", "--json"]).await);
    let seen: Vec<_> = groups.iter().map(|g| (&g["state"], &g["routing_key"], &g["rows"])).collect();
    assert_eq!(seen.len(), 2, "{groups:?}");
    assert_eq!(seen[0], (&Value::from("rejected"), &Value::from("tapped"), &Value::from(1)));
    assert_eq!(seen[1], (&Value::from("unroutable"), &Value::from("order.command"), &Value::from(1)));
    assert_eq!(groups[0]["last_error"], "refused by the broker");
    assert_eq!(groups[0]["next_due_at"], Value::Null);
    let text = rig.program.run(&["outbox", "--list", "--state", "rejected"]).await.out;
    assert!(text.contains("parked-1") && !text.contains("order.command"), "{text}");
    let none = rig.program.run(&["outbox", "--list", "--routing-key", "elsewhere"]).await;
    assert_eq!(none.out, "nothing waits\n");
    let retried = rig.program.run(&["outbox", "retry", "--routing-key", "tapped"]).await;
    assert_eq!((retried.code, &*retried.out), (Some(0), "common: 1 rows are due again\n"));
    assert!(retried.err.contains("parked rows made due again"), "no line for the auditor: {retried:?}");
    let message = rig.broker.next(&tap).await;
    assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), "parked-1");
    rig.broker.bind("order", "dispatch", "order.command").await;
    rig.end(&[]).await;
}

async fn a_parked_row_is_retried_by_its_id_and_another_is_left_alone(database: TestDatabase) {
    let broker = TestBroker::new().await;
    let program = program(WAYBILL, &database, &broker);
    for number in [1, 2] {
        database.execute(&parked(&database, number, "order.command")).await;
    }
    let rows = json(&program.run(&["outbox", "--list", "--json", "--limit", "1"]).await);
    assert_eq!((rows.len(), &rows[0]["message_id"]), (1, &Value::from("parked-1")));
    let id = rows[0]["id"].as_str().unwrap();
    for expected in ["common: 1 rows are due again\n", "common: 0 rows are due again\n"] {
        let retried = program.run(&["outbox", "retry", "--id", id]).await;
        assert_eq!(retried.out, expected, "{retried:?}");
    }
    let rows = json(&program.run(&["outbox", "--list", "--json"]).await);
    let states: Vec<_> = rows.iter().map(|row| (&row["state"], &row["publish_attempts"])).collect();
    assert_eq!(states[0], (&Value::from("ready"), &Value::from(0)));
    assert_eq!(states[1], (&Value::from("rejected"), &Value::from(3)));
    // Held by a relay that probes it: nobody breaks its lease.
    database.execute("UPDATE outbox SET lease_until = 9000000000000000000, lease_owner = 'x'").await;
    assert_eq!(program.run(&["outbox", "retry"]).await.out, "common: 0 rows are due again\n");
    broker.clean().await;
}

async fn an_outbox_that_cannot_be_read_is_named(database: TestDatabase) {
    let program = Program::new(WAYBILL, database.url(), "amqp://127.0.0.1:1", "t.");
    database.empty().await;
    let ran = program.run(&["outbox"]).await;
    assert!(ran.err.contains("database common ("), "{ran:?}");
    if database.is_postgres() {
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("`waybill migrate` makes the tables"), "{ran:?}");
    } else {
        assert_eq!(ran.code, Some(5), "no file, and none was made: {ran:?}");
    }
    let ran = program.run(&["queues"]).await;
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.err.contains("broker amqp://127.0.0.1:1: connect: "), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_queue_of_the_topology_is_shown_with_its_state() {
    let broker = TestBroker::new().await;
    let program = Program::new(WAYBILL, "sqlite://no/such/database", broker.url(), broker.prefix());
    let missing = states(&program).await;
    assert_eq!(missing.len(), 8);
    assert!(missing.values().all(|state| state == "missing"), "looking declares nothing: {missing:?}");
    declare(broker.url(), broker.prefix()).await;
    let properties = BasicProperties::default();
    broker.publish("dispatch", "payment.command", b"waits", properties).await;
    let found = json(&program.run(&["queues", "--json"]).await);
    let payment = found.iter().find(|queue| queue["name"] == "payment").unwrap();
    assert_eq!(payment["queue"], broker.name("payment"));
    assert_eq!((&payment["ready"], &payment["consumers"]), (&Value::from(1), &Value::from(0)));
    assert!(found.iter().all(|queue| queue["state"] == "reachable"), "{found:?}");
    let otherwise = states(&program.clone().set("WAYBILL_AMQP_DELIVERY_LIMIT", "7")).await;
    assert_eq!((&*otherwise["order"], &*otherwise["order.dead"]), ("arguments differ", "reachable"));
    let untouched = broker.take(&broker.name("payment")).await.unwrap();
    assert!(!untouched.redelivered, "looking takes nothing");
    broker.clean().await;
}

async fn declare(url: &str, prefix: &str) {
    let topology = Topology {
        prefix: prefix.to_owned(),
        queue_type: QueueType::Quorum,
        delivery_limit: 20,
        external: Vec::new(),
    };
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    topology.declare(&connection.create_channel().await.unwrap()).await.unwrap();
}

/// A broker on which the queue that was declared last, `dispatch`, has no leader: RabbitMQ 3.10 leaves one like
/// that when its node is killed right after the declaration.
async fn leaderless(node: &Node, prefix: &str) {
    declare(node.url(), prefix).await;
    node.kill().await;
    node.start_again().await;
}

async fn states(program: &Program) -> BTreeMap<String, String> {
    let found = json(&program.run(&["queues", "--json"]).await);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found.iter().map(|queue| (text(&queue["name"]), text(&queue["state"]))).collect()
}

async fn a_queue_without_a_leader_holds_up_only_its_own_and_is_seen_and_mended(database: TestDatabase) {
    let node = Node::start().await;
    leaderless(&node, "w.").await;
    let program = Program::new(WAYBILL, database.url(), node.url(), "w.")
        .set("WAYBILL_RELAY_LEASE", "2s")
        .set("WAYBILL_SAGA_STEP_TIMEOUT", "3s")
        .set("WAYBILL_SAGA_STEP_ATTEMPTS", "100");
    let found = states(&program).await;
    assert_eq!(found.len(), 8);
    let leaderless: Vec<_> = found.iter().filter(|(_, state)| *state == "no leader").collect();
    assert_eq!(leaderless.len(), 1, "{found:?}");
    assert_eq!(found["dispatch"], "no leader");
    assert_eq!(found["order"], "reachable");

    let (process, client) = (program.start().await, program.client());
    let receipt = client.clone().request_dispatch(request("m-1")).await.unwrap().into_inner();
    process.down("dispatch").await;
    let reason = process.reason("dispatch").await;
    assert!(reason.contains("w.dispatch is there but has no leader"), "{reason}");
    assert!(reason.contains("waybill queues mend dispatch --yes"), "{reason}");
    let queue = [("messaging_destination_name", "w.dispatch")];
    assert_eq!(process.scrape().await.text("waybill_queue_leaderless", &queue), "1");

    // What needs that queue waits; nobody else does.
    let other = run_to_end(&client, refused_by_payment("m-2")).await;
    assert_eq!(Books::of(&database).entry(&other.dispatch_id).await, Fate::RefusedByPayment.entry());

    let healthy = program.run(&["queues", "mend", "order", "--yes"]).await;
    assert_eq!(healthy.code, Some(8), "{healthy:?}");
    assert!(healthy.err.contains("queue order is left alone: reachable"), "{healthy:?}");
    let asked = program.run(&["queues", "mend"]).await;
    assert_eq!(asked.code, Some(8), "{asked:?}");
    assert!(asked.out.starts_with("without a leader: dispatch\n"), "{asked:?}");
    assert_eq!(states(&program).await["dispatch"], "no leader", "only said, not done");

    let mended = program.run(&["queues", "mend", "--yes"]).await;
    assert_eq!(mended.code, Some(0), "{mended:?}");
    assert!(mended.out.ends_with("dispatch: mended\n"), "{mended:?}");
    process.up("dispatch").await;
    assert_eq!(process.scrape().await.text("waybill_queue_leaderless", &queue), "0");
    watch(&client, &receipt.dispatch_id, 0).await;
    let books = Books::of(&database);
    assert_eq!(books.entry(&receipt.dispatch_id).await, Fate::Completed.entry());
    books.settled().await;
    books.check(&[receipt]).await;
    let ended = process.terminate().await;
    assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
}
