//! The database is away, and the network to it loses a question or an answer, which is not the same.

use std::time::Duration;

use tonic::{Code, Request};
use waybill_proto::v1::{DispatchReceipt, DispatchRequested};
use waybill_test_support::{
    Process, Program, Proxy, Rig, TestBroker, TestDatabase, Way,
    client::request,
    load::{Load, insist},
    patience::in_time,
    program,
};

use crate::{IN_FLIGHT, WAYBILL, requests};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_the_commit_leaves_one_dispatch() {
    let (stand, proxy) = Stand::new().await;
    let lost = proxy.swallow_answers_after(&[b"lost-answer"]);
    stand.asks_in_vain(request("lost-answer")).await;
    in_time("the commit", lost).await.unwrap();
    let receipt = stand.asks_again(&proxy, request("lost-answer")).await;
    assert!(receipt.duplicate, "the first one had been committed");
    stand.end(receipt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_question_leaves_nothing_and_can_be_asked_again() {
    let (stand, proxy) = Stand::new().await;
    proxy.swallow(Way::ToServer);
    stand.asks_in_vain(request("lost-question")).await;
    let receipt = stand.asks_again(&proxy, request("lost-question")).await;
    assert!(!receipt.duplicate, "nothing had been committed");
    stand.end(receipt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_makes_the_gateway_unavailable_until_it_is_back() {
    let (broker, database) = (TestBroker::new().await, TestDatabase::postgres().await);
    let proxy = Proxy::for_url(database.url()).await;
    let program =
        program(WAYBILL, &database, &broker).set("WAYBILL_DATABASE_URL", &proxy.url(database.url()));
    let process = program.start_whole().await;
    let client = program.client();
    let mut load = Load::start(&client, requests(200), IN_FLIGHT);
    load.reached(100).await;
    proxy.close();
    process.down("database").await;
    assert!(!process.is_ready().await);
    let refused = client.clone().request_dispatch(request("away")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    proxy.open();
    let mut receipts = load.receipts().await;
    process.ready().await;
    receipts.push(insist(&client, request("away")).await);
    let rig = Rig { database, broker, program, process, client };
    rig.end(&receipts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_while_it_is_being_migrated_is_waited_for() {
    let (broker, database) = (TestBroker::new().await, TestDatabase::postgres().await);
    let proxy = Proxy::for_url(database.url()).await;
    let program =
        program(WAYBILL, &database, &broker).set("WAYBILL_DATABASE_URL", &proxy.url(database.url()));
    let migrating = proxy.freeze_after(&[b"pg_advisory_lock"]);
    let process = program.spawn();
    in_time("the migration", migrating).await.unwrap();
    proxy.cut();
    process.ready().await;
    let client = program.client();
    let receipt = insist(&client, request("after")).await;
    Rig { database, broker, program, process, client }.end(&[receipt]).await;
}

/// A gateway that reaches its database through a proxy, and a process for all other roles that does not.
struct Stand {
    gateway: Rig,
    others: Process,
}

impl Stand {
    async fn new() -> (Self, Proxy) {
        let (broker, database) = (TestBroker::new().await, TestDatabase::postgres().await);
        let proxy = Proxy::for_url(database.url()).await;
        let direct = program(WAYBILL, &database, &broker).roles("relay,saga,order,payment,dispatch");
        let others = direct.start_whole().await;
        let program: Program =
            direct.beside().roles("gateway").set("WAYBILL_DATABASE_URL", &proxy.url(database.url()));
        let process = program.start_whole().await;
        let client = program.client();
        (Self { gateway: Rig { database, broker, program, process, client }, others }, proxy)
    }

    /// Asks once, and gives up before there is an answer.
    async fn asks_in_vain(&self, request: DispatchRequested) {
        let mut call = Request::new(request);
        call.set_timeout(Duration::from_secs(2));
        let status = self.gateway.client.clone().request_dispatch(call).await.unwrap_err();
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    }

    /// Asks after the network has come back.
    async fn asks_again(&self, proxy: &Proxy, request: DispatchRequested) -> DispatchReceipt {
        proxy.cut();
        proxy.open();
        insist(&self.gateway.client, request).await
    }

    async fn end(self, receipt: DispatchReceipt) {
        self.gateway.books().settled().await;
        assert_eq!(self.gateway.books().entries().await.len(), 1);
        let entry = self.gateway.books().entry(&receipt.dispatch_id).await;
        assert_eq!(entry.to_string(), "COMPLETED/COMPLETED/RESERVED/CREATED");
        assert!(self.others.terminate().await.status.success());
        self.gateway.end(&[receipt]).await;
    }
}
