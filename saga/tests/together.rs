//! Several orchestrators on one database, each with a clock of its own: whatever happens at the same time, every
//! saga takes one step, and a race has one winner.
#![expect(clippy::unwrap_used, reason = "a test crate")]
#![allow(dead_code, reason = "the rig serves several test crates")]

mod rig;

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _,
    future::{join, join_all},
};
use prost::Name;
use rig::{Consume, START, TIMEOUT, defaults, envelope, open_by};
use tokio_util::sync::CancellationToken;
use waybill_messaging::{Clock, Store};
use waybill_proto::v1;
use waybill_saga::{Definitions, Orchestrator, Versions, deadline, order_fulfilment};
use waybill_test_support::{TestDatabase, on_both_databases};

on_both_databases!(
    each_deadline_is_taken_once_though_the_clocks_differ_by_seconds,
    a_cancellation_and_the_answer_before_the_pivot_have_one_winner,
    an_instance_that_another_orchestrator_has_moved_is_not_taken_from_memory,
    a_deadline_that_was_moved_by_hand_is_kept,
    silence_proves_nothing_while_answers_are_as_late,
    who_waits_hears_at_once_of_what_this_process_moves_and_by_a_look_of_the_rest,
);

const DISPATCHES: usize = 60;
const SKEW: Duration = Duration::from_secs(3);

/// One process.
struct Node {
    clock: Clock,
    store: Store,
    orchestrator: Orchestrator,
}

/// One whose clock is right, one that is slow and one that is fast.
async fn nodes(database: &TestDatabase) -> [Node; 3] {
    let clocks = [START, START.minus(SKEW), START.plus(SKEW)].map(Clock::stopped_at);
    let node = async |clock: Clock| Node {
        store: open_by(&clock, database).await,
        clock,
        orchestrator: Orchestrator::new(Definitions::new(order_fulfilment(&defaults()), &[1, 2], 2).unwrap()),
    };
    let [right, slow, fast] = clocks;
    [node(right).await, node(slow).await, node(fast).await]
}

impl Node {
    async fn handles<M: Name>(&self, id: &str, message: M) {
        let consume = Consume { by: self.orchestrator.clone(), envelope: envelope(id, &message) };
        self.store.run(consume).await.unwrap();
    }

    /// Takes all that is due by its clock.
    async fn looks(&self) {
        while deadline::look(&self.store, &self.orchestrator).await.unwrap() {}
    }
}

fn ids() -> impl Iterator<Item = String> {
    (0..DISPATCHES).map(|number| format!("d-{number:02}"))
}

fn order_of(id: &str) -> String {
    format!("o-{id}")
}

async fn begin(node: &Node) {
    for id in ids() {
        node.handles(&id, v1::DispatchRequested { order_id: order_of(&id), ..Default::default() }).await;
    }
}

async fn end(nodes: [Node; 3]) {
    for node in nodes {
        node.store.close().await;
    }
}

async fn each_deadline_is_taken_once_though_the_clocks_differ_by_seconds(database: TestDatabase) {
    let nodes = nodes(&database).await;
    begin(&nodes[0]).await;
    let retried = "SELECT count(*) FROM saga_history WHERE event = 'accept_order_retried'";
    join_all(nodes.iter().map(Node::looks)).await;
    assert_eq!(database.number(retried).await, 0, "nothing is due by any clock");
    // Due by two of the clocks, whatever the jitter; what one of them sends again is not due again by the other.
    for node in &nodes {
        node.clock.advance(TIMEOUT + SKEW);
    }
    join_all(nodes.iter().map(Node::looks)).await;
    let instances = i64::try_from(DISPATCHES).unwrap();
    assert_eq!(database.number(retried).await, instances, "once each");
    let doubled = "SELECT dispatch_id FROM saga_instances WHERE attempt <> 2 OR version <> 2";
    assert_eq!(database.texts(doubled).await, Vec::<String>::new());
    assert_eq!(database.number("SELECT count(*) FROM outbox").await, 2 * instances, "each command twice");
    end(nodes).await;
}

async fn who_waits_hears_at_once_of_what_this_process_moves_and_by_a_look_of_the_rest(
    database: TestDatabase,
) {
    let [mut node, other, idle] = nodes(&database).await;
    let versions = Arc::new(Versions::new(Duration::from_millis(10)));
    node.orchestrator = node.orchestrator.telling(Arc::clone(&versions));
    let mut watched = versions.watch("d-00");
    begin(&node).await;
    assert_eq!(watched.beyond(0).now_or_never(), Some(()), "nobody has looked, and it is known");
    let (dispatch_id, order_id) = ("d-00".to_owned(), order_of("d-00"));
    other.handles("d-00", v1::OrderAccepted { dispatch_id, order_id }).await;
    assert_eq!(watched.beyond(1).now_or_never(), None, "another process has moved it");
    let stop = CancellationToken::new();
    let looking = versions.run(node.store.clone(), stop.clone());
    let hearing = async {
        watched.beyond(1).await;
        stop.cancel();
    };
    join(looking, hearing).await;
    end([node, other, idle]).await;
}

