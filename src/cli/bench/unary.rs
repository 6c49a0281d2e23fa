//! One call a request: `RequestDispatch`.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{
    driver::rest,
    ledger::{Flight, Ledger},
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
        let place = ledger.answered(flight, answer);
        if let (Some(pause), true) = (pause, patient) {
            tokio::time::sleep(pause).await;
        }
        drop(place);
    });
}
