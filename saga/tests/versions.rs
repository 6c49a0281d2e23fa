//! Several versions of a saga at a time, on both databases: what a process does not know is parked, counted
//! and handled by one that does, and nothing is guessed.
#![expect(clippy::unwrap_used, reason = "a test crate")]

mod rig;

use std::time::Duration;

use prost::Name;
use rig::{Consume, TIMEOUT, defaults, envelope, open};
use waybill_messaging::{Clock, Envelope, Store, StoreError};
use waybill_proto::v1;
use waybill_saga::{
    Census, Definition, Definitions, Orchestrator, census, deadline, order_fulfilment, take_parked,
};
use waybill_test_support::{TestDatabase, on_both_databases};

on_both_databases!(
    a_message_for_an_unknown_version_is_parked_until_somebody_knows_it,
    a_request_that_is_published_twice_is_nothing_new_whatever_its_version,
    a_message_of_an_unknown_type_is_parked_where_its_version_is_unknown_too,
    deadlines_of_an_unknown_version_are_left_alone,
    an_answer_that_is_parked_is_not_missing,
    a_definition_that_changed_without_a_new_version_is_unknown,
);

/// A database, and the processes on it: before, during and after an upgrade.
struct Rig {
    database: TestDatabase,
    clock: Clock,
    store: Store,
    old: Orchestrator,
    new: Orchestrator,
}

fn version(version: u32) -> Definition {
    // Two versions of the same steps: which of them they are is all that matters here.
    Definition { version, ..order_fulfilment(&defaults()).swap_remove(0) }
}

impl Rig {
    async fn new(database: TestDatabase) -> Self {
        let (clock, store) = open(&database).await;
        let old = Orchestrator::new(Definitions::new([version(1)], &[1], 1).unwrap());
        let new = Orchestrator::new(Definitions::new([version(1), version(2)], &[1, 2], 2).unwrap());
        Self { database, clock, store, old, new }
    }

    async fn handles<M: Name>(&self, by: &Orchestrator, id: &str, message: M) -> Result<(), StoreError> {
        self.consumes(by, envelope(id, &message)).await
    }

    async fn consumes(&self, by: &Orchestrator, envelope: Envelope) -> Result<(), StoreError> {
        self.store.run(Consume { by: by.clone(), envelope }).await
    }

    async fn begins(&self, by: &Orchestrator, id: &str) {
        let request = v1::DispatchRequested { order_id: format!("o-{id}"), ..Default::default() };
        self.handles(by, id, request).await.unwrap();
    }

    /// State, steps and version of each instance.
    async fn instances(&self) -> Vec<String> {
        let sql = "SELECT definition_version || ' ' || state || ' ' || steps || ' ' || version \
                   FROM saga_instances ORDER BY dispatch_id";
        self.database.texts(sql).await
    }

    async fn sent(&self) -> Vec<String> {
        self.database.texts("SELECT message_id FROM outbox ORDER BY message_id").await
    }

    async fn parked(&self) -> Vec<String> {
        let sql = "SELECT definition_version || ' ' || message_id FROM saga_parked ORDER BY message_id";
        self.database.texts(sql).await
    }

    async fn end(self) {
        self.store.close().await;
    }
}

fn accepted(id: &str) -> v1::OrderAccepted {
    v1::OrderAccepted { dispatch_id: id.to_owned(), order_id: format!("o-{id}") }
}

fn cancel(id: &str) -> v1::CancelRequested {
    v1::CancelRequested { dispatch_id: id.to_owned(), reason: "no".to_owned(), ..Default::default() }
}

async fn a_message_for_an_unknown_version_is_parked_until_somebody_knows_it(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins(&rig.old, "a").await;
    rig.begins(&rig.new, "b").await;
    for id in ["a", "b"] {
        rig.handles(&rig.old, id, accepted(id)).await.unwrap();
    }
    rig.handles(&rig.old, "b", cancel("b")).await.unwrap();
    let known = "1 RUNNING DONE,RUNNING,PENDING,PENDING 2".to_owned();
    let untouched = "2 RUNNING RUNNING,PENDING,PENDING,PENDING 1".to_owned();
    assert_eq!(rig.instances().await, [known.clone(), untouched]);
    assert_eq!(rig.parked().await, ["2 b:CancelRequested", "2 b:OrderAccepted"]);
    assert_eq!(rig.sent().await, ["a:AcceptOrder", "a:ReservePayment", "b:AcceptOrder"]);

    assert!(!take_parked(&rig.store, &rig.old).await.unwrap());
    assert_eq!(rig.parked().await.len(), 2, "a process that does not know them leaves them alone");
    let counts = census(&rig.store).await.unwrap();
    let of = |version: u32| {
        let (pinned, census) = counts.iter().find(|((_, v, _), _)| *v == version).unwrap();
        assert_eq!(pinned.2, self::version(version).hash());
        census.clone()
    };
    assert_eq!(of(1), Census { running: 1, oldest: "a".to_owned(), ..Census::default() });
    assert_eq!(of(2), Census { running: 1, parked: 2, oldest: "b".to_owned(), ..Census::default() });

    take_parked(&rig.store, &rig.new).await.unwrap();
    // In the order of their ids, where they were parked at the same moment: first cancelled, then late.
    assert_eq!(
        rig.instances().await,
        [known, "2 COMPENSATING COMPENSATING,PENDING,PENDING,PENDING 3".to_owned()]
    );
    assert_eq!(rig.parked().await, Vec::<String>::new());
    assert!(rig.sent().await.contains(&"b:CancelOrder".to_owned()));
    let causes = "SELECT cause_message_id FROM saga_history WHERE dispatch_id = 'b' ORDER BY version";
    assert_eq!(
        rig.database.texts(causes).await,
        ["b:DispatchRequested", "b:CancelRequested", "b:OrderAccepted"]
    );
    rig.end().await;
}

