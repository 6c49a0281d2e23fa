//! Clients that are known by their certificates, over real handshakes, and a file of them that changes.

use std::fs;

use waybill_test_support::{Process, Program, Ran, certificates::Files, patience::until};

use super::{Stage, stranger, text};

const NOT_FOUND: Option<i32> = Some(5);

fn client(name: &str, scopes: &str) -> String {
    format!("[[client]]\nname = '{name}'\ncertificate = ['cn:{name}']\nscopes = {scopes}\nown_only = true\n")
}

/// A gateway that knows shop and depot by their certificates, and who they are is in that file.
async fn start(stage: &Stage, clients: &str) -> (Program, Process, std::path::PathBuf) {
    let file = stage.folder.path().join("clients.toml");
    fs::write(&file, clients).unwrap();
    let program = stage
        .gateway_with_tls()
        .set("WAYBILL_GRPC_TLS_CLIENT_CA", text(&stage.ca))
        .set("WAYBILL_AUTH_CLIENTS_FILE", text(&file));
    let process = program.start().await;
    (program, process, file)
}

/// Runs a command as who has this certificate.
async fn by(stage: &Stage, program: &Program, files: &Files, command: &[&str]) -> Ran {
    let tls = ["--tls-ca", text(&stage.ca), "--tls-certificate", text(&files.certificate)];
    let key = ["--tls-key", text(&files.key), "--timeout", "20s"];
    program.run(&[command, &tls, &key].concat()).await
}

const SUBMIT: [&str; 9] =
    ["submit", "--message-id", "m-1", "--order-id", "o-1", "--destination", "DEHAM", "--parcels", "1"];
const GET: [&str; 4] = ["get", "m-1", "--by", "message"];

#[tokio::test]
async fn a_certificate_is_a_client_with_its_scopes_and_its_own_dispatches() {
    let (stage, other) = (Stage::new(), stranger());
    let clients = client("shop", "['submit', 'read']") + &client("depot", "['read']");
    let (program, process, _) = start(&stage, &clients).await;
    let [shop, depot, clerk] = ["shop", "depot", "clerk"].map(|name| stage.client(name));
    let asked = by(&stage, &program, &shop, &SUBMIT).await;
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    assert_eq!(by(&stage, &program, &shop, &GET).await.code, Some(0));
    assert_eq!(by(&stage, &program, &depot, &GET).await.code, NOT_FOUND, "another's");
    let refused = by(&stage, &program, &depot, &SUBMIT).await;
    assert!(refused.err.contains("client depot does not have scope submit"), "{}", refused.err);
    let unknown = by(&stage, &program, &clerk, &GET).await;
    assert!(unknown.err.contains("does not name one client that is known here"), "{}", unknown.err);
    // The right name, vouched for by the wrong authority.
    let forged = by(&stage, &program, &other.client("shop"), &GET).await;
    assert!(forged.code != Some(0) && !forged.err.contains("client"), "{}", forged.err);
    assert!(process.terminate().await.status.success());
}

#[tokio::test]
async fn clients_change_without_a_restart_and_a_file_that_cannot_be_used_changes_nothing() {
    let stage = Stage::new();
    let (program, process, file) = start(&stage, &client("shop", "['submit', 'read']")).await;
    let [shop, depot] = ["shop", "depot"].map(|name| stage.client(name));
    assert_eq!(by(&stage, &program, &shop, &SUBMIT).await.code, Some(0));
    fs::write(&file, client("depot", "['read', 'nothing']")).unwrap();
    process.hang_up();
    process.logs("the file of clients cannot be used; the old clients stay").await;
    process.logs("scopes: must be one or more of submit, read, operate").await;
    assert_eq!(by(&stage, &program, &shop, &GET).await.code, Some(0));
    fs::write(&file, client("depot", "['read']")).unwrap();
    // Seen without being told.
    process.logs("the file of clients has changed and is in use").await;
    let knows_depot = async || by(&stage, &program, &depot, &GET).await.code == NOT_FOUND;
    until("depot is known", knows_depot).await;
    let gone = by(&stage, &program, &shop, &GET).await;
    assert!(gone.err.contains("does not name one client that is known here"), "{}", gone.err);
    assert!(process.terminate().await.status.success());
}