async fn silence_proves_nothing_while_answers_are_as_late(database: TestDatabase) {
    let nodes = nodes(&database).await;
    let [node, ..] = &nodes;
    begin(node).await;
    node.clock.advance(TIMEOUT * 2);
    let (dispatch_id, order_id) = ("d-00".to_owned(), order_of("d-00"));
    node.handles("d-00", v1::OrderAccepted { dispatch_id, order_id }).await;
    let retried = "SELECT count(*) FROM saga_history WHERE event = 'accept_order_retried'";
    node.looks().await;
    assert_eq!(database.number(retried).await, 0, "the other answers may be on their way as well");
    node.clock.advance(Duration::from_secs(5));
    node.looks().await;
    assert_eq!(
        database.number(retried).await,
        i64::try_from(DISPATCHES).unwrap() - 1,
        "no answer came any more"
    );
    end(nodes).await;
}

async fn a_cancellation_and_the_answer_before_the_pivot_have_one_winner(database: TestDatabase) {
    let nodes = nodes(&database).await;
    begin(&nodes[0]).await;
    for id in ids() {
        let accepted = v1::OrderAccepted { dispatch_id: id.clone(), order_id: order_of(&id) };
        nodes[0].handles(&id, accepted).await;
    }
    let race = async |id: String| {
        let (dispatch_id, order_id) = (id.clone(), order_of(&id));
        let reserved = v1::PaymentReserved { dispatch_id, order_id, ..Default::default() };
        let (dispatch_id, order_id, reason) = (id.clone(), order_of(&id), "changed my mind".to_owned());
        let cancel = v1::CancelRequested { dispatch_id, order_id, reason, ..Default::default() };
        tokio::join!(nodes[1].handles(&id, reserved), nodes[2].handles(&id, cancel));
    };
    join_all(ids().map(race)).await;
    let sent = |command: &str| {
        let sql = format!("SELECT correlation_id FROM outbox WHERE type = '{command}' ORDER BY 1");
        let database = &database;
        async move { database.texts(&sql).await }
    };
    let forward = sent("dispatch.v1.CreateDispatch").await;
    let back = sent("dispatch.v1.ReleasePayment").await;
    let mut moved = [forward, back].concat();
    moved.sort();
    assert_eq!(moved, ids().collect::<Vec<_>>(), "either the pivot or the way back, for each");
    end(nodes).await;
}

async fn an_instance_that_another_orchestrator_has_moved_is_not_taken_from_memory(database: TestDatabase) {
    let nodes = nodes(&database).await;
    begin(&nodes[0]).await;
    for id in ids() {
        let (dispatch_id, order_id) = (id.clone(), order_of(&id));
        nodes[0].handles(&id, v1::OrderAccepted { dispatch_id, order_id }).await;
        let (dispatch_id, order_id) = (id.clone(), order_of(&id));
        nodes[1].handles(&id, v1::PaymentReserved { dispatch_id, order_id, ..Default::default() }).await;
        let (dispatch_id, order_id) = (id.clone(), order_of(&id));
        nodes[0].handles(&id, v1::DispatchCreated { dispatch_id, order_id }).await;
    }
    let moved = "SELECT DISTINCT version || ' ' || steps FROM saga_instances";
    assert_eq!(database.texts(moved).await, ["4 DONE,DONE,DONE,RUNNING,PENDING"]);
    let ignored = "SELECT count(*) FROM saga_history WHERE event = 'late_reply_ignored'";
    assert_eq!(database.number(ignored).await, 0, "what was remembered decided nothing");
    end(nodes).await;
}

async fn a_deadline_that_was_moved_by_hand_is_kept(database: TestDatabase) {
    let nodes = nodes(&database).await;
    begin(&nodes[0]).await;
    database.execute("UPDATE saga_instances SET deadline_at = 1").await;
    for id in ids() {
        let (dispatch_id, order_id) = (id.clone(), order_of(&id));
        // No answer to what was asked: noted, and the saga goes on waiting as long as it was to.
        nodes[0].handles(&id, v1::PaymentReserved { dispatch_id, order_id, ..Default::default() }).await;
    }
    let kept = "SELECT count(*) FROM saga_instances WHERE deadline_at = 1 AND version = 2";
    assert_eq!(database.number(kept).await, i64::try_from(DISPATCHES).unwrap());
    end(nodes).await;
}
