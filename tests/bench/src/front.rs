//! The gRPC service as far as the yardsticks and the load generator need it.

use futures_util::stream::Empty;
use tonic::{Request, Response, Status, Streaming};
use waybill_proto::v1::{
    CancelDispatchRequest, Dispatch, DispatchReceipt, DispatchRequested, DispatchTransition,
    GetDispatchRequest, ListDispatchesRequest, ListDispatchesResponse, WatchDispatchRequest,
    dispatch_gateway_server::DispatchGateway,
};

/// Who answers; nobody answers what is not written.
pub(crate) trait Answers: Send + Sync + 'static {
    fn request(
        &self,
        request: DispatchRequested,
    ) -> impl Future<Output = Result<DispatchReceipt, Status>> + Send;

    fn get(&self, _: GetDispatchRequest) -> impl Future<Output = Result<Dispatch, Status>> + Send {
        async { Err(missing()) }
    }

    fn list(
        &self,
        _: ListDispatchesRequest,
    ) -> impl Future<Output = Result<ListDispatchesResponse, Status>> + Send {
        async { Err(missing()) }
    }
}

/// Somebody who answers, as the service.
pub(crate) struct Front<A>(pub(crate) A);

fn missing() -> Status {
    Status::unimplemented("not part of a yardstick")
}

#[tonic::async_trait]
impl<A: Answers> DispatchGateway for Front<A> {
    type RequestDispatchesStream = Empty<Result<DispatchReceipt, Status>>;
    type WatchDispatchStream = Empty<Result<DispatchTransition, Status>>;

    async fn request_dispatch(
        &self,
        request: Request<DispatchRequested>,
    ) -> Result<Response<DispatchReceipt>, Status> {
        self.0.request(request.into_inner()).await.map(Response::new)
    }

    async fn get_dispatch(&self, request: Request<GetDispatchRequest>) -> Result<Response<Dispatch>, Status> {
        self.0.get(request.into_inner()).await.map(Response::new)
    }

    async fn list_dispatches(
        &self,
        request: Request<ListDispatchesRequest>,
    ) -> Result<Response<ListDispatchesResponse>, Status> {
        self.0.list(request.into_inner()).await.map(Response::new)
    }

    async fn request_dispatches(
        &self,
        _: Request<Streaming<DispatchRequested>>,
    ) -> Result<Response<Self::RequestDispatchesStream>, Status> {
        Err(missing())
    }

    async fn watch_dispatch(
        &self,
        _: Request<WatchDispatchRequest>,
    ) -> Result<Response<Self::WatchDispatchStream>, Status> {
        Err(missing())
    }

    async fn cancel_dispatch(&self, _: Request<CancelDispatchRequest>) -> Result<Response<Dispatch>, Status> {
        Err(missing())
    }
}
