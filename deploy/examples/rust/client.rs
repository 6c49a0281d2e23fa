//! What a client does: one request, asked again until it has a receipt, then a watch, resumed until the end.

use std::{env, fs, future::Future, time::Duration};

use anyhow::Context as _;
use tonic::{
    Code, Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;
use uuid::Uuid;
use waybill_proto::v1::{
    DispatchRequested, DispatchState, WatchDispatchRequest, dispatch_gateway_client::DispatchGatewayClient,
};

/// How often one thing is asked.
const ATTEMPTS: u32 = 10;
/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(5);

/// Asks for a dispatch and waits for its end, which is returned by name.
pub(crate) async fn dispatch(
    endpoint: &str,
    order_id: &str,
    destination_code: &str,
    parcel_count: i32,
) -> anyhow::Result<&'static str> {
    let client = DispatchGatewayClient::with_interceptor(channel(endpoint)?, bearer());
    let request = DispatchRequested {
        // One id for all attempts: it is what makes asking again harmless. Keep it with the order.
        message_id: Uuid::now_v7().to_string(),
        order_id: order_id.to_owned(),
        destination_code: destination_code.to_owned(),
        parcel_count,
        ..DispatchRequested::default()
    };
    let receipt = again(|| {
        let (mut client, request) = (client.clone(), with_deadline(request.clone()));
        async move { client.request_dispatch(request).await }
    });
    let dispatch_id = receipt.await?.into_inner().dispatch_id;
    println!("accepted {dispatch_id}");
    follow(client, dispatch_id).await
}

type Client<F> = DispatchGatewayClient<InterceptedService<Channel, F>>;

/// A watch that breaks goes on after the last version that was seen.
async fn follow<F>(client: Client<F>, dispatch_id: String) -> anyhow::Result<&'static str>
where
    F: tonic::service::Interceptor + Clone,
{
    let mut after_version = 0;
    loop {
        let watch = WatchDispatchRequest { dispatch_id: dispatch_id.clone(), after_version };
        let watching = again(|| {
            let (mut client, watch) = (client.clone(), watch.clone());
            async move { client.watch_dispatch(watch).await }
        });
        let mut transitions = watching.await?.into_inner();
        while let Ok(Some(transition)) = transitions.message().await {
            println!("{} {}", transition.event, transition.state().as_str_name());
            after_version = transition.version;
            let state = transition.state();
            if matches!(state, DispatchState::Completed | DispatchState::Cancelled | DispatchState::Stuck) {
                return Ok(state.as_str_name());
            }
        }
    }
}

/// Asks again after a failure after which that is safe, and of use.
async fn again<T, F>(ask: impl Fn() -> F) -> anyhow::Result<Response<T>>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut pause = Duration::from_millis(100);
    for _ in 1..ATTEMPTS {
        match ask().await {
            Err(status) if is_passing(status.code()) => {
                // The server knows best when there is room again.
                let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
                tokio::time::sleep(asked.unwrap_or(pause)).await;
                pause = (pause * 2).min(LONGEST);
            }
            outcome => return Ok(outcome?),
        }
    }
    Ok(ask().await?)
}

fn is_passing(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
}

fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(5));
    request
}

fn channel(endpoint: &str) -> anyhow::Result<Channel> {
    let mut channel = Endpoint::from_shared(endpoint.to_owned())?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(20));
    if let Ok(file) = env::var("WAYBILL_TLS_CA") {
        let ca = Certificate::from_pem(fs::read(&file).with_context(|| file)?);
        channel = channel.tls_config(ClientTlsConfig::new().ca_certificate(ca))?;
    }
    Ok(channel.connect_lazy())
}

fn bearer() -> impl tonic::service::Interceptor + Clone {
    let token = env::var("WAYBILL_TOKEN").ok();
    move |mut request: Request<()>| {
        if let Some(token) = &token {
            let value = format!("Bearer {token}").parse();
            let value = value.map_err(|_| Status::unauthenticated("WAYBILL_TOKEN cannot be sent"))?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}
