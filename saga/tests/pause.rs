//! What is paused, on both databases: nothing is sent for it, nothing is lost, and it goes on where it stood.
#![expect(clippy::unwrap_used, reason = "a test crate")]

mod rig;

use std::time::Duration;

use prost::Name;
use rig::{Consume, TIMEOUT, defaults, envelope, open};
use waybill_messaging::{Clock, Store};
use waybill_proto::v1;
use waybill_saga::{
    Definitions, Orchestrator, deadline, order_fulfilment,
    pause::{Resume, SetPause, pauses},
};
use waybill_test_support::{TestDatabase, on_both_databases};

on_both_databases!(
    each_kind_of_pause_keeps_what_comes_and_lets_it_go_on,
    a_participant_that_is_paused_is_sent_nothing_and_its_answers_count,
    deadlines_of_what_is_paused_take_effect_when_it_is_resumed,
    what_is_resumed_at_a_rate_is_taken_at_that_rate_and_new_messages_at_once,
    what_two_pauses_hold_waits_for_both,
    a_request_and_a_cancellation_are_kept_in_their_order,
    another_dispatch_is_not_held_up,
);

struct Rig {
    database: TestDatabase,
    clock: Clock,
    store: Store,
    orchestrator: Orchestrator,
}

fn orchestrator() -> Orchestrator {
    Orchestrator::new(Definitions::new(order_fulfilment(&defaults()), &[1], 1).unwrap())
}

impl Rig {
    async fn new(database: TestDatabase) -> Self {
        let (clock, store) = open(&database).await;
        Self { database, clock, store, orchestrator: orchestrator() }
    }

    async fn handles<M: Name>(&self, id: &str, message: M) {
        let envelope = envelope(id, &message);
        // One that has not asked lately what is paused.
        self.store.run(Consume { by: orchestrator(), envelope }).await.unwrap();
    }

    async fn begins(&self, id: &str) {
        self.handles(id, v1::DispatchRequested { order_id: format!("o-{id}"), ..Default::default() }).await;
    }

    async fn accepted(&self, id: &str) {
        let order_id = format!("o-{id}");
        self.handles(id, v1::OrderAccepted { dispatch_id: id.to_owned(), order_id }).await;
    }

    async fn pauses(&self, scope: &str) {
        let scope = scope.parse().unwrap();
        let (operator, reason) = ("anna".to_owned(), "incident".to_owned());
        assert!(self.store.run(SetPause { scope, operator, reason }).await.unwrap());
    }

    async fn resumes(&self, scope: &str, rate: u32) {
        let scope = scope.parse().unwrap();
        let (operator, reason) = ("anna".to_owned(), "over".to_owned());
        assert!(self.store.run(Resume { scope, operator, reason, rate }).await.unwrap());
    }

    /// What the loop does that looks after deadlines and what is parked.
    async fn looks(&self) {
        deadline::look(&self.store, &self.orchestrator).await.unwrap();
    }

    async fn instances(&self) -> Vec<String> {
        let sql = "SELECT dispatch_id || ' ' || steps || ' ' || attempt FROM saga_instances ORDER BY 1";
        self.database.texts(sql).await
    }

    async fn sent(&self) -> i64 {
        self.database.number("SELECT count(*) FROM outbox").await
    }

    async fn parked(&self) -> Vec<String> {
        let sql = "SELECT held_by || ' ' || message_id FROM saga_parked ORDER BY message_id";
        self.database.texts(sql).await
    }

    /// Scopes of what is paused or being resumed.
    async fn paused(&self) -> Vec<String> {
        let all = pauses(&self.store).await.unwrap();
        all.into_iter().map(|(pause, _)| pause.scope.to_string()).collect()
    }

    async fn end(self) {
        self.store.close().await;
    }
}

const FIRST: &str = "RUNNING,PENDING,PENDING,PENDING";
const SECOND: &str = "DONE,RUNNING,PENDING,PENDING";

async fn each_kind_of_pause_keeps_what_comes_and_lets_it_go_on(database: TestDatabase) {
    let rig = Rig::new(database).await;
    for (n, scope) in ["all", "saga:order_fulfilment", "participant:payment", "dispatch:3"].iter().enumerate()
    {
        let id = n.to_string();
        rig.begins(&id).await;
        let sent = rig.sent().await;
        rig.pauses(scope).await;
        rig.accepted(&id).await;
        rig.looks().await;
        assert_eq!(rig.instances().await[n], format!("{id} {FIRST} 1"), "{scope}");
        assert_eq!(
            (rig.parked().await, rig.sent().await),
            (vec![format!("{scope} {id}:OrderAccepted")], sent)
        );
        rig.resumes(scope, 0).await;
        rig.looks().await;
        assert_eq!(rig.instances().await[n], format!("{id} {SECOND} 1"), "{scope}");
        assert_eq!((rig.parked().await.len(), rig.sent().await), (0, sent + 1));
        assert_eq!(rig.paused().await, Vec::<String>::new(), "and the pause is gone");
    }
    rig.end().await;
}

