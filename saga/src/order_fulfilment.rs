//! The saga `order_fulfilment`: accept the order, reserve the payment, create the dispatch, complete the
//! order. A new step is a row here, a command in the contract and a handler in a participant.

use std::time::Duration;

use crate::{Command, Definition, Kind, Patience, Step};

/// A participant that is away this many times longer than a step's time-out is waited for when the saga
/// cannot turn back: while compensating, and after the pivot.
const STUBBORN: u32 = 20;

/// Version 1. `timeout`: for an answer; `attempts`: commands sent before a step that can be undone is.
pub fn order_fulfilment(timeout: Duration, attempts: u32) -> Definition {
    let patient = Patience { timeout, most: timeout, attempts };
    let stubborn =
        Patience { timeout, most: timeout.saturating_mul(STUBBORN), attempts: attempts.saturating_mul(2) };
    let step = |name, kind, command, compensation| Step {
        name,
        kind,
        command,
        compensation,
        patience: if kind == Kind::Retriable { stubborn } else { patient },
        compensation_patience: stubborn,
    };
    Definition {
        name: "order_fulfilment",
        version: 1,
        steps: vec![
            step("accept_order", Kind::Compensatable, Command::AcceptOrder, Some(Command::CancelOrder)),
            step(
                "reserve_payment",
                Kind::Compensatable,
                Command::ReservePayment,
                Some(Command::ReleasePayment),
            ),
            // Withdrawn only while its outcome is unknown: once it has succeeded there is no way back.
            step("create_dispatch", Kind::Pivot, Command::CreateDispatch, Some(Command::WithdrawDispatch)),
            step("complete_order", Kind::Retriable, Command::CompleteOrder, None),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DefinitionError;

    fn definition() -> Definition {
        order_fulfilment(Duration::from_secs(30), 5)
    }

    #[test]
    fn the_published_definition_is_unchanged() {
        // Running instances depend on it: a change is a new version, never a new hash here.
        assert_eq!((definition().version, definition().hash().as_str()), (1, "d2a8d114a381f0de"));
    }

    #[test]
    fn the_definition_obeys_the_rules() {
        assert_eq!(definition().check(), Ok(()));
    }

    #[test]
    fn definitions_that_break_a_rule_are_refused() {
        let broken = |change: fn(&mut Definition)| {
            let mut definition = definition();
            change(&mut definition);
            definition.check().unwrap_err()
        };
        assert_eq!(broken(|d| d.steps.clear()), DefinitionError::Empty);
        assert_eq!(
            broken(|d| d.steps[0].compensation = None),
            DefinitionError::NoCompensation("accept_order")
        );
        assert_eq!(
            broken(|d| d.steps.swap(1, 2)),
            DefinitionError::CompensatableAfterPivot("reserve_payment")
        );
        assert_eq!(broken(|d| d.steps[3].kind = Kind::Pivot), DefinitionError::SecondPivot("complete_order"));
        assert_eq!(broken(|d| d.steps[3].name = "accept_order"), DefinitionError::Twice("accept_order"));
        assert_eq!(
            broken(|d| d.steps[3].command = Command::AcceptOrder),
            DefinitionError::CommandTwice("AcceptOrder")
        );
        assert_eq!(
            broken(|d| d.steps[0].patience.timeout = Duration::ZERO),
            DefinitionError::NoPatience("accept_order")
        );
        assert_eq!(
            broken(|d| d.steps[3].compensation = Some(Command::CancelOrder)),
            DefinitionError::CompensatedRetriable("complete_order")
        );
    }
}
