//! What bears on a dispatch beside its saga, worst first.

use waybill_messaging::{
    StoreError, Timestamp, dead_letter,
    health::Status,
    outbox::{self, Waiting},
};
use waybill_saga::{
    Definition, Instance, StepState, parked_of,
    pause::{self, Pause, Scope},
};

use crate::service::operator::Operator;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) lines: Vec<String>,
    /// The pauses that hold it up.
    pub(super) paused_by: Vec<Scope>,
    /// What happens next by itself, where no saga has begun.
    pub(super) next: String,
}

/// About a dispatch whose saga is under way.
pub(super) async fn of_instance(
    operator: &Operator,
    definition: &Definition,
    instance: &Instance,
) -> Result<Findings, StoreError> {
    let participant = instance.current.map(|step| definition.steps[step].command.participant());
    let concerns = |scope: &Scope| match scope {
        Scope::All => true,
        Scope::Saga(name) => *name == definition.name,
        Scope::Participant(of) => participant == Some(*of),
        Scope::Dispatch(id) => *id == instance.dispatch_id,
    };
    let mut found = collect(operator, &instance.dispatch_id, concerns).await?;
    let waiting = outbox::about(&operator.service.store, &instance.dispatch_id).await?;
    found.lines.extend(waiting.iter().map(|message| in_outbox(message, now(operator))));
    if let Some(step) = instance.current {
        let row = &definition.steps[step];
        let undo = row.compensation.filter(|_| instance.steps[step] == StepState::Compensating);
        let command = undo.unwrap_or(row.command);
        if found.paused_by.is_empty() && !waiting.iter().any(|w| w.type_name == command.type_name()) {
            let (name, queue) = (command.name(), command.participant().name());
            let text =
                format!("{name} was published: it waits in queue {queue}, or {queue} has not answered");
            found.lines.push(text);
        }
    }
    Ok(found)
}

/// About a dispatch whose saga has not begun.
pub(super) async fn of_request(operator: &Operator, dispatch_id: &str) -> Result<Findings, StoreError> {
    let mut found = collect(operator, dispatch_id, |scope| match scope {
        Scope::All | Scope::Saga(_) => true,
        Scope::Participant(_) => false,
        Scope::Dispatch(id) => id == dispatch_id,
    })
    .await?;
    let waiting = outbox::about(&operator.service.store, dispatch_id).await?;
    found.lines.extend(waiting.iter().map(|message| in_outbox(message, now(operator))));
    found.next = if waiting.is_empty() {
        let text = "its request was published: it waits in queue saga, or no process plays the role saga";
        found.lines.push(text.to_owned());
        "should the broker have lost the request, it is sent again by itself".to_owned()
    } else {
        "the request is published as soon as the broker takes it".to_owned()
    };
    Ok(found)
}

/// Pauses that concern it, what is parked of it, its dead letters, and the broker.
async fn collect(
    operator: &Operator,
    dispatch_id: &str,
    concerns: impl Fn(&Scope) -> bool,
) -> Result<Findings, StoreError> {
    let store = &operator.service.store;
    let now = now(operator);
    let mut found = Findings::default();
    let parked = parked_of(store, dispatch_id).await?;
    for (pause, _) in pause::pauses(store).await? {
        let holds_a_message = parked.iter().any(|message| message.held_by == pause.scope.to_string());
        if concerns(&pause.scope) || holds_a_message {
            found.lines.push(paused(&pause, now));
            if pause.holds() {
                found.paused_by.push(pause.scope);
            }
        }
    }
    for message in &parked {
        let name = short(&message.type_name);
        found.lines.push(if message.held_by.is_empty() {
            format!("{name} is kept for a release that knows {}", message.definition)
        } else {
            format!("{name} is kept until {} is resumed", message.held_by)
        });
    }
    for letter in dead_letter::about(store, dispatch_id).await? {
        let (name, age) = (short(&letter.type_name), ago(letter.at, now));
        let reason = &letter.reason;
        found.lines.push(format!("dead letter of queue {}, {age}: {name}: {reason}", letter.queue));
    }
    if let Some(Status::Down(reason)) = operator.health.subscribe().borrow().get("broker") {
        found.lines.push(format!("the broker is away: {reason}"));
    }
    Ok(found)
}

fn paused(pause: &Pause, now: Timestamp) -> String {
    let Pause { scope, operator, reason, since, rate, .. } = pause;
    let age = ago(*since, now);
    match (pause.holds(), rate) {
        (true, _) => format!("{scope} is paused, {age}, by {operator}: {reason}"),
        (false, 0) => format!("{scope} is being resumed"),
        (false, rate) => format!("{scope} is being resumed, {rate} a second"),
    }
}

fn in_outbox(message: &Waiting, now: Timestamp) -> String {
    let (name, key) = (short(&message.type_name), &message.routing_key);
    let age = ago(message.since, now);
    let error = if message.last_error.is_empty() {
        String::new()
    } else {
        format!("; {} failed, last: {}", message.attempts, message.last_error)
    };
    if message.parked {
        format!(
            "{name} is parked in the outbox, written {age}: no queue takes {key}, or it is refused{error}"
        )
    } else {
        format!("{name} waits in the outbox for {key}, written {age}{error}")
    }
}

fn short(type_name: &str) -> &str {
    type_name.rsplit('.').next().unwrap_or(type_name)
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} s ago", now.since(then).as_secs())
}

fn now(operator: &Operator) -> Timestamp {
    operator.service.store.clock().now()
}
