//! One process with a database and names on the broker of its own: what most tests need.

use waybill_proto::v1::DispatchReceipt;

use crate::{
    TestBroker, TestDatabase,
    audit::Books,
    client::{BLOCKED, Client},
    process::{Process, Program},
};

/// A process at work, and what it works on.
pub struct Rig {
    /// Its database.
    pub database: TestDatabase,
    /// Its names on the broker.
    pub broker: TestBroker,
    /// How it was started.
    pub program: Program,
    /// The process.
    pub process: Process,
    /// A client of it.
    pub client: Client,
}

impl Rig {
    /// All roles, all of them up.
    pub async fn new(binary: &'static str, database: TestDatabase) -> Self {
        Self::with(binary, database, |program| program).await
    }

    /// The same with a change to how the process is started.
    pub async fn with(
        binary: &'static str,
        database: TestDatabase,
        change: impl FnOnce(Program) -> Program,
    ) -> Self {
        let broker = TestBroker::new().await;
        let program = change(program(binary, &database, &broker));
        let process = program.start_whole().await;
        let client = program.client();
        Self { database, broker, program, process, client }
    }

    /// Its tables.
    pub fn books(&self) -> Books<'_> {
        Books::of(&self.database)
    }

    /// Waits for the end of everything, checks it, and stops the process in order.
    pub async fn end(self, receipts: &[DispatchReceipt]) {
        self.books().settled().await;
        self.books().check(receipts).await;
        self.stop().await;
    }

    /// Stops the process in order, whatever has become of the dispatches.
    pub async fn stop(self) {
        let ended = self.process.terminate().await;
        assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
        self.broker.clean().await;
    }
}

/// A program that works on these, and takes over quickly from a process that died.
pub fn program(binary: &'static str, database: &TestDatabase, broker: &TestBroker) -> Program {
    Program::new(binary, database.url(), broker.url(), broker.prefix())
        .set("WAYBILL_ORDER_BLOCKED_CUSTOMERS", BLOCKED)
        .set("WAYBILL_RELAY_LEASE", "2s")
        .set("WAYBILL_SAGA_STEP_TIMEOUT", "3s")
}
