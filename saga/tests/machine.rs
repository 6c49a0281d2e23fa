//! The pure machine: the protocol as tables, and its invariants under any order of inputs.
#![expect(clippy::unwrap_used, reason = "a test crate")]

#[path = "machine/operate.rs"]
mod operate;

use std::time::Duration;

use proptest::prelude::*;
use waybill_messaging::{Timestamp, TraceContext};
use waybill_proto::v1::DispatchRequested;
use waybill_saga::{
    Action, Command, Defaults, Definition, Instance, InstanceState, StepState, Verdict,
    machine::{self, Input, Out, Transition, advance, begin, begin_cancelled},
    operate::Verb,
    order_fulfilment,
    read::{InstanceView, Progress, StepProgress, TransitionView},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 3;
/// For the whole saga; longer than any of the tables takes.
const LIMIT: Duration = Duration::from_hours(1);

fn definition() -> Definition {
    let defaults = Defaults { step_timeout: TIMEOUT, step_attempts: ATTEMPTS, saga_timeout: LIMIT };
    order_fulfilment(&defaults).pop().unwrap()
}

/// An instance with its definition, the time, and everything that it has sent.
struct Run {
    definition: Definition,
    instance: Instance,
    now: Timestamp,
    sent: Vec<Command>,
    ends: Vec<Out>,
    events: Vec<String>,
    /// What its history tells.
    progress: Progress,
}

impl Run {
    fn begin() -> Self {
        let definition = definition();
        let now = Timestamp::from_micros(1_000_000);
        let (instance, transition) =
            begin(&definition, "d-1", DispatchRequested::default(), TraceContext::default(), now);
        let progress = Progress::new(&instance.definition);
        let (sent, ends, events) = (Vec::new(), Vec::new(), Vec::new());
        let mut run = Self { definition, instance, now, sent, ends, events, progress };
        run.note(transition);
        run
    }

    fn note(&mut self, Transition { happened, out }: Transition) {
        let brought = self.progress.note(&TransitionView {
            version: self.instance.version,
            at: self.instance.updated_at,
            state: self.instance.state,
            event: happened.event.clone(),
            step: happened.step.to_owned(),
            attempt: happened.attempt,
            reason: happened.reason,
            cause_message_id: String::new(),
        });
        let current = self.instance.current.map(|step| self.definition.steps[step].name);
        assert_eq!(brought.remaining.first().copied(), current, "{}", happened.event);
        self.events.push(happened.event);
        for out in out {
            match out {
                Out::Command(step, Action::Do) => self.sent.push(self.definition.steps[step].command),
                Out::Command(step, Action::Undo) => {
                    self.sent.push(self.definition.steps[step].compensation.unwrap());
                }
                end => self.ends.push(end),
            }
        }
    }

    fn input(&mut self, input: Input) -> bool {
        let version = self.instance.version;
        let advanced = advance(&self.definition, &mut self.instance, input, self.now);
        let moved = u64::from(advanced.is_some());
        assert_eq!(self.instance.version, version + moved, "a transition is one version");
        let Some(transition) = advanced else { return false };
        self.note(transition);
        true
    }

    fn reply(&mut self, command: Command, verdict: Verdict) {
        let (step, action) = self.definition.locate(command).unwrap();
        self.input(Input::Reply { step, action, verdict });
    }

    fn done(&mut self, command: Command) -> &mut Self {
        self.reply(command, Verdict::Done);
        self
    }

    fn refused(&mut self, command: Command) -> &mut Self {
        self.reply(command, Verdict::Refused("no".into()));
        self
    }

    fn time_out(&mut self) -> &mut Self {
        self.now = self.instance.deadline_at.unwrap();
        self.input(Input::Deadline);
        self
    }

    fn time_out_if_any(&mut self) {
        self.now = self.instance.deadline_at.unwrap_or(self.now);
        self.input(Input::Deadline);
    }

    fn state(&self) -> InstanceState {
        self.instance.state
    }
}

use Command::{
    AcceptOrder, CancelOrder, CapturePayment, CompleteOrder, CreateDispatch, ReleasePayment, ReservePayment,
    WithdrawDispatch,
};

#[test]
fn when_every_step_is_done_the_saga_is_completed() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment).done(CreateDispatch).done(CapturePayment).done(CompleteOrder);
    assert_eq!(run.state(), InstanceState::Completed);
    assert_eq!(run.sent, [AcceptOrder, ReservePayment, CreateDispatch, CapturePayment, CompleteOrder]);
    assert_eq!(run.ends, [Out::Completed]);
    assert_eq!(
        run.events,
        [
            "started",
            "accept_order_done",
            "reserve_payment_done",
            "create_dispatch_done",
            "capture_payment_done",
            "complete_order_done"
        ]
    );
}

