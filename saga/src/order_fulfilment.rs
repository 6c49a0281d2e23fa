//! The saga `order_fulfilment`: accept the order, reserve the payment, create the dispatch, capture the
//! payment, complete the order. A new step is a row here, a command in the contract and a handler in a participant.

use std::time::Duration;

use crate::{Command, Definition, Kind, Patience, Step};

/// A participant that is away this many times longer than a step's time-out is waited for when the saga
/// cannot turn back: while compensating, and after the pivot.
const STUBBORN: u32 = 20;
/// In percent.
const JITTER: u32 = 10;

/// What the configuration says where a definition says nothing of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// For a step's answer.
    pub step_timeout: Duration,
    /// Commands sent before a step that can be undone is.
    pub step_attempts: u32,
    /// For the whole.
    pub saga_timeout: Duration,
}

/// What holds where nothing is configured.
impl Default for Defaults {
    fn default() -> Self {
        let (step_timeout, saga_timeout) = (Duration::from_secs(30), Duration::from_hours(24));
        Self { step_timeout, step_attempts: 5, saga_timeout }
    }
}

impl Defaults {
    /// While the saga can still turn back.
    const fn patient(&self) -> Patience {
        let Self { step_timeout: timeout, step_attempts: attempts, .. } = *self;
        Patience { timeout, most: timeout, attempts, jitter: JITTER }
    }

    /// Where it cannot: longer and longer.
    fn stubborn(&self) -> Patience {
        let Patience { timeout, attempts, .. } = self.patient();
        Patience {
            most: timeout.saturating_mul(STUBBORN),
            attempts: attempts.saturating_mul(2),
            ..self.patient()
        }
    }
}

/// Every version that this release knows.
pub const VERSIONS: [u32; 2] = [1, 2];

/// Their definitions, oldest first.
pub fn order_fulfilment(defaults: &Defaults) -> Vec<Definition> {
    vec![version_1(defaults), version_2(defaults)]
}

fn version_1(defaults: &Defaults) -> Definition {
    use Command::{
        AcceptOrder, CancelOrder, CompleteOrder, CreateDispatch, ReleasePayment, ReservePayment,
        WithdrawDispatch,
    };
    use Kind::{Compensatable, Pivot, Retriable};
    let (patient, stubborn) = (defaults.patient(), defaults.stubborn());
    Definition {
        name: "order_fulfilment",
        version: 1,
        timeout: defaults.saga_timeout,
        steps: vec![
            step("accept_order", Compensatable, AcceptOrder, patient).undone_by(CancelOrder, stubborn),
            step("reserve_payment", Compensatable, ReservePayment, patient)
                .undone_by(ReleasePayment, stubborn),
            // Withdrawn only while its outcome is unknown: once it has succeeded there is no way back.
            step("create_dispatch", Pivot, CreateDispatch, patient).undone_by(WithdrawDispatch, stubborn),
            step("complete_order", Retriable, CompleteOrder, stubborn),
        ],
    }
}

/// The payment is captured once the delivery is certain.
fn version_2(defaults: &Defaults) -> Definition {
    use Command::{
        AcceptOrder, CancelOrder, CapturePayment, CompleteOrder, CreateDispatch, ReleasePayment,
        ReservePayment, WithdrawDispatch,
    };
    use Kind::{Compensatable, Pivot, Retriable};
    let (patient, stubborn) = (defaults.patient(), defaults.stubborn());
    Definition {
        name: "order_fulfilment",
        version: 2,
        timeout: defaults.saga_timeout,
        steps: vec![
            step("accept_order", Compensatable, AcceptOrder, patient).undone_by(CancelOrder, stubborn),
            step("reserve_payment", Compensatable, ReservePayment, patient)
                .undone_by(ReleasePayment, stubborn),
            // Withdrawn only while its outcome is unknown: once it has succeeded there is no way back.
            step("create_dispatch", Pivot, CreateDispatch, patient).undone_by(WithdrawDispatch, stubborn),
            step("capture_payment", Retriable, CapturePayment, stubborn),
            step("complete_order", Retriable, CompleteOrder, stubborn),
        ],
    }
}

const fn step(name: &'static str, kind: Kind, command: Command, patience: Patience) -> Step {
    Step { name, kind, command, compensation: None, patience, compensation_patience: patience }
}

impl Step {
    const fn undone_by(self, compensation: Command, compensation_patience: Patience) -> Self {
        Self { compensation: Some(compensation), compensation_patience, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DefinitionError;

    fn definition() -> Definition {
        version_1(&Defaults::default())
    }

    #[test]
    fn every_definition_obeys_the_rules_and_has_its_version() {
        let all = order_fulfilment(&Defaults::default());
        assert!(all.iter().all(|definition| definition.check() == Ok(())));
        assert_eq!(all.iter().map(|definition| definition.version).collect::<Vec<_>>(), VERSIONS);
    }

    #[test]
    fn definitions_that_break_a_rule_are_refused() {
        use DefinitionError as E;
        type Change = fn(&mut Definition);
        let cases: [(Change, E); 14] = [
            (|d| d.steps.clear(), E::Empty),
            (|d| d.timeout = Duration::ZERO, E::NoTimeout),
            (|d| d.steps[0].compensation = None, E::NoCompensation("accept_order")),
            (|d| d.steps.swap(1, 2), E::CompensatableAfterPivot("reserve_payment")),
            (|d| d.steps[3].kind = Kind::Pivot, E::SecondPivot("complete_order")),
            (|d| d.steps.swap(2, 3), E::PivotAfterRetriable("create_dispatch")),
            (|d| d.steps[3].name = "accept_order", E::Twice("accept_order")),
            (|d| d.steps[3].command = Command::AcceptOrder, E::CommandTwice("AcceptOrder")),
            (|d| d.steps[0].patience.timeout = Duration::ZERO, E::NoPatience("accept_order")),
            (|d| d.steps[1].compensation_patience.timeout = Duration::ZERO, E::NoPatience("reserve_payment")),
            (|d| d.steps[3].patience.attempts = 0, E::NoPatience("complete_order")),
            (|d| d.steps[3].patience.jitter = 101, E::TooMuchJitter("complete_order")),
            (
                |d| d.steps[0].compensation = Some(Command::WithdrawDispatch),
                E::CompensatedElsewhere("accept_order"),
            ),
            (
                |d| d.steps[3].compensation = Some(Command::CancelOrder),
                E::CompensatedRetriable("complete_order"),
            ),
        ];
        for (change, error) in cases {
            let mut broken = definition();
            change(&mut broken);
            assert_eq!(broken.check(), Err(error));
        }
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_by_no_more_than_their_jitter() {
        let Step { patience, .. } = definition().steps[3];
        let seconds = |attempt, spread| patience.wait(attempt, spread).as_secs();
        assert_eq!(
            [1, 2, 3, 4, 5, 6, 9].map(|attempt| seconds(attempt, 0)),
            [30, 60, 120, 240, 480, 600, 600]
        );
        assert_eq!([1, 2, 9].map(|attempt| seconds(attempt, 500)), [31, 63, 630]);
        assert_eq!(patience.wait_stuck(500), Duration::from_secs(630));
    }
}
