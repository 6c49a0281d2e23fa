//! A dispatch row and an outbox row of about 300 bytes, as each database takes them in sets. Larger sets bring
//! PostgreSQL half as much again.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use sqlx::{AssertSqlSafe, PgPool, QueryBuilder, Sqlite, SqlitePool};
use tokio::time::Instant;
use uuid::Uuid;

use super::BODY;
use crate::{database::Database, site::Site, subject::Kind};

/// Units in a transaction: about what Waybill commits together under load.
const POSTGRES_SET: usize = 200;
const SQLITE_SET: usize = 200;
/// Connections that write at the same time; SQLite has one writer.
const WRITERS: usize = 2;
const DISPATCHES: &str = "CREATE TABLE dispatches (dispatch_id {id} PRIMARY KEY, order_id text NOT NULL, \
     destination_code text NOT NULL, parcel_count bigint NOT NULL)";
const OUTBOX: &str =
    "CREATE TABLE outbox (id {id} PRIMARY KEY, routing_key text NOT NULL, body {bytes} NOT NULL)";

/// Units a second.
pub(crate) async fn units(site: &Site, kind: Kind) -> Result<f64> {
    let database = Database::new(site, kind).await?;
    let (warm_up, time) = (site.settings.warm_up(), site.settings.time());
    let done = match kind {
        Kind::Postgres => {
            for table in [DISPATCHES, OUTBOX] {
                let sql = table.replace("{id}", "uuid").replace("{bytes}", "bytea");
                sqlx::query(AssertSqlSafe(sql)).execute(database.pg()).await?;
            }
            let writers = (0..WRITERS).map(|_| postgres(database.pg(), warm_up, time));
            try_join_all(writers).await?.into_iter().sum()
        }
        Kind::Sqlite => {
            for table in [DISPATCHES, OUTBOX] {
                let sql = table.replace("{id}", "blob").replace("{bytes}", "blob");
                sqlx::query(AssertSqlSafe(sql)).execute(database.lite()).await?;
            }
            sqlite(database.lite(), warm_up, time).await?
        }
    };
    database.drop().await?;
    Ok(done / time.as_secs_f64())
}

async fn postgres(pool: &PgPool, warm_up: Duration, time: Duration) -> Result<f64> {
    let mut connection = pool.acquire().await?;
    let (orders, destinations) = (vec!["SO-0123456789"; POSTGRES_SET], vec!["DEHAM"; POSTGRES_SET]);
    let (parcels, keys) = (vec![3_i64; POSTGRES_SET], vec!["saga.request"; POSTGRES_SET]);
    let bodies = vec![vec![7_u8; BODY]; POSTGRES_SET];
    let (begin, mut done) = (Instant::now() + warm_up, 0);
    while Instant::now() < begin + time {
        let ids: Vec<Uuid> = (0..POSTGRES_SET).map(|_| Uuid::now_v7()).collect();
        let mut tx = sqlx::Connection::begin(&mut *connection).await?;
        let dispatches =
            "INSERT INTO dispatches SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[])";
        let insert = sqlx::query(dispatches).bind(&ids).bind(&orders).bind(&destinations).bind(&parcels);
        insert.execute(&mut *tx).await?;
        let outbox = "INSERT INTO outbox SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bytea[])";
        sqlx::query(outbox).bind(&ids).bind(&keys).bind(&bodies).execute(&mut *tx).await?;
        tx.commit().await?;
        done += if Instant::now() > begin { POSTGRES_SET } else { 0 };
    }
    Ok(done as f64)
}

async fn sqlite(pool: &SqlitePool, warm_up: Duration, time: Duration) -> Result<f64> {
    let body = vec![7_u8; BODY];
    let (begin, mut done) = (Instant::now() + warm_up, 0);
    while Instant::now() < begin + time {
        let ids: Vec<Uuid> = (0..SQLITE_SET).map(|_| Uuid::now_v7()).collect();
        let mut tx = pool.begin().await?;
        let mut dispatches: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT INTO dispatches ");
        dispatches.push_values(&ids, |mut row, id| {
            row.push_bind(id).push_bind("SO-0123456789").push_bind("DEHAM").push_bind(3_i64);
        });
        dispatches.build().execute(&mut *tx).await?;
        let mut outbox: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT INTO outbox ");
        outbox.push_values(&ids, |mut row, id| {
            row.push_bind(id).push_bind("saga.request").push_bind(body.as_slice());
        });
        outbox.build().execute(&mut *tx).await?;
        tx.commit().await?;
        done += if Instant::now() > begin { SQLITE_SET } else { 0 };
    }
    Ok(done as f64)
}
