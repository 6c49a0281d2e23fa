//! The service `dispatch.v1.DispatchOperator`: which file answers which call, and what they share.
//!
//! It calls the saga directly and not through a queue: an operator can act while the broker is away.

mod actions;
mod explain;
mod letters;
mod pauses;
mod stuck;
mod verbs;

use tonic::{Request, Response, Status};
use waybill_messaging::health::Health;
use waybill_proto::v1::{self, dispatch_operator_server::DispatchOperator};
use waybill_saga::{
    Definitions,
    operate::{Answer, Verb},
};

use super::Service;
use crate::{
    desk::{Desk, How},
    edge::Call,
    violations::Violations,
};

/// Reasons, of any verb.
const MAX_REASON: usize = 500;
const MAX_OPERATOR: usize = 100;
/// A second; faster than anything here is done.
const MAX_RATE: u32 = 100_000;

/// What the calls share.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) service: Service,
    pub(crate) definitions: Definitions,
    pub(crate) health: Health,
    pub(crate) desk: Desk,
}

/// The fields that all verbs on one dispatch have.
macro_rules! order {
    ($call:expr, $request:expr, $verb:expr) => {{
        let request = $request;
        verbs::Order {
            dispatch_id: request.dispatch_id,
            version: request.version,
            reason: request.reason,
            operator: $call.caller.acting_as(request.operator),
            verb: $verb,
        }
    }};
}

#[tonic::async_trait]
impl DispatchOperator for Operator {
    type ReplayDeadLettersStream = letters::Progress;
    type DiscardDeadLettersStream = letters::Progress;

    async fn retry_step(&self, request: Request<v1::RetryStepRequest>) -> Answered<v1::Dispatch> {
        let call = Call::of(&request);
        let order = order!(call, request.into_inner(), Ok(Verb::Retry));
        verbs::handle(self, &call, order).await.map(Response::new)
    }

    async fn skip_step(&self, request: Request<v1::SkipStepRequest>) -> Answered<v1::Dispatch> {
        let call = Call::of(&request);
        let verb = match request.get_ref().result() {
            v1::StepResult::Done => Ok(Verb::Skip(Answer::Done)),
            v1::StepResult::Refused => Ok(Verb::Skip(Answer::Refused)),
            v1::StepResult::Unspecified => Err(("result", "must be STEP_RESULT_DONE or STEP_RESULT_REFUSED")),
        };
        verbs::handle(self, &call, order!(call, request.into_inner(), verb)).await.map(Response::new)
    }

    async fn compensate_dispatch(
        &self,
        request: Request<v1::CompensateDispatchRequest>,
    ) -> Answered<v1::Dispatch> {
        let call = Call::of(&request);
        let order = order!(call, request.into_inner(), Ok(Verb::Compensate));
        verbs::handle(self, &call, order).await.map(Response::new)
    }

    async fn force_complete(&self, request: Request<v1::ForceCompleteRequest>) -> Answered<v1::Dispatch> {
        let call = Call::of(&request);
        let order = order!(call, request.into_inner(), Ok(Verb::ForceComplete));
        verbs::handle(self, &call, order).await.map(Response::new)
    }

    async fn list_stuck(&self, request: Request<v1::ListStuckRequest>) -> Answered<v1::ListStuckResponse> {
        stuck::handle(&self.service, request.into_inner()).await.map(Response::new)
    }

