//! What is looked up once the load is over, so that it costs the measurement nothing: whether requests
//! without an answer were accepted, and why dispatches were cancelled.

use futures_util::{StreamExt as _, stream};
use tonic::Code;
use waybill_proto::v1::{Dispatch, DispatchState, StepState, get_dispatch_request::Key};

use super::{
    cancel::{self, Answer},
    ledger::{Doubtful, Ledger, Lost, found},
    mix::Outcome,
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
                let (now, outcome) = (ledger.now(), lost.outcome);
                ledger.books().found(lost, dispatch.dispatch_id.clone(), now);
                ledger.news.notify_one();
                if outcome == Outcome::Cancelled {
                    cancel::ask(args, client, ledger, dispatch.dispatch_id).await;
                }
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

/// Checks why each dispatch was cancelled, or was not although we had asked for it.
pub(super) async fn check_doubtful(args: &ClientArgs, client: &Gateway, ledger: &Ledger) {
    let doubtful = std::mem::take(&mut ledger.books().doubtful);
    let look = |doubtful: Doubtful| async move {
        let dispatch = get(args, client, Key::DispatchId(doubtful.dispatch_id.clone())).await;
        (doubtful, dispatch)
    };
    let mut answers = stream::iter(doubtful).map(look).buffer_unordered(AT_ONCE);
    while let Some((doubtful, answer)) = answers.next().await {
        let Doubtful { dispatch_id, message_id, outcome } = doubtful;
        let mut books = ledger.books();
        let verdict = match &answer {
            Ok(dispatch) => judge(outcome, books.cancels.get(&dispatch_id), dispatch),
            Err(status) => Err(format!("ended, but why is not known: {status}")),
        };
        match (verdict, answer.map(|dispatch| dispatch.state())) {
            (Err(found), _) => {
                books.tally.wrong(Wrong { message_id, dispatch_id, expected: outcome, found });
            }
            (Ok(()), Ok(DispatchState::Completed)) => books.tally.too_late += 1,
            (Ok(()), _) => books.tally.right(outcome),
        }
    }
}

/// What is wrong with how it ended, in words.
fn judge(outcome: Outcome, cancel: Option<&Answer>, dispatch: &Dispatch) -> Result<(), String> {
    let found = found(dispatch.state(), &dispatch.reason);
    match refuser(dispatch) {
        other if other != outcome.refuser() => Err(match other {
            Some(participant) => format!("refused by {participant}: {}", dispatch.reason),
            None => format!("{found}, and no participant refused"),
        }),
        _ if outcome != Outcome::Cancelled => Ok(()),
        _ => match cancel {
            Some(answer) => answer.allows(dispatch.state()).map_err(|why| format!("{found}, {why}")),
            None => Err(format!("{found}, and the cancel request was not answered")),
        },
    }
}

fn refuser(dispatch: &Dispatch) -> Option<&str> {
    let refused = dispatch.steps.iter().find(|step| step.state() == StepState::Refused);
    refused.map(|step| step.participant.as_str())
}