#[test]
fn a_refused_order_leaves_nothing_to_compensate() {
    let mut run = Run::begin();
    run.refused(AcceptOrder);
    assert_eq!((run.state(), run.sent), (InstanceState::Compensated, vec![AcceptOrder]));
    assert_eq!((run.ends, run.instance.reason.as_str()), (vec![Out::Cancelled], "no"));
}

#[test]
fn a_declined_payment_cancels_the_order() {
    let mut run = Run::begin();
    run.done(AcceptOrder).refused(ReservePayment);
    assert_eq!(run.state(), InstanceState::Compensating);
    run.done(CancelOrder);
    assert_eq!(run.state(), InstanceState::Compensated);
    assert_eq!(run.sent, [AcceptOrder, ReservePayment, CancelOrder]);
}

#[test]
fn a_refused_dispatch_compensates_in_reverse() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment).refused(CreateDispatch).done(ReleasePayment).done(CancelOrder);
    assert_eq!(run.state(), InstanceState::Compensated);
    assert_eq!(run.sent[3..], [ReleasePayment, CancelOrder]);
}

#[test]
fn a_pivot_without_an_answer_is_withdrawn_before_what_came_before_it() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment).time_out().time_out().time_out();
    assert_eq!(run.instance.steps[2], StepState::Compensating);
    run.done(WithdrawDispatch).done(ReleasePayment).done(CancelOrder);
    assert_eq!(run.state(), InstanceState::Compensated);
    let sent =
        [CreateDispatch, CreateDispatch, CreateDispatch, WithdrawDispatch, ReleasePayment, CancelOrder];
    assert_eq!(run.sent[2..], sent);
}

#[test]
fn a_late_success_of_a_step_in_doubt_does_not_stop_its_compensation() {
    let mut run = Run::begin();
    run.done(AcceptOrder).time_out().time_out().time_out().done(ReservePayment);
    assert_eq!(run.state(), InstanceState::Compensating);
    assert_eq!(run.events.last().unwrap(), "late_reply_ignored");
    run.done(ReleasePayment).done(CancelOrder);
    assert_eq!(run.state(), InstanceState::Compensated);
}

#[test]
fn after_the_pivot_the_saga_only_goes_forward_and_ends_stuck_if_it_cannot() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment).done(CreateDispatch).done(CapturePayment);
    assert!(run.input(Input::Cancel("changed my mind".into())));
    assert_eq!(
        (run.state(), run.events.last().unwrap().as_str()),
        (InstanceState::Running, "cancel_refused")
    );
    for _ in 0..ATTEMPTS * 2 {
        run.time_out();
    }
    assert_eq!(run.state(), InstanceState::Stuck);
    assert_eq!(run.ends, [Out::Stuck(4)]);
}

#[test]
fn a_stuck_saga_asks_again_seldom_and_is_announced_once() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment).done(CreateDispatch).done(CapturePayment);
    for _ in 0..ATTEMPTS * 2 {
        run.time_out();
    }
    let asked = run.sent.len();
    for again in 1..=3 {
        let wait = run.instance.deadline_at.unwrap().since(run.now);
        assert!((TIMEOUT * 20..=TIMEOUT * 22).contains(&wait), "{wait:?}");
        run.time_out();
        assert_eq!((run.state(), run.sent.len()), (InstanceState::Stuck, asked + again));
        assert_eq!(run.events.last().unwrap(), "complete_order_retried");
    }
    assert_eq!(run.ends, [Out::Stuck(4)]);
    run.done(CompleteOrder);
    assert_eq!(run.ends, [Out::Stuck(4), Out::Completed]);
}

