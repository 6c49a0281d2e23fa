//! Fills the tables with dispatches that have ended, by copies of one that really has.

use anyhow::{Context, Result};
use sqlx::AssertSqlSafe;

use crate::database::Database;

/// All tables in which a dispatch stays.
const TABLES: [&str; 6] =
    ["dispatches", "saga_instances", "saga_history", "orders", "payment_reservations", "deliveries"];
/// They are spread over so many microseconds before now: shorter than history is kept.
const SPAN: i64 = 20 * 24 * 3_600 * 1_000_000;
/// One in so many is cancelled; and each customer has one in so many.
pub(super) const SHARE: u32 = 100;

/// Copies the one dispatch that is there so many times.
pub(super) async fn fill(database: &Database, count: u32) -> Result<()> {
    let pool = database.pg();
    let template = "SELECT dispatch_id, accepted_at FROM dispatches";
    let (template, accepted): (String, i64) =
        sqlx::query_as(template).fetch_one(pool).await.context("no dispatch to copy")?;
    let age = format!("(({count} + 1 - n)::bigint * {})", SPAN / i64::from(count));
    for table in TABLES {
        let columns = "SELECT column_name::text FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position";
        let columns: Vec<String> = sqlx::query_scalar(columns).bind(table).fetch_all(pool).await?;
        let values: Vec<String> = columns.iter().map(|column| value(table, column, &age, accepted)).collect();
        let sql = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {table} t, generate_series(1, {count}) n \
             WHERE t.dispatch_id = '{template}'",
            columns.join(", "),
            values.join(", ")
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.with_context(|| format!("filling {table}"))?;
        sqlx::raw_sql(AssertSqlSafe(format!("VACUUM ANALYZE {table}"))).execute(pool).await?;
    }
    sqlx::raw_sql("CHECKPOINT").execute(pool).await?;
    Ok(())
}

/// Id of the copy of this number, as SQL: as ids of its time look, so that they sort by it.
fn id(age: &str, accepted: i64) -> String {
    let moment = format!("lpad(to_hex(({accepted}::bigint - {age}) / 1000), 12, '0')");
    format!(
        "substr({moment}, 1, 8) || '-' || substr({moment}, 9, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0')"
    )
}

/// What stands in a column of the copy.
fn value(table: &str, column: &str, age: &str, accepted: i64) -> String {
    match column {
        "dispatch_id" => id(age, accepted),
        // As the gateway notes it in time; until then it looks after a dispatch.
        "saga_started_at" => format!("{accepted}::bigint - {age}"),
        "message_id" | "order_id" | "cause_message_id" => format!("'{}-' || n", prefix(column)),
        "customer_id" => format!("'h-customer-' || n % {SHARE}"),
        "state" if table == "saga_instances" => {
            format!("CASE WHEN n % {SHARE} = 0 THEN 'COMPENSATED' ELSE t.state END")
        }
        moment if moment == "at" || moment.ends_with("_at") => {
            format!("CASE WHEN t.{moment} > 0 THEN t.{moment} - {age} ELSE t.{moment} END")
        }
        other => format!("t.{other}"),
    }
}

/// What ids of the copies begin with.
pub(super) fn prefix(column: &str) -> &'static str {
    match column {
        "message_id" => "h-message",
        "order_id" => "h-order",
        _ => "h-cause",
    }
}
