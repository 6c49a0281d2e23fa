//! The front of the reference path: one transaction per request, and what the load generator asks for.

use prost::Message;
use sqlx::{FromRow, PgPool};
use tonic::Status;
use uuid::Uuid;
use waybill_proto::v1::{
    Dispatch, DispatchReceipt, DispatchRequested, DispatchState, GetDispatchRequest, ListDispatchesRequest,
    ListDispatchesResponse, get_dispatch_request::Key,
};

use super::{schema::now, step};
use crate::front::Answers;

/// Takes requests in.
pub(super) struct Intake {
    pool: PgPool,
}

#[derive(FromRow)]
struct Known {
    dispatch_id: String,
    message_id: String,
    order_id: String,
    accepted_at: i64,
    state: String,
    ended_at: Option<i64>,
}

impl Intake {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn accept(&self, request: &DispatchRequested) -> Result<DispatchReceipt, sqlx::Error> {
        let (dispatch_id, accepted_at) = (Uuid::now_v7().to_string(), now());
        let DispatchRequested { message_id, order_id, .. } = request;
        let encoded = request.encode_to_vec();
        let mut tx = self.pool.begin().await?;
        let sql = "INSERT INTO dispatches (dispatch_id, message_id, order_id, request, accepted_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (message_id) DO NOTHING";
        let insert = sqlx::query(sql).bind(&dispatch_id).bind(message_id).bind(order_id);
        let inserted = insert.bind(&encoded).bind(accepted_at).execute(&mut *tx).await?.rows_affected();
        if inserted == 0 {
            tx.rollback().await?;
            return self.known("d.message_id", message_id).await.map(|known| receipt(&known));
        }
        let sql = "INSERT INTO sagas (dispatch_id, step, state) VALUES ($1, 0, 'IN_PROGRESS')";
        sqlx::query(sql).bind(&dispatch_id).execute(&mut *tx).await?;
        step::ask(&mut tx, 0, &dispatch_id, &encoded).await?;
        tx.commit().await?;
        let (message_id, accepted_at) = (message_id.clone(), Some(moment(accepted_at)));
        Ok(DispatchReceipt { message_id, dispatch_id, accepted_at, ..DispatchReceipt::default() })
    }

    async fn known(&self, column: &'static str, value: &str) -> Result<Known, sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} WHERE {column} = $1"));
        sqlx::query_as(sql).bind(value).fetch_one(&self.pool).await
    }

    async fn ended(&self, before: &str, most: i64) -> Result<Vec<Known>, sqlx::Error> {
        let filter = "WHERE s.state = 'COMPLETED' AND ($1 = '' OR s.dispatch_id < $1) \
             ORDER BY s.dispatch_id DESC LIMIT $2";
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} {filter}"));
        sqlx::query_as(sql).bind(before).bind(most).fetch_all(&self.pool).await
    }
}

const SELECT: &str = "SELECT d.dispatch_id, d.message_id, d.order_id, d.accepted_at, s.state, s.ended_at \
     FROM dispatches d JOIN sagas s ON s.dispatch_id = d.dispatch_id";

impl Answers for Intake {
    async fn request(&self, request: DispatchRequested) -> Result<DispatchReceipt, Status> {
        if request.message_id.is_empty() || request.order_id.is_empty() || request.parcel_count < 1 {
            return Err(Status::invalid_argument("message_id, order_id and parcel_count are owed"));
        }
        self.accept(&request).await.map_err(|error| failed(&error))
    }

    async fn get(&self, request: GetDispatchRequest) -> Result<Dispatch, Status> {
        let (column, value) = match request.key.ok_or_else(|| Status::invalid_argument("no key"))? {
            Key::DispatchId(id) => ("d.dispatch_id", id),
            Key::MessageId(id) => ("d.message_id", id),
            Key::OrderId(id) => ("d.order_id", id),
        };
        self.known(column, &value).await.map(dispatch).map_err(|error| failed(&error))
    }

    /// What has ended, newest first: all that the load generator asks for.
    async fn list(&self, request: ListDispatchesRequest) -> Result<ListDispatchesResponse, Status> {
        let size = usize::try_from(request.page_size).unwrap_or_default().clamp(1, 1_000);
        let most = i64::try_from(size).unwrap_or_default();
        let known = self.ended(&request.page_token, most).await.map_err(|error| failed(&error))?;
        let last = known.last().filter(|_| known.len() == size);
        let next_page_token = last.map(|last| last.dispatch_id.clone()).unwrap_or_default();
        Ok(ListDispatchesResponse { dispatches: known.into_iter().map(dispatch).collect(), next_page_token })
    }
}

fn failed(error: &sqlx::Error) -> Status {
    match error {
        sqlx::Error::RowNotFound => Status::not_found("no such dispatch"),
        error => Status::unavailable(error.to_string()),
    }
}

fn receipt(known: &Known) -> DispatchReceipt {
    DispatchReceipt {
        message_id: known.message_id.clone(),
        dispatch_id: known.dispatch_id.clone(),
        duplicate: true,
        accepted_at: Some(moment(known.accepted_at)),
        error: None,
    }
}

fn dispatch(known: Known) -> Dispatch {
    let state = match known.state.as_str() {
        "COMPLETED" => DispatchState::Completed,
        _ => DispatchState::InProgress,
    };
    Dispatch {
        dispatch_id: known.dispatch_id,
        message_id: known.message_id,
        order_id: known.order_id,
        state: state.into(),
        accepted_at: Some(moment(known.accepted_at)),
        ended_at: known.ended_at.map(moment),
        ..Dispatch::default()
    }
}

fn moment(micros: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}