#[test]
fn a_stuck_saga_that_gets_a_refusal_stays_stuck_and_asks_no_more() {
    let mut run = Run::begin();
    run.done(AcceptOrder).refused(ReservePayment);
    for _ in 0..ATTEMPTS * 2 {
        run.time_out();
    }
    run.refused(CancelOrder).refused(CancelOrder);
    assert_eq!((run.state(), run.instance.deadline_at), (InstanceState::Stuck, None));
    assert_eq!((run.ends.as_slice(), run.instance.reason.as_str()), ([Out::Stuck(0)].as_slice(), "no"));
}

#[test]
fn an_answer_that_comes_after_all_frees_a_stuck_saga() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment).done(CreateDispatch).done(CapturePayment);
    for _ in 0..ATTEMPTS * 2 {
        run.time_out();
    }
    run.done(CompleteOrder);
    assert_eq!(run.state(), InstanceState::Completed);
}

#[test]
fn a_compensation_without_an_answer_ends_stuck_and_goes_on_when_it_comes() {
    let mut run = Run::begin();
    run.done(AcceptOrder).refused(ReservePayment);
    for _ in 0..ATTEMPTS * 2 {
        run.time_out();
    }
    assert_eq!(run.state(), InstanceState::Stuck);
    run.done(CancelOrder);
    assert_eq!(run.state(), InstanceState::Compensated);
}

#[test]
fn time_outs_of_a_compensation_grow() {
    let mut run = Run::begin();
    run.done(AcceptOrder).refused(ReservePayment);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(run.instance.deadline_at.unwrap().since(run.now));
        run.time_out();
    }
    for (wait, least) in waits.into_iter().zip([TIMEOUT, TIMEOUT * 2, TIMEOUT * 4, TIMEOUT * 8]) {
        assert!((least..=least * 11 / 10).contains(&wait), "{wait:?}");
    }
}

#[test]
fn a_saga_that_moves_fast_keeps_its_deadline_and_one_that_does_not_gets_a_later_one() {
    // This id's first wait is longer by more than a hundredth.
    let mut run = Run::begin();
    let first = run.instance.deadline_at.unwrap();
    let slack = first.since(run.now.plus(TIMEOUT));
    assert!(slack > TIMEOUT / 100, "{slack:?}");
    run.now = run.now.plus(slack);
    run.done(AcceptOrder);
    assert_eq!(run.instance.deadline_at, Some(first), "late enough for the next answer");
    run.now = run.now.plus(Duration::from_millis(1));
    run.done(ReservePayment);
    let wait = run.instance.deadline_at.unwrap().since(run.now);
    assert!((TIMEOUT..=TIMEOUT * 11 / 10).contains(&wait), "{wait:?}");
}

#[test]
fn sagas_that_wait_for_the_same_participant_do_not_all_ask_at_once() {
    let wait = |id: &str| {
        let mut run = Run::begin();
        run.instance.dispatch_id = id.to_owned();
        run.time_out();
        run.instance.deadline_at.unwrap().since(run.now)
    };
    let waits: std::collections::HashSet<_> = (0..20).map(|n| wait(&n.to_string())).collect();
    assert!(waits.len() > 10, "{waits:?}");
    assert_eq!(wait("1"), wait("1"), "chosen by the instance, not by chance");
}

#[test]
fn a_saga_that_takes_too_long_before_its_pivot_turns_back() {
    let mut run = Run::begin();
    run.done(AcceptOrder);
    run.now = run.instance.started_at.plus(LIMIT).minus(TIMEOUT / 2);
    run.done(ReservePayment);
    assert_eq!(run.instance.deadline_at, Some(run.instance.started_at.plus(LIMIT)));
    run.time_out();
    assert_eq!(run.events.last().unwrap(), "saga_timed_out");
    assert_eq!((run.state(), run.instance.steps[2]), (InstanceState::Compensating, StepState::Compensating));
    run.done(WithdrawDispatch).done(ReleasePayment).done(CancelOrder);
    assert_eq!((run.state(), run.ends), (InstanceState::Compensated, vec![Out::Cancelled]));
}

