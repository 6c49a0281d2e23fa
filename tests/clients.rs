//! The clients of docs/clients.md do what it says of them: they ask again where that is safe, and see their dispatch to
//! its end. Without Python and its packages that of Python says SKIPPED and why.
#![expect(clippy::print_stdout, reason = "a client prints what it sees")]

#[path = "../deploy/examples/rust/client.rs"]
mod client;

use std::{net::TcpListener, process::Stdio};

use tokio::process::Command;
use waybill_test_support::{TestBroker, TestDatabase, patience::in_time, program, tool};

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_asks_until_the_server_is_there_and_sees_its_dispatch_to_the_end() {
    let (database, broker) = (TestDatabase::sqlite().await, TestBroker::new().await);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let program = program(WAYBILL, &database, &broker).set("WAYBILL_GRPC_ADDR", &address);
    let in_python = tool("python.sh", &[]).await.map(|python| {
        let mut command = Command::new(python);
        command
            .args([&format!("{ROOT}/deploy/examples/python/client.py"), "SO-2", "ZZNOW", "1"])
            .env("WAYBILL_ENDPOINT", &address)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().unwrap()
    });
    // Nobody is there yet.
    let in_rust =
        tokio::spawn(async move { client::dispatch(&format!("http://{address}"), "SO-1", "NLRTM", 3).await });
    let process = program.start().await;
    assert_eq!(in_time("an end", in_rust).await.unwrap().unwrap(), "DISPATCH_STATE_COMPLETED");
    if let Some(in_python) = in_python {
        let output = in_time("an end", in_python.wait_with_output()).await.unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{err}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(
            lines[0].starts_with("accepted ") && lines[1] == "started DISPATCH_STATE_IN_PROGRESS",
            "{out}"
        );
        assert_eq!(lines.last(), Some(&"DISPATCH_STATE_CANCELLED"), "{out}");
    }
    assert!(process.terminate().await.status.success());
    broker.clean().await;
}
