//! `ListStuck`: pages of what is stuck, in the order of acceptance.

use sha2::{Digest, Sha256};
use tonic::Status;
use waybill_proto::v1;
use waybill_saga::read::{self, Stuck};

use super::{page_size, page_start};
use crate::{page_token, request::MAX_ID, service::Service, status, time, violations::Violations};

pub(super) async fn handle(
    service: &Service,
    request: v1::ListStuckRequest,
) -> Result<v1::ListStuckResponse, Status> {
    let v1::ListStuckRequest { page_size: asked, page_token, step, participant } = request;
    let mut wrong = Violations::default();
    wrong.check_id("step", &step, 0, MAX_ID);
    wrong.check_id("participant", &participant, 0, MAX_ID);
    let size = page_size(&mut wrong, asked);
    let filters = Sha256::digest(format!("{step:?}{participant:?}")).into();
    let after = page_start(&mut wrong, &filters, &page_token);
    let after = wrong.or(after)?.unwrap_or_default();

    let most = i64::try_from(size + 1).unwrap_or(i64::MAX);
    let found = read::stuck(&service.store, &step, &participant, &after, most).await;
    let mut found = found.map_err(|error| status::read_failed(&error))?;
    let is_last = found.len() <= size;
    found.truncate(size);
    let last = found.last().filter(|_| !is_last);
    let next = last.map(|stuck| page_token::encode(&filters, &stuck.instance.dispatch_id));
    Ok(v1::ListStuckResponse {
        dispatches: found.into_iter().map(wire).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

fn wire(stuck: Stuck) -> v1::StuckDispatch {
    let compensating = stuck.is_going_back();
    let Stuck { instance, step, participant, since } = stuck;
    v1::StuckDispatch {
        dispatch_id: instance.dispatch_id,
        order_id: instance.request.order_id,
        step: step.to_owned(),
        participant: participant.to_owned(),
        compensating,
        reason: instance.reason,
        since: Some(time::to_wire(since)),
        attempt: instance.attempt,
        version: instance.version,
        asks_again_at: instance.deadline_at.map(time::to_wire),
    }
}
