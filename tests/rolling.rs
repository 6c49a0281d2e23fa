//! An upgrade from the previous release and the way back: its program, built from git's history, beside this one, and
//! in turn with it. Whatever one has begun the other ends. Without the history it says SKIPPED and why.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::collections::BTreeMap;

use waybill_proto::v1::DispatchReceipt;
use waybill_test_support::{
    Process, Program, TestBroker, TestDatabase,
    audit::{Books, Fate},
    client::Client,
    load::{Load, numbered},
    on_both_databases,
    patience::until,
    program, tool,
};

on_both_databases!(each_release_ends_what_the_other_has_begun);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
/// Requests sent to one gateway in one part of a test.
const PHASE: usize = 100;
const IN_FLIGHT: usize = 16;
/// All but the one that is to leave something to do.
const WITHOUT_PAYMENT: &str = "gateway,relay,saga,order,dispatch";

/// Both releases on the same servers, and all that was sent.
struct Stage {
    database: TestDatabase,
    broker: TestBroker,
    old: Program,
    new: Program,
    receipts: Vec<DispatchReceipt>,
    sent: usize,
}

impl Stage {
    /// On a database that the previous release has made.
    async fn new(database: TestDatabase) -> Option<Self> {
        let previous = tool("previous.sh", &[]).await?;
        database.empty().await;
        let broker = TestBroker::new().await;
        let new = program(WAYBILL, &database, &broker);
        let old = new.beside().by(previous);
        Some(Self { database, broker, old, new, receipts: Vec::new(), sent: 0 })
    }

    /// Begins to send so many requests.
    fn load(&mut self, client: &Client, requests: usize) -> Load {
        let numbers = self.sent..self.sent + requests;
        self.sent = numbers.end;
        Load::start(client, numbers.map(|number| numbered(number).0).collect(), IN_FLIGHT)
    }

    async fn number(&self, sql: &str) -> i64 {
        self.database.number(sql).await
    }

    /// Everything has ended as its request asks for.
    async fn end(self) {
        let books = Books::of(&self.database);
        books.settled().await;
        books.check(&self.receipts).await;
        let fates: BTreeMap<String, Fate> =
            (0..self.sent).map(numbered).map(|(request, fate)| (request.message_id, fate)).collect();
        let expected = self.receipts.iter().map(|r| (r.dispatch_id.clone(), fates[&r.message_id])).collect();
        books.compare(&expected).await;
        self.broker.clean().await;
    }
}

async fn stop(process: Process) {
    let ended = process.terminate().await;
    assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_and_its_rollback_under_load_end_every_dispatch_without_a_dead_letter() {
    let Some(mut stage) = Stage::new(TestDatabase::postgres().await).await else { return };
    let (old, new) = (stage.old.clone(), stage.new.clone());

    // The former one alone, then both, then the new one alone.
    let first = old.start_whole().await;
    let mut load = stage.load(&old.client(), PHASE);
    load.reached(PHASE / 3).await;
    let second = new.start_whole().await;
    stage.receipts.extend(load.receipts().await);
    let (mut by_old, by_new) = (stage.load(&old.client(), PHASE), stage.load(&new.client(), PHASE));
    by_old.reached(PHASE * 2 / 3).await;
    second.logs("not all who consume it read packs").await;
    let buried = "SELECT count(*) FROM dead_letters";
    assert_eq!(stage.number(buried).await, 0, "nobody has got what they cannot read");
    stage.receipts.extend(by_old.receipts().await);
    stop(first).await;
    stage.receipts.extend(by_new.receipts().await);
    second.logs("read packs, which are sent again").await;
    let load = stage.load(&new.client(), PHASE);
    stage.receipts.extend(load.receipts().await);

    // The former one again beside the new one, on a schema that it does not know, then alone.
    let by_new = stage.load(&new.client(), PHASE);
    let third = old.start_whole().await;
    let by_old = stage.load(&old.client(), PHASE);
    stage.receipts.extend(by_new.receipts().await);
    stop(second).await;
    stage.receipts.extend(by_old.receipts().await);
    let load = stage.load(&old.client(), PHASE);
    stage.receipts.extend(load.receipts().await);
    Books::of(&stage.database).settled().await;
    stop(third).await;
    stage.end().await;
}

/// Sends requests that wait for a payment, has half of the commands for it lost, and stops.
async fn leave_work(stage: &mut Stage, program: &Program) {
    let running = program.clone().roles(WITHOUT_PAYMENT).start_whole().await;
    let asked = "SELECT count(*) FROM saga_history WHERE event = 'accept_order_done'";
    for lost in [true, false] {
        let before = stage.number(asked).await;
        let load = stage.load(&program.client(), PHASE / 5);
        stage.receipts.extend(load.receipts().await);
        // One in ten is refused before.
        let expected = before + i64::try_from(PHASE / 5 - PHASE / 50).unwrap();
        until("commands for payment", async || stage.number(asked).await == expected).await;
        until("sent", async || stage.number("SELECT count(*) FROM outbox").await == 0).await;
        if lost {
            assert!(stage.broker.purge("payment").await > 0);
        }
    }
    stop(running).await;
}

async fn each_release_ends_what_the_other_has_begun(database: TestDatabase) {
    let Some(mut stage) = Stage::new(database).await else { return };
    let (old, new) = (stage.old.clone(), stage.new.clone());
    leave_work(&mut stage, &old).await;
    let running = new.start_whole().await;
    Books::of(&stage.database).settled().await;
    stop(running).await;
    leave_work(&mut stage, &new).await;
    let running = old.start_whole().await;
    Books::of(&stage.database).settled().await;
    stop(running).await;
    stage.end().await;
}
