//! A bare unary call with the messages of `RequestDispatch`: what tonic allows where nothing is done.
//! Client and server have a thread with a single-threaded runtime each.

use std::{net::SocketAddr, thread};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use tokio::{net::TcpListener, sync::oneshot, time::Instant};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint, Server},
};
use waybill_proto::v1::{
    DispatchReceipt, DispatchRequested, dispatch_gateway_client::DispatchGatewayClient,
    dispatch_gateway_server::DispatchGatewayServer,
};

use crate::{
    front::{Answers, Front},
    site::Site,
};

type Client = DispatchGatewayClient<Channel>;

struct Echo;

impl Answers for Echo {
    async fn request(&self, request: DispatchRequested) -> Result<DispatchReceipt, Status> {
        let DispatchRequested { message_id, order_id, .. } = request;
        Ok(DispatchReceipt { message_id, dispatch_id: order_id, ..DispatchReceipt::default() })
    }
}

/// Calls a second.
pub(crate) async fn calls(site: &Site, connections: u16, in_flight: u32) -> Result<f64> {
    let (stop, stopped) = oneshot::channel();
    let (address, listening) = oneshot::channel();
    let server = alone(async move { serve(address, stopped).await });
    let address = listening.await.context("the echo does not listen")?;
    let (warm_up, time) = (site.settings.warm_up(), site.settings.time());
    let clients = alone(async move {
        let begin = Instant::now() + warm_up;
        ask(address, connections, in_flight, begin, begin + time).await
    });
    let done = clients.await.context("the clients are gone")??;
    let _ = stop.send(());
    server.await.context("the echo is gone")??;
    Ok(done as f64 / time.as_secs_f64())
}

/// Runs something on a thread and a runtime of its own.
fn alone<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> oneshot::Receiver<Result<T>> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _ = sender.send(runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(work)));
    });
    receiver
}

async fn serve(address: oneshot::Sender<SocketAddr>, stopped: oneshot::Receiver<()>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let _ = address.send(listener.local_addr()?);
    let mut server = Server::builder().tcp_nodelay(true).max_concurrent_streams(1_024);
    let serving = server.add_service(DispatchGatewayServer::new(Front(Echo)));
    let stop = async { drop(stopped.await) };
    Ok(serving.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop).await?)
}

async fn ask(
    address: SocketAddr,
    connections: u16,
    in_flight: u32,
    begin: Instant,
    end: Instant,
) -> Result<u64> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        clients.push(DispatchGatewayClient::new(endpoint.connect().await?));
    }
    let places = clients.iter().cycle().zip(0..in_flight);
    let places = places.map(|(client, place)| tokio::spawn(call(client.clone(), place, begin, end)));
    let done = join_all(places.collect::<Vec<_>>()).await;
    done.into_iter().try_fold(0, |sum, place| Ok(sum + place??))
}

async fn call(mut client: Client, place: u32, begin: Instant, end: Instant) -> Result<u64> {
    let request = DispatchRequested {
        message_id: format!("bench-01a201bb469b75ffaac49d7bab85ceb2-{place}"),
        order_id: format!("bench-order-01a201bb469b75ffaac49d7bab85ceb2-{place}"),
        destination_code: "DEHAM".to_owned(),
        parcel_count: 1,
        ..DispatchRequested::default()
    };
    let mut done = 0;
    while Instant::now() < end {
        client.request_dispatch(request.clone()).await?;
        done += u64::from(Instant::now() > begin);
    }
    Ok(done)
}
