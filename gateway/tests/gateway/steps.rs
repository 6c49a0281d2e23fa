//! How far a dispatch has come, as a client sees it. The saga is the real one; participants are played, and the
//! time stands still but for what each test lets pass.

use std::time::Duration;

use prost::Name;
use waybill_messaging::{Envelope, Handler, Received, Store, StoreError, TraceContext, Transaction, Tx};
use waybill_proto::v1::{self, DispatchState, DispatchStep, StepCourse, StepProgress};
use waybill_saga::{Defaults, Definitions, Orchestrator, VERSIONS, deadline, order_fulfilment};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::rig::{Rig, order};

on_both_databases!(
    a_completed_dispatch_of_version_1_shows_how_long_each_step_took,
    a_completed_dispatch_of_version_2_shows_how_long_each_step_took,
    a_dispatch_under_way_shows_what_is_done_what_is_current_and_what_remains,
    a_compensated_dispatch_shows_what_was_refused_undone_and_left_out,
    a_stuck_dispatch_shows_where_it_is_stuck_and_for_how_long,
    a_dispatch_that_is_cancelled_shows_what_is_still_to_be_undone,
    a_dispatch_that_was_cancelled_before_it_began_has_left_out_everything,
    a_watcher_sees_how_long_each_step_took_and_what_remains,
);

/// A gateway, and beside it the saga of one dispatch.
struct Stage {
    rig: Rig,
    store: Store,
    saga: Orchestrator,
    id: String,
}

impl Stage {
    /// The saga begins, with this version.
    async fn new(database: TestDatabase, begins: u32) -> Self {
        let stage = Self::accepted(database, begins).await;
        stage.comes(order("1")).await;
        stage
    }

    async fn accepted(database: TestDatabase, begins: u32) -> Self {
        let rig = Rig::new(database).await;
        let defaults =
            Defaults { step_timeout: Duration::from_secs(10), step_attempts: 2, ..Defaults::default() };
        let definitions = Definitions::new(order_fulfilment(&defaults), &VERSIONS, begins).unwrap();
        let (store, saga, id) = (rig.store().await, Orchestrator::new(definitions), rig.accepted("1").await);
        Self { rig, store, saga, id }
    }

    fn pass(&self, seconds: u64) {
        self.rig.clock.advance(Duration::from_secs(seconds));
    }

    /// A message comes to the saga now.
    async fn comes<M: Name>(&self, message: M) {
        let envelope = Envelope {
            message_id: format!("{}:{}", self.id, M::NAME),
            type_name: M::full_name(),
            correlation_id: self.id.clone(),
            attempt: 1,
            body: message.encode_to_vec().into(),
            ..Envelope::default()
        };
        self.store.run(Consume { by: self.saga.clone(), envelope }).await.unwrap();
    }

