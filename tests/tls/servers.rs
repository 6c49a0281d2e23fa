//! A broker and a database that speak TLS only with whoever has a certificate. One of each for the whole file, because
//! starting them takes longer than all that is asked of them.

use std::path::Path;

use waybill_test_support::{
    Program, Ran, Server,
    client::{request, run_to_end},
};

use crate::{NO_BROKER, Stage, WAYBILL, stranger, text};

/// Gone with the value.
struct Destroyed(Server);

impl Drop for Destroyed {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

/// The certificate errors that a client sees, as rustls calls them.
fn refused(ran: &Ran, words: &[&str]) {
    assert!(ran.code != Some(0), "{}", ran.out);
    assert!(words.iter().any(|words| ran.err.contains(words)), "{}", ran.err);
    assert!(!ran.err.contains("guest:guest"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_reached_by_its_ca_and_with_a_certificate_of_our_own() {
    let (stage, other) = (Stage::new(), stranger());
    let server = Destroyed(Server::rabbitmq(&stage.folder.path().join("broker")));
    let url = server.0.run_with("start", &["--tls", text(stage.folder.path())]).await.unwrap();
    let client = stage.client("waybill");
    let with = |url: &str, ca: &Path| {
        Program::new(WAYBILL, &stage.database(), url, "tls.").set("WAYBILL_AMQP_TLS_CA", text(ca))
    };
    let certified = |program: Program| {
        program
            .set("WAYBILL_AMQP_TLS_CERTIFICATE", text(&client.certificate))
            .set("WAYBILL_AMQP_TLS_KEY", text(&client.key))
    };
    refused(&certified(with(&url, &other.ca)).run(&["queues"]).await, &["UnknownIssuer"]);
    let by_address = url.replace("localhost", "127.0.0.1");
    refused(
        &certified(with(&by_address, &stage.ca)).run(&["queues"]).await,
        &["NotValidForName", "not valid for name"],
    );
    // Without a certificate of ours the broker ends the connection.
    refused(&with(&url, &stage.ca).run(&["queues"]).await, &["broker amqps://"]);
    let program = certified(with(&url, &stage.ca));
    let process = program.start_whole().await;
    run_to_end(&program.client(), request("m-1")).await;
    let ended = process.terminate().await;
    assert!(ended.status.success(), "{}", ended.log.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_reached_with_verify_full_and_never_by_another_name_or_ca() {
    let (stage, other) = (Stage::new(), stranger());
    let client = stage.client("client");
    let server = Destroyed(Server::postgres(&stage.folder.path().join("database")));
    let url = server.0.run_with("start", &["--tls", text(stage.folder.path())]).await.unwrap();
    let url = url.replace("waybill@", "waybill:hunter2@");
    let verified = |url: &str, ca: &Path| format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
    let certified = |url: String| {
        format!("{url}&sslcert={}&sslkey={}", client.certificate.display(), client.key.display())
    };
    let with = |url: &str| Program::new(WAYBILL, url, NO_BROKER, "tls.").roles("gateway");
    let by_address = url.replace("localhost", "127.0.0.1");
    for (url, words) in [
        (certified(verified(&url, &other.ca)), ["UnknownIssuer", "unknown issuer"]),
        (certified(verified(&by_address, &stage.ca)), ["NotValidForName", "not valid for name"]),
        (verified(&url, &stage.ca), ["client certificate", "CertificateRequired"]),
        (url.clone() + "?sslmode=disable", ["no encryption", "pg_hba"]),
    ] {
        let ran = with(&url).run(&["migrate"]).await;
        refused(&ran, &words);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
    let program = with(&certified(verified(&url, &stage.ca))).set("RUST_LOG", "trace,sqlx=trace");
    let process = program.start().await;
    let accepted = program.client().request_dispatch(request("m-1")).await.unwrap().into_inner();
    assert!(!accepted.duplicate);
    let ended = process.terminate().await;
    assert!(ended.status.success() && !ended.log.join("\n").contains("hunter2"), "{}", ended.log.join("\n"));
}
