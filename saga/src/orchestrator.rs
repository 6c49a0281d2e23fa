//! The consumer of queue `saga`: requests, cancellations and replies, a batch in a transaction.

use std::{collections::BTreeSet, sync::Arc};

use prost::Name;
use waybill_messaging::{Envelope, Failure, Handler, Outcome, Received, StoreError, Tx};
use waybill_proto::v1;

use crate::{
    Action, Definition, DefinitionError, Instance, Verdict,
    contract::{clean, decode, read_reply},
    machine::{self, Input},
    persist,
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
    Reply(usize, Action, Verdict),
}

/// Moves sagas on. Any number may run, in any number of processes.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    definition: Arc<Definition>,
}

impl Orchestrator {
    /// An orchestrator of this definition. Errors: the definition breaks a rule.
    pub fn new(definition: Definition) -> Result<Self, DefinitionError> {
        definition.check()?;
        Ok(Self { definition: Arc::new(definition) })
    }

    /// What it runs.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }
}

impl Handler for Orchestrator {
    type Message = Message;

    fn inbox(&self) -> Option<&'static str> {
        Some("saga")
    }

    fn parse(&self, envelope: &Envelope) -> Result<Message, Failure> {
        let (dispatch_id, message) = if envelope.type_name == v1::DispatchRequested::full_name() {
            let request: v1::DispatchRequested = decode(envelope)?;
            (String::new(), Message::Begin(Box::new(request)))
        } else if envelope.type_name == v1::CancelRequested::full_name() {
            let mut cancel: v1::CancelRequested = decode(envelope)?;
            cancel.reason = clean(&cancel.reason);
            (cancel.dispatch_id.clone(), Message::Cancel(cancel))
        } else {
            let (dispatch_id, command, verdict) = read_reply(envelope)?;
            let (step, action) = self
                .definition
                .locate(command)
                .ok_or_else(|| Failure::Permanent(format!("{} belongs to no step", command.name())))?;
            (dispatch_id, Message::Reply(step, action, verdict))
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
        let ids: BTreeSet<&str> = batch.iter().map(|r| r.envelope.correlation_id.as_str()).collect();
        let loaded = persist::load(tx, ids.into_iter()).await?;
        let mut shell = Shell::new(&self.definition, loaded.into_values());
        let mut moved = BTreeSet::new();
        for received in batch {
            if self.step(&mut shell, received, tx)? {
                moved.insert(received.envelope.correlation_id.clone());
            }
        }
        shell.store(tx, |instance| moved.contains(&instance.dispatch_id)).await?;
        Ok(vec![Outcome::default(); batch.len()])
    }
}

impl Orchestrator {
    /// Applies one message. Whether the instance has moved.
    fn step(&self, shell: &mut Shell<'_>, received: &Received<Message>, tx: &Tx) -> Result<bool, Failure> {
        let Received { envelope, message, trace } = received;
        let cause = Cause { message_id: &envelope.message_id, trace };
        let dispatch_id = envelope.correlation_id.as_str();
        let Some(instance) = shell.instance(dispatch_id) else {
            let (instance, transition) = self.begin(dispatch_id, message, trace, tx)?;
            shell.create(instance, transition, &cause);
            return Ok(true);
        };
        known(&self.definition, instance)?;
        let input = match message.clone() {
            // Accepted once, published twice: the saga is under way.
            Message::Begin(_) => return Ok(false),
            Message::Cancel(cancel) => Input::Cancel(cancel.reason),
            Message::Reply(step, action, verdict) => Input::Reply { step, action, verdict },
        };
        let Some(transition) = machine::advance(&self.definition, instance, input, tx.now()) else {
            return Ok(false);
        };
        shell.record(dispatch_id, transition, &cause);
        Ok(true)
    }

    fn begin(
        &self,
        dispatch_id: &str,
        message: &Message,
        trace: &waybill_messaging::TraceContext,
        tx: &Tx,
    ) -> Result<(Instance, machine::Transition), Failure> {
        let (definition, now) = (&*self.definition, tx.now());
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
            Message::Reply(..) => Err(Failure::Transient(format!("no saga for dispatch {dispatch_id}"))),
        }
    }
}

/// An instance is pinned to the definition that it began with, and never guessed at.
pub(crate) fn known(definition: &Definition, instance: &Instance) -> Result<(), Failure> {
    let (name, version, hash) = &instance.definition;
    if name == definition.name && *version == definition.version && *hash == definition.hash() {
        return Ok(());
    }
    Err(Failure::Transient(format!("saga definition {name}/{version} ({hash}) is unknown to this release")))
}
