//! A gateway for tests that misbehaves on purpose: its streams break, it is full at first, and every
//! dispatch has a fixed history.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use prost_types::Timestamp;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};
use waybill_proto::{
    google::rpc,
    v1::{
        CancelDispatchRequest, Dispatch, DispatchReceipt, DispatchRequested, DispatchState,
        DispatchTransition, GetDispatchRequest, ListDispatchesRequest, ListDispatchesResponse,
        WatchDispatchRequest,
        dispatch_gateway_server::{DispatchGateway, DispatchGatewayServer},
        get_dispatch_request::Key,
    },
};

use super::status::of_item;

/// Receipts after which a stream breaks, while `breaks` lasts.
const UNTIL_BREAK: usize = 3;

#[derive(Debug, Default)]
struct State {
    /// Streams that still break.
    breaks: usize,
    /// Items that were answered `RESOURCE_EXHAUSTED` once.
    refused: HashSet<String>,
    /// Requests by message id, with how often each was seen.
    seen: HashMap<String, usize>,
    watches: usize,
    /// What has ended stays open until a dispatch is asked for by name, or its watcher has left.
    holds: bool,
    /// Watches whose watcher has left.
    left: usize,
    /// Calls are never answered.
    silent: bool,
    /// Whoever asks for a dispatch by name learns that it has ended; no list shows it.
    ends: bool,
    /// What cancel requests are answered; nothing: that it goes back.
    refuses_cancel: Option<Code>,
}

/// The gateway; clones share what it has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>, Arc<Notify>);

impl Fake {
    fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)), Arc::default())
    }

    /// Breaks this many streams before one holds.
    pub(super) fn breaking(breaks: usize) -> Self {
        Self::new(State { breaks, ..State::default() })
    }

    /// Every dispatch has ended as soon as it is asked for.
    pub(super) fn ending(self) -> Self {
        self.0.lock().unwrap().ends = true;
        self
    }

    /// Every cancel request fails with this, or none does.
    pub(super) fn refusing_cancel(self, code: Option<Code>) -> Self {
        self.0.lock().unwrap().refuses_cancel = code;
        self
    }

    /// Takes calls, and never answers.
    pub(super) fn silent() -> Self {
        Self::new(State { silent: true, ..State::default() })
    }

    /// A watch is open after its end until a dispatch is asked for by name.
    pub(super) fn holding_watches() -> Self {
        Self::new(State { holds: true, ..State::default() })
    }

    /// Serves on a free port until the test ends, and returns the address.
    pub(super) async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(DispatchGatewayServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        format!("http://{address}")
    }

    pub(super) fn requests(&self) -> HashMap<String, usize> {
        self.0.lock().unwrap().seen.clone()
    }

    pub(super) fn watches(&self) -> usize {
        self.0.lock().unwrap().watches
    }

    /// Watches that their watchers have left.
    pub(super) fn left(&self) -> usize {
        self.0.lock().unwrap().left
    }

    fn take_break(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        let breaks = state.breaks > 0;
        state.breaks = state.breaks.saturating_sub(1);
        breaks
    }

    fn answer(&self, request: &DispatchRequested) -> DispatchReceipt {
        let mut state = self.0.lock().unwrap();
        let seen = state.seen.entry(request.message_id.clone()).or_default();
        *seen += 1;
        let duplicate = *seen > 1;
        let full = request.message_id.starts_with("full") && state.refused.insert(request.message_id.clone());
        let error = if full {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(5)));
            Some(Status::with_error_details(Code::ResourceExhausted, "full", details))
        } else {
            (request.parcel_count < 1).then(|| Status::invalid_argument("parcel_count"))
        };
        DispatchReceipt {
            message_id: request.message_id.clone(),
            dispatch_id: format!("d-{}", request.message_id),
            duplicate,
            accepted_at: Some(Timestamp { seconds: 1, nanos: 0 }),
            error: error.map(|error| rpc::Status { code: error.code().into(), ..item(&error) }),
        }
    }
}

fn item(error: &Status) -> rpc::Status {
    let decoded: rpc::Status = prost::Message::decode(error.details()).unwrap_or_default();
    rpc::Status { message: error.message().to_owned(), ..decoded }
}

