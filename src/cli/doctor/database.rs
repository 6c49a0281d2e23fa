//! The databases: whether they answer, their schema, version and settings, room for connections, clock, sizes, and who keeps
//! them from being cleaned.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use sea_orm::{DbBackend, QueryResult};
use waybill_messaging::{Store, StoreError, classify};

use super::{Findings, work};
use crate::{
    cli::operate::Database,
    config::{Config, SecretUrl},
};

/// Clocks that differ by less do no harm …
const SLIGHT: Duration = Duration::from_secs(1);
/// The oldest release that is tested.
const OLDEST_POSTGRES: i64 = 15;
/// A snapshot that so many transactions came after keeps much from being removed.
const OLD: i64 = 100_000;
/// Tables whose size says something.
const TABLES: [&str; 6] = ["outbox", "inbox", "dispatches", "saga_instances", "saga_history", "dead_letters"];

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    for (name, url) in config.databases() {
        let about = format!("database {name}");
        if let Err(error) = look_at(config, name, url, &about, findings).await {
            let key = key(name);
            let mend = if url.expose().starts_with("sqlite:") {
                format!("see that {key} is right; `waybill migrate` makes a new one")
            } else {
                format!("see that it runs, and that {key} is right")
            };
            // It names the database itself.
            let what = error.strip_prefix(&about).map_or(error.as_str(), str::trim_start);
            findings.bad(&about, what, mend);
        }
    }
}

/// The setting that names a database.
fn key(name: &str) -> String {
    if name == "common" { "database.url".to_owned() } else { format!("{name}.database_url") }
}

/// Errors: it cannot be reached.
async fn look_at(
    config: &Config,
    name: &'static str,
    url: &SecretUrl,
    about: &str,
    findings: &mut Findings,
) -> Result<(), String> {
    let database = Database::open(name, url).await.map_err(|failure| failure.message)?;
    let store = &database.store;
    let asked = version(store).await.map_err(|error| format!("{}: {error}", database.shown))?;
    match store.backend() {
        DbBackend::Postgres => postgres(config, store, about, &asked, findings).await,
        _ => sqlite(store, about, &asked, findings).await,
    }
    .unwrap_or_else(|error| findings.bad(about, format!("its settings cannot be read: {error}"), ""));
    if schema(store, about, findings).await {
        sizes(store, about, findings).await.unwrap_or_else(|error| {
            findings.warn(about, format!("its tables cannot be measured: {error}"), "");
        });
        work::look(&database, about, findings)
            .await
            .unwrap_or_else(|error| findings.bad(about, format!("its tables cannot be read: {error}"), ""));
    }
    store.close().await;
    Ok(())
}

async fn version(store: &Store) -> Result<String, StoreError> {
    let sql = match store.backend() {
        DbBackend::Postgres => "SELECT current_setting('server_version')",
        _ => "SELECT sqlite_version()",
    };
    text(store, sql).await
}

async fn sqlite(
    store: &Store,
    about: &str,
    version: &str,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let journal = text(store, "PRAGMA journal_mode").await?;
    let what = format!("SQLite {version}, journal_mode {journal}");
    if journal == "wal" {
        findings.ok(about, what);
    } else {
        findings.bad(
            about,
            what,
            "`waybill migrate` sets it to wal; some network file systems cannot do that",
        );
    }
    Ok(())
}

async fn postgres(
    config: &Config,
    store: &Store,
    about: &str,
    version: &str,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let major = version.split(['.', ' ', 'b', 'r']).next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let what = format!("PostgreSQL {version}");
    if major < OLDEST_POSTGRES {
        findings.warn(
            about,
            format!("{what} is older than any that is tested"),
            format!("upgrade to {OLDEST_POSTGRES} or newer"),
        );
    } else {
        findings.ok(about, what);
    }
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value = text(store, &format!("SELECT current_setting('{setting}')")).await?;
        if value == "off" {
            findings.bad(
                about,
                format!("{setting} is off: what was acknowledged can be lost when the machine fails"),
                format!("ALTER SYSTEM SET {setting} = on, and reload"),
            );
        } else {
            findings.ok(about, format!("{setting} is {value}"));
        }
    }
    connections(config, store, about, findings).await?;
    snapshots(store, about, findings).await?;
    clock(config, store, about, findings).await
}