async fn a_request_that_is_published_twice_is_nothing_new_whatever_its_version(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins(&rig.new, "b").await;
    rig.begins(&rig.old, "b").await;
    assert_eq!(rig.instances().await, ["2 RUNNING RUNNING,PENDING,PENDING,PENDING 1"]);
    assert_eq!((rig.parked().await.len(), rig.sent().await.len()), (0, 1));
    rig.end().await;
}

async fn a_message_of_an_unknown_type_is_parked_where_its_version_is_unknown_too(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins(&rig.old, "a").await;
    rig.begins(&rig.new, "b").await;
    let strange = |type_name: &str, id: &str| Envelope {
        message_id: format!("{id}:strange"),
        type_name: type_name.to_owned(),
        correlation_id: id.to_owned(),
        attempt: 1,
        ..Envelope::default()
    };
    let ours = "dispatch.v1.PaymentDoubled";
    rig.consumes(&rig.old, strange(ours, "b")).await.unwrap();
    assert_eq!(rig.parked().await, ["2 b:strange"]);
    for (type_name, id) in [(ours, "a"), (ours, "nobody"), ("another.Type", "b")] {
        let refused = rig.consumes(&rig.old, strange(type_name, id)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Failed(_)), "{refused}");
    }
    // Its consumer counted it as handled, as it does whatever it has parked.
    let (inbox, empty) = if rig.database.is_postgres() { ("inbox_0", "''::bytea") } else { ("inbox", "x''") };
    let handled = format!(
        "INSERT INTO {inbox} (consumer, message_id, received_at, reply_type, reply_body) \
         VALUES ('saga', 'b:strange', 0, '', {empty})"
    );
    rig.database.execute(&handled).await;
    // Nobody will ever know it: a dead letter, and the others go on.
    rig.handles(&rig.old, "b", accepted("b")).await.unwrap();
    take_parked(&rig.store, &rig.new).await.unwrap();
    let dead = "SELECT message_id || ' ' || kind FROM dead_letters";
    assert_eq!(rig.database.texts(dead).await, ["b:strange PERMANENT"]);
    assert_eq!(rig.database.number("SELECT count(*) FROM inbox").await, 0, "sent again, it is handled");
    assert_eq!(rig.instances().await[1], "2 RUNNING DONE,RUNNING,PENDING,PENDING 2");
    rig.end().await;
}

async fn deadlines_of_an_unknown_version_are_left_alone(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins(&rig.old, "a").await;
    rig.begins(&rig.new, "b").await;
    rig.clock.advance(TIMEOUT * 2);
    deadline::wake(&rig.store, rig.old.definitions(), Duration::ZERO).await.unwrap();
    let attempts = "SELECT dispatch_id || ' ' || attempt FROM saga_instances ORDER BY dispatch_id";
    assert_eq!(rig.database.texts(attempts).await, ["a 2", "b 1"]);
    deadline::wake(&rig.store, rig.new.definitions(), Duration::ZERO).await.unwrap();
    assert_eq!(rig.database.texts(attempts).await, ["a 2", "b 2"]);
    rig.end().await;
}

async fn an_answer_that_is_parked_is_not_missing(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins(&rig.new, "b").await;
    rig.handles(&rig.old, "b", accepted("b")).await.unwrap();
    rig.clock.advance(TIMEOUT * 10);
    deadline::wake(&rig.store, rig.new.definitions(), Duration::ZERO).await.unwrap();
    assert_eq!(rig.instances().await, ["2 RUNNING RUNNING,PENDING,PENDING,PENDING 1"]);
    take_parked(&rig.store, &rig.new).await.unwrap();
    assert_eq!(rig.instances().await, ["2 RUNNING DONE,RUNNING,PENDING,PENDING 2"]);
    rig.end().await;
}

async fn a_definition_that_changed_without_a_new_version_is_unknown(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins(&rig.old, "a").await;
    let mut changed = version(1);
    changed.steps.truncate(3);
    let changed = Orchestrator::new(Definitions::new([changed], &[1], 1).unwrap());
    rig.handles(&changed, "a", accepted("a")).await.unwrap();
    assert_eq!(rig.parked().await, ["1 a:OrderAccepted"]);
    assert_eq!(rig.instances().await, ["1 RUNNING RUNNING,PENDING,PENDING,PENDING 1"]);
    rig.end().await;
}
