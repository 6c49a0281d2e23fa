//! The service `dispatch.v1.DispatchGateway`: which file answers which call, and what they all share.

mod cancel_dispatch;
mod get_dispatch;
mod list_dispatches;
mod operator;
mod request_dispatch;
mod request_dispatches;
mod watch_dispatch;

use std::{sync::Arc, time::Duration};

pub(crate) use self::{cancel_dispatch::MAX_REASON, list_dispatches::MAX_SIZE, operator::Operator};

use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use waybill_messaging::Store;
use waybill_proto::v1::{self, dispatch_gateway_server::DispatchGateway};
use waybill_saga::{
    Versions,
    read::{InstanceView, TransitionView},
};

use crate::{
    accept::Intake,
    edge::Call,
    found::{Finder, Found},
    row::{Key, Row},
    status, view,
};

/// What the calls share. Cheap to clone: a stream's task has its own.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) intake: Intake,
    pub(crate) finder: Finder,
    pub(crate) versions: Arc<Versions>,
    pub(crate) cancel_wait: Duration,
    /// Items in flight on one stream.
    pub(crate) stream_window: usize,
    /// Streams end when this is cancelled; calls are finished.
    pub(crate) stop: CancellationToken,
}

#[tonic::async_trait]
impl DispatchGateway for Service {
    type RequestDispatchesStream = ReceiverStream<Result<v1::DispatchReceipt, Status>>;
    type WatchDispatchStream = ReceiverStream<Result<v1::DispatchTransition, Status>>;

    async fn request_dispatch(
        &self,
        request: Request<v1::DispatchRequested>,
    ) -> Result<Response<v1::DispatchReceipt>, Status> {
        let call = Call::of(&request);
        request_dispatch::handle(self, &call, request.into_inner()).await.map(Response::new)
    }

    async fn request_dispatches(
        &self,
        request: Request<Streaming<v1::DispatchRequested>>,
    ) -> Result<Response<Self::RequestDispatchesStream>, Status> {
        let call = Call::of(&request);
        Ok(Response::new(request_dispatches::open(self.clone(), call, request.into_inner())))
    }

    async fn get_dispatch(
        &self,
        request: Request<v1::GetDispatchRequest>,
    ) -> Result<Response<v1::Dispatch>, Status> {
        let call = Call::of(&request);
        get_dispatch::handle(self, &call, request.into_inner()).await.map(Response::new)
    }

    async fn list_dispatches(
        &self,
        request: Request<v1::ListDispatchesRequest>,
    ) -> Result<Response<v1::ListDispatchesResponse>, Status> {
        let call = Call::of(&request);
        list_dispatches::handle(self, &call, request.into_inner()).await.map(Response::new)
    }

    async fn watch_dispatch(
        &self,
        request: Request<v1::WatchDispatchRequest>,
    ) -> Result<Response<Self::WatchDispatchStream>, Status> {
        let call = Call::of(&request);
        watch_dispatch::open(self.clone(), call, request.into_inner()).await.map(Response::new)
    }

    async fn cancel_dispatch(
        &self,
        request: Request<v1::CancelDispatchRequest>,
    ) -> Result<Response<v1::Dispatch>, Status> {
        let call = Call::of(&request);
        cancel_dispatch::handle(self, &call, request.into_inner()).await.map(Response::new)
    }
}

impl Service {
    /// The dispatch of that name, or `NOT_FOUND`: also where it is none of the caller's business.
    async fn find(&self, call: &Call, key: &Key) -> Result<Found, Status> {
        let found = self.finder.find(key, call.caller.owner()).await;
        let found = found.map_err(|error| status::read_failed(&error))?;
        let (name, value) = key.parts();
        found.ok_or_else(|| status::not_found(name, value))
    }

    /// The saga of a dispatch, if it has begun.
    async fn instance(&self, dispatch_id: &str) -> Result<Option<InstanceView>, Status> {
        let found = self.finder.find(&Key::Dispatch(dispatch_id.to_owned()), None).await;
        found.map(|found| found.and_then(|found| found.instance)).map_err(|error| status::read_failed(&error))
    }

    /// What happened to a dispatch after a version, oldest first.
    async fn history(&self, dispatch_id: &str, after: u64) -> Result<Vec<TransitionView>, Status> {
        self.finder.history(dispatch_id, after).await.map_err(|error| status::read_failed(&error))
    }

    /// A dispatch with its steps and history, as the saga is known to stand.
    async fn whole(&self, row: Row, instance: Option<&InstanceView>) -> Result<v1::Dispatch, Status> {
        let history = match instance {
            Some(_) => self.history(&row.dispatch_id, 0).await?,
            None => Vec::new(),
        };
        Ok(view::whole(row, instance, &history, self.store.clock().now()))
    }
}
