//! The dead-letter desk end to end: a message dies in a real consumer, an operator sees why, mends the cause,
//! sends it again with the command line, and it has its effect once.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use lapin::BasicProperties;
use serde_json::Value;
use waybill_test_support::{
    Program, Ran, Rig, TestDatabase,
    client::{request, watch},
    on_both_databases,
    patience::until,
};

on_both_databases!(
    a_message_that_died_of_its_participant_is_replayed_and_has_its_effect_once,
    a_message_that_nobody_can_read_is_shown_edited_and_handled,
    a_group_is_replayed_at_a_rate_and_the_rest_discarded,
    a_letter_in_a_participants_own_database_is_replayed_from_there,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const WHY: [&str; 4] = ["--operator", "anna", "--reason", "mended"];
const DEAD: &str = "SELECT count(*) FROM dead_letters WHERE state = 'DEAD'";

fn json(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One attempt, and nobody asks again meanwhile.
fn impatient(program: Program) -> Program {
    program.set("WAYBILL_CONSUMER_MAX_ATTEMPTS", "1").set("WAYBILL_SAGA_STEP_TIMEOUT", "10m")
}

async fn run(rig: &Rig, arguments: &[&str]) -> Ran {
    rig.program.run(&[&["dead-letters"], arguments].concat()).await
}

async fn act(rig: &Rig, arguments: &[&str]) -> Ran {
    run(rig, &[arguments, &WHY].concat()).await
}

/// Waits until so many letters are dead.
async fn dead(database: &TestDatabase, letters: i64) {
    until("dead letters", async || database.number(DEAD).await == letters).await;
}

async fn a_message_that_died_of_its_participant_is_replayed_and_has_its_effect_once(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, impatient).await;
    rig.database.execute("ALTER TABLE payment_reservations RENAME TO elsewhere").await;
    let receipt = rig.client.clone().request_dispatch(request("m-1")).await.unwrap().into_inner();
    dead(&rig.database, 1).await;
    // Though nobody records a trace here.
    rig.process.logs(&format!(r#""dispatch_id":"{}","kind":"EXHAUSTED""#, receipt.dispatch_id)).await;
    let groups = json(&run(&rig, &["--json"]).await);
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(
        (&groups[0]["queue"], &groups[0]["kind"]),
        (&Value::from("payment"), &Value::from("exhausted"))
    );
    assert_eq!(groups[0]["type"], "dispatch.v1.ReservePayment");
    let reason = groups[0]["reason"].as_str().unwrap();
    assert!(reason.contains("payment_reservations"), "{reason}");
    let explained = rig.program.run(&["explain", &receipt.dispatch_id]).await.out;
    assert!(explained.contains("dead letter of queue payment"), "{explained}");

    rig.database.execute("ALTER TABLE elsewhere RENAME TO payment_reservations").await;
    let dry = act(&rig, &["replay", "--letter-reason", reason, "--dry-run"]).await;
    assert_eq!((dry.code, &*dry.out), (Some(0), "1 would be replayed\n"), "{dry:?}");
    assert_eq!(rig.database.number(DEAD).await, 1);
    let replayed = act(&rig, &["replay", "--letter-reason", reason]).await;
    assert_eq!((replayed.code, &*replayed.out), (Some(0), "1 of 1 replayed\n"), "{replayed:?}");
    let again = act(&rig, &["replay", "--all"]).await;
    assert_eq!((again.code, &*again.out), (Some(0), "0 of 0 replayed\n"), "{again:?}");
    watch(&rig.client, &receipt.dispatch_id, 0).await;
    assert_eq!(rig.database.number("SELECT count(*) FROM payment_reservations").await, 1);
    let explained = rig.program.run(&["explain", &receipt.dispatch_id]).await.out;
    assert!(!explained.contains("dead letter"), "{explained}");
    let actions = json(&rig.program.run(&["actions", &receipt.dispatch_id, "--json"]).await);
    assert_eq!(actions.len(), 1, "{actions:?}");
    assert_eq!(
        (&actions[0]["verb"], &actions[0]["operator"]),
        (&"replay_dead_letter".into(), &"anna".into())
    );
    rig.end(&[receipt]).await;
}

async fn a_message_that_nobody_can_read_is_shown_edited_and_handled(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, impatient).await;
    let tap = rig.broker.tap("dispatch", "tapped.reply").await;
    let properties = BasicProperties::default()
        .with_message_id("broken".into())
        .with_correlation_id("d-1".into())
        .with_reply_to("tapped.reply".into())
        .with_type("dispatch.v1.ReservePayment".into());
    rig.broker.publish("dispatch", "payment.command", b"\xff nonsense", properties).await;
    dead(&rig.database, 1).await;
    let listed = json(&run(&rig, &["--list", "--json"]).await);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = run(&rig, &["show", id]).await.out;
    assert!(shown.contains("Kind         permanent"), "{shown}");
    assert!(shown.contains("ff 20 6e 6f 6e 73 65 6e 73 65"), "{shown}");
    assert!(shown.contains("is no dispatch.v1.ReservePayment"), "{shown}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "{\"colour\": 1}").unwrap();
    let wrong = act(&rig, &["edit", id, "--body", path]).await;
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
    assert!(wrong.err.contains("colour"), "{wrong:?}");
    let absent = act(&rig, &["edit", id, "--raw", "no/such/file"]).await;
    assert_eq!(absent.code, Some(2), "{absent:?}");
    let body = r#"{"dispatch_id": "d-1", "order_id": "o-1", "customer_id": "c-1", "parcel_count": 1,
        "amount": {"currency_code": "EUR", "minor_units": 100}}"#;
    std::fs::write(&file, body).unwrap();
    let edited = act(&rig, &["edit", id, "--body", path]).await;
    assert_eq!(edited.code, Some(0), "{edited:?}");
    assert!(edited.out.contains("when anna replaced it: mended"), "{edited:?}");
    let handled = "SELECT count(*) FROM payment_reservations";
    until("the effect", async || rig.database.number(handled).await == 1).await;
    let again = act(&rig, &["edit", id, "--body", path]).await;
    assert_eq!(again.code, Some(8), "{again:?}");
    let answer = rig.broker.next(&tap).await;
    assert_eq!(answer.properties.message_id().as_ref().unwrap().as_str(), "broken:reply");
    assert_eq!(rig.database.number(handled).await, 1);
    rig.stop().await;
}

async fn a_group_is_replayed_at_a_rate_and_the_rest_discarded(database: TestDatabase) {
    // What is replayed is looked at on its way, and so has to travel alone.
    let alone = |program| impatient(program).set("WAYBILL_RELAY_PACK", "1");
    let rig = Rig::with(WAYBILL, database, alone).await;
    let tap = rig.broker.tap("dispatch", "payment.command").await;
    for number in 0..6 {
        let type_name = if number < 4 { "some.Type" } else { "another.Type" };
        let properties = BasicProperties::default()
            .with_message_id(format!("m-{number}").into())
            .with_type(type_name.into());
        rig.broker.publish("dispatch", "payment.command", b"x", properties).await;
        rig.broker.next(&tap).await;
    }
    dead(&rig.database, 6).await;
    let replayed = act(&rig, &["replay", "--type", "some.Type", "--rate", "20/s", "--json"]).await;
    let told = &json(&replayed)[0];
    assert_eq!((&told["matched"], &told["replayed"]), (&Value::from(4), &Value::from(4)), "{told}");
    for number in 0..4 {
        let message = rig.broker.next(&tap).await;
        assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), format!("m-{number}"));
    }
    // The cause is not gone: each dies once more, and is dead again.
    until("dead again", async || {
        let again = "SELECT count(*) FROM dead_letters WHERE state = 'DEAD' AND times = 2";
        rig.database.number(again).await == 4
    })
    .await;
    let discarded = act(&rig, &["discard", "--all"]).await;
    assert_eq!((discarded.code, &*discarded.out), (Some(0), "6 of 6 discarded\n"), "{discarded:?}");
    assert_eq!(run(&rig, &[]).await.out, "there are no such dead letters\n");
    assert_eq!(json(&run(&rig, &["--list", "--state", "discarded", "--json"]).await).len(), 6);
    let nothing = act(&rig, &["discard"]).await;
    assert_eq!(nothing.code, Some(3), "everything only when it is said: {nothing:?}");
    rig.stop().await;
}

