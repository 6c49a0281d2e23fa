//! Many sagas stuck at once: found, explained, and moved on by one command at a given rate.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use serde_json::Value;
use waybill_test_support::{
    Program, Ran, Rig, TestDatabase,
    client::{Client, request},
    load::Load,
    on_both_databases,
    patience::{until, until_none},
};

on_both_databases!(
    a_thousand_stuck_at_once_are_found_explained_and_moved_on_at_a_rate,
    each_verb_is_one_command_and_leaves_its_trace,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const MANY: usize = 1_000;
const RATE: usize = 200;

fn json(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Payment is away, and nobody's time is up by itself.
fn without_payment(program: Program) -> Program {
    program.roles("gateway,relay,saga,order,dispatch").set("WAYBILL_SAGA_STEP_TIMEOUT", "10m")
}

/// Sends that many, waits until all ask payment, and turns their time forward until all are stuck on the way
/// back. Then they forget to ask again by themselves, as after a refusal: nothing moves them but an operator.
async fn stuck(rig: &Rig, client: &Client, many: usize) -> Vec<String> {
    let requests = (0..many).map(|n| request(&n.to_string())).collect();
    let receipts = Load::start(client, requests, 50).receipts().await;
    let not_there = "SELECT count(*) FROM dispatches d LEFT JOIN saga_instances i ON i.dispatch_id = d.dispatch_id \
                     WHERE i.current_step IS NULL OR i.current_step <> 'reserve_payment'";
    until_none("all ask payment", async || rig.database.number(not_there).await).await;
    let turn_forward = "UPDATE saga_instances SET deadline_at = 1 WHERE state <> 'STUCK' AND deadline_at > 1";
    let not_stuck = "SELECT count(*) FROM saga_instances WHERE state <> 'STUCK'";
    until("all stuck", async || {
        rig.database.execute(turn_forward).await;
        rig.database.number(not_stuck).await == 0
    })
    .await;
    rig.database.execute("UPDATE saga_instances SET deadline_at = NULL").await;
    until("an empty outbox", async || rig.database.number("SELECT count(*) FROM outbox").await == 0).await;
    rig.broker.purge("payment").await;
    receipts.into_iter().map(|receipt| receipt.dispatch_id).collect()
}

async fn a_thousand_stuck_at_once_are_found_explained_and_moved_on_at_a_rate(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, without_payment).await;
    let mut ids = stuck(&rig, &rig.client, MANY).await;
    let listed =
        json(&rig.program.run(&["stuck", "--participant", "payment", "--limit", "2000", "--json"]).await);
    let mut found: Vec<_> =
        listed.iter().map(|stuck| stuck["dispatch_id"].as_str().unwrap().to_owned()).collect();
    found.sort();
    ids.sort();
    assert_eq!(found, ids);
    for stuck in &listed {
        assert_eq!(stuck["step"], "reserve_payment");
        assert_eq!(stuck["compensating"], true);
        assert!(stuck["reason"].as_str().unwrap().contains("no answer from payment"), "{stuck}");
    }
    let other = rig.program.run(&["stuck", "--step", "complete_order"]).await;
    assert_eq!(other.out, "nothing is stuck\n");

    let explained = rig.program.run(&["explain", "--by", "order", "order-7"]).await;
    assert_eq!(explained.code, Some(0), "{explained:?}");
    for part in
        ["STUCK", "waits for  the answer of payment to ReleasePayment", "You can type:", "waybill retry "]
    {
        assert!(explained.out.contains(part), "{part}: {}", explained.out);
    }

    let payment = rig.program.beside().roles("payment").start_whole().await;
    let arguments = [
        "retry",
        "--stuck",
        "--participant",
        "payment",
        "--rate",
        "200/s",
        "--operator",
        "anna",
        "--reason",
        "payment is back",
    ];
    let retried = rig.program.run(&arguments).await;
    assert_eq!((retried.code, &*retried.out), (Some(0), "1000 of 1000 retried\n"), "{}", retried.err);
    rig.books().settled().await;
    let took = "SELECT max(at) - min(at) FROM operator_actions WHERE verb = 'retry' AND operator = 'anna'";
    let least = (MANY - 32) * 1_000_000 / RATE;
    let took = usize::try_from(rig.database.number(took).await).unwrap();
    assert!(took >= least, "no faster than was asked for: {took} us");
    assert_eq!(rig.program.run(&["stuck"]).await.out, "nothing is stuck\n");
    let clean = "SELECT count(*) FROM orders o JOIN payment_reservations r ON r.dispatch_id = o.dispatch_id \
                 WHERE o.state = 'CANCELLED' AND r.state IN ('RELEASED', 'REFUSED')";
    assert_eq!(rig.database.number(clean).await, i64::try_from(MANY).unwrap());
    rig.books().check(&[]).await;
    assert!(payment.terminate().await.status.success());
    rig.stop().await;
}

async fn each_verb_is_one_command_and_leaves_its_trace(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, without_payment).await;
    stuck(&rig, &rig.client, 2).await;
    let run = async |arguments: &[&str]| rig.program.run(arguments).await;
    let why = ["--operator", "anna", "--reason", "by hand"];
    let with = |arguments: &[&'static str]| [arguments, &why[..]].concat();

    let refused = run(&with(&["compensate", "order-0"])).await;
    assert_eq!(refused.code, Some(8), "{refused:?}");
    assert!(refused.err.contains("retry reserve_payment, or skip it as done"), "{refused:?}");
    let refused = run(&with(&["force-complete", "order-0"])).await;
    assert_eq!(refused.code, Some(8), "{refused:?}");
    let refused = run(&with(&["skip", "order-0", "--as", "refused"])).await;
    assert_eq!(refused.code, Some(8), "{refused:?}");
    let moved = run(&with(&["retry", "order-0", "--version", "1"])).await;
    assert_eq!(moved.code, Some(1), "{moved:?}");
    assert!(moved.err.contains("ABORTED") && moved.err.contains("at version"), "{moved:?}");
    let unknown = run(&with(&["retry", "nobody"])).await;
    assert_eq!(unknown.code, Some(5), "{unknown:?}");

    let skipped = run(&with(&["skip", "order-0", "order-1", "--as", "done"])).await;
    assert_eq!((skipped.code, &*skipped.out), (Some(0), "2 of 2 skipped\n"), "{}", skipped.err);
    rig.books().settled().await;
    let actions = json(&run(&["actions", "--json", "order-1"]).await);
    assert_eq!(actions.len(), 1, "what was refused is no action: {actions:?}");
    let told = (&actions[0]["verb"], &actions[0]["operator"], &actions[0]["reason"]);
    assert_eq!(told, (&Value::from("skip_done"), &Value::from("anna"), &Value::from("by hand")));
    let ended = run(&["get", "order-1"]).await.out;
    assert!(ended.contains("reserve_payment_compensated_by_operator"), "{ended}");
    assert!(ended.contains("by hand (operator anna)"), "{ended}");
    let explained = run(&["explain", "order-1"]).await.out;
    assert!(
        explained.contains("cancelled, everything is undone") && !explained.contains("You can"),
        "{explained}"
    );
    rig.stop().await;
}
