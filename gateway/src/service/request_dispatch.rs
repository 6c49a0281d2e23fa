//! `RequestDispatch`: one request, one receipt.

use tonic::Status;
use waybill_proto::v1;

use super::Service;
use crate::{accept::Receipt, edge::Call, request::Request, time};

pub(super) async fn handle(
    service: &Service,
    call: &Call,
    wire: v1::DispatchRequested,
) -> Result<v1::DispatchReceipt, Status> {
    let request =
        Request::parse(wire, service.store.clock().now()).inspect_err(|_| service.intake.refused_unread())?;
    // Not before: what is refused could be of any size.
    call.span.record("message_id", request.message_id.as_str());
    let message_id = request.message_id.clone();
    let receipt = service.intake.accept(request, call.origin()).await?;
    call.span.record("dispatch_id", receipt.dispatch_id.as_str());
    Ok(to_wire(message_id, receipt))
}

pub(super) fn to_wire(message_id: String, receipt: Receipt) -> v1::DispatchReceipt {
    v1::DispatchReceipt {
        message_id,
        dispatch_id: receipt.dispatch_id,
        duplicate: receipt.duplicate,
        accepted_at: Some(time::to_wire(receipt.accepted_at)),
        error: None,
    }
}
