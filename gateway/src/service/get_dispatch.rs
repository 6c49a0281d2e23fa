//! `GetDispatch`: one dispatch, whole.

use tonic::Status;
use waybill_proto::v1::{self, get_dispatch_request::Key as Wire};

use super::Service;
use crate::{edge::Call, found::Found, request::MAX_ID, row::Key, violations::Violations};

pub(super) async fn handle(
    service: &Service,
    call: &Call,
    request: v1::GetDispatchRequest,
) -> Result<v1::Dispatch, Status> {
    let Found { row, instance } = service.find(call, &parse(request)?).await?;
    call.span.record("dispatch_id", row.dispatch_id.as_str());
    service.whole(row, instance.as_ref()).await
}

fn parse(request: v1::GetDispatchRequest) -> Result<Key, Status> {
    let key = match request.key {
        Some(Wire::DispatchId(id)) => Key::Dispatch(id),
        Some(Wire::MessageId(id)) => Key::Message(id),
        Some(Wire::OrderId(id)) => Key::Order(id),
        None => return Err(Violations::one("key", "must be dispatch_id, message_id or order_id")),
    };
    let mut wrong = Violations::default();
    let (name, value) = key.parts();
    wrong.check_id(name, value, 1, MAX_ID);
    wrong.or(key)
}