#[test]
fn an_answer_after_the_time_of_the_whole_does_not_save_a_saga_before_its_pivot() {
    let mut run = Run::begin();
    run.now = run.instance.started_at.plus(LIMIT);
    run.done(AcceptOrder).time_out();
    assert_eq!((run.state(), run.instance.steps[1]), (InstanceState::Compensating, StepState::Compensating));
}

#[test]
fn a_saga_that_takes_too_long_after_its_pivot_is_stuck_and_never_turns_back() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment);
    run.now = run.instance.started_at.plus(LIMIT).minus(TIMEOUT / 2);
    run.done(CreateDispatch).done(CapturePayment).time_out();
    assert_eq!(run.events.last().unwrap(), "saga_timed_out");
    assert_eq!((run.state(), run.ends.as_slice()), (InstanceState::Stuck, [Out::Stuck(4)].as_slice()));
    assert!(run.instance.deadline_at.is_some(), "and goes on asking");
    run.done(CompleteOrder);
    assert_eq!(run.state(), InstanceState::Completed);
}

#[test]
fn a_saga_that_turns_back_takes_as_long_as_it_takes() {
    let mut run = Run::begin();
    run.done(AcceptOrder).refused(ReservePayment);
    run.now = run.instance.started_at.plus(LIMIT);
    run.input(Input::Deadline);
    assert_eq!(
        (run.state(), run.events.last().unwrap().as_str()),
        (InstanceState::Compensating, "accept_order_compensation_retried")
    );
}

#[test]
fn a_deadline_that_has_not_come_changes_nothing() {
    let mut run = Run::begin();
    assert!(!run.input(Input::Deadline));
}

#[test]
fn a_cancelled_step_in_flight_is_compensated_because_it_may_have_been_done() {
    let mut run = Run::begin();
    run.input(Input::Cancel("changed my mind".into()));
    assert_eq!(run.sent, [AcceptOrder, CancelOrder]);
    run.done(CancelOrder);
    assert_eq!((run.state(), run.instance.reason.as_str()), (InstanceState::Compensated, "changed my mind"));
}

#[test]
fn cancelling_twice_or_after_the_end_changes_nothing() {
    let mut run = Run::begin();
    assert!(run.input(Input::Cancel("a".into())));
    assert!(!run.input(Input::Cancel("b".into())));
    run.done(CancelOrder);
    assert!(!run.input(Input::Cancel("c".into())));
}

#[test]
fn a_cancellation_that_overtakes_its_request_ends_the_saga_before_it_begins() {
    let definition = definition();
    let (request, trace) = (DispatchRequested::default(), TraceContext::default());
    let (instance, transition) =
        begin_cancelled(&definition, "d-1", request, "early", trace, Timestamp::from_micros(1));
    assert_eq!((instance.state, transition.out), (InstanceState::Compensated, vec![Out::Cancelled]));
}

fn any_input() -> impl Strategy<Value = Input> {
    let verdict = prop_oneof![3 => Just(Verdict::Done), 1 => Just(Verdict::Refused("no".to_owned()))];
    let reply = (0..Command::ALL.len(), verdict).prop_map(|(index, verdict)| {
        let (step, action) = definition().locate(Command::ALL[index]).unwrap();
        Input::Reply { step, action, verdict }
    });
    prop_oneof![8 => reply, 3 => Just(Input::Deadline), 1 => Just(Input::Cancel("stop".to_owned()))]
}

#[derive(Clone, Debug)]
enum Act {
    Input(Input),
    Verb(Verb),
}

fn any_act() -> impl Strategy<Value = Act> {
    let verb = (0..Verb::ALL.len()).prop_map(|index| Act::Verb(Verb::ALL[index].clone()));
    prop_oneof![6 => any_input().prop_map(Act::Input), 1 => verb]
}

/// The history tells of every step what the instance says, and the times to it.
fn told_alike(run: &Run) {
    let view = InstanceView::from(run.instance.clone());
    assert_eq!(run.progress.missing(&view), "", "{:?}", run.events);
    for step in run.progress.steps(&view) {
        let out =
            |course: &Option<_>| matches!(course, Some(waybill_saga::read::Course { ended_at: None, .. }));
        assert_eq!(step.command.is_some(), step.state != StepState::Pending, "{:?}", run.events);
        assert_eq!(out(&step.command), step.state == StepState::Running, "{:?}", run.events);
        assert_eq!(out(&step.compensation), step.state == StepState::Compensating, "{:?}", run.events);
        let is_current = matches!(step.state, StepState::Running | StepState::Compensating);
        assert_eq!(step.progress == StepProgress::Current, is_current);
        assert!(!run.state().is_end() || step.progress != StepProgress::Remaining, "nothing follows the end");
    }
}

