//! On what the figures were measured.

use std::fs;

use sqlx::{Connection, PgConnection};
use waybill_test_support::Server;

use crate::site::Site;

/// The machine and the versions, in a paragraph.
pub(crate) async fn describe(site: &Site) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory =
        field(&read("/proc/meminfo"), "MemTotal").and_then(|kib| kib.split(' ').next()?.parse().ok());
    let memory: f64 = memory.unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let date = chrono::Utc::now().format("%Y-%m-%d");
    format!(
        "Measured on {date}: {cores} cores ({model}), {:.0} GB of memory, Linux {}, {}, PostgreSQL {}, RabbitMQ {}; \
         servers, Waybill and load generator on the same cores.",
        memory * 1_024.0 / 1e9,
        kernel.trim(),
        waybill(site).await.unwrap_or_else(|| "Waybill of an unknown version".to_owned()),
        postgres(site).await.unwrap_or_else(|| "of an unknown version".to_owned()),
        rabbitmq(site).await.unwrap_or_else(|| "of an unknown version".to_owned()),
    )
}

async fn waybill(site: &Site) -> Option<String> {
    let output = site.command().arg("--version").output().await.ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn postgres(site: &Site) -> Option<String> {
    let mut server = PgConnection::connect(&site.settings.postgres).await.ok()?;
    let version = sqlx::query_scalar::<_, String>("SHOW server_version").fetch_one(&mut server).await.ok();
    let _ = server.close().await;
    version
}

async fn rabbitmq(site: &Site) -> Option<String> {
    let server = Server::rabbitmq(site.settings.rabbitmq.as_deref()?);
    let version = server.run_with("ctl", &["eval", "rabbit_misc:version()."]).await.ok()?;
    Some(version.trim().trim_matches('"').to_owned())
}
