//! The connection of a command to a server: address, deadline, credentials, trace context. Every call goes through
//! here, so that each has a deadline on both sides.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::{global, propagation::Injector};
use tonic::{
    Request, Response, Status,
    metadata::{MetadataKey, MetadataMap, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use waybill_proto::v1::{
    dispatch_gateway_client::DispatchGatewayClient, dispatch_operator_client::DispatchOperatorClient,
};

use super::{Failure, credentials::Credentials, exit, status, tls::TlsArgs};

/// The client that every command uses; its clones share one connection.
pub(super) type Gateway = DispatchGatewayClient<InterceptedService<Channel, Caller>>;

/// The same for what operators may do.
pub(super) type Operator = DispatchOperatorClient<InterceptedService<Channel, Caller>>;

pub(super) const DEFAULT: &str = "http://127.0.0.1:50051";

/// How to reach a server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ClientArgs {
    /// Server
    #[arg(long, env = "WAYBILL_ENDPOINT", default_value = DEFAULT, value_name = "URL")]
    endpoint: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// File that holds the token to send; without it `WAYBILL_TOKEN` may hold one
    #[arg(long, env = "WAYBILL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait for an answer; where much is awaited, how long without any news
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
    /// Print JSON, one value a line
    #[arg(long)]
    pub(super) json: bool,
}

impl ClientArgs {
    /// For a command that has these flags without `--json`.
    pub(super) fn new(
        endpoint: String,
        tls: TlsArgs,
        token_file: Option<PathBuf>,
        timeout: Duration,
    ) -> Self {
        Self { endpoint, tls, token_file, timeout, json: false }
    }

    /// Connects within the time-out. A lost connection is later re-opened by the next call.
    pub(super) async fn connect(&self) -> Result<Gateway, Failure> {
        let caller = self.caller()?;
        Ok(DispatchGatewayClient::with_interceptor(self.channel().await?, caller))
    }

    /// The same for an operator, over one connection.
    pub(super) async fn connect_operator(&self) -> Result<(Gateway, Operator), Failure> {
        let caller = self.caller()?;
        let channel = self.channel().await?;
        let gateway = DispatchGatewayClient::with_interceptor(channel.clone(), caller.clone());
        // What the server has to show may be as large as a message.
        let operator = DispatchOperatorClient::with_interceptor(channel, caller);
        Ok((gateway, operator.max_decoding_message_size(usize::MAX)))
    }

    /// What has to be added to a command that is to reach the same server.
    pub(super) fn flag(&self) -> String {
        let tls = self.tls.flags();
        if self.endpoint == DEFAULT { tls } else { format!(" --endpoint {}{tls}", self.endpoint) }
    }

    fn caller(&self) -> Result<Caller, Failure> {
        let credentials = Credentials::find(self.token_file.as_deref())?;
        Ok(Caller(credentials.map(Arc::new)))
    }

    async fn channel(&self) -> Result<Channel, Failure> {
        let unusable = |error: &dyn std::error::Error| {
            Failure::usage(format!("--endpoint {}: {}", self.endpoint, status::chain(error)))
        };
        let endpoint = Endpoint::from_shared(self.endpoint.clone()).map_err(|error| unusable(&error))?;
        // A server that vanished without a word is noticed while a stream waits for news.
        let endpoint = self
            .tls
            .apply(endpoint)?
            .connect_timeout(self.timeout)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        endpoint.connect().await.map_err(|error| {
            let message = format!("cannot reach {}: {}", self.endpoint, status::chain(&error));
            Failure::new(exit::UNREACHABLE, message)
        })
    }

    /// Runs one call with the time-out as its deadline. Dropping it abandons the call; whether the server
    /// has carried it out is then unknown.
    pub(super) async fn call<T, R, F>(
        &self,
        message: T,
        call: impl FnOnce(Request<T>) -> F,
    ) -> Result<R, Status>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        match tokio::time::timeout(self.timeout, call(request)).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no answer within {}",
                humantime::format_duration(self.timeout)
            ))),
        }
    }
}

/// Puts the credentials and the trace context of the current span into the metadata of each call.
#[derive(Debug, Clone)]
pub(super) struct Caller(Option<Arc<Credentials>>);

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(credentials) = &self.0 {
            request.metadata_mut().insert("authorization", credentials.header());
        }
        let context = Span::current().context();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Metadata(request.metadata_mut()));
        });
        Ok(request)
    }
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    /// What is no valid metadata is left out: a call without trace context is better than none.
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) =
            (MetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(value))
        {
            self.0.insert(key, value);
        }
    }
}