async fn a_participant_that_is_paused_is_sent_nothing_and_its_answers_count(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins("a").await;
    rig.pauses("participant:order").await;
    rig.accepted("a").await;
    assert_eq!(rig.instances().await, [format!("a {SECOND} 1")]);
    rig.begins("b").await;
    assert_eq!(rig.parked().await, ["participant:order b:DispatchRequested"]);
    rig.resumes("participant:order", 0).await;
    rig.looks().await;
    assert_eq!(rig.instances().await, [format!("a {SECOND} 1"), format!("b {FIRST} 1")]);
    rig.end().await;
}

async fn deadlines_of_what_is_paused_take_effect_when_it_is_resumed(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins("3").await;
    for scope in ["all", "saga:order_fulfilment", "participant:order", "dispatch:3"] {
        rig.database.execute("UPDATE saga_instances SET attempt = 1").await;
        rig.pauses(scope).await;
        rig.clock.advance(TIMEOUT * 2);
        rig.looks().await;
        assert_eq!(rig.instances().await, [format!("3 {FIRST} 1")], "{scope}");
        rig.resumes(scope, 0).await;
        rig.looks().await;
        assert_eq!(rig.instances().await, [format!("3 {FIRST} 2")], "{scope}");
    }
    rig.pauses("participant:payment").await;
    rig.clock.advance(TIMEOUT * 2);
    rig.looks().await;
    assert_eq!(rig.instances().await, ["3 COMPENSATING,PENDING,PENDING,PENDING 1"], "others go on");
    rig.end().await;
}

async fn what_is_resumed_at_a_rate_is_taken_at_that_rate_and_new_messages_at_once(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let ids: Vec<String> = (10..20).map(|n| n.to_string()).collect();
    for id in &ids {
        rig.begins(id).await;
    }
    rig.pauses("all").await;
    for id in &ids[..6] {
        rig.accepted(id).await;
    }
    // The deadlines of the other four are due as well.
    rig.clock.advance(TIMEOUT * 2);
    rig.resumes("all", 4).await;
    let moved = async || {
        let sql = "SELECT count(*) FROM saga_instances WHERE version > 1";
        rig.database.number(sql).await
    };
    rig.looks().await;
    assert_eq!(moved().await, 0);
    rig.begins("new").await;
    rig.accepted("new").await;
    assert_eq!(moved().await, 1, "what is new is not held up");
    for expected in [3, 5] {
        rig.clock.advance(Duration::from_millis(500));
        rig.looks().await;
        rig.looks().await;
        assert_eq!(moved().await, expected);
    }
    for expected in [9, 11] {
        rig.clock.advance(Duration::from_mins(1));
        rig.database.execute("UPDATE saga_instances SET deadline_at = NULL WHERE version > 1").await;
        rig.looks().await;
        assert_eq!(moved().await, expected, "no more than a second's worth at once");
    }
    rig.clock.advance(Duration::from_secs(1));
    rig.database.execute("UPDATE saga_instances SET deadline_at = NULL").await;
    rig.looks().await;
    assert_eq!((rig.paused().await.len(), rig.parked().await.len()), (0, 0));
    rig.end().await;
}

async fn what_two_pauses_hold_waits_for_both(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins("a").await;
    for scope in ["all", "participant:payment", "dispatch:a"] {
        rig.pauses(scope).await;
    }
    rig.accepted("a").await;
    for (scope, left) in [("all", "participant:payment"), ("participant:payment", "dispatch:a")] {
        rig.resumes(scope, 0).await;
        rig.looks().await;
        assert_eq!(rig.parked().await, [format!("{left} a:OrderAccepted")]);
        assert_eq!(rig.instances().await, [format!("a {FIRST} 1")]);
    }
    rig.resumes("dispatch:a", 0).await;
    rig.looks().await;
    assert_eq!(rig.instances().await, [format!("a {SECOND} 1")]);
    assert_eq!(rig.paused().await, Vec::<String>::new());
    rig.end().await;
}

async fn a_request_and_a_cancellation_are_kept_in_their_order(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.pauses("all").await;
    rig.begins("a").await;
    rig.clock.advance(Duration::from_secs(1));
    let (dispatch_id, reason) = ("a".to_owned(), "no".to_owned());
    rig.handles("a", v1::CancelRequested { dispatch_id, reason, ..Default::default() }).await;
    assert_eq!((rig.instances().await.len(), rig.parked().await.len()), (0, 2));
    rig.resumes("all", 0).await;
    rig.looks().await;
    assert_eq!(rig.instances().await, ["a COMPENSATING,PENDING,PENDING,PENDING 1"]);
    rig.end().await;
}

async fn another_dispatch_is_not_held_up(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.begins("a").await;
    rig.begins("b").await;
    rig.pauses("dispatch:a").await;
    rig.accepted("a").await;
    rig.accepted("b").await;
    assert_eq!(rig.instances().await, [format!("a {FIRST} 1"), format!("b {SECOND} 1")]);
    rig.end().await;
}