    async fn explain_dispatch(
        &self,
        request: Request<v1::ExplainDispatchRequest>,
    ) -> Answered<v1::Explanation> {
        let call = Call::of(&request);
        explain::handle(self, &call, request.into_inner()).await.map(Response::new)
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Answered<v1::PauseStatus> {
        let request = acting(request, |request| &mut request.operator);
        pauses::pause(&self.service, request).await.map(Response::new)
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Answered<v1::PauseStatus> {
        let request = acting(request, |request| &mut request.operator);
        pauses::resume(&self.service, request).await.map(Response::new)
    }

    async fn list_pauses(&self, _: Request<v1::ListPausesRequest>) -> Answered<v1::ListPausesResponse> {
        pauses::list(&self.service).await.map(Response::new)
    }

    async fn list_operator_actions(
        &self,
        request: Request<v1::ListOperatorActionsRequest>,
    ) -> Answered<v1::ListOperatorActionsResponse> {
        actions::handle(&self.desk, request.into_inner()).await.map(Response::new)
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Answered<v1::ListDeadLettersResponse> {
        letters::list(&self.desk, request.into_inner()).await.map(Response::new)
    }

    async fn group_dead_letters(
        &self,
        request: Request<v1::GroupDeadLettersRequest>,
    ) -> Answered<v1::GroupDeadLettersResponse> {
        letters::groups(&self.desk, request.into_inner()).await.map(Response::new)
    }

    async fn get_dead_letter(&self, request: Request<v1::GetDeadLetterRequest>) -> Answered<v1::DeadLetter> {
        letters::get(&self.desk, request.into_inner()).await.map(Response::new)
    }

    async fn replay_dead_letters(
        &self,
        request: Request<v1::ReplayDeadLettersRequest>,
    ) -> Answered<letters::Progress> {
        let call = Call::of(&request);
        let v1::ReplayDeadLettersRequest { filter, all, reason, operator, dry_run, rate } =
            acting(request, |request| &mut request.operator);
        let order = letters::Order { how: How::Replay, filter, all, reason, operator, dry_run, rate };
        letters::open(self, call, order).await.map(Response::new)
    }

    async fn edit_dead_letter(
        &self,
        request: Request<v1::EditDeadLetterRequest>,
    ) -> Answered<v1::DeadLetter> {
        let request = acting(request, |request| &mut request.operator);
        letters::edit(&self.desk, request).await.map(Response::new)
    }

    async fn discard_dead_letters(
        &self,
        request: Request<v1::DiscardDeadLettersRequest>,
    ) -> Answered<letters::Progress> {
        let call = Call::of(&request);
        let v1::DiscardDeadLettersRequest { filter, all, reason, operator, dry_run } =
            acting(request, |request| &mut request.operator);
        let order = letters::Order { how: How::Discard, filter, all, reason, operator, dry_run, rate: 0 };
        letters::open(self, call, order).await.map(Response::new)
    }
}

type Answered<T> = Result<Response<T>, Status>;

/// The request, under the name of whoever makes it: where that is known, what they claim does not count.
fn acting<T>(request: Request<T>, operator: impl FnOnce(&mut T) -> &mut String) -> T {
    let caller = Call::of(&request).caller;
    let mut request = request.into_inner();
    let operator = operator(&mut request);
    *operator = caller.acting_as(std::mem::take(operator));
    request
}

/// A reason and a name, as every verb needs them.
fn check_why(wrong: &mut Violations, reason: &str, operator: &str) {
    for (field, text, most) in [("reason", reason, MAX_REASON), ("operator", operator, MAX_OPERATOR)] {
        let holds = (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        wrong.check(
            holds,
            field,
            format!("must be 1 to {most} characters, none of them a control character"),
        );
    }
}

const DEFAULT_SIZE: i32 = 50;
const MAX_SIZE: i32 = 1_000;

/// The size of a page, from what was asked for.
fn page_size(wrong: &mut Violations, asked: i32) -> usize {
    wrong.check((0..=MAX_SIZE).contains(&asked), "page_size", "must be 1 to 1000, or 0 for 50");
    usize::try_from(if asked == 0 { DEFAULT_SIZE } else { asked }).unwrap_or_default()
}

/// Where the page begins, from its token; `None` at the beginning.
fn page_start(wrong: &mut Violations, filters: &[u8; 32], token: &str) -> Option<String> {
    let start = crate::page_token::decode(filters, token);
    let is_ours = start.is_some() || token.is_empty();
    wrong.check(
        is_ours,
        "page_token",
        "must be empty, or the next_page_token of a page with the same filters",
    );
    start
}
