//! A message on the wire, and what can be made of it.

use lapin::{BasicProperties, message::Delivery};
use prost::{Message, Name};
use waybill_proto::v1::{CompleteOrder, DispatchRefused, OrderRejected, PaymentDeclined};
use waybill_saga::{Command, Participant};

/// Where a message goes: commands to participants, answers to the saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum To {
    Saga,
    Participant,
}

#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) to: To,
    /// The command, or the one that it answers.
    pub(crate) command: Command,
    pub(crate) order_id: String,
    pub(crate) key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

/// What an answer has at the end of its id: `{id of the command}:reply`.
const REPLY: &str = ":reply";

impl Post {
    pub(crate) fn read(delivery: &Delivery) -> Self {
        let properties = delivery.properties.clone();
        let id = properties.message_id().as_ref().unwrap().to_string();
        let to = if id.ends_with(REPLY) { To::Saga } else { To::Participant };
        let name = id.split(':').nth(1).unwrap();
        let command = Command::ALL.into_iter().find(|command| command.name() == name).unwrap();
        // Every command and every answer begins with these two fields.
        let CompleteOrder { order_id, .. } = CompleteOrder::decode(delivery.data.as_slice()).unwrap();
        let (key, body) = (delivery.routing_key.to_string(), delivery.data.clone());
        Self { to, command, order_id, key, properties, body }
    }

    pub(crate) fn id(&self) -> String {
        self.properties.message_id().as_ref().unwrap().to_string()
    }

    /// The same under another id: as an operator has a command sent, or as its answer is called then.
    pub(crate) fn anew(&self, version: &str) -> Self {
        let id = self.id();
        let id = match id.strip_suffix(REPLY) {
            Some(command) => format!("{command}:{version}{REPLY}"),
            None => format!("{id}:{version}"),
        };
        let properties = self.properties.clone().with_message_id(id.into());
        Self { properties, ..self.clone() }
    }

    /// From the same participant the refusal of another command, about the same dispatch.
    pub(crate) fn nonsense(&self) -> Self {
        let CompleteOrder { dispatch_id, order_id } = CompleteOrder::decode(self.body.as_slice()).unwrap();
        let reason = "out of turn".to_owned();
        let (kind, body) = match self.command.participant() {
            Participant::Order => encoded(&OrderRejected { dispatch_id, order_id, reason }),
            Participant::Payment => encoded(&PaymentDeclined { dispatch_id, order_id, reason }),
            Participant::Dispatch => encoded(&DispatchRefused { dispatch_id, order_id, reason }),
        };
        let Self { properties, .. } = self.anew("nonsense");
        Self { properties: properties.with_type(kind.into()), body, ..self.clone() }
    }
}

fn encoded<M: Name>(message: &M) -> (String, Vec<u8>) {
    (M::full_name(), message.encode_to_vec())
}
