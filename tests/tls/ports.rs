//! The ports of `serve`, and the commands that go there.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use waybill_test_support::{
    Process,
    patience::{in_time, until},
    prometheus::Scrape,
};

use crate::{Stage, ask, stranger, text};

/// Wrong usage or configuration.
const USAGE: Option<i32> = Some(2);
/// Nobody to talk to.
const UNREACHABLE: Option<i32> = Some(6);

fn entries(scrape: &Scrape, outcome: &str) -> f64 {
    scrape.value("waybill_connections_total", &[("port", "grpc"), ("outcome", outcome)])
}

async fn end(process: Process) {
    let ended = process.terminate().await;
    assert!(ended.status.success(), "{}", ended.log.join("\n"));
}

#[tokio::test]
async fn a_server_is_believed_by_its_ca_alone_and_slow_or_plain_peers_hold_up_nobody() {
    let (stage, other) = (Stage::new(), stranger());
    let program = stage.gateway_with_tls();
    let process = program.start().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(program.grpc()).await.unwrap());
    }
    let asked = ask(&program, Some(&stage.ca), None).await;
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    let without_grpc = https(program.grpc(), "/v1/dispatches", &stage.ca).await;
    assert_eq!(without_grpc.as_deref(), Some("HTTP/1.1 200 OK"), "the same port");
    for ca in [None, Some(other.ca.as_path())] {
        let asked = ask(&program, ca, None).await;
        assert_eq!(asked.code, UNREACHABLE, "{}", asked.err);
        assert!(asked.err.contains("UnknownIssuer"), "{}", asked.err);
    }
    let plain = format!("http://{}", program.grpc());
    let asked = program.run(&["list", "--timeout", "20s", "--endpoint", &plain]).await;
    assert!(asked.code != Some(0), "{}", asked.out);
    let asked = program.run(&["list", "--endpoint", &plain, "--tls-ca", text(&stage.ca)]).await;
    assert_eq!(asked.code, USAGE);
    assert!(asked.err.contains("--tls-ca needs an --endpoint that begins with https://"), "{}", asked.err);
    let counted = |scrape: &Scrape| {
        entries(scrape, "accepted") >= 1.0
            && entries(scrape, "refused") >= 2.0
            && entries(scrape, "plain_text") >= 1.0
    };
    process.measures("every connection as what it was", counted).await;
    end(process).await;
}

#[tokio::test]
async fn with_a_client_ca_only_its_clients_are_served() {
    let (stage, other) = (Stage::new(), stranger());
    let program = stage.gateway_with_tls().set("WAYBILL_GRPC_TLS_CLIENT_CA", text(&stage.ca));
    let process = program.start().await;
    let asked = ask(&program, Some(&stage.ca), Some(&stage.client("clerk"))).await;
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    for client in [None, Some(other.client("clerk"))] {
        let asked = ask(&program, Some(&stage.ca), client.as_ref()).await;
        assert!(asked.code != Some(0), "{client:?} was served");
    }
    end(process).await;
}

#[tokio::test]
async fn certificates_change_without_a_restart_and_broken_ones_are_not_used() {
    let (stage, next) = (Stage::new(), stranger());
    let program = stage.gateway_with_tls();
    let process = program.start().await;
    fs::copy(&next.server.key, &stage.server.key).unwrap();
    fs::copy(&next.server.certificate, &stage.server.certificate).unwrap();
    // Seen without being told.
    process.logs("new certificates are in use").await;
    assert_eq!(ask(&program, Some(&next.ca), None).await.code, Some(0));
    assert_eq!(ask(&program, Some(&stage.ca), None).await.code, UNREACHABLE);
    fs::write(&stage.server.certificate, "broken").unwrap();
    process.hang_up();
    process.logs("new certificates cannot be used; the old ones stay").await;
    let asked = ask(&program, Some(&next.ca), None).await;
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    end(process).await;
}

/// The first line of what HTTPS answers there. The address is called localhost.
async fn https(address: SocketAddr, path: &str, ca: &Path) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.ok()?;
    let name = "localhost".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().map(str::to_owned)
}

#[tokio::test]
async fn the_http_port_speaks_tls_and_closes_plain_text() {
    let stage = Stage::new();
    let program = stage
        .gateway()
        .set("WAYBILL_HTTP_TLS_CERTIFICATE", text(&stage.server.certificate))
        .set("WAYBILL_HTTP_TLS_KEY", text(&stage.server.key));
    let process = program.spawn();
    let alive =
        async || https(program.http(), "/livez", &stage.ca).await.as_deref() == Some("HTTP/1.1 200 OK");
    until("an answer over TLS", alive).await;
    let mut plain = TcpStream::connect(program.http()).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = in_time("the end of plain text", plain.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"));
    let health = ["health", "--live", "--timeout", "20s"];
    let asked = program.run(&health).await;
    assert_eq!((asked.code, asked.out.as_str()), (Some(0), "ok\n"), "{}", asked.err);
    let other = stranger();
    let asked =
        program.set("WAYBILL_HTTP_TLS_CERTIFICATE", text(&other.server.certificate)).run(&health).await;
    assert_eq!(asked.code, UNREACHABLE);
    assert!(asked.err.contains("another certificate than http.tls_certificate holds"), "{}", asked.err);
    end(process).await;
}

#[tokio::test]
async fn a_port_that_others_can_reach_is_refused_before_anything_is_opened() {
    let stage = Stage::new();
    let program = stage.gateway_with_tls();
    let arguments = ["serve", "--grpc-addr", "0.0.0.0:1", "--http-addr", "[::]:2"];
    let ran = program.run(&arguments).await;
    assert_eq!(ran.code, USAGE);
    let expected = [
        "grpc.addr = 0.0.0.0:1 can be reached from other machines, without authentication: ",
        "http.addr = [::]:2 can be reached from other machines, without TLS: set http.tls_certificate and http.tls_key",
        "--insecure (setting insecure, environment variable WAYBILL_INSECURE=true)",
    ];
    for words in expected {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    assert!(!stage.folder.path().join("waybill.db").exists());
    // An address that no machine has: it gets as far as binding it.
    for allowed in [
        program.run(&["serve", "--grpc-addr", "192.0.2.1:1", "--insecure"]).await,
        program.clone().set("WAYBILL_INSECURE", "true").run(&["serve", "--grpc-addr", "192.0.2.1:1"]).await,
        program
            .set("WAYBILL_GRPC_TLS_CLIENT_CA", text(&stage.ca))
            .run(&["serve", "--grpc-addr", "192.0.2.1:1"])
            .await,
    ] {
        assert_eq!(allowed.code, Some(1), "{}", allowed.err);
        assert!(allowed.err.contains("grpc.addr 192.0.2.1:1"), "{}", allowed.err);
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_stop_the_start_and_are_named() {
    let stage = Stage::new();
    fs::write(&stage.server.key, "nothing of the kind").unwrap();
    let ran = stage.gateway_with_tls().run(&["serve"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("grpc.tls_key") && ran.err.contains("server.key: holds no private key"),
        "{}",
        ran.err
    );
}
