//! `RetryStep`, `SkipStep`, `CompensateDispatch`, `ForceComplete`: one transaction each, and the dispatch as it
//! stands after it.

use tonic::Status;
use waybill_proto::v1;
use waybill_saga::operate::{Intervention, Operate, Refusal, Verb};

use super::{Operator, check_why};
use crate::{edge::Call, found::Found, request::MAX_ID, row::Key, status, violations::Violations};

/// What is asked for, not checked yet.
pub(super) struct Order {
    pub(super) dispatch_id: String,
    pub(super) version: u64,
    pub(super) reason: String,
    pub(super) operator: String,
    /// Or the field that names none, and what it must be.
    pub(super) verb: Result<Verb, (&'static str, &'static str)>,
}

pub(super) async fn handle(operator: &Operator, call: &Call, order: Order) -> Result<v1::Dispatch, Status> {
    let Operator { service, definitions, .. } = operator;
    let (dispatch_id, intervention) = check(order)?;
    call.span.record("dispatch_id", dispatch_id.as_str());
    let key = Key::Dispatch(dispatch_id.clone());
    service.find(call, &key).await?;
    let verb = intervention.verb.name();
    let operate = Operate {
        definitions: definitions.clone(),
        dispatch_id: dispatch_id.clone(),
        intervention,
        trace: call.trace.clone(),
    };
    let operated = service.store.run(operate).await.map_err(|error| {
        tracing::error!(%error, "an operator's verb was not committed");
        status::operator_failed(&error)
    })?;
    match operated {
        Some(Ok(())) => {}
        Some(Err(Refusal::Moved(version))) => return Err(status::moved_on(&dispatch_id, version)),
        Some(Err(Refusal::State(why))) => return Err(status::does_not_fit(verb, &dispatch_id, &why)),
        None => return Err(status::does_not_fit(verb, &dispatch_id, "its saga has not begun")),
    }
    let Found { row, instance } = service.find(call, &key).await?;
    service.whole(row, instance.as_ref()).await
}

fn check(order: Order) -> Result<(String, Intervention), Status> {
    let Order { dispatch_id, version, reason, operator, verb } = order;
    let mut wrong = Violations::default();
    wrong.check_id("dispatch_id", &dispatch_id, 1, MAX_ID);
    wrong.check(version > 0, "version", "must be the version that you act on, from 1");
    check_why(&mut wrong, &reason, &operator);
    match verb {
        Ok(verb) => wrong.or((dispatch_id, Intervention { verb, version, operator, reason })),
        Err((field, must)) => {
            wrong.add(field, must);
            Err(wrong.into_status())
        }
    }
}
