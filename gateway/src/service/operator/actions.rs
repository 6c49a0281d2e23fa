//! `ListOperatorActions`: who did what, when and why, newest first. What was done about a dead letter is kept
//! where the letter lies; ids sort by time, so that the databases can be merged.

use sha2::{Digest, Sha256};
use tonic::Status;
use waybill_proto::v1;
use waybill_saga::operate::{self, Action, scope_of};

use super::{page_size, page_start};
use crate::{desk::Desk, page_token, request::MAX_ID, time, violations::Violations};

pub(super) async fn handle(
    desk: &Desk,
    request: v1::ListOperatorActionsRequest,
) -> Result<v1::ListOperatorActionsResponse, Status> {
    let v1::ListOperatorActionsRequest { page_size: asked, page_token, dispatch_id } = request;
    let mut wrong = Violations::default();
    wrong.check_id("dispatch_id", &dispatch_id, 0, MAX_ID);
    let size = page_size(&mut wrong, asked);
    let filters = Sha256::digest(format!("{dispatch_id:?}")).into();
    let before = page_start(&mut wrong, &filters, &page_token);
    let before = wrong.or(before)?;

    let scope = if dispatch_id.is_empty() { String::new() } else { scope_of(&dispatch_id) };
    let most = i64::try_from(size + 1).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for database in desk.databases(None).unwrap_or_default() {
        let actions = operate::actions(&database.store, &scope, before.as_deref(), most).await;
        found.extend(actions.map_err(|error| database.failed(&error))?);
    }
    found.sort_unstable_by(|one, other| other.id.cmp(&one.id));
    let is_last = found.len() <= size;
    found.truncate(size);
    let last = found.last().filter(|_| !is_last);
    let next = last.map(|action| page_token::encode(&filters, &action.id));
    Ok(v1::ListOperatorActionsResponse {
        actions: found.into_iter().map(wire).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

fn wire(action: Action) -> v1::OperatorAction {
    let Action { id, at, scope, verb, version, operator, reason, dead_letter } = action;
    v1::OperatorAction {
        action_id: id,
        at: Some(time::to_wire(at)),
        scope,
        verb,
        version,
        operator,
        reason,
        dead_letter_id: dead_letter,
    }
}
