//! A worker process that plays the participant `dispatch`, and the stranger who sends it messages.

use lapin::{BasicProperties, message::BasicGetMessage, types::AMQPValue};
use waybill_test_support::{Process, Program, TestBroker, TestDatabase, program};

use crate::WAYBILL;

pub(crate) struct Worker {
    pub(crate) database: TestDatabase,
    pub(crate) broker: TestBroker,
    /// A queue with a copy of every reply.
    pub(crate) replies: String,
    program: Program,
    process: Process,
}

impl Worker {
    /// One that handles messages.
    pub(crate) async fn new(database: TestDatabase) -> Self {
        Self::start(database, "dispatch,relay").await
    }

    /// One with these roles; whatever they are, everything is declared on the broker then.
    pub(crate) async fn start(database: TestDatabase, roles: &str) -> Self {
        let broker = TestBroker::new().await;
        let program = program(WAYBILL, &database, &broker).roles(roles);
        let process = program.start_whole().await;
        let replies = broker.tap("dispatch", "saga.reply").await;
        Self { database, broker, replies, program, process }
    }

    /// How to start another one.
    pub(crate) fn another(&self) -> Program {
        self.program.beside()
    }

    pub(crate) async fn publish(&self, message_id: &str, dispatch_id: &str, body: &[u8]) {
        let properties = BasicProperties::default()
            .with_message_id(message_id.into())
            .with_correlation_id(dispatch_id.into())
            .with_type("dispatch.v1.CreateDispatch".into())
            .with_reply_to("saga.reply".into())
            .with_delivery_mode(2);
        self.broker.publish("dispatch", "dispatch.command", body, properties).await;
    }

    /// Which attempt a message on its way to the worker is.
    pub(crate) fn attempt(message: &BasicGetMessage) -> i32 {
        let headers = message.delivery.properties.headers().as_ref();
        match headers.and_then(|headers| headers.inner().get("x-waybill-attempt")) {
            Some(AMQPValue::LongInt(attempt)) => *attempt,
            None => 1,
            other => panic!("not an attempt: {other:?}"),
        }
    }

    pub(crate) async fn deliveries(&self) -> Vec<String> {
        let sql = "SELECT dispatch_id || ' ' || order_id || ' ' || destination_code || ' ' || \
                   CAST(parcel_count AS TEXT) || ' ' || state FROM deliveries ORDER BY dispatch_id";
        self.database.texts(sql).await
    }

    pub(crate) async fn inbox(&self) -> Vec<String> {
        self.database.texts("SELECT message_id FROM inbox WHERE consumer = 'dispatch' ORDER BY 1").await
    }

    pub(crate) async fn dead_letters(&self) -> Vec<String> {
        self.database.texts("SELECT message_id || ' ' || kind FROM dead_letters ORDER BY message_id").await
    }

    /// From now on every transaction fails that writes a delivery.
    pub(crate) async fn refuse_deliveries(&self) {
        if self.database.is_postgres() {
            let function = "CREATE FUNCTION refuse() RETURNS trigger AS \
                            $$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$ LANGUAGE plpgsql";
            self.database.execute(function).await;
            let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON deliveries \
                           FOR EACH ROW EXECUTE FUNCTION refuse()";
            self.database.execute(trigger).await;
        } else {
            let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON deliveries \
                           BEGIN SELECT RAISE(ABORT, 'refused by the test'); END";
            self.database.execute(trigger).await;
        }
    }

    /// Deliveries may be written again.
    pub(crate) async fn allow_deliveries(&self) {
        let on_table = if self.database.is_postgres() { "ON deliveries" } else { "" };
        self.database.execute(&format!("DROP TRIGGER refuse {on_table}")).await;
    }

    pub(crate) async fn end(self) {
        let ended = self.process.terminate().await;
        assert!(ended.status.success(), "{}:\n{}", ended.status, ended.log.join("\n"));
        self.broker.clean().await;
    }
}
