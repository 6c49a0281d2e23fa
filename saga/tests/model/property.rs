//! What must hold in every world, and what must be seen in some world for the former to mean anything.

use stateright::Property;
use waybill_saga::{Command, Instance, InstanceState, StepState};

use crate::{
    Shipped,
    faults::Faults,
    message::Message,
    participant::Row,
    world::{Flow, World},
};

pub(crate) const NOTHING_LOST: &str = "a message leaves outbox or broker only once it is handled";
pub(crate) const APPLIED_ONCE: &str = "no message is applied twice";
pub(crate) const EFFECT_ONCE: &str = "no effect happens twice";
pub(crate) const NO_EFFECT_ALONE: &str = "no effect without its saga";
pub(crate) const NOTHING_REMAINS: &str = "compensated means that nothing remains";
pub(crate) const ALL_DONE: &str = "completed means that all is done";
pub(crate) const NO_WAY_BACK: &str = "after the pivot nothing is undone";
pub(crate) const NOTHING_BURIED: &str = "no message is a dead letter";
pub(crate) const ANNOUNCED_ONCE: &str = "an end is announced once";
pub(crate) const ENDS: &str = "at rest every accepted dispatch has ended";
pub(crate) const NOT_STUCK: &str = "what is stuck is freed by its next deadline";
pub(crate) const CANCEL_HEARD: &str = "an undecided cancel request is on its way or is sent again";

type P<const N: usize> = Property<Shipped<N>>;

/// Invariants, and whatever the bounds allow to be seen.
pub(crate) fn properties<const N: usize>(model: &Shipped<N>) -> Vec<P<N>> {
    let mut all = invariants();
    all.extend(ends(model));
    all.extend(faults(model.faults));
    all
}

/// Whether `holds` for every dispatch.
fn every<const N: usize>(
    model: &Shipped<N>,
    world: &World<N>,
    holds: impl Fn(&Flow, Option<&Instance>) -> bool,
) -> bool {
    world.flows.iter().all(|flow| holds(flow, model.machine.instance(flow.saga)))
}

/// Whether one dispatch is in `state`.
fn any<const N: usize>(model: &Shipped<N>, world: &World<N>, state: InstanceState) -> bool {
    !every(model, world, |_, instance| instance.is_none_or(|instance| instance.state != state))
}

fn invariants<const N: usize>() -> Vec<P<N>> {
    vec![
        Property::always(NOTHING_LOST, |m, w| every(m, w, |flow, _| nothing_lost(flow))),
        Property::always(APPLIED_ONCE, |m, w| every(m, w, |flow, _| !flow.ghost.applied_twice)),
        Property::always(EFFECT_ONCE, |m, w| every(m, w, |flow, _| !flow.ghost.effect_twice)),
        Property::always(NOTHING_BURIED, |m, w| every(m, w, |flow, _| !flow.ghost.buried)),
        Property::always(NO_EFFECT_ALONE, |m, w| {
            every(m, w, |flow, saga| saga.is_some() || rows(flow) == [Row::Absent; 3])
        }),
        Property::always(NOTHING_REMAINS, |m, w| {
            every(m, w, |flow, saga| !is(saga, InstanceState::Compensated) || nothing_remains(flow))
        }),
        Property::always(ALL_DONE, |m, w| {
            let captures = m.machine.definition().locate(Command::CapturePayment).is_some();
            let payment = if captures { Row::Completed } else { Row::Done };
            let done = [Row::Completed, payment, Row::Done];
            every(m, w, |flow, saga| !is(saga, InstanceState::Completed) || rows(flow) == done)
        }),
        Property::always(NO_WAY_BACK, |m, w| every(m, w, no_way_back)),
        Property::always(ANNOUNCED_ONCE, |m, w| {
            every(m, w, |flow, saga| flow.ghost.ends == u8::from(saga.is_some_and(|i| i.state.is_end())))
        }),
        Property::always(ENDS, |m, w| {
            !m.rests(w) || every(m, w, |_, saga| saga.is_some_and(|saga| saga.state.is_end()))
        }),
        Property::always(NOT_STUCK, |m, w| {
            every(m, w, |flow, saga| {
                !is(saga, InstanceState::Stuck) || !flow.is_quiet() || m.is_freed_by_its_deadline(*flow)
            })
        }),
        Property::always(CANCEL_HEARD, |m: &Shipped<N>, w: &World<N>| {
            let waits_for_nothing = |f: &Flow| f.has_lost_its_cancel() && !m.cancels_again(f);
            w.flows.iter().all(|flow| !waits_for_nothing(flow) || m.has_decided(flow))
        }),
    ]
}

