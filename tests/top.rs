//! One frame of `waybill top`, of a real installation.

use waybill_test_support::{
    Program, Rig, TestDatabase,
    client::{request, run_to_end},
};

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_shows_what_the_installation_does() {
    let rig = Rig::new(WAYBILL, TestDatabase::sqlite().await).await;
    let done = run_to_end(&rig.client, request("m-1")).await;
    let stuck =
        format!("UPDATE saga_instances SET state = 'STUCK' WHERE dispatch_id = '{}'", done.dispatch_id);
    rig.database.execute(&stuck).await;
    let ran = rig.program.run(&["top", "--once", "--interval", "100ms"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("running 0   compensating 0   stuck 1   parked 0"), "{}", ran.out);
    assert!(ran.out.contains("accepted ") && ran.out.contains("/s"), "{}", ran.out);
    let row = |name: &str| ran.out.lines().find(|line| line.starts_with(name)).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(row("payment ")), ["payment", "0", "1"], "{}", ran.out);
    assert_eq!(words(row("common "))[0..2], ["common", "0"], "{}", ran.out);
    let live = rig.program.run(&["top"]).await;
    assert_eq!(live.code, Some(2), "{live:?}");
    assert!(live.err.contains("standard output is no terminal; `waybill top --once`"), "{live:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_is_named_and_the_rest_is_shown() {
    let database = TestDatabase::sqlite().await;
    let program = Program::new(WAYBILL, database.url(), "amqp://127.0.0.1:1", "t.");
    let ran = program.run(&["top", "--once", "--interval", "100ms"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("broker amqp://127.0.0.1:1: connect: "), "{}", ran.out);
    assert!(ran.out.contains("stuck 0"), "{}", ran.out);
}
