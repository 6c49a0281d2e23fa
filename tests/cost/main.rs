//! What one dispatch costs, in SQL statements, transactions, AMQP messages and allocations of memory, when nothing
//! else goes on: kept in a file, so that nobody makes it dearer without saying so. Counts are the same on every
//! machine; times are not. `make costs` writes the files anew.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::Path,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use waybill_test_support::{
    Rig, TestDatabase, client::request, on_both_databases, patience::in_time, prometheus::Scrape, session,
};

on_both_databases!(
    a_dispatch_costs_no_more_than_the_committed_file_says,
    a_process_at_rest_holds_no_more_than_64_mb_with_its_program,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
/// What is rare, such as a buffer that grows, shows in one batch and not in the median of all.
const BATCHES: u32 = 3;
const DISPATCHES: u32 = 8;
/// How long nothing is asked for, to see what goes on all the same.
const IDLE: Duration = Duration::from_secs(2);
/// With this in the environment the files are written, not compared.
const WRITE: &str = "WAYBILL_WRITE_COSTS";
/// What is done once in a while, whether there are dispatches or not.
const NOW_AND_THEN: [&str; 14] = [
    "read",
    "dead_letters.take_apart",
    "duty.take",
    "gateway.reconcile",
    "inbox.forget",
    "outbox.claim",
    "outbox.probe",
    // Once for each row at most; how many of them go together is a matter of time.
    "outbox.settle",
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
    counts.insert("allocations".to_owned(), scrape.value("waybill_test_allocations", &[]));
    counts.insert("allocated bytes".to_owned(), scrape.value("waybill_test_allocated_bytes", &[]));
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

async fn look(tables: &DatabaseConnection, sql: &str) -> i64 {
    let row = tables.query_one_raw(Statement::from_string(tables.get_database_backend(), sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Sends requests one after the other, each when nothing is left of the one before. Nothing is asked of the process
/// meanwhile, so that it does no more when it is slow.
async fn run_batch(rig: &Rig, tables: &DatabaseConnection, batch: u32) {
    for number in 0..DISPATCHES {
        let receipt = rig.client.clone().request_dispatch(request(&format!("m-{batch}-{number}"))).await;
        let left = format!(
            "SELECT (SELECT count(*) FROM outbox) + 1 - (SELECT count(*) FROM saga_instances \
             WHERE state = 'COMPLETED' AND dispatch_id = '{}')",
            receipt.unwrap().into_inner().dispatch_id
        );
        in_time("its end", async {
            while look(tables, &left).await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// By how much counts have grown.
fn grown(before: &Costs, after: &Costs) -> Costs {
    after.iter().map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0.0))).collect()
}

/// What is counted without any dispatch: by whoever asks for the counts, and in every second.
struct Aside {
    asking: Costs,
    second: Costs,
}

impl Aside {
    async fn measure(rig: &Rig) -> Self {
        let first = counted(&rig.process.scrape().await);
        let second = counted(&rig.process.scrape().await);
        let begun = Instant::now();
        // Nothing is awaited: what passes meanwhile is what is measured.
        tokio::time::sleep(IDLE).await;
        let third = counted(&rig.process.scrape().await);
        let (seconds, none) = (begun.elapsed().as_secs_f64(), Costs::new());
        let mut aside = Self { asking: grown(&first, &second), second: none };
        let idle = aside.without(grown(&second, &third), 0.0);
        aside.second = idle.into_iter().map(|(name, count)| (name, count / seconds)).collect();
        aside
    }

    /// What is left of counts in so many seconds.
    fn without(&self, mut counts: Costs, seconds: f64) -> Costs {
        let of = |costs: &Costs, name: &String| costs.get(name).copied().unwrap_or_default();
        for (name, count) in &mut counts {
            *count -= of(&self.asking, name) + of(&self.second, name) * seconds;
        }
        counts
    }
}

/// What a dispatch of each batch has cost: for each name the middle one.
async fn measure(rig: &Rig) -> Costs {
    let tables = session(rig.database.url()).await;
    run_batch(rig, &tables, 0).await;
    let aside = Aside::measure(rig).await;
    let mut before = counted(&rig.process.scrape().await);
    let mut costs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for batch in 1..=BATCHES {
        let begun = Instant::now();
        run_batch(rig, &tables, batch).await;
        let after = counted(&rig.process.scrape().await);
        for (name, count) in aside.without(grown(&before, &after), begun.elapsed().as_secs_f64()) {
            costs.entry(name).or_default().push(count / f64::from(DISPATCHES));
        }
        before = after;
    }
    let middle = |mut costs: Vec<f64>| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    };
    costs.into_iter().map(|(name, costs)| (name, middle(costs))).collect()
}

async fn a_dispatch_costs_no_more_than_the_committed_file_says(database: TestDatabase) {
    let file = if database.is_postgres() { "postgres.tsv" } else { "sqlite.tsv" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cost").join(file);
    // Nothing is sent twice because the machine is slow, and nothing is swept that was handed over.
    let rig = Rig::with(WAYBILL, database, |program| {
        program.set("WAYBILL_SAGA_STEP_TIMEOUT", "60s").set("WAYBILL_RELAY_LEASE", "60s")
    })
    .await;
    let costs = measure(&rig).await;
    rig.stop().await;
    let now = written(&costs);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let allowed = read(&path);
    let dearer = |name: &String, cost: f64| cost > allowed.get(name).unwrap_or(&0.0) * TOLERANCE;
    let dearer: Vec<_> = costs.iter().filter(|(name, cost)| dearer(name, **cost)).collect();
    assert!(dearer.is_empty(), "dearer than {}: {dearer:?}; a dispatch costs now\n{now}", path.display());
}

/// Of what a process at rest holds, the program itself takes 24 MB in a release build; the rest is its own.
const OWN_AT_REST: u64 = 40_000;

async fn a_process_at_rest_holds_no_more_than_64_mb_with_its_program(database: TestDatabase) {
    let rig = Rig::with(WAYBILL, database, |program| program).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.process.id())).unwrap();
    rig.stop().await;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kilobytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(kilobytes <= OWN_AT_REST, "{kilobytes} kB");
}
