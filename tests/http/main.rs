//! The HTTP interface of the real program: a dispatch from request to end, and a stranger who has read nothing but its
//! description and tries everything. Without Python and its packages the second says SKIPPED and why.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;
use waybill_test_support::{
    Rig, TestDatabase,
    http::{Events, get, post},
    on_both_databases,
    patience::in_time,
    tool,
};

on_both_databases!(a_dispatch_that_is_requested_over_http_is_seen_to_its_end);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// SHA-256 of the token `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

async fn a_dispatch_that_is_requested_over_http_is_seen_to_its_end(database: TestDatabase) {
    let rig = Rig::new(WAYBILL, database).await;
    let url = rig.program.endpoint();
    let order = json!({ "order_id": "SO-1", "destination_code": "NLRTM", "parcel_count": 3 });
    let accepted = post(&format!("{url}/v1/dispatches"), &[("idempotency-key", "m-1")], &order).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let location = format!("{url}{}", accepted.header("location"));
    let mut events = Events::open(&format!("{location}/events"), &[]).await;
    let mut happened = Vec::new();
    loop {
        let event = events.next().await.unwrap();
        if event.field("event") == "end" {
            break;
        }
        happened.push(event.json());
    }
    let dispatch = get(&location, &[]).await.json();
    assert_eq!(dispatch["history"], json!(happened));
    assert_eq!(get(&format!("{url}/v1/requests/m-1"), &[]).await.json(), dispatch);
    assert_eq!(dispatch["steps"].as_array().unwrap().len(), 5);
    assert_eq!(dispatch["history"].as_array().unwrap().last().unwrap()["event"], "complete_order_done");
    let late = post(&format!("{location}/cancel"), &[], &json!({ "reason": "too late" })).await;
    assert_eq!((late.status, &late.json()["code"]), (409, &json!("FAILED_PRECONDITION")));
    assert_eq!(
        get(&format!("http://{}/livez", rig.program.http()), &[]).await.header("x-content-type-options"),
        "nosniff"
    );
    rig.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_by_the_description_finds_nothing_that_is_not_as_it_says() {
    let requirements = format!("{ROOT}/tests/http/requirements.txt");
    let Some(python) = tool("python.sh", &[&requirements]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let clients = folder.path().join("clients.toml");
    let client = format!(
        "[[client]]\nname = \"stranger\"\ntoken_sha256 = [\"{SECRET}\"]\nscopes = [\"submit\", \"read\"]\n"
    );
    std::fs::write(&clients, client).unwrap();
    let rig = Rig::with(WAYBILL, TestDatabase::sqlite().await, |program| {
        // Nobody waits for the decisions of sagas.
        program
            .set("WAYBILL_AUTH_CLIENTS_FILE", clients.to_str().unwrap())
            .set("WAYBILL_GATEWAY_CANCEL_WAIT", "10ms")
    })
    .await;
    let description = format!("{}/v1/openapi.json", rig.program.endpoint());
    let run = Command::new(python)
        .args(["-m", "schemathesis.cli", "run", &description, "--header", "Authorization: Bearer secret"])
        .args(["--checks", "all", "--max-examples", "10", "--seed", "1", "--generation-database", "none"])
        .args(["--no-color", "--suppress-health-check", "all", "--warnings", "off"])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", format!("{ROOT}/tests/http"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output();
    let output = in_time("the end of schemathesis", run).await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    let accepted = rig.database.number("SELECT count(*) FROM dispatches").await;
    assert!(accepted > 0, "nothing was accepted:\n{out}");
    rig.stop().await;
}
