//! A client of the gateway, and the requests that tests make.

use std::{net::SocketAddr, time::Duration};

use tonic::transport::{Channel, Endpoint};
use waybill_proto::v1::{
    CancelDispatchRequest, Dispatch, DispatchRequested, DispatchTransition, GetDispatchRequest, Money,
    WatchDispatchRequest, dispatch_gateway_client::DispatchGatewayClient, get_dispatch_request::Key,
};

use crate::patience::in_time;

/// The generated client.
pub type Client = DispatchGatewayClient<Channel>;

/// A client that connects when it is used, and again when its connection is lost.
pub(crate) fn lazy(address: SocketAddr) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address is a URL");
    Client::new(endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy())
}

/// A request that every participant agrees to.
pub fn request(id: &str) -> DispatchRequested {
    DispatchRequested {
        message_id: id.to_owned(),
        order_id: format!("order-{id}"),
        destination_code: "DEHAM".to_owned(),
        parcel_count: 3,
        customer_id: format!("customer-{id}"),
        ..DispatchRequested::default()
    }
}

/// The customer that [`Rig`](crate::Rig) has participant `order` refuse.
pub const BLOCKED: &str = "blocked";

/// A request that participant `order` refuses.
pub fn refused_by_order(id: &str) -> DispatchRequested {
    DispatchRequested { customer_id: BLOCKED.to_owned(), ..request(id) }
}

/// A request that participant `payment` refuses: it is beyond the default credit limit.
pub fn refused_by_payment(id: &str) -> DispatchRequested {
    let amount = Money { currency_code: "EUR".to_owned(), minor_units: 100_001 };
    DispatchRequested { amount: Some(amount), ..request(id) }
}

/// A request that participant `dispatch` refuses by its default rules.
pub fn refused_by_dispatch(id: &str) -> DispatchRequested {
    DispatchRequested { destination_code: "ZZ9".to_owned(), ..request(id) }
}

/// The dispatch as it stands.
pub async fn get(client: &Client, dispatch_id: &str) -> Dispatch {
    let key = Some(Key::DispatchId(dispatch_id.to_owned()));
    let got = client.clone().get_dispatch(GetDispatchRequest { key }).await;
    got.expect("the dispatch is known").into_inner()
}

/// Every transition after `after_version`, to the end.
pub async fn watch(client: &Client, dispatch_id: &str, after_version: u64) -> Vec<DispatchTransition> {
    let request = WatchDispatchRequest { dispatch_id: dispatch_id.to_owned(), after_version };
    let watching = async {
        let mut stream = client.clone().watch_dispatch(request).await.expect("watched").into_inner();
        let mut seen = Vec::new();
        while let Some(transition) = stream.message().await.expect("the stream holds") {
            seen.push(transition);
        }
        seen
    };
    in_time("the end of the dispatch", watching).await
}

/// Requests a dispatch and returns it as it ended.
pub async fn run_to_end(client: &Client, request: DispatchRequested) -> Dispatch {
    let receipt = client.clone().request_dispatch(request).await.expect("accepted").into_inner();
    watch(client, &receipt.dispatch_id, 0).await;
    get(client, &receipt.dispatch_id).await
}

/// What cancels a dispatch.
pub fn cancel(dispatch_id: &str) -> CancelDispatchRequest {
    CancelDispatchRequest { dispatch_id: dispatch_id.to_owned(), reason: "changed my mind".to_owned() }
}