fn is(saga: Option<&Instance>, state: InstanceState) -> bool {
    saga.is_some_and(|instance| instance.state == state)
}

const fn rows(flow: &Flow) -> [Row; 3] {
    [flow.order, flow.payment, flow.delivery]
}

fn nothing_lost(flow: &Flow) -> bool {
    let on_its_way = flow.outbox.ids().and(flow.unheard.ids()).and(flow.queues.ids());
    flow.inbox.and(on_its_way).contain(flow.ghost.sent)
}

fn nothing_remains(flow: &Flow) -> bool {
    rows(flow).into_iter().all(|row| match row {
        Row::Done | Row::Completed => false,
        Row::Absent | Row::Undone | Row::Mark | Row::Refused | Row::TooLate => true,
    })
}

fn no_way_back(flow: &Flow, saga: Option<&Instance>) -> bool {
    let undoing = [Command::CancelOrder, Command::ReleasePayment, Command::WithdrawDispatch];
    let sent = |command| flow.ghost.sent.contain(Message::Command(command).id());
    saga.is_none_or(|saga| {
        saga.steps[2] != StepState::Done || !(saga.is_going_back() || undoing.into_iter().any(sent))
    })
}

fn ends<const N: usize>(model: &Shipped<N>) -> Vec<P<N>> {
    let faults = model.faults;
    let mut ends = vec![Property::sometimes("it completes", |m: &Shipped<N>, w| {
        m.rests(w) && any(m, w, InstanceState::Completed)
    })];
    if faults.refusals > 0 {
        ends.push(Property::sometimes("it is refused and compensated", |m: &Shipped<N>, w| {
            let refused = |flow: &Flow| rows(flow).contains(&Row::Refused);
            m.rests(w) && any(m, w, InstanceState::Compensated) && w.flows.iter().any(refused)
        }));
    }
    if faults.cancels > 0 {
        ends.push(Property::sometimes("it is cancelled before it begins", |m: &Shipped<N>, w| {
            let before =
                |f: &Flow| f.inbox.contain(Message::Request.id()) && f.saga == m.machine.cancelled().0;
            m.rests(w) && w.flows.iter().any(before)
        }));
    }
    if u32::from(faults.early) >= 2 * model.attempts {
        ends.push(Property::sometimes("it is stuck", |m, w| any(m, w, InstanceState::Stuck)));
    }
    if faults.cancels + faults.early > 0 {
        ends.push(Property::sometimes("an effect is undone", |m: &Shipped<N>, w| {
            m.rests(w) && w.flows.iter().any(|flow| rows(flow).contains(&Row::Undone))
        }));
        ends.push(Property::sometimes("a command comes after its compensation", |m: &Shipped<N>, w| {
            m.rests(w) && w.flows.iter().any(|flow| rows(flow).contains(&Row::TooLate))
        }));
    }
    ends
}

macro_rules! happens {
    ($all:ident, $faults:ident, $($fault:ident => $name:literal),+) => {$(
        if $faults.$fault > 0 {
            $all.push(Property::sometimes($name, |m: &Shipped<N>, w: &World<N>| {
                w.left.$fault == 0 && m.rests(w)
            }));
        }
    )+};
}

fn faults<const N: usize>(faults: Faults) -> Vec<P<N>> {
    let mut all = Vec::new();
    happens!(
        all, faults,
        copies => "messages are delivered again",
        unheard => "confirms are lost",
        amnesias => "the broker forgets",
        purges => "the inbox forgets",
        early => "deadlines pass early"
    );
    all
}
