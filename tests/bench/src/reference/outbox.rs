//! The outbox of the reference path: a row a message.

use anyhow::Result;
use sqlx::PgConnection;
use uuid::Uuid;

/// A message that waits to be published.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) message_id: String,
    pub(super) routing_key: String,
    pub(super) r#type: String,
    pub(super) dispatch_id: String,
    pub(super) body: Vec<u8>,
}

/// Adds a message to a transaction.
pub(super) async fn append(
    tx: &mut PgConnection,
    routing_key: &str,
    kind: &str,
    dispatch_id: &str,
    body: &[u8],
) -> Result<(), sqlx::Error> {
    let sql =
        "INSERT INTO outbox (message_id, routing_key, type, dispatch_id, body) VALUES ($1, $2, $3, $4, $5)";
    let message_id = Uuid::now_v7().to_string();
    let insert = sqlx::query(sql).bind(message_id).bind(routing_key).bind(kind).bind(dispatch_id).bind(body);
    insert.execute(tx).await.map(drop)
}

/// The oldest that wait.
pub(super) async fn page(database: &mut PgConnection) -> Result<Vec<Row>> {
    let sql = "SELECT id, message_id, routing_key, type, dispatch_id, body FROM outbox ORDER BY id LIMIT 100";
    Ok(sqlx::query_as(sql).fetch_all(database).await?)
}

/// Takes one away that is in its queue.
pub(super) async fn delete(database: &mut PgConnection, id: i64) -> Result<()> {
    sqlx::query("DELETE FROM outbox WHERE id = $1").bind(id).execute(database).await?;
    Ok(())
}
