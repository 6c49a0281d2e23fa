//! The saga and its participants, each with a database and with names on the broker of its own, and the wire
//! between them.

use std::sync::Arc;

use tokio::{sync::Mutex, task::JoinSet};
use waybill_saga::Definition;
use waybill_test_support::{
    Process, Program, TestBroker, TestDatabase, audit::Books, client::Client, program,
};

use crate::{
    cell::{STEP_ATTEMPTS, Striker},
    trouble,
    wire::Wire,
};

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");

pub(crate) struct Stage {
    /// Of gateway and saga.
    pub(crate) front: TestDatabase,
    /// Of the participants.
    pub(crate) back: TestDatabase,
    pub(crate) wire: Arc<Wire>,
    pub(crate) client: Client,
    /// What is not running, because it is to die.
    pub(crate) mortal: Program,
    /// Held by who turns time forward: `SQLite` has one writer at a time, and who waits for this waits in line.
    turning: Mutex<()>,
    running: Vec<Process>,
    carriers: JoinSet<()>,
}

impl Stage {
    /// New sagas begin with `definition`. Whoever is to die is not started.
    pub(crate) async fn new(like: &TestDatabase, definition: &Definition, striker: Striker) -> Self {
        let (front, back) = (like.another().await, like.another().await);
        let (saga, participants) = (TestBroker::new().await, TestBroker::new().await);
        trouble::prepare(&back).await;
        let version = definition.version.to_string();
        // A message that is published twice by chance would be struck twice. Of one who dies it has to be taken over.
        let lease = if striker == Striker::Wire { "30s" } else { "4s" };
        let front_program = program(WAYBILL, &front, &saga)
            // Nobody's time is up by itself: the test turns it forward.
            .set("WAYBILL_SAGA_STEP_TIMEOUT", "10m")
            .set("WAYBILL_SAGA_STEP_ATTEMPTS", &STEP_ATTEMPTS.to_string())
            .set("WAYBILL_SAGA_TIMER_INTERVAL", "50ms")
            .set("WAYBILL_SAGA_BEGIN_VERSION", &version)
            .set("WAYBILL_RELAY_LEASE", lease);
        let client = front_program.client();
        let back_program = program(WAYBILL, &back, &participants)
            .set("WAYBILL_CONSUMER_MAX_ATTEMPTS", "2")
            .set("WAYBILL_CONSUMER_RETRY_DELAY", "10ms")
            .set("WAYBILL_RELAY_LEASE", lease)
            .roles("relay,order,payment,dispatch");
        let (start, mortal) = match striker {
            Striker::Wire => {
                (vec![front_program.roles("gateway,relay,saga"), back_program.clone()], back_program)
            }
            Striker::Participant => (vec![front_program.roles("gateway,relay,saga")], back_program),
            Striker::Orchestrator => {
                let orchestrator = front_program.beside().roles("saga");
                (vec![front_program.roles("gateway,relay"), back_program], orchestrator)
            }
        };
        let mut running = Vec::new();
        for program in start {
            running.push(program.start_whole().await);
        }
        if striker == Striker::Participant {
            // It declares its queues.
            assert!(mortal.start_whole().await.terminate().await.status.success());
        }
        let wire = Wire::new(saga, participants);
        let carriers = wire.carry().await;
        Self { front, back, wire, client, mortal, turning: Mutex::default(), running, carriers }
    }

    pub(crate) fn books(&self) -> Books<'_> {
        let (common, back) = (&self.front, &self.back);
        Books { common, order: back, payment: back, dispatch: back }
    }

    /// Whatever the saga of this dispatch waits for, its time is up.
    pub(crate) async fn turn_forward(&self, dispatch_id: &str) {
        let _turning = self.turning.lock().await;
        let sql = "UPDATE saga_instances SET deadline_at = 1 WHERE deadline_at IS NOT NULL AND dispatch_id =";
        self.front.execute(&format!("{sql} '{dispatch_id}'")).await;
    }

    /// Has what dies run from now on.
    pub(crate) async fn revive(&mut self) {
        self.running.push(self.mortal.start_whole().await);
    }

    /// Stops everything in order.
    pub(crate) async fn stop(mut self) {
        assert!(self.carriers.try_join_next().is_none(), "nobody has stopped carrying");
        for process in self.running {
            let ended = process.terminate().await;
            assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
        }
        self.carriers.shutdown().await;
        Arc::into_inner(self.wire).unwrap().clean().await;
    }
}
