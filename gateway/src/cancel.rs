//! The request to undo a dispatch, as it is kept and as it is sent.
//!
//! It is kept with the dispatch until the saga has decided it, so that a broker which forgets the message
//! costs time and not the request: `reconcile` sends it again. Every sending is the same message, and the
//! saga decides it once.

use prost::{Message, Name};
use sea_orm::{DbErr, QueryResult};
use uuid::Uuid;
use waybill_messaging::{
    Envelope, Exchange, Outgoing, Store, StoreError, Timestamp, TraceContext, Transaction, Tx, classify,
    outbox,
};
use waybill_proto::v1;

use crate::{id, reconcile, request::ROUTING_KEY, time};

/// A cancel request that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) dispatch_id: String,
    order_id: String,
    trace: TraceContext,
    reason: String,
    requested_at: Timestamp,
}

impl Pending {
    /// The request as a message. `None`: the dispatch's id is none that we have made.
    pub(crate) fn message(&self, trace: TraceContext) -> Option<Outgoing> {
        let row = id::of_cancel(Uuid::try_parse(&self.dispatch_id).ok()?);
        let body = v1::CancelRequested {
            dispatch_id: self.dispatch_id.clone(),
            order_id: self.order_id.clone(),
            reason: self.reason.clone(),
            requested_at: Some(time::to_wire(self.requested_at)),
        };
        let envelope = Envelope {
            message_id: format!("{}:cancel", self.dispatch_id),
            type_name: v1::CancelRequested::full_name(),
            correlation_id: self.dispatch_id.clone(),
            trace,
            attempt: 1,
            body: body.encode_to_vec().into(),
            ..Envelope::default()
        };
        Some(Outgoing { id: row, ..Outgoing::new(Exchange::Dispatch, ROUTING_KEY, envelope) })
    }

    /// The same, as the reconciler sends it: below the acceptance.
    pub(crate) fn message_again(&self) -> Option<Outgoing> {
        self.message(self.trace.clone())
    }
}

const COLUMNS: &str = "dispatch_id, order_id, traceparent, tracestate, cancel_reason, cancel_requested_at";

/// Keeps the request and sends it. Of several the first is kept; asking again sends it again, unless it
/// still waits in the outbox.
pub(crate) struct Ask {
    pub(crate) dispatch_id: String,
    pub(crate) reason: String,
    /// The call.
    pub(crate) trace: TraceContext,
}

impl Transaction for Ask {
    const NAME: &'static str = "gateway.cancel";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        let sql = format!(
            "UPDATE dispatches SET cancel_reason = CASE WHEN cancel_requested_at IS NULL THEN $1 \
             ELSE cancel_reason END, cancel_requested_at = coalesce(cancel_requested_at, $2) \
             WHERE dispatch_id = $3 RETURNING {COLUMNS}"
        );
        let params =
            vec![self.reason.as_str().into(), tx.now().micros().into(), self.dispatch_id.as_str().into()];
        let kept = tx.query(&sql, params).await?;
        let kept = kept.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let messages: Vec<_> = kept.iter().filter_map(|kept| kept.message(self.trace.clone())).collect();
        let messages = reconcile::not_waiting(tx, &messages).await?;
        outbox::append(tx, messages);
        Ok(())
    }
}

/// A page of requests that were made before `until` and are kept, in the order of their dispatches.
pub(crate) async fn kept(
    store: &Store,
    after: &str,
    until: Timestamp,
    most: i64,
) -> Result<Vec<Pending>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dispatches WHERE cancel_requested_at < $1 AND dispatch_id > $2 \
         ORDER BY dispatch_id LIMIT $3"
    );
    let found = store.query(&sql, vec![until.micros().into(), after.into(), most.into()]).await?;
    found.iter().map(read).collect()
}

fn read(row: &QueryResult) -> Result<Pending, StoreError> {
    let parse = || -> Result<Pending, DbErr> {
        Ok(Pending {
            dispatch_id: row.try_get_by_index(0)?,
            order_id: row.try_get_by_index(1)?,
            trace: TraceContext {
                traceparent: row.try_get_by_index(2)?,
                tracestate: row.try_get_by_index(3)?,
            },
            reason: row.try_get_by_index(4)?,
            requested_at: Timestamp::from_micros(row.try_get_by_index(5)?),
        })
    };
    parse().map_err(|error| classify(&error))
}
