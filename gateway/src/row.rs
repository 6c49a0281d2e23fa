//! Table `dispatches` as it is read: a row back to the request it was written from.

use sea_orm::{DbErr, QueryResult};
use uuid::Uuid;
use waybill_messaging::{Outgoing, StoreError, Timestamp, TraceContext, classify};

use crate::request::{self, Money, Request};

/// The columns that [`read`] takes, from `dispatches d`, in its order. The first one stays the first:
/// statements sort by it.
pub(crate) const COLUMNS: &str = "d.dispatch_id, d.message_id, d.order_id, d.customer_id, \
     d.destination_code, d.parcel_count, d.currency_code, d.minor_units, d.requested_at, d.accepted_at, \
     d.traceparent, d.tracestate, d.client";

/// How many columns those are.
pub(crate) const WIDTH: usize = 13;

/// One accepted dispatch.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) dispatch_id: String,
    pub(crate) request: Request,
    pub(crate) accepted_at: Timestamp,
    /// Where it was accepted.
    pub(crate) trace: TraceContext,
    /// Who asked for it; empty where nobody had to say.
    pub(crate) client: String,
}

/// How a dispatch is named.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Dispatch(String),
    Message(String),
    /// The live dispatch of an order, else its newest.
    Order(String),
}

impl Row {
    /// The message that starts its saga, as it was first sent. `None`: the id is none that we have made.
    pub(crate) fn start_message(&self) -> Option<Outgoing> {
        let id = Uuid::try_parse(&self.dispatch_id).ok()?;
        let body = self.request.encode();
        Some(request::start_message(id, &self.request.message_id, body, self.trace.clone()))
    }
}

impl Key {
    /// Its name in the contract, and its value.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Dispatch(id) => ("dispatch_id", id),
            Self::Message(id) => ("message_id", id),
            Self::Order(id) => ("order_id", id),
        }
    }
}

/// Reads a row that starts with [`COLUMNS`].
pub(crate) fn read(row: &QueryResult) -> Result<Row, StoreError> {
    parse(row).map_err(|error| classify(&error))
}

fn parse(row: &QueryResult) -> Result<Row, DbErr> {
    let moment = |index| row.try_get_by_index(index).map(Timestamp::from_micros);
    let currency_code: String = row.try_get_by_index(6)?;
    let minor_units = row.try_get_by_index(7)?;
    let request = Request {
        message_id: row.try_get_by_index(1)?,
        order_id: row.try_get_by_index(2)?,
        customer_id: row.try_get_by_index(3)?,
        destination_code: row.try_get_by_index(4)?,
        // At most 10 000, since it was parsed before it was written.
        parcel_count: i32::try_from(row.try_get_by_index::<i64>(5)?).unwrap_or(i32::MAX),
        amount: (!currency_code.is_empty()).then_some(Money { currency_code, minor_units }),
        requested_at: Some(moment(8)?).filter(|moment| *moment != Timestamp::default()),
    };
    Ok(Row {
        dispatch_id: row.try_get_by_index(0)?,
        request,
        accepted_at: moment(9)?,
        trace: TraceContext { traceparent: row.try_get_by_index(10)?, tracestate: row.try_get_by_index(11)? },
        client: row.try_get_by_index(12)?,
    })
}
