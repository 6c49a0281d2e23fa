//! Passwords and keys are nowhere to be read, whatever goes wrong and however much is logged.

use std::fs;

use futures_util::future::join_all;

use crate::Stage;

const SECRET: &str = "hunter2";

#[tokio::test]
async fn no_output_and_no_log_line_holds_a_password_or_a_key() {
    let stage = Stage::new();
    let key = fs::read_to_string(&stage.server.key).unwrap();
    let key = key.lines().nth(1).unwrap();
    let program = stage.gateway_with_tls().set("RUST_LOG", "trace,lapin=trace,sqlx=trace");
    let databases = [
        ("outbox", "postgres://u:hunter2@127.0.0.1:1/d"),
        ("outbox", "postgres://127.0.0.1:1/d?user=u&password=hunter2"),
        ("migrate", "postgres://u:hunter2@127.0.0.1:port/d"),
        ("migrate", "postgres://u:hunter2@127.0.0.1:1/d?sslmode=strange"),
        ("outbox", "postgres://u:hunter2@127.0.0.1:1/d?sslmode=strange"),
        ("migrate", "postgres://u:hunter2@[::1/d"),
    ];
    let brokers = [
        "amqp://u:hunter2@127.0.0.1:1/%2f",
        "amqp://u:hunter2@127.0.0.1:port/%2f",
        "amqp://u:hunter2@127.0.0.1:1/%2f?heartbeat=soon",
        "amqp://u:hunter2@[::1/%2f",
        "amqps://u:hunter2@127.0.0.1:1/%2f",
    ];
    let databases = databases.map(|(command, url)| (command, "--database-url", url));
    let brokers = brokers.map(|url| ("queues", "--amqp-url", url));
    let opened = databases.into_iter().chain(brokers);
    let asked = opened.flat_map(|(command, flag, url)| [(command, flag, url), ("config", flag, url)]);
    // At the same time: some of them wait for a server that is not there.
    let ran =
        asked.map(async |(command, flag, url)| (command, url, program.run(&[command, flag, url]).await));
    for (command, url, ran) in join_all(ran).await {
        assert!(command == "config" || ran.code != Some(0), "{command} {url}: {}", ran.err);
        let said = ran.out + &ran.err;
        assert!(!said.is_empty() && !said.contains(SECRET), "{command} {url}: {said}");
    }
    let process = program.set("WAYBILL_AMQP_URL", "amqp://u:hunter2@127.0.0.1:1/%2f").start().await;
    process.down("broker").await;
    assert!(!process.reason("broker").await.contains(SECRET));
    let log = process.terminate().await.log.join("\n");
    assert!(log.contains("started") && !log.contains(SECRET) && !log.contains(key), "{log}");
}
