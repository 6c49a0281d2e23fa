//! What a dispatch looks like, word for word.

use prost_types::Timestamp;
use waybill_proto::v1::{
    Dispatch, DispatchState, DispatchStep, DispatchTransition, Money, StepCourse, StepProgress, StepState,
};

use super::{Timeline, took, whole};
use crate::cli::out::Paint;

#[expect(clippy::unnecessary_wraps, reason = "fields of messages are optional")]
fn at(millis: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds: 1_769_860_800 + i64::from(millis / 1_000), nanos: millis % 1_000 * 1_000_000 })
}

fn transition(
    millis: i32,
    step: &str,
    event: &str,
    state: DispatchState,
    reason: &str,
) -> DispatchTransition {
    DispatchTransition {
        dispatch_id: "d-1".to_owned(),
        version: 1,
        state: state.into(),
        at: at(millis),
        event: event.to_owned(),
        step: step.to_owned(),
        attempt: u32::from(!step.is_empty()),
        reason: reason.to_owned(),
        cause_message_id: String::new(),
        took: None,
        remaining: Vec::new(),
    }
}

fn lasting(millis: i32) -> prost_types::Duration {
    prost_types::Duration { seconds: (millis / 1_000).into(), nanos: millis % 1_000 * 1_000_000 }
}

fn course(took: i32, ended: Option<i32>, attempts: u32) -> StepCourse {
    StepCourse { started_at: at(5), ended_at: ended.and_then(at), took: Some(lasting(took)), attempts }
}

fn step(name: &str, participant: &str, progress: StepProgress, state: StepState) -> DispatchStep {
    DispatchStep {
        name: name.to_owned(),
        participant: participant.to_owned(),
        progress: progress.into(),
        state: state.into(),
        ..DispatchStep::default()
    }
}

fn cancelled() -> Dispatch {
    Dispatch {
        dispatch_id: "d-1".to_owned(),
        message_id: "m-1".to_owned(),
        order_id: "o-1".to_owned(),
        state: DispatchState::Cancelled.into(),
        reason: "credit limit".to_owned(),
        destination_code: "DEHAM".to_owned(),
        parcel_count: 3,
        customer_id: "c\u{1b}[2J".to_owned(),
        amount: Some(Money { currency_code: "EUR".to_owned(), minor_units: 1_250 }),
        accepted_at: at(0),
        ended_at: at(1_234),
        saga: "order_fulfilment/1".to_owned(),
        steps: vec![
            DispatchStep {
                command: Some(course(40, Some(45), 1)),
                compensation: Some(course(229, Some(1_234), 3)),
                ..step("accept_order", "order", StepProgress::Ended, StepState::Compensated)
            },
            DispatchStep {
                command: Some(course(1_000, Some(1_005), 1)),
                reason: "credit limit".to_owned(),
                ..step("reserve_payment", "payment", StepProgress::Ended, StepState::Refused)
            },
            step("create_dispatch", "dispatch", StepProgress::LeftOut, StepState::Pending),
        ],
        history: vec![
            transition(5, "accept_order", "accept_order_started", DispatchState::InProgress, ""),
            transition(
                1_005,
                "reserve_payment",
                "reserve_payment_refused",
                DispatchState::Compensating,
                "credit limit",
            ),
            transition(1_234, "", "cancelled", DispatchState::Cancelled, "credit limit"),
        ],
        ..Dispatch::default()
    }
}

const GOLDEN: &str = include_str!("timeline_golden.txt");

#[test]
fn a_dispatch_is_a_card_its_steps_and_its_timeline() {
    let text = whole(&cancelled(), Paint::none());
    assert_eq!(text, GOLDEN.trim_end());
}

#[test]
fn a_repeated_attempt_is_numbered_and_time_counts_from_the_first_line() {
    let mut timeline = Timeline::new(Paint::none(), None);
    timeline.line(&transition(100, "", "started", DispatchState::InProgress, ""));
    let mut again = transition(2_600, "accept_order", "accept_order_sent", DispatchState::InProgress, "");
    again.attempt = 3;
    let line = timeline.line(&again);
    assert_eq!(
        line,
        "2026-01-31T12:00:02.600Z     +2.500s  accept_order #3       accept_order_sent             IN_PROGRESS"
    );
}

#[test]
fn a_line_says_what_a_step_took_and_what_remains_where_that_has_changed() {
    let mut timeline = Timeline::new(Paint::none(), at(0));
    let mut line = |event: &str, took, remaining: &[&str]| {
        let mut happened = transition(100, "s", event, DispatchState::InProgress, "");
        (happened.took, happened.remaining) = (took, remaining.iter().map(ToString::to_string).collect());
        timeline.line(&happened).split_once("IN_PROGRESS").unwrap().1.trim().to_owned()
    };
    assert_eq!(line("started", None, &["a", "b", "c"]), "(remaining: a, b, c)");
    assert_eq!(line("a_done", Some(lasting(1_250)), &["b", "c"]), "(took 1.250s, remaining: b, c)");
    assert_eq!(line("b_retried", None, &["b", "c"]), "");
    assert_eq!(line("b_done", Some(lasting(9)), &["c\u{1b}[2J"]), "(took 0.009s, remaining: c\u{fffd}[2J)");
    assert_eq!(line("c_done", Some(lasting(70_001)), &[]), "(took 70.001s)");
}

#[test]
fn a_line_on_the_way_back_says_what_is_still_to_be_undone_after_its_reason() {
    let mut happened = transition(100, "b", "b_refused", DispatchState::Compensating, "no");
    (happened.took, happened.remaining) = (Some(lasting(8)), vec!["a".to_owned()]);
    let line =
        |mut timeline: Timeline| timeline.line(&happened).split_once("COMPENSATING").unwrap().1.to_owned();
    assert_eq!(line(Timeline::new(Paint::none(), at(0))), "  no (took 0.008s, to undo: a)");
    assert_eq!(line(Timeline::below_steps(Paint::none(), at(0))), "  no (took 0.008s)");
}

#[test]
fn what_is_out_has_taken_so_long_so_far_and_what_was_never_sent_took_nothing() {
    assert_eq!(took(Some(&course(1_500, None, 2))), "1.500s so far, 2 attempts");
    assert_eq!(took(None), "-");
}

#[test]
fn steps_that_are_missing_are_accounted_for() {
    let dispatch = Dispatch { steps: Vec::new(), steps_note: "not known".to_owned(), ..cancelled() };
    let text = whole(&dispatch, Paint::none());
    assert!(text.contains("\n  steps        not known\n") && !text.contains("Participant"), "{text}");
}

#[test]
fn colours_go_around_the_state_only_when_wanted() {
    let line = |paint| {
        Timeline::new(paint, None).line(&transition(
            0,
            "",
            "completed",
            DispatchState::Completed,
            "\u{1b}[31m",
        ))
    };
    assert!(line(Paint::always()).contains("\u{1b}[32mCOMPLETED   \u{1b}[0m"));
    assert!(!line(Paint::none()).contains('\u{1b}'));
}
