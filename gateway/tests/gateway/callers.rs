//! Clients of a gateway that asks who they are.

use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use waybill_gateway::auth::{Client, Scope, Settings, hash_of};
use waybill_proto::v1::{
    self, dispatch_gateway_client::DispatchGatewayClient, dispatch_operator_client::DispatchOperatorClient,
};

use crate::rig::Rig;

/// Sends these credentials, or none.
#[derive(Clone)]
pub(crate) struct Bearer(pub(crate) Option<String>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(request)
    }
}

pub(crate) type Gateway = DispatchGatewayClient<InterceptedService<Channel, Bearer>>;
pub(crate) type Operator = DispatchOperatorClient<InterceptedService<Channel, Bearer>>;

/// Both services over one new connection.
pub(crate) async fn with_token(rig: &Rig, token: Option<&str>) -> (Gateway, Operator) {
    let channel = Channel::from_shared(format!("http://{}", rig.address)).unwrap().connect().await.unwrap();
    let bearer = Bearer(token.map(str::to_owned));
    (
        DispatchGatewayClient::with_interceptor(channel.clone(), bearer.clone()),
        DispatchOperatorClient::with_interceptor(channel, bearer),
    )
}

/// A client whose token is its name.
pub(crate) fn client(name: &str, scopes: &[Scope]) -> Client {
    Client {
        name: name.to_owned(),
        tokens: vec![hash_of(name)],
        certificates: Vec::new(),
        jwt: false,
        scopes: scopes.iter().copied().collect(),
        own_only: false,
        limit: None,
    }
}

pub(crate) fn of(clients: Vec<Client>) -> Settings {
    Settings { clients, ..Settings::default() }
}

pub(crate) fn by_dispatch(id: &str) -> v1::GetDispatchRequest {
    v1::GetDispatchRequest { key: Some(v1::get_dispatch_request::Key::DispatchId(id.to_owned())) }
}