fn history(dispatch_id: &str) -> Vec<DispatchTransition> {
    let states = [DispatchState::InProgress, DispatchState::InProgress, DispatchState::Completed];
    let transition = |(index, state): (u64, DispatchState)| DispatchTransition {
        dispatch_id: dispatch_id.to_owned(),
        version: index,
        state: state.into(),
        at: Some(Timestamp { seconds: 1, nanos: 250_000_000 }),
        ..DispatchTransition::default()
    };
    (1..).zip(states).map(transition).collect()
}

type Sent<T> = Result<Response<ReceiverStream<Result<T, Status>>>, Status>;

#[tonic::async_trait]
impl DispatchGateway for Fake {
    type RequestDispatchesStream = ReceiverStream<Result<DispatchReceipt, Status>>;
    type WatchDispatchStream = ReceiverStream<Result<DispatchTransition, Status>>;

    async fn request_dispatch(
        &self,
        request: Request<DispatchRequested>,
    ) -> Result<Response<DispatchReceipt>, Status> {
        let silent = self.0.lock().unwrap().silent;
        if silent {
            std::future::pending::<()>().await;
        }
        let receipt = self.answer(request.get_ref());
        receipt.error.as_ref().map_or(Ok(Response::new(receipt.clone())), |error| Err(of_item(error)))
    }

    async fn request_dispatches(
        &self,
        request: Request<Streaming<DispatchRequested>>,
    ) -> Sent<DispatchReceipt> {
        let (sender, receiver) = mpsc::channel(1);
        let (fake, breaks) = (self.clone(), self.take_break());
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            let mut answered = 0;
            while let Ok(Some(request)) = requests.message().await {
                // Taken, and perhaps committed, but the receipt is lost.
                let receipt = fake.answer(&request);
                if breaks && answered == UNTIL_BREAK {
                    let _ = sender.send(Err(Status::unavailable("going away"))).await;
                    return;
                }
                answered += 1;
                let _ = sender.send(Ok(receipt)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn watch_dispatch(&self, request: Request<WatchDispatchRequest>) -> Sent<DispatchTransition> {
        let WatchDispatchRequest { dispatch_id, after_version } = request.into_inner();
        let holds = {
            let mut state = self.0.lock().unwrap();
            state.watches += 1;
            state.holds
        };
        let (sender, receiver) = mpsc::channel(8);
        let rest = history(&dispatch_id).into_iter().filter(|transition| transition.version > after_version);
        if holds {
            let fake = self.clone();
            for transition in rest {
                let _ = sender.send(Ok(transition)).await;
            }
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = sender.closed() => fake.0.lock().unwrap().left += 1,
                    () = fake.1.notified() => {}
                }
            });
            return Ok(Response::new(ReceiverStream::new(receiver)));
        }
        // One transition a stream: every watch is broken off and resumed.
        for transition in rest.take(1) {
            let _ = sender.send(Ok(transition)).await;
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_dispatch(&self, request: Request<GetDispatchRequest>) -> Result<Response<Dispatch>, Status> {
        self.1.notify_one();
        let message_id = match request.into_inner().key {
            Some(Key::MessageId(id)) => id,
            Some(Key::DispatchId(id)) => id.trim_start_matches("d-").to_owned(),
            Some(Key::OrderId(_)) | None => return Err(Status::not_found("unknown")),
        };
        let state = self.0.lock().unwrap();
        if !state.ends || !state.seen.contains_key(&message_id) {
            return Err(Status::not_found("unknown"));
        }
        Ok(Response::new(Dispatch {
            dispatch_id: format!("d-{message_id}"),
            message_id,
            state: DispatchState::Completed.into(),
            ..Dispatch::default()
        }))
    }

    async fn list_dispatches(
        &self,
        _: Request<ListDispatchesRequest>,
    ) -> Result<Response<ListDispatchesResponse>, Status> {
        Ok(Response::new(ListDispatchesResponse::default()))
    }

    async fn cancel_dispatch(
        &self,
        request: Request<CancelDispatchRequest>,
    ) -> Result<Response<Dispatch>, Status> {
        let refused = self.0.lock().unwrap().refuses_cancel;
        refused.map_or_else(
            || {
                let (dispatch_id, state) =
                    (request.into_inner().dispatch_id, DispatchState::Compensating.into());
                Ok(Response::new(Dispatch { dispatch_id, state, ..Dispatch::default() }))
            },
            |code| Err(Status::new(code, "no")),
        )
    }
}
