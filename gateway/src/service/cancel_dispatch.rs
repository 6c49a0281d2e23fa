//! `CancelDispatch`: asks the saga to undo a dispatch, and waits a little for its decision.
//!
//! The saga alone decides: the request races with the pivot, and what this answers is what the saga has
//! written. When it has not decided in time, the answer is the dispatch as it stands; the request is
//! committed and will be decided.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use waybill_proto::v1;
use waybill_saga::{
    Watched,
    read::{self, InstanceView},
};

use super::Service;
use crate::{
    cancel::Ask, edge::Call, found::Found, request::MAX_ID, row::Key, status, violations::Violations,
};

pub(crate) const MAX_REASON: usize = 500;
/// What is left of the caller's time for the answer to travel.
const MARGIN: Duration = Duration::from_millis(50);

pub(super) async fn handle(
    service: &Service,
    call: &Call,
    request: v1::CancelDispatchRequest,
) -> Result<v1::Dispatch, Status> {
    let v1::CancelDispatchRequest { dispatch_id, reason } = request;
    check(&dispatch_id, &reason)?;
    call.span.record("dispatch_id", dispatch_id.as_str());
    let watched = service.versions.watch(&dispatch_id);
    let Found { row, instance: before } = service.find(call, &Key::Dispatch(dispatch_id.clone())).await?;
    let instance = match decision(&dispatch_id, before.as_ref())? {
        Decision::GoesBack => before,
        Decision::Open => {
            let version = before.map_or(0, |instance| instance.version);
            ask(service, call, &dispatch_id, reason).await?;
            wait(service, call, &dispatch_id, watched, version).await?
        }
    };
    service.whole(row, instance.as_ref()).await
}

fn check(dispatch_id: &str, reason: &str) -> Result<(), Status> {
    let mut wrong = Violations::default();
    wrong.check_id("dispatch_id", dispatch_id, 1, MAX_ID);
    let holds = (1..=MAX_REASON).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
    wrong.check(holds, "reason", "must be 1 to 500 characters, none of them a control character");
    wrong.or(())
}

/// What the saga has written about going back.
enum Decision {
    /// It does, or has.
    GoesBack,
    /// Nothing yet, and it still may.
    Open,
}

/// Errors: `FAILED_PRECONDITION` when it never will.
fn decision(dispatch_id: &str, instance: Option<&InstanceView>) -> Result<Decision, Status> {
    let Some(instance) = instance else { return Ok(Decision::Open) };
    if instance.is_going_back() {
        return Ok(Decision::GoesBack);
    }
    let allowed = read::may_cancel(instance).map(|()| Decision::Open);
    allowed.map_err(|why| status::not_cancellable(dispatch_id, &why))
}

async fn ask(service: &Service, call: &Call, dispatch_id: &str, reason: String) -> Result<(), Status> {
    let ask = Ask { dispatch_id: dispatch_id.to_owned(), reason, trace: call.trace.clone() };
    // Detached, so that a caller who goes away leaves no half-done transaction; `Store` sees to that.
    service.store.run(ask).await.map_err(|error| {
        tracing::error!(%error, "cancel request not committed");
        status::write_failed(&error)
    })
}

/// The saga as it stands when it has decided, or when the time is up.
async fn wait(
    service: &Service,
    call: &Call,
    dispatch_id: &str,
    mut watched: Watched,
    mut version: u64,
) -> Result<Option<InstanceView>, Status> {
    let latest = Instant::now() + service.cancel_wait;
    let until =
        call.deadline.and_then(|deadline| deadline.checked_sub(MARGIN)).map_or(latest, |d| d.min(latest));
    loop {
        let in_time = tokio::select! {
            () = watched.beyond(version) => true,
            () = tokio::time::sleep_until(until) => false,
            () = service.stop.cancelled() => false,
        };
        let instance = service.instance(dispatch_id).await?;
        match decision(dispatch_id, instance.as_ref())? {
            Decision::Open if in_time => version = instance.map_or(version, |instance| instance.version),
            Decision::Open | Decision::GoesBack => return Ok(instance),
        }
    }
}