async fn a_letter_in_a_participants_own_database_is_replayed_from_there(database: TestDatabase) {
    let own =
        if database.is_postgres() { TestDatabase::postgres().await } else { TestDatabase::sqlite().await };
    // The gateway's process plays no role of the participant, and sweeps nothing.
    let set = |program: Program| program.set("WAYBILL_PAYMENT_DATABASE_URL", own.url());
    let rig =
        Rig::with(WAYBILL, database, |program| set(impatient(program)).roles("gateway,saga,order,dispatch"))
            .await;
    let payment = rig.program.beside().roles("relay,payment").start().await;
    own.execute("ALTER TABLE payment_reservations RENAME TO elsewhere").await;
    let receipt = rig.client.clone().request_dispatch(request("m-1")).await.unwrap().into_inner();
    dead(&own, 1).await;
    own.execute("ALTER TABLE elsewhere RENAME TO payment_reservations").await;
    let groups = json(&run(&rig, &["--json"]).await);
    assert_eq!(groups[0]["database"], "payment");
    let replayed = act(&rig, &["replay", "--database", "payment"]).await;
    assert_eq!(replayed.out, "1 of 1 replayed\n", "{replayed:?}");
    watch(&rig.client, &receipt.dispatch_id, 0).await;
    assert_eq!(own.number("SELECT count(*) FROM payment_reservations").await, 1);
    assert!(payment.terminate().await.status.success());
    rig.stop().await;
}
