//! What the doctor says of a healthy installation, and of one with each thing broken.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use lapin::BasicProperties;
use sea_orm::{ConnectionTrait as _, IsolationLevel, TransactionTrait as _};
use serde_json::Value;
use waybill_test_support::{
    Node, Program, Rig, TestBroker, TestDatabase,
    client::{request, run_to_end},
    on_both_databases,
    patience::until,
    program, session,
};

on_both_databases!(
    of_a_healthy_installation_nothing_is_bad,
    what_waits_for_a_person_is_told_with_the_command_to_begin_with,
    a_database_without_a_migration_is_named_with_it,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");

struct Said {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Said {
    async fn by(program: &Program) -> Self {
        let ran = program.run(&["doctor", "--format", "json"]).await;
        let said: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        Self { code: ran.code, findings: said["findings"].as_array().unwrap().clone() }
    }

    fn with(&self, verdict: &str) -> Vec<String> {
        let such = self.findings.iter().filter(|one| one["verdict"] == verdict);
        such.map(|one| format!("{}: {}", one["about"].as_str().unwrap(), one["what"].as_str().unwrap()))
            .collect()
    }

    /// That exactly one finding with this verdict says this, and what mends it.
    fn says(&self, verdict: &str, what: &str, mend: &str) {
        let such = |one: &&Value| one["verdict"] == verdict && one["what"].as_str().unwrap().contains(what);
        let found: Vec<_> = self.findings.iter().filter(such).collect();
        assert_eq!(found.len(), 1, "{verdict} {what}: {:#?}", self.findings);
        assert!(found[0]["mend"].as_str().unwrap_or_default().contains(mend), "{found:?}");
    }
}

async fn of_a_healthy_installation_nothing_is_bad(database: TestDatabase) {
    let is_postgres = database.is_postgres();
    let rig = Rig::new(WAYBILL, database).await;
    for part in ["broker", "saga", "order", "payment", "dispatch"] {
        rig.process.up(part).await;
    }
    // A subscription of a dead queue may be made a moment after the part's own.
    until("everybody consumes", async || Said::by(&rig.program).await.with("WARN").is_empty()).await;
    let said = Said::by(&rig.program).await;
    assert_eq!(said.with("BAD"), Vec::<String>::new());
    assert_eq!(said.code, Some(0));
    said.says("OK", "RabbitMQ ", "");
    said.says("OK", "its schema is that of this release", "");
    said.says("OK", "can come again for", "");
    said.says("OK", "the outbox holds ", "");
    if is_postgres {
        said.says("OK", "its clock and that of this machine differ by", "");
        said.says("OK", "connections are free, and a process takes up to 16", "");
        said.says("OK", "sizes: outbox ", "");
        said.says("OK", "fsync is on", "");
        said.says("OK", "no snapshot is held that", "");
    } else {
        said.says("OK", "journal_mode wal", "");
    }
    let text = rig.program.run(&["doctor"]).await.out;
    assert!(
        text.lines().all(|line| ["OK    ", "WARN  ", "BAD   ", "      → "]
            .iter()
            .any(|begin| line.starts_with(begin))),
        "{text}"
    );
    rig.end(&[]).await;
}

async fn what_waits_for_a_person_is_told_with_the_command_to_begin_with(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let done = run_to_end(&rig.client, request("m-1")).await;
    let stuck =
        format!("UPDATE saga_instances SET state = 'STUCK' WHERE dispatch_id = '{}'", done.dispatch_id);
    rig.database.execute(&stuck).await;
    rig.broker.publish("dispatch", "payment.command", b"junk", BasicProperties::default()).await;
    until("buried", async || rig.database.number("SELECT count(*) FROM dead_letters").await == 1).await;
    rig.broker.unbind("order", "dispatch", "order.command").await;
    rig.client.clone().request_dispatch(request("m-2")).await.unwrap();
    let unroutable = "SELECT count(*) FROM outbox WHERE state = 'UNROUTABLE'";
    until("parked", async || rig.database.number(unroutable).await == 1).await;

    let said = Said::by(&rig.program).await;
    assert_eq!(said.code, Some(1));
    said.says("WARN", "1 dead letters", "waybill dead-letters");
    said.says("WARN", "1 of 2 open sagas are stuck", "waybill stuck");
    let unbound = "no queue takes 1 messages with routing key order.command";
    said.says("BAD", unbound, "waybill topology apply");
    let otherwise = Said::by(&rig.program.clone().set("WAYBILL_AMQP_QUEUE_TYPE", "classic")).await;
    let words = format!("queue {} is quorum, the configuration says classic", rig.broker.name("saga"));
    otherwise.says("BAD", &words, "waybill topology apply --recreate");

    assert_eq!(rig.program.run(&["topology", "apply"]).await.code, Some(0));
    until("it went out", async || rig.database.number(unroutable).await == 0).await;
    assert!(!Said::by(&rig.program).await.with("BAD").iter().any(|what| what.contains("no queue takes")));
    rig.stop().await;
}

async fn a_database_without_a_migration_is_named_with_it(database: TestDatabase) {
    let program = Program::new(WAYBILL, database.url(), "amqp://127.0.0.1:1", "t.");
    database.execute("DELETE FROM seaql_migrations WHERE version = 'm0010_dead_letter_desk'").await;
    let said = Said::by(&program).await;
    assert_eq!(said.code, Some(1));
    said.says("BAD", "its schema is behind this release, without m0010_dead_letter_desk", "waybill migrate");
    said.says("BAD", "connect: ", "rabbitmqctl status");
    for (table, version) in
        [("seaql_migrations", "m0010_dead_letter_desk"), ("schema_expansions", "m9999_later")]
    {
        database.execute(&format!("INSERT INTO {table} (version, applied_at) VALUES ('{version}', 0)")).await;
    }
    Said::by(&program).await.says("WARN", "its schema is of a newer release: m9999_later", "upgrade");
    database.empty().await;
    let said = Said::by(&program).await;
    if database.is_postgres() {
        said.says("BAD", "it has no tables of Waybill", "waybill migrate");
    } else {
        said.says("BAD", "there is no such file", "waybill migrate");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_an_old_snapshot_is_told_with_what_ends_it() {
    let database = TestDatabase::postgres().await;
    let program = Program::new(WAYBILL, database.url(), "amqp://127.0.0.1:1", "t.");
    let holder = session(database.url()).await;
    let snapshot = holder.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await.unwrap();
    snapshot.execute_unprepared("SELECT count(*) FROM dispatches").await.unwrap();
    Said::by(&program).await.says("OK", "no snapshot is held that", "");
    let transactions = "DO $$ BEGIN PERFORM set_config('synchronous_commit', 'off', false); \
                        FOR n IN 1..100000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    database.execute(transactions).await;
    let said = Said::by(&program).await;
    said.says("WARN", "idle in transaction, holds a snapshot that", "SELECT pg_terminate_backend(");
    snapshot.rollback().await.unwrap();
    Said::by(&program).await.says("OK", "no snapshot is held that", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_named_and_the_rest_is_looked_at_all_the_same() {
    let database = TestDatabase::sqlite().await;
    let program = Program::new(WAYBILL, "postgres://u:hunter2@127.0.0.1:1/none", "amqp://127.0.0.1:1", "t.")
        .set("WAYBILL_ORDER_DATABASE_URL", database.url());
    let said = Said::by(&program).await;
    assert_eq!(said.code, Some(1));
    said.says("BAD", "postgres://u:***@127.0.0.1:1/none", "database.url");
    said.says("OK", "journal_mode wal", "");
    assert!(!said.with("BAD").iter().any(|what| what.contains("hunter2")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_permissions_a_harmful_policy_and_an_alarm_are_told() {
    let (node, database) = (Node::start_with_management().await, TestDatabase::sqlite().await);
    let broker = TestBroker::at(node.url()).await;
    let program =
        program(WAYBILL, &database, &broker).set("WAYBILL_AMQP_MANAGEMENT_URL", node.management_url());
    assert_eq!(program.run(&["topology", "apply"]).await.code, Some(0));
    node.ctl(&["set_policy", "short", &format!("^{}order$", broker.prefix()), r#"{"message-ttl":1000}"#])
        .await;
    let held = async || Said::by(&program).await.with("WARN").iter().any(|what| what.contains("message-ttl"));
    until("the policy holds", held).await;
    let said = Said::by(&program).await;
    said.says("WARN", "a policy sets message-ttl to 1000", "rabbitmqctl list_policies");
    let led = format!("queue {}: led by ", broker.name("saga"));
    assert!(said.with("OK").iter().any(|what| what.starts_with(&led)), "{:#?}", said.findings);
    assert_eq!(said.with("BAD"), Vec::<String>::new());

    node.ctl(&["add_user", "small", "small"]).await;
    node.ctl(&["set_permissions", "small", "^$", "^$", "^$"]).await;
    let small = node.url().replace("guest:guest@", "small:small@");
    let small = program.clone().set("WAYBILL_AMQP_URL", &small).set("WAYBILL_AMQP_MANAGEMENT_URL", "");
    let said = Said::by(&small).await;
    assert_eq!(said.code, Some(1));
    let refused: Vec<_> =
        said.with("BAD").into_iter().filter(|what| what.contains("ACCESS_REFUSED")).collect();
    // To publish, to read each queue, and to declare each exchange and queue.
    assert_eq!(refused.len(), 1 + 8 + 3 + 8, "{refused:#?}");

    node.ctl(&["set_vm_memory_high_watermark", "0"]).await;
    // The management interface looks every few seconds.
    let about = "has raised an alarm for its memory";
    let raised = async || Said::by(&program).await.with("BAD").iter().any(|what| what.contains(about));
    until("an alarm", raised).await;
    Said::by(&program).await.says("BAD", "it takes no messages: ", "rabbitmq-diagnostics alarms");
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    broker.clean().await;
}
