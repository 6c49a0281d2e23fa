//! The clients: a constant number of new requests a second, at both gateways, whatever happens.
//!
//! A call that fails or gets no answer in time has an unknown outcome. It is made again later, with the same
//! `message_id`, at the other gateway; after a few calls the client gives up.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Code, Request, Response, Status};
use waybill_proto::v1::{CancelDispatchRequest, DispatchState};
use waybill_test_support::client::Client;

use crate::{
    ledger::{Ledger, Undoing},
    mix::{Case, Cases, Fate},
    settings::Settings,
};

/// A call that has no answer by then has an unknown outcome.
const DEADLINE: Duration = Duration::from_secs(4);
/// Between two calls for the same request.
const LATER: Duration = Duration::from_secs(2);

/// What the clients share.
struct Clients {
    gateways: [Client; 2],
    room: Semaphore,
    ledger: Arc<Ledger>,
}

/// Sends requests until `end`, and returns when the last client has its answer or has given up.
pub(crate) async fn run(settings: &Settings, gateways: [Client; 2], ledger: Arc<Ledger>, end: Instant) {
    let clients = Arc::new(Clients { gateways, room: Semaphore::new(settings.in_flight), ledger });
    let mut ticks = interval(Duration::from_secs(1) / settings.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    for case in Cases::new(settings.seed) {
        ticks.tick().await;
        if Instant::now() >= end {
            break;
        }
        let clients = Arc::clone(&clients);
        under_way.spawn(async move { clients.serve(case).await });
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

impl Clients {
    async fn serve(&self, case: Case) {
        self.ledger.attempt(&case);
        let other = async {
            if case.twice {
                self.ask(&case, case.gateway + 1).await;
            }
        };
        let (dispatch_id, ()) = tokio::join!(self.insist(&case), other);
        if let Some(dispatch_id) = dispatch_id.filter(|_| case.fate == Fate::Cancelled) {
            self.cancel(&case, dispatch_id).await;
        }
    }

    /// Asks as often as the client wants to, for a receipt.
    async fn insist(&self, case: &Case) -> Option<String> {
        for call in 0..case.calls {
            if call > 0 {
                sleep(LATER * call).await;
            }
            let gateway = case.gateway + usize::try_from(call).unwrap_or_default();
            if let Some(dispatch_id) = self.ask(case, gateway).await {
                return Some(dispatch_id);
            }
        }
        None
    }

    async fn ask(&self, case: &Case, gateway: usize) -> Option<String> {
        let request = case.request.clone();
        let call = async |mut client: Client| client.request_dispatch(in_time(request)).await;
        let answer = self.call(gateway, call).await;
        match answer? {
            Ok(receipt) => {
                let dispatch_id = receipt.dispatch_id;
                self.ledger.acknowledge(case, dispatch_id.clone());
                Some(dispatch_id)
            }
            Err(status) => {
                self.judge(case, "request", &status);
                None
            }
        }
    }

    /// Asks once for it to be undone.
    async fn cancel(&self, case: &Case, dispatch_id: String) {
        let request = CancelDispatchRequest { dispatch_id, reason: "changed my mind".to_owned() };
        let call = async |mut client: Client| client.cancel_dispatch(in_time(request)).await;
        match self.call(case.gateway, call).await {
            Some(Ok(dispatch)) => match dispatch.state() {
                DispatchState::Compensating | DispatchState::Cancelled => {
                    self.ledger.undo(case, Undoing::Granted);
                }
                // Not decided in time.
                _ => {}
            },
            Some(Err(status)) if status.code() == Code::FailedPrecondition => {
                self.ledger.undo(case, Undoing::TooLate);
            }
            Some(Err(status)) => self.judge(case, "cancel", &status),
            None => {}
        }
    }

    /// The outcome of a call; `None` when there is none in time.
    async fn call<T>(
        &self,
        gateway: usize,
        call: impl AsyncFnOnce(Client) -> Result<Response<T>, Status>,
    ) -> Option<Result<T, Status>> {
        let _place = self.room.acquire().await.ok()?;
        let client = self.gateways[gateway % self.gateways.len()].clone();
        // A process that is stopped does not even look at its own deadline.
        let answer = timeout(DEADLINE + Duration::from_secs(1), call(client)).await.ok()?;
        Some(answer.map(Response::into_inner))
    }

    /// Every answer of a server that is overloaded, stopping or gone is excused; that a request is wrong, or
    /// stands in another's way, is not.
    fn judge(&self, case: &Case, call: &str, status: &Status) {
        let refused = matches!(
            status.code(),
            Code::InvalidArgument
                | Code::AlreadyExists
                | Code::NotFound
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
                | Code::DataLoss
        );
        if refused {
            self.ledger.wrong(case, format!("{call} answered {}: {}", status.code(), status.message()));
        }
    }
}

fn in_time<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