    /// That many participants answer as they should, each after so many seconds.
    async fn answered(&self, seconds: impl IntoIterator<Item = u64>) {
        for seconds in seconds {
            self.pass(seconds);
            let dispatch = self.rig.get(&self.id).await.unwrap();
            let current =
                dispatch.steps.iter().find(|step| step.progress() == StepProgress::Current).unwrap();
            let (dispatch_id, order_id) = (self.id.clone(), "o-1".to_owned());
            match (current.name.as_str(), current.compensation.is_some()) {
                ("accept_order", false) => self.comes(v1::OrderAccepted { dispatch_id, order_id }).await,
                ("accept_order", true) => self.comes(v1::OrderCancelled { dispatch_id, order_id }).await,
                ("reserve_payment", false) => {
                    self.comes(v1::PaymentReserved { dispatch_id, order_id, amount: None }).await;
                }
                ("reserve_payment", true) => self.comes(v1::PaymentReleased { dispatch_id, order_id }).await,
                ("create_dispatch", false) => self.comes(v1::DispatchCreated { dispatch_id, order_id }).await,
                ("capture_payment", false) => self.comes(v1::PaymentCaptured { dispatch_id, order_id }).await,
                ("complete_order", false) => self.comes(v1::OrderCompleted { dispatch_id, order_id }).await,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn payment_is_declined(&self) {
        let reason = "credit limit".to_owned();
        self.comes(v1::PaymentDeclined { dispatch_id: self.id.clone(), order_id: "o-1".into(), reason })
            .await;
    }

    async fn is_cancelled(&self) {
        let reason = "no longer wanted".to_owned();
        self.comes(v1::CancelRequested {
            dispatch_id: self.id.clone(),
            order_id: "o-1".into(),
            reason,
            ..Default::default()
        })
        .await;
    }

    /// Nobody answers for so long, and the saga looks at its clock.
    async fn nobody_answers_for(&self, seconds: u64) {
        self.pass(seconds);
        deadline::wake(&self.store, self.saga.definitions(), Duration::ZERO).await.unwrap();
    }

    /// The steps as a client gets them.
    async fn shows(&self, state: DispatchState, steps: &[&str]) {
        let dispatch = self.rig.get(&self.id).await.unwrap();
        assert_eq!((dispatch.state(), dispatch.steps_note.as_str()), (state, ""));
        let shown: Vec<_> = dispatch.steps.iter().map(shown).collect();
        assert_eq!(shown, steps);
        for step in &dispatch.steps {
            let starts = step.command.as_ref().and_then(|course| course.started_at);
            assert_eq!(step.started_at, starts, "{step:?}");
        }
    }

    async fn watch(&self, after_version: u64) -> Vec<v1::DispatchTransition> {
        let request = v1::WatchDispatchRequest { dispatch_id: self.id.clone(), after_version };
        let mut stream = self.rig.client.clone().watch_dispatch(request).await.unwrap().into_inner();
        let mut seen = Vec::new();
        while let Some(transition) = stream.message().await.unwrap() {
            seen.push(transition);
        }
        seen
    }

    async fn end(self) {
        self.store.close().await;
        self.rig.end().await;
    }
}

/// What the consumer does with one message that its inbox does not know.
struct Consume {
    by: Orchestrator,
    envelope: Envelope,
}

impl Transaction for Consume {
    const NAME: &'static str = "test.consume";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        let (envelope, trace) = (self.envelope.clone(), TraceContext::default());
        let received = Received { message: self.by.parse(&envelope)?, envelope, trace, packed: false };
        self.by.apply(tx, &[&received]).await.map(|_| ())
    }
}

/// Name, kind, progress and state; how its command and its compensation fared; why.
fn shown(step: &DispatchStep) -> String {
    let words = [step.kind().as_str_name(), step.progress().as_str_name(), step.state().as_str_name()];
    let words = words.map(|word| word.splitn(3, '_').nth(2).unwrap().to_lowercase());
    let courses = format!("{} / {}", fared(step.command.as_ref()), fared(step.compensation.as_ref()));
    format!("{}: {}: {courses} {}", step.name, words.join(" "), step.reason).trim_end().to_owned()
}

/// How often it was sent and how many seconds it took, or has taken so far.
fn fared(course: Option<&StepCourse>) -> String {
    let Some(course) = course else { return "-".to_owned() };
    let took = course.took.as_ref().unwrap();
    let so_far = if course.ended_at.is_none() { " so far" } else { "" };
    format!("{}x {}s{so_far}", course.attempts, took.seconds)
}

async fn a_completed_dispatch_of_version_1_shows_how_long_each_step_took(database: TestDatabase) {
    let stage = Stage::new(database, 1).await;
    stage.answered([1, 2, 3, 4]).await;
    stage.pass(100);
    let steps = [
        "accept_order: compensatable ended done: 1x 1s / -",
        "reserve_payment: compensatable ended done: 1x 2s / -",
        "create_dispatch: pivot ended done: 1x 3s / -",
        "complete_order: retriable ended done: 1x 4s / -",
    ];
    stage.shows(DispatchState::Completed, &steps).await;
    stage.end().await;
}

async fn a_completed_dispatch_of_version_2_shows_how_long_each_step_took(database: TestDatabase) {
    let stage = Stage::new(database, 2).await;
    stage.answered([1, 2, 3, 4, 5]).await;
    stage.pass(100);
    let steps = [
        "accept_order: compensatable ended done: 1x 1s / -",
        "reserve_payment: compensatable ended done: 1x 2s / -",
        "create_dispatch: pivot ended done: 1x 3s / -",
        "capture_payment: retriable ended done: 1x 4s / -",
        "complete_order: retriable ended done: 1x 5s / -",
    ];
    stage.shows(DispatchState::Completed, &steps).await;
    stage.end().await;
}

async fn a_dispatch_under_way_shows_what_is_done_what_is_current_and_what_remains(database: TestDatabase) {
    let stage = Stage::new(database, 2).await;
    stage.answered([1, 2]).await;
    stage.nobody_answers_for(11).await;
    stage.pass(7);
    let steps = [
        "accept_order: compensatable ended done: 1x 1s / -",
        "reserve_payment: compensatable ended done: 1x 2s / -",
        "create_dispatch: pivot current running: 2x 18s so far / -",
        "capture_payment: retriable remaining pending: - / -",
        "complete_order: retriable remaining pending: - / -",
    ];
    stage.shows(DispatchState::InProgress, &steps).await;
    stage.end().await;
}

async fn a_compensated_dispatch_shows_what_was_refused_undone_and_left_out(database: TestDatabase) {
    let stage = Stage::new(database, 1).await;
    stage.answered([1]).await;
    stage.nobody_answers_for(11).await;
    stage.pass(6);
    stage.payment_is_declined().await;
    stage.answered([3]).await;
    let steps = [
        "accept_order: compensatable ended compensated: 1x 1s / 1x 3s",
        "reserve_payment: compensatable ended refused: 2x 17s / - credit limit",
        "create_dispatch: pivot left_out pending: - / -",
        "complete_order: retriable left_out pending: - / -",
    ];
    stage.shows(DispatchState::Cancelled, &steps).await;
    let dispatch = stage.rig.get(&stage.id).await.unwrap();
    let whole = dispatch.steps[0].ended_at.as_ref().unwrap().seconds;
    assert_eq!(
        whole - dispatch.steps[0].started_at.as_ref().unwrap().seconds,
        21,
        "from its beginning until undone"
    );
    stage.end().await;
}

async fn a_stuck_dispatch_shows_where_it_is_stuck_and_for_how_long(database: TestDatabase) {
    let stage = Stage::new(database, 2).await;
    stage.answered([1, 2, 3]).await;
    // Four attempts, then it is stuck, and asks once more.
    for _ in 0..5 {
        stage.nobody_answers_for(1_000).await;
    }
    stage.pass(50);
    let steps = [
        "accept_order: compensatable ended done: 1x 1s / -",
        "reserve_payment: compensatable ended done: 1x 2s / -",
        "create_dispatch: pivot ended done: 1x 3s / -",
        "capture_payment: retriable current running: 5x 5050s so far / -",
        "complete_order: retriable remaining pending: - / -",
    ];
    stage.shows(DispatchState::Stuck, &steps).await;
    stage.end().await;
}

async fn a_dispatch_that_is_cancelled_shows_what_is_still_to_be_undone(database: TestDatabase) {
    let stage = Stage::new(database, 1).await;
    stage.answered([1]).await;
    stage.pass(2);
    stage.is_cancelled().await;
    stage.pass(4);
    let [left_out_pivot, left_out_last] = [
        "create_dispatch: pivot left_out pending: - / -",
        "complete_order: retriable left_out pending: - / -",
    ];
    let steps = [
        "accept_order: compensatable remaining done: 1x 1s / -",
        "reserve_payment: compensatable current compensating: 1x 2s / 1x 4s so far no longer wanted",
        left_out_pivot,
        left_out_last,
    ];
    stage.shows(DispatchState::Compensating, &steps).await;
    stage.answered([1, 6]).await;
    let steps = [
        "accept_order: compensatable ended compensated: 1x 1s / 1x 6s",
        "reserve_payment: compensatable ended compensated: 1x 2s / 1x 5s no longer wanted",
        left_out_pivot,
        left_out_last,
    ];
    stage.shows(DispatchState::Cancelled, &steps).await;
    stage.end().await;
}

async fn a_dispatch_that_was_cancelled_before_it_began_has_left_out_everything(database: TestDatabase) {
    let stage = Stage::accepted(database, 1).await;
    stage.is_cancelled().await;
    stage.comes(order("1")).await;
    let steps = [
        "accept_order: compensatable left_out pending: - / -",
        "reserve_payment: compensatable left_out pending: - / -",
        "create_dispatch: pivot left_out pending: - / -",
        "complete_order: retriable left_out pending: - / -",
    ];
    stage.shows(DispatchState::Cancelled, &steps).await;
    stage.end().await;
}

async fn a_watcher_sees_how_long_each_step_took_and_what_remains(database: TestDatabase) {
    let stage = Stage::new(database, 1).await;
    stage.answered([1]).await;
    stage.nobody_answers_for(11).await;
    stage.pass(2);
    stage.payment_is_declined().await;
    stage.answered([3]).await;
    let shown = |seen: Vec<v1::DispatchTransition>| -> Vec<String> {
        let line = |row: v1::DispatchTransition| {
            let took = row.took.map_or_else(|| "-".to_owned(), |took| format!("{}s", took.seconds));
            format!("{} {}: {took} [{}]", row.version, row.event, row.remaining.join(" "))
        };
        seen.into_iter().map(line).collect()
    };
    let all = [
        "1 started: - [accept_order reserve_payment create_dispatch complete_order]",
        "2 accept_order_done: 1s [reserve_payment create_dispatch complete_order]",
        "3 reserve_payment_retried: - [reserve_payment create_dispatch complete_order]",
        "4 reserve_payment_refused: 13s [accept_order]",
        "5 accept_order_compensated: 3s []",
    ];
    assert_eq!(shown(stage.watch(0).await), all);
    assert_eq!(shown(stage.watch(3).await), all[3..], "a stream that is resumed knows what was before");
    assert_eq!(shown(stage.rig.get(&stage.id).await.unwrap().history), all);
    stage.end().await;
}
