//! The consumer of queue `saga`: requests, cancellations and replies, a batch in a transaction.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use prost::Name;
use uuid::Uuid;
use waybill_messaging::{Envelope, Failure, Handler, Outcome, Received, StoreError, Timestamp, Tx};
use waybill_proto::v1;

use crate::{
    Command, Definition, Definitions, Instance, Verdict, Versions,
    contract::{self, clean, decode, read_reply},
    lateness::Lateness,
    machine::{self, Input, Transition},
    metrics, parked,
    pause::{Held, Pauses, Scope},
    persist,
    recent::Recent,
    shell::{Cause, Shell},
};

/// A message to the saga, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Begin.
    Begin(Box<v1::DispatchRequested>),
    /// Undo it, if that is still possible.
    Cancel(v1::CancelRequested),
    /// A participant has answered.
    Reply(Command, Verdict),
    /// Of our contract, and of a type that this release does not have: a newer one may have asked for it.
    Unknown(String),
}

/// Moves sagas on. Any number may run, in any number of processes, of different releases too.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    definitions: Definitions,
    pauses: Pauses,
    recent: Recent,
    lateness: Lateness,
    versions: Option<Arc<Versions>>,
}

impl Orchestrator {
    /// An orchestrator of these definitions.
    pub fn new(definitions: Definitions) -> Self {
        metrics::begin();
        let (pauses, recent, lateness) = (Pauses::default(), Recent::default(), Lateness::default());
        Self { definitions, pauses, recent, lateness, versions: None }
    }

    /// Tells those who wait at `versions` what it has moved.
    #[must_use]
    pub fn telling(self, versions: Arc<Versions>) -> Self {
        Self { versions: Some(versions), ..self }
    }

    /// What it runs.
    pub const fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// By how much messages are late just now.
    pub(crate) fn lateness(&self, now: Timestamp) -> Duration {
        self.lateness.at(now)
    }

    /// What is paused; to be asked before an instance is locked.
    pub(crate) async fn held(&self, tx: &Tx) -> Result<Held, StoreError> {
        self.pauses.held(tx).await
    }
}

impl Handler for Orchestrator {
    type Message = Message;

    fn inbox(&self) -> Option<&'static str> {
        Some("saga")
    }

    fn is_optimistic(&self) -> bool {
        true
    }

    fn parse(&self, envelope: &Envelope) -> Result<Message, Failure> {
        let (dispatch_id, message) = if envelope.type_name == v1::DispatchRequested::full_name() {
            let request: v1::DispatchRequested = decode(envelope)?;
            (String::new(), Message::Begin(Box::new(request)))
        } else if envelope.type_name == v1::CancelRequested::full_name() {
            let mut cancel: v1::CancelRequested = decode(envelope)?;
            cancel.reason = clean(&cancel.reason);
            (cancel.dispatch_id.clone(), Message::Cancel(cancel))
        } else if let Some((dispatch_id, command, verdict)) = read_reply(envelope)? {
            (dispatch_id, Message::Reply(command, verdict))
        } else if contract::is_ours(envelope) {
            (String::new(), Message::Unknown(envelope.type_name.clone()))
        } else {
            return Err(unknown(&envelope.type_name));
        };
        if envelope.correlation_id.is_empty() {
            return Err(Failure::Permanent("correlation_id, the dispatch id, is missing".to_owned()));
        }
        if !dispatch_id.is_empty() && dispatch_id != envelope.correlation_id {
            let text = format!(
                "dispatch_id {dispatch_id:?} and correlation_id {:?} differ",
                envelope.correlation_id
            );
            return Err(Failure::Permanent(text));
        }
        Ok(message)
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<Message>]) -> Result<Vec<Outcome>, StoreError> {
        let held = self.held(tx).await?;
        // What begins is not there yet; if it is, its insert says so.
        let is_there =
            |r: &&&Received<Message>| !tx.is_optimistic() || !matches!(r.message, Message::Begin(_));
        let mut ids: BTreeSet<&str> =
            batch.iter().filter(is_there).map(|r| r.envelope.correlation_id.as_str()).collect();
        let mut remembered = Vec::new();
        if tx.is_optimistic() {
            remembered = self.recent.take(ids.iter().copied());
            for instance in &remembered {
                ids.remove(instance.dispatch_id.as_str());
            }
        }
        let loaded = persist::load(tx, ids.into_iter()).await?;
        let mut shell = Shell::new(&self.definitions, loaded.into_values()).with_remembered(remembered);
        for received in batch {
            self.step(&mut shell, &held, received, tx)?;
        }
        // That there is nothing to do for a message has to be read, because no version guards it.
        if shell.has_idle_memories() {
            return Err(StoreError::Conflict("an instance may have moved on meanwhile".to_owned()));
        }
        let (recent, versions, moved) = (self.recent.clone(), self.versions.clone(), shell.moved());
        tx.after_commit(move || {
            if let Some(versions) = versions {
                versions.moved(&moved);
            }
            recent.keep(moved);
        });
        shell.store(tx);
        Ok(vec![Outcome::default(); batch.len()])
    }
}

