//! `ExplainDispatch`: why a dispatch is not done. What the saga waits for it says itself; what bears on that
//! is looked up where it would stand: pauses, parked messages, dead letters, the outbox, the broker.

mod findings;

use tonic::Status;
use waybill_proto::v1::{self, explain_dispatch_request::Key as Wire};
use waybill_saga::{
    explain::{Explanation, explain},
    operate::{self, Answer, Verb},
    pause::Scope,
};

use self::findings::Findings;
use super::Operator;
use crate::{
    edge::Call,
    found::Found,
    request::MAX_ID,
    row::{Key, Row},
    status, time,
    violations::Violations,
};

pub(super) async fn handle(
    operator: &Operator,
    call: &Call,
    request: v1::ExplainDispatchRequest,
) -> Result<v1::Explanation, Status> {
    let service = &operator.service;
    let Found { row, .. } = service.find(call, &parse(request)?).await?;
    call.span.record("dispatch_id", row.dispatch_id.as_str());
    let failed = |error| status::read_failed(&error);
    let instance = operate::instance(&service.store, &row.dispatch_id).await.map_err(failed)?;
    let Some(instance) = instance else { return not_begun(operator, row).await };
    let view = service.instance(&row.dispatch_id).await?;
    let Some(definition) = operator.definitions.of(&instance.definition) else {
        let (name, version, _) = &instance.definition;
        let standing = format!("on {name}/{version}, which this process does not run: ask one that does");
        let dispatch = service.whole(row, view.as_ref()).await?;
        return Ok(v1::Explanation { dispatch: Some(dispatch), standing, ..v1::Explanation::default() });
    };
    let history = service.history(&row.dispatch_id, 0).await?;
    let explained = explain(definition, &instance, &history);
    let findings = if instance.state.is_end() {
        Findings::default()
    } else {
        findings::of_instance(operator, definition, &instance).await.map_err(failed)?
    };
    let mut options = options(&explained);
    options.extend(pausing(&findings));
    if instance.state.is_end() {
        options.clear();
    }
    let dispatch = service.whole(row, view.as_ref()).await?;
    Ok(wire(dispatch, explained, findings, options))
}

fn parse(request: v1::ExplainDispatchRequest) -> Result<Key, Status> {
    let key = match request.key {
        Some(Wire::DispatchId(id)) => Key::Dispatch(id),
        Some(Wire::MessageId(id)) => Key::Message(id),
        Some(Wire::OrderId(id)) => Key::Order(id),
        None => return Err(Violations::one("key", "must be dispatch_id, message_id or order_id")),
    };
    let mut wrong = Violations::default();
    let (name, value) = key.parts();
    wrong.check_id(name, value, 1, MAX_ID);
    wrong.or(key)
}

async fn not_begun(operator: &Operator, row: Row) -> Result<v1::Explanation, Status> {
    let service = &operator.service;
    let findings = findings::of_request(operator, &row.dispatch_id).await;
    let findings = findings.map_err(|error| status::read_failed(&error))?;
    let explained = Explanation {
        standing: "accepted; its saga has not begun".to_owned(),
        waits_for: "its request to reach the saga".to_owned(),
        waits_since: Some(row.accepted_at),
        next: findings.next.clone(),
        ..Explanation::default()
    };
    let mut options = vec![option(v1::OperatorVerb::Cancel, "", "it ends cancelled before it begins")];
    options.extend(pausing(&findings).into_iter().filter(|option| !option.scope.is_empty()));
    let dispatch = service.whole(row, None).await?;
    Ok(wire(dispatch, explained, findings, options))
}

fn options(explained: &Explanation) -> Vec<v1::OperatorOption> {
    explained.options.iter().map(|(verb, effect)| option(wire_verb(verb), "", effect)).collect()
}

/// Resuming what holds it up, or pausing it.
fn pausing(findings: &Findings) -> Vec<v1::OperatorOption> {
    let resume = |scope: &Scope| {
        let scope = scope.to_string();
        let effect = format!("{scope} goes on, and with it this dispatch");
        option(v1::OperatorVerb::Resume, &scope, &effect)
    };
    if findings.paused_by.is_empty() {
        return vec![option(v1::OperatorVerb::Pause, "", "nothing more is sent for it until it is resumed")];
    }
    findings.paused_by.iter().map(resume).collect()
}

fn option(verb: v1::OperatorVerb, scope: &str, effect: &str) -> v1::OperatorOption {
    v1::OperatorOption { verb: verb.into(), scope: scope.to_owned(), effect: effect.to_owned() }
}

const fn wire_verb(verb: &Verb) -> v1::OperatorVerb {
    match verb {
        Verb::Retry => v1::OperatorVerb::Retry,
        Verb::Skip(Answer::Done) => v1::OperatorVerb::SkipDone,
        Verb::Skip(Answer::Refused) => v1::OperatorVerb::SkipRefused,
        Verb::Compensate => v1::OperatorVerb::Compensate,
        Verb::ForceComplete => v1::OperatorVerb::ForceComplete,
    }
}

fn wire(
    dispatch: v1::Dispatch,
    explained: Explanation,
    findings: Findings,
    options: Vec<v1::OperatorOption>,
) -> v1::Explanation {
    // Nothing takes effect while it is paused, also not a moment that is known.
    let (next, next_at) = if findings.paused_by.is_empty() {
        (explained.next, explained.next_at)
    } else {
        ("nothing until it is resumed".to_owned(), None)
    };
    v1::Explanation {
        dispatch: Some(dispatch),
        standing: explained.standing,
        waits_for: explained.waits_for,
        waits_since: explained.waits_since.map(time::to_wire),
        attempt: explained.attempt,
        attempts: explained.attempts,
        next,
        next_at: next_at.map(time::to_wire),
        findings: findings.lines,
        options,
    }
}
