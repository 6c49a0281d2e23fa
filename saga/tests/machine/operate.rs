//! What an operator may do: every verb in every state that the saga can stand in.

use waybill_saga::operate::{Answer, Intervention, Refusal, Verb};

use super::*;

const SKIP_DONE: Verb = Verb::Skip(Answer::Done);
const SKIP_REFUSED: Verb = Verb::Skip(Answer::Refused);

impl Run {
    /// Uses a verb on the instance as it stands.
    pub(super) fn operate(&mut self, verb: Verb) -> Result<(), Refusal> {
        let (before, version) = (self.instance.clone(), self.instance.version);
        let reason = "participant mended".to_owned();
        let intervention = Intervention { verb, version, operator: "anna".to_owned(), reason };
        match machine::operate(&self.definition, &mut self.instance, &intervention, self.now) {
            Ok(transition) => {
                assert_eq!(self.instance.version, version + 1, "a transition is one version");
                assert_eq!(transition.happened.reason, "participant mended (operator anna)");
                self.note(transition);
                Ok(())
            }
            Err(refusal) => {
                assert_eq!(self.instance, before, "a refusal changes nothing");
                Err(refusal)
            }
        }
    }
}

/// Every place where a saga can stand, by name.
fn places() -> Vec<(&'static str, Run)> {
    let run = |build: &dyn Fn(&mut Run)| {
        let mut run = Run::begin();
        build(&mut run);
        run
    };
    let time_out = |run: &mut Run| {
        for _ in 0..ATTEMPTS * 2 {
            run.time_out();
        }
    };
    vec![
        ("first step out", run(&|_| {})),
        (
            "pivot out",
            run(&|r| {
                r.done(AcceptOrder).done(ReservePayment);
            }),
        ),
        (
            "last step out",
            run(&|r| {
                r.done(AcceptOrder).done(ReservePayment).done(CreateDispatch).done(CapturePayment);
            }),
        ),
        (
            "stuck after the pivot",
            run(&|r| {
                r.done(AcceptOrder).done(ReservePayment).done(CreateDispatch).done(CapturePayment);
                time_out(r);
            }),
        ),
        (
            "going back",
            run(&|r| {
                r.done(AcceptOrder).refused(ReservePayment);
            }),
        ),
        (
            "stuck on the way back",
            run(&|r| {
                r.done(AcceptOrder).refused(ReservePayment);
                time_out(r);
            }),
        ),
        (
            "stuck by a refusal on the way back",
            run(&|r| {
                r.done(AcceptOrder).refused(ReservePayment).refused(CancelOrder);
            }),
        ),
        (
            "completed",
            run(&|r| {
                r.done(AcceptOrder)
                    .done(ReservePayment)
                    .done(CreateDispatch)
                    .done(CapturePayment)
                    .done(CompleteOrder);
            }),
        ),
        (
            "cancelled",
            run(&|r| {
                r.refused(AcceptOrder);
            }),
        ),
    ]
}

/// What follows: the state, and the commands and events that are sent.
type Follows = Result<(InstanceState, &'static [Command], &'static [Out]), &'static str>;

