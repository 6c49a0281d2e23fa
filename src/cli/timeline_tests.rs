//! What a dispatch looks like, word for word.

use prost_types::Timestamp;
use waybill_proto::v1::{Dispatch, DispatchState, DispatchStep, DispatchTransition, Money, StepState};

use super::{Timeline, whole};
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
    }
}

fn step(name: &str, participant: &str, state: StepState, ended: Option<i32>, reason: &str) -> DispatchStep {
    DispatchStep {
        name: name.to_owned(),
        participant: participant.to_owned(),
        state: state.into(),
        started_at: at(5),
        ended_at: ended.and_then(at),
        reason: reason.to_owned(),
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
            step("accept_order", "order", StepState::Compensated, Some(45), ""),
            step("reserve_payment", "payment", StepState::Refused, Some(1_005), "credit limit"),
            step("create_dispatch", "dispatch", StepState::Pending, None, ""),
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
