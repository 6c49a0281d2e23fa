//! What stands on the broker: printed, imported, compared, declared, recreated; and what a process does about it that
//! may not declare it, or finds it otherwise.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use lapin::BasicProperties;
use serde_json::Value;
use waybill_test_support::{Node, Program, Ran, TestBroker, TestDatabase, patience::until, program};

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");

fn without_declaring(program: &Program) -> Program {
    program.clone().set("WAYBILL_AMQP_DECLARE", "false")
}

/// Somebody else consumes two of the queues.
fn external(program: &Program) -> Program {
    let roles = program.clone().set("WAYBILL_ROLES", "gateway,relay,saga,dispatch");
    roles.set("WAYBILL_EXTERNAL", "order,payment")
}

async fn check(program: &Program) -> (Option<i32>, Value) {
    let Ran { code, out, err } = program.run(&["topology", "check", "--format", "json"]).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{err}")))
}

fn whats(checked: &Value) -> Vec<&str> {
    checked["differences"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_definitions_are_the_topology_and_a_broken_binding_is_seen_and_mended() {
    let (node, database) = (Node::start_with_management().await, TestDatabase::sqlite().await);
    let broker = TestBroker::at(node.url()).await;
    let declaring = program(WAYBILL, &database, &broker);
    let program = without_declaring(&declaring).set("WAYBILL_AMQP_MANAGEMENT_URL", node.management_url());
    let (code, nothing) = check(&program).await;
    assert_eq!((code, whats(&nothing).len()), (Some(8), 11), "three exchanges and eight queues: {nothing}");

    let printed = program.run(&["topology", "print", "--format", "json"]).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &printed.out).unwrap();
    node.ctl(&["import_definitions", file.path().to_str().unwrap()]).await;
    // By what the management interface shows, and by declaring it again.
    let (code, imported) = check(&program).await;
    assert_eq!((code, &imported["unseen"]), (Some(0), &Value::Array(Vec::new())), "{imported}");
    let (code, compared) = check(&declaring).await;
    assert_eq!((code, whats(&compared)), (Some(0), Vec::new()));
    assert_eq!(compared["unseen"].as_array().unwrap().len(), 1, "bindings: {compared}");

    broker.unbind("order", "dispatch", "order.command").await;
    let (code, unbound) = check(&program).await;
    assert_eq!((code, whats(&unbound).len()), (Some(8), 1), "{unbound}");
    assert!(whats(&unbound)[0].starts_with("binding order.command from exchange "), "{unbound}");
    assert!(unbound["differences"][0]["advice"].as_str().unwrap().contains("waybill topology apply"));
    let process = program.spawn();
    process.down("topology").await;
    assert!(process.reason("topology").await.contains("binding order.command from exchange"));
    assert!(!process.is_ready().await);
    let applied = program.run(&["topology", "apply"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    process.up("topology").await;
    process.ready().await;
    process.up("order").await;
    assert_eq!(check(&external(&program)).await.0, Some(0), "it binds nothing, for packs neither");
    assert!(process.terminate().await.status.success());

    // Packs are taken by who consumes, and are no difference while that is we.
    let process = declaring.spawn();
    process.up("order").await;
    process.up("payment").await;
    assert_eq!(check(&program).await.0, Some(0));
    // Who stops in order takes them away.
    process.kill().await;
    let (code, packed) = check(&external(&program)).await;
    assert_eq!((code, whats(&packed).len()), (Some(8), 2), "{packed}");
    assert!(whats(&packed)[0].starts_with("binding order.command.packed from exchange "), "{packed}");
    assert_eq!(external(&program).run(&["topology", "apply"]).await.code, Some(0));
    assert_eq!(check(&external(&program)).await.0, Some(0));
    broker.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_declare_waits_for_what_is_missing_and_says_what_that_is() {
    let (broker, database) = (TestBroker::new().await, TestDatabase::sqlite().await);
    let program = without_declaring(&program(WAYBILL, &database, &broker));
    let process = program.spawn();
    process.down("topology").await;
    let reason = process.reason("topology").await;
    for (thing, name) in [("exchange", "dispatch.events"), ("queue", "saga.dead"), ("queue", "payment")] {
        assert!(reason.contains(&format!("{thing} {} is missing", broker.name(name))), "{reason}");
    }
    assert!(!process.is_ready().await && !process.is_over());
    let (code, missing) = check(&program).await;
    assert_eq!((code, whats(&missing).len()), (Some(8), 11), "nothing was declared: {missing}");
    assert_eq!(missing["unseen"].as_array().unwrap().len(), 2, "{missing}");
    let applied = program.run(&["topology", "apply"]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    process.ready().await;
    process.up("saga").await;

    // A queue that goes while its consumer runs is not declared either.
    broker.delete("saga").await;
    let words = format!("queue {} is missing", broker.name("saga"));
    until("it says so", async || process.reason("saga").await.contains(&words)).await;
    assert_eq!(whats(&check(&program).await.1), [format!("queue {} is missing", broker.name("saga"))]);
    assert_eq!(program.run(&["topology", "apply"]).await.code, Some(0));
    process.up("saga").await;
    assert!(process.terminate().await.status.success());
    broker.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_queue_type_is_explained_and_mended_by_the_command_that_is_named() {
    let (broker, database) = (TestBroker::new().await, TestDatabase::sqlite().await);
    let program = program(WAYBILL, &database, &broker);
    let classic = program.clone().set("WAYBILL_AMQP_QUEUE_TYPE", "classic");
    assert_eq!(classic.run(&["topology", "apply"]).await.code, Some(0));
    broker.publish("dispatch", "payment.command", b"waits", BasicProperties::default()).await;

    let process = program.spawn();
    process.down("topology").await;
    let (queue, reason) = (broker.name("saga.dead"), process.reason("topology").await);
    let words =
        format!("queue {queue} is classic, the configuration says quorum; set amqp.queue_type to classic");
    assert!(reason.contains(&words), "{reason}");
    assert!(!process.is_ready().await && !process.is_over());
    let (code, differences) = check(&program).await;
    assert_eq!((code, whats(&differences).len()), (Some(8), 8), "{differences}");
    assert!(
        whats(&differences).iter().all(|what| what.ends_with("is classic, the configuration says quorum"))
    );

    let names =
        ["saga", "order", "payment", "dispatch", "saga.dead", "order.dead", "payment.dead", "dispatch.dead"];
    let names = names.map(|name| broker.name(name));
    let mut apply = vec!["topology", "apply"];
    apply.extend(names.iter().flat_map(|name| ["--recreate", name.as_str()]));
    let asked = program.run(&apply).await;
    assert_eq!(asked.code, Some(8), "{asked:?}");
    assert!(asked.err.contains(&format!("{} holds 1 messages", broker.name("payment"))), "{asked:?}");
    assert_eq!(whats(&check(&program).await.1).len(), 8, "nothing was done");
    apply.push("--yes");
    let applied = program.run(&apply).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    process.ready().await;
    until("nothing differs", async || whats(&check(&program).await.1).is_empty()).await;
    let stranger = program.run(&["topology", "apply", "--recreate", "theirs"]).await;
    assert!(stranger.err.contains("theirs is no exchange or queue of the topology"), "{stranger:?}");
    assert!(process.terminate().await.status.success());
    broker.clean().await;
}
