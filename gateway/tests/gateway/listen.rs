//! The port: TLS, who is at the other end, and peers that take a place without using it.

use std::{net::SocketAddr, path::Path, sync::mpsc, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::{
    service::Routes,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use waybill_gateway::listen::{self, Certificates, Files, Limits, Listener, Peer};
use waybill_test_support::certificates::{Authority, Issued};

use crate::rig::{LIMITS, PATIENCE, settings};

/// A server's certificate and the authority that vouches for it and for clients.
struct Stage {
    folder: TempDir,
    authority: Authority,
}

impl Stage {
    fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        authority.write(folder.path());
        authority.issue("server", &["localhost"]).write(folder.path(), "server");
        Self { folder, authority }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn certificates(&self, with_clients: bool) -> Result<Certificates, String> {
        let (certificate, key) = (self.path().join("server.pem"), self.path().join("server.key"));
        let client_ca = with_clients.then(|| self.path().join("ca.pem"));
        Certificates::load(Files { certificate, key, client_ca }, &[b"h2"]).await
    }

    /// A port that asks for client certificates if told so.
    async fn listen(&self, with_clients: bool, limits: Limits) -> (Listener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificates = self.certificates(with_clients).await.unwrap();
        (Listener::new("grpc", listener, Some(certificates), limits), address)
    }

    fn endpoint(&self, address: SocketAddr, client: Option<&Issued>) -> Endpoint {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.authority.pem()))
            .domain_name("localhost");
        if let Some(client) = client {
            tls = tls.identity(Identity::from_pem(&client.certificate, &client.key));
        }
        Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap()
    }
}

/// Asks once, so that the connection is certainly used.
async fn ask(channel: Channel) -> Result<(), tonic::Status> {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.map(|_| ())
}

/// Serves health, and tells who asks.
fn serve(listener: Listener) -> mpsc::Receiver<Peer> {
    let (seen, peers) = mpsc::channel();
    let tell = move |request: http::Request<axum::body::Body>| {
        let _ = seen.send(request.extensions().get::<Peer>().unwrap().clone());
        request
    };
    let (_, health) = tonic_health::server::health_reporter();
    let router = Routes::new(health).into_axum_router().layer(tower::util::MapRequestLayer::new(tell));
    tokio::spawn(listen::serve(listener, listen::Server::new(&settings(), router), std::future::pending()));
    peers
}

async fn reads_the_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
}

#[tokio::test]
async fn the_peers_verified_certificate_is_among_the_extensions_of_a_request() {
    let stage = Stage::new();
    let (listener, address) = stage.listen(true, LIMITS).await;
    let peers = serve(listener);
    let client = stage.authority.issue("client", &[]);
    ask(stage.endpoint(address, Some(&client)).connect().await.unwrap()).await.unwrap();
    let peer = peers.recv().unwrap();
    assert_eq!(peer.certificates.len(), 1);
    assert_eq!(peer.certificates[0].as_ref(), client.der);
    assert!(peer.address.ip().is_loopback() && peer.address != address);
}

#[tokio::test]
async fn a_client_whose_certificate_is_missing_or_a_strangers_is_refused() {
    let stage = Stage::new();
    let (listener, address) = stage.listen(true, LIMITS).await;
    let _peers = serve(listener);
    let stranger = Authority::new().issue("client", &[]);
    for client in [None, Some(&stranger)] {
        // With TLS 1.3 a client takes itself for connected before the server has looked at its certificate.
        if let Ok(channel) = stage.endpoint(address, client).connect().await {
            ask(channel).await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn without_a_client_ca_nobody_is_asked_for_a_certificate() {
    let stage = Stage::new();
    let (listener, address) = stage.listen(false, LIMITS).await;
    let peers = serve(listener);
    let client = stage.authority.issue("client", &[]);
    ask(stage.endpoint(address, Some(&client)).connect().await.unwrap()).await.unwrap();
    assert!(peers.recv().unwrap().certificates.is_empty());
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_its_place_comes_free_again() {
    let stage = Stage::new();
    let limits = Limits { connections: 1, ..LIMITS };
    let (mut listener, address) = stage.listen(false, limits).await;
    let channel = stage.endpoint(address, None).connect_lazy();
    let asking = tokio::spawn(ask(channel));
    let first = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    reads_the_end(&mut TcpStream::connect(address).await.unwrap()).await;
    drop(first);
    asking.await.unwrap().unwrap_err();
    let again = tokio::spawn(ask(stage.endpoint(address, None).connect_lazy()));
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    again.abort();
}

#[tokio::test]
async fn plain_text_on_a_port_with_tls_is_closed_at_once() {
    let stage = Stage::new();
    let (listener, address) = stage.listen(false, LIMITS).await;
    let _peers = serve(listener);
    for text in ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        // The limit of a handshake is longer than this test waits.
        reads_the_end(&mut stream).await;
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended_and_holds_up_nobody() {
    let stage = Stage::new();
    let (listener, address) = stage.listen(false, LIMITS).await;
    let _peers = serve(listener);
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    ask(stage.endpoint(address, None).connect().await.unwrap()).await.unwrap();
    let hasty = Limits { handshake_timeout: Duration::from_millis(50), ..LIMITS };
    let (_listener, address) = stage.listen(false, hasty).await;
    reads_the_end(&mut TcpStream::connect(address).await.unwrap()).await;
}

#[tokio::test]
async fn a_peer_that_never_says_what_it_wants_loses_its_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hasty = Limits { handshake_timeout: Duration::from_millis(50), ..LIMITS };
    let _peers = serve(Listener::new("grpc", listener, None, hasty));
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"PRI").await.unwrap();
    reads_the_end(&mut silent).await;
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let stage = Stage::new();
    let other = stage.authority.issue("other", &["localhost"]);
    other.write(stage.path(), "other");
    std::fs::copy(stage.path().join("other.key"), stage.path().join("server.key")).unwrap();
    let error = stage.certificates(false).await.unwrap_err();
    assert!(error.contains("server.pem with ") && error.contains("server.key: "), "{error}");
    std::fs::write(stage.path().join("server.key"), "nothing").unwrap();
    let error = stage.certificates(false).await.unwrap_err();
    assert!(error.ends_with("server.key: holds no private key as PEM"), "{error}");
    std::fs::remove_file(stage.path().join("ca.pem")).unwrap();
    let error = stage.certificates(true).await.unwrap_err();
    assert!(error.contains("ca.pem: "), "{error}");
}
