//! `waybill health`: asks a process on this machine how it is. For the health checks of containers, and for scripts,
//! where there is no other HTTP client.

mod own;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use waybill_gateway::listen::Files;

use super::{Failure, Task, exit, out, settings::SettingArgs, status};

/// Longest answer that is read, in bytes.
const LONGEST: usize = 65_536;

/// Asks the process of this configuration, on this machine, whether it can do its work
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It asks at http.addr, and ends with 0 when the answer is yes, 1 when it is no, and 6 when there is none.

Examples:
  waybill health
  waybill health --live --http-addr 127.0.0.1:9464")]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingArgs,
    /// Ask only whether the process answers
    #[arg(long)]
    live: bool,
    /// How long to wait for the answer
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What is asked, and whom.
#[derive(Debug)]
pub(crate) struct Question {
    address: SocketAddr,
    /// Where the port has TLS.
    tls: Option<Files>,
    path: &'static str,
    timeout: Duration,
}

impl Args {
    pub(super) fn prepare(self) -> Result<Task, Failure> {
        let config = self.settings.load()?.config;
        let path = if self.live { "/livez" } else { "/readyz" };
        let (address, tls) = (near(config.http_addr), config.http_tls);
        Ok(Task::Health(Question { address, tls, path, timeout: self.timeout }))
    }
}

/// Who listens on every address is asked on the loopback one.
fn near(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

impl Question {
    /// Prints the answer.
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let whom = format!("{scheme}://{}{}", self.address, self.path);
        let answer = match timeout(self.timeout, self.ask()).await {
            Ok(answer) => answer.map_err(|error| status::chain(error.as_ref())),
            Err(_) => Err(format!("no answer within {}", humantime::format_duration(self.timeout))),
        };
        let (status, body) =
            answer.map_err(|why| Failure::new(exit::UNREACHABLE, format!("cannot ask {whom}: {why}")))?;
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        if status == StatusCode::OK {
            return out::text(&super::clean::clean(&body)).map(|()| ExitCode::SUCCESS);
        }
        Err(Failure::other(format!("{whom} answers {status}: {body}")))
    }

    async fn ask(&self) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        match &self.tls {
            None => self.ask_on(stream).await,
            Some(files) => self.ask_on(own::connect(files, self.address, stream).await?).await,
        }
    }

    async fn ask_on(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what goes wrong on it is the error of the request.
        tokio::spawn(connection);
        let request = Request::get(self.path)
            .header(header::HOST, self.address.to_string())
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
        Ok((status, body.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::net::TcpListener;

    use super::{Question, StatusCode, exit, near};
    use std::time::Duration;

    async fn asked(path: &'static str) -> Result<(), (u8, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "broker: away\n") }))
            .route("/silent", get(std::future::pending::<String>));
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        let patience = if path == "/silent" { Duration::from_millis(10) } else { Duration::from_mins(1) };
        let result = Question { address, tls: None, path, timeout: patience }.run().await;
        server.abort();
        result.map(drop).map_err(|failure| (failure.code, failure.message))
    }

    #[tokio::test]
    async fn yes_is_0_no_is_1_with_the_reason_and_silence_is_6() {
        assert_eq!(asked("/livez").await, Ok(()));
        let (code, message) = asked("/readyz").await.unwrap_err();
        assert_eq!(code, exit::OTHER);
        assert!(message.ends_with("/readyz answers 503 Service Unavailable: broker: away"), "{message}");
        let (code, message) = asked("/silent").await.unwrap_err();
        assert_eq!(code, exit::UNREACHABLE);
        assert!(message.ends_with("no answer within 10ms"), "{message}");
    }

    #[tokio::test]
    async fn nobody_there_is_6() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let question = Question { address, tls: None, path: "/livez", timeout: Duration::from_mins(1) };
        assert_eq!(question.run().await.unwrap_err().code, exit::UNREACHABLE);
    }

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        let near = |text: &str| near(text.parse().unwrap()).to_string();
        assert_eq!(near("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(near("[::]:1"), "[::1]:1");
        assert_eq!(near("192.0.2.1:1"), "192.0.2.1:1");
    }
}
