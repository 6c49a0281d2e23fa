//! One dispatch: a call, a receipt and, on request, its timeline to the end.

use std::{process::ExitCode, time::Duration};

use tonic::{Code, Status};
use waybill_proto::v1::{DispatchReceipt, DispatchRequested};

use crate::cli::{
    Failure,
    clean::clean,
    client::{ClientArgs, Gateway},
    follow::follow,
    json,
    out::{self, Paint},
    pulse::Pulse,
    state, status,
    timeline::Timeline,
};

/// Attempts at a server that is full.
const ATTEMPTS: u32 = 10;
/// Pause where a full server names none.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(
    args: &ClientArgs,
    request: DispatchRequested,
    wait: bool,
) -> Result<ExitCode, Failure> {
    let mut client = args.connect().await?;
    let receipt = accept(args, &mut client, &request).await?;
    out::text(&if args.json { json::line(&json::receipt(&receipt)) } else { shown(&receipt, &request) })?;
    if !wait {
        return Ok(ExitCode::SUCCESS);
    }
    let (pulse, mut timeline) = (Pulse::new(), Timeline::new(Paint::of_stdout(), receipt.accepted_at));
    let end = follow(args, client, &receipt.dispatch_id, 0, |transition| {
        pulse.beat();
        let text =
            if args.json { json::line(&json::transition(transition)) } else { timeline.line(transition) };
        out::text(&text)
    });
    let end = tokio::select! {
        end = end => end?,
        () = pulse.silence(args.timeout) => return Err(silence(args.timeout).into()),
    };
    Ok(ExitCode::from(state::exit_code(end.state())))
}

/// Asks again, with the same message id, while the server says that it is full.
async fn accept(
    args: &ClientArgs,
    client: &mut Gateway,
    request: &DispatchRequested,
) -> Result<DispatchReceipt, Failure> {
    let pulse = Pulse::new();
    let mut attempt = 1;
    loop {
        let answer = args.call(request.clone(), |request| client.request_dispatch(request)).await;
        let full = match answer {
            Ok(receipt) => return Ok(receipt),
            Err(status) if status.code() == Code::ResourceExhausted && attempt < ATTEMPTS => status,
            Err(status) => return Err(status.into()),
        };
        attempt += 1;
        let pause = status::retry_delay(&full).unwrap_or(PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = pulse.silence(args.timeout) => return Err(full.into()),
        }
    }
}

/// Nothing was heard of a dispatch for too long.
pub(super) fn silence(timeout: Duration) -> Status {
    Status::deadline_exceeded(format!("no news for {}", humantime::format_duration(timeout)))
}

fn shown(receipt: &DispatchReceipt, request: &DispatchRequested) -> String {
    let how = if receipt.duplicate { "accepted before" } else { "accepted" };
    format!(
        "{how}: dispatch {}, message {}, order {}",
        clean(&receipt.dispatch_id),
        clean(&receipt.message_id),
        clean(&request.order_id)
    )
}
