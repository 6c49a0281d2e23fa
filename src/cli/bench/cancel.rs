//! Cancels dispatches of the load that the mix has cancelled by their client, and judges by the answer how they
//! may end: the request races with the saga, whose decision is in the answer.

use tonic::{Code, Status};
use waybill_proto::v1::{CancelDispatchRequest, Dispatch, DispatchState};

use super::ledger::Ledger;
use crate::cli::{
    Failure,
    client::{ClientArgs, Gateway},
    status,
};

const REASON: &str = "waybill bench";

/// What a cancel request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It goes back.
    GoesBack,
    /// It cannot any more.
    TooLate,
    /// The saga had not decided in time, or nobody knows.
    Undecided,
    /// The request was refused for another reason.
    Failed(String),
}

/// Asks for a dispatch to be undone, once, and writes the answer down.
pub(super) async fn ask(args: &ClientArgs, client: &Gateway, ledger: &Ledger, dispatch_id: String) {
    let request = CancelDispatchRequest { dispatch_id: dispatch_id.clone(), reason: REASON.to_owned() };
    let mut client = client.clone();
    let answer = args.call(request, |request| client.cancel_dispatch(request)).await;
    let mut books = ledger.books();
    if let Err(status) = &answer
        && status.code() != Code::FailedPrecondition
    {
        books.tally.error(status::code(status));
    }
    books.cancels.insert(dispatch_id, read(answer));
}

fn read(answer: Result<Dispatch, Status>) -> Answer {
    match answer {
        Ok(dispatch) => match dispatch.state() {
            DispatchState::Compensating | DispatchState::Cancelled => Answer::GoesBack,
            _ => Answer::Undecided,
        },
        Err(status) if status.code() == Code::FailedPrecondition => Answer::TooLate,
        Err(status) if status::is_passing(status::code(&status)) => Answer::Undecided,
        Err(status) => Answer::Failed(Failure::from(status).message),
    }
}

impl Answer {
    /// Whether a dispatch may have ended so after this answer; in words what is wrong where not.
    pub(super) fn allows(&self, state: DispatchState) -> Result<(), String> {
        match (self, state) {
            (Self::GoesBack | Self::Undecided, DispatchState::Cancelled)
            | (Self::TooLate | Self::Undecided, DispatchState::Completed) => Ok(()),
            (Self::GoesBack, _) => {
                Err("although the answer to the cancel request said that it goes back".to_owned())
            }
            (Self::TooLate, _) => {
                Err("although the answer to the cancel request said that it is too late".to_owned())
            }
            (Self::Undecided, _) => Err("after a cancel request".to_owned()),
            (Self::Failed(why), _) => Err(format!("and the cancel request was answered {why}")),
        }
    }
}
