//! One call a request: `RequestDispatch`.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{
    cancel,
    driver::rest,
    ledger::{Flight, Ledger, Next},
};
use crate::cli::client::{ClientArgs, Gateway};

/// Starts the call. Nothing waits for it but the tracker.
pub(super) fn send(
    tasks: &TaskTracker,
    args: &ClientArgs,
    client: &Gateway,
    ledger: &Arc<Ledger>,
    flight: Flight,
    patient: bool,
) {
    let (args, mut client, ledger) = (args.clone(), client.clone(), Arc::clone(ledger));
    tasks.spawn(async move {
        ledger.sent(&flight.ticket);
        let request = flight.request.clone();
        let answer = args.call(request, |request| client.request_dispatch(request)).await;
        let pause = answer.as_ref().err().map(rest);
        match (ledger.answered(flight, answer), pause) {
            (Next::Cancel { dispatch_id, place }, _) => {
                cancel::ask(&args, &client, &ledger, dispatch_id).await;
                drop(place);
            }
            (Next::Rest(place), Some(pause)) if patient => {
                tokio::time::sleep(pause).await;
                drop(place);
            }
            (Next::Rest(_) | Next::Nothing, _) => {}
        }
    });
}
