//! The tables as they are, read in SQL of the auditor's own.

#![expect(clippy::struct_field_names, reason = "the names of the columns")]

use std::collections::BTreeMap;

use sqlx::{Connection, FromRow, PgConnection, postgres::PgRow};

/// A row of `dispatches`.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub(crate) dispatch_id: String,
    pub(crate) message_id: String,
    pub(crate) order_id: String,
}

/// A row of `orders`.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) dispatch_id: String,
    pub(crate) order_id: String,
    pub(crate) state: String,
}

/// A row of `payment_reservations`.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) dispatch_id: String,
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) minor_units: i64,
    pub(crate) state: String,
}

/// A row of `deliveries`.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) dispatch_id: String,
    pub(crate) order_id: String,
    pub(crate) destination_code: String,
    pub(crate) parcel_count: i64,
    pub(crate) state: String,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) dispatches: Vec<Dispatch>,
    /// State by dispatch, as in the next.
    pub(crate) sagas: BTreeMap<String, String>,
    pub(crate) orders: Vec<Order>,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) deliveries: Vec<Delivery>,
    /// What is reserved, by customer.
    pub(crate) accounts: BTreeMap<String, i64>,
    /// What has not been published, in words.
    pub(crate) outbox: Vec<String>,
    /// What was given up, in words.
    pub(crate) dead_letters: Vec<String>,
}

impl Books {
    /// Reads all of it at one moment.
    pub(crate) async fn read(url: &str) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut connection).await?;
        let database = &mut connection;
        let books = Self {
            dispatches: dispatches(database).await?,
            sagas: map(rows(database, "SELECT dispatch_id, state FROM saga_instances").await?),
            orders: orders(database).await?,
            reservations: reservations(database).await?,
            deliveries: deliveries(database).await?,
            accounts: map(
                rows(database, "SELECT customer_id, reserved_minor_units FROM payment_accounts").await?,
            ),
            outbox: words(
                database,
                "SELECT message_id || ' to ' || routing_key || ' is ' || state || ' ' || last_error FROM outbox",
            )
            .await?,
            dead_letters: words(
                database,
                "SELECT message_id || ' of ' || queue || ': ' || kind || ' ' || reason FROM dead_letters",
            )
            .await?,
        };
        connection.close().await?;
        Ok(books)
    }
}

/// How much is still under way: dispatches that have not ended, and messages in the outbox.
pub(crate) async fn under_way(url: &str) -> Result<(i64, i64), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = "SELECT (SELECT count(*) FROM dispatches d LEFT JOIN saga_instances s ON s.dispatch_id = d.dispatch_id \
               WHERE s.state IS NULL OR s.state NOT IN ('COMPLETED', 'COMPENSATED')), \
               (SELECT count(*) FROM outbox)";
    let counts = sqlx::query_as(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(counts)
}

async fn dispatches(database: &mut PgConnection) -> Result<Vec<Dispatch>, sqlx::Error> {
    let read = |(dispatch_id, message_id, order_id)| Dispatch { dispatch_id, message_id, order_id };
    let rows = rows(database, "SELECT dispatch_id, message_id, order_id FROM dispatches").await?;
    Ok(rows.into_iter().map(read).collect())
}

async fn orders(database: &mut PgConnection) -> Result<Vec<Order>, sqlx::Error> {
    let read = |(dispatch_id, order_id, state)| Order { dispatch_id, order_id, state };
    let rows = rows(database, "SELECT dispatch_id, order_id, state FROM orders").await?;
    Ok(rows.into_iter().map(read).collect())
}

async fn reservations(database: &mut PgConnection) -> Result<Vec<Reservation>, sqlx::Error> {
    let sql = "SELECT dispatch_id, order_id, customer_id, minor_units, state FROM payment_reservations";
    let read = |(dispatch_id, order_id, customer_id, minor_units, state)| Reservation {
        dispatch_id,
        order_id,
        customer_id,
        minor_units,
        state,
    };
    Ok(rows(database, sql).await?.into_iter().map(read).collect())
}

async fn deliveries(database: &mut PgConnection) -> Result<Vec<Delivery>, sqlx::Error> {
    let sql = "SELECT dispatch_id, order_id, destination_code, parcel_count, state FROM deliveries";
    let read = |(dispatch_id, order_id, destination_code, parcel_count, state)| Delivery {
        dispatch_id,
        order_id,
        destination_code,
        parcel_count,
        state,
    };
    Ok(rows(database, sql).await?.into_iter().map(read).collect())
}

async fn rows<T>(database: &mut PgConnection, sql: &'static str) -> Result<Vec<T>, sqlx::Error>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    sqlx::query_as(sql).fetch_all(database).await
}

async fn words(database: &mut PgConnection, sql: &'static str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_all(database).await
}

fn map<T>(rows: Vec<(String, T)>) -> BTreeMap<String, T> {
    rows.into_iter().collect()
}
