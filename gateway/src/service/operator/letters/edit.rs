//! `EditDeadLetter`: another body, and sent again with it.

use tonic::Status;
use waybill_proto::v1::{self, edit_dead_letter_request::Body};

use super::{get, id, no_such};
use crate::{
    desk::{Desk, Edit, Edited},
    json,
    service::operator::check_why,
    status,
    violations::Violations,
};

const VERB: &str = "edit_dead_letter";

pub(crate) async fn edit(desk: &Desk, request: v1::EditDeadLetterRequest) -> Result<v1::DeadLetter, Status> {
    let v1::EditDeadLetterRequest { id: text, body, reason, operator } = request;
    let mut wrong = Violations::default();
    check_why(&mut wrong, &reason, &operator);
    wrong.check(body.is_some(), "body", "must be json or raw");
    wrong.or(())?;
    let id = id(&text)?;
    let (database, letter) = desk.find(id).await?.ok_or_else(|| no_such(id))?;
    let type_name = &letter.envelope.type_name;
    let body = match body {
        Some(Body::Json(json)) => {
            json::from_json(type_name, &json).map_err(|why| Violations::one("json", &why))?
        }
        Some(Body::Raw(raw)) => {
            json::check(type_name, &raw).map_err(|why| Violations::one("raw", &why))?;
            raw
        }
        None => Vec::new(),
    };
    let edit = Edit { id, body, operator, reason };
    match database.store.run(edit).await.map_err(|error| database.not_committed(&error))? {
        Edited::Done => {
            tracing::info!(dead_letter = text, "an operator has edited a dead letter and sent it again");
            get(desk, v1::GetDeadLetterRequest { id: text }).await
        }
        Edited::Resolved => {
            Err(status::does_not_fit(VERB, &text, "it is not dead any more: it was replayed or discarded"))
        }
        Edited::Handled => {
            let why = "its message was handled meanwhile, and would only be answered again whatever its body";
            Err(status::does_not_fit(VERB, &text, why))
        }
    }
}
