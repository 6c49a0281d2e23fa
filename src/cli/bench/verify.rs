//! What is looked up once the load is over, so that it costs the measurement nothing: whether requests
//! without an answer were accepted, and who it was that refused.

use futures_util::{StreamExt as _, stream};
use tonic::Code;
use waybill_proto::v1::{Dispatch, StepState, get_dispatch_request::Key};

use super::{
    ledger::{Ledger, Lost, Refused, found},
    tally::Wrong,
    watcher::get,
};
use crate::cli::{
    Failure,
    client::{ClientArgs, Gateway},
};

const AT_ONCE: usize = 32;

/// Looks for the dispatches of requests whose outcome is unknown; what is found is open from now on.
pub(super) async fn find_lost(args: &ClientArgs, client: &Gateway, ledger: &Ledger) -> Result<(), Failure> {
    let lost = std::mem::take(&mut ledger.books().lost);
    let look = |lost: Lost| async move {
        let found = get(args, client, Key::MessageId(lost.message_id.clone())).await;
        (lost, found)
    };
    let mut answers = stream::iter(lost).map(look).buffer_unordered(AT_ONCE);
    while let Some((lost, answer)) = answers.next().await {
        match answer {
            Ok(dispatch) => {
                let now = ledger.now();
                ledger.books().found(lost, dispatch.dispatch_id, now);
                ledger.news.notify_one();
            }
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => {
                let mut failure = Failure::from(status);
                failure.message =
                    format!("requests without an answer cannot be looked up: {}", failure.message);
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// Checks that each refusal came from the participant that had to refuse.
pub(super) async fn check_refusals(args: &ClientArgs, client: &Gateway, ledger: &Ledger) {
    let refused = std::mem::take(&mut ledger.books().refused);
    let look = |refused: Refused| async move {
        let dispatch = get(args, client, Key::DispatchId(refused.dispatch_id.clone())).await;
        (refused, dispatch)
    };
    let mut answers = stream::iter(refused).map(look).buffer_unordered(AT_ONCE);
    while let Some((refused, answer)) = answers.next().await {
        let found = match answer {
            Ok(dispatch) if refuser(&dispatch) == refused.outcome.refuser() => None,
            Ok(dispatch) => Some(match refuser(&dispatch) {
                Some(participant) => format!("refused by {participant}: {}", dispatch.reason),
                None => format!("{}, and no participant refused", found(dispatch.state(), &dispatch.reason)),
            }),
            Err(status) => Some(format!("CANCELLED, by whom is not known: {status}")),
        };
        let Refused { dispatch_id, message_id, outcome } = refused;
        let mut books = ledger.books();
        match found {
            None => books.tally.right(outcome),
            Some(found) => books.tally.wrong(Wrong { message_id, dispatch_id, expected: outcome, found }),
        }
    }
}

fn refuser(dispatch: &Dispatch) -> Option<&str> {
    let refused = dispatch.steps.iter().find(|step| step.state() == StepState::Refused);
    refused.map(|step| step.participant.as_str())
}
