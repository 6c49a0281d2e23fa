//! What one dispatch costs, in SQL statements, transactions and AMQP messages, when nothing else goes on: kept in
//! a file, so that nobody makes it dearer without saying so. Counts are the same on every machine; times are not.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::{collections::BTreeMap, fmt::Write, path::Path};

use waybill_test_support::{
    Rig, TestDatabase,
    client::{request, run_to_end},
    on_both_databases,
    prometheus::Scrape,
};

on_both_databases!(a_dispatch_costs_no_more_than_the_committed_file_says);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const DISPATCHES: u32 = 60;
/// What is done once in a while, whether there are dispatches or not.
const NOW_AND_THEN: [&str; 12] = [
    "read",
    "duty.take",
    "gateway.reconcile",
    "inbox.forget",
    "outbox.claim",
    "outbox.probe",
    "saga.forget_history",
    "saga.unpark",
    "saga.wake",
    "slots.drained",
    "slots.empty",
    "slots.open",
];
/// By so much a cost may exceed what the file says.
const TOLERANCE: f64 = 1.1;

type Costs = BTreeMap<String, f64>;

/// What has been counted so far, by the names of the file.
fn counted(scrape: &Scrape) -> Costs {
    let mut counts = Costs::new();
    for (what, name) in
        [("statements", "waybill_store_statements_total"), ("runs", "waybill_store_transactions_total")]
    {
        let by_name = scrape.by(name, "transaction").into_iter();
        let hot = by_name.filter(|(transaction, _)| !NOW_AND_THEN.contains(&transaction.as_str()));
        counts.extend(hot.map(|(transaction, count)| (format!("{what} {transaction}"), count)));
    }
    let messages = scrape.by("waybill_relay_publications_total", "outcome").into_values().sum();
    counts.insert("messages".to_owned(), messages);
    counts
}

fn read(path: &Path) -> Costs {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let (name, cost) = line.split_once('\t').unwrap();
        (name.to_owned(), cost.parse().unwrap())
    };
    text.lines().map(line).collect()
}

fn written(costs: &Costs) -> String {
    costs.iter().fold(String::new(), |mut text, (name, cost)| {
        writeln!(text, "{name}\t{cost:.2}").unwrap();
        text
    })
}

async fn a_dispatch_costs_no_more_than_the_committed_file_says(database: TestDatabase) {
    let file = if database.is_postgres() { "postgres.tsv" } else { "sqlite.tsv" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cost").join(file);
    // Nothing is sent twice because the machine is slow, and nothing is swept that was handed over.
    let rig = Rig::with(WAYBILL, database, |program| {
        program.set("WAYBILL_SAGA_STEP_TIMEOUT", "60s").set("WAYBILL_RELAY_LEASE", "60s")
    })
    .await;
    run_to_end(&rig.client, request("warm-up")).await;
    let before = counted(&rig.process.scrape().await);
    for number in 0..DISPATCHES {
        run_to_end(&rig.client, request(&format!("m-{number}"))).await;
    }
    let after = counted(&rig.process.scrape().await);
    rig.stop().await;
    let each = |(name, count): (String, f64)| {
        let cost = (count - before.get(&name).unwrap_or(&0.0)) / f64::from(DISPATCHES);
        (name, cost)
    };
    let costs: Costs = after.into_iter().map(each).collect();
    let allowed = read(&path);
    let dearer = |name: &String, cost: f64| cost > allowed.get(name).unwrap_or(&0.0) * TOLERANCE;
    let dearer: Vec<_> = costs.iter().filter(|(name, cost)| dearer(name, **cost)).collect();
    let now = written(&costs);
    assert!(dearer.is_empty(), "dearer than {}: {dearer:?}; a dispatch costs now\n{now}", path.display());
}