impl Orchestrator {
    /// Applies one message. A failure changes nothing.
    pub(crate) fn step(
        &self,
        shell: &mut Shell<'_>,
        held: &Held,
        received: &Received<Message>,
        tx: &Tx,
    ) -> Result<(), Failure> {
        let Received { envelope, message, trace, .. } = received;
        let cause = Cause { message_id: &envelope.message_id, trace };
        let dispatch_id = envelope.correlation_id.as_str();
        let Some(instance) = shell.instance(dispatch_id) else {
            if let Some(accepted_at) = accepted_at(dispatch_id) {
                self.lateness.note(accepted_at, tx.now());
            }
            let (instance, transition) = self.begin(dispatch_id, message, trace, tx)?;
            match held.holds(self.definitions.beginning(), &instance, &transition.out) {
                Some(by) => shell.park(parked::row(&instance.definition, envelope, trace, Some(&by), tx)),
                None => shell.create(instance, transition, &cause),
            }
            return Ok(());
        };
        // Accepted once, published twice: the saga is under way.
        if matches!(message, Message::Begin(_)) {
            return Ok(());
        }
        let Some(definition) = self.definitions.of(&instance.definition) else {
            let (name, version, hash) = &instance.definition;
            tracing::debug!(dispatch_id, name, version, hash, "parked: no such definition here");
            let row = parked::row(&instance.definition, envelope, trace, None, tx);
            shell.park(row);
            return Ok(());
        };
        let (input, sent_at) = (input(definition, message)?, instance.updated_at);
        match advance(definition, instance, held, input, tx.now()) {
            Ok(Some(transition)) => {
                if matches!(message, Message::Reply(..)) {
                    self.lateness.note(sent_at, tx.now());
                }
                shell.record(dispatch_id, transition, &cause);
            }
            Ok(None) => {}
            Err(by) => {
                tracing::debug!(dispatch_id, %by, "parked: paused");
                let row = parked::row(&instance.definition, envelope, trace, Some(&by), tx);
                shell.park(row);
            }
        }
        Ok(())
    }

    fn begin(
        &self,
        dispatch_id: &str,
        message: &Message,
        trace: &waybill_messaging::TraceContext,
        tx: &Tx,
    ) -> Result<(Instance, machine::Transition), Failure> {
        let (definition, now) = (self.definitions.beginning(), tx.now());
        match message {
            Message::Begin(request) => {
                Ok(machine::begin(definition, dispatch_id, (**request).clone(), trace.clone(), now))
            }
            Message::Cancel(cancel) => {
                let request =
                    v1::DispatchRequested { order_id: cancel.order_id.clone(), ..Default::default() };
                let reason = cancel.reason.as_str();
                Ok(machine::begin_cancelled(definition, dispatch_id, request, reason, trace.clone(), now))
            }
            // Another database's saga, or one whose beginning is still being retried.
            Message::Reply(..) | Message::Unknown(_) => {
                Err(Failure::Transient(format!("no saga for dispatch {dispatch_id}")))
            }
        }
    }
}

/// When the gateway named the dispatch; `None` for a name of somebody else's.
fn accepted_at(dispatch_id: &str) -> Option<Timestamp> {
    let (seconds, nanos) = Uuid::try_parse(dispatch_id).ok()?.get_timestamp()?.to_unix();
    let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    Some(Timestamp::from_micros(micros.checked_add(i64::from(nanos / 1_000))?))
}

/// Moves an instance on, unless that is held up: then it stays as it is, and `Err` says by which pause.
pub(crate) fn advance(
    definition: &Definition,
    instance: &mut Instance,
    held: &Held,
    input: Input,
    now: Timestamp,
) -> Result<Option<Transition>, Scope> {
    if held.is_nothing_for(instance) {
        return Ok(machine::advance(definition, instance, input, now));
    }
    let mut after = instance.clone();
    let Some(transition) = machine::advance(definition, &mut after, input, now) else { return Ok(None) };
    if let Some(by) = held.holds(definition, instance, &transition.out) {
        return Err(by);
    }
    *instance = after;
    Ok(Some(transition))
}

/// What a message means to an instance of this definition.
fn input(definition: &Definition, message: &Message) -> Result<Input, Failure> {
    match message {
        Message::Begin(_) => {
            Err(Failure::Permanent("a request begins a saga and never moves one".to_owned()))
        }
        Message::Cancel(cancel) => Ok(Input::Cancel(cancel.reason.clone())),
        Message::Reply(command, verdict) => {
            let (step, action) = definition
                .locate(*command)
                .ok_or_else(|| Failure::Permanent(format!("{} belongs to no step", command.name())))?;
            Ok(Input::Reply { step, action, verdict: verdict.clone() })
        }
        Message::Unknown(name) => Err(unknown(name)),
    }
}

fn unknown(type_name: &str) -> Failure {
    Failure::Permanent(format!("unknown message type {type_name:?}"))
}
