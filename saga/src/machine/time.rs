//! How long a saga waits: for an answer, for the next time that it asks, and for the whole.

use std::hash::{DefaultHasher, Hash, Hasher};

use waybill_messaging::Timestamp;

use super::{Transition, happened, may_cancel, out_now, stuck, turn_back};
use crate::{Action, Definition, Instance, InstanceState, Kind, Patience, Step, StepState};

/// Of what makes the waits of many sagas differ.
const MOST_SPREAD: u32 = 999;

/// When the whole has taken too long.
fn limit(definition: &Definition, instance: &Instance) -> Timestamp {
    instance.started_at.plus(definition.timeout)
}

/// Whether the whole has taken too long, and that has consequences: before the pivot always; after it once,
/// when nothing has moved since.
pub(super) fn is_overdue(definition: &Definition, instance: &Instance, now: Timestamp) -> bool {
    let limit = limit(definition, instance);
    instance.state == InstanceState::Running
        && limit <= now
        && (may_cancel(definition, &instance.steps).is_ok() || instance.updated_at < limit)
}

/// It turns back, or is stuck where it stands.
pub(super) fn overdue(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    now: Timestamp,
) -> Transition {
    let Step { name, kind, patience, .. } = definition.steps[step];
    let reason = format!("{name}: the whole took longer than {:?}", definition.timeout);
    let happened = happened("saga_timed_out", name, instance.attempt, &reason);
    let turns_back = kind != Kind::Retriable && may_cancel(definition, &instance.steps).is_ok();
    let out = if turns_back {
        instance.steps[step] = StepState::InDoubt;
        turn_back(definition, instance, &reason, now)
    } else {
        let again = ask_again_at(instance, patience, now);
        stuck(instance, step, &reason, Some(again))
    };
    Transition { happened, out }
}

/// When the answer to what is out for a step has to be there; no later than the end of the whole, where that
/// has consequences. The deadline of the step before stays where it is late enough, so that a saga that moves
/// fast has one deadline and its row keeps its place in the index of deadlines (on PostgreSQL: in all indexes).
pub(super) fn answer_by(
    definition: &Definition,
    instance: &Instance,
    step: usize,
    now: Timestamp,
) -> Timestamp {
    let (action, patience) = out_now(definition, instance, step);
    let wait = |spread| now.plus(patience.wait(instance.attempt, spread));
    let late_enough = |at: &Timestamp| (wait(0)..=wait(MOST_SPREAD)).contains(at);
    let by = instance.deadline_at.filter(late_enough).unwrap_or_else(|| wait(spread(instance)));
    let limit = limit(definition, instance);
    let counts = limit > now || may_cancel(definition, &instance.steps).is_ok();
    if action == Action::Do && counts { by.min(limit) } else { by }
}

/// When a saga that is stuck asks again.
pub(super) fn ask_again_at(instance: &Instance, patience: Patience, now: Timestamp) -> Timestamp {
    now.plus(patience.wait_stuck(spread(instance)))
}

/// From 0 to [`MOST_SPREAD`]: what makes the waits of many sagas differ, without chance in the machine.
fn spread(instance: &Instance) -> u32 {
    let mut hasher = DefaultHasher::new();
    (&instance.dispatch_id, instance.version).hash(&mut hasher);
    u32::try_from(hasher.finish() % (u64::from(MOST_SPREAD) + 1)).unwrap_or_default()
}
