//! `Pause`, `Resume`, `ListPauses`.

use tonic::Status;
use waybill_messaging::StoreError;
use waybill_proto::v1;
use waybill_saga::pause::{self, Pause, Resume, Scope, SetPause};

use super::{MAX_RATE, check_why};
use crate::{request::MAX_ID, service::Service, status, time, violations::Violations};

/// The longest scope is that of a dispatch.
const MAX_SCOPE: usize = MAX_ID + "dispatch:".len();

pub(super) async fn pause(service: &Service, request: v1::PauseRequest) -> Result<v1::PauseStatus, Status> {
    let v1::PauseRequest { scope: text, reason, operator } = request;
    let scope = check(&text, &reason, &operator, 0)?;
    let set = SetPause { scope: scope.clone(), operator, reason };
    if !service.store.run(set).await.map_err(|error| not_committed(&error))? {
        return Err(status::does_not_fit(
            "pause",
            &text,
            "there is no such dispatch, or its saga has not begun",
        ));
    }
    let all = all(service).await?;
    let found = all.into_iter().find(|(pause, _)| pause.scope == scope);
    Ok(found.map(wire).unwrap_or_default())
}

pub(super) async fn resume(service: &Service, request: v1::ResumeRequest) -> Result<v1::PauseStatus, Status> {
    let v1::ResumeRequest { scope: text, reason, operator, rate } = request;
    let scope = check(&text, &reason, &operator, rate)?;
    let before = all(service).await?.into_iter().find(|(pause, _)| pause.scope == scope);
    let resume = Resume { scope, operator, reason, rate };
    if !service.store.run(resume).await.map_err(|error| not_committed(&error))? {
        return Err(Status::not_found(format!("{text} is not paused")));
    }
    Ok(v1::PauseStatus { rate, resuming: true, scope: text, ..before.map(wire).unwrap_or_default() })
}

pub(super) async fn list(service: &Service) -> Result<v1::ListPausesResponse, Status> {
    Ok(v1::ListPausesResponse { pauses: all(service).await?.into_iter().map(wire).collect() })
}

async fn all(service: &Service) -> Result<Vec<(Pause, u64)>, Status> {
    pause::pauses(&service.store).await.map_err(|error| status::read_failed(&error))
}

fn check(scope: &str, reason: &str, operator: &str, rate: u32) -> Result<Scope, Status> {
    let mut wrong = Violations::default();
    check_why(&mut wrong, reason, operator);
    wrong.check(rate <= MAX_RATE, "rate", "must be 1 to 100000 a second, or 0 for all at once");
    // What is longer, or has other characters, can name nothing, and is not repeated.
    let is_plain = scope.len() <= MAX_SCOPE && scope.bytes().all(|byte| byte.is_ascii_graphic());
    let too_odd = || Err(format!("must be 1 to {MAX_SCOPE} visible ASCII characters"));
    match if is_plain { scope.parse() } else { too_odd() } {
        Ok(scope) => wrong.or(scope),
        Err(text) => {
            wrong.add("scope", text);
            Err(wrong.into_status())
        }
    }
}

fn not_committed(error: &StoreError) -> Status {
    tracing::error!(%error, "a pause was not committed");
    status::operator_failed(error)
}

fn wire((pause, parked): (Pause, u64)) -> v1::PauseStatus {
    v1::PauseStatus {
        scope: pause.scope.to_string(),
        since: Some(time::to_wire(pause.since)),
        operator: pause.operator,
        reason: pause.reason,
        rate: pause.rate,
        resuming: pause.resuming,
        parked,
    }
}