async fn connections(
    config: &Config,
    store: &Store,
    about: &str,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('max_connections')::bigint \
               - current_setting('superuser_reserved_connections')::bigint, \
               (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') - 1";
    let [room, used] = numbers(store, sql).await?;
    let (needed, free) = (i64::from(config.database.connections), room - used);
    let what = format!("{free} of {room} connections are free, and a process takes up to {needed}");
    let mend = "lower database.connections, or raise max_connections of the server";
    if needed > room {
        findings.bad(about, what, mend);
    } else if needed > free {
        findings.warn(about, format!("{what}: one more process may find none"), mend);
    } else {
        findings.ok(about, what);
    }
    Ok(())
}

/// As far as the user of this database may see others. What VACUUM itself holds keeps nothing.
async fn snapshots(store: &Store, about: &str, findings: &mut Findings) -> Result<(), StoreError> {
    let sql = "SELECT 'session ' || pid || coalesce(', ' || state, ''), \
               'SELECT pg_terminate_backend(' || pid || ')', age(backend_xmin)::bigint AS age \
               FROM pg_stat_activity \
               WHERE backend_xmin IS NOT NULL AND backend_type <> 'autovacuum worker' \
               AND coalesce(datname, current_database()) = current_database() \
               UNION ALL SELECT 'a prepared transaction', 'ROLLBACK PREPARED', age(transaction)::bigint \
               FROM pg_prepared_xacts WHERE database = current_database() \
               UNION ALL SELECT 'replication slot ' || slot_name, \
               'SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')', age(xmin)::bigint \
               FROM pg_replication_slots WHERE xmin IS NOT NULL ORDER BY age DESC LIMIT 1";
    let oldest = store.query(sql, Vec::new()).await?;
    let read = |row: &QueryResult| -> Result<(String, String, i64), StoreError> {
        let text = |index| row.try_get_by_index(index).map_err(|error| classify(&error));
        Ok((text(0)?, text(1)?, row.try_get_by_index(2).map_err(|error| classify(&error))?))
    };
    match oldest.first().map(read).transpose()? {
        Some((who, end, age)) if age >= OLD => findings.warn(
            about,
            format!("{who}, holds a snapshot that {age} transactions came after: nothing that died since can be removed"),
            format!("see what it does (pg_stat_activity), and end it: {end}"),
        ),
        _ => findings.ok(about, format!("no snapshot is held that {OLD} transactions came after")),
    }
    Ok(())
}

/// Half of the way there and back is taken off, so that a slow network is no skew.
async fn clock(
    config: &Config,
    store: &Store,
    about: &str,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let (begun, before) = (Instant::now(), store.clock().now());
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 0::bigint";
    let [theirs, _] = numbers(store, sql).await?;
    let way = i64::try_from(begun.elapsed().as_micros() / 2).unwrap_or_default();
    let skew = Duration::from_micros((theirs - (before.micros() + way)).unsigned_abs());
    let what = format!("its clock and that of this machine differ by {} ms", skew.as_millis());
    let mend = "let both machines keep their time by NTP (`timedatectl`, `chronyc tracking`)";
    if skew >= config.relay.lease / 2 {
        findings.bad(about, format!("{what}: leases (relay.lease) end too early or too late"), mend);
    } else if skew > SLIGHT {
        findings.warn(about, what, mend);
    } else {
        findings.ok(about, what);
    }
    Ok(())
}

/// Whether the tables can be read.
async fn schema(store: &Store, about: &str, findings: &mut Findings) -> bool {
    const MEND: &str = "`waybill migrate` brings it up to date";
    let Ok(mut rows) = store.query("SELECT version FROM seaql_migrations", Vec::new()).await else {
        findings.bad(about, "it has no tables of Waybill", "`waybill migrate` makes them");
        return false;
    };
    // Not there before the first release that has it.
    rows.extend(store.query("SELECT version FROM schema_expansions", Vec::new()).await.unwrap_or_default());
    let there: BTreeSet<String> = rows.iter().filter_map(|row| row.try_get_by_index(0).ok()).collect();
    let known: BTreeSet<String> = waybill_migrations::names().into_iter().collect();
    let list = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<Vec<_>>().join(", ");
    let missing = list(&mut known.difference(&there));
    let newer = list(&mut there.difference(&known));
    if !missing.is_empty() {
        findings.bad(about, format!("its schema is behind this release, without {missing}"), MEND);
    } else if !newer.is_empty() {
        findings.warn(
            about,
            format!("its schema is of a newer release: {newer}"),
            "upgrade this program, or go on with it until the upgrade is done",
        );
    } else {
        findings.ok(about, format!("its schema is that of this release, {} migrations", known.len()));
    }
    missing.is_empty()
}

async fn sizes(store: &Store, about: &str, findings: &mut Findings) -> Result<(), StoreError> {
    if store.backend() != DbBackend::Postgres {
        let sql = "SELECT page_count * page_size, freelist_count * page_size \
                   FROM pragma_page_count(), pragma_page_size(), pragma_freelist_count()";
        let [all, free] = numbers(store, sql).await?;
        findings.ok(about, format!("its file holds {}, of which {} are free", bytes(all), bytes(free)));
        return Ok(());
    }
    let mut sizes = Vec::new();
    for table in TABLES {
        let sql = format!(
            "SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint, 0::bigint FROM pg_partition_tree('{table}')"
        );
        let [size, _] = numbers(store, &sql).await?;
        sizes.push(format!("{table} {}", bytes(size)));
    }
    findings.ok(about, format!("sizes: {}", sizes.join(", ")));
    Ok(())
}

async fn text(store: &Store, sql: &str) -> Result<String, StoreError> {
    let rows = store.query(sql, Vec::new()).await?;
    let text = |row: &QueryResult| row.try_get_by_index(0).map_err(|error| classify(&error));
    rows.first().map_or(Ok(String::new()), text)
}

async fn numbers<const N: usize>(store: &Store, sql: &str) -> Result<[i64; N], StoreError> {
    let rows = store.query(sql, Vec::new()).await?;
    let mut numbers = [0; N];
    if let Some(row) = rows.first() {
        for (index, number) in numbers.iter_mut().enumerate() {
            *number = row.try_get_by_index(index).map_err(|error| classify(&error))?;
        }
    }
    Ok(numbers)
}

/// In the largest unit that makes at least one.
fn bytes(bytes: i64) -> String {
    match bytes {
        ..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1_024),
        10_485_760..10_737_418_240 => format!("{} MiB", bytes / 1_048_576),
        _ => format!("{} GiB", bytes / 1_073_741_824),
    }
}
