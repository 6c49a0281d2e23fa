//! What a process says of itself: by part over gRPC, at its HTTP paths, and to systemd.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use tokio::net::UnixDatagram;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use waybill_test_support::{
    Program, Rig, TestDatabase,
    client::request,
    patience::{in_time, until},
};

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const SERVICES: [&str; 3] = ["", "dispatch.v1.DispatchGateway", "dispatch.v1.DispatchOperator"];
const PARTS: [&str; 8] = ["intake", "relay", "broker", "database", "saga", "order", "payment", "dispatch"];

async fn health(program: &Program) -> HealthClient<Channel> {
    HealthClient::new(Channel::from_shared(program.endpoint()).unwrap().connect().await.unwrap())
}

async fn check(client: &HealthClient<Channel>, service: &str) -> Result<ServingStatus, Code> {
    let asked = HealthCheckRequest { service: service.to_owned() };
    client.clone().check(asked).await.map(|said| said.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_is_told_by_its_name() {
    let rig = Rig::new(WAYBILL, TestDatabase::sqlite().await).await;
    let client = health(&rig.program).await;
    for service in SERVICES.into_iter().chain(PARTS) {
        let serves = async || check(&client, service).await == Ok(ServingStatus::Serving);
        until(&format!("{service} serves"), serves).await;
    }
    assert_eq!(rig.process.get("/startupz").await, (200, "started\n".to_owned()));
    assert_eq!(rig.process.get("/readyz").await, (200, "ready\n".to_owned()));
    let other = rig.program.beside().roles("gateway");
    let process = other.start().await;
    assert_eq!(check(&health(&other).await, "saga").await, Err(Code::NotFound), "none of its parts");
    assert!(process.terminate().await.status.success());
    rig.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_that_lags_takes_the_process_out_of_readiness_where_that_is_asked_for() {
    let database = TestDatabase::sqlite().await;
    let program = Program::new(WAYBILL, database.url(), "amqp://127.0.0.1:1", "t.")
        .roles("gateway,relay")
        .set("WAYBILL_READY_MAX_OUTBOX_AGE", "1s");
    let process = program.start().await;
    let client = health(&program).await;
    assert_eq!(check(&client, "broker").await, Ok(ServingStatus::NotServing));
    program.client().request_dispatch(request("m-1")).await.unwrap();
    process.down("outbox").await;
    let (status, said) = process.get("/readyz").await;
    let words = "outbox: a message in the outbox of database common has been due for longer than \
                 ready.max_outbox_age of 1s";
    assert!(status == 503 && said.starts_with(words), "{status} {said}");
    let withdrawn = async || check(&client, "").await == Ok(ServingStatus::NotServing);
    until("gRPC health says the same", withdrawn).await;
    assert_eq!(process.get("/livez").await.0, 200);
    assert_eq!(process.get("/startupz").await.0, 200);
    database.execute("DELETE FROM outbox").await;
    process.ready().await;
    assert!(process.terminate().await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_waits_for_its_database_lives_and_has_not_started() {
    let database = "postgres://waybill:hush@127.0.0.1:1/none";
    let program = Program::new(WAYBILL, database, "amqp://127.0.0.1:1", "t.");
    let process = program.spawn();
    process.down("database").await;
    let reason = process.reason("database").await;
    assert!(reason.contains("Connection refused"), "{reason}");
    // Again and again: nothing else of the process says anything.
    process.logs(r#""failures":3"#).await;
    assert_eq!(process.get("/livez").await.0, 200);
    for path in ["/startupz", "/readyz"] {
        let (status, said) = process.get(path).await;
        assert!(status == 503 && said.starts_with("database: "), "{path}: {status} {said}");
    }
    let ended = process.terminate().await;
    assert!(ended.status.success());
    let waits = ended.log.iter().filter(|line| line.contains("waiting for the database")).collect::<Vec<_>>();
    assert!(waits.len() >= 3, "{:?}", ended.log);
    for line in waits {
        let names = ["postgres://", "127.0.0.1:1/none", "Connection refused", "again_in"];
        assert!(names.iter().all(|name| line.contains(name)) && !line.contains("hush"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_never_there_is_soon_told_and_not_waited_for_at_the_end() {
    let program = Program::new(WAYBILL, "postgres://127.0.0.1:1/none", "amqp://127.0.0.1:1", "t.")
        .set("WAYBILL_DATABASE_MIGRATE", "false");
    let process = program.spawn();
    process.logs("no answer in 2 s").await;
    assert_eq!(process.get("/readyz").await.0, 503);
    let ended = process.terminate().await;
    assert!(ended.status.success(), "{:?}", ended.log);
    let stopping = ended.log.iter().position(|line| line.contains("\"stopping\"")).unwrap();
    let waited = ended.log[stopping..].iter().find(|line| line.contains("pool timed out"));
    assert_eq!(waited, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_told_of_start_state_pulse_and_stop() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::sqlite().await);
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let program = Program::new(WAYBILL, database.url(), "amqp://127.0.0.1:1", "t.")
        .roles("gateway")
        .set("NOTIFY_SOCKET", path.to_str().unwrap())
        .set("WATCHDOG_USEC", "200000");
    let process = program.spawn();
    let said = async || {
        let mut bytes = [0; 4_096];
        let length = socket.recv(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    let mut heard = Vec::new();
    let begun = async {
        while !["READY=1", "STATUS=ready", "WATCHDOG=1"]
            .iter()
            .all(|one| heard.iter().any(|said| said == one))
        {
            heard.push(said().await);
        }
    };
    in_time("it has started", begun).await;
    in_time("it goes on", async { while said().await != "WATCHDOG=1" {} }).await;
    assert!(process.terminate().await.status.success());
    in_time("it stops", async { while said().await != "STOPPING=1" {} }).await;
}
