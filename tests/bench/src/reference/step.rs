//! The saga of the reference path: its steps, and what each message does in its transaction.

use prost::Message;
use sqlx::PgConnection;
use waybill_proto::v1::DispatchRequested;

use super::{outbox, schema::now};

/// Who asks for the steps to be done, and to whom the answers go.
const SAGA: &str = "saga";
/// Every queue; each is its own routing key.
pub(super) const QUEUES: [&str; 4] = [SAGA, "order", "payment", "dispatch"];
/// Each step by the command that asks for it, and the queue of the participant that does it.
const STEPS: [(&str, &str); 4] = [
    ("AcceptOrder", "order"),
    ("ReservePayment", "payment"),
    ("CreateDispatch", "dispatch"),
    ("CompleteOrder", "order"),
];
/// Of each parcel, in minor units.
const TARIFF: i64 = 500;

type Done = Result<(), sqlx::Error>;

/// A message as it came.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) message_id: String,
    pub(super) kind: String,
    pub(super) dispatch_id: String,
    pub(super) body: Vec<u8>,
}

/// Asks for a step.
pub(super) async fn ask(tx: &mut PgConnection, step: usize, dispatch_id: &str, request: &[u8]) -> Done {
    let (command, queue) = STEPS[step];
    outbox::append(tx, queue, command, dispatch_id, request).await
}

/// The effect of a message that was not handled before.
pub(super) async fn handle(tx: &mut PgConnection, queue: &str, message: &Arrived) -> Done {
    if queue == SAGA { advance(tx, message).await } else { participate(tx, message).await }
}

/// An answer: the saga goes on to the next step, or ends.
async fn advance(tx: &mut PgConnection, message: &Arrived) -> Done {
    let Arrived { kind, dispatch_id, .. } = message;
    let sql = "SELECT s.step, d.request FROM sagas s JOIN dispatches d ON d.dispatch_id = s.dispatch_id \
         WHERE s.dispatch_id = $1 FOR UPDATE OF s";
    let (step, request): (i32, Vec<u8>) = sqlx::query_as(sql).bind(dispatch_id).fetch_one(&mut *tx).await?;
    let done = usize::try_from(step).unwrap_or(usize::MAX);
    if STEPS.get(done).is_none_or(|(command, _)| *command != kind.as_str()) {
        return Ok(()); // The answer to a step that was answered before.
    }
    let ends = done + 1 == STEPS.len();
    let (state, ended_at) = if ends { ("COMPLETED", Some(now())) } else { ("IN_PROGRESS", None) };
    let sql = "UPDATE sagas SET step = $2, state = $3, ended_at = $4 WHERE dispatch_id = $1";
    let update = sqlx::query(sql).bind(dispatch_id).bind(step + 1).bind(state).bind(ended_at);
    update.execute(&mut *tx).await?;
    let sql = "INSERT INTO saga_history (dispatch_id, step, event, at) VALUES ($1, $2, $3, $4)";
    sqlx::query(sql).bind(dispatch_id).bind(step).bind(kind).bind(now()).execute(&mut *tx).await?;
    if ends { Ok(()) } else { ask(tx, done + 1, dispatch_id, &request).await }
}

/// A command: the business row, and the answer.
async fn participate(tx: &mut PgConnection, message: &Arrived) -> Done {
    let Arrived { kind, dispatch_id, body, .. } = message;
    let request = DispatchRequested::decode(body.as_slice());
    let request = request.map_err(|error| sqlx::Error::Decode(error.into()))?;
    let effect = match kind.as_str() {
        "AcceptOrder" => {
            sqlx::query("INSERT INTO orders (dispatch_id, order_id, state) VALUES ($1, $2, 'ACCEPTED')")
                .bind(dispatch_id)
                .bind(&request.order_id)
        }
        "ReservePayment" => sqlx::query("INSERT INTO payments (dispatch_id, minor_units) VALUES ($1, $2)")
            .bind(dispatch_id)
            .bind(i64::from(request.parcel_count) * TARIFF),
        "CreateDispatch" => {
            let sql =
                "INSERT INTO deliveries (dispatch_id, destination_code, parcel_count) VALUES ($1, $2, $3)";
            sqlx::query(sql).bind(dispatch_id).bind(&request.destination_code).bind(request.parcel_count)
        }
        _ => sqlx::query("UPDATE orders SET state = 'COMPLETED' WHERE dispatch_id = $1").bind(dispatch_id),
    };
    effect.execute(&mut *tx).await?;
    outbox::append(tx, SAGA, kind, dispatch_id, dispatch_id.as_bytes()).await
}
