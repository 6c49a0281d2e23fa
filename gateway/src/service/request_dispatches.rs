//! `RequestDispatches`: many requests over one stream, answered in any order.
//!
//! The stream is the queue's to slow down: an item waits for room, and while as many wait as may be in
//! flight nothing more is read, which the client feels as flow control.

use std::pin::Pin;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tracing::Instrument;
use waybill_proto::v1::{DispatchReceipt, DispatchRequested};

use super::{Service, request_dispatch};
use crate::{accept::Receipt, edge::Call, request::Request, status};

type Receipts = mpsc::Sender<Result<DispatchReceipt, Status>>;
type InFlight<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = DispatchReceipt> + Send + 'a>>>;

/// Starts the stream's own task, which outlives the call that opened it.
pub(super) fn open(
    service: Service,
    call: Call,
    inbound: Streaming<DispatchRequested>,
) -> ReceiverStream<Result<DispatchReceipt, Status>> {
    let (receipts, outbound) = mpsc::channel(service.stream_window);
    let span = call.span.clone();
    let task = async move {
        let code = run(&service, &call, inbound, &receipts).await;
        call.ended(code);
    };
    tokio::spawn(task.instrument(span));
    ReceiverStream::new(outbound)
}

/// Reads, accepts and answers until the client has ended its side, or something else ends the stream;
/// what is in flight then is answered first.
async fn run(
    service: &Service,
    call: &Call,
    mut inbound: Streaming<DispatchRequested>,
    receipts: &Receipts,
) -> Code {
    let mut in_flight = InFlight::new();
    let mut end: Option<Result<(), Status>> = None;
    while end.is_none() || !in_flight.is_empty() {
        tokio::select! {
            Some(receipt) = in_flight.next(), if !in_flight.is_empty() => {
                if receipts.send(Ok(receipt)).await.is_err() {
                    return Code::Cancelled;
                }
            }
            item = inbound.message(), if end.is_none() && in_flight.len() < service.stream_window => {
                match item {
                    Ok(Some(wire)) => in_flight.push(Box::pin(accept(service, call, wire))),
                    Ok(None) => end = Some(Ok(())),
                    Err(malformed) => end = Some(Err(malformed)),
                }
            }
            status = cut_short(service, call), if end.is_none() => end = Some(Err(status)),
            // The client is gone. What is in flight is committed without anybody to hear of it.
            () = receipts.closed() => return Code::Cancelled,
        }
    }
    let Some(Err(status)) = end else { return Code::Ok };
    let code = status.code();
    // Fails only when the client is gone, who then does not need it.
    let _ = receipts.send(Err(status)).await;
    code
}

/// What ends the stream from our side.
async fn cut_short(service: &Service, call: &Call) -> Status {
    tokio::select! {
        () = service.stop.cancelled() => {
            Status::unavailable("shutting down: items without a receipt may be sent again elsewhere")
        }
        () = call.expired() => status::deadline_exceeded(),
    }
}

/// An error here is the item's, and part of its receipt.
async fn accept(service: &Service, call: &Call, wire: DispatchRequested) -> DispatchReceipt {
    let message_id = wire.message_id.clone();
    match try_accept(service, call, wire).await {
        Ok(receipt) => request_dispatch::to_wire(message_id, receipt),
        Err(error) => {
            let error = Some(status::to_wire(&error));
            DispatchReceipt { message_id, error, ..DispatchReceipt::default() }
        }
    }
}

async fn try_accept(service: &Service, call: &Call, wire: DispatchRequested) -> Result<Receipt, Status> {
    // Held until the item is answered.
    let _place = call.caller.message()?;
    let request =
        Request::parse(wire, service.store.clock().now()).inspect_err(|_| service.intake.refused_unread())?;
    Ok(service.intake.accept_when_room(request, call.origin()).await?)
}