#[test]
fn every_verb_in_every_state_is_a_transition_or_says_what_fits_instead() {
    use InstanceState::{Compensated, Compensating, Completed, Running};
    const NOT_DONE: &str = "its pivot is not done, so that it can still be undone: retry accept_order, skip it, \
                            or compensate";
    const PIVOT_NOT_DONE: &str = "its pivot is not done, so that it can still be undone: retry create_dispatch, \
                                  skip it, or compensate";
    const FORWARD: &str = "create_dispatch is done, and from there the dispatch only goes forward: retry \
                           complete_order, skip it as done, or force the dispatch complete";
    const NO_REFUSAL: &str = "complete_order cannot be refused, the dispatch only goes forward: retry it, skip it \
                              as done, or force the dispatch complete";
    const BACK: &str = "it is being undone: retry accept_order, or skip it as done";
    const BACK_ALREADY: &str = "it is being undone already: retry accept_order, or skip it as done";
    const UNDONE: &str =
        "accept_order is being undone, which cannot be refused: retry it, or skip it as done";
    const END: &str = "it is completed: nothing is left to do";
    const CANCELLED: &str = "it is cancelled: nothing is left to do";
    let back: [(Verb, Follows); 5] = [
        (Verb::Retry, Ok((Compensating, &[CancelOrder], &[]))),
        (SKIP_DONE, Ok((Compensated, &[], &[Out::Cancelled]))),
        (SKIP_REFUSED, Err(UNDONE)),
        (Verb::Compensate, Err(BACK_ALREADY)),
        (Verb::ForceComplete, Err(BACK)),
    ];
    let last: [(Verb, Follows); 5] = [
        (Verb::Retry, Ok((Running, &[CompleteOrder], &[]))),
        (SKIP_DONE, Ok((Completed, &[], &[Out::Completed]))),
        (SKIP_REFUSED, Err(NO_REFUSAL)),
        (Verb::Compensate, Err(FORWARD)),
        (Verb::ForceComplete, Ok((Completed, &[], &[Out::Completed]))),
    ];
    let table: [[(Verb, Follows); 5]; 9] = [
        [
            (Verb::Retry, Ok((Running, &[AcceptOrder], &[]))),
            (SKIP_DONE, Ok((Running, &[ReservePayment], &[]))),
            (SKIP_REFUSED, Ok((Compensated, &[], &[Out::Cancelled]))),
            (Verb::Compensate, Ok((Compensating, &[CancelOrder], &[]))),
            (Verb::ForceComplete, Err(NOT_DONE)),
        ],
        [
            (Verb::Retry, Ok((Running, &[CreateDispatch], &[]))),
            (SKIP_DONE, Ok((Running, &[CapturePayment], &[]))),
            (SKIP_REFUSED, Ok((Compensating, &[ReleasePayment], &[]))),
            (Verb::Compensate, Ok((Compensating, &[WithdrawDispatch], &[]))),
            (Verb::ForceComplete, Err(PIVOT_NOT_DONE)),
        ],
        last.clone(),
        last,
        back.clone(),
        back.clone(),
        back,
        Verb::ALL.map(|verb| (verb, Err(END))),
        Verb::ALL.map(|verb| (verb, Err(CANCELLED))),
    ];
    for (row, (place, _)) in table.into_iter().zip(places()) {
        for (verb, follows) in row {
            let mut run = places().into_iter().find(|(name, _)| *name == place).unwrap().1;
            (run.sent, run.ends) = (Vec::new(), Vec::new());
            let might = machine::may_operate(&run.definition, &run.instance, &verb);
            let operated = run.operate(verb.clone());
            assert_eq!(might, operated, "{place}: {verb:?} is announced as it is decided");
            let told = operated.map(|()| (run.state(), run.sent.as_slice(), run.ends.as_slice()));
            let expected = follows.map_err(|text| Refusal::State(text.to_owned()));
            assert_eq!(told, expected, "{place}: {verb:?}");
        }
    }
}

#[test]
fn a_verb_acts_on_the_version_that_the_operator_has_seen() {
    for (place, mut run) in places() {
        for verb in Verb::ALL {
            let version = run.instance.version - 1;
            let (operator, reason) = ("anna".to_owned(), "why".to_owned());
            let intervention = Intervention { verb, version, operator, reason };
            let before = run.instance.clone();
            let refused = machine::operate(&run.definition, &mut run.instance, &intervention, run.now);
            assert_eq!(refused, Err(Refusal::Moved(before.version)), "{place}");
            assert_eq!(run.instance, before);
        }
    }
}

#[test]
fn what_is_retried_is_new_until_it_is_answered_and_has_all_its_attempts_again() {
    let mut run = Run::begin();
    run.done(AcceptOrder).refused(ReservePayment).refused(CancelOrder);
    assert_eq!((run.state(), run.instance.deadline_at), (InstanceState::Stuck, None));
    run.operate(Verb::Retry).unwrap();
    let version = run.instance.version;
    assert_eq!((run.state(), run.instance.attempt), (InstanceState::Compensating, 1));
    let wait = run.instance.deadline_at.unwrap().since(run.now);
    assert!((TIMEOUT..=TIMEOUT * 11 / 10).contains(&wait), "{wait:?}");
    run.time_out();
    assert_eq!((run.instance.attempt, run.instance.sent_anew), (2, version), "sent again, the same message");
    run.done(CancelOrder);
    assert_eq!((run.state(), run.instance.sent_anew), (InstanceState::Compensated, 0));
}

#[test]
fn what_is_skipped_may_be_answered_later_without_effect() {
    let mut run = Run::begin();
    run.operate(SKIP_REFUSED).unwrap();
    assert_eq!(run.instance.reason, "participant mended (operator anna)");
    run.done(AcceptOrder);
    assert_eq!(run.state(), InstanceState::Compensated);
    assert_eq!(run.events, ["started", "accept_order_refused_by_operator", "late_reply_ignored"]);
}

#[test]
fn what_is_forced_complete_says_so_and_leaves_its_step_in_doubt() {
    let mut run = Run::begin();
    run.done(AcceptOrder).done(ReservePayment).done(CreateDispatch);
    run.operate(Verb::ForceComplete).unwrap();
    assert_eq!(run.events.last().unwrap(), "completed_by_operator");
    assert_eq!(run.instance.reason, "participant mended (operator anna)");
    assert_eq!((run.instance.steps[3], run.instance.current), (StepState::InDoubt, None));
    run.done(CompleteOrder);
    assert_eq!(run.instance.steps[3], StepState::InDoubt, "what comes late changes nothing");
}