/// What must hold of every instance at every moment.
fn check(run: &Run) {
    told_alike(run);
    let Run { instance, definition, .. } = run;
    let pivot_done = instance.steps[2] == StepState::Done;
    if instance.state.is_end() {
        assert!(instance.ended_at.is_some() && instance.deadline_at.is_none() && instance.current.is_none());
    }
    match instance.state {
        InstanceState::Completed => {
            // Forced by an operator: what was out is in doubt, what came after it never began, and the pivot
            // is done.
            let forced = run.events.iter().any(|event| event == "completed_by_operator");
            let skipped = |s: &StepState| matches!(s, StepState::InDoubt | StepState::Pending);
            let fine = |s: &StepState| *s == StepState::Done || forced && skipped(s);
            assert!(pivot_done && instance.steps.iter().all(fine), "{:?}", instance.steps);
        }
        InstanceState::Compensated => {
            let clean =
                |s: &StepState| matches!(s, StepState::Pending | StepState::Refused | StepState::Compensated);
            assert!(instance.steps.iter().all(clean), "{:?}", instance.steps);
        }
        InstanceState::Compensating => assert!(!pivot_done, "after the pivot there is no way back"),
        InstanceState::Running => assert!(!instance.steps.contains(&StepState::Compensating)),
        InstanceState::Stuck => assert!(instance.current.is_some(), "stuck at a step"),
    }
    if matches!(instance.state, InstanceState::Running | InstanceState::Compensating) {
        assert!(instance.deadline_at.is_some(), "nothing hangs: a saga under way has a deadline");
    }
    let open = instance.steps.iter().filter(|s| matches!(s, StepState::Running | StepState::Compensating));
    assert!(open.count() <= 1, "one thing at a time");
    let ends = run.ends.iter().filter(|end| matches!(end, Out::Completed | Out::Cancelled)).count();
    assert_eq!(ends, usize::from(instance.state.is_end()), "one end, told once");
    assert_eq!(definition.steps.len(), instance.steps.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Replies in any order, doubled, late, lost, contradictory; time-outs and cancellations in between.
    #[test]
    fn invariants_hold_under_any_order_of_inputs(inputs in proptest::collection::vec(any_input(), 0..60)) {
        let mut run = Run::begin();
        check(&run);
        for input in inputs {
            if input == Input::Deadline {
                run.time_out_if_any();
            } else {
                run.input(input);
            }
            check(&run);
        }
    }

    /// An operator in between, with any verb at any moment.
    #[test]
    fn invariants_hold_whatever_an_operator_does(acts in proptest::collection::vec(any_act(), 0..60)) {
        let mut run = Run::begin();
        for act in acts {
            match act {
                Act::Input(Input::Deadline) => {
                    run.time_out_if_any();
                }
                Act::Input(input) => {
                    run.input(input);
                }
                Act::Verb(verb) => {
                    let might = machine::may_operate(&run.definition, &run.instance, &verb);
                    prop_assert_eq!(run.operate(verb), might);
                }
            }
            check(&run);
        }
    }

    /// Whatever has happened, once the participants answer (they never refuse to undo), the saga ends.
    #[test]
    fn a_saga_whose_participants_answer_ends(inputs in proptest::collection::vec(any_input(), 0..30)) {
        let undo_refused = |i: &Input| matches!(i, Input::Reply { action: Action::Undo, verdict: Verdict::Refused(_), .. });
        let mut run = Run::begin();
        for input in inputs.into_iter().filter(|i| !undo_refused(i)) {
            run.input(input);
        }
        for _ in 0..20 {
            let Some(step) = run.instance.current else { break };
            let action = if run.instance.steps[step] == StepState::Compensating { Action::Undo } else { Action::Do };
            run.input(Input::Reply { step, action, verdict: Verdict::Done });
        }
        prop_assert!(run.state().is_end(), "{:?}", run.instance);
    }
}
