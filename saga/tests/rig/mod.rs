//! An orchestrator on a real database, without a broker: its messages are handed to it.

use std::time::Duration;

use prost::Name;
use waybill_messaging::{
    Clock, Envelope, Handler, Received, Store, StoreError, StoreSettings, Timestamp, TraceContext,
    Transaction, Tx, relay::HandOff,
};
use waybill_saga::{Defaults, Orchestrator};
use waybill_test_support::TestDatabase;

pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn defaults() -> Defaults {
    Defaults { step_timeout: TIMEOUT, step_attempts: 2, saga_timeout: TIMEOUT * 1_000 }
}

/// A clock that stands still, and the store that goes by it.
pub(crate) async fn open(database: &TestDatabase) -> (Clock, Store) {
    let clock = Clock::stopped_at(START);
    let store = open_by(&clock, database).await;
    (clock, store)
}

/// A store that goes by this clock.
pub(crate) async fn open_by(clock: &Clock, database: &TestDatabase) -> Store {
    let settings = StoreSettings {
        url: database.url().to_owned(),
        connections: 4,
        statement_timeout: Duration::from_secs(30),
        clock: clock.clone(),
    };
    Store::open(settings, HandOff::none()).await.unwrap().0
}

/// A message about a dispatch, as it would come from the broker.
pub(crate) fn envelope<M: Name>(id: &str, message: &M) -> Envelope {
    Envelope {
        message_id: format!("{id}:{}", M::NAME),
        type_name: M::full_name(),
        correlation_id: id.to_owned(),
        attempt: 1,
        body: message.encode_to_vec().into(),
        ..Envelope::default()
    }
}

/// What the consumer does with one message that its inbox does not know.
pub(crate) struct Consume {
    pub(crate) by: Orchestrator,
    pub(crate) envelope: Envelope,
}

impl Transaction for Consume {
    const NAME: &'static str = "test.consume";
    type Output = ();

    fn is_optimistic(&self) -> bool {
        self.by.is_optimistic()
    }

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        let (envelope, trace) = (self.envelope.clone(), TraceContext::default());
        let received = Received { message: self.by.parse(&envelope)?, envelope, trace, packed: false };
        self.by.apply(tx, &[&received]).await.map(|_| ())
    }
}
