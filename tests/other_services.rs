//! Somebody else's programs take part: `deploy/examples/python` in place of participant `payment`, and as one
//! who listens to events. Without Python and its packages each test says SKIPPED and why.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::process::Stdio;

use lapin::{BasicProperties, message::BasicGetMessage};
use prost::{Message, Name};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use waybill_proto::v1::{
    CapturePayment, PaymentCaptured, PaymentDeclined, PaymentReleased, PaymentReserved, ReleasePayment,
    ReservePayment,
};
use waybill_test_support::{
    Proxy, Rig, TestBroker, TestDatabase,
    client::{cancel, refused_by_dispatch, refused_by_payment, request, run_to_end, watch},
    on_both_databases,
    patience::{in_time, until},
    tool,
};

on_both_databases!(a_payment_service_in_python_takes_part_in_every_saga);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const WITHOUT_PAYMENT: &str = "gateway,relay,saga,order,dispatch";

/// The participant: how to start it, and its database.
struct Payment {
    python: String,
    amqp: String,
    prefix: String,
    database: TestDatabase,
}

impl Payment {
    async fn new(python: String, broker: &TestBroker) -> Self {
        let database = TestDatabase::sqlite().await;
        database.empty().await;
        Self { python, amqp: broker.url().to_owned(), prefix: broker.prefix().to_owned(), database }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg(format!("{ROOT}/deploy/examples/python/{script}"))
            .env("WAYBILL_AMQP_URL", &self.amqp)
            .env("WAYBILL_AMQP_PREFIX", &self.prefix)
            .env("PAYMENT_DATABASE", self.database.url().trim_start_matches("sqlite://"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn start(&self) -> Child {
        self.command("payment.py").spawn().unwrap()
    }

    /// Every reservation, by order.
    async fn reservations(&self) -> Vec<String> {
        let text = "order_id || ' ' || state || ' ' || CAST(minor_units AS TEXT)";
        self.database.texts(&format!("SELECT {text} FROM reservations ORDER BY order_id")).await
    }
}

/// What `events.py` prints.
struct Told(Child, Lines<BufReader<ChildStdout>>);

impl Told {
    fn start(payment: &Payment, keys: &[&str]) -> Self {
        let mut command = payment.command("events.py");
        let mut child = command.arg("tap.events").args(keys).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    async fn next(&mut self) -> String {
        in_time("an event", self.1.next_line()).await.unwrap().unwrap()
    }
}

async fn a_payment_service_in_python_takes_part_in_every_saga(database: TestDatabase) {
    let Some(python) = tool("python.sh", &[]).await else { return };
    let rig = Rig::with(WAYBILL, database, |program| {
        program.roles(WITHOUT_PAYMENT).set("WAYBILL_SAGA_STEP_TIMEOUT", "60s")
    })
    .await;
    let payment = Payment::new(python, &rig.broker).await;
    let mut told = Told::start(&payment, &["dispatch.completed", "dispatch.cancelled"]);
    assert_eq!(told.next().await, "listening");

    // Cancelled while nobody pays: when the participant comes, both commands wait for it.
    let mut client = rig.client.clone();
    let undone = client.request_dispatch(request("m-4")).await.unwrap().into_inner().dispatch_id;
    until("the order", async || rig.books().entry(&undone).await.order == "ACCEPTED").await;
    client.cancel_dispatch(cancel(&undone)).await.unwrap();
    let running = payment.start();
    watch(&client, &undone, 0).await;
    let completed = run_to_end(&client, request("m-1")).await;
    let refused = run_to_end(&client, refused_by_dispatch("m-2")).await;
    let declined = run_to_end(&client, refused_by_payment("m-3")).await;
    rig.books().settled().await;

    let entry = async |id: &str| rig.books().entry(id).await.to_string();
    assert_eq!(entry(&undone).await, "COMPENSATED/CANCELLED/-/-");
    assert_eq!(entry(&completed.dispatch_id).await, "COMPLETED/COMPLETED/-/CREATED");
    assert_eq!(entry(&refused.dispatch_id).await, "COMPENSATED/CANCELLED/-/REFUSED");
    assert_eq!(entry(&declined.dispatch_id).await, "COMPENSATED/CANCELLED/-/-");
    assert!(declined.reason.contains("exceed the credit limit"), "{}", declined.reason);
    let expected = [
        "order-m-1 CAPTURED 1470",
        "order-m-2 RELEASED 1470",
        "order-m-3 REFUSED 100001",
        "order-m-4 RELEASED 1470",
    ];
    assert_eq!(payment.reservations().await, expected);
    let mut events = [told.next().await, told.next().await, told.next().await, told.next().await];
    events.sort();
    let expected = [
        format!("dispatch.cancelled\torder-m-2\t{}", refused.reason),
        format!("dispatch.cancelled\torder-m-3\t{}", declined.reason),
        "dispatch.cancelled\torder-m-4\tchanged my mind".to_owned(),
        "dispatch.completed\torder-m-1\t".to_owned(),
    ];
    assert_eq!(events, expected);
    drop((running, told.0));
    rig.broker.delete("tap.events").await;
    rig.stop().await;
}

/// The participant alone, and the stranger who sends it commands. Waybill has declared the queues.
struct Alone {
    rig: Rig,
    payment: Payment,
}

impl Alone {
    async fn new(python: String) -> Self {
        let database = TestDatabase::sqlite().await;
        let rig = Rig::with(WAYBILL, database, |program| program.roles("relay")).await;
        let payment = Payment::new(python, &rig.broker).await;
        Self { rig, payment }
    }

    async fn tap(&self, key: &str) -> String {
        self.rig.broker.tap("dispatch", key).await
    }

    async fn send(&self, message_id: &str, kind: &str, body: &[u8], reply_to: &str) {
        let properties = BasicProperties::default()
            .with_message_id(message_id.into())
            .with_correlation_id("d-1".into())
            .with_type(kind.into())
            .with_reply_to(reply_to.into())
            .with_delivery_mode(2);
        self.rig.broker.publish("dispatch", "payment.command", body, properties).await;
    }

    async fn ask<M: Name>(&self, message_id: &str, command: &M) {
        self.send(message_id, &M::full_name(), &command.encode_to_vec(), "to.me").await;
    }
}

fn reserve() -> ReservePayment {
    ReservePayment {
        dispatch_id: "d-1".to_owned(),
        order_id: "o-1".to_owned(),
        customer_id: "c-1".to_owned(),
        amount: None,
        parcel_count: 2,
    }
}

fn release() -> ReleasePayment {
    let (dispatch_id, order_id) = ("d-1".to_owned(), "o-1".to_owned());
    ReleasePayment { dispatch_id, order_id, reason: "because".to_owned() }
}

fn capture() -> CapturePayment {
    CapturePayment { dispatch_id: "d-1".to_owned(), order_id: "o-1".to_owned() }
}

/// Its id, and its body, which must be an `M`.
fn read<M: Name + Default>(reply: &BasicGetMessage) -> (String, M) {
    let properties = &reply.delivery.properties;
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), M::full_name());
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "d-1");
    assert_eq!(properties.delivery_mode(), &Some(2), "persistent");
    let id = properties.message_id().as_ref().unwrap().to_string();
    (id, M::decode(reply.delivery.data.as_slice()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_comes_twice_has_one_effect_and_the_recorded_reply() {
    let Some(python) = tool("python.sh", &[]).await else { return };
    let alone = Alone::new(python).await;
    let replies = alone.tap("to.me").await;
    let running = alone.payment.start();
    alone.ask("m-1", &reserve()).await;
    let (id, first) = read::<PaymentReserved>(&alone.rig.broker.next(&replies).await);
    assert_eq!((&*id, first.amount.unwrap().minor_units), ("m-1:reply", 2 * 490));
    alone.ask("m-2", &release()).await;
    read::<PaymentReleased>(&alone.rig.broker.next(&replies).await);
    // By the state of today it would be refused; the record answers as it did then.
    alone.ask("m-1", &reserve()).await;
    read::<PaymentReserved>(&alone.rig.broker.next(&replies).await);
    assert_eq!(alone.payment.reservations().await, ["o-1 RELEASED 980"]);
    drop(running);
    alone.rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_comes_first_has_the_late_reservation_refused() {
    let Some(python) = tool("python.sh", &[]).await else { return };
    let alone = Alone::new(python).await;
    let replies = alone.tap("to.me").await;
    let running = alone.payment.start();
    alone.ask("m-1", &release()).await;
    read::<PaymentReleased>(&alone.rig.broker.next(&replies).await);
    alone.ask("m-2", &reserve()).await;
    let (_, declined) = read::<PaymentDeclined>(&alone.rig.broker.next(&replies).await);
    assert!(declined.reason.starts_with("came too late"), "{}", declined.reason);
    assert_eq!(alone.payment.reservations().await, ["o-1 RELEASED 0"]);
    drop(running);
    alone.rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_was_not_confirmed_is_sent_by_the_next_process() {
    let Some(python) = tool("python.sh", &[]).await else { return };
    let alone = Alone::new(python).await;
    let earlier = alone.tap("to.me.first").await;
    let mut first = alone.payment.start();
    alone.send("m-1", &ReservePayment::full_name(), &reserve().encode_to_vec(), "to.me.first").await;
    read::<PaymentReserved>(&alone.rig.broker.next(&earlier).await);
    // No queue takes this reply yet, so the command is done but not acknowledged.
    alone.ask("m-2", &capture()).await;
    until("the effect", async || alone.payment.reservations().await == ["o-1 CAPTURED 980"]).await;
    first.kill().await.unwrap();
    let replies = alone.tap("to.me").await;
    let second = alone.payment.start();
    let (id, _) = read::<PaymentCaptured>(&alone.rig.broker.next(&replies).await);
    assert_eq!(id, "m-2:reply");
    assert_eq!(alone.payment.reservations().await, ["o-1 CAPTURED 980"]);
    drop(second);
    alone.rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_in_python_connects_again_and_rejects_what_it_cannot_understand() {
    let Some(python) = tool("python.sh", &[]).await else { return };
    let mut alone = Alone::new(python).await;
    let proxy = Proxy::for_url(alone.rig.broker.url()).await;
    alone.payment.amqp = proxy.url(alone.rig.broker.url());
    let (replies, dead) = (alone.tap("to.me").await, alone.rig.broker.name("payment.dead"));
    let running = alone.payment.start();
    alone.ask("m-1", &reserve()).await;
    read::<PaymentReserved>(&alone.rig.broker.next(&replies).await);
    proxy.cut();
    let kind = ReservePayment::full_name();
    let other = ReservePayment { order_id: "o-2".to_owned(), ..reserve() };
    for (id, kind, body) in [
        ("unknown", "dispatch.v1.CreateDispatch", vec![]),
        ("noise", &kind, vec![0xff; 40]),
        ("empty", &kind, vec![]),
        ("other-order", &kind, other.encode_to_vec()),
    ] {
        alone.send(id, kind, &body, "to.me").await;
        let letter = alone.rig.broker.next(&dead).await;
        assert_eq!(letter.delivery.properties.message_id().as_ref().unwrap().as_str(), id);
    }
    alone.ask("m-2", &capture()).await;
    read::<PaymentCaptured>(&alone.rig.broker.next(&replies).await);
    assert_eq!(alone.payment.reservations().await, ["o-1 CAPTURED 980"]);
    drop(running);
    alone.rig.stop().await;
}
